"""Who may train: `lease.json` in the bucket, held by one service at a time.

A lease that does not change for `ttl_s` has lost its holder. That is measured by the watcher's own steady clock, from
when it saw the content first: clocks that disagree do no harm. The holder, for its part, gives up a while before that.
`generation` counts the holders. Must not know what training is.
"""

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import orjson
from pydantic import AwareDatetime, Field, ValidationError

from recsys.artifacts.bucket import MAX_SMALL_BYTES, Objects, write_under_condition
from recsys.artifacts.manifest import Record
from recsys.errors import AnotherTrainsError, BucketError, LostRaceError, ObjectMissingError

KEY = "lease.json"
_GIVE_UP_AT = 0.8


class LeaseRecord(Record):
    """`done` is when the last scheduled run that somebody ended was due; `when` is for people."""

    holder: str = Field(max_length=200)
    held: bool
    generation: int = Field(ge=1, le=2**53)
    done: AwareDatetime | None = None
    when: AwareDatetime
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")


@dataclass
class Held:
    """The lease in our hand. `taken_over` says that its last holder never gave it back."""

    record: LeaseRecord
    etag: str
    renewed_at: float
    taken_over: bool


class Lease:
    """One service's hand on the lease. `objects` gives the open bucket."""

    def __init__(
        self,
        objects: Callable[[], Awaitable[Objects]],
        *,
        who: str,
        ttl_s: float,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.who = who
        self.ttl_s = ttl_s
        self.held: Held | None = None
        self._objects = objects
        self._now = now
        self._clock = clock
        self._watched: tuple[str, float] | None = None

    async def try_take(self, due: datetime | None) -> str | None:
        """Take the lease if it is free, or has been still for too long. Returns who holds it, None when that is us now.
        `due` is the time of a scheduled run.

        Errors: AnotherTrainsError when somebody has done the run of that time, BucketError.
        """
        objects = await self._objects()
        try:
            found = await objects.read(KEY, limit=MAX_SMALL_BYTES)
        except ObjectMissingError:
            return await self._take(objects, None, None, taken_over=False)
        if found is None:
            raise BucketError(f"{objects.name}: answered a question that was not asked")
        record = _parse(found.content)
        if due is not None and record.done is not None and record.done >= due:
            raise AnotherTrainsError(f"{record.holder} has done the run that was due")
        now = self._clock()
        if record.held:
            if self._watched is None or self._watched[0] != found.etag:
                self._watched = found.etag, now
            if now - self._watched[1] < self.ttl_s:
                return record.holder
        return await self._take(objects, record, found.etag, taken_over=record.held)

    async def _take(
        self, objects: Objects, before: LeaseRecord | None, etag: str | None, *, taken_over: bool
    ) -> str | None:
        self._watched = None
        asked_at = self._clock()
        mine = self._record(before.generation + 1 if before else 1, held=True, done=before.done if before else None)
        try:
            new = await _write(objects, mine, etag)
        except LostRaceError:
            return "somebody who was quicker"
        self.held = Held(mine, new, asked_at, taken_over)
        return None

    async def renew(self) -> None:
        """Say that we are still here. Errors: AnotherTrainsError when the lease is no longer ours."""
        held = self.held
        if held is None:
            raise AnotherTrainsError("the lease is not ours")
        asked_at = self._clock()
        record = self._record(held.record.generation, held=True, done=held.record.done)
        try:
            held.etag = await _write(await self._objects(), record, held.etag)
        except LostRaceError as error:
            self.held = None
            raise AnotherTrainsError("another service has taken the lease over") from error
        except BucketError as error:
            if self._clock() - held.renewed_at < self.ttl_s * _GIVE_UP_AT:
                return
            self.held = None
            raise AnotherTrainsError(f"the lease could not be renewed: {error.detail}") from error
        held.record, held.renewed_at = record, asked_at

    async def release(self, done: datetime | None) -> None:
        """Give the lease back, and say which scheduled run is done. It is no longer ours, whatever happens.

        Errors: BucketError; the others then wait until it has been still for long enough.
        """
        held, self.held = self.held, None
        if held is None:
            return
        latest = max((moment for moment in (held.record.done, done) if moment is not None), default=None)
        try:
            await _write(
                await self._objects(), self._record(held.record.generation, held=False, done=latest), held.etag
            )
        except LostRaceError:
            return

    def _record(self, generation: int, *, held: bool, done: datetime | None) -> LeaseRecord:
        return LeaseRecord(
            holder=self.who, held=held, generation=generation, done=done, when=self._now(), nonce=os.urandom(16).hex()
        )


async def _write(objects: Objects, record: LeaseRecord, etag: str | None) -> str:
    content = orjson.dumps(record.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return await write_under_condition(objects, KEY, content, only_new=etag is None, only_if=etag)


def _parse(content: bytes) -> LeaseRecord:
    try:
        return LeaseRecord.model_validate_json(content)
    except ValidationError as error:
        raise BucketError(f"{KEY} in the bucket cannot be understood", hint="delete it", passing=False) from error
