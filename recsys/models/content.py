"""New films: until the model has learned a film from ratings, it gets the scores of the films most like it.

Owns what "like" means (genres, then years) and the arithmetic on it. Which films are new is for the caller to say.
Must not import scipy or pandas, nor know `recommend`, which uses this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import Float32, Int32, freeze
from recsys.models.item_item import ItemItem

Indices = NDArray[np.intp]

#: Neighbours of a new film. That a score is the mean of so many is also what keeps new films from flooding the lists:
#: hardly anybody likes 32 films of a kind as much as their ten best. Measured on ml-100k, protocol T, each tenth of the
#: items (seed 0) kept out of the fit in turn, so that a tenth of what is relevant is new: recall@100 .580 → .589,
#: NDCG@10 .2098 as before. New films take .6, 2.9 and 6.4 % of the first 10, 50 and 100 places; of the users who like
#: one, 12 % see one in the first 50 and 30 % in the first 100. With 16 neighbours 16 and 34 %, but NDCG@10 −.0005
#: (standard error .0002); with 100 neighbours 5 and 20 %. Scores times 1.4 cost .0035, neighbours weighed by popularity
#: .013, and genres alone rank at .016. A thousand new films of the kinds of 1996–98 that nobody wants take .6 % of the
#: first ten places.
NEIGHBOURS = 32
#: From so many ratings on a film stands on its own; before, content counts 1 − ratings / LEARNED_FROM. Without the fade
#: a film would vanish with its first training, for the ridge leaves a few ratings almost nothing. As above, but with 5
#: (20) ratings of each such film in the fit: .5 (8) % of the users see one in the first 100, with the fade 33 (37) %.
LEARNED_FROM = 50
#: Films so far apart are half as alike. Without years 16 % of the users, not 30 %, see a new film in the first 100.
_YEARS_TO_HALF = 2.0
_UNKNOWN_YEARS_APART = 10.0
_ITEMS_AT_ONCE = 200


@dataclass(frozen=True)
class ContentNeighbours:
    """The new films `items` intp [n_new], increasing, and what their scores are made of: `indices` intp [n_new, k] are
    modelled items, `weights` float32 [n_new, k] how much of each one's score (0: an empty place).
    """

    items: Indices
    indices: Indices
    weights: Float32

    def add_to(self, scores: Float32) -> None:
        """Add s_j += Σ_i weights[j, i] · s[indices[j, i]] to every new film j of `scores` (float32 [n_items], changed
        in place). −inf counts as 0 there: a film beyond the model has no score of its own. Cost: O(n_new · k).
        """
        own = scores[self.items]
        from_others = np.vecdot(scores.take(self.indices), self.weights)
        scores[self.items] = np.where(np.isneginf(own), 0, own) + from_others

    def contributions(self, item_item: ItemItem, items: Int32, weights: Float32, targets: Int32) -> Float32:
        """Return w_h·(B[h, t] + Σ_i weights[t, i] · B[h, indices[t, i]]), float32 [n_history, n_targets]: each column's
        sum is that target's score, as in `ItemItem.contributions`. Cost: that, for up to k more targets each.
        """
        terms = np.zeros((items.shape[0], targets.shape[0]), np.float32)
        modelled = np.flatnonzero(targets < item_item.n_items)
        terms[:, modelled] = item_item.contributions(items, weights, targets[modelled])
        new = np.flatnonzero(np.isin(targets, self.items))
        if not new.size:
            return terms
        rows = np.searchsorted(self.items, targets[new])
        sources, positions = np.unique(self.indices[rows], return_inverse=True)
        mixture = np.zeros((sources.shape[0], new.shape[0]), np.float32)
        # added, not set: the empty places all name item 0
        np.add.at(mixture, (positions.reshape(rows.shape[0], -1).T, np.arange(new.shape[0])), self.weights[rows].T)
        terms[:, new] += item_item.contributions(items, weights, sources.astype(np.int32)) @ mixture
        return terms


def content_neighbours(
    genres: Sequence[Sequence[str]],
    years: Sequence[int | None],
    rating_counts: Int32,
    new: NDArray[np.integer],
    *,
    n_modelled: int,
    k: int = NEIGHBOURS,
    pause: Callable[[], None] = lambda: None,
) -> ContentNeighbours | None:
    """Find what each new film j is like, so that B_j gets, beside what it learned, the mean of like films' columns:

    (1 − n_j / LEARNED_FROM) · m/k · Σ_i likeness(j, i)·B_i / Σ_i likeness(j, i) over its m ≤ `k` nearest, with
    likeness = Jaccard(genres) / (1 + |years apart| / 2) and n_j the ratings that the model learned of j.

    A missing neighbour counts as a score of 0 (m/k), so that one or two films do not carry a new one of a rare kind. Of
    films that tie for the last places, evenly many are taken from the most to the least popular: a thousand films may
    tie, and the most popular of them promise too much (ml-100k without years: recall@100 .553, spread evenly .583).

    `genres`, `years` and `rating_counts` (int32 [n_items]) are of all items, of which the first `n_modelled` are in B;
    `new` are those to be helped, in B or not. They should be films that came lately, not all that have few ratings: an
    old film that nobody watches is known, not new (helping all below 10 ratings: recall@100 .620 → .571). Left out are
    films with LEARNED_FROM ratings, and those that share no genre with a rated film of the model; None when nothing is
    left. Genres are compared without case. `pause` is called between pieces of about a millisecond.

    Source: Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010: the
    factors of a new item are the mean of its nearest items' factors, weighted by likeness of attributes. Here columns
    of B stand for factors; the likeness (theirs is a cosine), the fade, m/k and the rule for ties are ours.
    Cost: O(n_new · n_modelled) time; memory O(n_modelled + genres listed).
    """
    new = np.unique(new)
    new = new[rating_counts[new] < LEARNED_FROM]
    learned = np.setdiff1d(np.flatnonzero(rating_counts[:n_modelled] > 0), new)
    rated = _Content.of(genres, years, learned, pause)
    items, indices, weights = [], [], []
    for item in new.tolist():
        likeness = rated.likeness(genres[item], years[item])
        chosen = _nearest(likeness, k)
        if chosen.shape[0]:
            share = (1 - rating_counts[item] / LEARNED_FROM) * chosen.shape[0] / k
            empty = (0, k - chosen.shape[0])
            items.append(item)
            indices.append(np.pad(learned[chosen], empty))
            weights.append(np.pad(likeness[chosen] * (share / likeness[chosen].sum()), empty))
        pause()
    if not items:
        return None
    return ContentNeighbours(
        freeze(np.array(items, np.intp)), freeze(np.array(indices, np.intp)), freeze(np.array(weights, np.float32))
    )


@dataclass(frozen=True)
class _Content:
    """What is known of some items: for each genre the positions that have it, the number of genres float32 [n] and the
    year float32 [n] (NaN: unknown) of each.
    """

    members: dict[str, Indices]
    n_genres: Float32
    years: Float32

    @classmethod
    def of(
        cls,
        genres: Sequence[Sequence[str]],
        years: Sequence[int | None],
        items: NDArray[np.integer],
        pause: Callable[[], None],
    ) -> "_Content":
        members: dict[str, list[int]] = {}
        n_genres, found_years = np.zeros((2, items.shape[0]), np.float32)
        for position, item in enumerate(items.tolist()):
            names = {name.casefold() for name in genres[item]}
            for name in names:
                members.setdefault(name, []).append(position)
            n_genres[position] = len(names)
            found_years[position] = np.nan if years[item] is None else years[item]
            if position % _ITEMS_AT_ONCE == 0:
                pause()
        return cls({name: np.array(of, np.intp) for name, of in members.items()}, n_genres, found_years)

    def likeness(self, genres: Sequence[str], year: int | None) -> Float32:
        """Return Jaccard(genres) / (1 + |years apart| / 2), float32 [n]: 0 where no genre is shared."""
        names = {name.casefold() for name in genres}
        common = np.zeros_like(self.n_genres)
        for name in names & self.members.keys():
            common[self.members[name]] += 1
        apart = np.abs(self.years - np.float32(np.nan if year is None else year))
        apart[np.isnan(apart)] = _UNKNOWN_YEARS_APART
        likeness: Float32 = common / np.maximum(self.n_genres + len(names) - common, 1)
        likeness /= 1 + apart / _YEARS_TO_HALF
        return likeness


def _nearest(likeness: Float32, k: int) -> Indices:
    """Return the positions of the `k` highest of `likeness` that are above zero; of those that tie for the last places,
    evenly many from the first to the last.
    """
    k = min(k, int(np.count_nonzero(likeness)))
    if k == 0:
        return np.empty(0, np.intp)
    last = np.partition(likeness, -k)[-k]
    above, tied = np.flatnonzero(likeness > last), np.flatnonzero(likeness == last)
    n_left = k - above.shape[0]
    return np.concatenate([above, tied[(2 * np.arange(n_left) + 1) * tied.shape[0] // (2 * n_left)]])
