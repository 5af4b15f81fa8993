"""Fit a recommender to a data set: which model, with which parameters, and when there is too little to learn from.

Must not know versions or files; `training.pipeline` publishes what this makes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recsys.datasets.ratings import Dataset
from recsys.models.item_item import store_item_item
from recsys.models.linear import LinearFit, fit_edlae
from recsys.models.popularity import liked_share
from recsys.models.recommend import Recommender
from recsys.models.weighting import Weighting
from recsys.training.hyperparameters import Hyperparameters

#: Below these a linear model has nothing to learn from, and popularity answers.
MIN_USERS, MIN_RATINGS = 5, 50


@dataclass(frozen=True)
class Fitted:
    """`recommender`, what it is called, and the linear fit it came from (None: there was too little data for one)."""

    recommender: Recommender
    algorithm: str
    linear: LinearFit | None


def fit(
    dataset: Dataset,
    parameters: Hyperparameters,
    *,
    weighting: Weighting | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Fitted:
    """Fit EDLAE on "rated or not" and popularity on "liked"; popularity alone when the data is too small.

    The first min(n_items, max_items) items of the catalogue are modelled, so sort it by number of ratings first when it
    is larger. `weighting` defaults to graded × recency, recency only if the data has times. Cost: that of `fit_edlae`.
    """
    popularity = liked_share(dataset.items, dataset.stars, n_items=dataset.n_items, n_users=dataset.n_users)
    weighting = weighting or Weighting(half_life=parameters.half_life if dataset.has_timestamps else None)
    n_modelled = min(dataset.n_items, parameters.max_items)
    if np.unique(dataset.users).size < MIN_USERS or dataset.n_ratings < MIN_RATINGS:
        return Fitted(Recommender(popularity, None, weighting), "popularity", None)
    modelled = dataset.items < n_modelled
    linear = fit_edlae(
        dataset.users[modelled],
        dataset.items[modelled],
        n_users=dataset.n_users,
        n_items=n_modelled,
        ridge=parameters.ridge,
        dropout=parameters.dropout,
        user_scaling=parameters.user_scaling,
        item_scaling=parameters.item_scaling,
        progress=progress,
    )
    item_item = store_item_item(linear.item_item)
    return Fitted(Recommender(popularity, item_item, weighting), "edlae", linear)
