"""Many rows in few steps of SQLite.

At every step it gives the interpreter's lock away, and a busy event loop gives it back half a millisecond later: row by
row, a group of ratings would take the writer as long as a hundred fsyncs. So rows are added, and numbers looked up,
many in one step. Must not know what the rows mean.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

#: Powers of two up to this are looked up or added in a step, so that few statements are kept.
_AT_ONCE = 64
_Row = TypeVar("_Row")


def add(db: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, all of one width, into the table and columns that `into` names."""
    for _, chunk in _chunks(rows):
        values = [value for row in chunk for value in row]
        places = _places(len(chunk), len(chunk[0]))
        db.execute(f"INSERT INTO {into} VALUES {places}", values)  # noqa: S608  no value is in the text


def find(
    db: sqlite3.Connection, numbers: Sequence[str], table: str, column: str, keys: Sequence[object]
) -> dict[int, list[int]]:
    """Return for the position of each key that `column` of `table` holds what the expressions `numbers` are in its row,
    whole numbers all. Found again in one text, since each row of an answer is a step as well.
    """
    said = " || ' ' || ".join(("n", *numbers))
    found: dict[int, list[int]] = {}
    for start, chunk in _chunks(keys):
        asked = f"WITH asked (n, key) AS (VALUES {_numbered(len(chunk))})"
        rows = f"SELECT group_concat({said}) FROM asked CROSS JOIN {table} ON {column} = key"  # noqa: S608  the same
        (text,) = db.execute(f"{asked} {rows}", chunk).fetchone()
        for row in text.split(",") if text else ():
            position, *rest = map(int, row.split(" "))
            found[start + position] = rest
    return found


def _chunks(rows: Sequence[_Row]) -> Iterator[tuple[int, Sequence[_Row]]]:
    """Where each chunk starts, and the chunk."""
    start, size = 0, _AT_ONCE
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield start, rows[start : start + size]
        start += size


@lru_cache
def _places(n_rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return ", ".join([row] * n_rows)


@lru_cache
def _numbered(n_rows: int) -> str:
    return ", ".join(f"({number}, ?)" for number in range(n_rows))
