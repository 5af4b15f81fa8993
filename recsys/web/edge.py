"""The edge: the one layer that every request passes. Ids, metrics, errors and CORS, since each further layer costs
every request.

It is put around each handler, not installed as aiohttp's middleware, which costs a cached answer 8 % of its speed.
"""

import itertools
import os
import re
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web

from recsys.errors import RecsysError
from recsys.serving.guard import SwapGuard
from recsys.web.arrivals import Arrivals
from recsys.web.headers import REQUEST_ID, CommonHeaders
from recsys.web.problems import from_http, render
from recsys.web.telemetry import Telemetry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SOUND_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
_MODEL_ROUTES = "/api/v1/"
#: A full disk or a slow one is not the fault of a new model.
WRITES = ("/api/v1/ratings", "/api/v1/events")
#: Nothing is wrong with these requests: they are logged once, where the reason is known, without anybody's id.
_SAID_ELSEWHERE = ("model_not_ready", "too_many_listeners", "feedback_unavailable", "too_many_ratings")
#: By itself aiohttp takes no braces where a name stands, but ids may have them.
_ANY_ID = "[^/]+"
#: Where an item's id stands, the name of a list is none.
_NARROWER = {"/api/v1/items/{item_id}": f"(?!(?:popular|trending)$){_ANY_ID}"}
_log = structlog.get_logger(__name__)


class Edge:
    """Puts itself around handlers. While a new version is watched, `guard` sees how each request fared; `on_trip` is
    told when it has seen enough.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        headers: CommonHeaders,
        arrivals: Arrivals,
        *,
        log_access: bool,
        guard: SwapGuard,
        on_trip: Callable[[str], None],
    ) -> None:
        self._telemetry = telemetry
        self._headers = headers
        self._arrivals = arrivals
        self._log_access = log_access
        self._guard = guard
        self._on_trip = on_trip
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count(1)

    def add_route(self, app: web.Application, method: str, path: str, handler: Handler) -> None:
        """Route to a handler, through this edge."""
        asks = path.startswith(_MODEL_ROUTES) and path not in WRITES and method in ("GET", "HEAD", "POST")
        pattern = re.sub(r"{(\w+)}", rf"{{\1:{_NARROWER.get(path, _ANY_ID)}}}", path)
        app.router.add_route(method, pattern, self._around(handler, path, asks_a_model=asks))

    def add_unmatched(self, app: web.Application) -> None:
        """Refuse what no route takes, with the methods that the address does take. Comes after every other route."""
        resource = app.router.add_resource("/{path:.*}")

        async def unmatched(request: web.Request) -> web.StreamResponse:
            allowed: set[str] = set()
            for other in app.router.resources():
                if other is not resource:
                    allowed |= (await other.resolve(request))[1]
            if allowed:
                raise web.HTTPMethodNotAllowed(request.method, allowed)
            raise web.HTTPNotFound

        resource.add_route("*", self._around(unmatched, "unmatched", asks_a_model=False))

    def _around(self, handler: Handler, route: str, *, asks_a_model: bool) -> Handler:
        telemetry, headers, guard, arrivals = self._telemetry, self._headers, self._guard, self._arrivals
        prefix, numbers, log_access = self._prefix, self._numbers, self._log_access

        async def answer(request: web.Request) -> web.StreamResponse:
            started = time.perf_counter()
            given = request.headers.get(REQUEST_ID)
            request_id = given if given and _SOUND_ID.fullmatch(given) else f"{prefix}-{next(numbers)}"
            request["request_id"] = request_id
            telemetry.in_flight += 1
            arrivals.begun(connection := request.protocol)
            status = 499  # what is logged when the client went away
            try:
                response = headers.preflight(request) or await handler(request)
                status = response.status
            except Exception as error:
                response = _refusal(error, request_id, route)
                status = response.status
            finally:
                telemetry.in_flight -= 1
                arrivals.ended(connection)
                seconds = time.perf_counter() - started
                method = request.method if route != "unmatched" else "any"
                telemetry.observe(route, method, status, seconds)
                if asks_a_model and guard.version is not None:
                    reason = guard.observe(seconds, failed=status >= 500)
                    if reason is not None:
                        self._on_trip(reason)
                if log_access:
                    ms = round(seconds * 1e3, 2)
                    _log.info("request", method=request.method, route=route, status=status, ms=ms)
            if not response.prepared:
                headers.add(request, response)
            return response

        return answer


def _refusal(error: Exception, request_id: str, route: str) -> web.StreamResponse:
    """Make an answer of what a handler raised. Logs name the route, never the address, which may hold a user's id."""
    match error:
        case RecsysError():
            if error.status >= 500 and error.code not in _SAID_ELSEWHERE:
                _log.error("request failed", request_id=request_id, route=route, reason=str(error))
            return render(error, request_id)
        case web.HTTPException():
            if error.status < 400:
                return error
            response = render(from_http(error), request_id)
            if hdrs.ALLOW in error.headers:
                response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
            return response
        case ConnectionError():
            return web.Response(status=499)  # the client has gone: nobody will read this, and it is no failure of ours
    _log.error("request failed in a way nobody foresaw", request_id=request_id, route=route, exc_info=error)
    return render(RecsysError("the service has logged what happened under this request_id"), request_id)
