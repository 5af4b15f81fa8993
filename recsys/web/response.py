"""An answer of JSON whose head and body go to the socket in one write, made in one step.

aiohttp prepares a response in a dozen steps, for everything that one can be; that is a sixth of what an answer costs
that is kept. Most of ours are a 200 with a body that is there, on a connection that stays. Everything else (HEAD,
HTTP/1.0, a cookie, a connection that is to close) goes aiohttp's own way.
"""

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11

_OK = 200


class JsonResponse(web.Response):
    """The same bytes as `web.Response`. Signals of the kind `on_response_prepare` are not sent."""

    _is_written = False

    @property
    def keep_alive(self) -> bool | None:
        return True if self._is_written else super().keep_alive

    @property
    def prepared(self) -> bool:
        return self._is_written or super().prepared

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it, if it is of the usual kind. Header values must hold no line ends: a client's own was checked."""
        if self._is_written:
            return None
        body = self.body
        if (
            self.status != _OK
            or not isinstance(body, bytes)
            or request.method == hdrs.METH_HEAD
            or request.version != HttpVersion11
            or not request.keep_alive
            or self.keep_alive is not None  # it was told to close
            or self._cookies
            or self.compression
        ):
            return await super().prepare(request)
        lines = "\r\n".join([": ".join(line) for line in self.headers.items()])  # half the time of f-strings
        head = (
            f"HTTP/1.1 {_OK} {self.reason}\r\n{lines}\r\n"
            f"Content-Length: {len(body)}\r\nDate: {rfc822_formatted_time()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
        )
        self._is_written = True
        await request.writer.write_eof(head.encode() + body)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        if not self._is_written:
            await super().write_eof(data)
