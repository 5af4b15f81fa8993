"""A bucket whose owner means harm, before a real service: each lie is refused with a reason, and serving goes on."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from buckets import CREDENTIALS
from fault_proxy import FaultProxy
from service import ServerProcess, copy_version

from recsys.artifacts.bucket import Objects
from recsys.artifacts.manifest import Manifest, parse_manifest
from recsys.artifacts.pointer import KEY, Pointer, next_pointer
from recsys.artifacts.remote import RemoteVersions
from recsys.artifacts.s3 import open_bucket
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.settings import S3Settings


class Owner:
    """Whoever holds the bucket: publishes as one should, and then changes what is there."""

    def __init__(self, objects: Objects, desk: ModelStore, trained: Path) -> None:
        self.objects = objects
        self.desk = desk
        self._trained = trained
        self.pointer: Pointer | None = None

    async def publish(self, version: str, lie: "Lie | None" = None) -> None:
        """Publish a good version, put the lie into it, then move the pointer to it, or to the manifest of the lie."""
        await asyncio.to_thread(self._make, version)
        manifest = await RemoteVersions(self.objects, self.desk).push(Version.parse(version))
        if lie is not None:
            manifest = await lie(self, version) or manifest
        self.pointer = next_pointer(self.pointer, manifest, who="the owner", when=manifest.created_at)
        await self.objects.write(KEY, self.pointer.to_json())

    def _make(self, version: str) -> None:
        (self.desk.directory / ".staging").mkdir(parents=True, exist_ok=True)
        copy_version(self._trained / "v1.0.0", self.desk.directory / version)

    def file(self, version: str, name: str) -> bytes:
        return (self.desk.directory / version / name).read_bytes()

    async def write_manifest(self, version: str, change: Callable[[dict[str, Any]], object]) -> bytes:
        manifest = orjson.loads(self.file(version, "manifest.json"))
        change(manifest)
        content = orjson.dumps(manifest)
        await self.objects.write(f"models/{version}/manifest.json", content)
        return content


Lie = Callable[[Owner, str], Awaitable[Manifest | None]]


async def _change_bytes(owner: Owner, version: str) -> None:
    content = bytearray(owner.file(version, "items.jsonl"))
    content[len(content) // 2] ^= 1
    await owner.objects.write(f"models/{version}/items.jsonl", bytes(content))


async def _climb(owner: Owner, version: str) -> None:
    await owner.write_manifest(version, lambda found: found["files"][0].update(path="../../../evil.json"))
    await owner.objects.write("evil.json", b"{}")


async def _swap(owner: Owner, version: str) -> None:
    await owner.objects.write(f"models/{version}/manifest.json", owner.file("v1.0.0", "manifest.json"))


async def _swap_files(owner: Owner, version: str) -> None:
    await owner.write_manifest(version, lambda found: found["files"][0].update(sha256="0" * 64))


async def _claim_all_space(owner: Owner, version: str) -> Manifest:
    huge = [{"path": f"f{n:03}.npy", "bytes": 60 * 2**30, "sha256": "0" * 64} for n in range(900)]
    return parse_manifest(await owner.write_manifest(version, lambda found: found.update(files=huge)), name=version)


_LIES: dict[str, tuple[Lie, str]] = {
    "v1.0.2": (_change_bytes, "SHA-256"),
    "v1.0.3": (_climb, "files.0.path"),
    "v1.0.4": (_swap, "is of v1.0.0"),
    "v1.0.5": (_swap_files, "its digest differs"),
    "v1.0.6": (_claim_all_space, "are free"),
}


@pytest.mark.slow
async def test_what_a_hostile_bucket_says_is_refused_and_serving_goes_on(
    bucket_server: str,
    make_s3: Callable[..., S3Settings],
    serve: Callable[..., ServerProcess],
    trained_sample: Path,
    tmp_path: Path,
) -> None:
    models = tmp_path / "deep" / "down" / "models"
    settings = make_s3(bucket_server)
    async with FaultProxy(bucket_server) as proxy, open_bucket(settings) as objects:
        owner = Owner(objects, ModelStore(tmp_path / "desk"), trained_sample)
        await owner.publish("v1.0.0")
        first = owner.pointer
        assert first is not None
        await owner.publish("v1.0.1")
        environ = {
            **CREDENTIALS,
            "RECSYS_S3__BUCKET": settings.bucket or "",
            "RECSYS_S3__PREFIX": settings.prefix,
            "RECSYS_S3__ENDPOINT_URL": proxy.address,
            "RECSYS_S3__ROLE": "pull",
            "RECSYS_S3__POLL_INTERVAL_S": "0.1",
            "RECSYS_PATHS__MODELS": str(models),
        }
        server = await asyncio.to_thread(serve, environ=environ)

        async def refused(reason: str) -> None:
            def says_so() -> bool:
                health = server.request("/health").json
                assert health["model_version"] == "v1.0.1"
                assert server.request("/api/v1/users/1/recommendations").status == 200
                return reason in (health["sync"]["problem"] or "")

            await asyncio.to_thread(server.wait_for, says_so, f"refused with {reason!r}", 30)

        for version, (lie, reason) in _LIES.items():
            await owner.publish(version, lie)
            await refused(reason)
        proxy.endless = "v1.0.7/items.jsonl"
        await owner.publish("v1.0.7")
        await refused("longer than the")
        await objects.write(KEY, first.to_json())
        await refused("generation 1; one of 2")
        await owner.publish("v1.0.8")
        await asyncio.to_thread(server.wait_version, "v1.0.8", 30)

    assert 0 < proxy.n_endless_bytes < 64 * 2**20
    one = _n_bytes(owner.desk.directory / "v1.0.8")
    assert _n_bytes(models) <= 3 * one
    assert sorted(path.name for path in models.glob("v*")) == ["v1.0.1", "v1.0.8"]
    assert _found(tmp_path, "evil.json") == []


def _n_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _found(directory: Path, name: str) -> list[Path]:
    return list(directory.rglob(name))
