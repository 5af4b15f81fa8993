from collections.abc import Callable
from pathlib import Path

import pytest
from arrivals import Service

from recsys.artifacts.contents import Contents
from recsys.artifacts.servable import Servable, load_servable
from recsys.artifacts.version import Version
from recsys.settings import ServingSettings


@pytest.fixture(scope="session")
def served_servable(trained_sample: Path) -> Servable:
    return load_servable(trained_sample / "v1.0.0", pause=lambda: None)


@pytest.fixture(scope="session")
def served_contents(served_servable: Servable) -> Contents:
    return served_servable.contents


@pytest.fixture
def service(trained_sample: Path, tmp_path: Path) -> Callable[..., Service]:
    """Make a watcher on `tmp_path/models`, which holds the versions named."""

    def make(*versions: str, rescan_s: float = ServingSettings().rescan_s, setting_pin: str | None = None) -> Service:
        pin = Version.parse(setting_pin) if setting_pin else None
        made = Service(trained_sample / "v1.0.0", tmp_path, rescan_s, pin)
        for version in versions:
            made.arrive(version)
        return made

    return make
