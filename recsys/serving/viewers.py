"""Whom an answer is for: a user's history as the model has it ⊕ what they have rated since, scored and kept.

The model's cutoff says which feedback it has learned; the overlay gives the rest. So a rating counts in the very next
answer, and nothing is counted twice or dropped whichever model is swapped in. Must not know HTTP.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from recsys.datasets.events import UserEvents, UserRatings
from recsys.datasets.merge import merge_history
from recsys.datasets.ratings import Int32, freeze
from recsys.feedback.live import LiveFeedback
from recsys.models.recommend import History
from recsys.serving.served import ServedModel, Viewer

Listing = list[tuple[str, float, int, Literal["file", "api"]]]

_NOTHING = UserRatings(freeze(np.empty(0, np.int32)), freeze(np.empty(0, np.float32)), freeze(np.empty(0, np.int64)))


class Viewers:
    """Finds viewers by id. `find` is for the event loop's thread."""

    def __init__(self, feedback: LiveFeedback) -> None:
        self._feedback = feedback

    def stamp(self, model: ServedModel, user_id: str) -> int:
        """What of a user is newer than `model`, as one number: answers with the same stamp are the same. 0: nothing.

        Costs a look-up, and a hash once anybody was forgotten since the model was trained.
        """
        overlay, cutoff = self._feedback.overlay, model.cutoff
        latest = overlay.latest(user_id)
        if latest <= cutoff:
            latest = 0
        return -1 - latest if overlay.is_silenced(user_id, cutoff) else latest

    def find(self, model: ServedModel, user_id: str, stamp: int) -> Viewer | None:
        """Return the user as they stand now; None for somebody of whom nothing is known."""
        viewer = model.viewers.get(user_id)
        if viewer is None or viewer.stamp != stamp:
            history = self.history(model, user_id, stamp)
            if history is None:
                return None
            viewer = Viewer(stamp, model.recommender.scores(history), history.items)
            model.viewers.put(user_id, viewer, viewer.nbytes)
        return viewer

    def history(self, model: ServedModel, user_id: str, stamp: int) -> History | None:
        """What a user has rated, oldest first; None if there is nothing. Any thread may ask.

        Cost: some 6 µs for a user without new ratings, 100 µs for one with 500.
        """
        if stamp == 0:
            user = model.user_index.get(user_id)
            return None if user is None else model.servable.history(user)
        ratings = self.ratings(model, user_id, stamp)
        if not ratings.items.size:
            return None
        contents = model.servable.contents
        return History(ratings.items, contents.scale.stars(ratings.values), contents.description.has_timestamps)

    def ratings(self, model: ServedModel, user_id: str, stamp: int) -> UserRatings:
        """A user's live ratings of items that `model` knows, oldest first, with values as they were given."""
        user = None if stamp < 0 else model.user_index.get(user_id)
        learned = _NOTHING if user is None else model.servable.ratings(user)
        if stamp in (0, -1):
            return learned
        overlay = self._feedback.overlay
        newer = overlay.of_user(user_id, after=model.cutoff)
        items = _places(model, overlay.item_ids)[newer.items]
        return merge_history(
            learned.items, learned.values, learned.timestamps, UserEvents(items, newer.values, newer.timestamps)
        )

    def listing(self, model: ServedModel, user_id: str) -> Listing:
        """A user's live ratings, oldest first: item id, value, unix seconds (NO_TIMESTAMP: none) and where it is from.

        Of items that `model` does not know, too: they are the user's all the same.
        """
        overlay = self._feedback.overlay
        given = overlay.live_of_user(user_id)
        item_ids = [overlay.item_ids[item] for item in given.items.tolist()]
        mine = dict(zip(item_ids, zip(given.values.tolist(), given.timestamps.tolist(), strict=True), strict=True))
        known = self.ratings(model, user_id, self.stamp(model, user_id))
        rows: Listing = []
        for item, value, at in zip(known.items.tolist(), known.values.tolist(), known.timestamps.tolist(), strict=True):
            item_id = model.item_ids[item]
            rows.append((item_id, value, at, "api" if mine.pop(item_id, None) == (value, at) else "file"))
        rows += [(item_id, value, at, "api") for item_id, (value, at) in mine.items()]
        return sorted(rows, key=lambda row: row[2])


def _places(model: ServedModel, item_ids: Sequence[str]) -> Int32:
    """Where the overlay's items are in `model`, int32, -1 for those that it does not know. Made longer when there are
    more: the overlay's numbers keep their meaning. A withdrawn item is in histories still, and so has its place.
    """
    places = model.overlay_places
    if places.size < len(item_ids):
        index, learned = model.item_index, model.base.item_index
        added = [index.get(item_id, learned.get(item_id, -1)) for item_id in item_ids[places.size :]]
        places = model.overlay_places = np.append(places, np.array(added, np.int32))
    return places
