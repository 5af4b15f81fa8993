"""Collects the ratings of a file into columns, block by block, and lets the last of several ratings win.

Owns the numbering of users and items and the order of rows. Must not know layouts. pandas is imported where
it is used.
"""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.columns import id_problem, rating_of, seconds, times_of
from recsys.datasets.ratings import NO_TIMESTAMP, Float32, Int32, Int64
from recsys.datasets.rows import Block, Form, Mask, read_blocks
from recsys.datasets.sources import File
from recsys.datasets.tally import MAX_EXAMPLES, Tally, shown
from recsys.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RatingsFile:
    """Where the ratings are: the file, its form, and the position of each column in a record."""

    file: File
    form: Form
    user: int
    item: int
    rating: int
    timestamp: int | None

    @property
    def decimal_comma(self) -> bool:
        """A semicolon between fields is the custom where the comma stands in numbers."""
        return self.form.delimiter == ";"


@dataclass
class Columns:
    """Ratings as they grow: a list of blocks for each column of `Dataset`."""

    users: list[Int32] = field(default_factory=list)
    items: list[Int32] = field(default_factory=list)
    values: list[Float32] = field(default_factory=list)
    timestamps: list[Int64] = field(default_factory=list)


def collect(
    ratings: RatingsFile,
    user_index: dict[str, int],
    item_index: dict[str, int],
    tally: Tally,
    told: Callable[[float], None],
) -> Columns:
    """Read all ratings; ids that the two indices lack are appended to them in order of first appearance.

    `told` hears of the share read, 0 to 1. Cost: O(size) time; 20 bytes a rating, and a block.
    """
    columns = Columns()
    for block in read_blocks(ratings.file, ratings.form, tally):
        told(min(1.0, block.bytes_read / max(1, ratings.file.size_bytes)))
        if not block.lines.size:
            continue
        cells = _Cells.of(block, ratings)
        good = cells.good
        if not good.all():
            bad = np.flatnonzero(~good)
            examples = ((int(block.lines[row]), cells.problem(row)) for row in bad[:MAX_EXAMPLES].tolist())
            tally.leave_out(bad.size, examples)
        columns.users.append(_numbered(cells.users, good, user_index))
        columns.items.append(_numbered(cells.items, good, item_index))
        columns.values.append(cells.ratings.values[cells.ratings.codes[good]])
        columns.timestamps.append(cells.times[good])
    return columns


def last_of_each(users: Int32, items: Int32, timestamps: Int64) -> Mask | None:
    """Mark the rating that counts for each (user, item): the last by time, then by row; None when all do.

    Arrays are columns of a `Dataset` [n]; the mask is [n]. Cost: O(n log n); for the usual file, which has no
    duplicates, one sort.
    """
    if not users.size:
        return None
    pairs = users.astype(np.int64) * (int(items.max()) + 1) + items
    ordered = np.sort(pairs)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not repeated.size:
        return None
    rows = np.flatnonzero(np.isin(pairs, repeated))
    rows = rows[np.lexsort((rows, timestamps[rows], pairs[rows]))]
    overruled = rows[:-1][pairs[rows[:-1]] == pairs[rows[1:]]]
    winners = np.ones(users.size, np.bool_)
    winners[overruled] = False
    return winners


@dataclass(frozen=True)
class _Texts:
    """A column with few different texts: row r holds texts[codes[r]]."""

    codes: NDArray[Any]
    texts: list[str]
    problems: list[str | None]
    values: Float32  # of each text; empty for ids

    @property
    def good(self) -> Mask:
        fine: Mask = np.array([problem is None for problem in self.problems], np.bool_)[self.codes]
        return fine

    @classmethod
    def ids(cls, column: "pd.Series[Any]") -> "_Texts":
        codes, texts = _factorized(column)
        return cls(codes, texts, [id_problem(text) for text in texts], np.zeros(0, np.float32))

    @classmethod
    def ratings(cls, column: "pd.Series[Any]", decimal_comma: bool) -> "_Texts":
        codes, texts = _factorized(column)
        found = [rating_of(text, decimal_comma=decimal_comma) for text in texts]
        values = np.array([value for value, _ in found], np.float32)
        return cls(codes, texts, [problem for _, problem in found], values)


@dataclass(frozen=True)
class _Cells:
    """A block's four columns, read but not yet sifted."""

    users: _Texts
    items: _Texts
    ratings: _Texts
    times: Int64
    good_times: Mask
    time_texts: NDArray[Any]

    @property
    def good(self) -> Mask:
        return self.users.good & self.items.good & self.ratings.good & self.good_times

    def problem(self, row: int) -> str:
        for name, column in (("user id", self.users), ("item id", self.items), ("rating", self.ratings)):
            if problem := column.problems[column.codes[row]]:
                return f"{name} {problem}"
        return f"timestamp {shown(str(self.time_texts[row]).strip())!r} is not a time between 1970 and 2100"

    @classmethod
    def of(cls, block: Block, ratings: RatingsFile) -> "_Cells":
        frame, texts = _frame(block, ratings)
        times, good = (seconds if texts.dtype == np.int64 else times_of)(texts)
        if ratings.timestamp is None:
            times, good = np.full(block.lines.size, NO_TIMESTAMP), np.ones(block.lines.size, np.bool_)
        return cls(
            _Texts.ids(frame["user"]),
            _Texts.ids(frame["item"]),
            _Texts.ratings(frame["rating"], ratings.decimal_comma),
            times,
            good,
            texts,
        )


def _frame(block: Block, ratings: RatingsFile) -> tuple["pd.DataFrame", NDArray[Any]]:
    """The block's columns as text, and its times: int64 if all are whole numbers, else object (str)."""
    names = [str(position) for position in range(ratings.form.n_fields)]
    names[ratings.user], names[ratings.item], names[ratings.rating] = "user", "item", "rating"
    if ratings.timestamp is None:
        return _read(block, ratings, names, {}), np.zeros(0, np.int64)
    names[ratings.timestamp] = "timestamp"
    try:
        with np.errstate(invalid="ignore"):  # pandas casts what may be infinite before it looks
            frame = _read(block, ratings, names, {"timestamp": "int64"})
    except (ValueError, OverflowError):  # some cell is not a whole number: dates, or a bad row
        frame = _read(block, ratings, names, {"timestamp": "object"})
        return frame, frame["timestamp"].to_numpy(object)
    return frame, frame["timestamp"].to_numpy(np.int64)


def _read(block: Block, ratings: RatingsFile, names: list[str], more: dict[str, str]) -> "pd.DataFrame":
    import pandas as pd

    # Not "category": pandas 3.1 makes numbers of categories that look like numbers, and `007` would become 7.
    dtypes = {"user": "object", "item": "object", "rating": "object", **more}
    frame = pd.read_csv(
        io.BytesIO(block.data),
        sep=ratings.form.separator.decode(),
        header=None,
        names=names,
        usecols=list(dtypes),
        dtype=dtypes,
        index_col=False,
        na_filter=False,
        skip_blank_lines=False,
        skipinitialspace=True,
        quoting=csv.QUOTE_MINIMAL if block.quoted else csv.QUOTE_NONE,
        encoding=block.encoding,
        encoding_errors="replace",
        engine="c",
        low_memory=False,
    )
    if len(frame) != block.lines.size:
        raise DataError(f"{shown(ratings.file.name)} cannot be cut into records")
    return frame


def _factorized(column: "pd.Series[Any]") -> tuple[NDArray[Any], list[str]]:
    import pandas as pd

    codes, texts = pd.factorize(column.to_numpy(object))
    return codes, texts.tolist()


def _numbered(column: _Texts, good: Mask, index: dict[str, int]) -> Int32:
    """Number the ids of the good rows; the loop is over the different ids of the block, not over its rows."""
    import pandas as pd

    codes = column.codes[good]
    number_of = np.zeros(len(column.texts), np.int32)
    for code in pd.unique(codes).tolist():
        number_of[code] = index.setdefault(column.texts[code].strip(), len(index))
    numbers: Int32 = number_of[codes]
    return numbers
