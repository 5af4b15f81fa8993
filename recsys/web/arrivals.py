"""Who has asked for something and is not being answered yet: what goes before the work on ratings.

A question is here from the moment that its bytes are read, some turns of the event loop before a handler sees it.
"""

import time
from collections.abc import Callable
from typing import Any

#: Who has waited so long waits for something else than a turn of the loop: to read what was answered before, perhaps.
_TOO_LONG_S = 0.05


class Arrivals:
    """Connections with a question that nobody has begun to answer. Belongs to the loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Since when, the longest first.
        self._asked: dict[Any, float] = {}
        self._answering: set[Any] = set()

    def came(self, connection: object, content: bytes) -> None:
        """Bytes came. A question is a whole GET: half of one may stay so for long. One that was sent behind another,
        before that was answered, has to wait for it anyway.
        """
        if content.startswith(b"GET ") and content.endswith(b"\r\n\r\n") and connection not in self._answering:
            self._asked.setdefault(connection, self._clock())

    def begun(self, connection: object) -> None:
        self._asked.pop(connection, None)
        self._answering.add(connection)

    def ended(self, connection: object) -> None:
        self._answering.discard(connection)

    def gone(self, connection: object) -> None:
        """The connection was lost."""
        self._asked.pop(connection, None)
        self._answering.discard(connection)

    def is_any(self) -> bool:
        while self._asked:
            connection, since = next(iter(self._asked.items()))
            if self._clock() - since < _TOO_LONG_S:
                return True
            del self._asked[connection]
        return False
