"""The lists that a version brings along, as they are served: by user, and without what was withdrawn since.

Must not know HTTP. Read-only, so any thread may ask.
"""

import numpy as np
from numpy.typing import NDArray

from recsys.artifacts.servable import Servable
from recsys.datasets.ratings import Float32, Int32, freeze


class Listed:
    """A version's `TopLists`. Empty where new films can be recommended by their genres: they are in no list."""

    def __init__(self, servable: Servable) -> None:
        self._user_index = servable.user_index
        self._rows: Int32 = np.full(len(servable.user_index), -1, np.int32)
        lists, recommender = servable.contents.top_lists, servable.recommender
        if lists is None or recommender.content is not None:
            return
        self._rows[lists.users] = np.arange(lists.users.size, dtype=np.int32)
        self._items, self._scores = lists.items, lists.scores
        if recommender.withdrawn is not None:
            self._items = freeze(np.where(np.isin(lists.items, recommender.withdrawn), np.int32(-1), lists.items))
        self._has_gaps = bool(np.any(self._items < 0))

    def best(self, user_id: str, n: int) -> tuple[NDArray[np.integer], Float32] | None:
        """The best `n` of what a user has not rated, as the version knows the user, and their scores; None: they must
        be looked for. Cost: two look-ups.
        """
        user = self._user_index.get(user_id)
        if user is None or (row := int(self._rows[user])) < 0:
            return None
        items, scores = self._items[row], self._scores[row]
        if self._has_gaps:
            there = items >= 0
            items, scores = items[there], scores[there]
        return (items[:n], scores[:n]) if n <= items.size else None
