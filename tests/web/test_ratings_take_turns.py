"""Ratings that come together are looked at one at a turn of the loop, so that others are answered in between."""

import asyncio
from pathlib import Path
from typing import NoReturn

from aiohttp.test_utils import make_mocked_request

from recsys.errors import ModelNotReadyError
from recsys.feedback.live import LiveFeedback
from recsys.serving.slot import Slot
from recsys.serving.viewers import Viewers
from recsys.web.ratings import RatingRoutes
from recsys.web.telemetry import Telemetry

TOGETHER = 5


class NotedSlot(Slot):
    """Notes in which turn of the loop a request takes it; it has no model."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.taken: list[int] = []

    def take(self) -> NoReturn:
        self.taken.append(self.turn)
        raise ModelNotReadyError("there is none")

    async def count_turns(self) -> None:
        while len(self.taken) < TOGETHER:
            self.turn += 1
            await asyncio.sleep(0)


async def test_each_has_a_turn_of_its_own(tmp_path: Path) -> None:
    feedback, slot = LiveFeedback(tmp_path), NotedSlot()
    await feedback.start()
    routes = RatingRoutes(slot, Viewers(feedback), feedback, Telemetry())
    request = make_mocked_request("POST", "/api/v1/ratings")
    async with asyncio.timeout(10):
        refused = await asyncio.gather(
            slot.count_turns(), *(routes.add_ratings(request) for _ in range(TOGETHER)), return_exceptions=True
        )
    await feedback.close(5)

    assert [ModelNotReadyError] * TOGETHER == [type(error) for error in refused[1:]]
    assert sorted(set(slot.taken)) == slot.taken
