"""A group of ratings in one step of SQLite that is a transaction by itself: the usual way into the store.

At every step SQLite gives the interpreter's lock away, and Python does so three times more around it. To have it back
from a busy event loop costs the loop a change of threads, and whoever rates some tenths of a millisecond each time. So
there is one statement, whose triggers do what `Transaction` does in a dozen. What is not usual (something was sent
again, somebody else has written, a merge of the indexes begins or ends) undoes it, and is left to `Transaction`.
"""

import itertools
import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from recsys.errors import InvalidInputError
from recsys.feedback.changes import Change, Outcome, PutRatings, Row, Written
from recsys.feedback.database import is_busy
from recsys.feedback.indexes import SETTLE, Indexes
from recsys.feedback.rows import as_rows
from recsys.feedback.transaction import KEEP_EVENTS, KNOW, UNSTAGE, outcome_of

#: So many fit into one step; of more, a transaction's steps are few for each.
_MOST = 64
_STAGED = ", ".join(Row._fields)
#: What comes after the last rating: from which sequence to which it leads, and from which place of a merge.
_LAST = ("before", "after", "place", "next_place")
_COLUMNS = Row._fields + _LAST
_STEPS = (
    "SELECT RAISE(ABORT, 'not all') WHERE (SELECT count(*) FROM incoming) <> NEW.after - NEW.before",
    "SELECT RAISE(ABORT, 'others have written') FROM store WHERE sequence <> NEW.before",
    "SELECT RAISE(ABORT, 'sent again') FROM incoming CROSS JOIN event_keys USING (event_key)",
    *KNOW,
    KEEP_EVENTS.format("NEW.before"),
    *(statement.format("NEW.place", "NEW.next_place") for statement in SETTLE),
    "UPDATE store SET sequence = NEW.after",
    UNSTAGE,
)
_ROW_OF_IT = ", ".join(f"NEW.{name}" for name in Row._fields)
#: For a connection that has the tables of `Transaction` and `Indexes`.
ARRIVING = (
    f"CREATE TEMP VIEW arriving ({', '.join(_COLUMNS)}) AS SELECT {', '.join(['NULL'] * len(_COLUMNS))}",
    f"""CREATE TEMP TRIGGER stage INSTEAD OF INSERT ON arriving WHEN NEW.before IS NULL BEGIN
    INSERT INTO incoming ({_STAGED}) VALUES ({_ROW_OF_IT}); END""",  # noqa: S608  no value is in the text
    f"""CREATE TEMP TRIGGER keep INSTEAD OF INSERT ON arriving WHEN NEW.before IS NOT NULL BEGIN
    {"; ".join(_STEPS)}; END""",
)


def keep(
    db: sqlite3.Connection, indexes: Indexes, changes: Sequence[Change], *, before: int, key: bytes, now: int
) -> Written | None:
    """Keep ratings, if they are as usual and the store has come to the sequence `before`; when this returns they are on
    disk. None: nothing was done.
    """
    put = [change for change in changes if isinstance(change, PutRatings)]
    n = sum(len(change.ratings) for change in put)
    places = indexes.steady(before, n) if len(put) == len(changes) and 0 < n <= _MOST else None
    if places is None:
        return None
    try:
        rows_of = [as_rows(change, key, now) for change in put]
    except InvalidInputError:
        return None
    after, rows = before + n, list(itertools.chain.from_iterable(rows_of))
    named = {row.event_key: number for number, row in enumerate(rows, before + 1) if row.event_key is not None}
    if len(named) < sum(row.event_key is not None for row in rows) or indexes.knows_any(named):
        return None
    try:
        db.execute(_statement(n), (*itertools.chain.from_iterable(rows), before, after, *places))
    except sqlite3.IntegrityError:  # the statement says that it is not usual, and undid itself
        return None
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return None
    indexes.name(named.items())
    indexes.went_on(after, places[1])

    def outcomes() -> tuple[Outcome, ...]:
        sequences = itertools.count(before + 1)
        return tuple([outcome_of(*kept, sequences) for kept in zip(put, rows_of, strict=True)])

    return Written(before, after, outcomes)


@lru_cache(_MOST)
def _statement(n_rows: int) -> str:
    """What keeps so many rows; only what is not NULL is given to it."""
    row = ", ".join(["?"] * len(Row._fields) + ["NULL"] * len(_LAST))
    last = ", ".join(["NULL"] * len(Row._fields) + ["?"] * len(_LAST))
    return f"INSERT INTO arriving VALUES {f'({row}), ' * n_rows}({last})"  # noqa: S608  no value is in the text
