"""File events as hints: something may have changed, look again. What they say is not believed, and their absence
neither.

The kernel's queue may overflow, and a watched directory that is removed and made again goes silent for ever; so roots
are looked at on a timer too, and watched anew when another directory stands in their place.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from watchfiles import awatch

_DEBOUNCE_MS = 50
#: How often the thread that listens looks up: each time it takes the interpreter's lock from the event loop, as long as
#: an answer takes.
_LISTEN_MS = 100


async def follow_hints(roots: Sequence[Path], every_s: float, kick: Callable[[], None]) -> None:
    """Call `kick` on every event under `roots` until cancelled."""
    while True:
        with contextlib.suppress(OSError, RuntimeError):
            async for _ in _events(roots, every_s):
                kick()
        await asyncio.sleep(every_s)


async def _events(roots: Sequence[Path], every_s: float) -> AsyncIterator[None]:
    """Give events until one of the roots is another directory than it was."""
    present, identity = [path for path in roots if path.is_dir()], _inodes(roots)
    stop = asyncio.Event()

    async def stop_when_replaced() -> None:
        while _inodes(roots) == identity:  # noqa: ASYNC110  nothing tells us of a new inode but looking
            await asyncio.sleep(every_s)
        stop.set()

    guard = asyncio.create_task(stop_when_replaced(), name="watch-roots")
    try:
        # staging is busy and means nothing until it is renamed
        async for _ in awatch(
            *present,
            watch_filter=lambda _change, path: "/.staging/" not in path,
            debounce=_DEBOUNCE_MS,
            step=_LISTEN_MS,
            rust_timeout=1000,
            stop_event=stop,
        ):
            yield
    finally:
        guard.cancel()


def _inodes(roots: Sequence[Path]) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for root in roots:
        try:
            status = os.stat(root)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return found
