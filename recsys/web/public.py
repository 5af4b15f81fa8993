"""The routes for viewers: recommendations, items, search. Each takes the slot once and keeps that model to its end.

What takes longer than about two milliseconds (a batch, an explanation of long lists) leaves the loop. Answers are kept
on the model by the exact address that was asked, which was validated when it was asked first.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import orjson
from aiohttp import web

from recsys.artifacts.turns import yield_to_loop
from recsys.datasets.ratings import NO_TIMESTAMP
from recsys.errors import InvalidInputError, Problem, UnknownItemError
from recsys.models.recommend import History, Scores
from recsys.models.topk import top_k
from recsys.serving.served import KeptAnswer, Mask, ServedModel
from recsys.serving.slot import Slot
from recsys.web.answers import explained, json_response, listed, model_response, scored
from recsys.web.headers import COMMON_HEADERS
from recsys.web.inputs import id_from_path, parse_body, parse_query
from recsys.web.schemas import (
    BatchRequest,
    PopularQuery,
    RatingIn,
    RecommendationQuery,
    SearchQuery,
    SimilarQuery,
    StatelessRequest,
)

_USERS_AT_ONCE = 25
#: An explanation of more (history × list) terms than this leaves the loop; about two milliseconds' worth.
_TERMS_ON_LOOP = 2000
#: A search through more titles than this does so too.
_TITLES_ON_LOOP = 4000


class PublicRoutes:
    """Handlers over one slot. `workers` runs what would hold the loop up."""

    def __init__(self, slot: Slot, workers: ThreadPoolExecutor) -> None:
        self._slot = slot
        self._workers = workers

    async def recommend_for_user(self, request: web.Request) -> web.Response:
        """Recommend to one user, from what they have rated."""
        model = self._slot.take()
        address = request.raw_path
        kept = model.answers.get(address)
        if kept is None:
            query = parse_query(RecommendationQuery, request)
            user_id = id_from_path(request, "user_id")
            if query.explain:
                kept = KeptAnswer(await self._explain_user(model, user_id, query))
            else:
                again = partial(_answer_user, user_id=user_id, query=query)
                kept = KeptAnswer(again(model), again)
            model.keep_answer(address, kept)
        return model_response(kept.body, model.version)

    async def _explain_user(self, model: ServedModel, user_id: str, query: RecommendationQuery) -> bytes:
        scores, items = _choose_for_user(model, user_id, query)
        return _user_answer(model, user_id, scores, await self._join(model, items, scores, explain=True))

    async def _join(self, model: ServedModel, items: np.ndarray, scores: Scores, *, explain: bool) -> bytes:
        if not explain:
            return scored(model, items, scores.values[items])
        if items.size * scores.known_items.size <= _TERMS_ON_LOOP:
            return explained(model, items, scores)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, explained, model, items, scores)

    async def recommend_for_ratings(self, request: web.Request) -> web.Response:
        """Recommend to somebody by the ratings in the request; nothing is stored."""
        model = self._slot.take()
        body = await parse_body(StatelessRequest, request)
        history, ignored = _history_of(model, body.ratings)
        scores = model.recommender.scores(history)
        mask = model.mask(body.genres, body.year_from, body.year_to)
        items = _select(model, scores, body.n, history.items, body.exclude, mask)
        joined = await self._join(model, items, scores, explain=body.explain)
        content = b'{"model_version":"%b","strategy":"%b","items":[%b],"ignored":%b}' % (
            model.version.encode(),
            scores.strategy.encode(),
            joined,
            orjson.dumps(ignored),
        )
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
        first = await loop.run_in_executor(self._workers, _answer_batch, model, parts[0], body)
        if len(parts) == 1:
            return model_response(opening + first + b"]}", model.version)
        response = web.StreamResponse(
            headers={"Content-Type": "application/json; charset=utf-8", "X-Model-Version": model.version}
        )
        request.app[COMMON_HEADERS].add(request, response)
        await response.prepare(request)
        await response.write(opening + first)
        for part in parts[1:]:
            content = await loop.run_in_executor(self._workers, _answer_batch, model, part, body)
            await response.write(b"," + content)
        await response.write_eof(b"]}")
        return response

    async def item(self, request: web.Request) -> web.Response:
        """Say what is known of an item."""
        model = self._slot.take()
        item = _item_of(model, request)
        contents = model.servable.contents
        catalogue = contents.catalogue
        links = orjson.dumps({"imdb_id": catalogue.imdb_ids[item], "tmdb_id": catalogue.tmdb_ids[item]})[1:-1]
        content = b'{%b,%b,"n_ratings":%d,"liked_share":%.6f}' % (
            model.fragments[item],
            links,
            contents.rating_counts[item],
            contents.popularity[item],
        )
        return model_response(content, model.version)

    async def similar(self, request: web.Request) -> web.Response:
        """List the items most like one."""
        model = self._slot.take()
        item_id = model.item_ids[_item_of(model, request)]
        address = request.raw_path
        kept = model.answers.get(address)
        if kept is None:
            again = partial(_answer_similar, item_id=item_id, n=parse_query(SimilarQuery, request).n)
            kept = KeptAnswer(again(model), again)
            model.keep_answer(address, kept)
        return model_response(kept.body, model.version)

    async def popular(self, request: web.Request) -> web.Response:
        """List what most users liked; the score is the share of all users who did."""
        model = self._slot.take()
        query = parse_query(PopularQuery, request)
        mask = model.mask(query.genre, None, None)
        popularity = model.recommender.popularity
        items = top_k(popularity if mask is None else np.where(mask, popularity, np.float32(-np.inf)), query.n)
        content = b'{"items":[%b],"total":%d}' % (scored(model, items, popularity[items]), items.size)
        return model_response(content, model.version)

    async def search(self, request: web.Request) -> web.Response:
        """Find items by the words of their titles, the most fitting and most rated first."""
        model = self._slot.take()
        query = parse_query(SearchQuery, request)
        mask = model.mask(query.genre, None, None)
        found = await self._find(model, query.query)
        if mask is not None:
            found = found[mask[found]]
        page = found[query.offset : query.offset + query.limit]
        return model_response(listed(model, page, found.size), model.version)

    async def _find(self, model: ServedModel, query: str) -> np.ndarray:
        if not query.strip():
            return np.arange(model.n_items)
        if model.n_items <= _TITLES_ON_LOOP:
            return model.titles.find(query)
        return await asyncio.get_running_loop().run_in_executor(self._workers, model.titles.find, query)

    async def genres(self, request: web.Request) -> web.Response:
        """List the genres that items have."""
        model = self._slot.take()
        names = model.genre_names
        response = json_response({"items": list(names), "total": len(names)})
        response.headers["X-Model-Version"] = model.version
        return response


def _answer_user(model: ServedModel, user_id: str, query: RecommendationQuery) -> bytes:
    scores, items = _choose_for_user(model, user_id, query)
    return _user_answer(model, user_id, scores, scored(model, items, scores.values[items]))


def _choose_for_user(model: ServedModel, user_id: str, query: RecommendationQuery) -> tuple[Scores, np.ndarray]:
    user = model.user_index.get(user_id)
    if user is None:
        scores, seen = model.recommender.scores(History.empty()), None
    else:
        scores, seen = model.scores_of_user(user), None if query.include_seen else model.rated_by(user)
    mask = model.mask(query.genre, query.year_from, query.year_to)
    return scores, _select(model, scores, query.n, seen, query.exclude, mask)


def _user_answer(model: ServedModel, user_id: str, scores: Scores, joined: bytes) -> bytes:
    return b'{"user_id":%b,"model_version":"%b","strategy":"%b","items":[%b]}' % (
        orjson.dumps(user_id),
        model.version.encode(),
        scores.strategy.encode(),
        joined,
    )


def _answer_similar(model: ServedModel, item_id: str, n: int) -> bytes:
    """The answer may be carried over to a model that no longer knows the item; then nobody will be given it."""
    item = model.item_index.get(item_id)
    items, likeness = model.similar(item, n) if item is not None else (np.empty(0, np.intp), np.empty(0, np.float32))
    return b'{"items":[%b],"total":%d}' % (scored(model, items, likeness), items.size)


def _item_of(model: ServedModel, request: web.Request) -> int:
    item_id = id_from_path(request, "item_id")
    index = model.item_index.get(item_id)
    if index is None:
        raise UnknownItemError(f"there is no item {item_id!r}", hint="GET /api/v1/items?query= finds items by title")
    return index


def _select(
    model: ServedModel,
    scores: Scores,
    n: int,
    seen: np.ndarray | None,
    excluded_ids: Iterable[str],
    mask: Mask | None,
) -> np.ndarray:
    excluded = model.indices(excluded_ids)
    if seen is not None:
        excluded = seen if excluded is None else np.concatenate([seen, excluded])
    return model.recommender.select(scores, n, excluded=excluded, allowed=mask)


def _history_of(model: ServedModel, ratings: tuple[RatingIn, ...]) -> tuple[History, list[str]]:
    """Turn ratings into a history: the last of an item wins, oldest first. Without a single time, their order means
    nothing and recency is left out; among times, a rating without one counts as just made.

    Errors: InvalidInputError for ratings that the data set's scale does not hold.
    """
    scale = model.servable.contents.scale
    problems = [
        Problem(
            f"body.ratings[{position}].rating", f"{rating.rating:g} is not on the scale {scale.low:g} to {scale.high:g}"
        )
        for position, rating in enumerate(ratings)
        if scale.low != scale.high and not scale.low <= rating.rating <= scale.high
    ]
    if problems:
        raise InvalidInputError(f"{problems[0].where}: {problems[0].problem}", problems=tuple(problems[:20]))
    known: dict[str, RatingIn] = {}
    ignored: dict[str, None] = {}
    for rating in ratings:
        if rating.item_id in model.item_index:
            known.pop(rating.item_id, None)
            known[rating.item_id] = rating
        else:
            ignored[rating.item_id] = None
    ordered = any(rating.timestamp is not None for rating in known.values())
    latest = -NO_TIMESTAMP - 1
    chosen = sorted(known.values(), key=lambda rating: latest if rating.timestamp is None else rating.timestamp)
    items = np.array([model.item_index[rating.item_id] for rating in chosen], np.int32)
    stars = scale.stars(np.array([rating.rating for rating in chosen], np.float32))
    return History(items, stars, ordered), list(ignored)


def _answer_batch(model: ServedModel, user_ids: Iterable[str], body: BatchRequest) -> bytes:
    """Answer some users of a batch. Runs in a thread, so it leaves the model's caches alone."""
    mask = model.mask_uncached(body.genres, body.year_from, body.year_to)
    popular = model.recommender.scores(History.empty())
    results = []
    for user_id in user_ids:
        user = model.user_index.get(user_id)
        scores = popular if user is None else model.recommender.scores(model.servable.history(user))
        seen = None if user is None or body.include_seen else model.rated_by(user)
        items = _select(model, scores, body.n, seen, body.exclude, mask)
        results.append(
            b'{"user_id":%b,"strategy":"%b","items":[%b]}'
            % (orjson.dumps(user_id), scores.strategy.encode(), scored(model, items, scores.values[items]))
        )
        yield_to_loop()
    return b",".join(results)
