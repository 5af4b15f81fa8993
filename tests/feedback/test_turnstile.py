import asyncio

import pytest

from recsys.feedback import turnstile
from recsys.feedback.turnstile import Turnstile


async def passed_by_turn(passed: list[int], turns: int) -> list[list[int]]:
    """What has passed at the end of each of the next turns of the loop."""
    seen = []
    for _ in range(turns):
        seen.append(list(passed))
        await asyncio.sleep(0)
    return seen


async def test_lets_one_through_at_each_turn_in_the_order_they_came() -> None:
    turns, passed = Turnstile(), list[int]()
    for number in range(3):
        turns.call(passed.append, number)
    by_turn = await passed_by_turn(passed, 4)

    assert by_turn == [[0], [0, 1], [0, 1, 2], [0, 1, 2]]


async def test_who_comes_alone_does_not_wait() -> None:
    turns, passed = Turnstile(), list[int]()
    for number in range(3):
        turns.call(passed.append, number)
        so_far = list(passed)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert list(range(number + 1)) == so_far


async def test_others_who_wait_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_PATIENCE_S", 60.0)
    others, passed = ["somebody"], list[int]()
    turns = Turnstile(lambda: bool(others))
    for number in range(2):
        turns.call(passed.append, number)
    while_they_wait = await passed_by_turn(passed, 10)
    others.clear()
    afterwards = await passed_by_turn(passed, 3)

    assert while_they_wait == [[]] * 10
    assert afterwards == [[], [0], [0, 1]]


async def test_others_go_first_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_PATIENCE_S", 0.1)
    passed = list[float]()
    turns, loop = Turnstile(lambda: True), asyncio.get_running_loop()
    came = []
    for _ in range(2):
        came.append(loop.time())
        turns.call(lambda: passed.append(loop.time()))
        await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        while len(passed) < 2:  # noqa: ASYNC110  it is about turns
            await asyncio.sleep(0)

    assert all(later - earlier >= 0.1 for earlier, later in zip(came, passed, strict=True))


async def test_who_has_waited_for_long_shares_the_turns_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "_PATIENCE_S", 60.0)
    turns, passed = Turnstile(lambda: True), list[int]()
    for number in range(3):
        turns.call(passed.append, number)
    before = await passed_by_turn(passed, 5)
    monkeypatch.setattr(turnstile, "_PATIENCE_S", 0.0)
    by_turn = await passed_by_turn(passed, 4)

    assert before == [[]] * 5
    assert by_turn == [[], [0], [0, 1], [0, 1, 2]]
