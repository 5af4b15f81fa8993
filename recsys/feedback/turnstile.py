"""One at a time: what is done for ratings takes turns of the event loop with everything else.

Ratings come in bursts, and a group of them is on disk, and to be answered, all at once. Done in a row that holds up
whoever asks for recommendations meanwhile by a millisecond and more; one step at each turn of the loop, by a tenth.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Turnstile:
    """Lets one through at each turn of the loop, in the order they came. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._taken = False

    def call(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call back in a turn of its own: at once, unless somebody has had this one. It must not raise."""
        if self._take():
            callback(*arguments)
        else:
            self._waiting.append((callback, arguments))

    async def turn(self) -> None:
        """Return in a turn of one's own. Cost: nothing while nobody else comes."""
        if not self._take():
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((_let_through, (turn,)))
            await turn

    def _take(self) -> bool:
        if self._taken:
            return False
        self._taken = True
        asyncio.get_running_loop().call_soon(self._next)
        return True

    def _next(self) -> None:
        if not self._waiting:
            self._taken = False
            return
        asyncio.get_running_loop().call_soon(self._next)
        callback, arguments = self._waiting.popleft()
        callback(*arguments)


def _let_through(turn: "asyncio.Future[None]") -> None:
    if not turn.done():  # who waited may have been cancelled
        turn.set_result(None)
