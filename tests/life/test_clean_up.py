"""What a start removes after a kill: every file a killed process of ours can leave, and nothing else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from service import ServerProcess

Serve = Callable[..., ServerProcess]
#: Each as its writer names it, cut off between making the file and renaming it.
LEFT_BEHIND = (
    "models/.staging/4194000-0123456789ab/manifest.json",
    "models/.staging/4194000-ba9876543210/v1.0.0/items.jsonl",
    "state/.jobs.jsonl.4194000.0123abcd",
    "state/store/.pin.json.4194000.0123abcd",
    "state/store/.quarantine.json.4194000.0123abcd",
)
OF_OTHERS = (
    "models/notes.txt",
    "models/v1.0.0.bak/manifest.json",
    "state/.jobs.jsonl.swp",
    "state/.jobs.jsonl.4194000.0123abcd.mine",
    "state/store/.pin.json.bak",
    "state/store/pin.json.4194000.0123abcd",
)


def plant(directory: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("half")


def test_a_start_removes_what_a_kill_left_and_nothing_else(
    serve: Serve, store_with: Callable[..., object], tmp_path: Path
) -> None:
    store_with("v1.0.0")
    plant(tmp_path, LEFT_BEHIND + OF_OTHERS)

    server = serve()

    assert [name for name in LEFT_BEHIND if (tmp_path / name).exists()] == []
    assert list((tmp_path / "models" / ".staging").iterdir()) == []
    assert {"half"} == {(tmp_path / name).read_text() for name in OF_OTHERS}
    assert any("interrupted run" in line for line in server.log)


def test_a_second_start_finds_nothing_to_remove(
    serve: Serve, store_with: Callable[..., object], tmp_path: Path
) -> None:
    store_with("v1.0.0")
    plant(tmp_path, LEFT_BEHIND)
    serve().stop()

    assert not any("interrupted run" in line for line in serve().log)


@pytest.mark.parametrize("is_made", [False, True], ids=["before the sample was made", "beside a made sample"])
def test_training_on_the_sample_removes_a_half_made_one(
    serve: Serve, sample: Path, tmp_path: Path, is_made: bool
) -> None:
    if is_made:
        shutil.copytree(sample, tmp_path / "sample")
    plant(tmp_path, (".sample.0123abcd/ratings.csv", ".sample.bak/ratings.csv", ".sampler.0123abcd/ratings.csv"))

    serve(environ={"RECSYS_PATHS__SAMPLE": str(tmp_path / "sample")})

    assert (tmp_path / "sample" / "ratings.csv").is_file()
    hidden = {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}
    assert {".sample.bak", ".sampler.0123abcd"} == hidden
