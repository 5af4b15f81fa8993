"""A bucket in memory, for tests of what is done with one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from recsys.artifacts.bucket import Found
from recsys.errors import BucketError, LostRaceError, ObjectMissingError


class MemoryObjects:
    """A bucket in memory that several services share. `calls` records what was asked of it; `harm` may raise before a
    call has its effect, `lose` after.
    """

    def __init__(self) -> None:
        self.name = "memory"
        self.conditional = True
        self.held: dict[str, tuple[bytes, str, str]] = {}
        self.calls: list[tuple[str, str]] = []
        self.harm: Callable[[str, str], None] = lambda operation, key: None
        self.lose: Callable[[str, str], None] = lambda operation, key: None
        self._count = 0

    async def _called(self, operation: str, key: str) -> None:
        self.calls.append((operation, key))
        await asyncio.sleep(0)
        self.harm(operation, key)

    def put(self, key: str, content: bytes, sha256: str = "") -> str:
        self._count += 1
        self.held[key] = content, f'"{self._count}"', sha256
        return self.held[key][1]

    async def read(self, key: str, *, limit: int, unless: str | None = None) -> Found | None:
        await self._called("read", key)
        if key not in self.held:
            raise ObjectMissingError(f"{key} is not there", passing=False)
        content, etag, _ = self.held[key]
        if etag == unless:
            return None
        if len(content) > limit:
            raise BucketError(f"{key} holds more than {limit} bytes", passing=False)
        return Found(content, etag)

    async def write(self, key: str, content: bytes, *, only_new: bool = False, only_if: str | None = None) -> str:
        await self._called("write", key)
        if self.conditional and ((only_new and key in self.held) or (only_if and self._etag(key) != only_if)):
            raise LostRaceError(f"{key} was written by somebody else", passing=False)
        etag = self.put(key, content)
        self.lose("write", key)
        return etag

    def _etag(self, key: str) -> str | None:
        return self.held[key][1] if key in self.held else None

    async def fetch(self, key: str, start: int, stop: int, take: Callable[[bytes], Awaitable[None]]) -> None:
        await self._called("fetch", key)
        if key not in self.held:
            raise ObjectMissingError(f"{key} is not there", passing=False)
        content = self.held[key][0]
        for at in range(start, min(stop + 1, len(content)), 2**18):
            await take(content[at : min(at + 2**18, stop + 1)])

    async def send(self, key: str, source: Path, sha256: str, *, told: Callable[[int], None]) -> None:
        await self._called("send", key)
        if key in self.held and self.held[key][2] != sha256:
            raise LostRaceError(f"{key} holds something else already", passing=False)
        content = await asyncio.to_thread(source.read_bytes)
        self.put(key, content, sha256)
        told(len(content))

    async def names(self, prefix: str, *, folders: bool = False) -> list[str]:
        await self._called("names", prefix)
        found = [key for key in self.held if key.startswith(prefix)]
        return sorted({key[len(prefix) :].split("/")[0] for key in found}) if folders else found

    async def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            await self._called("remove", key)
            self.held.pop(key, None)
