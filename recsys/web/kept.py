"""Answers that are kept by their address: how each is made, and made again for the next model.

Pure functions of a model and what was asked; who keeps them is the routes' and the watcher's business.
"""

import re

import orjson
from yarl import URL

from recsys.models.recommend import Scores
from recsys.serving.served import Ranking, ServedModel
from recsys.web.answers import scored
from recsys.web.inputs import parse_query
from recsys.web.schemas import PopularQuery, RecommendationQuery, SimilarQuery

_USER = re.compile(r"/api/v1/users/([^/%]+)/recommendations")
_SIMILAR = re.compile(r"/api/v1/items/([^/%]+)/similar")
_POPULAR = "/api/v1/items/popular"


def remake(model: ServedModel, address: str) -> bytes | None:
    """Make what is kept at `address`, which another model has answered, so it is valid. None: it is not worth it here.

    Ids that need escapes are left to the first who asks, as are explanations.
    """
    path, _, _ = address.partition("?")
    if (found := _USER.fullmatch(path)) is not None:
        query = parse_query(RecommendationQuery, URL(address, encoded=True))
        user = model.user_index.get(found[1])
        return None if query.explain or user is None else user_answer(model, found[1], user, query)
    if (found := _SIMILAR.fullmatch(path)) is not None:
        item = model.item_index.get(found[1])
        query_n = parse_query(SimilarQuery, URL(address, encoded=True)).n
        return None if item is None else similar_answer(model, item, query_n)
    if path == _POPULAR:
        return popular_answer(model, parse_query(PopularQuery, URL(address, encoded=True)))
    return None


def user_answer(model: ServedModel, user_id: str, user: int, query: RecommendationQuery) -> bytes:
    """Recommend to a user of the model."""
    scores, items = choose(model, user, query)
    return addressed(user_id, ranked(model, scores, scored(model, items, scores.values.take(items))))


def stranger_answer(model: ServedModel, query: RecommendationQuery) -> bytes:
    """Recommend to somebody who is not known: the same for all, so it comes without their id."""
    scores, items = choose(model, None, query)
    return ranked(model, scores, scored(model, items, scores.values.take(items)))


def addressed(user_id: str, answer: bytes) -> bytes:
    """Put the user's id in front of an answer."""
    return b'{"user_id":%b,%b' % (orjson.dumps(user_id), answer[1:])


def ranked(model: ServedModel, scores: Scores, joined: bytes) -> bytes:
    """Make an answer of a list that was joined already."""
    return b'{"model_version":"%b","strategy":"%b","items":[%b]}' % (
        model.version.encode(),
        scores.strategy.encode(),
        joined,
    )


def choose(model: ServedModel, user: int | None, query: RecommendationQuery) -> tuple[Scores, Ranking]:
    """Choose the list for a user of the model, or for somebody unknown (None)."""
    years = (query.year_from, query.year_to)
    filtered = bool(query.genre or query.exclude) or years != (None, None)
    if user is None:
        found = model.walk(model.popular, query.n, query.genre, years, query.exclude)
        return model.popular_scores, found
    scores = model.scores_of_user(user)
    if filtered and not query.include_seen:
        ranking = model.ranking_of_user(user)
        found = model.walk(ranking, query.n, query.genre, years, query.exclude)
        if found.size == query.n or model.holds_all(ranking):
            return scores, found
    seen = None if query.include_seen else model.rated_by(user)
    mask = model.mask(query.genre, *years)
    return scores, model.select(scores, query.n, seen, query.exclude, mask)


def similar_answer(model: ServedModel, item: int, n: int) -> bytes:
    """List the items most like one."""
    items, likeness = model.similar(item, n)
    return b'{"items":[%b],"total":%d}' % (scored(model, items, likeness), items.size)


def popular_answer(model: ServedModel, query: PopularQuery) -> bytes:
    """List what most users liked."""
    items = model.walk(model.popular, query.n, query.genre, (None, None), ())
    return b'{"items":[%b],"total":%d}' % (
        scored(model, items, model.recommender.popularity.take(items)),
        items.size,
    )
