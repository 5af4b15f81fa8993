"""Settings for a command: the environment, with the command line over it."""

import os
from collections.abc import Mapping
from typing import Any

from recsys.settings import Settings, load_settings


def read_settings(overrides: Mapping[str, Any]) -> Settings:
    """Read the settings. Errors: SettingsError."""
    return load_settings(os.environ, overrides)
