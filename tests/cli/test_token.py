"""`recsys token`: the token itself, or where it is."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from service import ROOT, ServerProcess

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
TOKEN = "the-token-of-these-tests"


def environment(directory: Path, **more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    return env | {"RECSYS_PATHS__STATE": str(directory / "state"), "RECSYS_CONFIG_DIR": str(ROOT / "config")} | more


@pytest.fixture
def token(tmp_path: Path) -> Cli:
    def run(**more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "recsys", "token"],
            cwd=tmp_path, env=environment(tmp_path, **more), text=True, capture_output=True, timeout=60, check=False,
        )  # fmt: skip

    return run


def test_makes_it_once_for_its_owner_only(token: Cli, tmp_path: Path) -> None:
    first, second = token(), token()

    assert (first.returncode, second.returncode, first.stderr) == (0, 0, "")
    assert first.stdout == second.stdout == (tmp_path / "state" / "admin-token").read_text()
    assert len(first.stdout.strip()) >= 32
    assert stat.S_IMODE((tmp_path / "state" / "admin-token").stat().st_mode) == 0o600


def test_is_the_one_that_the_service_asks_for(
    token: Cli, serve: Callable[..., ServerProcess], store_with: Callable[..., object]
) -> None:
    store_with("v1.0.0")
    given = token().stdout.strip()
    assert serve().request("/admin/models", headers={"Authorization": f"Bearer {given}"}).status == 200


def test_started_many_times_at_once_makes_one(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "recsys", "token"],
            cwd=tmp_path, env=environment(tmp_path), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(6)
    ]  # fmt: skip
    answers = [process.communicate(timeout=60) for process in started]
    assert len({out for out, _ in answers}) == 1
    assert {""} == {error for _, error in answers}


@pytest.mark.parametrize("name", ["RECSYS_ADMIN__TOKEN", "RECSYS_ADMIN__TOKEN_FILE"])
def test_given_by_a_setting_is_not_printed_but_its_place(token: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text(TOKEN)
    done = token(**{name: str(tmp_path / "secret") if name.endswith("_FILE") else TOKEN})

    assert done.returncode == 0
    assert TOKEN not in done.stdout + done.stderr
    assert (str(tmp_path / "secret") if name.endswith("_FILE") else name) in done.stdout
    assert not (tmp_path / "state").exists()


def test_where_it_cannot_be_written_is_one_clear_line(token: Cli, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    done = token()

    assert done.returncode == 1
    assert "admin-token" in done.stderr
    assert "Traceback" not in done.stderr
