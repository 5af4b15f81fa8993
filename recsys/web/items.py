"""The routes of the catalogue: one item, what is like it, what is popular, search.

Answers are kept on the model by the exact address that was asked, which was validated when it was asked first.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from aiohttp import web

from recsys.errors import UnknownItemError
from recsys.feedback.live import LiveFeedback
from recsys.serving.served import ServedModel
from recsys.serving.slot import Slot
from recsys.serving.trends import Trends
from recsys.web.answers import item_answer, json_response, listed, model_response, scored
from recsys.web.inputs import id_from_path, parse_query
from recsys.web.kept import popular_answer, similar_answer
from recsys.web.schemas import PopularQuery, SearchQuery, SimilarQuery, TrendingQuery

#: A search through more titles than this leaves the loop.
_TITLES_ON_LOOP = 4000


class ItemRoutes:
    """Handlers over one slot. `workers` runs what would hold the loop up."""

    def __init__(self, slot: Slot, feedback: LiveFeedback, workers: ThreadPoolExecutor) -> None:
        self._slot = slot
        self._trends = Trends(feedback, workers)
        self._workers = workers

    async def item(self, request: web.Request) -> web.Response:
        """Say what is known of an item."""
        model = self._slot.take()
        return model_response(item_answer(model, _item_of(model, request)), model.version)

    async def similar(self, request: web.Request) -> web.Response:
        """List the items most like one."""
        model = self._slot.take()
        item = _item_of(model, request)
        answer = model.answers.get(request.raw_path)
        if answer is None:
            answer = similar_answer(model, item, parse_query(SimilarQuery, request.rel_url).n)
            model.keep_answer(request.raw_path, answer)
        return model_response(answer, model.version)

    async def popular(self, request: web.Request) -> web.Response:
        """List what most users liked; the score is the share of all users who did."""
        model = self._slot.take()
        answer = model.answers.get(request.raw_path)
        if answer is None:
            answer = popular_answer(model, parse_query(PopularQuery, request.rel_url))
            model.keep_answer(request.raw_path, answer)
        return model_response(answer, model.version)

    async def trending(self, request: web.Request) -> web.Response:
        """List what people have come to like lately, by what was rated here; the score fades with each rating's age."""
        model = self._slot.take()
        query = parse_query(TrendingQuery, request.rel_url)
        scores = await self._trends.of(model, query.days)
        mask = model.mask(query.genre, query.year_from, query.year_to)
        found = [(item, score) for item, score in scores if mask is None or mask[item]][: query.n]
        items, values = np.array([item for item, _ in found], np.intp), np.array([score for _, score in found])
        body = b'{"items":[%b],"total":%d}' % (scored(model, items, values), items.size)
        return model_response(body, model.version)

    async def search(self, request: web.Request) -> web.Response:
        """Find items by the words of their titles, the most fitting and most rated first."""
        model = self._slot.take()
        answer = model.answers.get(request.raw_path)
        if answer is None:
            query = parse_query(SearchQuery, request.rel_url)
            found = await self._find(model, query.query)
            if query.item_id:
                asked = model.indices(dict.fromkeys(query.item_id))
                found = asked[np.isin(asked, found)] if asked is not None else found[:0]
            mask = model.mask(query.genre, query.year_from, query.year_to)
            if mask is not None:
                found = found[mask[found]]
            answer = listed(model, found[query.offset : query.offset + query.limit], found.size)
            model.keep_answer(request.raw_path, answer)
        return model_response(answer, model.version)

    async def _find(self, model: ServedModel, query: str) -> np.ndarray:
        if model.n_items <= _TITLES_ON_LOOP:
            return model.find(query)
        return await asyncio.get_running_loop().run_in_executor(self._workers, model.find, query)

    async def genres(self, request: web.Request) -> web.Response:
        """List the genres that items have, and say what years and ratings are."""
        model = self._slot.take()
        names, scale, years = model.genre_names, model.servable.contents.scale, model.years[model.years > 0]
        content = {
            "items": list(names),
            "total": len(names),
            "scale": {"low": scale.low, "high": scale.high, "step": scale.step},
            "years": [int(years.min()), int(years.max())] if years.size else [],
        }
        response = json_response(content)
        response.headers["X-Model-Version"] = model.version
        return response


def _item_of(model: ServedModel, request: web.Request) -> int:
    item_id = id_from_path(request, "item_id")
    index = model.item_index.get(item_id)
    if index is None:
        raise UnknownItemError(f"there is no item {item_id!r}", hint="GET /api/v1/items?query= finds items by title")
    return index
