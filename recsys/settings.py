"""Settings: defaults here, `config/*.toml` over them, `RECSYS_…` from the environment over both. Built once, frozen.

`load_settings` is the only place that is given the environment; everything else is handed its slice. An unknown name is
an error, so that a typo never silently does nothing.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from recsys.configuration import PREFIX, config_dir, from_environment, merge, read_toml
from recsys.errors import SettingsError

MIN_TOKEN_LENGTH = 16
_KEY_PART = r"[A-Za-z0-9!_.*'()-]{1,128}"
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


class S3Settings(Section):
    """The bucket that versions are shared through. Credentials come the AWS way, and from nowhere else."""

    bucket: str | None = Field(None, description="share versions through this bucket (also S3_BUCKET_NAME)")
    prefix: str = Field("", description="put before every key, as films/recsys")
    endpoint_url: str | None = Field(None, description="address of an S3-compatible store; AWS if not set")
    region: str | None = Field(None, description="of the bucket (also AWS_REGION); as ~/.aws/config says if not set")
    path_style: bool | None = Field(None, description="bucket in the path, not in the host; on with an endpoint_url")
    role: Literal["pull", "train", "both"] = Field("both", description="pull: follow; train: train and publish; both")
    poll_interval_s: float = Field(10.0, ge=0.1, le=3600, description="look at the pointer this often")
    timeout_s: float = Field(10.0, gt=0, le=300, description="one call, or one megabyte, may take this long")
    max_concurrency: int = Field(4, ge=1, le=32, description="files, or parts of one, under way at once")
    max_bandwidth_mb_s: float | None = Field(None, gt=0, description="megabytes a second for models, up and down")
    keep_versions: int = Field(10, ge=2, description="older versions are removed from the bucket, never the current")
    lease_s: float = Field(60.0, ge=1, le=3600, description="a trainer that says nothing for so long has lost its turn")

    @field_validator("bucket")
    @classmethod
    def _is_bucket(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/-]{1,254}", value):
            raise ValueError("is not the name of a bucket; one looks like film-models")
        return value

    @field_validator("prefix")
    @classmethod
    def _is_prefix(cls, value: str) -> str:
        value = value.strip("/")
        if value and not all(re.fullmatch(_KEY_PART, part) and part.strip(".") for part in value.split("/")):
            raise ValueError("is not a prefix of keys; one looks like films/recsys")
        return value

    @field_validator("endpoint_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/@\s]+(/[^@\s]*)?", value):
            raise ValueError("is not an address; one looks like https://s3.example.org (and holds no password)")
        return value

    @property
    def follows(self) -> bool:
        return self.bucket is not None and self.role != "train"

    @property
    def publishes(self) -> bool:
        return self.bucket is not None and self.role != "pull"

    @property
    def trains(self) -> bool:
        return self.bucket is None or self.role != "pull"


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
    s3: S3Settings = S3Settings()
    cors: CorsSettings = CorsSettings()
    log: LogSettings = LogSettings()

    @property
    def retraining_enabled(self) -> bool:
        enabled = self.retraining.enabled
        return self.s3.trains and (self.environment == "production" if enabled is None else enabled)

    @property
    def log_format(self) -> Literal["console", "json"]:
        return self.log.format or ("json" if self.environment == "production" else "console")


def load_settings(environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Build the settings from the files of the configuration directory and `environ`; `overrides` (section → name →
    value, from the command line) win over both.

    Errors: SettingsError that names every wrong setting by its variable, with the problem and a hint.
    """
    directory = config_dir(environ)
    values = read_toml(directory / "default.toml")
    found = from_environment(environ)
    environment = found.get("environment", values.get("environment", "development"))
    if isinstance(environment, str) and environment in ("development", "production"):
        merge(values, read_toml(directory / f"{environment}.toml"))
    merge(values, found)
    merge(values, overrides or {})
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
