"""Where settings come from: TOML files and the environment, as nested dictionaries of names and raw values.

Must not know which settings there are.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.errors import SettingsError

PREFIX = "RECSYS_"
CONFIG_DIR_VARIABLE = "RECSYS_CONFIG_DIR"
#: Other names of RECSYS_S3__…, which wins over them.
BUCKET_VARIABLE, REGION_VARIABLE = "S3_BUCKET_NAME", "AWS_REGION"


def config_dir(environ: Mapping[str, str]) -> Path:
    named = environ.get(CONFIG_DIR_VARIABLE)
    if named and not Path(named).is_dir():
        raise SettingsError(f"{CONFIG_DIR_VARIABLE}: there is no directory {named}")
    return Path(named or "config")


def read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Nest RECSYS_SECTION__NAME; an empty value counts as not set, as compose files write it."""
    values: dict[str, Any] = {}
    for variable, name in ((BUCKET_VARIABLE, "bucket"), (REGION_VARIABLE, "region")):
        if text := environ.get(variable, "").strip():
            values.setdefault("s3", {})[name] = text
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


def merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Lay `values` over `into`, section by section; None leaves what is there."""
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.setdefault(name, {}), dict):
            merge(into[name], value)
        elif value is not None:
            into[name] = value
