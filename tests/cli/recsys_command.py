"""The fixture of the tests of this folder; a plugin, so that no second conftest.py hides the one above."""

from pathlib import Path

import pytest
from command_line import CommandLine


@pytest.fixture
def recsys(tmp_path: Path, sample: Path) -> CommandLine:
    return CommandLine(tmp_path, sample)
