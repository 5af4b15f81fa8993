"""What a swap takes over: the answers that were asked for lately, made again by the next model."""

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from recsys.artifacts.servable import Servable
from recsys.feedback.live import LiveFeedback
from recsys.serving import carry_over as module
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


class Busy:
    """A loop with something to do in every round, by a clock of its own: `round_s` for that, `answer_s` for an answer.

    `rounds` holds at which round each answer was made. Every `short_every`th round has hardly anything to do.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, round_s: float, answer_s: float) -> None:
        self.now = 0.0
        self.round = 0
        self.rounds: list[int] = []
        self.made: list[object] = []
        self.short_every = 0
        self._round_s, self._answer_s = round_s, answer_s
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))

    @property
    def between(self) -> list[int]:
        """How many rounds went by between one answer and the next."""
        return [after - before for before, after in pairwise(self.rounds)]

    def remake(self, model: ServedModel, key: object) -> tuple[object, bytes]:
        self.now += self._answer_s
        self.rounds.append(self.round)
        self.made.append(key)
        return key, b"{}"

    async def carry(self, model: ServedModel, n: int, *, seconds: float) -> int:
        """Have `model` keep `n` answers, named by their order, and carry them over."""
        for number in range(n):
            model.keep_answer(number, b"{}")
        following = ServedModel(model.servable, pause=no_pause)
        carrying = asyncio.create_task(carry_over(model, following, self.remake, seconds=seconds))
        while not carrying.done():
            self.round += 1
            is_short = self.short_every and self.round % self.short_every == 0
            self.now += 0.00001 if is_short else self._round_s
            await asyncio.sleep(0)
        return carrying.result()


async def test_requests_go_first_while_there_is_time(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(monkeypatch, round_s=0.0001, answer_s=0.00015)

    assert await busy.carry(model, 50, seconds=60) == 50

    assert min(busy.between) * 0.0001 >= 0.0004


async def test_a_request_under_way_is_answered_first_however_long_the_rounds(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(monkeypatch, round_s=0.002, answer_s=0.00015)

    assert await busy.carry(model, 50, seconds=60) == 50

    assert min(busy.between) >= 4


async def test_one_short_round_is_not_an_idle_loop(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(monkeypatch, round_s=0.00015, answer_s=0.00015)
    busy.short_every = 3

    assert await busy.carry(model, 50, seconds=60) == 50

    assert min(busy.between) >= 4


async def test_an_idle_loop_makes_one_answer_after_the_other(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(monkeypatch, round_s=0.00001, answer_s=0.00015)

    assert await busy.carry(model, 50, seconds=60) == 50

    assert busy.rounds[-1] <= 110, "two rounds each, to see that it is idle"


async def test_a_time_that_is_short_is_shared_so_that_all_are_made(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(monkeypatch, round_s=0.0001, answer_s=0.00015)

    assert await busy.carry(model, 200, seconds=0.08) == 200  # 30 ms of them is for the answers

    in_a_row = [busy.rounds.count(number) for number in set(busy.rounds)]
    assert 1 < max(in_a_row) <= 4, "half a millisecond"


async def test_what_there_is_no_time_for_is_not_all_asked_in_a_row(
    model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Busy(monkeypatch, round_s=0.0001, answer_s=0.00015)

    n_made = await busy.carry(model, 200, seconds=0.04)

    assert 100 < n_made < 200
    left = sorted({*range(200)} - {int(str(key)) for key in busy.made})
    assert all(after - before > 1 for before, after in pairwise(left))
    assert left[0] < 100, "the latest asked are made first"
