"""The live ratings of a feedback database, as they stood when the reading began, out of it some users at a time.

Must not write, but to bring an older database to this version, nor know what becomes of the ratings.
"""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from recsys.datasets.merge import live_rows
from recsys.feedback.database import connect_to_read, translating
from recsys.feedback.schema import inspect, upgrade

_ROWS_AT_ONCE = 5000
#: In the order of the index, so that nothing is sorted.
_SETTLED = """
SELECT uid, iid, sequence, value, timestamp, user_id, item_id
FROM user_events CROSS JOIN events USING (uid, iid, sequence) CROSS JOIN users USING (uid) CROSS JOIN items USING (iid)
WHERE uid > ?1 AND sequence <= ?2 ORDER BY uid, iid, sequence"""
_UNSETTLED = """
SELECT uid, iid, sequence, value, timestamp, user_id, item_id
FROM events CROSS JOIN users USING (uid) CROSS JOIN items USING (iid)
WHERE uid > ?1 AND sequence > (SELECT settled FROM store) AND sequence <= ?2 ORDER BY uid, iid, sequence"""
_Stored = tuple[int, int, int, float | None, int, str, str]
#: user_id, item_id, rating, unix seconds.
LiveRating = tuple[str, str, float, int]


@dataclass(frozen=True)
class Page:
    """All live ratings of some users, and the share of the users who are done, 0 to 1."""

    ratings: list[LiveRating]
    done: float


def live_ratings(path: Path) -> Iterator[Page]:
    """Give what people rated here and did not take back: users in the order in which they came, each one's ratings
    oldest first, those of one second as they arrived. So an import in this order gives the same histories.

    What is written meanwhile is not seen, and no snapshot is held between two pages: whoever reads slowly keeps nobody
    from forgetting a user. Errors: FeedbackUnavailableError, FeedbackCorruptError. Cost: about 10 s for 1,000,000, and
    the memory of 5,000 events or one user's.
    """
    inspect(path)
    upgrade(path)
    after, end, last_uid = 0, None, 0
    while True:
        with translating(path), closing(connect_to_read(path)) as db:
            db.execute("BEGIN")
            if end is None:
                (end,) = db.execute("SELECT sequence FROM store").fetchone()
                (last_uid,) = db.execute("SELECT ifnull(max(uid), 0) FROM users").fetchone()
            rows = _next_users(db, after, end)
        if not rows:
            return
        after = rows[-1][0]
        yield Page(_live(rows), min(1.0, after / last_uid))


def _next_users(db: sqlite3.Connection, after: int, end: int) -> list[_Stored]:
    """All events of the next users, at least `_ROWS_AT_ONCE` while there are as many. What is being settled is there
    twice.
    """
    rows: list[_Stored] = []
    # a cursor that is left open would keep the connection, and its snapshot, after it was closed
    with (
        closing(db.execute(_SETTLED, (after, end))) as settled,
        closing(db.execute(_UNSETTLED, (after, end))) as others,
    ):
        for _, events in groupby(merge(settled, others), itemgetter(0)):
            rows += events
            if len(rows) >= _ROWS_AT_ONCE:
                break
    return rows


def _live(rows: list[_Stored]) -> list[LiveRating]:
    """What counts of `rows`, which are in order of user, item and sequence; some may stand there twice."""
    pairs = np.array([(uid, iid) for uid, iid, *_ in rows], np.int64)
    keys = np.concatenate(([0], np.cumsum(np.any(np.diff(pairs, axis=0) != 0, axis=1))))
    values = np.array([math.nan if row[3] is None else row[3] for row in rows], np.float32)
    timestamps = np.array([row[4] for row in rows], np.int64)
    live = [rows[row] for row in live_rows(keys, values, timestamps).tolist()]
    live.sort(key=itemgetter(0, 4, 2))
    return [
        (user_id, item_id, value, timestamp)
        for _, _, _, value, timestamp, user_id, item_id in live
        if value is not None
    ]
