"""A clock finer than the event loop's, for sending at a fixed rate."""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_PERIOD_NS = 100_000


class Timer:
    """Calls back every 0.1 ms. The loop's own timers count whole milliseconds, which would send in bursts."""

    def __init__(self, callback: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        spec = (ctypes.c_long * 4)(0, _PERIOD_NS, 0, _PERIOD_NS)
        libc.timerfd_settime(self._descriptor, 0, spec, None)
        self._callback = callback
        asyncio.get_running_loop().add_reader(self._descriptor, self._ring)

    def _ring(self) -> None:
        os.read(self._descriptor, 8)
        self._callback()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
