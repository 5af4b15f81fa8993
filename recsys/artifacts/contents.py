"""What a version holds, as arrays and as files: the one table of names, types and shapes.

Owns the way out; `decoding` is the way back. Nothing here opens a file.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import orjson
from numpy.lib import format as npy
from numpy.typing import NDArray
from pydantic import Field, model_validator

from recsys.artifacts.manifest import Record
from recsys.datasets.ratings import Catalogue, Float32, Int32, Int64, RatingScale
from recsys.models.item_item import DenseItemItem, ItemItem, SparseItemItem
from recsys.models.recommend import History, Recommender
from recsys.models.weighting import Weighting


class ModelDescription(Record):
    """`model.json`: the part of a model that is not arrays."""

    algorithm: Literal["edlae", "popularity"]
    graded: bool
    half_life: float | None = Field(gt=0)
    min_half_life: float = Field(gt=0)
    scale_low: float
    scale_high: float
    scale_step: float = Field(gt=0)
    has_timestamps: bool

    @model_validator(mode="after")
    def _has_a_scale(self) -> "ModelDescription":
        if self.scale_low > self.scale_high or (self.scale_low < self.scale_high and self.scale_high <= 0):
            raise ValueError("the scale does not rise from scale_low to a scale_high above zero")
        return self


@dataclass(frozen=True)
class TopLists:
    """The best of what some users have not rated, worked out when the version was made.

    `users` int32 [n_lists] are positions of users, rising, each with a personalised answer. `items` int32
    [n_lists, length] are best first, -1 where there are no more; `scores` float32 of the same shape, 0 there.
    """

    users: Int32
    items: Int32
    scores: Float32


@dataclass(frozen=True)
class Contents:
    """Everything of a model version, ready to be written or just read and checked.

    Items are ordered by number of ratings, most first. Histories are rows `history_indptr[u] : history_indptr[u + 1]`
    of the `history_*` columns, oldest first: items int32, values float32 as given, timestamps int64 (unix seconds).
    `item_item` and the norms float32 [n_modelled] (see `models.linear.LinearFit`) are None in a popularity model.
    `top_lists` is None there, and in a version that was made before there were any.
    """

    description: ModelDescription
    catalogue: Catalogue
    user_ids: tuple[str, ...]
    rating_counts: Int32
    popularity: Float32
    history_indptr: Int64
    history_items: Int32
    history_values: Float32
    history_timestamps: Int64
    item_item: ItemItem | None
    row_norms: Float32 | None
    column_norms: Float32 | None
    top_lists: TopLists | None = None

    @cached_property
    def scale(self) -> RatingScale:
        return RatingScale(self.description.scale_low, self.description.scale_high, self.description.scale_step)

    @property
    def recommender(self) -> Recommender:
        described = self.description
        weighting = Weighting(described.graded, described.half_life, described.min_half_life)
        return Recommender(self.popularity, self.item_item, weighting)

    def rows(self, user: int) -> slice:
        """Where a user's history is."""
        return slice(int(self.history_indptr[user]), int(self.history_indptr[user + 1]))

    def history_weights(self, *, pause: Callable[[], None]) -> Float32:
        """What each rating of the histories counts, float32 [n_ratings]. Cost: O(n_ratings)."""
        stars = self.scale.stars(self.history_values)
        ordered = self.description.has_timestamps
        return self.recommender.weighting.of_histories(stars, self.history_indptr, ordered=ordered, pause=pause)

    def history(self, user: int, weights: Float32) -> History:
        """What one user rated, oldest first, with its share of the `history_weights`."""
        rows = self.rows(user)
        stars = self.scale.stars(self.history_values[rows])
        return History(self.history_items[rows], stars, self.description.has_timestamps, weights[rows])


def encode(contents: Contents) -> Iterator[tuple[str, bytes]]:
    """Give each file's name and content, one at a time."""
    yield "model.json", orjson.dumps(contents.description.model_dump(), option=orjson.OPT_SORT_KEYS)
    yield "items.jsonl", b"".join(_item_lines(contents.catalogue))
    yield "users.jsonl", b"".join(orjson.dumps(user) + b"\n" for user in contents.user_ids)
    for name in ("rating_counts", "popularity"):
        yield f"{name}.npy", _to_npy(getattr(contents, name))
    for name in ("indptr", "items", "values", "timestamps"):
        yield f"history_{name}.npy", _to_npy(getattr(contents, f"history_{name}"))
    if contents.row_norms is not None and contents.column_norms is not None:
        yield "row_norms.npy", _to_npy(contents.row_norms)
        yield "column_norms.npy", _to_npy(contents.column_norms)
    match contents.item_item:
        case DenseItemItem(values):
            yield "item_item.npy", _to_npy(values)
        case SparseItemItem(indptr, indices, values):
            yield "item_item_indptr.npy", _to_npy(indptr)
            yield "item_item_indices.npy", _to_npy(indices)
            yield "item_item_values.npy", _to_npy(values)
    if contents.top_lists is not None:
        for name in ("users", "items", "scores"):
            yield f"top_{name}.npy", _to_npy(getattr(contents.top_lists, name))


def _item_lines(catalogue: Catalogue) -> Iterator[bytes]:
    for row in zip(*vars(catalogue).values(), strict=True):
        yield orjson.dumps(row) + b"\n"


def _to_npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    npy.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
