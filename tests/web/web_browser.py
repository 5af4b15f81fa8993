"""Fixtures for tests in a real browser. A plugin, as `http_server` is.

Where there is no chromium these tests are skipped and say so; axe-core comes from where the run put it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import find_chromium, running_chromium

#: The file of axe-core, which CI fetches: it is no part of this project.
AXE = "RECSYS_TEST_AXE"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running browser's protocol."""
    executable = find_chromium()
    if executable is None:
        pytest.skip("needs chromium; on Debian: apt-get install chromium")
    with running_chromium(executable, tmp_path_factory.mktemp("chromium")) as protocol:
        yield protocol


@pytest.fixture(scope="session")
def axe() -> str:
    path = os.environ.get(AXE)
    if path is None or not Path(path).is_file():
        pytest.skip(f"needs axe-core: {AXE} is the path of its axe.min.js")
    return Path(path).read_text(encoding="utf-8")
