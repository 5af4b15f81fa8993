"""History → ranked list: the one ranking that serving, evaluation, the gate and the golden queries all use.

Owns the blend for short histories, what counts as seen, and the exact "because". Must not import scipy or pandas.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import Float32, Int32, freeze
from recsys.models.content import ContentNeighbours
from recsys.models.item_item import ItemItem
from recsys.models.topk import FEW, take_best, top_k
from recsys.models.weighting import Weighting

Strategy = Literal["personalized", "blended", "popular"]

#: From so many known items on, an answer rests on the history alone.
PERSONALIZED_FROM = 5
#: How much popularity weighs beside fewer known items. On ml-100k, protocol T with histories cut to their last k
#: ratings, NDCG@10 with it and without: k = 1 .127 and .104, 2 .141 and .125, 4 .167 and .150 (popularity alone .101).
POPULARITY_WEIGHT = 0.05


@dataclass(frozen=True)
class History:
    """What one user rated, oldest first: `items` int32 [n_history], `stars` float32 [n_history] in stars of five.

    `ordered` says whether the order means time. `weights` float32 [n_history] is what each rating counts, where that
    was worked out before.
    """

    items: Int32
    stars: Float32
    ordered: bool = True
    weights: Float32 | None = None

    @classmethod
    def empty(cls) -> "History":
        return _EMPTY


_EMPTY = History(freeze(np.empty(0, np.int32)), freeze(np.empty(0, np.float32)))


@dataclass(frozen=True)
class Scores:
    """Every item's score for one history, float32 [n_items], with what they were made of."""

    values: Float32
    strategy: Strategy
    known_items: Int32
    weights: Float32
    popularity_weight: float = 0.0

    @property
    def nbytes(self) -> int:
        return int(self.values.nbytes + self.known_items.nbytes + self.weights.nbytes)


@dataclass(frozen=True)
class Recommender:
    """A fitted model, ready to be asked.

    `popularity` float32 [n_items] is the share of users who liked each item. `item_item` covers the first `n_modelled`
    items (None: too little data, only popularity answers); the others can be searched for and rated, but carry no
    signal. They are recommended to somebody who has a history only through `content`, which scores new films by the
    films most like them. `withdrawn` intp are items that nobody is recommended (in `popularity` they have -inf).
    """

    popularity: Float32
    item_item: ItemItem | None
    weighting: Weighting = Weighting()
    content: ContentNeighbours | None = None
    withdrawn: NDArray[np.intp] | None = None

    @property
    def n_items(self) -> int:
        return int(self.popularity.shape[0])

    @property
    def n_modelled(self) -> int:
        return self.item_item.n_items if self.item_item is not None else 0

    def scores(self, history: History) -> Scores:
        """Score every item: s = w·B for at least K known items, w·B + β·popularity for fewer, popularity for none.

        K = PERSONALIZED_FROM, β = POPULARITY_WEIGHT; B with the columns that `content` gives to new films. Cost: that
        of `ItemItem.scores`, and of `ContentNeighbours.add_to` when there are new films.
        """
        items = history.items
        if self.n_modelled < self.n_items:
            known = items < self.n_modelled
            items = items[known]
        k = items.shape[0]
        if self.item_item is None or k == 0:
            return Scores(self.popularity, "popular", _EMPTY.items, _EMPTY.stars)
        weights = history.weights
        if weights is None:
            weights = self.weighting.weights(history.stars, ordered=history.ordered)
        if k < weights.shape[0]:
            weights = weights[known]
        values = self.item_item.scores(items, weights)
        if values.shape[0] < self.n_items:
            rest = np.full(self.n_items - values.shape[0], -np.inf, np.float32)
            values = np.concatenate([values, rest])
        if self.content is not None:
            self.content.add_to(values)
        if self.withdrawn is not None:
            values[self.withdrawn] = -np.inf
        if k >= PERSONALIZED_FROM:
            return Scores(values, "personalized", items, weights)
        blended = values + np.float32(POPULARITY_WEIGHT) * self.popularity
        return Scores(blended, "blended", items, weights, POPULARITY_WEIGHT)

    def because(self, scores: Scores, targets: NDArray[np.integer]) -> list[list[tuple[int, float]]]:
        """Split the personalised part of each target's score over the history: (item, contribution), largest first.

        Exact, not an explanation after the fact: the contributions sum to w·B[:, target]. Zero terms are left out.
        Cost: O(n_history · n_targets), and with a thresholded B its kept entries.
        """
        if self.item_item is None or scores.known_items.size == 0:
            return [[] for _ in targets]
        asked = (scores.known_items, scores.weights, targets.astype(np.int32))
        if self.content is None:
            terms = self.item_item.contributions(*asked)
        else:
            terms = self.content.contributions(self.item_item, *asked)
        order = np.argsort(-terms, axis=0, kind="stable")
        sorted_items = scores.known_items[order]
        sorted_terms = np.take_along_axis(terms, order, axis=0)
        return [
            [(item, term) for item, term in zip(items, column, strict=True) if term != 0.0]
            for items, column in zip(sorted_items.T.tolist(), sorted_terms.T.tolist(), strict=True)
        ]

    def select(
        self,
        scores: Scores,
        n: int,
        *,
        excluded: NDArray[np.integer] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.intp]:
        """Return the best `n` items: none of `excluded` (indices), only where `allowed` (bool [n_items]). Cost:
        O(n_items).
        """
        values = scores.values
        if allowed is None:
            if excluded is not None:
                values = values.copy()
                values[excluded] = -np.inf
                if n <= FEW:
                    return take_best(values, n)
            return top_k(values, n)
        # only what may be chosen is looked at: a selection among thousands of -inf is slow, for they all tie
        if excluded is not None:
            allowed = allowed.copy()
            allowed[excluded] = False
        candidates = allowed.nonzero()[0]
        return candidates.take(top_k(values.take(candidates), n))

    def recommend(self, history: History, n: int) -> NDArray[np.intp]:
        """Return the best `n` items that are not in the history."""
        return self.select(self.scores(history), n, excluded=history.items)
