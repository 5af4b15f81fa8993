"""The lists that are worked out at training, so that a swap finds them made: what most addresses ask for.

Asked of the very recommender that serves, so that an answer is the same whether it was made before or when it is asked
for. Must not import scipy or pandas.
"""

from collections.abc import Callable

import numpy as np

from recsys.artifacts.contents import Contents, TopLists
from recsys.artifacts.turns import go_on
from recsys.datasets.ratings import freeze

#: As long as a page asks for.
LENGTH = 20
#: Of more users, those who rated last: a third of a millisecond each at 20,000 items, and 164 bytes in memory. More
#: answers than this are not kept in memory either.
MAX_LISTS = 20_000
_AT_ONCE = 500


def make_top_lists(
    contents: Contents, *, max_lists: int = MAX_LISTS, progress: Callable[[float], None] = lambda share: None
) -> TopLists | None:
    """Recommend LENGTH items to each user who has a personalised answer, at most to `max_lists` who rated last.

    None for a popularity model. Cost: that of as many answers.
    """
    if contents.item_item is None:
        return None
    recommender, weights = contents.recommender, contents.history_weights(pause=go_on)
    has_rated = np.flatnonzero(np.diff(contents.history_indptr))
    last_rated = contents.history_timestamps[contents.history_indptr[has_rated + 1] - 1]
    asked = np.sort(has_rated[np.argsort(-last_rated, kind="stable")[:max_lists]])
    users, items, scores = [], [], []
    for number, user in enumerate(asked.tolist()):
        if number % _AT_ONCE == 0:
            progress(number / asked.size)
        history = contents.history(user, weights)
        scored = recommender.scores(history)
        if scored.strategy != "personalized":
            continue
        found = recommender.select(scored, LENGTH, excluded=history.items)
        missing = LENGTH - found.size
        users.append(user)
        items.append(np.pad(found, (0, missing), constant_values=-1))
        scores.append(np.pad(scored.values[found], (0, missing)))
    return TopLists(
        freeze(np.array(users, np.int32)),
        freeze(np.array(items, np.int32).reshape(-1, LENGTH)),
        freeze(np.array(scores, np.float32).reshape(-1, LENGTH)),
    )
