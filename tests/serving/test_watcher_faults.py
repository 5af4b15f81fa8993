"""The directory goes wrong under a running service: the old model keeps answering, and the service recovers."""

import asyncio
import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from arrivals import Service
from small_disks import small_disk_at

from recsys.artifacts.version import Version
from recsys.serving import hints as hints_module

Make = Callable[..., Service]


async def test_a_deleted_directory_unloads_nothing_and_is_found_again(service: Make) -> None:
    made = service("v1.0.0")
    async with made.running():
        answer = made.answer()
        shutil.rmtree(made.models)
        await made.until(lambda: made.watcher.state.problem)

        assert made.serving == "v1.0.0"
        assert made.answer() == answer
        assert "models" in str(made.watcher.state.degraded)

        made.models.mkdir()
        made.arrive("v1.0.1")
        await made.until(lambda: made.serving == "v1.0.1")
        assert made.watcher.state.degraded is None


async def test_events_come_again_after_the_directory_was_away_for_a_while(
    service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that was set up while only the marks were there must not be taken for one on the models."""
    watched: list[set[Path]] = []

    def recording_awatch(*roots: Path, **options: Any) -> Any:
        watched.append(set(roots))
        return of(*roots, **options)

    of = hints_module.awatch
    monkeypatch.setattr(hints_module, "awatch", recording_awatch)
    made = service("v1.0.0", rescan_s=0.1)
    async with made.running():
        await made.until(lambda: watched and made.models in watched[-1])
        shutil.rmtree(made.models)
        await made.until(lambda: made.models not in watched[-1])

        made.models.mkdir()
        await made.until(lambda: made.models in watched[-1])


async def test_a_directory_replaced_by_another_is_followed(service: Make) -> None:
    made = service("v1.0.0")
    async with made.running():
        await made.events_arrive()
        for version in ("v1.0.1", "v1.0.2"):
            replacement = made.directory / f"replacement-{version}"
            replacement.mkdir()
            made.prepare(version).rename(replacement / version)
            made.models.rename(made.directory / f"before-{version}")
            replacement.rename(made.models)

            await made.until(lambda wanted=version: made.serving == wanted)

        made.arrive("v1.0.3")
        assert await made.until(lambda: made.serving == "v1.0.3") < 1.0


async def test_a_file_in_place_of_the_directory_unloads_nothing(service: Make) -> None:
    made = service("v1.0.0")
    async with made.running():
        made.models.rename(made.directory / "before")
        made.models.write_bytes(b"")
        await made.until(lambda: made.watcher.state.problem)
        assert made.answer()

        made.models.unlink()
        (made.directory / "before").rename(made.models)
        await made.until(lambda: made.watcher.state.degraded is None)
    assert made.swaps == ["v1.0.0"]


@contextmanager
def mode_bits_count() -> Iterator[None]:
    """Take from root what lets it read everything (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, effective only), for this
    thread and those that it starts.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, data = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    if libc.capget(header, before) != 0:
        pytest.skip("cannot read this process's capabilities")
    ctypes.memmove(data, before, ctypes.sizeof(data))
    data[0] &= ~0b110
    if libc.capset(header, data) != 0:
        pytest.skip("cannot change this process's capabilities")
    try:
        yield
    finally:
        libc.capset(header, before)


async def test_an_unreadable_directory_unloads_nothing(service: Make) -> None:
    made = service("v1.0.0")
    with mode_bits_count():
        await made.watcher.start()
        made.models.chmod(0)
        try:
            await made.watcher.rescan()
            assert made.answer()
            assert made.serving == "v1.0.0"
            assert "Permission denied" in str(made.watcher.state.problem)
        finally:
            made.models.chmod(0o755)
        await made.watcher.rescan()

    assert made.watcher.state.degraded is None


@pytest.mark.parametrize("what", ["", "manifest.json", "item_item.npy"])
async def test_an_unreadable_version_is_marked_and_served_once_it_can_be_read(service: Make, what: str) -> None:
    made = service("v1.0.0")
    with mode_bits_count():
        await made.watcher.start()
        path = made.arrive("v1.0.1") / what
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            await made.watcher.rescan()
            assert made.serving == "v1.0.0"
            assert "Permission denied" in made.reasons["v1.0.1"]
        finally:
            path.chmod(mode)
        await made.watcher.rescan()

    assert made.serving == "v1.0.1"
    assert made.reasons == {}


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: os.truncate(path, 0),
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
        Path.unlink,
    ],
    ids=["emptied", "truncated", "overwritten", "deleted"],
)
async def test_files_harmed_under_a_running_service_change_no_answer(
    service: Make, harm: Callable[[Path], object]
) -> None:
    made = service("v1.0.0")
    async with made.running():
        answer = made.answer()
        for path in sorted((made.models / "v1.0.0").iterdir()):
            harm(path)
        await made.until(lambda: made.reasons)

        assert made.answer() == answer
        assert made.serving == "v1.0.0"
        assert "served from memory" in str(made.watcher.state.degraded)

        shutil.rmtree(made.models / "v1.0.0")
        made.arrive("v1.0.0")
        await made.until(lambda: made.watcher.state.degraded is None)
        assert made.swaps == ["v1.0.0"]


async def test_harmed_files_let_nothing_lower_up(service: Make) -> None:
    made = service("v1.0.0", "v1.0.1")
    await made.watcher.start()
    os.truncate(made.models / "v1.0.1" / "item_item.npy", 100)

    await made.watcher.rescan()

    assert made.serving == "v1.0.1"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds one and a half of the sample's models."""
    with small_disk_at(tmp_path / "models", "7m") as path:
        yield path


async def test_a_disk_filled_by_a_copy_changes_nothing_until_there_is_room(small_disk: Path, service: Make) -> None:
    made = service()
    shutil.copytree(made.source, small_disk / "v1.0.0")
    prepared = made.prepare("v1.0.1")
    async with made.running():
        answer = made.answer()
        with suppress(OSError):
            shutil.copytree(prepared, small_disk / "v1.0.1")
        assert shutil.disk_usage(small_disk).free < 4096
        await made.until(lambda: made.reasons)
        assert made.serving == "v1.0.0"
        assert made.answer() == answer

        grow = ["mount", "-o", "remount,size=14m", str(small_disk)]
        await asyncio.to_thread(subprocess.run, grow, check=True)
        shutil.copytree(prepared, small_disk / "v1.0.1", dirs_exist_ok=True)
        await made.until(lambda: made.serving == "v1.0.1")
        assert made.reasons == {}


async def test_marks_that_cannot_be_written_are_kept_in_memory(service: Make) -> None:
    made = service("v1.0.0")
    await made.watcher.start()
    shutil.rmtree(made.directory / "state")
    (made.directory / "state").write_bytes(b"")
    made.arrive("v1.0.1", lambda path: (path / "users.jsonl").write_bytes(b""))

    await made.watcher.rescan()
    await made.watcher.rescan()

    assert made.serving == "v1.0.0"
    assert set(made.reasons) == {"v1.0.1"}


async def test_a_pin_that_cannot_be_read_holds_as_it_was_last_seen(service: Make) -> None:
    made = service("v1.0.0", "v1.0.1")
    made.marks.pin(Version(1, 0, 0))
    await made.watcher.start()
    (made.marks.directory / "pin.json").write_bytes(b"{")

    await made.watcher.rescan()

    assert made.serving == "v1.0.0"
    assert "pin.json" in str(made.watcher.state.degraded)


async def test_marks_that_cannot_be_read_at_start_do_not_stop_it(service: Make) -> None:
    made = service("v1.0.0")
    for name in ("pin.json", "quarantine.json"):
        (made.marks.directory / name).write_bytes(b"{")

    await made.watcher.start()

    assert made.serving == "v1.0.0"
    assert made.watcher.state.degraded is not None


@pytest.mark.timeout(30)
async def test_pipes_links_and_strangers_in_the_directory_hold_nothing_up(service: Make) -> None:
    made = service("v1.0.0")
    os.mkfifo(made.models / "v1.0.1")
    (made.models / "v1.0.2").symlink_to(made.models / "v1.0.0")
    (made.models / "v1.0.3").symlink_to("v1.0.3")
    (made.models / "v1.0.4").write_bytes(b"")
    (made.models / os.fsdecode(b"\xff")).mkdir()
    pipe = made.arrive("v1.0.5") / "model.json"
    pipe.unlink()
    os.mkfifo(pipe)

    await made.watcher.start()

    assert made.serving == "v1.0.0"
    assert set(made.reasons) == {"v1.0.1", "v1.0.2", "v1.0.3", "v1.0.4", "v1.0.5"}


async def test_a_rescan_that_fails_is_not_the_last(service: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = service("v1.0.0", rescan_s=0.05)
    scan = made.watcher._store.scan
    failures = iter([ValueError("a bug"), OSError(5, "Input/output error")])

    def failing_scan() -> Any:
        for error in failures:
            raise error
        return scan()

    async with made.running():
        monkeypatch.setattr(made.watcher._store, "scan", failing_scan)
        made.arrive("v1.0.1")
        await made.until(lambda: made.serving == "v1.0.1")
    assert next(failures, None) is None


@pytest.mark.parametrize("turns", range(4))
async def test_it_ends_when_it_is_told_to_even_as_a_hint_comes_in(service: Make, turns: int) -> None:
    """`asyncio.wait_for` of Python 3.11 swallows a cancellation that meets the end of what it waits for."""
    made = service("v1.0.0", rescan_s=600)
    await made.watcher.start()
    task = asyncio.create_task(made.watcher.run())
    await asyncio.sleep(0.05)

    made.watcher.kick()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()

    done, _ = await asyncio.wait([task], timeout=5)
    task.cancel()
    assert done == {task}
