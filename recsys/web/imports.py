"""The route that takes in what people exported elsewhere, and says which of our films it is about. Nothing is stored.

The body is the file, or a form with one file. Reading and matching leave the loop, one at a time.
"""

import asyncio
import weakref
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from recsys.datasets.exports import Export, read_export
from recsys.errors import DataError, InvalidInputError, Problem
from recsys.serving.matching import Matched, Matcher, Unmatched
from recsys.serving.served import ServedModel
from recsys.serving.slot import Slot
from recsys.web.answers import model_response
from recsys.web.inputs import BODY_TIMEOUT
from recsys.web.problems import HttpError

MAX_BYTES = 8 * 2**20
_PIECE = 2**16


class ImportRoutes:
    """One handler. The titles of the model that was asked last stay ready to be looked up."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._one_at_a_time = asyncio.Lock()
        self._matcher: tuple[weakref.ref[ServedModel], Matcher] | None = None

    async def import_ratings(self, request: web.Request) -> web.Response:
        """Match the ratings of an IMDb, Letterboxd or Trakt export with the catalogue. The body is the file as it is;
        nothing is stored.
        """
        model = self._slot.take()
        content = await _read_file(request)
        async with self._one_at_a_time:
            body = await asyncio.to_thread(self._answer, model, content)
        return model_response(body, model.version)

    def _answer(self, model: ServedModel, content: bytes) -> bytes:
        try:
            export = read_export(content)
        except DataError as error:
            problem = Problem("body", error.detail)
            raise InvalidInputError(error.detail, hint=error.hint, problems=(problem,)) from error
        matched, unmatched = self._matcher_of(model).match(export.ratings, model.servable.contents.scale)
        return orjson.dumps(_described(model, export, matched, unmatched))

    def _matcher_of(self, model: ServedModel) -> Matcher:
        if self._matcher is not None and self._matcher[0]() is model:
            return self._matcher[1]
        withdrawn = model.recommender.withdrawn
        matcher = Matcher(model.servable.contents.catalogue, () if withdrawn is None else withdrawn.tolist())
        self._matcher = weakref.ref(model), matcher
        return matcher


def _described(
    model: ServedModel, export: Export, matched: list[Matched], unmatched: list[Unmatched]
) -> dict[str, Any]:
    catalogue = model.servable.contents.catalogue
    return {
        "model_version": model.version,
        "format": export.format,
        "matched": [
            {
                "item_id": model.item_ids[found.item],
                "title": catalogue.titles[found.item],
                "year": catalogue.years[found.item],
                "rating": found.rating,
                "given": found.exported.given,
                "timestamp": found.exported.timestamp,
                "by": found.by,
            }
            for found in matched
        ],
        "unmatched": [
            {"title": one.exported.title, "year": one.exported.year, "given": one.exported.given, "why": one.why}
            for one in unmatched
        ],
        "counts": {"ratings": len(export.ratings), "matched": len(matched), "unmatched": len(unmatched)},
    }


async def _read_file(request: web.Request) -> bytes:
    """Read the body, or the file of a form, within the limits of size and time.

    Errors: InvalidInputError, HttpError 408, 413.
    """
    if request.content_length is not None and request.content_length > MAX_BYTES + _PIECE:
        raise _too_large()
    seconds = request.app[BODY_TIMEOUT]
    try:
        async with asyncio.timeout(seconds):
            if request.content_type == "multipart/form-data":
                return await _file_of_form(request)
            return await _bounded(request.content)
    except TimeoutError as error:
        raise HttpError(408, f"the body did not arrive within {seconds:g} s") from error
    except web.RequestPayloadError as error:
        raise InvalidInputError("body: cannot be unpacked as Content-Encoding says") from error


async def _file_of_form(request: web.Request) -> bytes:
    try:
        async for part in await request.multipart():
            if isinstance(part, aiohttp.BodyPartReader) and part.filename is not None:
                return await _bounded(part)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise InvalidInputError("body: is no form that can be read", problems=(Problem("body", str(error)),)) from error
    raise InvalidInputError("body: the form holds no file", problems=(Problem("body", "holds no file"),))


async def _bounded(source: aiohttp.StreamReader | aiohttp.BodyPartReader) -> bytes:
    content = bytearray()
    while True:
        piece = await (source.read_chunk(_PIECE) if isinstance(source, aiohttp.BodyPartReader) else source.read(_PIECE))
        if not piece:
            return bytes(content)
        content += piece
        if len(content) > MAX_BYTES:
            raise _too_large()


def _too_large() -> HttpError:
    return HttpError(413, f"the file has more than {MAX_BYTES // 2**20} MB")
