"""The headers that every answer carries: its id, and, for origins that may call from browsers, CORS.

A handler that streams adds them itself before it begins; everybody else leaves it to the middleware.
"""

from aiohttp import hdrs, web
from multidict import istr

from recsys.web.problems import HttpError

REQUEST_ID = istr("X-Request-ID")
_MAX_AGE_S = "600"


class CommonHeaders:
    """Adds them. `origins` are those of the settings; none means no CORS headers at all. No credentials are ever
    allowed.
    """

    def __init__(self, origins: tuple[str, ...]) -> None:
        self._origins = frozenset(origins)

    def add(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add them to an answer that has not begun."""
        response.headers[REQUEST_ID] = request["request_id"]
        if not self._origins:
            return
        if (origin := self._allowed(request)) is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = (
                f"{REQUEST_ID}, X-Model-Version, Location, Retry-After"
            )
        if "*" not in self._origins:
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)

    def _allowed(self, request: web.Request) -> str | None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return None
        if "*" in self._origins:
            return "*"
        return origin if origin in self._origins else None

    def preflight(self, request: web.Request) -> web.Response | None:
        """Answer the question a browser asks before it sends JSON; None for every other request."""
        if request.method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
            return None
        if not self._origins:
            return None
        if self._allowed(request) is None:
            raise HttpError(403, "pages of this origin may not call", hint="RECSYS_CORS__ORIGINS lists those that may")
        return web.Response(
            status=204,
            headers={
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, PUT, PATCH, DELETE",
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: f"Content-Type, Authorization, Last-Event-ID, {REQUEST_ID}",
                hdrs.ACCESS_CONTROL_MAX_AGE: _MAX_AGE_S,
            },
        )


COMMON_HEADERS = web.AppKey("common_headers", CommonHeaders)
