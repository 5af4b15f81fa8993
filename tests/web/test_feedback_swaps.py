"""Ratings before, during and after a training: each is there once whichever version answers, and none is lost."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feedback_calls import (
    ADMIN,
    TOKEN,
    counts_all,
    kept,
    listed,
    put_item,
    rate,
    rating,
    ratings_of,
    recommended,
    retrain,
    take_back,
    wait_trained,
)
from service import ServerProcess

from recsys.artifacts.servable import load_servable
from recsys.datasets.ratings import Dataset

pytest_plugins = ["http_server"]
Serve = Callable[..., ServerProcess]
USERS = ("1", "2", "new-1", "new-2")


@pytest.fixture
def server(serve: Serve, store_with: Callable[..., object]) -> ServerProcess:
    store_with("v1.0.0")
    return serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})


class Raters(threading.Thread):
    """Clients that rate film after film, one request each, and keep account of what was acknowledged."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__()
        self.server = server
        self.acknowledged: dict[str, dict[str, float]] = {user_id: {} for user_id in USERS}
        self._stop_asked = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stop_asked.wait(0.01) and number < 4 * 900:  # or a slow training would outlast the films
            user_id, item, value = USERS[number % 4], str(number // 4 % 900 + 1), number % 10 / 2 + 0.5
            if rate(self.server, rating(user_id, item, value)).status == 200:
                self.acknowledged[user_id][item] = value
            number += 1

    def end(self) -> None:
        self._stop_asked.set()
        self.join()


def manifest(directory: Path, version: str) -> Any:
    return json.loads((directory / "models" / version / "manifest.json").read_text())


def roll_back(server: ServerProcess, version: str) -> None:
    assert server.request("/admin/rollback", method="POST", headers=ADMIN).status == 200
    server.wait_version(version)


def test_ratings_that_came_before_while_and_after_a_training_count_once(
    server: ServerProcess, sample_data: Dataset, tmp_path: Path
) -> None:
    before = {user_id: listed(server, user_id) for user_id in USERS}
    raters = Raters(server)
    raters.start()
    server.wait_for(lambda: all(len(given) > 5 for given in raters.acknowledged.values()), "rated", 20)
    version = retrain(server)
    at_swap = sum(len(given) for given in raters.acknowledged.values())
    server.wait_for(lambda: sum(map(len, raters.acknowledged.values())) > at_swap + 20, "rated after the swap", 20)
    raters.end()

    expected = {user_id: before[user_id] | given for user_id, given in raters.acknowledged.items()}
    assert expected == {user_id: listed(server, user_id) for user_id in USERS}
    assert all(counts_all(server, user_id) for user_id in USERS)
    cutoff = manifest(tmp_path, version)["data"]["feedback_cutoff"]
    assert 20 < cutoff["sequence"] < sum(len(given) for given in raters.acknowledged.values())
    assert server.request("/health").json["feedback"]["ratings"] == sum(map(len, raters.acknowledged.values()))

    trained = load_servable(tmp_path / "models" / version, pause=lambda: None)
    learned = {user_id: trained.ratings(trained.user_index[user_id]).items.size for user_id in USERS}
    assert all(0 < n <= len(expected[user_id]) for user_id, n in learned.items())
    assert sum(learned.values()) < sum(len(ratings) for ratings in expected.values())  # some came after the snapshot
    assert manifest(tmp_path, version)["data"]["ratings"] >= sample_data.n_ratings

    answers = {user_id: recommended(server, user_id) for user_id in USERS}
    roll_back(server, "v1.0.0")
    assert expected == {user_id: listed(server, user_id) for user_id in USERS}
    assert all(counts_all(server, user_id) for user_id in USERS)
    assert server.request("/admin/pin", method="DELETE", headers=ADMIN).status == 200
    server.wait_version(version)
    assert answers == {user_id: recommended(server, user_id) for user_id in USERS}


def test_the_manifest_says_what_was_learned(server: ServerProcess, sample_data: Dataset, tmp_path: Path) -> None:
    rated = [row["item_id"] for row in ratings_of(server, "1")]
    new = next(str(n) for n in range(1, 900) if str(n) not in rated)
    rate(server, rating("1", rated[0], 0.5), rating("1", new, 5, timestamp=1_600_000_000), rating("newcomer", "7", 4))
    take_back(server, "1", rated[1])
    put_item(server, "a-new-film", genres=["Drama"])
    rate(server, rating("newcomer", "a-new-film", 3))

    version = retrain(server)
    data = manifest(tmp_path, version)["data"]
    assert data["feedback_cutoff"]["sequence"] == 6  # four ratings, one taken back, one film
    assert len(data["feedback_cutoff"]["store_id"]) == 32
    counts = (data["ratings"] - sample_data.n_ratings, data["users"], data["items"])
    assert counts == (2, sample_data.n_users + 1, sample_data.n_items + 1)
    first = manifest(tmp_path, "v1.0.0")["data"]
    assert (first["feedback_cutoff"], first["fingerprint"] == data["fingerprint"]) == (None, False)

    trained = load_servable(tmp_path / "models" / version, pause=lambda: None)
    ids = trained.contents.catalogue.item_ids
    ratings = trained.ratings(trained.user_index["1"])
    learned = dict(zip([ids[item] for item in ratings.items.tolist()], ratings.values.tolist(), strict=True))
    assert learned == listed(server, "1")
    assert (learned[rated[0]], learned[new], rated[1] in learned) == (0.5, 5, False)
    assert listed(server, "newcomer") == {"7": 4, "a-new-film": 3}


def test_what_was_learned_can_be_taken_back_and_changed(server: ServerProcess) -> None:
    rate(server, *(rating("fickle", str(n)) for n in range(1, 9)))
    assert retrain(server) == "v1.0.1"
    assert counts_all(server, "fickle")
    take_back(server, "fickle", "3")
    rate(server, rating("fickle", "4", 0.5), rating("fickle", "5", 1, timestamp=1))

    expected = {str(n): 5.0 for n in range(1, 9) if n != 3} | {"4": 0.5}
    assert expected == listed(server, "fickle")
    assert {row["source"] for row in ratings_of(server, "fickle")} == {"api"}
    assert counts_all(server, "fickle")
    roll_back(server, "v1.0.0")
    assert expected == listed(server, "fickle")
    assert counts_all(server, "fickle")


def test_unchanged_ratings_give_the_same_list_by_either_version(server: ServerProcess) -> None:
    """The same digest but for the cutoff: nothing was learned twice."""
    rate(server, *(rating("steady", str(n)) for n in range(1, 9)))
    first, second = retrain(server), retrain(server)
    answer = recommended(server, "steady")
    roll_back(server, first)

    assert second == answer["model_version"]
    assert answer | {"model_version": first} == recommended(server, "steady")


def test_a_version_trained_beside_another_store_counts_all_ratings_of_this_one(
    server: ServerProcess, serve: Serve, tmp_path: Path
) -> None:
    for n in range(1, 9):
        assert kept(rate(server, rating("ann", str(n), 4))) == (200, 1, 0)
    retrain(server)
    assert server.stop() == 0
    (tmp_path / "state").rename(tmp_path / "state-of-before")

    other = serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})
    assert other.request("/health").json["model_version"] == "v1.0.1"
    rate(other, rating("ann", "9", 5), rating("bob", "9", 5))
    assert listed(other, "ann") == {str(n): 4 for n in range(1, 9)} | {"9": 5}
    assert listed(other, "bob") == {"9": 5}
    assert all(counts_all(other, user_id) for user_id in ("ann", "bob"))


def test_a_second_ask_while_ratings_come_in_is_the_same_run(server: ServerProcess) -> None:
    raters = Raters(server)
    raters.start()
    jobs = [server.request("/admin/retrain", method="POST", headers=ADMIN).json["job_id"] for _ in range(3)]
    wait_trained(server, jobs[0])
    raters.end()

    assert len(set(jobs)) == 1
    assert raters.acknowledged["new-1"] == listed(server, "new-1")
