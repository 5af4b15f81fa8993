"""A version's way into a bucket and out again, in a process of its own. Prints what it took as JSON.

Run as `python -m benchmarks.bucket_client SIDE FROM INTO`: SIDE is `ours` or `plain`; the settings name the bucket.

The plain client is the bare library with its fastest settings: the same objects and parts with the same concurrency,
nothing looked at before, no checksum, nothing proven. In the end its files are on the disk as ours are; what it takes
without that is measured too.
"""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import uvloop

from recsys.artifacts.remote import RemoteVersions
from recsys.artifacts.s3 import open_bucket
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.settings import S3Settings, load_settings

_VERSION = Version(1, 0, 0)
_PART_BYTES = 8 * 2**20
_PIECE_BYTES = 2**20


class Side(Protocol):
    async def push(self, models: Path) -> None: ...

    async def pull(self, models: Path) -> None: ...

    async def sync(self, models: Path) -> None:
        """Wait until what was pulled is on the disk."""


class Ours:
    """What a service does."""

    def __init__(self, objects: Any) -> None:
        self._objects = objects

    async def push(self, models: Path) -> None:
        await RemoteVersions(self._objects, ModelStore(models)).push(_VERSION)

    async def pull(self, models: Path) -> None:
        store = ModelStore(models)
        store.ensure()
        await RemoteVersions(self._objects, store).pull(_VERSION)

    async def sync(self, models: Path) -> None:
        return


class Plain:
    """The bare library."""

    def __init__(self, client: Any, settings: S3Settings) -> None:
        self._client, self._bucket = client, settings.bucket
        self._slots = asyncio.Semaphore(settings.max_concurrency)

    async def push(self, models: Path) -> None:
        await _all(self._send(path) for path in (models / str(_VERSION)).iterdir())

    async def _send(self, path: Path) -> None:
        named = {"Bucket": self._bucket, "Key": f"models/{_VERSION}/{path.name}"}
        n_bytes = (await asyncio.to_thread(path.stat)).st_size
        if n_bytes <= _PART_BYTES:
            content = await asyncio.to_thread(path.read_bytes)
            await self._in_turn(self._client.put_object(Body=content, **named))
            return
        upload = {"UploadId": (await self._client.create_multipart_upload(**named))["UploadId"], **named}

        async def part(number: int) -> dict[str, Any]:
            async with self._slots:
                content = await asyncio.to_thread(_read, path, (number - 1) * _PART_BYTES)
                answer = await self._client.upload_part(PartNumber=number, Body=content, **upload)
            return {"PartNumber": number, "ETag": answer["ETag"]}

        parts = await _all(part(number) for number in range(1, -(-n_bytes // _PART_BYTES) + 1))
        await self._client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)

    async def pull(self, models: Path) -> None:
        directory = models / str(_VERSION)
        directory.mkdir(parents=True)
        found = await self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"models/{_VERSION}/")
        await _all(self._in_turn(self._fetch(each["Key"], directory)) for each in found["Contents"])

    async def _fetch(self, key: str, directory: Path) -> None:
        answer = await self._client.get_object(Bucket=self._bucket, Key=key)
        with (directory / key.rpartition("/")[2]).open("xb") as file:
            async with answer["Body"] as body:
                while piece := await body.read(_PIECE_BYTES):
                    await asyncio.to_thread(file.write, piece)

    async def sync(self, models: Path) -> None:
        for path in (models / str(_VERSION)).iterdir():
            with path.open("rb") as file:
                await asyncio.to_thread(os.fsync, file.fileno())

    async def _in_turn(self, call: Awaitable[Any]) -> Any:
        async with self._slots:
            return await call


async def _all(calls: Iterable[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*calls))


def _read(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(_PART_BYTES)


def _open(side: str, settings: S3Settings) -> AbstractAsyncContextManager[Any]:
    if side == "ours":
        return open_bucket(settings)
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    config = AioConfig(
        max_pool_connections=settings.max_concurrency + 2,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path", "payload_signing_enabled": False},
    )
    return get_session().create_client("s3", endpoint_url=settings.endpoint_url, config=config)  # type: ignore[no-any-return]


async def _measure(side: str, source: Path, target: Path) -> dict[str, float]:
    settings = load_settings(os.environ).s3
    async with _open(side, settings) as opened:
        transfer: Side = Ours(opened) if side == "ours" else Plain(opened, settings)
        started = time.perf_counter()
        await transfer.push(source)
        pushed = time.perf_counter()
        await transfer.pull(target)
        pulled = time.perf_counter()
        await transfer.sync(target)
        synced = time.perf_counter()
    return {
        "push_s": pushed - started,
        "pull_s": synced - pushed,
        "pull_to_memory_s": pulled - pushed,
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    """The usage that a parent is told of counts what the parent had before the child became another program."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    measured = uvloop.run(_measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
    # what one side has left for the disk must not slow the other
    os.sync()
    print(json.dumps(measured))
