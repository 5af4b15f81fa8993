"""Lists on their way out: ready-made fragments joined into JSON, and the headers every answer of a model carries.

A list of ten is a join of ten fragments, 57 µs where serialising dicts takes 96 µs (`FINDINGS` 2). Pure but for
`model_response`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from aiohttp import web
from multidict import CIMultiDict
from numpy.typing import NDArray

from recsys.models.recommend import Scores
from recsys.serving.served import ServedModel
from recsys.web.response import JsonResponse

_CONTENT_TYPE = "application/json; charset=utf-8"
_JSON_HEADERS = CIMultiDict({"Content-Type": _CONTENT_TYPE})


def model_response(body: bytes, model_version: str) -> web.Response:
    """Make a 200 from JSON that a model made."""
    return JsonResponse(body=body, headers=_model_headers(model_version))


@lru_cache(maxsize=16)
def _model_headers(model_version: str) -> CIMultiDict[str]:
    """Parsed once for each version; `Response` copies them."""
    return CIMultiDict({"Content-Type": _CONTENT_TYPE, "X-Model-Version": model_version})


def json_response(content: Any, status: int = 200) -> web.Response:
    return JsonResponse(body=orjson.dumps(content), status=status, headers=_JSON_HEADERS)


def scored(model: ServedModel, items: NDArray[np.integer], scores: NDArray[np.floating]) -> bytes:
    """Join items with their scores: `{…,"score":0.123456},{…}`."""
    fragments = model.fragments
    parts: list[bytes | float] = [b""] * (2 * items.size)
    parts[::2] = [fragments[item] for item in items.tolist()]
    parts[1::2] = scores.tolist()
    return _template(items.size) % tuple(parts)


@lru_cache(maxsize=512)
def _template(n: int) -> bytes:
    """The form of a list of `n`: filled in at once, it takes two thirds of the time of one item after the other."""
    return b",".join([b'{%b,"score":%.6f}'] * n)


def explained(model: ServedModel, items: NDArray[np.integer], scores: Scores) -> bytes:
    """Join items with their scores and the exact contributions of the history, to eight places."""
    values = scores.values[items].tolist()
    because = model.recommender.because(scores, items)
    parts = []
    for item, value, terms in zip(items.tolist(), values, because, strict=True):
        blended = b""
        if scores.strategy == "blended":
            blended = b',"popularity":%.8f' % (scores.popularity_weight * model.recommender.popularity[item])
        parts.append(
            b'{%b,"score":%.6f%b,"because":[%b]}' % (model.fragments[item], value, blended, contributions(model, terms))
        )
    return b",".join(parts)


def contributions(model: ServedModel, terms: Sequence[tuple[int, float]]) -> bytes:
    titles, ids = model.servable.contents.catalogue.titles, model.item_ids
    return b",".join(
        [
            b'{"item_id":%b,"title":%b,"contribution":%.8f}' % (orjson.dumps(ids[i]), orjson.dumps(titles[i]), term)
            for i, term in terms
        ]
    )


def item_answer(model: ServedModel, item: int) -> bytes:
    """Make all that is known of one item."""
    contents = model.servable.contents
    catalogue = contents.catalogue
    links = orjson.dumps({"imdb_id": catalogue.imdb_ids[item], "tmdb_id": catalogue.tmdb_ids[item]})[1:-1]
    return b'{%b,%b,"n_ratings":%d,"liked_share":%.6f}' % (
        model.fragments[item],
        links,
        contents.rating_counts[item],
        contents.popularity[item],
    )


def listed(model: ServedModel, items: NDArray[np.integer], total: int) -> bytes:
    """Make `{"items": […], "total": …}` of items without scores."""
    fragments = model.fragments
    return b'{"items":[%b],"total":%d}' % (b",".join([b"{%b}" % fragments[i] for i in items.tolist()]), total)
