"""What the project asks of a bucket, in its own words: small objects under conditions, large ones in pieces, names.

Owns the terms, the patience with a bucket that stumbles, and how to write under a condition. `s3` opens the real one;
must not know any vendor.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from recsys.errors import BucketError, LostRaceError, NotSupportedError

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]
Told = Callable[[int], None]
MAX_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Found:
    """An object's content, and the tag that says which content it was."""

    content: bytes
    etag: str


class Objects(Protocol):
    """A bucket below a prefix. Every call has a time limit.

    Errors of each: ObjectMissingError; LostRaceError when a condition does not hold; BucketError for all else.
    """

    #: Names the bucket to a person.
    name: str
    #: Whether the store keeps conditions; if not, they are only looked at before a write, which is no protection
    #: against a second writer at the same moment.
    conditional: bool

    async def read(self, key: str, *, limit: int, unless: str | None = None) -> Found | None:
        """Return a whole object of at most `limit` bytes, None if its tag is still `unless`."""

    async def write(self, key: str, content: bytes, *, only_new: bool = False, only_if: str | None = None) -> str:
        """Write a small object and return its tag: only if there is none yet, or only if its tag is `only_if`."""

    async def fetch(self, key: str, start: int, stop: int, take: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand over the bytes from `start` up to `stop`, in pieces. One try: the caller knows how far it came."""

    async def send(self, key: str, source: Path, sha256: str, *, told: Told) -> None:
        """Write a file under a key that holds nothing yet, or this very content already (then nothing is sent).

        Errors: LostRaceError when the key holds something else.
        """

    async def names(self, prefix: str, *, folders: bool = False) -> list[str]:
        """List keys below `prefix`, or only the first folder of each."""

    async def remove(self, keys: Iterable[str]) -> None:
        """Remove objects; one that is not there is no error."""


@dataclass(frozen=True)
class Patience:
    """How often a call is tried again, and how long it waits: at random up to a bound that doubles each time."""

    tries: int = 5
    first_s: float = 0.2
    longest_s: float = 5.0
    sleep: Sleep = asyncio.sleep

    async def pause(self, number: int) -> None:
        await self.sleep(random.uniform(0, min(self.longest_s, self.first_s * 2**number)))  # noqa: S311  no secret

    async def of(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try until it works, it is no use, or patience is at its end. Errors: those of the last try."""
        for number in range(self.tries - 1):
            try:
                return await call()
            except BucketError as error:
                if not error.passing:
                    raise
            await self.pause(number)
        return await call()


async def write_under_condition(
    objects: Objects, key: str, content: bytes, *, only_new: bool = False, only_if: str | None = None
) -> str:
    """Write, and read back before believing a loss: the reply to a write that worked may have been lost, and its repeat
    then meets its own content. `content` must hold something that no other writer's does.

    Returns the tag. Errors: LostRaceError, BucketError.
    """
    try:
        return await objects.write(key, content, only_new=only_new, only_if=only_if)
    except BucketError as error:
        if isinstance(error, LostRaceError) or error.passing:
            found = await objects.read(key, limit=max(MAX_SMALL_BYTES, len(content) + 1))
            if found is not None and found.content == content:
                return found.etag
        raise


async def keeps_conditions(objects: Objects, *, key: str = "probe.json") -> bool:
    """Find out whether the store refuses a write whose condition does not hold. Some ignore it without a word.

    Errors: BucketError when that cannot be found out.
    """
    await objects.write(key, os.urandom(8).hex().encode())
    try:
        for condition in ({"only_new": True}, {"only_if": '"00000000000000000000000000000000"'}):
            try:
                await objects.write(key, os.urandom(8).hex().encode(), **condition)
            except LostRaceError:
                continue
            return False
    except NotSupportedError:
        return False
    return True


async def together(calls: Iterable[Coroutine[object, object, object]]) -> None:
    """Await all; when one fails, end the others first. Errors: that of the first to fail."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
