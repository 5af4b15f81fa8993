"""Publishing and fetching through a proxy that does harm at random: never a part of a version, never a wrong byte."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from small_versions import publish_small

from recsys.artifacts.bucket import Patience
from recsys.artifacts.pointer import move_pointer, next_pointer, read_pointer
from recsys.artifacts.remote import RemoteVersions
from recsys.artifacts.s3 import open_bucket
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import BucketError, RecsysError
from recsys.settings import S3Settings

_EPOCH_PATIENCE = Patience(tries=5, first_s=0.01, longest_s=0.1)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_whatever_happens_on_the_way_a_version_is_whole_or_not_there(
    bucket_server: str, make_s3: Callable[..., S3Settings], tmp_path: Path, full: bool
) -> None:
    here, there = ModelStore(tmp_path / "here"), ModelStore(tmp_path / "there")
    n_rounds, failures = (250 if full else 12), 0
    async with FaultProxy(bucket_server, share=0.25, seed=6) as proxy:
        settings = make_s3(bucket_server, through=proxy.address, timeout_s=2)
        async with open_bucket(settings, patience=_EPOCH_PATIENCE) as objects:
            sender = RemoteVersions(objects, here, patience=_EPOCH_PATIENCE)
            receiver = RemoteVersions(objects, there, patience=_EPOCH_PATIENCE)
            for number in range(n_rounds):
                version = Version(1, 0, number)
                manifest = publish_small(here, str(version), model=bytes([number]) * 300_000, items=b"{}")
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
                        failures += 1
                        assert all(entry.manifest is not None for entry in there.scan().entries)
                pulled = there.scan().find(version)
                assert pulled is not None
                assert manifest == pulled.manifest
                for name in ("model.json", "items.json"):
                    assert (here.path(version) / name).read_bytes() == (there.path(version) / name).read_bytes()
            proxy.share = 0.0
            pointer, _ = await read_pointer(objects)

    assert pointer is not None
    assert (n_rounds, f"v1.0.{n_rounds - 1}") == (pointer.generation, pointer.version)
    assert set(proxy.done) == set(proxy.harm)


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
