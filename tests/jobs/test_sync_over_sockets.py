"""Replicas over real sockets: what a quiet round costs, and that nobody's clock has to be right."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from fault_proxy import FaultProxy
from replicas import Clock, Replica, make_replica

from recsys.artifacts.bucket import Patience
from recsys.artifacts.s3 import open_bucket
from recsys.jobs.ledger import Job
from recsys.settings import S3Settings

MakeS3 = Callable[..., S3Settings]
_A_DAY_S = 86_400.0


async def test_a_quiet_round_is_one_request_that_is_answered_with_not_modified(
    bucket_server: str, make_s3: MakeS3, tmp_path: Path
) -> None:
    async with (
        FaultProxy(bucket_server) as proxy,
        open_bucket(make_s3(bucket_server, through=proxy.address)) as objects,
    ):
        replica = make_replica("a", tmp_path, objects, Clock())
        assert await replica.train(Job("1", "test")) == "accepted"
        for _ in range(2):
            await replica.sync.round()
        proxy.asked.clear()
        proxy.answered.clear()
        for _ in range(5):
            await replica.sync.round()

    assert proxy.answered == [b"304"] * 5
    assert len(proxy.asked) == 5
    assert all(line.startswith(b"GET ") and b"/current.json" in line for line in proxy.asked)


async def test_clocks_that_disagree_by_a_day_change_nothing(
    bucket_server: str, make_s3: MakeS3, tmp_path: Path
) -> None:
    """The server's clock, that of one replica and that of the other: who trains, waits, follows, takes over."""
    clock = Clock()
    settings = make_s3(bucket_server)
    async with FaultProxy(bucket_server) as proxy:
        through = settings.model_copy(update={"endpoint_url": proxy.address})
        async with open_bucket(through) as objects:
            early = make_replica("early", tmp_path, objects, clock, ahead_s=-_A_DAY_S)
            late = make_replica("late", tmp_path, objects, clock, ahead_s=_A_DAY_S)
            for trainer, other, servers in ((late, early, -2), (early, late, 2), (late, early, -2)):
                proxy.ahead_s = servers * _A_DAY_S
                assert await _trains_alone(trainer, other) == "accepted"
                for replica in (early, late):
                    assert (await replica.sync.round()).problem is None
                assert early.follows == late.follows == trainer.trained[-1]
            assert await early.lease.try_take(None) is None
            assert await late.lease.try_take(None) == "early"
            clock.turn(59)
            assert await late.lease.try_take(None) == "early"
            clock.turn(1)
            assert await late.lease.try_take(None) is None

    assert [late.trained, early.trained] == [["v1.0.0", "v1.0.2"], ["v1.0.1"]]


async def _trains_alone(trainer: Replica, other: Replica) -> str:
    """Train, and see that the other cannot meanwhile."""
    may_end = asyncio.Event()
    training = asyncio.create_task(trainer.train(Job("its", "test"), may_end))
    deadline = asyncio.get_running_loop().time() + 10
    while trainer.lease.held is None:
        assert asyncio.get_running_loop().time() < deadline, "it does not get the lease"
        await asyncio.sleep(0.005)
    assert await other.train(Job("the other's", "test")) == f"{trainer.name} trains"
    may_end.set()
    return await training


async def test_a_bucket_that_finds_our_clock_wrong_is_told_of_and_joined_when_it_is_right(
    bucket_server: str, make_s3: MakeS3, tmp_path: Path
) -> None:
    async with FaultProxy(bucket_server, harm=("403",)) as proxy:
        settings = make_s3(bucket_server, through=proxy.address)
        async with open_bucket(settings, patience=Patience(tries=2, first_s=0.001)) as objects:
            one, two = (make_replica(name, tmp_path, objects, Clock()) for name in ("one", "two"))
            assert await one.train(Job("1", "test")) == "accepted"
            await two.sync.round()
            assert await one.train(Job("2", "test")) == "accepted"
            proxy.share = 1.0
            state = await two.sync.round()
            assert "RequestTimeTooSkewed (the clock of this machine is wrong)" in (state.problem or "")
            assert (state.reachable, two.follows) == (False, "v1.0.0")
            proxy.share = 0.0
            state = await two.sync.round()

    assert (state.problem, state.reachable, two.follows) == (None, True, "v1.0.1")
