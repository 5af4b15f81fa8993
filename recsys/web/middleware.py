"""The edge: the one middleware that every request passes. Ids, metrics, errors and CORS in a single layer, since each
further layer costs every request.
"""

import itertools
import os
import re
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from recsys.errors import RecsysError
from recsys.serving.guard import SwapGuard
from recsys.web.headers import REQUEST_ID, CommonHeaders
from recsys.web.problems import from_http, render
from recsys.web.telemetry import Telemetry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SOUND_ID = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}")
_MODEL_ROUTES = "/api/v1/"
_log = structlog.get_logger(__name__)


def make_edge(
    telemetry: Telemetry,
    headers: CommonHeaders,
    *,
    log_access: bool,
    guard: SwapGuard,
    on_trip: Callable[[str], None],
) -> Middleware:
    """Build the middleware. While a new version is watched, `guard` sees how each request fared; `on_trip` is told when
    it has seen enough.
    """
    prefix = os.urandom(6).hex()
    numbers = itertools.count(1)

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        given = request.headers.get(REQUEST_ID)
        request_id = given if given and _SOUND_ID.fullmatch(given) else f"{prefix}-{next(numbers)}"
        request["request_id"] = request_id
        telemetry.in_flight += 1
        status = 499  # what is logged when the client went away
        try:
            response = await _answer(request, handler, request_id, headers)
            status = response.status
        finally:
            telemetry.in_flight -= 1
            seconds = time.perf_counter() - started
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unmatched"
            telemetry.observe(route, request.method if resource is not None else "any", status, seconds)
            if guard.version is not None and route.startswith(_MODEL_ROUTES):
                reason = guard.observe(seconds, failed=status >= 500)
                if reason is not None:
                    on_trip(reason)
            if log_access:
                _log.info(
                    "request", method=request.method, path=request.path, status=status, ms=round(seconds * 1e3, 2)
                )
        if not response.prepared:
            headers.add(request, response)
        return response

    return edge


async def _answer(
    request: web.Request, handler: Handler, request_id: str, headers: CommonHeaders
) -> web.StreamResponse:
    try:
        return headers.preflight(request) or await handler(request)
    except RecsysError as error:
        if error.status >= 500 and error.code not in ("model_not_ready", "too_many_listeners"):
            _log.error("request failed", request_id=request_id, path=request.path, reason=str(error))
        return render(error, request_id)
    except web.HTTPException as error:
        if error.status < 400:
            return error
        response = render(from_http(error), request_id)
        if hdrs.ALLOW in error.headers:
            response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
        return response
    except ConnectionError:
        return web.Response(status=499)  # the client has gone: nobody will read this, and it is no failure of ours
    except Exception:
        _log.exception("request failed in a way nobody foresaw", request_id=request_id, path=request.path)
        return render(RecsysError("the service has logged what happened under this request_id"), request_id)
