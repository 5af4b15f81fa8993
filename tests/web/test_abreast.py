"""Steps of requests that came together: all take the first before any takes the second."""

import asyncio

from recsys.web.abreast import abreast


async def test_each_step_is_taken_by_all_before_the_next() -> None:
    taken: list[tuple[int, str]] = []

    async def request(name: str) -> None:
        for step in range(3):
            await abreast()
            taken.append((step, name))

    await asyncio.gather(*(request(name) for name in "abc"))

    assert taken == [(step, name) for step in range(3) for name in "abc"]
