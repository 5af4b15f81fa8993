"""The objects of a bucket through an S3 client: see `bucket.Objects` for what each call promises.

Every call has a time limit and is tried again here, and nowhere below, so that there is one patience and not two. Must
not import the client's library, whose errors `Translate` puts into our words.
"""

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from recsys.artifacts.bucket import Found, Patience, Told, together
from recsys.artifacts.throttle import Throttle
from recsys.errors import BucketError, LostRaceError, ObjectMissingError
from recsys.settings import S3Settings

#: From an exception, the bucket's name, the key and the time limit to what to raise; None is for "not modified".
Translate = Callable[[Exception, str, str, float], Exception | None]

_PIECE_BYTES = 2**20
_PART_BYTES = 8 * 2**20
#: To put the parts of a large upload together takes a store longer than any other call.
LONGEST_CALL = 6
_MAX_PARTS = 10_000
_MAX_NAMES = 100_000
_DIGEST = "sha256"


class S3Objects:
    """A bucket below a prefix: see `bucket.Objects`."""

    def __init__(self, client: Any, settings: S3Settings, translate: Translate, patience: Patience) -> None:
        self._client = client
        self._bucket = settings.bucket or ""
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        self._timeout_s = settings.timeout_s
        self._translate = translate
        self._patience = patience
        self._slots = asyncio.Semaphore(settings.max_concurrency)
        self._throttle = Throttle(settings.max_bandwidth_mb_s)
        self.name = bucket_name(settings)
        self.conditional = True

    async def read(self, key: str, *, limit: int, unless: str | None = None) -> Found | None:
        condition = {"IfNoneMatch": unless} if unless is not None else {}

        async def once() -> Found | None:
            async with self._limited(key):
                try:
                    answer = await self._client.get_object(Bucket=self._bucket, Key=self._prefix + key, **condition)
                except Exception as error:
                    if self._translate(error, self.name, key, self._timeout_s) is None:
                        return None
                    raise
                async with answer["Body"] as body:
                    content = bytearray()
                    while len(content) <= limit and (piece := await body.read(limit + 1 - len(content))):
                        content += piece
            if len(content) > limit:
                raise BucketError(f"{self.name}: {key} holds more than {limit} bytes", passing=False)
            return Found(bytes(content), answer["ETag"])

        return await self._patience.of(once)

    async def write(self, key: str, content: bytes, *, only_new: bool = False, only_if: str | None = None) -> str:
        if not self.conditional and (only_new or only_if is not None):
            await self._look_first(key, only_if)
            return await self._put(key, content, {})
        condition = {"IfNoneMatch": "*"} if only_new else {"IfMatch": only_if} if only_if is not None else {}
        try:
            return await self._put(key, content, condition)
        except ObjectMissingError as error:
            raise LostRaceError(f"{self.name}: {key} is gone", passing=False) from error

    async def _look_first(self, key: str, only_if: str | None) -> None:
        try:
            answer = await self._call(key, "head_object")
        except ObjectMissingError as error:
            if only_if is None:
                return
            raise LostRaceError(f"{self.name}: {key} is gone", passing=False) from error
        if answer["ETag"] != only_if:
            raise LostRaceError(f"{self.name}: {key} is there already, or has changed", passing=False)

    async def _put(self, key: str, content: bytes, options: dict[str, Any]) -> str:
        def body() -> dict[str, Any]:
            return {"Body": io.BytesIO(content), "ContentMD5": _md5(content), **options}

        return str((await self._call(key, "put_object", body))["ETag"])

    async def fetch(self, key: str, start: int, stop: int, take: Callable[[bytes], Awaitable[None]]) -> None:
        async with self._slots:
            async with self._limited(key):
                # one byte more than is wanted, so that too long an object shows itself and costs no more than that
                answer = await self._client.get_object(
                    Bucket=self._bucket, Key=self._prefix + key, Range=f"bytes={start}-{stop}"
                )
            # a server that does not know ranges sends all of it
            to_skip = 0 if answer["ResponseMetadata"]["HTTPStatusCode"] == 206 else start
            remaining = stop + 1 - start
            async with answer["Body"] as body:
                while remaining > 0 and (piece := await self._piece(body, key)):
                    skipped = min(to_skip, len(piece))
                    to_skip -= skipped
                    wanted = piece[skipped : skipped + remaining]
                    remaining -= len(wanted)
                    if wanted:
                        await self._throttle.take(len(wanted))
                        await take(wanted)

    async def _piece(self, body: Any, key: str) -> bytes:
        """Read up to a megabyte within the time limit: a stream that only trickles is a failure too."""
        parts, n_bytes = list[bytes](), 0
        async with self._limited(key):
            while n_bytes < _PIECE_BYTES and (part := await body.read(_PIECE_BYTES - n_bytes)):
                parts.append(part)
                n_bytes += len(part)
        return b"".join(parts)

    async def send(self, key: str, source: Path, sha256: str, *, told: Told) -> None:
        n_bytes = (await asyncio.to_thread(source.stat)).st_size
        if await self._holds(key, n_bytes, sha256):
            told(n_bytes)
            return
        try:
            if n_bytes <= _PART_BYTES:
                await self._send_whole(key, source, sha256, told)
            else:
                await self._send_parts(key, source, n_bytes, sha256, told)
        except BucketError:
            # the reply to what worked may have been lost
            if not await self._holds(key, n_bytes, sha256):
                raise

    async def _holds(self, key: str, n_bytes: int, sha256: str) -> bool:
        """Whether the key holds this content. Errors: LostRaceError when it holds another."""
        try:
            found = await self._call(key, "head_object")
        except ObjectMissingError:
            return False
        if found["ContentLength"] == n_bytes and found.get("Metadata", {}).get(_DIGEST) == sha256:
            return True
        raise LostRaceError(f"{self.name}: {key} holds something else already", passing=False)

    def _only_new(self) -> dict[str, str]:
        return {"IfNoneMatch": "*"} if self.conditional else {}

    async def _send_whole(self, key: str, source: Path, sha256: str, told: Told) -> None:
        async with self._slots:
            content = await asyncio.to_thread(source.read_bytes)
            await self._throttle.take(len(content))
            await self._put(key, content, {"Metadata": {_DIGEST: sha256}, **self._only_new()})
            told(len(content))

    async def _send_parts(self, key: str, source: Path, n_bytes: int, sha256: str, told: Told) -> None:
        size = max(_PART_BYTES, -(-n_bytes // _MAX_PARTS))
        started = await self._call(key, "create_multipart_upload", lambda: {"Metadata": {_DIGEST: sha256}})
        upload = {"UploadId": started["UploadId"]}
        etags: dict[int, str] = {}

        async def part(number: int) -> None:
            async with self._slots:
                content, digest = await asyncio.to_thread(_read_part, source, (number - 1) * size, size)
                await self._throttle.take(len(content))
                answer = await self._call(
                    key,
                    "upload_part",
                    lambda: {"PartNumber": number, "Body": io.BytesIO(content), "ContentMD5": digest, **upload},
                )
                etags[number] = answer["ETag"]
                told(len(content))

        try:
            await together(part(number) for number in range(1, -(-n_bytes // size) + 1))
            parts = {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in sorted(etags.items())]}
            await self._call(
                key,
                "complete_multipart_upload",
                lambda: {"MultipartUpload": parts, **upload, **self._only_new()},
                limits=LONGEST_CALL,
            )
        except BaseException:
            # parts that are left behind cost money; when even this fails, the bucket's own rule for them has to do
            await asyncio.shield(self._forget_upload(key, upload))
            raise

    async def _forget_upload(self, key: str, upload: dict[str, str]) -> None:
        try:
            async with self._limited(key):
                await self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._prefix + key, **upload)
        except BucketError:
            return

    async def names(self, prefix: str, *, folders: bool = False) -> list[str]:
        whole, found, token = self._prefix + prefix, list[str](), dict[str, str]()
        delimiter = {"Delimiter": "/"} if folders else {}
        while True:
            answer = await self._call("", "list_objects_v2", {"Prefix": whole, **delimiter, **token}.copy)
            found += [each["Prefix"][len(whole) :].rstrip("/") for each in answer.get("CommonPrefixes", ())]
            if not folders:
                found += [each["Key"][len(self._prefix) :] for each in answer.get("Contents", ())]
            if not answer.get("IsTruncated"):
                return found
            if len(found) > _MAX_NAMES:
                raise BucketError(f"{self.name}: there are more than {_MAX_NAMES} names", passing=False)
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    async def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self._call(key, "delete_object")

    async def _call(
        self, key: str, operation: str, options: Callable[[], dict[str, Any]] = dict, *, limits: int = 1
    ) -> Any:
        """Carry an operation out within so many time limits, with patience. `options` is asked for each try: a body can
        be read only once.
        """
        named = {"Key": self._prefix + key} if key else {}

        async def once() -> Any:
            async with self._limited(key or "names", limits):
                return await getattr(self._client, operation)(Bucket=self._bucket, **named, **options())

        return await self._patience.of(once)

    @asynccontextmanager
    async def _limited(self, key: str, limits: int = 1) -> AsyncIterator[None]:
        """Bound the time of what is done here, and say its failures in our words."""
        limit_s = self._timeout_s * limits
        try:
            async with asyncio.timeout(limit_s):
                yield
        except BucketError:
            raise
        except Exception as error:
            raise self._translate(error, self.name, key, limit_s) or error from error


def bucket_name(settings: S3Settings) -> str:
    """Name the bucket to a person."""
    return f"s3://{settings.bucket}/{settings.prefix}".rstrip("/")


def _md5(content: bytes) -> str:
    """What S3 asks for to see that a body came whole; no protection against anybody."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _read_part(source: Path, start: int, size: int) -> tuple[bytes, str]:
    with source.open("rb") as file:
        file.seek(start)
        content = file.read(size)
    return content, _md5(content)
