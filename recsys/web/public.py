"""The routes for viewers: recommendations. Each takes the slot once and keeps that model to its end.

What takes longer than about two milliseconds (a batch, an explanation of long lists) leaves the loop. Answers are kept
on the model by the exact address that was asked, which was validated when it was asked first.
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
from aiohttp import web
from yarl import URL

from recsys.artifacts.turns import yield_to_loop
from recsys.datasets.ratings import NO_TIMESTAMP, RatingScale
from recsys.errors import InvalidInputError, Problem
from recsys.models.recommend import History, Scores
from recsys.serving.served import Ranking, ServedModel
from recsys.serving.slot import Slot
from recsys.serving.viewers import Viewers
from recsys.web.abreast import abreast
from recsys.web.answers import explained, model_response, scored
from recsys.web.headers import COMMON_HEADERS
from recsys.web.inputs import id_from_path, parse_body, parse_query
from recsys.web.kept import addressed, choose, key_of, listed_answer, ranked
from recsys.web.schemas import BatchRequest, RatingIn, RecommendationQuery, StatelessRequest
from recsys.web.shown import RecommendationIds

_USERS_AT_ONCE = 25
#: An explanation of more (history × list) terms than this leaves the loop; about two milliseconds' worth.
_TERMS_ON_LOOP = 2000
_LATEST = -NO_TIMESTAMP - 1


class PublicRoutes:
    """Handlers over one slot. `workers` runs what would hold the loop up."""

    def __init__(self, slot: Slot, viewers: Viewers, ids: RecommendationIds, workers: ThreadPoolExecutor) -> None:
        self._slot = slot
        self._viewers = viewers
        self._ids = ids
        self._workers = workers

    async def recommend_for_user(self, request: web.Request) -> web.Response:
        """Recommend to one user, from what they have rated. An unknown one gets what is popular."""
        model = self._slot.take()
        user_id = request.match_info["user_id"]
        stamp = self._viewers.stamp(model, user_id)
        key = key_of(request.raw_path, stamp)
        answer = model.answers.get(key)
        if answer is None:
            answer = await self._make_answer(model, id_from_path(request, "user_id"), stamp, key, request.rel_url)
        if self._ids.enabled:
            answer = self._ids.put_in(answer, model.version)
        return model_response(answer, model.version)

    async def _make_answer(self, model: ServedModel, user_id: str, stamp: int, key: object, url: URL) -> bytes:
        """Make and keep an answer. Unknown users all get the same: it is kept by the query alone, without their id."""
        query = parse_query(RecommendationQuery, url)
        if stamp == 0 and (answer := listed_answer(model, user_id, query)) is not None:
            model.keep_answer(key, answer)
            return answer
        await abreast()
        viewer = self._viewers.find(model, user_id, stamp)
        if viewer is None:
            key = "?" + url.raw_query_string
            if (answer := model.answers.get(key)) is not None:
                return addressed(user_id, answer)
        await abreast()
        scores, items = choose(model, viewer, query)
        await abreast()
        if query.explain:
            joined = await self._explain(model, items, scores)
        else:
            joined = scored(model, items, scores.values.take(items))
        answer = ranked(model, scores.strategy, joined)
        if viewer is None:
            model.keep_answer(key, answer)
            return addressed(user_id, answer)
        answer = addressed(user_id, answer)
        if query.is_filtered:
            model.keep_answer_if_asked_again(key, answer)
        else:
            model.keep_answer(key, answer)
        return answer

    async def _explain(self, model: ServedModel, items: Ranking, scores: Scores) -> bytes:
        if items.size * scores.known_items.size <= _TERMS_ON_LOOP:
            return explained(model, items, scores)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, explained, model, items, scores)

    async def recommend_for_ratings(self, request: web.Request) -> web.Response:
        """Recommend to somebody by the ratings in the request; nothing is stored."""
        model = self._slot.take()
        await abreast()
        body = await parse_body(StatelessRequest, request)
        await abreast()
        history, ignored = _history_of(model, body.ratings)
        await abreast()
        scores = model.recommender.scores(history)
        await abreast()
        mask = model.mask(body.genres, body.year_from, body.year_to)
        items = model.select(scores, body.n, history.items, body.exclude, mask)
        await abreast()
        if body.explain:
            joined = await self._explain(model, items, scores)
        else:
            joined = scored(model, items, scores.values.take(items))
        content = b'{"model_version":"%b","strategy":"%b","items":[%b],"ignored":%b}' % (
            model.version.encode(),
            scores.strategy.encode(),
            joined,
            orjson.dumps(ignored),
        )
        if self._ids.enabled:
            content = self._ids.put_in(content, model.version)
        return model_response(content, model.version)

    async def recommend_batch(self, request: web.Request) -> web.StreamResponse:
        """Recommend to many users at once, in the order asked. Streamed, so that memory stays bounded."""
        model = self._slot.take()
        body = await parse_body(BatchRequest, request)
        loop = asyncio.get_running_loop()
        parts = [
            body.user_ids[start : start + _USERS_AT_ONCE] for start in range(0, len(body.user_ids), _USERS_AT_ONCE)
        ]
        opening = b'{"model_version":"%b","results":[' % model.version.encode()
        first = await loop.run_in_executor(self._workers, _answer_batch, model, self._viewers, parts[0], body)
        if len(parts) == 1:
            return model_response(opening + first + b"]}", model.version)
        response = web.StreamResponse(
            headers={"Content-Type": "application/json; charset=utf-8", "X-Model-Version": model.version}
        )
        request.app[COMMON_HEADERS].add(request, response)
        await response.prepare(request)
        await response.write(opening + first)
        for part in parts[1:]:
            content = await loop.run_in_executor(self._workers, _answer_batch, model, self._viewers, part, body)
            await response.write(b"," + content)
        await response.write_eof(b"]}")
        return response


def _history_of(model: ServedModel, ratings: tuple[RatingIn, ...]) -> tuple[History, list[str]]:
    """Turn ratings into a history: the last of an item wins, oldest first. Without a single time, their order means
    nothing and recency is left out; among times, a rating without one counts as just made.

    Errors: InvalidInputError for ratings that the data set's scale does not hold.
    """
    scale, index = model.servable.contents.scale, model.item_index
    _refuse_off_scale(ratings, scale)
    known: dict[int, tuple[int, int, int, float]] = {}
    ignored: dict[str, None] = {}
    for position, rating in enumerate(ratings):
        item = index.get(rating.item_id)
        if item is None:
            ignored[rating.item_id] = None
        else:
            at = rating.timestamp
            known[item] = (_LATEST if at is None else at, position, item, rating.rating)
    if not known:
        return History.empty(), list(ignored)
    times, _, items, values = zip(*sorted(known.values()), strict=True)
    stars = scale.stars(np.array(values, np.float32))
    return History(np.array(items, np.int32), stars, ordered=times[0] < _LATEST), list(ignored)


def _refuse_off_scale(ratings: Sequence[RatingIn], scale: RatingScale) -> None:
    values, low, high = [rating.rating for rating in ratings], scale.low, scale.high
    if not values or low == high or (low <= min(values) and max(values) <= high):
        return
    problems = [
        Problem(f"body.ratings[{position}].rating", f"{value:g} is not on the scale {low:g} to {high:g}")
        for position, value in enumerate(values)
        if not low <= value <= high
    ]
    raise InvalidInputError(f"{problems[0].where}: {problems[0].problem}", problems=tuple(problems[:20]))


def _answer_batch(model: ServedModel, viewers: Viewers, user_ids: Iterable[str], body: BatchRequest) -> bytes:
    """Answer some users of a batch. Runs in a thread, so it leaves the model's caches alone."""
    mask = model.mask_uncached(body.genres, body.year_from, body.year_to)
    results = []
    for user_id in user_ids:
        history = viewers.history(model, user_id, viewers.stamp(model, user_id)) or History.empty()
        scores = model.recommender.scores(history)
        items = model.select(scores, body.n, None if body.include_seen else history.items, body.exclude, mask)
        results.append(
            b'{"user_id":%b,"strategy":"%b","items":[%b]}'
            % (orjson.dumps(user_id), scores.strategy.encode(), scored(model, items, scores.values.take(items)))
        )
        yield_to_loop()
    return b",".join(results)
