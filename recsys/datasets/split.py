"""Split a data set for evaluation: by time for what a service lives on, by user for strong generalization.

Pure functions of the data (and a seed); what is fitted and measured on the parts is `training.evaluation`'s business.
"""

from dataclasses import dataclass

import numpy as np

from recsys.datasets.ratings import LIKED_STARS, Dataset, Int32, Int64


@dataclass(frozen=True)
class TemporalSplit:
    """`train` int64 and `test` int64 are row numbers of the data set, both in history order (user, then time)."""

    train: Int64
    test: Int64


def split_temporal(dataset: Dataset, *, test_share: float = 0.2) -> TemporalSplit:
    """Take each user's last max(1, ⌊test_share · n⌋) ratings as the test, ties in time by file order.

    A user with one rating has it in the test and nothing to be asked with. Cost: O(n log n).
    """
    order = dataset.in_history_order()
    users = dataset.users[order]
    counts = np.bincount(users, minlength=dataset.n_users)
    ends = np.cumsum(counts)
    position_from_end = ends[users] - 1 - np.arange(users.size)
    n_test = np.maximum(1, np.floor(test_share * counts + 1e-9).astype(np.int64))
    is_test = position_from_end < n_test[users]
    return TemporalSplit(order[~is_test], order[is_test])


@dataclass(frozen=True)
class HeldOutUser:
    """`asked_with` int32 and `targets` int32 are items that this user liked."""

    asked_with: Int32
    targets: Int32


@dataclass(frozen=True)
class StrongSplit:
    """`train` int64 row numbers (liked ratings of training users); the held-out users never appear in it."""

    train: Int64
    validation: tuple[HeldOutUser, ...]
    test: tuple[HeldOutUser, ...]


def split_strong(
    dataset: Dataset, *, seed: int, held_out_share: float = 0.1, target_share: float = 0.2, min_liked: int = 5
) -> StrongSplit:
    """Hold whole users out: of those with at least `min_liked` liked ratings, `held_out_share` for validation and as
    many for test; of each held-out user's items that training knows, ⌊target_share · n⌋ (at least 1) are the targets.

    Source: Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018, section 4.1.
    Cost: O(n log n).
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    liked = np.flatnonzero(dataset.stars >= LIKED_STARS)
    counts = np.bincount(dataset.users[liked], minlength=dataset.n_users)
    eligible = rng.permutation(np.flatnonzero(counts >= min_liked))
    n_held_out = round(held_out_share * eligible.size)
    validation, test, training = np.split(eligible, [n_held_out, 2 * n_held_out])

    in_training = np.zeros(dataset.n_users, bool)
    in_training[training] = True
    train = liked[in_training[dataset.users[liked]]]
    trained_item = np.zeros(dataset.n_items, bool)
    trained_item[dataset.items[train]] = True

    usable = liked[trained_item[dataset.items[liked]]]
    usable = usable[np.argsort(dataset.users[usable], kind="stable")]
    ends = np.searchsorted(dataset.users[usable], np.arange(dataset.n_users + 1))

    def hold_out(users: Int64) -> tuple[HeldOutUser, ...]:
        found = []
        for user in users.tolist():
            items = rng.permutation(dataset.items[usable[ends[user] : ends[user + 1]]])
            n_targets = max(1, int(target_share * items.size))
            if items.size > n_targets:
                found.append(HeldOutUser(items[n_targets:], items[:n_targets]))
        return tuple(found)

    return StrongSplit(train, hold_out(validation), hold_out(test))
