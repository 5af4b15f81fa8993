"""The routes by which people's ratings come in, are read, taken back and forgotten.

An answer means that it is on disk, and that the next recommendation knows it.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from recsys.artifacts.manifest import format_time
from recsys.datasets.ratings import NO_TIMESTAMP
from recsys.errors import InvalidInputError, Problem, UnknownRatingError
from recsys.feedback.changes import DeleteRating, ForgetUser, PutRatings, Rating
from recsys.feedback.live import LiveFeedback
from recsys.serving.served import ServedModel
from recsys.serving.slot import Slot
from recsys.serving.viewers import Listing, Viewers
from recsys.web.answers import json_response
from recsys.web.inputs import id_from_path, parse_body
from recsys.web.schemas import NewRating, RatingsRequest
from recsys.web.telemetry import Telemetry

#: Clocks differ; what is later than this is a mistake, and could not be corrected before its day comes.
_AHEAD_S = 86_400
_MAX_PROBLEMS = 20
#: Writing out more ratings than this, 6 µs each, leaves the loop.
_ROWS_ON_LOOP = 300


class RatingRoutes:
    """Handlers over what came in."""

    def __init__(self, slot: Slot, viewers: Viewers, feedback: LiveFeedback, telemetry: Telemetry) -> None:
        self._slot = slot
        self._viewers = viewers
        self._feedback = feedback
        self._telemetry = telemetry

    async def add_ratings(self, request: web.Request) -> web.Response:
        """Keep ratings: all of them, or none. They count in the very next answer."""
        model = self._slot.take()
        body = await parse_body(RatingsRequest, request)
        _refuse(body.ratings, model, is_registered=self._is_registered, latest=self._feedback.clock() + _AHEAD_S)
        ratings = tuple(
            Rating(rating.user_id, rating.item_id, rating.rating, rating.timestamp, rating.event_id)
            for rating in body.ratings
        )
        outcome = await self._feedback.submit(PutRatings(ratings))
        self._telemetry.ratings_kept(outcome.accepted, outcome.duplicates)
        return json_response({"accepted": outcome.accepted, "duplicates": outcome.duplicates})

    async def ratings_of_user(self, request: web.Request) -> web.Response:
        """List what a user has rated, oldest first; nobody's ratings are an empty list."""
        listing = self._viewers.listing(self._slot.take(), id_from_path(request, "user_id"))
        if len(listing) <= _ROWS_ON_LOOP:
            return json_response(_described(listing))
        return json_response(await asyncio.to_thread(_described, listing))

    async def delete_rating(self, request: web.Request) -> web.Response:
        """Take one rating back, wherever it came from. It is gone from the next answer, and from the next model."""
        model = self._slot.take()
        user_id, item_id = id_from_path(request, "user_id"), id_from_path(request, "item_id")
        if not any(row[0] == item_id for row in self._viewers.listing(model, user_id)):
            raise UnknownRatingError(f"this user has not rated {item_id!r}")
        await self._feedback.submit(DeleteRating(user_id, item_id))
        return json_response({"user_id": user_id, "item_id": item_id, "deleted": True})

    async def forget_user(self, request: web.Request) -> web.Response:
        """Forget a user: at once in answers, at the next training in the model. Nothing but a keyed hash remains."""
        await self._feedback.submit(ForgetUser(id_from_path(request, "user_id")))
        return json_response({"forgotten": True})

    def _is_registered(self, item_id: str) -> bool:
        said = self._feedback.items.get(item_id)
        return said is not None and not said.withdrawn


def _described(listing: Listing) -> dict[str, Any]:
    """Ratings as they are answered; float32 has six digits that were meant."""
    return {
        "ratings": [
            {
                "item_id": item_id,
                "rating": float(f"{value:.6g}"),
                "timestamp": format_time(datetime.fromtimestamp(at, UTC)) if at != NO_TIMESTAMP else None,
                "source": source,
            }
            for item_id, value, at, source in listing
        ]
    }


def _refuse(
    ratings: tuple[NewRating, ...], model: ServedModel, *, is_registered: Callable[[str], bool], latest: float
) -> None:
    """Errors: InvalidInputError that names each rating which the data set's scale, the catalogue or the clock does not
    allow.
    """
    scale, known = model.servable.contents.scale, model.item_index
    problems = []
    for number, rating in enumerate(ratings):
        if not scale.contains(rating.rating):
            problems.append((number, "rating", f"{rating.rating:g} is not on the scale {scale}"))
        if rating.item_id not in known and not is_registered(rating.item_id):
            problems.append((number, "item_id", f"there is no item {rating.item_id!r}"))
        if rating.timestamp is not None and rating.timestamp > latest:
            problems.append((number, "timestamp", "is more than a day in the future"))
    if problems:
        found = tuple(Problem(f"body.ratings[{number}].{name}", text) for number, name, text in problems)
        no_item = any(name == "item_id" for _, name, _ in problems)
        raise InvalidInputError(
            f"{found[0].where}: {found[0].problem}",
            hint="PUT /api/v1/items/{item_id} registers a new one" if no_item else None,
            problems=found[:_MAX_PROBLEMS],
        )
