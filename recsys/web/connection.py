"""One connection, from its bytes to aiohttp: who goes first, and what is no HTTP."""

import os
from typing import Any

import structlog
from aiohttp import web

from recsys.feedback.turnstile import Turnstile
from recsys.web.arrivals import Arrivals
from recsys.web.edge import WRITES
from recsys.web.headers import REQUEST_ID
from recsys.web.problems import HttpError, render

#: How a request begins that takes turns.
_TAKES_TURNS = tuple(f"POST {path}".encode() for path in WRITES)
_log = structlog.get_logger(__name__)


class Connection(web.RequestHandler):
    """One connection. What is no HTTP never reaches the app; it is refused in the app's own form all the same.

    Ratings are begun one at a time, and not while somebody waits who goes first: until then they are held here, two
    pieces of them, and nothing more is read.
    """

    def __init__(self, arrivals: Arrivals, turns: Turnstile, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._arrivals = arrivals
        self._turns = turns
        self._held: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        if self._held or data.startswith(_TAKES_TURNS):
            self._held.append(data)
            if len(self._held) == 1:
                self._turns.call(self._go_on)
            # most send one piece: to pause for it, and go on, would cost some 6 µs
            if len(self._held) > 1 and self.transport is not None:
                self.transport.pause_reading()  # once more, if aiohttp reads on after what it took before
        else:
            self._arrivals.came(self, data)
            super().data_received(data)

    def _go_on(self) -> None:
        data = b"".join(self._held)
        is_paused = len(self._held) > 1
        self._held.clear()
        if self.transport is not None and not self.transport.is_closing():
            if is_paused:
                self.transport.resume_reading()
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._arrivals.gone(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        request_id = os.urandom(8).hex()
        if status < 500:
            _log.debug("not a request", remote=request.remote, request_id=request_id, reason=str(exc))
        else:
            _log.error("request failed below the app", request_id=request_id, exc_info=exc)
        lines = (message or "").strip().splitlines()
        response = render(HttpError(status, lines[0] if lines else "the request is not HTTP"), request_id)
        response.headers[REQUEST_ID] = request_id
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that cannot be unpacked is its sender's fault, who was answered: aiohttp reads on what is left of it,
        and would log that it cannot.
        """
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)
