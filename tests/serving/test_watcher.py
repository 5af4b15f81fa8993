"""What is served follows the directory, the marks and the policy, within a second and without a gap."""

import fcntl
import os
import random
import shutil
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from arrivals import REJECTED, LoopMonitor, Service, digest_of, retitle, rewrite

from recsys.artifacts.marks import Marks
from recsys.artifacts.servable import Servable, load_servable
from recsys.artifacts.turns import go_on, yield_to_loop
from recsys.artifacts.version import Version
from recsys.serving import hints as hints_module
from recsys.serving import watcher as watcher_module

Make = Callable[..., Service]


async def test_at_start_the_highest_accepted_version_is_served(service: Make) -> None:
    made = service("v1.0.0", "v1.0.1")
    made.arrive("v1.0.2", gate=REJECTED)

    await made.watcher.start()

    assert made.serving == "v1.0.1"
    assert made.swaps == ["v1.0.1"]
    assert made.watcher.state.degraded is None


async def test_an_empty_directory_serves_nothing_and_says_so(service: Make) -> None:
    made = service()

    await made.watcher.start()

    assert made.serving is None
    assert made.watcher.state.decision.because == "nothing to serve"


async def test_a_new_version_is_served_within_a_second_of_its_rename(service: Make) -> None:
    made = service("v1.0.0")
    async with made.running():
        for version in ("v1.0.1", "v1.0.2", "v1.1.0"):
            made.arrive(version)

            took_s = await made.until(lambda wanted=version: made.serving == wanted)
            assert took_s < 1.0


async def test_only_a_load_beside_requests_waits_for_them(service: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one has nobody to wait for, and would take three times as long."""
    pauses = []

    def load(path: Path, *, pause: Callable[[], None]) -> Servable:
        pauses.append(pause)
        return load_servable(path, pause=pause)

    monkeypatch.setattr(watcher_module, "load_servable", load)
    made = service("v1.0.0")
    await made.watcher.start()
    made.arrive("v1.0.1")
    await made.watcher.rescan()

    assert made.serving == "v1.0.1"
    assert pauses == [go_on, yield_to_loop]


async def test_file_events_are_enough_without_the_timer(service: Make) -> None:
    made = service("v1.0.0", rescan_s=600)
    async with made.running():
        await made.events_arrive()
        made.arrive("v1.0.1")

        assert await made.until(lambda: made.serving == "v1.0.1") < 1.0


def broken_awatch(*_: object, **__: object) -> None:
    raise RuntimeError("no events here")


async def test_the_timer_is_enough_without_file_events(service: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's queue may overflow, and network mounts tell nothing."""
    monkeypatch.setattr(hints_module, "awatch", broken_awatch)
    made = service("v1.0.0")
    async with made.running():
        made.arrive("v1.0.1")

        assert await made.until(lambda: made.serving == "v1.0.1") < 1.0


async def test_a_kick_is_enough_without_either(service: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints_module, "awatch", broken_awatch)
    made = service("v1.0.0", rescan_s=600)
    async with made.running():
        made.arrive("v1.0.1")
        made.watcher.kick()

        await made.until(lambda: made.serving == "v1.0.1")


async def test_nothing_is_loaded_again_while_nothing_changes(service: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = count_loads(monkeypatch)
    made = service("v1.0.0", "v1.0.1")
    await made.watcher.start()
    for _ in range(5):
        await made.watcher.rescan()

    assert loaded == ["v1.0.1"]


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    loaded: list[str] = []

    def counting(path: Path, *, pause: Callable[[], None]) -> object:
        loaded.append(path.name)
        return load_servable(path, pause=pause)

    monkeypatch.setattr(watcher_module, "load_servable", counting)
    return loaded


def pieces(path: Path, random_: random.Random) -> list[tuple[str, int, int]]:
    """Every file of a version in a random order, some in several parts: what a copy writes, step by step."""
    steps = []
    names = sorted(os.listdir(path))
    random_.shuffle(names)
    for name in names:
        size = (path / name).stat().st_size
        cuts = sorted({0, size, *(random_.randrange(size + 1) for _ in range(random_.randrange(3)))})
        steps += [(name, start, end) for start, end in pairwise(cuts)] or [(name, 0, 0)]
    return steps


@pytest.mark.full
async def test_a_slow_copy_in_any_order_of_files_ends_up_served(service: Make, full: bool) -> None:
    """At every step of the copy a rescan looks, and until the last one the old model answers."""
    random_ = random.Random(20)
    made = service("v1.0.0")
    await made.watcher.start()
    answer = made.answer()
    for number in range(1, 61 if full else 9):
        version, before = f"v1.0.{number}", made.serving
        prepared = made.prepare(version)
        target = made.models / version
        target.mkdir()
        steps = pieces(prepared, random_)
        for at, (name, start, end) in enumerate(steps):
            assert made.serving == before, f"after {steps[:at]}"
            assert made.answer() == answer
            with (target / name).open("ab") as file:
                file.write((prepared / name).read_bytes()[start:end])
            await made.watcher.rescan()
        assert made.serving == version, f"after {steps}"
        assert version not in made.reasons
        assert version not in made.marks.failed()


async def test_a_slow_copy_under_a_running_watcher_ends_up_served(service: Make) -> None:
    made = service("v1.0.0")
    prepared = made.prepare("v1.0.1")
    async with made.running():
        await made.events_arrive()
        (made.models / "v1.0.1").mkdir()
        for name in sorted(os.listdir(prepared), reverse=True):
            assert made.serving == "v1.0.0"
            shutil.copy(prepared / name, made.models / "v1.0.1" / name)
            seen = made.watcher.state
            await made.until(lambda seen=seen: made.watcher.state is not seen)

        assert await made.until(lambda: made.serving == "v1.0.1") < 1.0
        assert made.watcher.state.failed == {}


async def test_a_copy_that_gives_each_file_its_size_first_ends_up_served(service: Make) -> None:
    """As rsync --inplace and parallel downloaders do: sizes agree long before contents."""
    made = service("v1.0.0")
    await made.watcher.start()
    prepared = made.prepare("v1.0.1")
    target = made.models / "v1.0.1"
    shutil.copytree(prepared, target)
    names = [name for name in sorted(os.listdir(prepared)) if name != "manifest.json"]
    for name in names:
        (target / name).write_bytes(bytes((prepared / name).stat().st_size))
        os.utime(target / name, (1, 1))
    await made.watcher.rescan()
    assert "v1.0.1" in made.reasons

    for name in names:
        assert made.serving == "v1.0.0"
        (target / name).write_bytes((prepared / name).read_bytes())
        await made.watcher.rescan()

    assert made.serving == "v1.0.1"
    assert made.reasons == {}


def flip_a_bit(version: Path) -> None:
    content = bytearray((version / "popularity.npy").read_bytes())
    content[-1] ^= 1
    (version / "popularity.npy").write_bytes(content)


async def test_a_bad_version_is_marked_with_the_reason_and_nothing_is_moved(service: Make) -> None:
    made = service("v1.0.0")
    async with made.running():
        path = made.arrive("v1.0.1", flip_a_bit)
        before = {file.name: file.read_bytes() for file in path.iterdir()}

        await made.until(lambda: made.reasons)

        assert made.serving == "v1.0.0"
        assert "popularity.npy does not have the SHA-256" in made.reasons["v1.0.1"]
        assert made.reasons["v1.0.1"] == made.marks.failed()["v1.0.1"].reason
        assert before == {file.name: file.read_bytes() for file in path.iterdir()}


async def test_a_bad_version_is_not_tried_again_until_it_has_changed(
    service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = count_loads(monkeypatch)
    made = service("v1.0.0")
    path = made.arrive("v1.0.1", flip_a_bit)
    await made.watcher.start()
    for _ in range(5):
        await made.watcher.rescan()
    assert loaded == ["v1.0.1", "v1.0.0"]

    flip_a_bit(path)
    await made.watcher.rescan()

    assert made.serving == "v1.0.1"
    assert made.reasons == {}
    assert made.marks.failed() == {}


async def test_a_mark_survives_a_restart(service: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = service("v1.0.0")
    path = made.arrive("v1.0.1", flip_a_bit)
    await made.watcher.start()
    reasons = made.reasons
    loaded = count_loads(monkeypatch)

    made.slot.current = None
    made.watcher = made.new_watcher()
    await made.watcher.start()
    assert loaded == ["v1.0.0"]
    assert made.reasons == reasons

    flip_a_bit(path)
    await made.watcher.rescan()
    assert made.serving == "v1.0.1"


async def test_a_mark_goes_with_its_directory(service: Make) -> None:
    made = service("v1.0.0")
    path = made.arrive("v1.0.1", flip_a_bit)
    await made.watcher.start()
    shutil.rmtree(path)

    await made.watcher.rescan()

    assert made.reasons == made.marks.failed() == {}


async def test_a_chain_of_bad_versions_ends_at_a_good_one(service: Make) -> None:
    made = service("v1.0.0")
    bad = [f"v1.0.{patch}" for patch in range(1, 8)]
    for version in bad:
        made.arrive(version, flip_a_bit)

    await made.watcher.start()

    assert made.serving == "v1.0.0"
    assert set(made.reasons) == set(bad)


async def test_a_rejected_version_is_never_served_by_itself_but_can_be_pinned(service: Make) -> None:
    made = service("v1.0.0")
    made.arrive("v1.0.1", gate=REJECTED)
    await made.watcher.start()
    assert made.serving == "v1.0.0"

    made.marks.pin(Version(1, 0, 1))
    await made.watcher.rescan()
    assert made.serving == "v1.0.1"

    made.marks.unpin()
    await made.watcher.rescan()
    assert made.serving == "v1.0.0"


async def test_a_pin_and_its_lifting_take_effect_within_a_second(service: Make) -> None:
    made = service("v1.0.0", "v1.0.1", rescan_s=600)
    operator = Marks(made.directory / "state")
    async with made.running():
        await made.events_arrive()
        assert made.serving == "v1.0.1"

        operator.pin(Version(1, 0, 0))
        assert await made.until(lambda: made.serving == "v1.0.0") < 1.0
        assert made.watcher.state.pin == Version(1, 0, 0)

        operator.unpin()
        assert await made.until(lambda: made.serving == "v1.0.1") < 1.0


async def test_a_pin_holds_against_higher_versions_and_over_a_restart(service: Make) -> None:
    made = service("v1.0.0")
    made.marks.pin(Version(1, 0, 0))
    await made.watcher.start()
    made.arrive("v1.0.1")
    await made.watcher.rescan()
    assert made.serving == "v1.0.0"

    made.slot.current = None
    made.watcher = made.new_watcher()
    await made.watcher.start()
    assert made.serving == "v1.0.0"


async def test_a_pin_on_a_bad_version_keeps_what_is_served_and_says_why(service: Make) -> None:
    made = service("v1.0.0", "v1.0.1")
    made.arrive("v1.0.2", flip_a_bit)
    await made.watcher.start()
    made.marks.pin(Version(1, 0, 2))

    await made.watcher.rescan()

    assert made.serving == "v1.0.1"
    assert made.watcher.state.degraded == "the pin names v1.0.2, which has failed"


async def test_a_pin_by_setting_wins_over_one_by_hand(service: Make) -> None:
    made = service("v1.0.0", "v1.0.1", "v1.0.2", setting_pin="v1.0.0")
    made.marks.pin(Version(1, 0, 1))

    await made.watcher.start()

    assert made.serving == "v1.0.0"
    assert made.watcher.state.pin_is_setting


async def test_it_never_goes_below_what_is_served_by_itself(service: Make) -> None:
    made = service("v1.0.0", "v1.0.1")
    await made.watcher.start()
    shutil.rmtree(made.models / "v1.0.1")

    await made.watcher.rescan()

    assert made.serving == "v1.0.1"
    assert "served from memory" in str(made.watcher.state.degraded)


async def test_other_content_under_the_served_name_is_served(service: Make) -> None:
    made = service("v1.0.0")
    await made.watcher.start()
    before = made.slot.current
    shutil.rmtree(made.models / "v1.0.0")
    made.arrive("v1.0.0", lambda path: retitle(path, "New"))

    await made.watcher.rescan()

    assert made.slot.current is not before
    assert digest_of(made.slot.current) != digest_of(before)


async def test_a_restored_copy_of_the_same_content_is_no_swap(service: Make) -> None:
    """A new copy has other times and inodes, and the same digest."""
    made = service("v1.0.0")
    await made.watcher.start()
    before = made.slot.current
    shutil.rmtree(made.models / "v1.0.0")
    made.arrive("v1.0.0")

    await made.watcher.rescan()
    await made.watcher.rescan()

    assert made.slot.current is before
    assert made.swaps == ["v1.0.0"]


async def test_a_verdict_that_changes_under_a_served_name_counts(service: Make) -> None:
    made = service("v1.0.0", "v1.0.1")
    await made.watcher.start()
    shutil.rmtree(made.models / "v1.0.1")
    made.arrive("v1.0.1", gate=REJECTED)

    await made.watcher.rescan()
    await made.watcher.rescan()

    assert made.serving == "v1.0.0"


def with_year(year: int) -> Callable[[Path], None]:
    def spoil(version: Path) -> None:
        lines = (version / "items.jsonl").read_bytes().splitlines(keepends=True)
        lines[0] = b'["%b","A film out of time",%d,[],null,null]\n' % (lines[0].split(b'"')[1], year)
        rewrite(version, "items.jsonl", b"".join(lines))

    return spoil


def with_header(described: bytes) -> Callable[[Path], None]:
    def spoil(version: Path) -> None:
        content = (version / "popularity.npy").read_bytes()
        rewrite(version, "popularity.npy", content[:10] + described.ljust(117) + b"\n" + content[128:])

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [with_year(10**9), with_year(-40_000), with_header(b"{'descr': ("), with_header(b"{1: 2, 'a': 3}")],
    ids=["year too large", "year too small", "unclosed header", "header of mixed keys"],
)
async def test_a_version_that_breaks_the_loader_is_marked_and_the_next_best_served(
    service: Make, spoil: Callable[[Path], None]
) -> None:
    made = service("v1.0.0")
    made.arrive("v1.0.1", spoil)

    await made.watcher.start()

    assert made.serving == "v1.0.0"
    assert set(made.reasons) == {"v1.0.1"}


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), OSError(5, "Input/output error"), MemoryError(), RecursionError()]
)
async def test_whatever_a_load_raises_costs_that_version_only(
    service: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """At start too, where an error would leave the service without a watcher, and so without a model for ever."""

    def breaking(path: Path, *, pause: Callable[[], None]) -> object:
        if path.name == "v1.0.1":
            raise error
        return load_servable(path, pause=pause)

    monkeypatch.setattr(watcher_module, "load_servable", breaking)
    made = service("v1.0.0", "v1.0.1")

    await made.watcher.start()

    assert made.serving == "v1.0.0"
    assert set(made.reasons) == {"v1.0.1"}


async def test_a_mark_that_waits_for_its_lock_does_not_hold_the_loop_up(service: Make) -> None:
    """`recsys models` in another process may hold it, and an fsync on a slow disk takes as long."""
    made = service("v1.0.0")
    await made.watcher.start()
    made.arrive("v1.0.1", flip_a_bit)
    lock = os.open(made.marks.directory / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    releasing = threading.Timer(0.5, lambda: os.close(lock))
    releasing.start()

    async with LoopMonitor() as monitor:
        await made.watcher.rescan()
    releasing.join()

    assert monitor.longest_s < 0.25
    assert set(made.reasons) == {"v1.0.1"}
