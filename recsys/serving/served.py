"""A model made ready to answer at speed: JSON fragments, filters, title search and bounded caches hang on it.

Everything here belongs to one version and goes with it when its last request ends. Built in a thread; read-only after
that, but for the caches, which only the event loop's thread touches.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.artifacts.servable import Servable
from recsys.artifacts.turns import settle, settled, yield_to_loop
from recsys.datasets.ratings import Int32, freeze
from recsys.models.recommend import History, Scores
from recsys.models.topk import rank, top_k
from recsys.serving.amended import NO_AMENDMENTS, Amendments, amended
from recsys.serving.cache import BoundedCache
from recsys.serving.listed import Listed
from recsys.serving.search import TitleIndex, fold

Mask = NDArray[np.bool_]
Years = tuple[int | None, int | None]
#: Items, best first.
Ranking = NDArray[np.integer]

_CHUNK = 100
_MAX_MASKS = 256
#: What a kept answer and its key take beside its bytes.
_ANSWER_OVERHEAD_BYTES = 300
#: So many of a user's best are kept in order, for filters to walk through.
_RANKED = 2048
_VIEWER_OVERHEAD_BYTES = 500
#: So many addresses are remembered without their answers; about 2 MB.
_ASKED_ONCE = 8192


@dataclass(slots=True)
class Viewer:
    """What an answer rests on: scores for a history, the items in it (`seen`), and, once a filter asked, the ranking.

    `stamp` says which history it was (`Viewers.stamp`).
    """

    stamp: int
    scores: Scores
    seen: Int32
    ranking: Ranking | None = None

    @property
    def nbytes(self) -> int:
        own = self.scores.nbytes if self.scores.strategy != "popular" else 0
        return own + self.seen.nbytes + 4 * min(self.scores.values.size, _RANKED) + _VIEWER_OVERHEAD_BYTES


class ServedModel:
    """One version, ready to answer. `store_id` names the feedback store whose cutoff counts (`cutoff`: a sequence)."""

    def __init__(
        self,
        servable: Servable,
        *,
        fingerprint: str = "",
        store_id: str = "",
        amendments: Amendments = NO_AMENDMENTS,
        score_cache_bytes: int = 32 * 2**20,
        answer_cache_bytes: int = 16 * 2**20,
        pause: Callable[[], None] = yield_to_loop,
    ) -> None:
        #: The version as it is on disk, and up to where it was amended.
        self.base, self.amended_to = servable, amendments.sequence
        servable = amended(servable, amendments, pause=pause)
        catalogue = servable.contents.catalogue
        self.servable = servable
        self.version = servable.version
        self.fingerprint = fingerprint
        self.loaded_at = datetime.now(UTC)
        self.cutoff = _cutoff(servable, store_id)
        self.recommender = servable.recommender
        self.item_ids = catalogue.item_ids
        self.item_index = servable.item_index
        self.user_index = servable.user_index
        self.fragments = _fragments(servable, pause)
        self.years = freeze(np.array([year or 0 for year in catalogue.years], np.int16))
        self.genre_names, self._genres = _genre_masks(catalogue.genres, pause)
        self.titles = TitleIndex(catalogue.titles, pause=pause)
        self._masks: BoundedCache[Mask] = BoundedCache(_MAX_MASKS * max(1, catalogue.n_items))
        self.viewers: BoundedCache[Viewer] = BoundedCache(score_cache_bytes)
        #: Where the overlay's items are in this model; whoever asks keeps it up to date.
        self.overlay_places = freeze(np.empty(0, np.int32))
        self.listed = Listed(servable)
        self.popular_scores = self.recommender.scores(History.empty())
        self.popular: Ranking = freeze(rank(self.recommender.popularity))
        self.answers: BoundedCache[bytes] = BoundedCache(answer_cache_bytes)
        self._asked_once: set[object] = set()

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def ranking_of(self, viewer: Viewer) -> Ranking:
        """The best of what a viewer has not rated, best first: filters, exclusions and another `n` then cost only a
        walk.
        """
        if viewer.ranking is None:
            ranking = self.recommender.select(viewer.scores, _RANKED, excluded=viewer.seen)
            viewer.ranking = freeze(ranking.astype(np.int32))
        return viewer.ranking

    def holds_all(self, ranking: Ranking) -> bool:
        """Whether `ranking` was not cut short, so that a walk through it that finds too few has found all there are."""
        return ranking.size < _RANKED

    def walk(
        self, ranking: Ranking, n: int, genres: tuple[str, ...], years: Years, excluded_ids: Iterable[str]
    ) -> Ranking:
        """Return the first `n` of a ranking that filters let through: what `Recommender.select` would choose, for the
        price of looking at a list. Cost: O(length of the ranking).
        """
        if genres:
            ranking = ranking.compress(self._of_genres(genres).take(ranking))
        if years != (None, None):
            ranking = ranking.compress(self._in_years(years, self.years.take(ranking)))
        index = self.item_index
        excluded = {index[item] for item in excluded_ids if item in index}
        if not excluded:
            return ranking[:n]
        first = ranking[: n + len(excluded)].tolist()
        return np.array([item for item in first if item not in excluded][:n], np.intp)

    def mask(self, genres: tuple[str, ...], year_from: int | None, year_to: int | None) -> Mask | None:
        """Where items are of any of `genres` and of these years, bool [n_items]; None when nothing is asked for.

        An item without a year is in no range of years.
        """
        if not genres and year_from is None and year_to is None:
            return None
        key = (genres, year_from, year_to)
        mask = self._masks.get(key)
        if mask is None:
            mask = self.mask_uncached(genres, year_from, year_to)
            assert mask is not None
            self._masks.put(key, freeze(mask), mask.nbytes)
        return mask

    def mask_uncached(self, genres: tuple[str, ...], year_from: int | None, year_to: int | None) -> Mask | None:
        """`mask` for other threads than the loop's: it leaves the cache alone."""
        years = (year_from, year_to)
        if years == (None, None):
            return self._of_genres(genres) if genres else None
        mask = self._in_years(years, self.years)
        return mask & self._of_genres(genres) if genres else mask

    def _of_genres(self, genres: tuple[str, ...]) -> Mask:
        wanted = [self._genres[name] for name in map(fold, genres) if name in self._genres]
        if len(wanted) == 1:
            return wanted[0]
        return np.logical_or.reduce(wanted) if wanted else np.zeros(self.n_items, bool)

    def _in_years(self, years: Years, of: NDArray[np.int16]) -> Mask:
        low = max(years[0] or 1, 1)
        if years[1] is None:
            mask: Mask = of >= low
        else:
            mask = (of - low).view(np.uint16) <= years[1] - low  # what is below becomes large
        return mask

    def select(
        self,
        scores: Scores,
        n: int,
        seen: NDArray[np.integer] | None,
        excluded_ids: Collection[str],
        allowed: Mask | None,
    ) -> Ranking:
        """Return the best `n` items but those in `seen` and of `excluded_ids`, only where `allowed`."""
        excluded: NDArray[np.integer] | None = self.indices(excluded_ids)
        if seen is not None:
            excluded = seen if excluded is None else np.concatenate([seen, excluded])
        return self.recommender.select(scores, n, excluded=excluded, allowed=allowed)

    def indices(self, item_ids: Collection[str]) -> NDArray[np.int32] | None:
        """Positions of those ids that the model knows; None when it knows none."""
        if not item_ids:
            return None
        found = [self.item_index[item] for item in item_ids if item in self.item_index]
        return np.array(found, np.int32) if found else None

    def similar(self, item: int, n: int, allowed: Mask | None = None) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Return the `n` items most like `item` and how like it they are, best first.

        By partial correlation ρ_ij = −C_ij / √(C_ii·C_jj): how much two films go together once every other film is
        accounted for, so that blockbusters are not similar to everything. An item that too few have rated is compared
        by the share of genres in common instead. Cost: O(n_items).
        """
        contents = self.servable.contents
        likeness = np.full(self.n_items, -np.inf, np.float32)
        if contents.item_item is not None and contents.row_norms is not None and item < contents.row_norms.size:
            row = contents.row_norms[item] * contents.item_item.row(item) * contents.column_norms
            likeness[: row.size] = np.where(row > 0, row, -np.inf)
        if not np.any(likeness > 0):
            likeness = self._genre_likeness(item)
        likeness[item] = -np.inf
        if self.recommender.withdrawn is not None:
            likeness[self.recommender.withdrawn] = -np.inf
        if allowed is not None:
            likeness[~allowed] = -np.inf
        chosen = top_k(likeness, n)
        return chosen, likeness[chosen]

    def _genre_likeness(self, item: int) -> NDArray[np.float32]:
        """Jaccard similarity of genres, float32 [n_items]; -inf where nothing is in common."""
        if not self._genres:
            return np.full(self.n_items, -np.inf, np.float32)
        masks = np.array(list(self._genres.values()))
        mine = masks[:, item]
        common = masks[mine].sum(axis=0, dtype=np.float32)
        either = masks.sum(axis=0, dtype=np.float32) + mine.sum() - common
        likeness: NDArray[np.float32] = np.where(common > 0, common / np.maximum(either, 1), -np.inf)
        return likeness.astype(np.float32)

    def find(self, query: str) -> NDArray[np.intp]:
        """The items whose titles hold every word of `query`, the most fitting first; all if there is none."""
        found = self.titles.find(query) if query.strip() else np.arange(self.n_items)
        if self.recommender.withdrawn is not None:
            found = found[~np.isin(found, self.recommender.withdrawn)]
        return found

    def pieces(self) -> list[object]:
        """Everything large that hangs on this model, so that it can be let go piece by piece."""
        contents = self.servable.contents
        return [*vars(self).values(), *vars(contents).values(), *vars(contents.catalogue).values()]

    def keep_answer(self, address: object, answer: bytes) -> None:
        self.answers.put(address, answer, len(answer) + _ANSWER_OVERHEAD_BYTES)

    def keep_answer_if_asked_again(self, address: object, answer: bytes) -> None:
        """Keep an answer from its second time on: most of these addresses are never asked again, and would drive out
        those that are.
        """
        if address in self._asked_once:
            self._asked_once.discard(address)
            self.keep_answer(address, answer)
            return
        if len(self._asked_once) >= _ASKED_ONCE:
            self._asked_once.clear()
        self._asked_once.add(address)

    def warm_up(self) -> None:
        """Touch every path once, so that the first request does not pay for page faults and lazy imports."""
        for user in range(min(3, len(self.user_index))):
            self.recommender.recommend(self.servable.history(user), 10)
        self.recommender.recommend(History.empty(), 10)
        if self.n_items:
            self.similar(0, 10)


def _cutoff(servable: Servable, store_id: str) -> int:
    """The sequence up to which feedback was learned; 0 for that of another store, so that nothing of ours is lost."""
    cutoff = servable.manifest.data.feedback_cutoff
    return cutoff.sequence if cutoff is not None and cutoff.store_id == store_id else 0


def _fragments(servable: Servable, pause: Callable[[], None]) -> tuple[bytes, ...]:
    """The JSON of each item without its braces, so that an answer is a join."""
    catalogue = servable.contents.catalogue
    fragments: list[bytes] = []
    settle()
    rows = zip(catalogue.item_ids, catalogue.titles, catalogue.years, catalogue.genres, strict=True)
    for number, (item_id, title, year, genres) in enumerate(rows):
        fragments.append(orjson.dumps({"item_id": item_id, "title": title, "year": year, "genres": genres})[1:-1])
        if number % _CHUNK == 0:
            pause()
    return settled(fragments)


def _genre_masks(
    genres: tuple[tuple[str, ...], ...], pause: Callable[[], None]
) -> tuple[tuple[str, ...], dict[str, Mask]]:
    """Genre names in alphabetical order, and for each folded name where it holds, bool [n_items]."""
    members: dict[str, list[int]] = {}
    for item, names in enumerate(genres):
        for name in names:
            members.setdefault(name, []).append(item)
        if item % 1000 == 0:
            pause()
    masks: dict[str, Mask] = {}
    for name, items in members.items():
        mask = masks.setdefault(fold(name), np.zeros(len(genres), bool))
        mask[items] = True
    return tuple(sorted(members)), {name: freeze(mask) for name, mask in masks.items()}
