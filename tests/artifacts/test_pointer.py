"""Which pointer may follow which, who wins a race for it, and what is remembered of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from memory_bucket import MemoryObjects
from small_versions import publish_small

from recsys.artifacts.pointer import (
    KEY,
    Pointer,
    PointerMemory,
    move_pointer,
    next_pointer,
    read_pointer,
    refuse_older,
    rollback_target,
)
from recsys.artifacts.store import ModelStore
from recsys.errors import BucketError, LostRaceError, PointerRefusedError, StoreError

_THEN = datetime(2026, 1, 1, tzinfo=UTC)


def pointer(generation: int = 1, *, version: str = "v1.0.0", minutes: int = 0, rollback: bool = False) -> Pointer:
    return Pointer(
        version=version,
        digest="0" * 64,
        generation=generation,
        who="a test",
        when=_THEN + timedelta(minutes=minutes),
        rollback=rollback,
        nonce=f"{generation:032x}",
    )


@pytest.mark.parametrize(
    ("seen", "found", "is_refused"),
    [
        (None, pointer(1), False),
        (pointer(4), pointer(5), False),
        (pointer(4), pointer(4), False),
        (pointer(4), pointer(3), True),
        (pointer(4), pointer(4, version="v1.0.1"), True),
        (pointer(4), pointer(5, version="v0.9.0", rollback=True), False),
        (pointer(4), pointer(2, rollback=True, minutes=1), False),
        (pointer(4), pointer(2, rollback=True, minutes=-1), True),
        (pointer(4), pointer(2, minutes=1), True),
    ],
)
def test_an_older_pointer_is_refused_unless_somebody_meant_to_go_back(
    seen: Pointer | None, found: Pointer, is_refused: bool
) -> None:
    if is_refused:
        with pytest.raises(PointerRefusedError, match="generation"):
            refuse_older(seen, found)
    else:
        refuse_older(seen, found)


def test_the_next_pointer_counts_on_and_says_when_it_goes_back(tmp_path: Path) -> None:
    manifest = publish_small(ModelStore(tmp_path), "v1.0.3")
    forward = next_pointer(pointer(7, version="v1.0.2"), manifest, who="me", when=_THEN)
    back = next_pointer(pointer(7, version="v1.0.4"), manifest, who="me", when=_THEN)

    assert (forward.generation, forward.rollback) == (8, False)
    assert (back.generation, back.rollback) == (8, True)


def test_a_rollback_goes_to_the_highest_accepted_version_below(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    manifests = [publish_small(store, f"v1.0.{n}", accepted=n != 2) for n in range(5)]

    assert rollback_target(pointer(version="v1.0.3"), manifests) == manifests[1]
    assert rollback_target(pointer(version="v1.0.0"), manifests) is None


async def test_of_two_who_move_it_one_loses() -> None:
    objects = MemoryObjects()
    etag = await move_pointer(objects, pointer(1), etag=None)
    await move_pointer(objects, pointer(2), etag=etag)

    with pytest.raises(LostRaceError):
        await move_pointer(objects, pointer(3), etag=etag)
    with pytest.raises(LostRaceError):
        await move_pointer(objects, pointer(3), etag=None)
    assert (await read_pointer(objects))[0] == pointer(2)


@pytest.mark.parametrize("error", [LostRaceError("412", passing=False), BucketError("the connection broke")])
async def test_a_move_whose_reply_was_lost_has_worked(error: BucketError) -> None:
    """The library repeats its own write, and is then told that somebody was first: itself."""
    objects = MemoryObjects()

    def lose(operation: str, key: str) -> None:
        raise error

    objects.lose = lose
    etag = await move_pointer(objects, pointer(1), etag=None)

    assert (pointer(1), etag) == await read_pointer(objects)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"version": "v1.0.0"}',
        pointer().to_json().replace(b"v1.0.0", b"../../etc"),
        pointer().to_json().replace(b'"generation": 1', b'"generation": 1e400'),
        pointer().to_json().replace(b'"rollback"', b'"surprise"'),
    ],
)
async def test_what_is_no_pointer_is_refused_with_a_reason(content: bytes) -> None:
    objects = MemoryObjects()
    objects.put(KEY, content)

    with pytest.raises(PointerRefusedError, match="cannot be understood"):
        await read_pointer(objects)


async def test_no_pointer_and_one_that_has_not_moved_are_told_apart() -> None:
    objects = MemoryObjects()
    assert await read_pointer(objects, unless='"1"') == (None, None)
    etag = await move_pointer(objects, pointer(1), etag=None)

    assert (None, etag) == await read_pointer(objects, unless=etag)


class TestMemory:
    def test_keeps_the_last_pointer(self, tmp_path: Path) -> None:
        PointerMemory(tmp_path, "s3://films").save(pointer(3))

        assert pointer(3) == PointerMemory(tmp_path, "s3://films").load()

    def test_forgets_that_of_another_bucket(self, tmp_path: Path) -> None:
        PointerMemory(tmp_path, "s3://films").save(pointer(3))

        assert PointerMemory(tmp_path, "s3://others").load() is None

    @pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"{"), lambda path: path.write_bytes(b"[1]")])
    def test_says_so_when_it_cannot_be_read(self, tmp_path: Path, spoil: Callable[[Path], object]) -> None:
        memory = PointerMemory(tmp_path, "s3://films")
        memory.save(pointer(3))
        spoil(tmp_path / "store" / "pointer.json")

        with pytest.raises(StoreError, match="put it right or delete it"):
            memory.load()
