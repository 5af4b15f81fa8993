"""The sample data set: invented films and people with tastes, so that a newcomer sees good answers at once.

Owns how it is drawn; `sample_files` writes it. One seed gives the same bytes everywhere:
randomness is the raw output of PCG64, which numpy promises never to change, and floats meet only + − × ÷ √ and
comparisons, element by element, which IEEE 754 rounds alike on every machine. So it must not use a numpy
Generator, nor sum or multiply matrices of floats, nor call functions such as `np.exp`: their last bits differ.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import Catalogue, Dataset, Int64, ReadReport
from recsys.datasets.sample_titles import LISTING

Float64 = NDArray[np.float64]

SEED = 1932
N_USERS, N_ITEMS = 600, 1000
FEWEST_RATINGS, MOST_RATINGS = 12, 300
NEWEST_YEAR = 2025
DAY_S = 86_400
#: Ratings are given from 2016-01-01 to 2025-12-31, in unix seconds.
FIRST_S, LAST_S = 1_451_606_400, 1_767_139_200
#: The film of this rank is 2^-1.5 times as popular as the first: the larger, the flatter the head.
HEAD = 60.0
#: How much taste counts against popularity in what people watch; at 0 only popularity is there to be learned.
PULL = 3.4


class _Draws:
    """Random numbers with a stream that is ours: uniform ones from raw bits, all others from the uniform."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def uniform(self, *shape: int) -> Float64:
        raw = self._bits.random_raw(math.prod(shape))
        return np.asarray((raw >> np.uint64(11)) * 2.0**-53, np.float64).reshape(shape)

    def normal(self, *shape: int) -> Float64:
        """Mean 0, variance 1, never beyond ±3.5: the sum of four uniform ones."""
        a, b, c, d = self.uniform(4, *shape)
        return np.asarray((a + b + c + d - 2.0) * math.sqrt(3.0), np.float64)

    def order(self, n: int) -> Int64:
        return np.argsort(self.uniform(n), kind="stable")


def _exp(x: Float64) -> Float64:
    """About eˣ (smaller by a share of x²/2048), with multiplication only: (1 + x/1024)¹⁰²⁴."""
    power = 1.0 + x / 1024.0
    for _ in range(10):
        power = power * power
    return power


class _Circle(NamedTuple):
    """Films for one taste: `genres` all of them have, `extras` some have, made from `first` to `last`."""

    genres: tuple[str, ...]
    extras: tuple[str, ...]
    first: int
    last: int
    titles: tuple[str, ...]


class _Film(NamedTuple):
    title: str
    year: int
    genres: tuple[str, ...]
    circle: int
    appeal: float
    quality: float


def _circles() -> list[_Circle]:
    circles = []
    for block in LISTING.removeprefix("# ").split("\n# "):
        header, *lines = block.splitlines()
        genres, extras, years = header.partition(": ")[2].split("; ")
        first, last = years.split("-")
        some = () if extras == "-" else tuple(extras.split(", "))
        titles = tuple(title for line in lines for title in line.split(" / "))
        circles.append(_Circle(tuple(genres.split(", ")), some, int(first), int(last), titles))
    return circles


def _originals(draws: _Draws, circles: list[_Circle]) -> list[_Film]:
    n = sum(len(circle.titles) for circle in circles)
    rank, quality = draws.order(n).tolist(), draws.normal(n).tolist()
    age, other_age, has_extra = draws.uniform(n).tolist(), draws.uniform(n).tolist(), draws.uniform(n, 4)
    films: list[_Film] = []
    for number, circle in enumerate(circles):
        for title in circle.titles:
            j = len(films)
            # a genre that lives has more films of late; one that had its day, around the middle
            lives = circle.last == NEWEST_YEAR
            back = age[j] * math.sqrt(math.sqrt(age[j])) if lives else (age[j] + other_age[j]) / 2
            year = circle.last - int(back * (circle.last - circle.first + 1))
            extras = [genre for genre, u in zip(circle.extras, has_extra[j], strict=False) if u < 0.4]
            genres = tuple(sorted([*circle.genres, *extras][:3]))
            share = HEAD / (HEAD + rank[j])
            appeal = share * math.sqrt(share)
            films.append(_Film(title, year, genres, number, appeal, 0.35 * quality[j] + 0.35 * appeal))
    return films


def _follow_ups(draws: _Draws, originals: list[_Film], n: int) -> list[_Film]:
    """Sequels and remakes of films people know: for the same circle, and less of a success."""
    known = sorted(originals, key=lambda film: -film.appeal)[: 4 * n]
    found: list[_Film] = []
    for j, wait in zip(draws.order(4 * n), draws.uniform(4 * n).tolist(), strict=True):
        film, is_remake = known[j], len(found) % 2 == 1
        year = film.year + int(18 + 30 * wait if is_remake else 2 + 4 * wait)
        if len(found) < n and year <= NEWEST_YEAR and "Documentary" not in film.genres:
            title = film.title if is_remake else f"{film.title} II"
            appeal, quality = film.appeal / 2, film.quality - 0.4
            found.append(film._replace(title=title, year=year, appeal=appeal, quality=quality))
    return found


def _visits(draws: _Draws) -> tuple[Int64, Int64]:
    """How many ratings each user gives (int64 [n_users]) and when (int64 [n_ratings], by user, increasing):
    sittings of a dozen ratings some seconds apart, with days or weeks between them.
    """
    counts = np.floor(48.0 * _exp(0.85 * draws.normal(N_USERS))).astype(np.int64)
    counts = np.clip(counts, FEWEST_RATINGS, MOST_RATINGS)
    n, first = int(counts.sum()), np.cumsum(counts) - counts
    wait = draws.uniform(n)
    pause_s, moment_s = DAY_S / 4 + 60.0 * DAY_S * wait * wait * wait, 6.0 + 90.0 * wait * wait
    gaps_s = np.where(draws.uniform(n) < 1 / 12, pause_s, moment_s).astype(np.int64)
    since_s = np.cumsum(gaps_s)
    since_s -= np.repeat(since_s[first], counts)
    room_s = (LAST_S - FIRST_S) - since_s[first + counts - 1]
    came_s = FIRST_S + (draws.uniform(N_USERS) * room_s).astype(np.int64)
    return counts, np.repeat(came_s, counts) + since_s


def _tastes(draws: _Draws, films: list[_Film], circles: list[_Circle]) -> tuple[Float64, Float64]:
    """How much each user is drawn to each film, at first and at last: float64 [n_users, n_items] each.

    A user loves three circles: one that fades, one that lasts, one that grows. Each brings a companion of
    other genres, the same for everybody, and some patience for circles of its genres. Many are fond of an era.
    """
    pools = [(circle.genres, circle.extras) for circle in circles]
    kin = np.array([[1.0 if a is b else 0.2 if a == b else 0.0 for b in pools] for a in pools])
    companion = (np.arange(len(circles)) + 11) % len(circles)
    drawn_to = (kin + 0.7 * kin[companion])[:, [film.circle for film in films]]
    loves = np.argsort(draws.uniform(N_USERS, len(circles)), axis=1, kind="stable")
    fading, lasting, growing = (drawn_to[loves[:, i]] for i in range(3))

    era = 1935.0 + 90.0 * draws.uniform(N_USERS, 1)
    fondness = 0.8 * draws.uniform(N_USERS, 1)
    away = np.abs(np.array([float(film.year) for film in films]) - era) / 25.0
    always = 0.8 * lasting + fondness * np.maximum(0.0, 1.0 - away)
    return always + fading + 0.45 * growing, always + 0.45 * fading + growing


def make_sample(seed: int = SEED) -> Dataset:
    """Draw 600 users, 1,000 films and some 40,000 ratings on a half-star scale; rows are by user, then time.

    A user watches, of the films that were out on arrival and none twice, those with the smallest u/weight
    (order sampling, Rosén 1997) where weight = popularity × e^(PULL · taste), and sooner what is loved at
    first. A rating is quality + taste at that time + the user's mildness + noise. Cost: about 0.2 s.
    """
    draws, circles = _Draws(seed), _circles()
    originals = _originals(draws, circles)
    films = originals + _follow_ups(draws, originals, N_ITEMS - len(originals))
    films = [films[j] for j in draws.order(N_ITEMS)]
    counts, timestamps = _visits(draws)
    at_first, at_last = _tastes(draws, films, circles)
    first = np.cumsum(counts) - counts
    users = np.repeat(np.arange(N_USERS), counts)

    weight_first, weight_last = _exp(PULL * at_first), _exp(PULL * at_last)
    appeal = np.array([film.appeal for film in films])
    keys = draws.uniform(N_USERS, N_ITEMS) / (appeal * (weight_first + weight_last))
    came_year = timestamps[first].astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64) + 1970
    age = came_year[:, None] - np.array([film.year for film in films])
    keys = np.where(age < 0, np.inf, np.where(age < 2, keys / 4.0, keys))  # what is new gets talked about
    items = np.argsort(keys, axis=1, kind="stable")[np.arange(N_ITEMS) < counts[:, None]]

    lean = weight_last[users, items] / (weight_first[users, items] + weight_last[users, items])
    items = items[np.lexsort((lean + 1.2 * draws.uniform(items.size), users))]

    moved_on = (np.arange(items.size) - first[users]) / counts[users]
    taste = (1.0 - moved_on) * at_first[users, items] + moved_on * at_last[users, items]
    quality = np.array([film.quality for film in films])
    mildness = 0.35 * draws.normal(N_USERS)
    letdown = draws.uniform(items.size)
    stars = 3.6 + quality[items] + 0.75 * taste + mildness[users] - 2.6 * letdown * letdown * letdown * letdown
    stars = stars + 0.5 * draws.normal(items.size)
    # half of the people never give halves
    steps_per_star = np.where(draws.uniform(N_USERS) < 0.5, 1.0, 2.0)[users]
    values = np.clip(np.floor(stars * steps_per_star + 0.5) / steps_per_star, 0.5, 5.0)

    unknown = (None,) * N_ITEMS
    titles, years, genres = zip(*(film[:3] for film in films), strict=True)
    item_ids = tuple(str(item) for item in range(1, N_ITEMS + 1))
    return Dataset(
        tuple(str(user) for user in range(1, N_USERS + 1)),
        Catalogue(item_ids, titles, years, genres, unknown, unknown),
        users.astype(np.int32),
        items.astype(np.int32),
        values.astype(np.float32),
        timestamps,
        source="sample",
        report=ReadReport(layout="sample", rows=items.size),
    )
