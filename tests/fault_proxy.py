"""A proxy before a bucket's server that does harm to a share of the requests."""

import asyncio
import contextlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

#: What the proxy does to one connection.
HARM = ("reset", "delay", "truncate", "spoil", "500", "503", "lose the reply")
#: By status; 403 is for tests that ask for it: it is no passing one.
_CODES = {"500": b"InternalError", "503": b"SlowDown", "403": b"RequestTimeTooSkewed"}
_ENDLESS_BYTES = 10 * 2**30
_ZEROS = bytes(2**16)


@dataclass
class FaultProxy:
    """Stands before a server and does `harm` to a share of the requests, drawn from `seed`, or what `at` says for each
    by its number.

    One request a connection, so that each has its own fate. The server's clock seems to be `ahead_s` ahead. Where a key
    has `endless` in it, the object is said to have 10 GB, and they come.
    """

    target: str
    share: float = 0.0
    seed: int = 0
    harm: tuple[str, ...] = HARM
    at: Callable[[int], str] | None = None
    ahead_s: float = 0.0
    delay_s: tuple[float, float] = (0.05, 0.3)
    endless: str = ""
    done: list[str] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    answered: list[bytes] = field(default_factory=list)
    n_endless_bytes: int = 0
    address: str = ""

    async def __aenter__(self) -> "FaultProxy":
        self._random = random.Random(self.seed)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._exchange(reader, writer)
        with contextlib.suppress(OSError):
            writer.transport.abort() if self.done[-1:] == ["reset"] else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.asked.append(lines[0])
        if self.at is not None:
            fate = self.at(len(self.asked) - 1)
        else:
            fate = self._random.choice(self.harm) if self._random.random() < self.share else ""
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        if b"expect" in fields:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        if fate:
            self.done.append(fate)
        if fate == "reset":
            return
        if fate in _CODES:
            code = _CODES[fate]
            content = b"<?xml version='1.0'?><Error><Code>%b</Code><Message>no</Message></Error>" % code
            writer.write(
                b"HTTP/1.1 %b no\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                % (fate.encode(), len(content), content)
            )
            await writer.drain()
            return
        if self.endless and lines[0].startswith(b"GET") and self.endless.encode() in lines[0]:
            await self._never_end(writer)
            return
        if fate == "delay":
            await asyncio.sleep(self._random.uniform(*self.delay_s))
        kept = [line for line in lines[1:-2] if line.split(b":")[0].lower() not in (b"connection", b"expect")]
        host, port = self.target.removeprefix("http://").split(":")
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        try:
            server_writer.write(b"\r\n".join([lines[0], *kept, b"Connection: close", b"", b""]) + body)
            answer = await server_reader.read(-1)
        finally:
            server_writer.close()
        if fate == "lose the reply":
            return
        start = answer.find(b"\r\n\r\n") + 4
        self.answered.append(answer[9:12])
        content = bytearray(answer[start:])
        if fate == "spoil" and content and lines[0].startswith(b"GET"):
            content[self._random.randrange(len(content))] ^= 0xFF
        if fate == "truncate":
            del content[len(content) // 2 :]
        writer.write(
            self._at_its_time(answer[:start]).replace(b"Connection: keep-alive", b"Connection: close") + content
        )
        await writer.drain()

    async def _never_end(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n'
            % _ENDLESS_BYTES
        )
        for _ in range(_ENDLESS_BYTES // len(_ZEROS)):
            writer.write(_ZEROS)
            await writer.drain()
            self.n_endless_bytes += len(_ZEROS)

    def _at_its_time(self, head: bytes) -> bytes:
        if not self.ahead_s:
            return head

        def shifted(found: re.Match[bytes]) -> bytes:
            shown = parsedate_to_datetime(found[2].decode()) + timedelta(seconds=self.ahead_s)
            return found[1] + format_datetime(shown, usegmt=True).encode()

        return re.sub(rb"(?im)^((?:date|last-modified): *)([^\r]+)", shifted, head)
