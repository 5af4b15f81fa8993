"""A model with what was said of items by hand: new films at its end, other words for known ones, withdrawn ones hidden.

Pure, and runs in a thread: nothing here is read from disk, and the model it starts from is left as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.artifacts.servable import Servable
from recsys.artifacts.turns import settle, settled
from recsys.datasets.events import ItemChange
from recsys.datasets.ratings import Catalogue, Float32, Int32, freeze
from recsys.models.content import content_neighbours


@dataclass(frozen=True)
class Amendments:
    """The last word on each item of which something was said, up to a sequence of the feedback store."""

    items: tuple[ItemChange, ...] = ()
    sequence: int = 0


NO_AMENDMENTS = Amendments()


def amended(servable: Servable, amendments: Amendments, *, pause: Callable[[], None]) -> Servable:
    """Return `servable` with `amendments`.

    Positions of known items stay, new ones come after them. A film that people registered is recommended through its
    genres until the model has learned it (`models.content`). A withdrawn one keeps its place, so that histories stay
    whole, but is found by nobody. Cost: O(n_items), and a millisecond for each few new films.
    """
    if not amendments.items:
        return servable
    contents, index = servable.contents, dict(servable.item_index)
    known = vars(contents.catalogue).values()
    columns: list[list[Any]] = [[] for _ in known]
    settle()
    for column, values in zip(columns, known, strict=True):
        column.extend(values)
    withdrawn: list[int] = []
    registered: list[int] = []
    for change in amendments.items:
        item = index.get(change.item_id)
        if change.withdrawn:
            if item is not None:
                withdrawn.append(item)
                del index[change.item_id]
            continue
        row = (change.item_id, change.title, change.year, change.genres, change.imdb_id, change.tmdb_id)
        if item is None:
            index[change.item_id] = item = len(columns[0])
            for column in columns:
                column.append(None)
        for column, value in zip(columns, row, strict=True):
            column[item] = value
        registered.append(item)
        pause()
    catalogue = Catalogue(*map(settled, columns))
    n_new = catalogue.n_items - contents.catalogue.n_items
    counts: Int32 = np.pad(contents.rating_counts, (0, n_new))
    popularity: Float32 = np.pad(contents.popularity, (0, n_new))
    popularity[withdrawn] = -np.inf
    recommender = servable.recommender
    neighbours = content_neighbours(
        catalogue.genres,
        catalogue.years,
        counts,
        np.array(registered, np.int64),
        n_modelled=recommender.n_modelled,
        pause=pause,
    )
    return replace(
        servable,
        contents=replace(contents, catalogue=catalogue, rating_counts=freeze(counts), popularity=freeze(popularity)),
        recommender=replace(
            recommender,
            popularity=popularity,
            content=neighbours,
            withdrawn=freeze(np.array(sorted(withdrawn), np.intp)) if withdrawn else None,
        ),
        item_index=index,
    )
