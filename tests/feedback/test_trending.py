"""What trends: the formula as a table, and against a plain loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.datasets.events import Event, Events
from recsys.datasets.ratings import RatingScale
from recsys.feedback.overlay import Overlay, user_hash
from recsys.feedback.trending import trending

DAY = 86_400
NOW = 20_000 * DAY
STARS = RatingScale(1, 5, 1)

#: Who rated what, how (None: taken back), how many days ago; in order of arrival.
Given = tuple[str, str, float | None, float]


def overlay_of(*given: Given) -> Overlay:
    overlay = Overlay(Events.of(()), store_id="", key=b"key")
    overlay.apply(
        [Event(u, i, v, NOW - int(age * DAY), number) for number, (u, i, v, age) in enumerate(given, start=1)]
    )
    return overlay


def scores(*given: Given, days: float = 8, scale: RatingScale = STARS) -> dict[str, float]:
    return trending(overlay_of(*given), scale, now=NOW, days=days)


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, 1.0), (2, 0.5), (4, 0.25), (8, 1 / 16), (8.1, None), (-1, 1.0)],
    ids=["now", "a quarter of the window ago", "half", "at its edge", "before it", "by a clock ahead of ours"],
)
def test_a_like_halves_with_every_quarter_of_the_window(age: float, expected: float | None) -> None:
    assert ({} if expected is None else {"alien": pytest.approx(expected)}) == scores(("ann", "alien", 5.0, age))


@pytest.mark.parametrize(
    ("value", "scale", "counts"),
    [
        (5.0, STARS, True),
        (4.0, STARS, True),
        (3.0, STARS, False),
        (8.0, RatingScale(1, 10, 1), True),
        (7.0, RatingScale(1, 10, 1), False),
        (1.0, RatingScale(1, 1, 1), True),
    ],
)
def test_only_a_like_counts_on_any_scale(value: float, scale: RatingScale, counts: bool) -> None:
    assert counts == ("alien" in scores(("ann", "alien", value, 0), scale=scale))


def test_likes_of_different_people_add_up_and_the_best_comes_first() -> None:
    found = scores(
        ("ann", "alien", 5.0, 0), ("ann", "brazil", 5.0, 2), ("bob", "brazil", 4.0, 2), ("cat", "brazil", 4.0, 4)
    )

    assert list(found.items()) == [("brazil", 1.25), ("alien", 1.0)]


def test_ties_are_in_order_of_first_arrival() -> None:
    assert list(scores(("ann", "b", 5.0, 1), ("ann", "c", 5.0, 1), ("ann", "a", 5.0, 1))) == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(5.0, 4), (5.0, 2), (5.0, 0)], 1.0),
        ([(5.0, 2), (1.0, 0)], None),
        ([(1.0, 0), (5.0, 2)], None),
        ([(5.0, 2), (5.0, 30)], 0.5),
        ([(5.0, 2), (None, 0)], None),
        ([(5.0, 2), (None, 30)], None),
        ([(1.0, 0), (None, 30), (5.0, 2)], 0.5),
    ],
    ids=[
        "rated three times",
        "liked no longer",
        "liked before, as we hear late",
        "rated long ago, as we hear late",
        "taken back",
        "taken back, whatever its time",
        "rated anew",
    ],
)
def test_somebody_counts_once_for_a_film_by_the_rating_that_stands(
    given: list[tuple[float | None, float]], expected: float | None
) -> None:
    found = scores(*(("ann", "alien", value, age) for value, age in given))

    assert ({} if expected is None else {"alien": pytest.approx(expected)}) == found


def test_nothing_trends_without_feedback() -> None:
    assert scores() == {}


def test_who_is_forgotten_no_longer_counts() -> None:
    overlay = overlay_of(("ann", "alien", 5.0, 0), ("bob", "brazil", 5.0, 0))

    overlay.forget("ann", user_hash(b"key", "ann"), 3)

    assert trending(overlay, STARS, now=NOW, days=8) == {"brazil": 1.0}


_given = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cat"]),
        st.sampled_from(["a", "b", "c"]),
        st.none() | st.integers(1, 5).map(float),
        st.integers(0, 12).map(float),
    ),
    max_size=40,
)


@given(_given)
def test_scores_are_those_of_a_plain_loop(given: list[Given]) -> None:
    live: dict[tuple[str, str], tuple[float, float]] = {}
    for user, item, value, age in given:
        if value is None:
            live.pop((user, item), None)
        elif (user, item) not in live or age <= live[user, item][0]:
            live[user, item] = (age, value)
    expected: dict[str, float] = {}
    for (_, item), (age, value) in live.items():
        if value >= 4 and age <= 8:
            expected[item] = expected.get(item, 0) + 0.5 ** (age / 2)

    assert pytest.approx(expected) == scores(*given)
