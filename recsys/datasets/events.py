"""What people said after the ratings files were made, as columns: the form in which feedback crosses rooms.

Owns the vocabulary of changes. Must not know where they are stored, nor import pandas or scipy: the serving process
imports this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recsys.datasets.ratings import Float32, Int32, Int64


class Event(NamedTuple):
    """One rating that was given, or taken back (`value` None), in the order of `sequence`. `timestamp` is unix
    seconds.
    """

    user_id: str
    item_id: str
    value: float | None
    timestamp: int
    sequence: int


@dataclass(frozen=True)
class Events:
    """Many events in order of sequence: `users` int32 and `items` int32 are positions in `user_ids` and `item_ids`;
    `values` float32, NaN where a rating was taken back; `timestamps` int64, unix seconds; `sequences` int64, rising.
    """

    users: Int32
    items: Int32
    values: Float32
    timestamps: Int64
    sequences: Int64
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]

    @property
    def size(self) -> int:
        return int(self.sequences.size)

    @classmethod
    def of(cls, events: Sequence[Event]) -> "Events":
        """The columns of a list that is in order of sequence; ids are numbered as they appear."""
        users: dict[str, int] = {}
        items: dict[str, int] = {}
        values = [np.nan if event.value is None else event.value for event in events]
        return cls(
            np.array([users.setdefault(event.user_id, len(users)) for event in events], np.int32),
            np.array([items.setdefault(event.item_id, len(items)) for event in events], np.int32),
            np.array(values, np.float32),
            np.array([event.timestamp for event in events], np.int64),
            np.array([event.sequence for event in events], np.int64),
            tuple(users),
            tuple(items),
        )


@dataclass(frozen=True, slots=True)
class UserEvents:
    """One user's events in order of sequence: `items` int32 are positions in a list of items, -1 for what is not on it;
    `values` float32, NaN where a rating was taken back; `timestamps` int64, unix seconds. All [n_events].
    """

    items: Int32
    values: Float32
    timestamps: Int64

    def renumbered(self, item_ids: Sequence[str], index: Mapping[str, int]) -> "UserEvents":
        """The same events with items numbered by `index` instead of by their place in `item_ids`, -1 for those that
        it lacks. Cost: one look-up an event.
        """
        items = [index.get(item_ids[item], -1) for item in self.items.tolist()]
        return UserEvents(np.array(items, np.int32), self.values, self.timestamps)


@dataclass(frozen=True, slots=True)
class UserRatings:
    """One user's ratings, oldest first, at most one for each item: `items` int32, `values` float32 as given,
    `timestamps` int64. All [n_ratings].
    """

    items: Int32
    values: Float32
    timestamps: Int64


@dataclass(frozen=True, slots=True)
class ItemChange:
    """What was said of one item by hand. `withdrawn`: it is no longer offered, whatever the files say."""

    item_id: str
    title: str
    year: int | None
    genres: tuple[str, ...]
    imdb_id: str | None
    tmdb_id: str | None
    withdrawn: bool
    sequence: int
