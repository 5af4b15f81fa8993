"""The table of routes: what is served where, by whom, with which shapes. Routing and the OpenAPI document are made of
it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from recsys.web import schemas
from recsys.web.health import HealthRoutes
from recsys.web.public import PublicRoutes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Endpoint:
    """One route. `query` and `body` are validated by these models; `answers` maps status to shape (a string is a media
    type without a schema); `refusals` are the problem statuses it may give. The summary is the handler's docstring.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    query: type[BaseModel] = schemas.NoQuery
    body: type[BaseModel] | None = None
    answers: dict[int, type[BaseModel] | str] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return getattr(self.handler, "__name__", "handler")

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


_BODY = (400, 408, 413, 415, 503)


def endpoints(public: PublicRoutes, health: HealthRoutes) -> list[Endpoint]:
    """List every route of the API."""
    return [
        Endpoint(
            "GET", "/api/v1/users/{user_id}/recommendations", public.recommend_for_user, "recommendations",
            query=schemas.RecommendationQuery, answers={200: schemas.UserAnswer}, refusals=(400, 503),
        ),
        Endpoint(
            "POST", "/api/v1/recommendations", public.recommend_for_ratings, "recommendations",
            body=schemas.StatelessRequest, answers={200: schemas.StatelessAnswer}, refusals=_BODY,
        ),
        Endpoint(
            "POST", "/api/v1/recommendations/batch", public.recommend_batch, "recommendations",
            body=schemas.BatchRequest, answers={200: schemas.BatchAnswer}, refusals=_BODY,
        ),
        Endpoint(
            "GET", "/api/v1/items", public.search, "items",
            query=schemas.SearchQuery, answers={200: schemas.ItemList}, refusals=(400, 503),
        ),
        Endpoint(
            "GET", "/api/v1/items/popular", public.popular, "items",
            query=schemas.PopularQuery, answers={200: schemas.ScoredItemList}, refusals=(400, 503),
        ),
        Endpoint(
            "GET", "/api/v1/items/{item_id}", public.item, "items",
            answers={200: schemas.ItemDetail}, refusals=(400, 404, 503),
        ),
        Endpoint(
            "GET", "/api/v1/items/{item_id}/similar", public.similar, "items",
            query=schemas.SimilarQuery, answers={200: schemas.ScoredItemList}, refusals=(400, 404, 503),
        ),
        Endpoint(
            "GET", "/api/v1/genres", public.genres, "items",
            answers={200: schemas.GenreList}, refusals=(400, 503),
        ),
        Endpoint("GET", "/health", health.health, "health", answers={200: schemas.Health}, refusals=(400,)),
        Endpoint("GET", "/health/live", health.live, "health", answers={200: schemas.Liveness}, refusals=(400,)),
        Endpoint(
            "GET", "/health/ready", health.ready, "health",
            answers={200: schemas.Readiness, 503: schemas.Readiness}, refusals=(400,),
        ),
        Endpoint("GET", "/metrics", health.metrics, "health", answers={200: "text/plain"}, refusals=(400,)),
    ]  # fmt: skip
