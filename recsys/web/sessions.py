"""Sessions of operators in a browser: begun with the token, carried by a cookie, kept in memory as hashes.

A cookie goes along with every request of a browser, wanted or not, so whatever changes something must also show that it
comes from a page of ours. Owns the cookie; must not know the token.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import hdrs, web
from yarl import URL

from recsys.errors import RecsysError

COOKIE = "recsys_session"
_LIFETIME_S = 12 * 3600
_MAX_SESSIONS = 64
_HARMLESS = ("GET", "HEAD")


class CrossOriginError(RecsysError):
    status, code, title = 403, "cross_origin", "That may only be asked by a page of this service"


class Sessions:
    """The live ones. A restart ends them all. Belongs to the event loop's thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def begin(self, request: web.Request, response: web.StreamResponse) -> int:
        """Begin one and give its cookie to `response`; return for how many seconds it holds."""
        value = secrets.token_urlsafe(32)
        self._ends[_digest(value)] = self._clock() + _LIFETIME_S
        while len(self._ends) > _MAX_SESSIONS:
            self._ends.popitem(last=False)
        secure = request.scheme == "https" or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        response.set_cookie(
            COOKIE, value, max_age=_LIFETIME_S, path="/", secure=secure, httponly=True, samesite="Strict"
        )
        return _LIFETIME_S

    def end(self, request: web.Request, response: web.StreamResponse) -> None:
        """End the one of `request`, if there is one, and take the cookie back."""
        self._ends.pop(_digest(request.cookies.get(COOKIE, "")), None)
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")

    def holds(self, request: web.Request) -> bool:
        """Whether `request` comes with a live session. Errors: CrossOriginError for one that would change something and
        does not come from a page of ours.
        """
        value = request.cookies.get(COOKIE)
        if value is None:
            return False
        digest = _digest(value)
        if self._ends.get(digest, 0.0) <= self._clock():
            self._ends.pop(digest, None)
            return False
        if request.method not in _HARMLESS and not _is_ours(request):
            raise CrossOriginError(
                "a session may only be used from a page of this service", hint="send the token instead"
            )
        return True


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode(errors="surrogateescape")).digest()


def _is_ours(request: web.Request) -> bool:
    """Whether a browser says that a page of this very origin asks. Other ports of one machine are the same "site", so
    SameSite alone would let them in. Browsers say `Sec-Fetch-Site` over https and on this machine, `Origin` always.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return False
    try:
        return URL(origin).authority == URL(f"{request.scheme}://{request.host}").authority
    except ValueError:
        return False
