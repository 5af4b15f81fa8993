"""Many rows in few steps of SQLite.

At every step it gives the interpreter's lock away, and a busy event loop gives it back half a millisecond later: row by
row, a group of ratings would take the writer as long as a hundred fsyncs, and every change of hands costs the loop as
much as an answer. So rows are added, and numbers looked up, many in one step. Must not know what the rows mean.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

#: So many rows are asked for or added in a step, at most: a statement is kept for each number of them.
_AT_ONCE = 64
#: A question is filled up to one of these sizes with NULL, which is equal to nothing: a long text for each would be a
#: lot to keep.
_ASKED = (1, 4, 8, 16, 24, 32, 48, _AT_ONCE)


@dataclass(frozen=True, slots=True)
class Lookup:
    """For each of `keys`: the row of `table` whose `column` is that, and the whole `numbers` (expressions) in it."""

    table: str
    column: str
    keys: Sequence[object]
    numbers: Sequence[str] = ()


def add(db: sqlite3.Connection, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, all of one width, into the table and columns that `into` names."""
    for start in range(0, len(rows), _AT_ONCE):
        chunk = rows[start : start + _AT_ONCE]
        values = [value for row in chunk for value in row]
        db.execute(f"INSERT INTO {into} VALUES {_places(len(chunk), len(chunk[0]))}", values)  # noqa: S608  no value is in the text


def find(db: sqlite3.Connection, *lookups: Lookup) -> list[dict[int, list[int]]]:
    """Return what each lookup finds, by the positions of the keys that are there. Each is found in one text, since each
    row of an answer is a step as well.
    """
    found: list[dict[int, list[int]]] = [{} for _ in lookups]
    longest = max(len(lookup.keys) for lookup in lookups)
    for start in range(0, longest, _AT_ONCE):
        size = next(size for size in _ASKED if size >= min(longest - start, _AT_ONCE))
        keys: list[object] = []
        for lookup in lookups:
            chunk = lookup.keys[start : start + size]
            keys += [*chunk, *[None] * (size - len(chunk))]
        asked = tuple((lookup.table, lookup.column, *lookup.numbers) for lookup in lookups)
        for rows, text in zip(found, db.execute(_question(asked, size), keys).fetchone(), strict=True):
            for row in text.split(",") if text else ():
                position, *numbers = map(int, row.split(" "))
                rows[start + position] = numbers
    return found


@lru_cache
def _places(n_rows: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return ", ".join([row] * n_rows)


@lru_cache
def _question(asked: tuple[tuple[str, ...], ...], n_keys: int) -> str:
    keys = ", ".join(f"({number}, ?)" for number in range(n_keys))
    answers = []
    for table, column, *numbers in asked:
        said = " || ' ' || ".join(("column1", *numbers))
        answers.append(f"(SELECT group_concat({said}) FROM (VALUES {keys}) CROSS JOIN {table} ON {column} = column2)")  # noqa: S608  the same
    return f"SELECT {', '.join(answers)}"
