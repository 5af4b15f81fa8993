"""What happens in the service, told to whoever listens: numbered, kept for a while, so that a listener who lost the
connection can go on where it stopped.

Bounded everywhere: so many events are kept, so many listeners, and a listener that is too slow is told so and let go.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from recsys.errors import TooManyListenersError

_KEPT_EVENTS = 500
_MAX_LISTENERS = 32
_QUEUE = 200


@dataclass(frozen=True)
class Event:
    """`kind` is job, swap, quarantine, pin or sync; `data` is JSON."""

    id: int
    kind: str
    data: dict[str, Any]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class EventHub:
    """Publishes to any number of listeners. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        # ids go on rising over a restart, so that an old Last-Event-ID never names an event that is yet to come
        self._next_id = int(datetime.now(UTC).timestamp() * 1000)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kept: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self._listeners: set[asyncio.Queue[Event | None]] = set()

    def publish(self, kind: str, data: dict[str, Any]) -> None:
        self._next_id += 1
        event = Event(self._next_id, kind, data)
        self._kept.append(event)
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
                # what it has not read goes with it, so that its last id is where it really stopped
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def publish_from_thread(self, kind: str, data: dict[str, Any]) -> None:
        """`publish` for other threads than the loop's."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.publish, kind, data)

    def attach(self) -> None:
        """Learn the running loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End every listener's stream."""
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
        self._listeners.clear()

    async def listen(self, after: int | None, heartbeat_s: float) -> AsyncGenerator[Event | None, None]:
        """Give events after number `after` (None: from now on), and None as a heartbeat when nothing happens.

        Errors: TooManyListenersError.
        """
        if len(self._listeners) >= _MAX_LISTENERS:
            raise TooManyListenersError(f"{_MAX_LISTENERS} listeners are connected already")
        queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUE)
        missed = [event for event in self._kept if after is not None and event.id > after]
        self._listeners.add(queue)
        try:
            yield None  # at once, so that a listener knows it is connected
            for event in missed:
                yield event
            while True:
                try:
                    received = await asyncio.wait_for(queue.get(), heartbeat_s)
                except TimeoutError:
                    yield None
                    continue
                if received is None:
                    return
                yield received
        finally:
            self._listeners.discard(queue)
