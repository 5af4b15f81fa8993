"""The immutable tables everything starts from: who rated what when, and what the items are.

Owns the vocabulary (`n_users`, `n_items`, `values`, `timestamps`), the order of a history and the rating scale.
Must not read files, and must not import pandas or scipy: the serving process imports this module.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.errors import DataError

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Array = TypeVar("Array", bound=NDArray[Any])

#: A rating without a time: sorts before every real one.
NO_TIMESTAMP = int(np.iinfo(np.int64).min)
#: A rating counts as "liked" from here, in stars of five (`FINDINGS`: relevance is a rating of at least 4).
LIKED_STARS = 4.0


def freeze(array: Array) -> Array:
    """Make `array` read-only, in place, and return it."""
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class RatingScale:
    """What ratings look like in a data set: from `low` to `high` in steps of `step`.

    Everything that weighs ratings works in stars of five, so that a 1–10 or 0–100 scale needs no settings of its own.
    """

    low: float
    high: float
    step: float

    @property
    def per_star(self) -> float:
        return self.high / 5.0

    def stars(self, values: Float32 | float) -> Float32:
        """Map ratings (any shape, float32) to stars of five (same shape, float32). A scale of one value, as implicit
        data has, means "liked". Cost: O(size).
        """
        values = np.asarray(values, np.float32)
        if self.low == self.high:
            return np.full_like(values, LIKED_STARS)
        return values / np.float32(self.per_star)

    def contains(self, value: float) -> bool:
        steps = (value - self.low) / self.step
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-6

    def __str__(self) -> str:
        return f"{self.low:g}–{self.high:g} in steps of {self.step:g}"

    @classmethod
    def of(cls, values: Float32) -> "RatingScale":
        """Find the scale of `values` (float32 [n_ratings]): the well-known one that holds them all, else their own
        range. Errors: DataError when there is none, or when a value is negative. Cost: O(n log n).
        """
        found = np.unique(values)
        if found.size == 0:
            raise DataError("there is no rating to find the scale of")
        if found[0] < 0:
            raise DataError(f"ratings below zero ({found[0]:g}) are on no scale we know")
        # as the file has them: 1.1 in float32 is a little more, and 1.1 would be below the scale
        lowest, highest = float(str(found[0])), float(str(found[-1]))
        if found.size == 1:
            return cls(lowest, highest, 1.0)
        whole = bool(np.all(found == np.round(found)))
        halves = bool(np.all(found * 2 == np.round(found * 2)))
        for low, high, step in ((1, 5, 1), (0.5, 5, 0.5), (1, 10, 1), (0.5, 10, 0.5), (0, 100, 1)):
            if found[0] >= low and found[-1] <= high and (whole if step == 1 else halves):
                return cls(float(low), float(high), float(step))
        return cls(lowest, highest, 0.01)


@dataclass(frozen=True)
class Catalogue:
    """What is known of each item, as columns of length `n_items`. Ids are the file's exact text (`007` stays `007`).

    `years` may be None; `genres` keep the file's order, "(no genres listed)" and "unknown" are not genres.
    """

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    years: tuple[int | None, ...]
    genres: tuple[tuple[str, ...], ...]
    imdb_ids: tuple[str | None, ...]
    tmdb_ids: tuple[str | None, ...]

    def __post_init__(self) -> None:
        lengths = {len(column) for column in vars(self).values()}
        if len(lengths) > 1:
            raise ValueError(f"catalogue columns differ in length: {sorted(lengths)}")

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    @classmethod
    def bare(cls, item_ids: Sequence[str]) -> "Catalogue":
        """A catalogue for items of which only the id is known: the id stands in for the title."""
        ids, n = tuple(item_ids), len(item_ids)
        return cls(ids, ids, (None,) * n, ((),) * n, (None,) * n, (None,) * n)

    def take(self, order: Sequence[int] | NDArray[np.integer[Any]]) -> "Catalogue":
        """The same columns in another order, or a part of them."""
        indices = [int(i) for i in order]
        return Catalogue(*(tuple(column[i] for i in indices) for column in vars(self).values()))


@dataclass(frozen=True)
class BadRow:
    """A row that was left out: `file` and `line` (from 1) name it, `problem` says why."""

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


@dataclass(frozen=True)
class ReadReport:
    """What reading found: `rows` read, `bad` of them left out (`examples` names the first few), `duplicates` merged."""

    layout: str = "memory"
    rows: int = 0
    bad: int = 0
    duplicates: int = 0
    examples: tuple[BadRow, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Ratings as columns of length `n_ratings`, in file order, at most one for each (user, item).

    `users` int32 indexes `user_ids`; `items` int32 indexes the catalogue; `values` float32 are the ratings as given;
    `timestamps` int64 are unix seconds, or NO_TIMESTAMP. `source` is what the operator called the data.
    """

    user_ids: tuple[str, ...]
    catalogue: Catalogue
    users: Int32
    items: Int32
    values: Float32
    timestamps: Int64
    source: str = "memory"
    report: ReadReport = field(default_factory=ReadReport)
    #: The scale of the files that a part, or a merge, was made of; found in `values` if it is not given.
    given_scale: RatingScale | None = None

    def __post_init__(self) -> None:
        n = self.users.size
        for name in ("users", "items", "values", "timestamps"):
            column = getattr(self, name)
            if column.shape != (n,):
                raise ValueError(f"{name} has shape {column.shape}, not ({n},)")
            freeze(column)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return self.catalogue.n_items

    @property
    def n_ratings(self) -> int:
        return int(self.users.size)

    @cached_property
    def scale(self) -> RatingScale:
        return self.given_scale or RatingScale.of(self.values)

    @cached_property
    def has_timestamps(self) -> bool:
        """Whether ratings have times of their own, so that the order of a history means something."""
        return bool(self.n_ratings) and bool(np.any(self.timestamps != NO_TIMESTAMP))

    @cached_property
    def stars(self) -> Float32:
        """`values` in stars of five, float32 [n_ratings]."""
        return freeze(self.scale.stars(self.values))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, catalogue and ratings, hexadecimal: the same data gives the same text. Cost: O(n)."""
        digest = hashlib.sha256()
        for text in (self.user_ids, *(vars(self.catalogue).values())):
            digest.update(repr(text).encode())
        for column in (self.users, self.items, self.values, self.timestamps):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def in_history_order(self) -> Int64:
        """Row numbers (int64 [n_ratings]) that sort by user, then time, then file order. Cost: O(n log n)."""
        return np.lexsort((self.timestamps, self.users))

    def where(self, rows: NDArray[Any]) -> "Dataset":
        """The same users and catalogue with a part of the ratings: `rows` is a mask or row numbers."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            values=self.values[rows],
            timestamps=self.timestamps[rows],
        )
