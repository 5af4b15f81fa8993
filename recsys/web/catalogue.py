"""The routes by which an operator says something of films: registers new ones, corrects and withdraws known ones.

An answer means that it is on disk, and that the next search knows it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from recsys.datasets.events import ItemChange
from recsys.errors import UnknownItemError
from recsys.feedback.changes import PutItem
from recsys.feedback.live import LiveFeedback
from recsys.serving.slot import Slot
from recsys.web.answers import item_answer, json_response, model_response
from recsys.web.inputs import id_from_path, parse_body
from recsys.web.schemas import ItemIn, ItemPatch


class CatalogueRoutes:
    """Handlers that write. `refresh` has what is served follow."""

    def __init__(self, slot: Slot, feedback: LiveFeedback, refresh: Callable[[], Awaitable[None]]) -> None:
        self._slot = slot
        self._feedback = feedback
        self._refresh = refresh
        self._one_at_a_time = asyncio.Lock()

    async def put_item(self, request: web.Request) -> web.Response:
        """Register a film, or replace what is known of one. It can be searched for at once, and is recommended
        through its genres until the model has learned it.
        """
        item_id = id_from_path(request, "item_id")
        body = await parse_body(ItemIn, request)
        async with self._one_at_a_time:
            is_new = item_id not in self._slot.take().item_index
            said = (body.title, body.year, body.genres, body.imdb_id, body.tmdb_id)
            await self._say(ItemChange(item_id, *said, withdrawn=False, sequence=0))
        return self._answer(item_id, 201 if is_new else 200)

    async def patch_item(self, request: web.Request) -> web.Response:
        """Change some of what is known of a film; what is left out stays, null takes away."""
        item_id = id_from_path(request, "item_id")
        body = await parse_body(ItemPatch, request)
        async with self._one_at_a_time:
            changes = {name: getattr(body, name) for name in body.model_fields_set}
            await self._say(replace(self._known(item_id), **changes))
        return self._answer(item_id, 200)

    async def withdraw_item(self, request: web.Request) -> web.Response:
        """Withdraw a film: nobody finds it or is recommended it, also if it is one of the files."""
        item_id = id_from_path(request, "item_id")
        async with self._one_at_a_time:
            await self._say(replace(self._known(item_id), withdrawn=True))
        return json_response({"item_id": item_id, "withdrawn": True})

    def _known(self, item_id: str) -> ItemChange:
        model = self._slot.take()
        item = model.item_index.get(item_id)
        if item is None:
            raise UnknownItemError(f"there is no item {item_id!r}", hint="PUT registers a new one")
        catalogue = model.servable.contents.catalogue
        return ItemChange(
            item_id,
            catalogue.titles[item],
            catalogue.years[item],
            catalogue.genres[item],
            catalogue.imdb_ids[item],
            catalogue.tmdb_ids[item],
            withdrawn=False,
            sequence=0,
        )

    async def _say(self, change: ItemChange) -> None:
        await self._feedback.submit(PutItem(change))
        await self._refresh()

    def _answer(self, item_id: str, status: int) -> web.Response:
        model = self._slot.take()
        response = model_response(item_answer(model, model.item_index[item_id]), model.version)
        response.set_status(status)
        return response
