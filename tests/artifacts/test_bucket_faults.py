"""Publishing and fetching through a proxy that does harm at random: never a part of a version, never a wrong byte."""

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_proxy import HARM, FaultProxy
from small_versions import publish_small

from recsys.artifacts.bucket import Objects, Patience
from recsys.artifacts.pointer import move_pointer, next_pointer, read_pointer
from recsys.artifacts.remote import RemoteVersions
from recsys.artifacts.s3 import open_bucket
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import BucketError, RecsysError, UnknownVersionError
from recsys.settings import S3Settings

#: So little that much fails as a whole.
_EPOCH_PATIENCE = Patience(tries=2, first_s=0.01, longest_s=0.1)
#: What publishing and pulling a version of one file asks for, one after the other.
_CALLS = [
    "HEAD model.json",
    "PUT model.json",
    "PUT manifest.json",
    "GET current.json",
    "PUT current.json",
    "GET manifest.json",
    "GET model.json",
]


class Ends:
    """One who sends, one who receives, both through what does harm, and one who looks on and is spared."""

    def __init__(self, directory: Path) -> None:
        self.here, self.there = ModelStore(directory / "here"), ModelStore(directory / "there")
        self._onlooker = ModelStore(directory / "onlooker")
        self.failures = 0

    async def publish_and_pull(self, objects: Objects, spared: Objects, version: Version, **files: bytes) -> None:
        """Try until it has worked; after each failure, see that nobody is shown less than a whole version."""
        sender = RemoteVersions(objects, self.here, patience=_EPOCH_PATIENCE)
        receiver = RemoteVersions(objects, self.there, patience=_EPOCH_PATIENCE)
        manifest = publish_small(self.here, str(version), **files)
        for _ in range(20):
            try:
                await sender.push(version)
                before, etag = await read_pointer(objects)
                if before is None or before.version != str(version):
                    moved = next_pointer(before, manifest, who="a test", when=manifest.created_at)
                    await move_pointer(objects, moved, etag=etag)
                await receiver.pull(version, manifest.digest)
                break
            except RecsysError:
                self.failures += 1
                assert all(entry.manifest is not None for entry in self.there.scan().entries)
                await self._look_on(spared, version)
        pulled = self.there.scan().find(version)
        assert pulled is not None
        assert manifest == pulled.manifest
        for name, content in files.items():
            assert content == (self.there.path(version) / f"{name}.json").read_bytes()

    async def _look_on(self, spared: Objects, version: Version) -> None:
        remote = RemoteVersions(spared, self._onlooker)
        pointer, _ = await read_pointer(spared)
        if pointer is not None:
            await remote.pull(pointer.name, pointer.digest)
        with contextlib.suppress(UnknownVersionError):
            await remote.pull(version)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_whatever_happens_on_the_way_a_version_is_whole_or_not_there(
    bucket_server: str, make_s3: Callable[..., S3Settings], tmp_path: Path, full: bool
) -> None:
    ends, n_rounds = Ends(tmp_path), 500 if full else 12
    async with FaultProxy(bucket_server, share=0.25, seed=6) as proxy:
        settings = make_s3(bucket_server, through=proxy.address, timeout_s=2)
        direct = settings.model_copy(update={"endpoint_url": bucket_server})
        async with open_bucket(settings, patience=_EPOCH_PATIENCE) as objects, open_bucket(direct) as spared:
            for number in range(n_rounds):
                files = {"model": number.to_bytes(2, "big") * 150_000, "items": b"{}"}
                await ends.publish_and_pull(objects, spared, Version(1, 0, number), **files)
            pointer, _ = await read_pointer(spared)

    assert pointer is not None
    assert (n_rounds, f"v1.0.{n_rounds - 1}") == (pointer.generation, pointer.version)
    assert set(HARM) == set(proxy.done)
    assert ends.failures > 0


@pytest.mark.full
async def test_each_harm_to_each_call_is_made_good(
    bucket_server: str, make_s3: Callable[..., S3Settings], tmp_path: Path, full: bool
) -> None:
    """All of them, or in a short run every third."""
    strikes = [*itertools.product(range(len(_CALLS)), HARM)][:: 1 if full else 3]
    ends, struck = Ends(tmp_path), list[tuple[str, str]]()
    async with FaultProxy(bucket_server) as proxy:
        settings = make_s3(bucket_server, through=proxy.address)
        direct = settings.model_copy(update={"endpoint_url": bucket_server})
        async with open_bucket(settings, patience=_EPOCH_PATIENCE) as objects, open_bucket(direct) as spared:
            await ends.publish_and_pull(objects, spared, Version(1, 0, 0), model=b"")
            for number, (call, harm) in enumerate(strikes, start=1):
                strike = len(proxy.asked) + call
                proxy.at = lambda asked, strike=strike, harm=harm: harm if asked == strike else ""  # type: ignore[misc]
                await ends.publish_and_pull(objects, spared, Version(1, 0, number), model=b"%d" % number)
                method, path, _ = proxy.asked[strike].decode().split(" ")
                struck.append((f"{method} {path.rpartition('/')[2].partition('?')[0]}", proxy.done[-1]))

    assert [(_CALLS[call], harm) for call, harm in strikes] == struck
    assert len(strikes) == len(proxy.done)


@pytest.mark.parametrize("harm", ["reset", "truncate", "500", "503", "lose the reply"])
async def test_a_harm_that_never_ends_is_given_up_with_a_reason(
    moto: str, make_s3: Callable[..., S3Settings], harm: str
) -> None:
    async with FaultProxy(moto, share=1.0, harm=(harm,)) as proxy:
        patience = Patience(tries=3, first_s=0.001)
        async with open_bucket(make_s3(moto, through=proxy.address, timeout_s=2), patience=patience) as objects:

            async def there_and_back() -> None:
                await objects.write("a.json", b"one")
                await objects.read("a.json", limit=10)

            with pytest.raises(BucketError):
                await there_and_back()
    assert len(proxy.done) >= 3
