"""The vocabulary of this room: what can be asked of the store, and what came of it.

Must not know SQL, and must not validate: whoever makes a change has checked it. What is made anew for each rating is a
tuple: a frozen data class takes four times as long.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from recsys.datasets.events import Event, Events, ItemChange
from recsys.errors import RecsysError

ShownKind = Literal["impression", "click", "watch"]


class Rating(NamedTuple):
    """One rating as it comes in. `timestamp` is unix seconds, None for the time of arrival. An `event_id` is the
    sender's own name for it and makes a resend harmless.
    """

    user_id: str
    item_id: str
    value: float
    timestamp: int | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """Something happened to an item that was recommended."""

    recommendation_id: str
    kind: ShownKind
    item_id: str
    model_version: str
    strategy: str


class Row(NamedTuple):
    """A rating as it is kept, or taken back (`value` None), with the keyed hashes of its user and its event's name."""

    hash: bytes
    user_id: str
    item_id: str
    value: float | None
    timestamp: int
    event_key: bytes | None


class PutRatings(NamedTuple):
    """Keep all of these, or none. `rows` are the same as they are kept, where they were made beforehand."""

    ratings: tuple[Rating, ...]
    rows: tuple[Row, ...] | None = None


@dataclass(frozen=True, slots=True)
class DeleteRating:
    """Take one user's rating of one item back, wherever it came from."""

    user_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class ForgetUser:
    """Remove all there is of a user and keep a keyed hash of the id."""

    user_id: str


@dataclass(frozen=True, slots=True)
class PutItem:
    """Register an item, replace what was said of it, or withdraw it. The store gives it a sequence of its own."""

    item: ItemChange


@dataclass(frozen=True, slots=True)
class RecordShown:
    """Count what was shown, clicked or watched."""

    shown: tuple[Shown, ...]


Change = PutRatings | DeleteRating | ForgetUser | PutItem | RecordShown


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A user was forgotten at `sequence`. `user_id` is known only straight afterwards, None when read back."""

    user_hash: bytes
    sequence: int
    user_id: str | None = None


class Outcome(NamedTuple):
    """What came of one change: what memory has to follow, or the `error` because of which nothing of it was kept.

    `accepted` and `duplicates` count ratings or shown items.
    """

    accepted: int = 0
    duplicates: int = 0
    events: tuple[Event, ...] = ()
    item: ItemChange | None = None
    forgotten: Forgotten | None = None
    shown: tuple[Shown, ...] = ()
    error: RecsysError | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """One commit: the store's sequence `before` and after it, and what came of each change.

    The latter is made when it is asked for: the thread that writes would hold the interpreter's lock for it.
    """

    before: int
    sequence: int
    make_outcomes: Callable[[], tuple[Outcome, ...]]

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """In the order asked; made anew each time."""
        return self.make_outcomes()


@dataclass(frozen=True)
class Changes:
    """All that was written in a range of sequences ending with `sequence`, as the store holds it now: what a
    forgetting removed and what a later word on an item replaced are not among it. Each part is in order of sequence.
    """

    events: Events
    items: tuple[ItemChange, ...]
    forgotten: tuple[Forgotten, ...]
    sequence: int


def n_rows(change: Change) -> int:
    """How much work a change is, in rows."""
    match change:
        case PutRatings(rows) | RecordShown(rows):
            return len(rows)
        case _:
            return 1


def user_hash(key: bytes, user_id: str) -> bytes:
    """HMAC-SHA256(key, user_id in UTF-8), 32 bytes: how a forgotten user is known again. `key` has 64 bytes at most.

    Errors: UnicodeEncodeError for an id with half a surrogate pair. Source: RFC 2104, SHA256(key ^ opad, SHA256(key ^
    ipad, text)), both from where the key was taken in. Cost: 1.4 µs; `hmac.digest` takes 3.7, and gives the
    interpreter's lock away each time, which a busy event loop gives back half a millisecond later.
    """
    inner, outer = _keyed(key)
    inner, outer = inner.copy(), outer.copy()
    inner.update(user_id.encode())
    outer.update(inner.digest())
    return outer.digest()


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    block = key.ljust(64, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in block)), hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
