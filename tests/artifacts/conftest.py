from collections.abc import Callable
from pathlib import Path

import pytest
from spoiling import Spoiled, no_pause

from recsys.artifacts.contents import Contents
from recsys.artifacts.servable import Servable, load_servable
from recsys.artifacts.store import ModelStore


@pytest.fixture(scope="session")
def sample_servable(trained_sample: Path) -> Servable:
    return load_servable(trained_sample / "v1.0.0", pause=no_pause)


@pytest.fixture(scope="session")
def sample_contents(sample_servable: Servable) -> Contents:
    return sample_servable.contents


@pytest.fixture
def spoiled(store_with: Callable[..., ModelStore]) -> Spoiled:
    return Spoiled(store_with("v1.0.0").directory / "v1.0.0")
