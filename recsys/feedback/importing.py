"""Ratings from outside into the store, a million at a time, beside a running service.

Short transactions with pauses, so that the service's writer gets its turn. Must not read files or check values.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from recsys.feedback.rows import finite, unstorable
from recsys.feedback.store import FeedbackStore
from recsys.feedback.transaction import Transaction

#: user_id, item_id, rating (None: taken back), unix seconds (None: not known).
Row = tuple[str, str, float | None, int | None]

_ROWS_AT_ONCE = 5000
_PAUSE_S = 0.005
_ADD = """
INSERT INTO events (sequence, uid, iid, value, timestamp) SELECT ?1, ?2, ?3, ?4, ifnull(?5, ?6)
WHERE NOT EXISTS (
    SELECT 1 FROM user_events AS found CROSS JOIN events USING (sequence)
    WHERE found.uid = ?2 AND found.iid = ?3 AND value IS ?4 AND (?5 IS NULL OR timestamp = ?5))"""


@dataclass(frozen=True)
class Imported:
    """How many rows were read, added, there already, and left out because their users were forgotten."""

    rows: int = 0
    added: int = 0
    duplicates: int = 0
    forgotten: int = 0


def import_ratings(
    store: FeedbackStore, rows: Iterable[Row], *, on_progress: Callable[[Imported], None] = lambda so_far: None
) -> Imported:
    """Add what is not there yet, in the order given: importing the same rows again, or what was exported, changes
    nothing. A row is there when its user gave that item that rating at that time, or at any time if it tells none;
    one without a time gets the time of arrival. Users who were forgotten stay so.

    Errors: FeedbackUnavailableError, and InvalidInputError for what cannot be stored; the transactions before stay, and
    a second import completes them.
    Cost: some 20 µs a row, and the memory of 5,000 rows.
    """
    so_far, iterator = Imported(), iter(rows)
    while chunk := list(islice(iterator, _ROWS_AT_ONCE)):
        try:
            with store.transaction() as transaction:
                added, forgotten = _add(transaction, chunk)
        except (ValueError, OverflowError) as error:
            raise unstorable(error) from error
        so_far = Imported(
            so_far.rows + len(chunk),
            so_far.added + added,
            so_far.duplicates + len(chunk) - added - forgotten,
            so_far.forgotten + forgotten,
        )
        on_progress(so_far)
        time.sleep(_PAUSE_S)
    return so_far


def _add(transaction: Transaction, chunk: list[Row]) -> tuple[int, int]:
    """Add a chunk; return how many rows were new, and how many were of forgotten users."""
    forgotten = transaction.forgotten_among({row[0] for row in chunk})
    kept = [row for row in chunk if row[0] not in forgotten]
    uids, iids = transaction.number(dict.fromkeys(row[0] for row in kept), dict.fromkeys(row[1] for row in kept))
    transaction.indexes.settle(transaction.sequence)
    first = transaction.sequence + 1
    numbered = [
        (sequence, uids[user_id], iids[item_id], finite(value), timestamp, transaction.now)
        for sequence, (user_id, item_id, value, timestamp) in enumerate(_once(kept, transaction.now), first)
    ]
    added = transaction.db.executemany(_ADD, numbered).rowcount if numbered else 0
    if added:
        transaction.sequence += len(numbered)
    return added, len(chunk) - len(kept)


def _once(rows: list[Row], now: int) -> list[Row]:
    """Leave out what stands further up in `rows`: it cannot be looked up in the store yet."""
    once: list[Row] = []
    there: set[Row] = set()
    for row in rows:
        if row in there:
            continue
        once.append(row)
        what, timestamp = row[:3], row[3]
        there |= {(*what, None), (*what, now if timestamp is None else timestamp)}
    return once
