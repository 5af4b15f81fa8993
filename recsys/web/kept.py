"""Answers that are kept by their address: how each is made, and made again for the next model.

Pure functions of a model and what was asked; who keeps them is the routes' and the watcher's business.
"""

import re
from functools import lru_cache
from typing import TypeVar

import orjson
from pydantic import BaseModel
from yarl import URL

from recsys.models.recommend import Scores, Strategy
from recsys.serving.carry_over import Remake
from recsys.serving.served import Ranking, ServedModel, Viewer
from recsys.serving.viewers import Viewers
from recsys.web.answers import scored
from recsys.web.inputs import parse_query
from recsys.web.schemas import PopularQuery, RecommendationQuery, SimilarQuery

_USER = re.compile(r"/api/v1/users/([^/%]+)/recommendations")
_SIMILAR = re.compile(r"/api/v1/items/([^/%]+)/similar")
_POPULAR = "/api/v1/items/popular"
Query = TypeVar("Query", bound=BaseModel)


def key_of(address: str, stamp: int) -> object:
    """What an answer to a user is kept by. An older stamp's answer is not found again, and goes with time."""
    return (stamp, address) if stamp else address


def remaking(viewers: Viewers) -> Remake:
    """Return how the next model makes what was kept of the one before. Ids that need escapes are left to the first who
    asks, as are explanations.
    """

    def remake(model: ServedModel, key: object) -> tuple[object, bytes] | None:
        address = str(key[1] if isinstance(key, tuple) else key)
        path, _, asked = address.partition("?")
        if (found := _USER.fullmatch(path)) is not None:
            query = _query(RecommendationQuery, asked)
            stamp = viewers.stamp(model, found[1])
            if stamp == 0 and (listed := listed_answer(model, found[1], query)) is not None:
                return address, listed
            viewer = viewers.find(model, found[1], stamp)
            if query.explain or viewer is None:
                return None
            return key_of(address, stamp), addressed(found[1], viewer_answer(model, viewer, query))
        if (found := _SIMILAR.fullmatch(path)) is not None:
            item = model.item_index.get(found[1])
            query_n = _query(SimilarQuery, asked).n
            return None if item is None else (address, similar_answer(model, item, query_n))
        if path == _POPULAR:
            return address, popular_answer(model, _query(PopularQuery, asked))
        return None

    return remake


@lru_cache(maxsize=256)
def _query(model: type[Query], asked: str) -> Query:
    """Parse a query string that was found good before. Kept, since most addresses ask for the same."""
    return parse_query(model, URL.build(query_string=asked, encoded=True))


def listed_answer(model: ServedModel, user_id: str, query: RecommendationQuery) -> bytes | None:
    """Answer with what was found at training, for somebody of whom nothing is newer; None: it must be looked for."""
    if query.is_filtered or query.include_seen or query.explain:
        return None
    if (listed := model.listed.best(user_id, query.n)) is None:
        return None
    return addressed(user_id, ranked(model, "personalized", scored(model, *listed)))


def viewer_answer(model: ServedModel, viewer: Viewer | None, query: RecommendationQuery) -> bytes:
    """Recommend to a viewer, None for somebody unknown; the answer comes without their id."""
    scores, items = choose(model, viewer, query)
    return ranked(model, scores.strategy, scored(model, items, scores.values.take(items)))


def addressed(user_id: str, answer: bytes) -> bytes:
    """Put the user's id in front of an answer."""
    return b'{"user_id":%b,%b' % (orjson.dumps(user_id), answer[1:])


def ranked(model: ServedModel, strategy: Strategy, joined: bytes) -> bytes:
    """Make an answer of a list that was joined already."""
    return b'{"model_version":"%b","strategy":"%b","items":[%b]}' % (
        model.version.encode(),
        strategy.encode(),
        joined,
    )


def choose(model: ServedModel, viewer: Viewer | None, query: RecommendationQuery) -> tuple[Scores, Ranking]:
    """Choose the list for a viewer, None for somebody unknown."""
    years = (query.year_from, query.year_to)
    if viewer is None:
        return model.popular_scores, model.walk(model.popular, query.n, query.genre, years, query.exclude)
    if query.is_filtered and not query.include_seen:
        ranking = model.ranking_of(viewer)
        found = model.walk(ranking, query.n, query.genre, years, query.exclude)
        if found.size == query.n or model.holds_all(ranking):
            return viewer.scores, found
    seen = None if query.include_seen else viewer.seen
    mask = model.mask(query.genre, *years)
    return viewer.scores, model.select(viewer.scores, query.n, seen, query.exclude, mask)


def similar_answer(model: ServedModel, item: int, n: int) -> bytes:
    """List the items most like one."""
    items, likeness = model.similar(item, n)
    return b'{"items":[%b],"total":%d}' % (scored(model, items, likeness), items.size)


def popular_answer(model: ServedModel, query: PopularQuery) -> bytes:
    """List what most users liked."""
    items = model.walk(model.popular, query.n, query.genre, (query.year_from, query.year_to), ())
    return b'{"items":[%b],"total":%d}' % (
        scored(model, items, model.recommender.popularity.take(items)),
        items.size,
    )
