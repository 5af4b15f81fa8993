"""Folds for rating prediction: the five that come with MovieLens 100K, else five at random.

Owns where the canonical ones are and that they are sound. What is fitted on them is `training.rating_evaluation`'s
business.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.datasets.collecting import RatingsFile, collect
from recsys.datasets.ratings import Dataset, Int64
from recsys.datasets.rows import Form
from recsys.datasets.sources import File, open_source
from recsys.datasets.tally import Tally
from recsys.errors import DataError

N_FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """`train` int64 and `test` int64 are row numbers of the data set, sorted, none in both and neither empty."""

    name: str
    train: Int64
    test: Int64


def canonical_folds(dataset: Dataset, path: Path, *, max_bad_share: float = 0.01) -> tuple[Fold, ...] | None:
    """Read u1.base, u1.test … u5.test beside the u.data that `dataset` was read from, or return None unless all ten are
    there.

    They say which ratings; the ratings themselves are those of `dataset`. Errors: DataError when they name a rating
    that u.data has not, or the same one for training and test. Cost: about a second.
    """
    if dataset.report.layout != "ml-100k":
        return None
    with open_source(path) as source:
        # The reader took the u.data nearest to the top, and would have refused two side by side.
        nearest = min((name for name, folder in source.folders.items() if "u.data" in folder), key=_depth, default="")
        files = source.folders.get(nearest, {})
        names = [f"u{number}" for number in range(1, N_FOLDS + 1)]
        if any(f"{name}.{part}" not in files for name in names for part in ("base", "test")):
            return None
        rows = _RowNumbers(dataset, max_bad_share)
        return tuple(
            _checked(Fold(name, rows.of(files[f"{name}.base"]), rows.of(files[f"{name}.test"]))) for name in names
        )


def _depth(folder: str) -> int:
    return folder.count("/") + bool(folder)


def _checked(fold: Fold) -> Fold:
    shared = np.intersect1d(fold.train, fold.test, assume_unique=True).size
    if shared:
        raise DataError(
            f"{fold.name}.base and {fold.name}.test share {shared:,} ratings",
            hint="what is tested must not be learned from; without these files random folds are used",
        )
    return fold


class _RowNumbers:
    """Finds the row of the data set for each rating that a fold's file names."""

    def __init__(self, dataset: Dataset, max_bad_share: float) -> None:
        self._user_index = {user_id: i for i, user_id in enumerate(dataset.user_ids)}
        self._item_index = {item_id: i for i, item_id in enumerate(dataset.catalogue.item_ids)}
        self._n_items = dataset.n_items
        self._max_bad_share = max_bad_share
        pairs = dataset.users.astype(np.int64) * dataset.n_items + dataset.items
        self._order = np.argsort(pairs)
        self._sorted = pairs[self._order]

    def of(self, file: File) -> Int64:
        """Return the row numbers, int64, sorted. Errors: DataError."""
        tally = Tally(file.name)
        users, items = dict(self._user_index), dict(self._item_index)
        form = RatingsFile(file, Form("\t", 4), user=0, item=1, rating=2, timestamp=3)
        columns = collect(form, users, items, tally, lambda _share: None)
        tally.check(self._max_bad_share)
        if tally.rows == tally.bad:
            raise DataError(f"{file.name} holds no ratings")
        pairs = np.concatenate(columns.users).astype(np.int64) * self._n_items + np.concatenate(columns.items)
        places = np.minimum(np.searchsorted(self._sorted, pairs), self._sorted.size - 1)
        # A new item would make the number of another pair, so the ids are compared too.
        new_ids = len(users) + len(items) > len(self._user_index) + len(self._item_index)
        if new_ids or np.any(self._sorted[places] != pairs):
            raise DataError(
                f"{file.name} names ratings that u.data has not",
                hint="the folds belong to another u.data; without them random ones are used",
            )
        return np.unique(self._order[places])


def random_folds(dataset: Dataset, *, seed: int) -> tuple[Fold, ...]:
    """Deal the ratings into five test sets at random, of equal size up to one; each one's training set is the rest.

    Errors: DataError when there are fewer than five ratings. Cost: O(n log n).
    """
    n = dataset.n_ratings
    if n < N_FOLDS:
        raise DataError(f"{n} ratings are too few to test on", hint=f"protocol R needs at least {N_FOLDS}")
    dealt = np.array_split(np.random.Generator(np.random.PCG64(seed)).permutation(n), N_FOLDS)
    folds = []
    for number, test in enumerate(dealt, 1):
        in_test = np.zeros(n, np.bool_)
        in_test[test] = True
        folds.append(Fold(str(number), np.flatnonzero(~in_test), np.flatnonzero(in_test)))
    return tuple(folds)
