"""A bound on bytes a second, shared by everything that goes through it."""

import asyncio
import time
from collections.abc import Callable

from recsys.artifacts.bucket import Sleep


class Throttle:
    """Lets bytes through at a rate in megabytes (10⁶ bytes) a second; None lets everything through."""

    def __init__(
        self, mb_s: float | None, *, now: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._seconds_a_byte = 1 / (mb_s * 1e6) if mb_s is not None else None
        self._now = now
        self._sleep = sleep
        self._free_at = 0.0

    async def take(self, n_bytes: int) -> None:
        """Wait until what was taken before has had its time."""
        if self._seconds_a_byte is None:
            return
        starts = max(self._now(), self._free_at)
        self._free_at = starts + n_bytes * self._seconds_a_byte
        await self._sleep(starts - self._now())
