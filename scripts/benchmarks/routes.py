"""Each main route against the bare handler: the same requests, in short rounds by turns."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.client import Job, Outcome
from benchmarks.processes import Server
from benchmarks.world import Row, World, get, interleaved, median, percentile, post, recommendations_of

_UNIQUE = 150_000
_SAMPLE = 40


@dataclass(frozen=True)
class Route:
    """`pattern` is the address as both servers route it, `target` the least share of the bare handler's rate."""

    name: str
    method: str
    pattern: str
    requests: list[bytes]
    target: float | None = None
    connections: int = 32


@dataclass
class _Side:
    """One of the two servers, and what came of its rounds. It goes on in the requests where it stopped."""

    server: Server
    position: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        """Processor time for a request: unlike the rate, other work on the machine changes it little."""
        rounds = zip(self.cpu_s, self.outcomes, strict=True)
        return median(cpu_s / outcome.answered for cpu_s, outcome in rounds if outcome.answered) * 1e6

    @property
    def cpu_share(self) -> float:
        return median(cpu_s / outcome.seconds for cpu_s, outcome in zip(self.cpu_s, self.outcomes, strict=True))


def run(world: World) -> list[Row]:
    ours = world.serve()
    rows = []
    for route in _routes(world):
        world.say(f"routes: {route.name}")
        warm_up(world, ours)
        bare = world.bare([(route.method, route.pattern, _typical_length(ours, route))])
        try:
            rows.append(_compare(world, route, ours, bare))
        finally:
            bare.stop()
    ours.stop()
    return rows


def warm_up(world: World, server: Server) -> None:
    """Ask for every user once, so that "seen before" is true of all."""
    world.client.keep("all users", recommendations_of(world.users()))
    world.client.run(Job(server.port, "all users", 0.3 if world.quick else 0.7))


def _compare(world: World, route: Route, ours: Server, bare: Server) -> Row:
    with_target = route.target is not None
    rounds, seconds = (3, 0.5) if world.quick else (5, 2.0) if with_target else (3, 1.0)
    world.client.keep(route.name, route.requests)
    sides = [_Side(ours), _Side(bare)]

    def measure(side: _Side) -> Callable[[], None]:
        def once() -> None:
            cpu = side.server.cpu_s
            job = Job(side.server.port, route.name, seconds, route.connections, start=side.position)
            outcome = world.client.run(job)
            side.position += outcome.answered + route.connections
            side.outcomes.append(outcome)
            side.cpu_s.append(side.server.cpu_s - cpu)

        return once

    interleaved(rounds, [measure(side) for side in sides])
    failed = sum(outcome.failed for side in sides for outcome in side.outcomes)
    if failed:
        reason = next(o.first_failure for side in sides for o in side.outcomes if o.failed)
        raise RuntimeError(f"routes: {route.name}: {failed} failed, the first with {reason}")
    us, them = sides
    ratios = [a.rate / b.rate for a, b in zip(us.outcomes, them.outcomes, strict=True)]
    ratio = median(ratios)
    latencies = np.concatenate([np.asarray(outcome.latencies_ms) for outcome in us.outcomes])
    return Row(
        "routes",
        route.name,
        {
            "requests_s": round(median(o.rate for o in us.outcomes)),
            "bare_requests_s": round(median(o.rate for o in them.outcomes)),
            "ratio": round(ratio, 3),
            "ratio_low": round(min(ratios), 3),
            "ratio_high": round(max(ratios), 3),
            "p50_ms": round(percentile(latencies, 50), 2),
            "p99_ms": round(percentile(latencies, 99), 2),
            "cpu_us": round(us.cpu_us),
            "bare_cpu_us": round(them.cpu_us),
            "server_cpu": round(us.cpu_share, 2),
            "client_cpu": round(max(o.cpu_share for side in sides for o in side.outcomes), 2),
        },
        f">= {route.target:.0%} of bare" if with_target else "",
        ratio >= route.target if route.target is not None else None,
    )


def _typical_length(server: Server, route: Route) -> int:
    lengths = []
    step = max(1, len(route.requests) // _SAMPLE)
    for request in route.requests[::step]:
        head, _, body = request.partition(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        status, answer = server.ask(path, body if route.method == "POST" else None)
        if status != 200:
            raise RuntimeError(f"{path} answers {status}: {answer[:300]!r}")
        lengths.append(len(answer))
    return round(median(lengths))


def _routes(world: World) -> list[Route]:
    random = world.random()
    users, catalogue = world.users(), world.servable().contents.catalogue
    items = catalogue.item_ids
    words = sorted({word for title in catalogue.titles for word in re.findall(r"[A-Za-z]{3,}", title)})
    genres = sorted({genre for row in catalogue.genres for genre in row})
    user_path, post_path = "/api/v1/users/{user_id}/recommendations", "/api/v1/recommendations"
    drawn = [users[i] for i in random.integers(len(users), size=20_000)]
    some_items = [items[i] for i in random.integers(len(items), size=2_000)]
    stateless = [_ratings_body(random, items) for _ in range(2_000)]
    batches = [json.dumps({"user_ids": [drawn[(i + k) % 20_000] for k in range(100)]}).encode() for i in range(50)]
    unknown = recommendations_of(f"nobody-{i}" for i in range(_UNIQUE // 2))
    popular = [get(f"/api/v1/items/popular?n={n}") for n in (10, 20)] + [
        get(f"/api/v1/items/popular?n=10&genre={genre}") for genre in genres if genre.isalpha()
    ]
    return [
        Route("known user, seen before", "GET", user_path, recommendations_of(drawn), 0.65),
        Route("known user, new filter", "GET", user_path, _new_filters(random, users, items, genres), 0.40),
        Route("20 ratings in a POST", "POST", post_path, [post(post_path, body) for body in stateless], 0.20),
        Route("unknown user, new id", "GET", user_path, unknown),
        Route("similar items", "GET", "/api/v1/items/{item_id}/similar",
              [get(f"/api/v1/items/{item}/similar?n=10") for item in some_items]),
        Route("popular items", "GET", "/api/v1/items/popular", popular),
        Route("search by title", "GET", "/api/v1/items",
              [get(f"/api/v1/items?query={word}&limit=10") for word in words[:2_000]]),
        Route("one item", "GET", "/api/v1/items/{item_id}", [get(f"/api/v1/items/{item}") for item in some_items]),
        Route("batch of 100 users", "POST", f"{post_path}/batch", [post(f"{post_path}/batch", b) for b in batches],
              connections=4),
    ]  # fmt: skip


def _ratings_body(random: np.random.Generator, items: tuple[str, ...]) -> bytes:
    chosen = random.choice(min(500, len(items)), size=20, replace=False)
    ratings = [{"item_id": items[i], "rating": int(random.integers(1, 6)), "timestamp": 880_000_000 + int(i)}
               for i in chosen]  # fmt: skip
    return json.dumps({"ratings": ratings, "n": 10}).encode()


def _new_filters(
    random: np.random.Generator, users: tuple[str, ...], items: tuple[str, ...], genres: list[str]
) -> list[bytes]:
    """No address twice: by turns a genre with years, three exclusions, and a genre with one exclusion."""
    names = [genre for genre in genres if genre.isalpha()]
    found: dict[str, None] = {}
    while len(found) < _UNIQUE:
        user = users[random.integers(len(users))]
        genre = names[random.integers(len(names))]
        one, two, three = (items[i] for i in random.integers(len(items), size=3))
        low = int(random.integers(1930, 1995))
        base = f"/api/v1/users/{user}/recommendations?n=10"
        found[f"{base}&genre={genre}&year_from={low}&year_to={low + int(random.integers(2, 40))}"] = None
        found[f"{base}&exclude={one},{two},{three}"] = None
        found[f"{base}&genre={genre}&exclude={one}"] = None
    return [get(path) for path in found]
