"""A service in step with its bucket: what it costs, what it follows, and that nothing the bucket does gets further."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_bucket import MemoryObjects
from replicas import Clock, Replica, make_replica
from small_versions import publish_small

from recsys.artifacts.pointer import KEY, Pointer, next_pointer
from recsys.artifacts.remote import RemoteVersions
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import BucketError
from recsys.jobs.ledger import Job

V1, V2 = Version(1, 0, 0), Version(1, 0, 1)


class Bench:
    """A bucket in memory, somebody who publishes into it by hand, and replicas."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.objects, self.clock = directory, MemoryObjects(), Clock()
        self.store = ModelStore(directory / "by-hand")
        self.pointer: Pointer | None = None

    def replica(self, name: str = "a", **options: object) -> Replica:
        return make_replica(name, self.directory, self.objects, self.clock, **options)  # type: ignore[arg-type]

    async def publish(self, version: str, *, content: bytes = b"{}") -> Pointer:
        manifest = publish_small(self.store, version, model=content)
        await RemoteVersions(self.objects, self.store).push(Version.parse(version))
        self.pointer = next_pointer(self.pointer, manifest, who="by hand", when=self.clock.now())
        self.put(self.pointer)
        return self.pointer

    def put(self, pointer: Pointer) -> None:
        self.objects.put(KEY, pointer.to_json())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _away(operation: str, key: str) -> None:
    raise BucketError("the bucket is away")


def _here(replica: Replica) -> list[str]:
    return [str(entry.version) for entry in replica.store.scan().entries]


async def _until(condition: Callable[[], bool], clock: Clock | None = None, step_s: float = 0.0) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it does not come to that"
        await asyncio.sleep(0.002)
        if clock is not None:
            clock.turn(step_s)


async def test_what_the_pointer_names_is_fetched_and_remembered_over_a_restart(bench: Bench) -> None:
    pointer = await bench.publish("v1.0.0")
    replica = bench.replica()
    await replica.sync.round()
    assert (["v1.0.0"], pointer) == (_here(replica), replica.sync.state.pointer)
    bench.objects.harm = _away
    again = bench.replica()
    await again.sync.start()

    assert pointer == again.sync.state.pointer


async def test_a_quiet_round_is_one_conditional_question_and_no_list(bench: Bench) -> None:
    await bench.publish("v1.0.0")
    replica = bench.replica()
    for _ in range(2):
        await replica.sync.round()
    bench.objects.calls.clear()
    for _ in range(5):
        await replica.sync.round()

    assert bench.objects.calls == [("read", KEY)] * 5


async def test_a_bucket_that_is_away_at_start_is_joined_when_it_is_back(bench: Bench) -> None:
    await bench.publish("v1.0.0")
    replica = bench.replica()
    bench.objects.harm = _away
    state = await replica.sync.round()
    assert (state.reachable, state.problem) == (False, "the bucket is away")
    bench.objects.harm = lambda operation, key: None
    state = await replica.sync.round()

    assert (state.reachable, state.problem, replica.follows) == (True, None, "v1.0.0")


async def test_an_older_pointer_is_refused_and_an_explicit_rollback_is_not(bench: Bench) -> None:
    old = await bench.publish("v1.0.0")
    new = await bench.publish("v1.0.1")
    replica = bench.replica()
    await replica.sync.round()
    bench.put(old)
    state = await replica.sync.round()
    assert "generation 1; one of 2" in (state.problem or "")
    assert new == state.pointer
    back = next_pointer(
        new, publish_small(ModelStore(bench.directory / "x"), "v1.0.0"), who="me", when=bench.clock.now()
    )
    bench.put(back)
    state = await replica.sync.round()

    assert (state.problem, replica.follows) == (None, "v1.0.0")


async def test_what_is_not_as_the_pointer_says_is_not_taken_and_looked_at_again_less_and_less(bench: Bench) -> None:
    pointer = await bench.publish("v1.0.0")
    bench.put(pointer.model_copy(update={"digest": "0" * 64}))
    replica = bench.replica()
    looks = []
    for _ in range(30):
        bench.objects.calls.clear()
        state = await replica.sync.round()
        assert "digest differs" in (state.problem or "")
        looks.append(("read", "models/v1.0.0/manifest.json") in bench.objects.calls)
        bench.clock.turn(10)

    assert [n for n, looked in enumerate(looks) if looked] == [0, 1, 3, 7, 15]
    assert _here(replica) == []


async def test_asking_for_it_looks_again_at_once(bench: Bench) -> None:
    pointer = await bench.publish("v1.0.0")
    manifest = bench.objects.held.pop("models/v1.0.0/manifest.json")
    replica = bench.replica()
    await replica.sync.round()
    bench.objects.held["models/v1.0.0/manifest.json"] = manifest
    assert (await replica.sync.round()).problem is not None

    assert (await replica.sync.round(again=True)).problem is None
    assert pointer == replica.sync.state.pointer


async def test_a_version_that_goes_missing_here_is_fetched_again(bench: Bench) -> None:
    await bench.publish("v1.0.0")
    replica = bench.replica()
    await replica.sync.round()
    replica.store.remove(V1)
    await replica.sync.round()

    assert _here(replica) == ["v1.0.0"]


async def test_ours_of_the_same_name_makes_way(bench: Bench) -> None:
    await bench.publish("v1.0.0", content=b"theirs")
    replica = bench.replica()
    publish_small(replica.store, "v1.0.0", model=b"ours")
    state = await replica.sync.round()

    assert state.problem is None
    assert (replica.store.path(V1) / "model.json").read_bytes() == b"theirs"
    assert (replica.store.path(V2) / "model.json").read_bytes() == b"ours"


async def test_a_trained_version_is_published_and_followed_by_all(bench: Bench) -> None:
    one, two, puller = bench.replica("one"), bench.replica("two"), bench.replica("three", role="pull")
    assert await one.train(Job("1", "test")) == "accepted"
    for replica in (one, two, puller):
        await replica.sync.round()

    assert [replica.follows for replica in (one, two, puller)] == ["v1.0.0"] * 3
    assert [name for replica in (one, two, puller) for name in _here(replica)] == ["v1.0.0"] * 3


async def test_a_name_that_is_taken_in_the_bucket_is_not_taken_again(bench: Bench) -> None:
    one, two = bench.replica("one"), bench.replica("two")
    await one.train(Job("1", "test"))
    await two.train(Job("2", "test"))

    assert [*one.trained, *two.trained] == ["v1.0.0", "v1.0.1"]


async def test_a_version_waits_for_the_bucket_over_a_restart(bench: Bench) -> None:
    replica = bench.replica()
    job = Job("1", "test")
    bench.objects.harm = _away
    assert await replica.train(job) == "accepted"
    again = bench.replica()
    await again.sync.start()
    assert [each.version for each in again.sync.state.waiting] == ["v1.0.0"]
    bench.objects.harm = lambda operation, key: None
    state = await again.sync.round()

    assert (state.waiting, again.follows) == ((), "v1.0.0")


async def test_a_version_that_waited_does_not_undo_what_was_published_meanwhile(bench: Bench) -> None:
    cut_off, other = bench.replica("cut off"), bench.replica("other")
    bench.objects.harm = _away
    await cut_off.train(Job("1", "test"))
    bench.objects.harm = lambda operation, key: None
    await other.train(Job("2", "test"))
    state = await cut_off.sync.round()

    assert "moved the pointer since" in (state.problem or "")
    assert (cut_off.follows, state.waiting) == ("v1.0.0", ())
    assert (cut_off.store.path(V1) / "model.json").read_bytes() == b"other 2"


async def test_while_one_trains_another_that_is_asked_says_who_does(bench: Bench) -> None:
    one, two, done = bench.replica("one"), bench.replica("two"), asyncio.Event()
    running = asyncio.create_task(one.train(Job("1", "test"), done))
    await _until(lambda: one.lease.held is not None)

    assert await two.train(Job("2", "an operator asked")) == "one trains"
    done.set()
    assert await running == "accepted"


async def test_a_scheduled_run_is_done_by_one_and_the_others_learn_that(bench: Bench) -> None:
    replicas = [bench.replica(f"r{n}") for n in range(4)]
    due = bench.clock.now()
    runs = [asyncio.create_task(each.train(Job(each.name, "test", due=due))) for each in replicas]
    await _until(lambda: all(run.done() for run in runs), bench.clock, 1.0)
    outcomes = sorted(run.result() for run in runs)

    assert outcomes[0] == "accepted"
    assert all("has done the run" in outcome for outcome in outcomes[1:])


async def test_a_holder_that_slept_through_its_lease_cannot_publish(bench: Bench) -> None:
    """Its renewals do not run, as in a process that is stopped; another has taken over and is still training."""
    sleeper, other, wake, done = bench.replica("sleeper"), bench.replica("other"), asyncio.Event(), asyncio.Event()
    await sleeper.train(Job("0", "test"))
    sleeper.turns._sleep = lambda seconds: asyncio.Event().wait()
    sleeping = asyncio.create_task(sleeper.train(Job("1", "test"), wake))
    await _until(lambda: sleeper.lease.held is not None)
    taking = asyncio.create_task(other.train(Job("2", "test", due=bench.clock.now()), done))
    await _until(lambda: other.lease.held is not None, bench.clock, 5.0)
    await _until(lambda: b'"generation": 2' in bench.objects.held[KEY][0])
    wake.set()
    await sleeping
    assert b'"version": "v1.0.0"' in bench.objects.held[KEY][0]
    done.set()

    assert await taking == "accepted"
    assert b'"who": "other"' in bench.objects.held[KEY][0]


async def test_a_holder_that_learns_of_its_loss_ends_its_run(bench: Bench) -> None:
    loser, other = bench.replica("loser"), bench.replica("other")
    running = asyncio.create_task(loser.train(Job("1", "test"), asyncio.Event()))
    await _until(lambda: loser.lease.held is not None)
    record = loser.lease.held.record if loser.lease.held else None
    assert record is not None
    stolen = record.model_copy(update={"holder": "other", "generation": 2, "nonce": "0" * 32})
    bench.objects.put("lease.json", stolen.model_dump_json().encode())
    await _until(running.done, bench.clock, 20.0)

    assert await running == "another service has taken the lease over"
    assert other.trained == loser.trained == []


async def test_a_store_that_ignores_conditions_is_found_out(bench: Bench) -> None:
    bench.objects.conditional = False
    replica = bench.replica()
    state = await replica.sync.round()

    assert state.single_writer
