"""GET /api/v1/items/trending: likes that came in, fading with their age."""

import time
from collections.abc import Callable

import pytest
from feedback_calls import forget, kept, put_item, rate, rating, take_back, withdraw_item
from http_exchange import ids, problem_of
from service import ServerProcess

pytest_plugins = ["http_server"]
Serve = Callable[..., ServerProcess]
PATH = "/api/v1/items/trending"
DAY_S = 86_400


def days_ago(days: float) -> int:
    return int(time.time() - days * DAY_S)


def trends(server: ServerProcess, query: str = "n=500") -> dict[str, float]:
    answer = server.request(f"{PATH}?{query}")
    assert answer.status == 200, answer.body
    items = answer.json["items"]
    scores = [item["score"] for item in items]
    assert answer.json["total"] == len(items)
    assert sorted(scores, reverse=True) == scores
    return {item["item_id"]: item["score"] for item in items}


def test_without_a_rating_is_empty(serve: Serve, store_with: Callable[..., object]) -> None:
    store_with("v1.0.0")
    server = serve()
    answer = server.request(PATH)

    assert (answer.status, answer.json) == (200, {"items": [], "total": 0})
    assert answer.headers["X-Model-Version"] == "v1.0.0"
    assert kept(rate(server, rating("first", "1"))) == (200, 1, 0)
    assert list(trends(server)) == ["1"]


def test_a_like_counts_at_once_for_one(club: ServerProcess) -> None:
    rate(club, rating("ann", "10", 4))

    (item,) = [item for item in club.request(f"{PATH}?n=500").json["items"] if item["item_id"] == "10"]
    assert {"item_id", "title", "year", "genres", "score"} == set(item)
    assert item["score"] == pytest.approx(1, abs=1e-3)


def test_likes_add_up_and_each_user_counts_once(club: ServerProcess) -> None:
    rate(club, *(rating(user, "11", value) for user in ("ann", "bob", "cat", "ann") for value in (4.5, 5)))

    assert trends(club)["11"] == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize(
    ("days", "age", "expected"), [(7, 3.5, 0.25), (8, 2, 0.5), (30, 7.5, 0.5), (1, 0.5, 0.25), (90, 22.5, 0.5)]
)
def test_a_like_fades_by_half_in_a_quarter_of_the_days(
    club: ServerProcess, days: int, age: float, expected: float
) -> None:
    rate(club, rating(f"fading {days} {age}", str(100 + days), timestamp=days_ago(age)))

    assert trends(club, f"n=500&days={days}")[str(100 + days)] == pytest.approx(expected, rel=2e-3)


def test_only_the_days_asked_for_count(club: ServerProcess) -> None:
    rate(club, rating("ann", "12", timestamp=days_ago(10)))

    assert "12" not in trends(club)
    assert "12" not in trends(club, "n=500&days=9")
    assert trends(club, "n=500&days=11")["12"] > 0.05


def test_what_was_rated_badly_or_taken_back_or_changed_does_not_count(club: ServerProcess) -> None:
    rate(club, rating("ann", "13", 3.5), rating("ann", "14", 5), rating("ann", "15", 5), rating("ann", "16", 1))
    assert {"14", "15"} <= set(trends(club))
    assert {"13", "16"} & set(trends(club)) == set()
    take_back(club, "ann", "14")
    rate(club, rating("ann", "15", 1), rating("ann", "16", 4))

    assert {"13", "14", "15", "16"} & set(trends(club)) == {"16"}


def test_of_a_forgotten_user_nothing_counts(club: ServerProcess) -> None:
    rate(club, rating("gone", "17"), rating("ann", "18"), rating("gone", "18"))
    forget(club, "gone")

    found = trends(club)
    assert "17" not in found
    assert found["18"] == pytest.approx(1, abs=1e-3)


def test_a_new_film_trends_until_it_is_withdrawn(club: ServerProcess) -> None:
    put_item(club, "fresh", genres=["Documentary"])
    rate(club, rating("ann", "fresh"), rating("ann", "19"))
    assert {"fresh", "19"} <= set(trends(club))
    withdraw_item(club, "fresh")
    withdraw_item(club, "19")

    assert {"fresh", "19"} & set(trends(club)) == set()


def test_genres_choose_and_n_cuts(club: ServerProcess) -> None:
    put_item(club, "western", genres=["Western"])
    put_item(club, "opera", genres=["Opera", "Western"])
    rate(club, rating("ann", "western"), rating("ann", "opera"), rating("bob", "opera"))

    assert ids(club.request(f"{PATH}?genre=opera&genre=nothing")) == ["opera"]
    assert ids(club.request(f"{PATH}?genre=opera&genre=western&n=1")) == ["opera"]
    assert ids(club.request(f"{PATH}?genre=nothing")) == []
    assert len(trends(club, "n=2")) == 2


@pytest.mark.parametrize(
    ("query", "where"),
    [
        *((f"days={bad}", "query.days") for bad in ("0", "91", "-1", "1.5", "week", "")),
        *((f"n={bad}", "query.n") for bad in ("0", "501", "all")),
        ("day=7", "query.day"), ("days=7&days=8", "query.days"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_named(club: ServerProcess, query: str, where: str) -> None:
    assert problem_of(club.request(f"{PATH}?{query}"), 400, "invalid_input") == [where]


def test_is_no_film_of_that_name(club: ServerProcess) -> None:
    problem_of(club.request("/api/v1/items/trending/similar"), 404, "unknown_item")
