"""What reading pays for ratings that come in: p99 of recommendations at a rate, beside ratings and without them.

Once for users whom nobody rates meanwhile, once for those who rate: each answer to them is new, where without ratings
it was kept. And beside the bare handler, which throws away what it is sent: no service pays less than that.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.beside import latencies, measure
from benchmarks.client import Job, Outcome
from benchmarks.processes import LoadClient, Server
from benchmarks.world import Row, World, median, percentile, post, recommendations_of

PATH = "/api/v1/ratings"
FIRST_TIME = 1_600_000_000
#: So many are acknowledged a second, at least.
RATINGS_S = 2_000
WRITERS = 64
_READERS = 32
#: A rate is kept up with if so much of what is due was answered when the time is over: a tenth of a second is left
#: for what is under way.
_KEPT_UP, _KEPT_UP_S, _HALVINGS = 0.95, 2.0, 5
#: For so many blocks that rate is taken to be the same.
_SAME_RATE = 4
_MAX_P99_RATIO = 2.0
_ASKED, _ANSWER_BYTES = "/api/v1/users/{user_id}/recommendations", 1000
_WRITES = 250_000


@dataclass
class _Ratings:
    """Ratings that come in at a fixed rate while something else is measured. No two are alike."""

    client: LoadClient
    server: Server
    sent: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    @contextmanager
    def coming_in(self) -> Iterator[None]:
        self.client.start(Job(self.server.port, "ratings", 60.0, WRITERS, self.sent, RATINGS_S, until_told=True))
        yield
        self.client.tell_to_end()
        self.outcomes.append(sound(self.client.wait()))
        self.sent += len(self.outcomes[-1].latencies_ms) + WRITERS
        if self.sent > _WRITES:
            raise RuntimeError("reading: too few requests were made beforehand")


def run(world: World) -> list[Row]:
    users = world.users()
    raters, others = users[1::2], users[::2]
    writer = world.processes.client()
    writer.keep("ratings", single_ratings(world, raters, _WRITES))
    world.client.keep("others", recommendations_of(others))
    world.client.keep("raters", recommendations_of(raters))
    beside, half = _measured(world, "recommendations, beside ratings of others", world.serve(), writer, "others")
    own, _ = _measured(world, "recommendations to those who rate", world.serve(), writer, "raters")
    bare = world.bare([("GET", _ASKED, _ANSWER_BYTES), ("POST", PATH, 30)])
    least, _ = _measured(world, "the first on a handler that throws ratings away", bare, writer, "others", half)
    return [beside, own, least]


def single_ratings(world: World, users: Sequence[str], n_ratings: int) -> list[bytes]:
    """No two alike, half of them of `users`, half of as many new ones, each with a name of its own."""
    random, items = world.random(), world.servable().contents.catalogue.item_ids
    drawn = [*users, *(f"new-{number}" for number in range(len(users)))]
    found = []
    for number in range(n_ratings):
        user, item = drawn[random.integers(len(drawn))], items[random.integers(len(items))]
        rating = {"user_id": user, "item_id": item, "rating": 1 + number % 5, "timestamp": FIRST_TIME + number}
        found.append(post(PATH, json.dumps({"ratings": [rating | {"event_id": f"bench-{number}"}]}).encode()))
    return found


def _measured(
    world: World, what: str, server: Server, writer: LoadClient, asked: str, rate: float | None = None
) -> tuple[Row, float]:
    """The row, and how many requests a second it was measured at: half of what the server answers beside ratings, and
    them too, or `rate` on one that is only to be compared with. The server is stopped.
    """
    blocks, seconds = (3, 2.0) if world.quick else (10, 3.0)
    ratings, rates = _Ratings(writer, server), []

    def beside_ratings(job: Job) -> Outcome:
        with ratings.coming_in():
            return sound(world.client.run(job))

    def most() -> float:
        """The highest rate at which questions and ratings are both answered as they come."""
        low, high = 0.0, sound(world.client.run(Job(server.port, asked, _KEPT_UP_S, _READERS))).rate
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            reading = beside_ratings(Job(server.port, asked, _KEPT_UP_S, _READERS, rate=middle))
            kept_up = min(reading.rate / middle, ratings.outcomes.pop().rate / RATINGS_S) > _KEPT_UP
            low, high = (middle, high) if kept_up else (low, middle)
        return (low + high) / 2

    def block(number: int) -> tuple[Callable[[], Outcome], Callable[[], Outcome]]:
        world.say(f"ratings: {what}, block {number + 1}")
        # measured again now and then, or work beside this one would make half the rate more than there is
        rates.append(rate or (most() / 2 if number % _SAME_RATE == 0 else rates[-1]))
        job = Job(server.port, asked, seconds, _READERS, number * 101, rates[-1])
        return lambda: sound(world.client.run(job)), lambda: beside_ratings(job)

    said, ratio = latencies(measure(blocks, block))
    server.stop()
    row = Row(
        "ratings",
        what,
        {
            "requests_s": round(median(rates)),
            "ratings_s": round(median(outcome.rate for outcome in ratings.outcomes)),
            "ratings_p50_ms": round(median(percentile(outcome.latencies_ms, 50) for outcome in ratings.outcomes), 1),
        }
        | said,
        "" if rate else f"p99 at half the saturation rate <= {_MAX_P99_RATIO:g} x that without ratings",
        None if rate else ratio <= _MAX_P99_RATIO,
    )
    return row, median(rates)


def sound(outcome: Outcome) -> Outcome:
    if outcome.failed:
        raise RuntimeError(f"ratings: {outcome.failed} requests failed, the first with {outcome.first_failure}")
    return outcome
