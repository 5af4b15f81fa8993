"""Settings: defaults here, `config/*.toml` over them, `RECSYS_…` from the environment over both. Built once, frozen.

`load_settings` is the only place that reads the environment; everything else is handed its slice. An unknown name is an
error, so that a typo never silently does nothing.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from recsys.errors import SettingsError

PREFIX = "RECSYS_"
MIN_TOKEN_LENGTH = 16
CONFIG_DIR_VARIABLE = "RECSYS_CONFIG_DIR"
_POSTERS = r"^https?://[^/{}\s\"';,?#@*]+/\S*\{(imdb|tmdb)_id\}\S*$"
_VERSION_PATTERN = r"v(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})"


class Section(BaseModel):
    """A group of settings: immutable, strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class ServerSettings(Section):
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    max_body_bytes: int = Field(1_048_576, ge=1024, le=64 * 2**20, description="largest request body")
    max_connections: int = Field(4096, ge=1, description="connections that may wait to be accepted")
    keepalive_s: float = Field(75.0, gt=0, le=3600, description="an idle connection is closed after this long")
    body_timeout_s: float = Field(30.0, gt=0, le=600, description="a request body must arrive within this time")
    debug_port: int | None = Field(None, ge=1, le=65535, description="listen for a debugger here (needs debugpy)")
    shutdown_s: float = Field(10.0, gt=0, le=120, description="how long requests in flight may take at shutdown")


class DataSettings(Section):
    path: Path | None = Field(None, description="MovieLens directory or zip, or a CSV; the sample if not set")
    max_bad_share: float = Field(0.01, ge=0, le=1, description="refuse data with more bad rows than this share")


class PathSettings(Section):
    models: Path = Field(Path("data/models"), description="model versions, a directory each")
    state: Path = Field(Path("data/state"), description="pin, marks, ledger")
    sample: Path = Field(Path("data/sample"), description="the sample data set, made when it is needed")


class ModelSettings(Section):
    version: str | None = Field(None, description="serve this version while set")

    @field_validator("version")
    @classmethod
    def _known_form(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(_VERSION_PATTERN, value):
            raise ValueError("is not a version; one looks like v1.0.3")
        return value


class TrainingSettings(Section):
    ridge: float = Field(400.0, gt=0, description="λ of EDLAE")
    dropout: float = Field(0.3, ge=0, lt=1, description="p of EDLAE")
    user_scaling: float = Field(0.1, ge=0, le=1, description="β: how much less a busy user's ratings count")
    item_scaling: float = Field(0.1, ge=0, le=1, description="α: how much more a rarely rated item says")
    half_life: float = Field(0.25, gt=0, le=100, description="share of a history after which a rating counts half")
    max_items: int = Field(20_000, ge=1, le=40_000, description="most rated items that the linear model covers")
    seed: int = Field(0, ge=0, description="seed of everything drawn at random")
    blas_threads: int = Field(1, ge=1, le=64, description="threads of the linear algebra; 1 is reproducible")


class RetrainingSettings(Section):
    enabled: bool | None = Field(None, description="retrain by the clock; on in production, off in development")
    cron: str = Field("0 2 * * 0", description="when, as cron means it: minute hour day month weekday, 0 and 7 Sunday")
    timezone: str = Field("UTC", description="of the cron expression, as Europe/Berlin")
    make_up_missed: bool = Field(True, description="run once at start if the service was down at the time")
    timeout_s: float = Field(3600.0, gt=0, description="a run that takes longer is ended")
    memory_limit_mb: int = Field(4096, ge=256, description="a run that would need more is refused, or ended")
    keep_versions: int = Field(10, ge=2, description="older versions are removed, never one in use")
    max_metric_drop: float = Field(0.10, ge=0, le=1, description="reject a model worse than the last by this share")
    max_shrink: float = Field(0.20, ge=0, le=1, description="reject data smaller than the last by this share")
    max_rating_shift: float = Field(0.20, ge=0, le=1, description="reject data whose rating values moved so far")
    max_metric_rise: float = Field(0.50, ge=0, description="reject a model too good to be true by this share")
    max_popularity_drop: float = Field(0.50, ge=0, le=1, description="reject data whose popular items say so much less")
    min_golden_overlap: float = Field(0.10, ge=0, le=1, description="reject if golden lists keep less than this share")
    min_coverage: float = Field(0.01, ge=0, le=1, description="reject if less of the catalogue is recommended")

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        if len(value.split()) != 5:  # CronSim would take a sixth for seconds
            raise ValueError("has not five fields; a cron expression looks like 0 2 * * 0")
        try:
            CronSim(value, datetime(2000, 1, 1))  # noqa: DTZ001  only parsed
        except (CronSimError, ValueError) as error:
            raise ValueError(f"{error}; a cron expression looks like 0 2 * * 0") from error
        return value

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, OSError, ValueError) as error:  # OSError: a folder of zones, as Europe
            raise ValueError("is not a time zone; one looks like UTC or Europe/Berlin") from error
        return value


class AdminSettings(Section):
    token: SecretStr | None = Field(None, description="of /admin; made at first start if there is none")
    token_file: Path | None = Field(None, description="file that holds it")

    @field_validator("token")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_TOKEN_LENGTH:
            raise ValueError(f"is shorter than {MIN_TOKEN_LENGTH} characters")
        return value


class ServingSettings(Section):
    rescan_s: float = Field(0.5, gt=0, le=3600, description="look at the model directory at least this often")
    score_cache_mb: int = Field(32, ge=0, description="memory for score vectors of recent users")
    answer_cache_mb: int = Field(16, ge=0, description="memory for finished answers")
    watch_s: float = Field(60.0, ge=0, description="watch a new version for so long, and go back if it does badly")
    watch_max_errors: float = Field(0.05, gt=0, le=1, description="share of its answers that may be errors")
    watch_slow_ms: float = Field(500.0, gt=0, description="an answer that takes longer is slow")
    watch_max_slow: float = Field(0.10, gt=0, le=1, description="share of its answers that may be slow")


class FeedbackSettings(Section):
    enabled: bool = Field(True, description="take ratings in over HTTP")
    max_waiting: int = Field(10_000, ge=1, description="ratings that may wait to be written; beyond that, 503")
    wait_s: float = Field(5.0, gt=0, le=60, description="a rating that is not on disk within this time is refused")
    recommendation_ids: bool = Field(False, description="give answers an id that POST /api/v1/events can refer to")


class ApiSettings(Section):
    keys_file: Path | None = Field(None, description="file of keys, one a line, that writing ratings then needs")


class PagesSettings(Section):
    poster_template: str | None = Field(None, pattern=_POSTERS, description="address of a film's poster")


class CorsSettings(Section):
    origins: tuple[str, ...] = Field((), description='JSON list of origins that browsers may call from, or ["*"]')

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, separator, host = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not separator or not host or "/" in host):
                raise ValueError(f"{origin!r} is not an origin; one looks like https://films.example")
        return value


class LogSettings(Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")
    format: Literal["console", "json"] | None = Field(None, description="console in development, json in production")
    access: bool = Field(False, description="log every request, not only the failed ones (costs speed)")

    @field_validator("level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class Settings(Section):
    environment: Literal["development", "production"] = Field("development", description="or production")
    server: ServerSettings = ServerSettings()
    data: DataSettings = DataSettings()
    paths: PathSettings = PathSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    serving: ServingSettings = ServingSettings()
    admin: AdminSettings = AdminSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    api: ApiSettings = ApiSettings()
    pages: PagesSettings = PagesSettings()
    cors: CorsSettings = CorsSettings()
    log: LogSettings = LogSettings()

    @property
    def retraining_enabled(self) -> bool:
        enabled = self.retraining.enabled
        return self.environment == "production" if enabled is None else enabled

    @property
    def log_format(self) -> Literal["console", "json"]:
        return self.log.format or ("json" if self.environment == "production" else "console")


def load_settings(environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Build the settings from the files of the configuration directory and `environ`; `overrides` (section → name →
    value, from the command line) win over both.

    Errors: SettingsError that names every wrong setting by its variable, with the problem and a hint.
    """
    values = _read_toml((directory := _config_dir(environ)) / "default.toml")
    from_environment = _from_environment(environ)
    environment = (values | from_environment).get("environment", "development")
    if environment in ("development", "production"):
        _merge(values, _read_toml(directory / f"{environment}.toml"))
    _merge(values, from_environment)
    _merge(values, overrides or {})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("; ".join(text for problem in error.errors() for text in _describe(problem))) from error


def setting_names() -> dict[str, str]:
    """Return every setting's variable with its description, in the order of the code."""
    names = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for inner, inner_field in section.model_fields.items():
                names[f"{PREFIX}{name}__{inner}".upper()] = inner_field.description or ""
        else:
            names[f"{PREFIX}{name}".upper()] = field.description or ""
    return names


def _config_dir(environ: Mapping[str, str]) -> Path:
    named = environ.get(CONFIG_DIR_VARIABLE)
    if named and not Path(named).is_dir():
        raise SettingsError(f"{CONFIG_DIR_VARIABLE}: there is no directory {named}")
    return Path(named or "config")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Nest RECSYS_SECTION__NAME; an empty value counts as not set, as compose files write it."""
    values: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == CONFIG_DIR_VARIABLE or not text.strip():
            continue
        *sections, name = variable[len(PREFIX) :].lower().split("__")
        target = values
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise SettingsError(f"{variable}: {section!r} is a setting, not a section")
        target[name] = _parse(variable, text.strip())
    return values


def _parse(variable: str, text: str) -> Any:
    if not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{variable}: {text!r} is not a JSON list ({error})") from error


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Lay `values` over `into`, section by section; None leaves what is there."""
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.setdefault(name, {}), dict):
            _merge(into[name], value)
        elif value is not None:
            into[name] = value


def _describe(problem: Any) -> list[str]:
    """Name the wrong settings by their variables; a section that does not exist, by each that was set in it."""
    variable = PREFIX + "__".join(str(part) for part in problem["loc"] if not isinstance(part, int)).upper()
    if problem["type"] == "extra_forbidden":
        value = problem["input"]
        names = [f"{variable}__{name}".upper() for name in value] if isinstance(value, dict) else [variable]
        return [f"{name}: there is no such setting{_did_you_mean(name, setting_names())}" for name in names]
    message, hint = problem["msg"].removeprefix("Value error, "), setting_names().get(variable)
    shown = "(secret)" if variable.endswith("__TOKEN") else repr(problem["input"])
    return [f"{variable}: {shown}: {message}" + (f" (it is: {hint})" if hint else "")]


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else "; see the settings in README.md"
