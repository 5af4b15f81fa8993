"""One at a time: what is done for ratings takes turns of the event loop with everything else.

Ratings come in bursts, and a group of them is on disk, and to be answered, all at once. Done in a row that holds up
whoever asks for recommendations meanwhile by a millisecond and more; one step at each turn of the loop, by a tenth. And
while somebody has asked and is not being answered yet, there is none for a moment.
"""

import asyncio
from collections import deque
from collections.abc import Callable

#: How long others go first, since one came to wait. Longer, and ratings would starve where reading takes all there is.
_PATIENCE_S = 0.02


class Turnstile:
    """Lets one through at each turn of the loop, in the order they came. Belongs to the loop's thread.

    `others_wait` says whether there are others who go first.
    """

    def __init__(self, others_wait: Callable[[], bool] = lambda: False) -> None:
        self._others_wait = others_wait
        #: Since when, and what is called back with what.
        self._waiting: deque[tuple[float, Callable[..., object], tuple[object, ...]]] = deque()
        self._taken = False

    @property
    def are_awaited(self) -> bool:
        """Whether anybody waits for a turn."""
        return bool(self._waiting)

    def call(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call back in a turn of its own: at once, unless somebody has had this one or goes first. It must
        not raise.
        """
        loop = asyncio.get_running_loop()
        is_free = not self._taken
        if is_free:
            self._taken = True
            loop.call_soon(self._next)
        if is_free and not self._others_wait():
            callback(*arguments)
        else:
            self._waiting.append((loop.time(), callback, arguments))

    def _next(self) -> None:
        if not self._waiting:
            self._taken = False
            return
        loop = asyncio.get_running_loop()
        loop.call_soon(self._next)
        since, callback, arguments = self._waiting[0]
        if self._others_wait() and loop.time() - since < _PATIENCE_S:
            return
        self._waiting.popleft()
        callback(*arguments)
