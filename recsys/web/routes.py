"""The table of routes: what is served where, by whom, with which shapes. Routing and the OpenAPI document are made of
it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel

from recsys.web import page_shapes, schemas, shapes
from recsys.web.admin import AdminRoutes
from recsys.web.auth import AdminAuth, ApiKeys
from recsys.web.catalogue import CatalogueRoutes
from recsys.web.health import HealthRoutes
from recsys.web.imports import ImportRoutes
from recsys.web.inputs import parse_query
from recsys.web.items import ItemRoutes
from recsys.web.overview import OverviewRoutes
from recsys.web.public import PublicRoutes
from recsys.web.ratings import RatingRoutes
from recsys.web.shown import ShownRoutes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Endpoint:
    """One route. `query` and `body` are validated by these models, `file` is an example of one that is the body;
    `answers` maps status to shape (a string is a media
    type without a schema); `refusals` are the problem statuses it may give. `admin` needs the token, `keyed` one of the
    keys if there are any. The summary is the handler's docstring.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    query: type[BaseModel] = schemas.NoQuery
    body: type[BaseModel] | None = None
    file: str | None = None
    answers: dict[int, type[BaseModel] | str] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    admin: bool = False
    keyed: bool = False

    @property
    def name(self) -> str:
        return getattr(self.handler, "__name__", "handler")

    @property
    def streams(self) -> bool:
        """Whether the answer goes on until somebody ends it."""
        return "text/event-stream" in self.answers.values()

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


_BODY = (400, 408, 413, 415, 503)
_ADMIN = (400, 401, 403, 429)
_KEYED = (401, 403)


def endpoints(
    public: PublicRoutes,
    items: ItemRoutes,
    ratings: RatingRoutes,
    catalogue: CatalogueRoutes,
    shown: ShownRoutes,
    imports: ImportRoutes,
    health: HealthRoutes,
    admin: AdminRoutes,
    overview: OverviewRoutes,
) -> list[Endpoint]:
    """List every route of the API."""
    return [
        *_public(public),
        *_ratings(ratings, shown),
        *_imports(imports),
        *_items(items),
        *_catalogue(catalogue),
        *_health(health),
        *_admin(admin, shown, overview),
    ]


def guarded(endpoint: Endpoint, auth: AdminAuth, keys: ApiKeys) -> Handler:
    """Ask for the token or a key where it is needed, and refuse a query string where none is taken."""
    handler, admin = endpoint.handler, endpoint.admin
    if endpoint.query is not schemas.NoQuery and not admin:
        return handler

    async def checked(request: web.Request) -> web.StreamResponse:
        if admin:
            auth.check(request)
        elif endpoint.keyed:
            keys.check(request)
        if endpoint.query is schemas.NoQuery and "?" in request.raw_path:
            parse_query(schemas.NoQuery, request.rel_url)
        return await handler(request)

    return checked


def _public(public: PublicRoutes) -> list[Endpoint]:
    return [
        Endpoint(
            "GET", "/api/v1/users/{user_id}/recommendations", public.recommend_for_user, "recommendations",
            query=schemas.RecommendationQuery, answers={200: shapes.UserAnswer}, refusals=(400, 503),
        ),
        Endpoint(
            "POST", "/api/v1/recommendations", public.recommend_for_ratings, "recommendations",
            body=schemas.StatelessRequest, answers={200: shapes.StatelessAnswer}, refusals=_BODY,
        ),
        Endpoint(
            "POST", "/api/v1/recommendations/batch", public.recommend_batch, "recommendations",
            body=schemas.BatchRequest, answers={200: shapes.BatchAnswer}, refusals=_BODY,
        ),
    ]  # fmt: skip


def _ratings(ratings: RatingRoutes, shown: ShownRoutes) -> list[Endpoint]:
    user = "/api/v1/users/{user_id}"
    return [
        Endpoint(
            "POST", "/api/v1/ratings", ratings.add_ratings, "ratings",
            body=schemas.RatingsRequest, answers={200: shapes.Accepted}, refusals=(*_KEYED, *_BODY, 409), keyed=True,
        ),
        Endpoint(
            "GET", f"{user}/ratings", ratings.ratings_of_user, "ratings",
            answers={200: shapes.UserRatingList}, refusals=(400, 503),
        ),
        Endpoint(
            "DELETE", f"{user}/ratings/{{item_id}}", ratings.delete_rating, "ratings",
            answers={200: shapes.RatingDeleted}, refusals=(*_KEYED, 400, 404, 503), keyed=True,
        ),
        Endpoint(
            "DELETE", user, ratings.forget_user, "ratings",
            answers={200: shapes.UserForgotten}, refusals=(*_KEYED, 400, 503), keyed=True,
        ),
        Endpoint(
            "POST", "/api/v1/events", shown.record_events, "ratings",
            body=schemas.ShownRequest, answers={200: shapes.Accepted}, refusals=(*_KEYED, *_BODY), keyed=True,
        ),
    ]  # fmt: skip


def _imports(imports: ImportRoutes) -> list[Endpoint]:
    example = "Date,Name,Year,Letterboxd URI,Rating\n2024-03-01,Toy Story,1995,boxd.it/2aqe,4.5\n"
    return [
        Endpoint(
            "POST", "/api/v1/import", imports.import_ratings, "ratings", file=example,
            answers={200: page_shapes.ImportAnswer}, refusals=(400, 408, 413, 503),
        ),
    ]  # fmt: skip


def _items(items: ItemRoutes) -> list[Endpoint]:
    return [
        Endpoint(
            "GET", "/api/v1/items", items.search, "items",
            query=schemas.SearchQuery, answers={200: shapes.ItemList}, refusals=(400, 503),
        ),
        Endpoint(
            "GET", "/api/v1/items/popular", items.popular, "items",
            query=schemas.PopularQuery, answers={200: shapes.ScoredItemList}, refusals=(400, 503),
        ),
        Endpoint(
            "GET", "/api/v1/items/trending", items.trending, "items",
            query=schemas.TrendingQuery, answers={200: shapes.ScoredItemList}, refusals=(400, 503),
        ),
        Endpoint(
            "GET", "/api/v1/items/{item_id}", items.item, "items",
            answers={200: shapes.ItemDetail}, refusals=(400, 404, 503),
        ),
        Endpoint(
            "GET", "/api/v1/items/{item_id}/similar", items.similar, "items",
            query=schemas.SimilarQuery, answers={200: shapes.ScoredItemList}, refusals=(400, 404, 503),
        ),
        Endpoint(
            "GET", "/api/v1/genres", items.genres, "items",
            answers={200: shapes.GenreList}, refusals=(400, 503),
        ),
    ]  # fmt: skip


def _catalogue(catalogue: CatalogueRoutes) -> list[Endpoint]:
    path, detail = "/api/v1/items/{item_id}", shapes.ItemDetail
    return [
        Endpoint(
            "PUT", path, catalogue.put_item, "items", body=schemas.ItemIn,
            answers={200: detail, 201: detail}, refusals=(*_ADMIN, *_BODY), admin=True,
        ),
        Endpoint(
            "PATCH", path, catalogue.patch_item, "items", body=schemas.ItemPatch,
            answers={200: detail}, refusals=(*_ADMIN, *_BODY, 404), admin=True,
        ),
        Endpoint(
            "DELETE", path, catalogue.withdraw_item, "items",
            answers={200: shapes.ItemWithdrawn}, refusals=(*_ADMIN, 404, 503), admin=True,
        ),
    ]  # fmt: skip


def _health(health: HealthRoutes) -> list[Endpoint]:
    return [
        Endpoint("GET", "/health", health.health, "health", answers={200: shapes.Health}, refusals=(400,)),
        Endpoint("GET", "/health/live", health.live, "health", answers={200: shapes.Liveness}, refusals=(400,)),
        Endpoint(
            "GET", "/health/ready", health.ready, "health",
            answers={200: shapes.Readiness, 503: shapes.Readiness}, refusals=(400,),
        ),
        Endpoint("GET", "/metrics", health.metrics, "health", answers={200: "text/plain"}, refusals=(400,)),
    ]  # fmt: skip


def _admin(admin: AdminRoutes, shown: ShownRoutes, overview: OverviewRoutes) -> list[Endpoint]:
    def behind_token(
        method: str,
        path: str,
        handler: Handler,
        answers: dict[int, type[BaseModel] | str],
        *refusals: int,
        body: type[BaseModel] | None = None,
    ) -> Endpoint:
        return Endpoint(
            method, path, handler, "admin", body=body, answers=answers, refusals=(*_ADMIN, *refusals), admin=True
        )

    states, job = shapes.ModelStates, shapes.JobOut
    started = shapes.JobStarted
    return [
        behind_token("POST", "/admin/session", admin.sign_in, {200: page_shapes.SignedIn}),
        behind_token("DELETE", "/admin/session", admin.sign_out, {200: page_shapes.SignedIn}),
        behind_token("GET", "/admin/overview", overview.overview, {200: page_shapes.Overview}, 503),
        behind_token("POST", "/admin/retrain", admin.retrain, {200: started, 202: started}, 409),
        behind_token("GET", "/admin/jobs", admin.jobs, {200: shapes.JobList}),
        behind_token("GET", "/admin/jobs/{job_id}", admin.job, {200: job}, 404),
        behind_token("POST", "/admin/jobs/{job_id}/cancel", admin.cancel_job, {200: job}, 404, 409),
        behind_token("GET", "/admin/models", admin.models, {200: states}, 503),
        behind_token("GET", "/admin/models/{version}", admin.model, {200: shapes.ModelState}, 404, 503),
        behind_token(
            "PUT", "/admin/pin", admin.pin, {200: states}, 404, 408, 409, 413, 415, 422, 503, body=schemas.PinRequest
        ),
        behind_token("DELETE", "/admin/pin", admin.unpin, {200: states}, 409, 503),
        behind_token("POST", "/admin/rollback", admin.rollback, {200: states}, 409, 503),
        behind_token("POST", "/admin/sync", admin.sync, {200: shapes.SyncHealth}, 409),
        behind_token("GET", "/admin/quality", shown.quality, {200: shapes.Quality}, 503),
        behind_token("GET", "/admin/events", admin.events, {200: "text/event-stream"}, 503),
    ]
