"""Runs Python's cycle collector by the clock, and not whenever some thread happens to make the 700th new object.

What a request leaves is freed by counting references. Left to itself, the collector still looks at the few thousand
objects of the requests under way up to twenty times a second, for 1 to 3 ms each time, in which nobody is answered; and
at all that a thread has made so far which loads a model. It finds next to nothing. So it is asked to look at what is
new once a second, when more has gathered, sooner, and at everything seldom.
"""

import asyncio
import gc

_LOOK_S = 0.1
#: Looking at so many new objects takes 3 ms.
_MANY = 10_000
#: After how many seconds at the latest each generation is looked at. Each includes the younger ones.
_EVERY_S = {2: 900.0, 1: 10.0, 0: 1.0}


async def collect_by_the_clock() -> None:
    """Look for cycles until cancelled; then the collector is left to itself again.

    What there is now is never looked at: the libraries and the app, which stay. Not even once, which would take a
    twentieth of the start for one object in sixty. Cost: some 0.3 µs for each object of a generation.
    """
    gc.freeze()
    gc.disable()
    loop = asyncio.get_running_loop()
    looked_at = dict.fromkeys(_EVERY_S, loop.time())
    try:
        while True:
            await asyncio.sleep(_LOOK_S)
            now = loop.time()
            due = [generation for generation, every_s in _EVERY_S.items() if now - looked_at[generation] >= every_s]
            if not due and gc.get_count()[0] < _MANY:
                continue
            generation = max(due, default=0)
            gc.collect(generation)
            looked_at |= dict.fromkeys(range(generation + 1), loop.time())
    finally:
        gc.enable()
        gc.unfreeze()
