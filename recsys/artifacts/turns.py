"""How work in a thread takes turns with the event loop, so that a model can be loaded under load."""

import gc
import threading
import time
from collections.abc import Iterable
from typing import TypeVar

Element = TypeVar("Element")
_WORK_S, _PAUSE_S = 0.0005, 0.001
_turn = threading.local()


def yield_to_loop() -> None:
    """Let the event loop's thread run after some work: give the GIL away, and most of the processor."""
    if time.perf_counter() - getattr(_turn, "began", 0.0) > _WORK_S:
        time.sleep(_PAUSE_S)
        _turn.began = time.perf_counter()


def go_on() -> None:
    """What is called instead where nobody waits: on the command line, in training, before a start has its model."""


def settle() -> None:
    """Let the cycle collector look at what is new, while that is little: whoever fills a large list or set calls this
    when it is still empty.

    It goes through all elements of what is new, 20,000 of them in up to a millisecond, with the GIL: the columns of a
    catalogue, met all at once, would keep the loop for 10. What it has met it seldom looks at again.
    """
    gc.collect(0)


def settled(elements: Iterable[Element]) -> tuple[Element, ...]:
    """Make a large tuple. The collector looks at it now, and if it holds texts or numbers alone, never again."""
    made = tuple(elements)
    settle()
    return made
