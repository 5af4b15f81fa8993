"""Many rows in few steps of SQLite.

At every step it gives the interpreter's lock away, and a busy event loop gives it back half a millisecond later: row by
row, a group of ratings would take the writer as long as a hundred fsyncs, and every change of hands costs the loop as
much as an answer. So rows are added many in one step. Must not know what the rows mean.
"""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

#: So many rows are added in a step, at most: a statement is kept for each number of them.
_AT_ONCE = 64


def add(db: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, all of one width, into the table and columns that `into` names."""
    for start in range(0, len(rows), _AT_ONCE):
        chunk = rows[start : start + _AT_ONCE]
        values = tuple(chain.from_iterable(chunk))
        db.execute(f"INSERT INTO {into} VALUES {_places(len(chunk), len(chunk[0]))}", values)  # noqa: S608  no value is in the text


@lru_cache
def _places(n_rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return ", ".join([row] * n_rows)
