"""How work in a thread takes turns with the event loop, so that a model can be loaded under load."""

import threading
import time

_WORK_S, _PAUSE_S = 0.0005, 0.001
_turn = threading.local()


def yield_to_loop() -> None:
    """Let the event loop's thread run after some work: give the GIL away, and most of the processor."""
    if time.perf_counter() - getattr(_turn, "began", 0.0) > _WORK_S:
        time.sleep(_PAUSE_S)
        _turn.began = time.perf_counter()
