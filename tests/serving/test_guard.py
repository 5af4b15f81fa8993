"""The watch after a swap: what it counts, and what the service does when it trips."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service import ServerProcess, copy_version

from recsys.artifacts.store import ModelStore
from recsys.serving.guard import GuardLimits, SwapGuard

Serve = Callable[..., ServerProcess]
LIMITS = GuardLimits(watch_s=60, max_errors=0.05, slow_s=0.5, max_slow=0.10, min_answers=50)
FAST, SLOW = 0.001, 0.6


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> SwapGuard:
    guard = SwapGuard(LIMITS, clock)
    guard.begin("v1.0.1")
    return guard


def watch(guard: SwapGuard, answers: list[tuple[float, bool]]) -> list[str]:
    reasons = (guard.observe(seconds, failed=failed) for seconds, failed in answers)
    return [reason for reason in reasons if reason is not None]


@pytest.mark.parametrize(
    ("errors", "slow", "fine", "trips"),
    [
        (0, 0, 200, None),
        (49, 0, 0, None),  # too few to judge
        (3, 0, 47, "3 of 50 answers were errors"),
        (2, 0, 48, None),
        (0, 49, 0, None),
        (0, 6, 44, "6 of 50 answers took longer than 500 ms"),
        (0, 5, 45, None),  # at the limit is within it
        (2, 5, 43, None),
    ],
)
def test_trips_beyond_a_share_of_enough_answers(
    guard: SwapGuard, errors: int, slow: int, fine: int, trips: str | None
) -> None:
    reasons = watch(guard, [(FAST, True)] * errors + [(SLOW, False)] * slow + [(FAST, False)] * fine)
    assert ([] if trips is None else [f"after the swap {trips}"]) == reasons


def test_trips_once(guard: SwapGuard) -> None:
    assert len(watch(guard, [(FAST, True)] * 500)) == 1
    assert guard.version is None


def test_watches_no_longer_than_told(guard: SwapGuard, clock: Clock) -> None:
    assert watch(guard, [(FAST, True)] * 49) == []
    clock.now += LIMITS.watch_s + 0.1
    assert watch(guard, [(FAST, True)] * 100) == []
    assert guard.version is None


def test_begins_anew_with_each_version(guard: SwapGuard) -> None:
    watch(guard, [(FAST, True)] * 49)
    guard.begin("v1.0.2")
    assert watch(guard, [(FAST, True)] * 49) == []
    assert len(watch(guard, [(FAST, True)])) == 1


def test_counts_nothing_before_a_swap_after_an_end_or_when_switched_off(clock: Clock) -> None:
    guard = SwapGuard(LIMITS, clock)
    assert watch(guard, [(FAST, True)] * 100) == []
    guard.begin("v1.0.1")
    guard.end()
    assert watch(guard, [(FAST, True)] * 100) == []
    off = SwapGuard(GuardLimits(watch_s=0), clock)
    off.begin("v1.0.1")
    assert watch(off, [(FAST, True)] * 100) == []


@given(st.lists(st.tuples(st.sampled_from([FAST, SLOW]), st.booleans()), max_size=300))
def test_trips_at_the_first_answer_that_exceeds_a_share(answers: list[tuple[float, bool]]) -> None:
    guard = SwapGuard(LIMITS, Clock())
    guard.begin("v1.0.1")
    expected = math.inf
    for count in range(len(answers), LIMITS.min_answers - 1, -1):
        errors = sum(failed for _, failed in answers[:count])
        slow = sum(seconds > LIMITS.slow_s for seconds, _ in answers[:count])
        if errors > LIMITS.max_errors * count or slow > LIMITS.max_slow * count:
            expected = count
    tripped = [n for n, (seconds, failed) in enumerate(answers, 1) if guard.observe(seconds, failed=failed)]
    assert ([expected] if expected < math.inf else []) == tripped


class TestInTheService:
    """No answer is made within 100 ns: with this limit a new version is slow; the first is not watched."""

    SLOW = {"RECSYS_SERVING__WATCH_SLOW_MS": "0.0001", "RECSYS_ADMIN__TOKEN": "the-token-of-these-tests"}  # noqa: RUF012
    ADMIN = {"Authorization": "Bearer the-token-of-these-tests"}  # noqa: RUF012

    @pytest.fixture
    def server(self, serve: Serve, store_with: Callable[..., ModelStore]) -> ServerProcess:
        store_with("v1.0.0")
        return serve(environ=self.SLOW)

    def add(self, server: ServerProcess, trained_sample: Path, version: str) -> None:
        copy_version(trained_sample / "v1.0.0", server.directory / "models" / version)

    def ask(self, server: ServerProcess, times: int) -> list[str]:
        answers = [server.request("/api/v1/users/1/recommendations") for _ in range(times)]
        assert {200} == {answer.status for answer in answers}
        return [answer.headers["X-Model-Version"] for answer in answers]

    def test_a_slow_version_goes_back_to_the_one_before_and_is_marked(
        self, server: ServerProcess, trained_sample: Path, serve: Serve
    ) -> None:
        self.ask(server, 60)
        self.add(server, trained_sample, "v1.0.1")
        server.wait_version("v1.0.1")
        versions = self.ask(server, 60)
        assert versions[0] == "v1.0.1"
        server.wait_version("v1.0.0", 2)

        state = server.request("/admin/models/v1.0.1", headers=self.ADMIN).json
        assert state["status"] == "quarantined"
        assert "took longer than 0.0001 ms" in state["reason"]
        # what it went back to was good enough before the swap: it is not put on trial for the machine's slowness
        assert {"v1.0.0"} == set(self.ask(server, 60))
        health = server.request("/health").json
        assert [mark["version"] for mark in health["quarantined"]] == ["v1.0.1"]
        server.stop()

        again = serve(environ=self.SLOW)
        assert again.request("/health").json["model_version"] == "v1.0.0", "the mark lasts"

    def test_the_next_version_gets_its_chance(self, server: ServerProcess, trained_sample: Path) -> None:
        self.add(server, trained_sample, "v1.0.1")
        server.wait_version("v1.0.1")
        self.ask(server, 50)
        server.wait_version("v1.0.0", 2)
        self.add(server, trained_sample, "v1.0.2")
        server.wait_version("v1.0.2")

    def test_a_pinned_version_stays(self, server: ServerProcess, trained_sample: Path) -> None:
        self.add(server, trained_sample, "v1.0.1")
        server.wait_version("v1.0.1")
        pinned = server.request("/admin/pin", method="PUT", body={"version": "v1.0.1"}, headers=self.ADMIN)
        assert pinned.status == 200

        self.ask(server, 60)
        server.wait_for(lambda: any("does badly and stays" in line for line in server.log), "said")
        assert {"v1.0.1"} == set(self.ask(server, 10))
        assert server.request("/health").json["quarantined"] == []

    def test_a_version_that_does_well_stays(
        self, serve: Serve, store_with: Callable[..., ModelStore], trained_sample: Path
    ) -> None:
        store_with("v1.0.0")
        server = serve()
        self.add(server, trained_sample, "v1.0.1")
        server.wait_version("v1.0.1")
        assert all(one == other == "v1.0.1" for one, other in pairwise(self.ask(server, 80)))
