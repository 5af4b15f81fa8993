"""Ratings files ⊕ feedback: which rating counts, for a whole data set before training and for one user at a request.

Owns the rule "the last rating wins", once (`live_rows`), so that both ways give the same history. Must not know where
events are kept, and must not import pandas or scipy: the serving process imports this module.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.events import Events, ItemChange, UserEvents, UserRatings
from recsys.datasets.ratings import Catalogue, Dataset, Float32, Int32, Int64
from recsys.errors import DataError


def nobody(_user_id: str) -> bool:
    """No user is silenced."""
    return False


def live_rows(keys: NDArray[np.integer], values: Float32, timestamps: Int64) -> Int64:
    """Return the rows that count (int64, at most one for each key), in order of (timestamp, row).

    Rows are ratings in order of arrival, those of the files first: `keys` [n] number the (user, item) pairs from 0,
    `values` float32 [n] are NaN where a rating was taken back, `timestamps` int64 [n]. A rating replaces what is live
    unless that has a later timestamp; taking back removes what is live, whatever its timestamp. So of a pair's rows
    after it was last taken back, the one with the greatest (timestamp, row) counts.
    Cost: O(n log n), and 8 bytes for each number up to the highest key.
    """
    n_keys = int(keys.max(initial=-1)) + 1
    rows = np.arange(keys.size)
    taken_back = np.flatnonzero(np.isnan(values))
    if taken_back.size:
        last = np.full(n_keys, -1)
        last[keys[taken_back]] = taken_back  # where a key comes twice, the later row stays
        rows = np.flatnonzero(rows > last[keys])
    rows = rows[np.argsort(timestamps[rows], kind="stable")]
    keys = keys[rows]
    winners = np.empty(n_keys, np.int64)  # read only where it was written
    winners[keys] = rows  # here too
    live: Int64 = rows[winners[keys] == rows]
    return live


def merge_history(items: Int32, values: Float32, timestamps: Int64, change: UserEvents) -> UserRatings:
    """Return one user's ratings once `change` has come after a history: what `merge_dataset` of everything would give.

    `items` int32, `values` float32 and `timestamps` int64 are [n_history], oldest first, as a model has them. Events
    whose item is -1 are passed over. At equal times the history comes first, in its order, then events by arrival.
    Cost: O(n log n), 45 µs for 500 events on a history of 100, and 8 bytes for each number up to the highest item.
    """
    if change.items.size and change.items.min() < 0:
        known = change.items >= 0
        change = UserEvents(change.items[known], change.values[known], change.timestamps[known])
    items = np.concatenate((items, change.items))
    values = np.concatenate((values, change.values))
    timestamps = np.concatenate((timestamps, change.timestamps))
    rows = live_rows(items, values, timestamps)
    return UserRatings(items[rows], values[rows], timestamps[rows])


def merge_dataset(
    dataset: Dataset,
    events: Events,
    *,
    items: Sequence[ItemChange] = (),
    silenced: Callable[[str], bool] = nobody,
) -> Dataset:
    """Return the ratings that count once `events` have come after those of the files.

    The files' ratings come first, in their order, then the others in order of sequence, so that
    `Dataset.in_history_order` means (time, files before feedback, sequence). The scale stays that of the files.

    `items`: what was last said of an item replaces what the files say, and adds the item at the end if they do not know
    it. A withdrawn item is left out with its ratings, and so are events of an item that nobody knows.
    `silenced` says whose ratings in the files do not count; that user's events do. Users whom only events know come at
    the end, in order of first appearance. Of users who are silenced or new, those without a rating are left out.

    Errors: DataError when no rating is left, or the files had none. Cost: O(n log n) in the events, O(n) in the rest;
    1.2 s and 115 MB at its height, with the result, for a million of each.
    """
    scale = dataset.scale
    catalogue = _changed(dataset.catalogue, items)
    item_index = {item_id: item for item, item_id in enumerate(catalogue.item_ids)}
    user_index = {user_id: user for user, user_id in enumerate(dataset.user_ids)}
    silent = np.array([silenced(user_id) for user_id in dataset.user_ids], np.bool_)
    _append_by_appearance(user_index, events)

    files = _Ratings(dataset.users, dataset.items, dataset.values, dataset.timestamps)
    if silent.any():
        files = files.where(~silent[files.users])
    files = files.renumbered(_positions(dataset.catalogue.item_ids, item_index))
    given = _Ratings(
        _positions(events.user_ids, user_index)[events.users], events.items, events.values, events.timestamps
    )
    given = given.renumbered(_positions(events.item_ids, item_index))
    merged = _merged(files, given, n_users=len(user_index), n_items=catalogue.n_items)
    if not merged.users.size:
        raise DataError("no rating is left: all were taken back, withdrawn with their item, or their user forgotten")

    stays = np.zeros(len(user_index), np.bool_)
    stays[: silent.size] = ~silent
    stays[merged.users] = True
    return replace(
        dataset,
        user_ids=tuple(user_id for user_id, staying in zip(user_index, stays.tolist(), strict=True) if staying),
        catalogue=catalogue,
        users=(np.cumsum(stays, dtype=np.int32) - 1)[merged.users],
        items=merged.items,
        values=merged.values,
        timestamps=merged.timestamps,
        given_scale=scale,  # found anew, it could be another: what is left may not reach its ends
    )


@dataclass(frozen=True)
class _Ratings:
    """Columns of a `Dataset`, or of `Events`."""

    users: Int32
    items: Int32
    values: Float32
    timestamps: Int64

    def where(self, rows: NDArray[Any]) -> "_Ratings":
        return _Ratings(self.users[rows], self.items[rows], self.values[rows], self.timestamps[rows])

    def renumbered(self, positions: Int32) -> "_Ratings":
        """With items where `positions` has them, without the ratings of those that it has nowhere (-1)."""
        items = positions[self.items]
        moved = _Ratings(self.users, items, self.values, self.timestamps)
        return moved.where(items >= 0) if positions.min(initial=0) < 0 else moved


def _merged(files: _Ratings, given: _Ratings, *, n_users: int, n_items: int) -> _Ratings:
    """The ratings that count: what is kept of the files in their order, then of what was given in its order."""
    known, keys = np.unique(given.users.astype(np.int64) * n_items + given.items, return_inverse=True)
    touched, touched_keys = _rows_of(files, known, given.users, n_users=n_users, n_items=n_items)
    live = live_rows(
        np.concatenate((touched_keys, keys)),
        np.concatenate((files.values[touched], given.values)),
        np.concatenate((files.timestamps[touched], given.timestamps)),
    )
    live.sort()
    n_kept = int(np.searchsorted(live, touched.size))
    keep = np.ones(files.users.size, np.bool_)
    keep[touched] = False
    keep[touched[live[:n_kept]]] = True
    kept, added = files.where(keep), given.where(live[n_kept:] - touched.size)
    return _Ratings(
        np.concatenate((kept.users, added.users)),
        np.concatenate((kept.items, added.items)),
        np.concatenate((kept.values, added.values)),
        np.concatenate((kept.timestamps, added.timestamps)),
    )


def _rows_of(files: _Ratings, known: Int64, users: Int32, *, n_users: int, n_items: int) -> tuple[Int64, Int64]:
    """The rows of the files that are about one of the `known` pairs (rising), and each one's place among them.

    Most files are much larger than what was given since: rows of other users than `users` are not looked up.
    """
    concerned = np.zeros(n_users, np.bool_)
    concerned[users] = True
    rows = np.flatnonzero(concerned[files.users])
    pairs = files.users[rows].astype(np.int64) * n_items + files.items[rows]
    places = np.searchsorted(known, pairs)
    found = places < known.size
    found[found] = known[places[found]] == pairs[found]
    return rows[found], places[found]


def _changed(catalogue: Catalogue, items: Sequence[ItemChange]) -> Catalogue:
    """The catalogue after what was said of items by hand."""
    if not items:
        return catalogue
    rows = {row[0]: row for row in zip(*vars(catalogue).values(), strict=True)}
    last_said = {item.item_id: item for item in sorted(items, key=lambda item: item.sequence)}
    for item_id, item in last_said.items():
        if item.withdrawn:
            rows.pop(item_id, None)
        else:
            rows[item_id] = (item_id, item.title, item.year, item.genres, item.imdb_id, item.tmdb_id)
    return Catalogue(*(tuple(row[column] for row in rows.values()) for column in range(len(vars(catalogue)))))


def _append_by_appearance(user_index: dict[str, int], events: Events) -> None:
    """Number the users whom the index lacks, in order of their first event."""
    users, rows = np.unique(events.users, return_index=True)
    for user in users[np.argsort(rows)].tolist():
        user_index.setdefault(events.user_ids[user], len(user_index))


def _positions(ids: Sequence[str], index: Mapping[str, int]) -> Int32:
    """Where each of `ids` is in `index`, int32 [n_ids]; -1 for those that are not."""
    return np.array([index.get(text, -1) for text in ids], np.int32)
