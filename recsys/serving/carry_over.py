"""What a swap takes over: the answers that were asked for lately, made again by the next model.

A swap drops every kept answer, and then a thousand viewers ask at once: those answers would take the loop as long as
everything else it does in half a second. So they are made before the swap, between requests. On the loop, for each
takes a tenth of a millisecond: a thread would make it wait for the interpreter's lock at every one of them, and every
such wait costs as much again.
"""

import asyncio
import time
from collections.abc import Callable

from recsys.serving.served import ServedModel

#: Makes an answer again by another model, from the key it was kept by: the key and the answer, or None for one that is
#: left to the first who asks.
Remake = Callable[[ServedModel, object], tuple[object, bytes] | None]

#: The loop had nothing else to do when going round took it no longer than this, twice: of a request under way, one
#: round may be as short.
_IDLE_S = 0.00004
_IDLE_ROUNDS = 2
#: A request takes its steps (read, handed to a task, answered) in rounds of their own. With answers made after every
#: round it would wait for them at each of its steps: beside 4,000 requests a second, 3-4 ms for one in ten instead of
#: 1.3.
_BUSY_ROUNDS = 4
#: For how long the loop is given to become idle, and for how long answers are made in a row at most.
_TURN_S = 0.0005


async def carry_over(current: ServedModel, following: ServedModel, remake: Remake, *, seconds: float) -> int:
    """Make the answers that `current` has kept by `following` for at most `seconds`, those asked lately first; returns
    how many.

    Requests go first: an answer is made when the loop has nothing else to do, and more in a row only as far as the time
    would not be enough for all of them.
    """
    latest = current.answers.latest()
    made: dict[object, tuple[object, bytes]] = {}
    ends = time.perf_counter() + seconds
    turn_ends = spent = 0.0
    # every second one first: who asks in a row does so again, and those left over must not be all of a row
    for number, key in enumerate(latest[::2] + latest[1::2]):
        now = time.perf_counter()
        if now >= turn_ends:
            resumed = await _idle()
            if resumed > ends:
                break
            needed = (len(latest) - number) * spent / max(number, 1)
            for_requests = max(ends - resumed - needed, 1e-9)
            turn_ends = resumed + min((resumed - now) * needed / for_requests, _TURN_S)
            now = resumed
        if (kept := remake(following, key)) is not None:
            made[key] = kept
        spent += time.perf_counter() - now
    for key in reversed(latest):
        if key in made:
            following.keep_answer(*made[key])
    return len(made)


async def _idle() -> float:
    """Return when the loop has gone round with nothing else to do, or else in a moment, once the requests that had
    begun are answered: the time it is then.
    """
    until = time.perf_counter() + _TURN_S
    rounds = idle_rounds = 0
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0)
        now = time.perf_counter()
        rounds += 1
        idle_rounds = idle_rounds + 1 if now - began < _IDLE_S else 0
        if idle_rounds == _IDLE_ROUNDS or (rounds >= _BUSY_ROUNDS and now > until):
            return now
