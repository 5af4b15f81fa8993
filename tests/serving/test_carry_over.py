"""What a swap takes over: the answers that were asked for lately, made again by the next model."""

import asyncio
import time
from pathlib import Path

import pytest

from recsys.artifacts.servable import Servable
from recsys.feedback.live import LiveFeedback
from recsys.serving.carry_over import carry_over
from recsys.serving.served import ServedModel
from recsys.serving.viewers import Viewers
from recsys.web.kept import remaking

REMAKE = remaking(Viewers(LiveFeedback(Path(), enabled=False)))


def no_pause() -> None: ...


@pytest.fixture
def model(served_servable: Servable) -> ServedModel:
    return ServedModel(served_servable, pause=no_pause)


async def asked(model: ServedModel, *addresses: str) -> list[str]:
    """The model after these addresses were asked of it, and what of that the next one keeps, the latest used last."""
    for address in addresses:
        model.keep_answer(address, b"{}")
    following = ServedModel(model.servable, pause=no_pause)
    await carry_over(model, following, REMAKE, seconds=60)
    return [str(key) for key in following.answers.latest()][::-1]


async def test_what_was_asked_lately_is_there_in_the_same_order(model: ServedModel) -> None:
    users, item = list(model.user_index), model.item_ids[0]
    addresses = [
        f"/api/v1/users/{users[0]}/recommendations?n=10",
        f"/api/v1/items/{item}/similar",
        "/api/v1/items/popular?genre=Drama",
        f"/api/v1/users/{users[1]}/recommendations?n=5&year_from=1980&exclude=x",
    ]

    assert addresses == await asked(model, *addresses)


async def test_what_the_next_model_does_not_know_or_must_work_long_for_is_left_out(model: ServedModel) -> None:
    user = next(iter(model.user_index))

    assert (
        await asked(
            model,
            "/api/v1/users/nobody/recommendations",
            "/api/v1/items/nothing/similar",
            f"/api/v1/users/{user}/recommendations?explain=true",
            "/api/v1/users/a%20b/recommendations",
            "?n=10",
            "/api/v1/items?query=the",
        )
        == []
    )


async def test_no_time_means_nothing_is_taken_over(model: ServedModel) -> None:
    model.keep_answer("/api/v1/items/popular", b"{}")

    following = ServedModel(model.servable, pause=no_pause)

    assert await carry_over(model, following, REMAKE, seconds=-1) == 0


async def test_requests_have_their_turn_after_each_answer(model: ServedModel) -> None:
    for user in model.user_index:
        model.keep_answer(f"/api/v1/users/{user}/recommendations", b"{}")
    following = ServedModel(model.servable, pause=no_pause)
    carrying = asyncio.create_task(carry_over(model, following, REMAKE, seconds=60))
    turns = 0
    while not carrying.done():
        await asyncio.sleep(0)
        turns += 1

    assert carrying.result() == len(model.user_index)
    assert turns >= len(model.user_index)


async def test_it_ends_in_time_though_requests_take_theirs(model: ServedModel) -> None:
    for number in range(2000):
        model.keep_answer(f"/api/v1/items/popular?n={number % 500 + 1}&genre={number}", b"{}")
    following = ServedModel(model.servable, pause=no_pause)
    carrying = asyncio.create_task(carry_over(model, following, REMAKE, seconds=0.2))
    while not carrying.done():
        await asyncio.sleep(0)
        time.sleep(0.005)  # noqa: ASYNC251  a request that holds the loop

    assert 0 < carrying.result() < 2000
