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

#: Between requests one answer is made, and for so long when the time is getting short.
_LATE_TURN_S = 0.0003


async def carry_over(current: ServedModel, following: ServedModel, remake: Remake, *, seconds: float) -> int:
    """Make the answers that `current` has kept by `following`, the latest asked first, for at most `seconds`; returns
    how many.
    """
    began = turn_began = time.perf_counter()
    made = []
    addresses = current.answers.latest()
    for number, address in enumerate(addresses):
        now = time.perf_counter()
        if now - began > seconds:
            break
        is_late = number * seconds < (now - began) * len(addresses)
        if now - turn_began > (_LATE_TURN_S if is_late else 0.0):
            await asyncio.sleep(0)
            turn_began = time.perf_counter()
        if (kept := remake(following, address)) is not None:
            made.append(kept)
    for address, answer in reversed(made):
        following.keep_answer(address, answer)
    return len(made)
