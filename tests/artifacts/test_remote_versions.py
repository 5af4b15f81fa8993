"""Versions to a bucket and back, and what a hostile bucket gets: refused with a reason, and nothing on the disk."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from memory_bucket import MemoryObjects
from small_versions import publish_small

from recsys.artifacts.bucket import Patience
from recsys.artifacts.manifest import Manifest
from recsys.artifacts.remote import RemoteVersions
from recsys.artifacts.s3 import open_bucket
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import BucketError, RecsysError, VersionInvalidError, VersionTakenError
from recsys.settings import S3Settings

V1 = Version(1, 0, 0)
_MANIFEST, _MODEL = "models/v1.0.0/manifest.json", "models/v1.0.0/model.json"


async def _at_once(seconds: float) -> None:
    return


@dataclass
class Bench:
    """One bucket in memory, a store to push from and one to pull into."""

    objects: MemoryObjects
    pusher: RemoteVersions
    puller: RemoteVersions
    here: ModelStore
    there: ModelStore

    def change_manifest(self, change: Callable[[dict[str, object]], object]) -> None:
        found = orjson.loads(self.objects.held[_MANIFEST][0])
        change(found)
        self.objects.put(_MANIFEST, orjson.dumps(found))

    @property
    def n_bytes_there(self) -> int:
        return sum(path.stat().st_size for path in self.there.directory.rglob("*") if path.is_file())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    objects, here, there = MemoryObjects(), ModelStore(tmp_path / "here"), ModelStore(tmp_path / "there")
    there.ensure()
    patience = Patience(tries=3, sleep=_at_once)
    return Bench(
        objects,
        RemoteVersions(objects, here, patience=patience),
        RemoteVersions(objects, there, patience=patience),
        here,
        there,
    )


async def test_a_version_comes_out_of_the_bucket_as_it_went_in(
    bucket_server: str, make_s3: Callable[..., S3Settings], trained_sample: Path, tmp_path: Path
) -> None:
    here, there = ModelStore(trained_sample), ModelStore(tmp_path / "there")
    told: list[tuple[int, int]] = []
    async with open_bucket(make_s3(bucket_server)) as objects:
        pushed = await RemoteVersions(objects, here).push(V1)
        pulled = await RemoteVersions(objects, there).pull(V1, pushed.digest, progress=lambda *done: told.append(done))

    assert pushed == pulled
    for record in pushed.files:
        assert (here.path(V1) / record.path).read_bytes() == (there.path(V1) / record.path).read_bytes()
    assert told[-1] == (pushed.total_bytes, pushed.total_bytes)
    assert list((there.directory / ".staging").iterdir()) == []


async def test_the_manifest_goes_last_and_under_a_condition(bench: Bench) -> None:
    publish_small(bench.here, "v1.0.0")
    await bench.pusher.push(V1)

    assert bench.objects.calls == [("send", _MODEL), ("write", _MANIFEST)]


async def test_pushing_twice_is_harmless(bench: Bench) -> None:
    publish_small(bench.here, "v1.0.0")

    assert await bench.pusher.push(V1) == await bench.pusher.push(V1)


async def test_a_name_is_claimed_once(bench: Bench) -> None:
    publish_small(bench.here, "v1.0.0", model=b"one")
    publish_small(bench.there, "v1.0.0", model=b"two")
    await bench.pusher.push(V1)

    with pytest.raises(VersionTakenError):
        await bench.puller.push(V1)
    assert bench.objects.held[_MODEL][0] == b"one"


async def test_a_version_that_is_spoiled_here_is_not_pushed(bench: Bench) -> None:
    publish_small(bench.here, "v1.0.0", model=b"good")
    (bench.here.path(V1) / "model.json").write_bytes(b"evil")

    with pytest.raises(VersionInvalidError, match="SHA-256"):
        await bench.pusher.push(V1)
    assert bench.objects.held == {}


async def test_what_is_here_already_is_not_fetched(bench: Bench) -> None:
    publish_small(bench.here, "v1.0.0")
    pushed = await bench.pusher.push(V1)
    await bench.puller.pull(V1, pushed.digest)
    bench.objects.calls.clear()
    await bench.puller.pull(V1, pushed.digest)

    assert bench.objects.calls == [("read", _MANIFEST)]


async def test_a_pull_goes_on_where_it_broke_off(bench: Bench) -> None:
    content = os.urandom(3_000_000)
    publish_small(bench.here, "v1.0.0", model=content)
    pushed = await bench.pusher.push(V1)
    starts: list[int] = []
    fetch = bench.objects.fetch

    async def broken(key: str, start: int, stop: int, take: Callable[[bytes], object]) -> None:
        async def some(piece: bytes) -> None:
            await take(piece)  # type: ignore[misc]
            if len(starts) % 2:
                raise BucketError("the connection broke")

        starts.append(start)
        await fetch(key, start, stop, some)

    bench.objects.fetch = broken  # type: ignore[method-assign]
    await bench.puller.pull(V1, pushed.digest)

    assert starts == [0, 2**18]
    assert (bench.there.path(V1) / "model.json").read_bytes() == content


async def test_a_later_pull_goes_on_with_what_an_earlier_one_fetched(bench: Bench) -> None:
    publish_small(bench.here, "v1.0.0", model=os.urandom(1_000_000))
    pushed = await bench.pusher.push(V1)
    starts: list[int] = []
    fetch = bench.objects.fetch

    async def ends_soon(key: str, start: int, stop: int, take: Callable[[bytes], object]) -> None:
        starts.append(start)
        await fetch(key, start, start + 999, take)  # type: ignore[arg-type]
        raise BucketError("no more", passing=False)

    bench.objects.fetch = ends_soon  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(BucketError, match="no more"):
            await bench.puller.pull(V1, pushed.digest)
        assert bench.there.scan().entries == ()
    bench.objects.fetch = fetch  # type: ignore[method-assign]
    await bench.puller.pull(V1, pushed.digest)

    assert starts == [0, 1000]
    assert (bench.here.path(V1) / "model.json").read_bytes() == (bench.there.path(V1) / "model.json").read_bytes()


async def test_a_file_that_goes_to_the_disk_in_steps_comes_whole(bench: Bench) -> None:
    content = os.urandom(20_000_000)
    publish_small(bench.here, "v1.0.0", model=content)
    pushed = await bench.pusher.push(V1)
    bench.objects.put(_MODEL, content[:-1] + b"?")
    with pytest.raises(VersionInvalidError):
        await bench.puller.pull(V1, pushed.digest)
    bench.objects.put(_MODEL, content)
    await bench.puller.pull(V1, pushed.digest)

    assert content == (bench.there.path(V1) / "model.json").read_bytes()


def _spoil(bench: Bench, manifest: Manifest) -> None:
    bench.objects.put(_MODEL, b"x" * manifest.files[0].bytes)


def _shorten(bench: Bench, manifest: Manifest) -> None:
    bench.objects.put(_MODEL, b"x")


def _blow_up(bench: Bench, manifest: Manifest) -> None:
    bench.objects.put(_MODEL, bytes(50_000_000))


def _remove(bench: Bench, manifest: Manifest) -> None:
    del bench.objects.held[_MODEL]


def _climb(bench: Bench, manifest: Manifest) -> None:
    bench.change_manifest(lambda found: found["files"][0].update(path="../../evil.json"))  # type: ignore[index]


def _absolute(bench: Bench, manifest: Manifest) -> None:
    bench.change_manifest(lambda found: found["files"][0].update(path="/etc/evil.json"))  # type: ignore[index]


def _rename(bench: Bench, manifest: Manifest) -> None:
    bench.change_manifest(lambda found: found.update(version="v9.0.0"))


def _swap(bench: Bench, manifest: Manifest) -> None:
    bench.change_manifest(lambda found: found["files"][0].update(sha256="0" * 64))  # type: ignore[index]


def _claim_all_space(bench: Bench, manifest: Manifest) -> None:
    bench.change_manifest(
        lambda found: found.update(
            files=[{"path": f"f{n:03}.npy", "bytes": 60 * 2**30, "sha256": "0" * 64} for n in range(900)]
        )
    )


def _bury(bench: Bench, manifest: Manifest) -> None:
    bench.objects.put(_MANIFEST, b"{" * 5_000_000)


def _babble(bench: Bench, manifest: Manifest) -> None:
    bench.objects.put(_MANIFEST, b"\xff\x00 no JSON")


@pytest.mark.parametrize(
    ("harm", "knows_digest", "reason"),
    [
        (_spoil, True, "SHA-256"),
        (_shorten, True, "has 1 bytes, the manifest says"),
        (_blow_up, True, "longer than the"),
        (_remove, True, "not in the bucket"),
        (_climb, False, "files.0.path"),
        (_absolute, False, "files.0.path"),
        (_rename, True, "is of v9.0.0"),
        (_swap, True, "its digest differs"),
        (_swap, False, "SHA-256"),
        (_claim_all_space, False, "are free"),
        (_bury, True, "more than"),
        (_babble, True, "manifest.json"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else None,
)
async def test_a_hostile_bucket_is_refused_with_a_reason(
    bench: Bench, harm: Callable[[Bench, Manifest], None], knows_digest: bool, reason: str
) -> None:
    publish_small(bench.here, "v1.0.0", model=os.urandom(1_000_000))
    pushed = await bench.pusher.push(V1)
    harm(bench, pushed)

    with pytest.raises(RecsysError, match=reason):
        await bench.puller.pull(V1, pushed.digest if knows_digest else None)
    assert bench.there.scan().entries == ()
    assert bench.n_bytes_there <= 1_000_000
    assert not (bench.there.directory.parent / "evil.json").exists()


async def test_a_link_in_the_staging_folder_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    publish_small(bench.here, "v1.0.0", model=b"new")
    pushed = await bench.pusher.push(V1)
    (tmp_path / "precious").write_bytes(b"old")
    staged = bench.there.directory / ".staging" / f"pull-v1.0.0-{pushed.digest[:16]}"
    staged.mkdir(parents=True)
    (staged / "model.json").symlink_to(tmp_path / "precious")

    with pytest.raises(RecsysError):
        await bench.puller.pull(V1, pushed.digest)
    assert (tmp_path / "precious").read_bytes() == b"old"


async def test_another_version_of_the_same_name_here_is_left_alone(bench: Bench) -> None:
    publish_small(bench.here, "v1.0.0", model=b"theirs")
    publish_small(bench.there, "v1.0.0", model=b"ours")
    pushed = await bench.pusher.push(V1)

    with pytest.raises(VersionTakenError):
        await bench.puller.pull(V1, pushed.digest)
    assert (bench.there.path(V1) / "model.json").read_bytes() == b"ours"


async def test_the_lowest_versions_go_but_never_a_protected_one(bench: Bench) -> None:
    for number in range(5):
        publish_small(bench.here, f"v1.0.{number}")
        await bench.pusher.push(Version(1, 0, number))

    assert await bench.pusher.prune(2, [V1]) == [Version(1, 0, n) for n in (1, 2, 3)]
    assert await bench.pusher.versions() == [V1, Version(1, 0, 4)]
    assert [operation for operation, key in bench.objects.calls if key.endswith("v1.0.1/manifest.json")][-1] == "remove"
