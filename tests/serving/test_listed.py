"""Answers from the lists of a version: to the byte those that are looked for, and only where they are right."""

from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from recsys.artifacts.servable import Servable
from recsys.datasets.events import Event, ItemChange
from recsys.feedback.live import LiveFeedback
from recsys.serving.amended import Amendments
from recsys.serving.served import ServedModel
from recsys.serving.viewers import Viewers
from recsys.training.top_lists import LENGTH
from recsys.web.inputs import parse_query
from recsys.web.kept import addressed, listed_answer, remaking, viewer_answer
from recsys.web.schemas import RecommendationQuery


def made(servable: Servable, *changes: ItemChange) -> ServedModel:
    return ServedModel(servable, amendments=Amendments(changes, 1), pause=lambda: None)


def gone(item_id: str) -> ItemChange:
    return ItemChange(item_id, "", None, (), None, None, withdrawn=True, sequence=1)


def query(asked: str) -> RecommendationQuery:
    return parse_query(RecommendationQuery, URL.build(query_string=asked))


def looked_for(model: ServedModel, viewers: Viewers, user_id: str, asked: str = "") -> bytes:
    viewer = viewers.find(model, user_id, 0)
    return addressed(user_id, viewer_answer(model, viewer, query(asked)))


def listed(model: ServedModel, user_id: str, asked: str = "") -> bytes | None:
    return listed_answer(model, user_id, query(asked))


@pytest.fixture(scope="module")
def model(served_servable: Servable) -> ServedModel:
    return made(served_servable)


@pytest.fixture(scope="module")
def viewers(tmp_path_factory: pytest.TempPathFactory) -> Viewers:
    return Viewers(LiveFeedback(Path(tmp_path_factory.mktemp("state"))))


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, LENGTH), number=st.integers(0, 10**6))
def test_are_those_that_are_looked_for(model: ServedModel, viewers: Viewers, n: int, number: int) -> None:
    users = list(model.user_index)
    user_id = users[number % len(users)]

    assert listed(model, user_id, f"n={n}") == looked_for(model, viewers, user_id, f"n={n}")


@pytest.mark.parametrize(
    "asked",
    [
        f"n={LENGTH + 1}",
        "genre=Drama",
        "year_from=1990",
        "year_to=1990",
        "exclude=1",
        "include_seen=true",
        "explain=true",
    ],
)
def test_are_not_for_other_questions(model: ServedModel, asked: str) -> None:
    assert listed(model, next(iter(model.user_index)), asked) is None


def test_are_not_for_somebody_unknown(model: ServedModel) -> None:
    assert listed(model, "nobody") is None


def test_leave_out_what_was_withdrawn(served_servable: Servable, model: ServedModel, viewers: Viewers) -> None:
    user_id = next(iter(model.user_index))
    best, _ = model.listed.best(user_id, LENGTH) or ([], [])
    changed = made(served_servable, *(gone(model.item_ids[item]) for item in best[:3]))

    found = changed.listed.best(user_id, LENGTH - 3)
    assert found is not None
    np.testing.assert_array_equal(best[3:], found[0])
    for n in (1, 10, LENGTH - 3):
        assert listed(changed, user_id, f"n={n}") == looked_for(changed, viewers, user_id, f"n={n}")
    assert listed(changed, user_id, f"n={LENGTH - 2}") is None


def test_are_not_used_where_new_films_can_be_recommended(served_servable: Servable) -> None:
    new = ItemChange("new", "New", 1990, ("Drama",), None, None, withdrawn=False, sequence=1)
    model = made(served_servable, new)

    assert [user_id for user_id in model.user_index if listed(model, user_id) is not None] == []


def test_other_words_are_in_them(served_servable: Servable, model: ServedModel, viewers: Viewers) -> None:
    user_id = next(iter(model.user_index))
    best, _ = model.listed.best(user_id, 1) or ([], [])
    item_id = model.item_ids[best[0]]
    changed = made(
        served_servable, ItemChange(item_id, "Other words", 1990, ("Drama",), None, None, withdrawn=False, sequence=1)
    )

    answer = listed(changed, user_id)
    assert answer == looked_for(changed, viewers, user_id)
    assert answer is not None
    assert b"Other words" in answer


class TestRemade:
    """As at a swap."""

    ADDRESS = "/api/v1/users/{}/recommendations?n=5"

    def test_answers_come_from_the_lists(self, served_servable: Servable, viewers: Viewers) -> None:
        model = made(served_servable)
        user_id = next(iter(model.user_index))
        address = self.ADDRESS.format(user_id)

        remade = remaking(viewers)(model, address)

        assert model.viewers.get(user_id) is None  # nobody looked
        assert remade == (address, looked_for(model, viewers, user_id, "n=5"))

    def test_answers_to_those_who_rated_since_are_looked_for(self, model: ServedModel, tmp_path: Path) -> None:
        feedback = LiveFeedback(tmp_path)
        user_id = next(iter(model.user_index))
        best, _ = model.listed.best(user_id, 1) or ([], [])
        item_id = model.item_ids[best[0]]
        feedback.overlay.apply([Event(user_id, item_id, 4.0, 1_600_000_000, sequence=7)])
        address = self.ADDRESS.format(user_id)

        remade = remaking(Viewers(feedback))(model, address)

        assert remade is not None
        assert remade[0] == (7, address)
        assert orjson.loads(remade[1])["items"][0]["item_id"] != item_id
