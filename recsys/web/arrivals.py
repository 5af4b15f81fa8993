"""Who has asked for something and is not being answered yet: what goes before the work on ratings.

A question is here from the moment that its bytes are read, some turns of the event loop before a handler sees it.
"""

from typing import Any


class Arrivals:
    """Connections with a question that nobody has begun to answer. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._asked: set[Any] = set()
        self._answering: set[Any] = set()

    def came(self, connection: object, content: bytes) -> None:
        """Bytes came. A question is a whole GET: half of one may stay so for long. One that was sent behind another,
        before that was answered, has to wait for it anyway.
        """
        if content.startswith(b"GET ") and content.endswith(b"\r\n\r\n") and connection not in self._answering:
            self._asked.add(connection)

    def begun(self, connection: object) -> None:
        self._asked.discard(connection)
        self._answering.add(connection)

    def ended(self, connection: object) -> None:
        self._answering.discard(connection)

    def gone(self, connection: object) -> None:
        """The connection was lost."""
        self._asked.discard(connection)
        self._answering.discard(connection)

    def is_any(self) -> bool:
        return bool(self._asked)
