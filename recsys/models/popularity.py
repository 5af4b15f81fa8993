"""Popularity: what to recommend to somebody we know nothing of, and the line every other model has to pass."""

import numpy as np

from recsys.datasets.ratings import LIKED_STARS, Float32, Int32


def liked_share(items: Int32, stars: Float32, *, n_items: int, n_users: int) -> Float32:
    """Return, for each item, the share of all users who rated it with at least four stars of five, float32 [n_items].

    `items` int32 and `stars` float32 are [n_ratings]. Counting likes ranks better than counting ratings or averaging
    them (`FINDINGS` 1: NDCG@10 .101 on ml-100k). Cost: O(n_ratings).
    """
    liked = np.bincount(items[stars >= LIKED_STARS], minlength=n_items)
    return (liked / max(n_users, 1)).astype(np.float32)
