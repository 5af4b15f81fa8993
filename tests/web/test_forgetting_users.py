"""DELETE /api/v1/users/{user_id}: at once in every answer, in every version loaded later, and in no byte left."""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from feedback_calls import (
    ADMIN,
    TOKEN,
    about,
    counts_all,
    files_with,
    forget,
    kept,
    listed,
    rate,
    rating,
    ratings_of,
    recommended,
    retrain,
    take_back,
)
from http_exchange import exchange, problem_of, request_bytes
from service import ServerProcess, copy_version

from recsys.artifacts.servable import load_servable

pytest_plugins = ["http_server"]
Serve = Callable[..., ServerProcess]
ANN = "ann-2f1c77-of-the-hill"


def is_a_stranger(server: ServerProcess, user_id: str) -> bool:
    """Whether every answer is that to somebody whom nobody knows."""
    stranger = "somebody whom nobody knows"
    for query in ("", "?n=50&explain=true", "?genre=Drama", "?include_seen=true", "?year_from=1990&n=3"):
        if recommended(server, user_id, query) != recommended(server, stranger, query) | {"user_id": user_id}:
            return False
    body = {"user_ids": [user_id, stranger], "n": 20}
    mine, theirs = server.request("/api/v1/recommendations/batch", method="POST", body=body).json["results"]
    return mine == theirs | {"user_id": user_id} and ratings_of(server, user_id) == []


class TestAtOnce:
    def test_answers_know_nothing_of_a_user_of_the_files(self, club: ServerProcess) -> None:
        for query in ("", "?n=50&explain=true", "?genre=Drama"):  # are kept from here on
            assert recommended(club, "31", query)["strategy"] == "personalized"
        forget(club, "31")

        assert is_a_stranger(club, "31")
        assert recommended(club, "32")["strategy"] == "personalized"

    def test_answers_know_nothing_of_one_who_rated_here(self, club: ServerProcess) -> None:
        rate(club, *(rating("here", str(n)) for n in range(1, 30)))
        recommended(club, "here")
        forget(club, "here")

        assert is_a_stranger(club, "here")

    def test_of_both_kinds_at_once_and_of_nobody_too(self, club: ServerProcess) -> None:
        rate(club, *(rating("33", str(n)) for n in range(1, 30)))
        take_back(club, "33", "7")
        for user_id in ("33", "never seen before", "33"):
            forget(club, user_id)
            assert is_a_stranger(club, user_id)

    def test_a_rating_that_is_gone_cannot_be_taken_back(self, club: ServerProcess) -> None:
        rate(club, rating("both", "1"))
        forget(club, "both")

        problem_of(take_back(club, "both", "1"), 404, "unknown_rating")

    def test_what_was_being_worked_out_is_not_kept(self, club: ServerProcess) -> None:
        """Explanations and batches are made in a thread; a forgetting meets them there."""
        body = {"user_ids": [str(n) for n in range(100, 150)] * 6, "n": 20}
        with ThreadPoolExecutor(4) as pool:
            batches = [
                pool.submit(club.request, "/api/v1/recommendations/batch", method="POST", body=body) for _ in range(4)
            ]
            explained = [pool.submit(recommended, club, str(n), "?n=200&explain=true") for n in range(100, 104)]
            for n in range(100, 110):
                rate(club, rating(str(n), "1"), rating(str(n), "2"))
                forget(club, str(n))
            assert [found.result().status for found in batches] == [200] * 4
            assert len([found.result() for found in explained]) == 4

        assert all(is_a_stranger(club, str(n)) for n in range(100, 110))

    @pytest.mark.parametrize("user_id", ["a/b", "%", "日本", "\x00", "{x}", "x" * 256, ".."], ids=ascii)
    def test_whatever_the_id(self, club: ServerProcess, user_id: str) -> None:
        rate(club, rating(user_id, "1"))
        forget(club, user_id)

        assert ratings_of(club, user_id) == []

    @pytest.mark.parametrize(
        ("path", "status"),
        [(b"/api/v1/users/%FF", 400), (about("x" * 257).encode(), 400), (b"/api/v1/users/1?a=b", 400)],
    )
    def test_what_is_no_id_is_refused(self, club: ServerProcess, path: bytes, status: int) -> None:
        forget(club, "anybody")  # from here on, ids are hashed

        problem_of(exchange(club, request_bytes("DELETE", path)), 400, "invalid_input")
        for raw in (b"/api/v1/users/%FF/recommendations", b"/api/v1/users/%ED%A0%80/ratings"):
            assert problem_of(exchange(club, request_bytes("GET", raw)), 400) == ["path.user_id"]


class TestComingBack:
    def test_counts_only_what_comes_after(self, club: ServerProcess) -> None:
        rate(club, rating("41", "1", event_id="first time"))
        forget(club, "41")
        assert kept(rate(club, rating("41", "2", event_id="first time"), rating("41", "3", 1))) == (200, 2, 0)

        assert listed(club, "41") == {"2": 5, "3": 1}
        assert recommended(club, "41")["strategy"] == "blended"
        assert counts_all(club, "41")

        forget(club, "41")
        assert is_a_stranger(club, "41")

    def test_while_another_request_forgets_leaves_what_was_said_after_it(self, club: ServerProcess) -> None:
        """Every acknowledged rating is either older than a forgetting, and gone, or newer, and there."""
        stop = threading.Event()

        def keep_rating() -> None:
            while not stop.is_set():
                rate(club, *(rating("restless", str(n)) for n in range(1, 6)))

        writer = threading.Thread(target=keep_rating)
        writer.start()
        for _ in range(20):
            forget(club, "restless")
        stop.set()
        writer.join()
        assert set(listed(club, "restless")) in (set(), {"1", "2", "3", "4", "5"})

        forget(club, "restless")
        rate(club, rating("restless", "9"))
        assert listed(club, "restless") == {"9": 5}


class TestLater:
    @pytest.fixture
    def start(self, serve: Serve, store_with: Callable[..., object]) -> Callable[[], ServerProcess]:
        store_with("v1.0.0")
        return lambda: serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})

    def test_versions_with_the_history_in_them_are_silenced(
        self, start: Callable[[], ServerProcess], trained_sample: Path, tmp_path: Path
    ) -> None:
        first = start()
        forget(first, "1")
        rate(first, rating("2", "1"))
        forget(first, "2")
        rate(first, rating("2", "5", 4))
        copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.1")
        first.wait_version("v1.0.1")
        assert is_a_stranger(first, "1")
        assert (listed(first, "2"), counts_all(first, "2")) == ({"5": 4}, True)
        assert first.stop() == 0

        second = start()
        assert is_a_stranger(second, "1")
        assert (listed(second, "2"), counts_all(second, "2")) == ({"5": 4}, True)
        assert second.request("/admin/rollback", method="POST", headers=ADMIN).status == 200
        second.wait_version("v1.0.0")
        assert is_a_stranger(second, "1")
        assert (listed(second, "2"), counts_all(second, "2")) == ({"5": 4}, True)

    def test_the_next_model_knows_only_who_came_back(self, start: Callable[[], ServerProcess], tmp_path: Path) -> None:
        server = start()
        rate(server, *(rating("new", str(n)) for n in range(1, 9)))
        for user_id in ("1", "2", "new"):
            forget(server, user_id)
        rate(server, rating("2", "5", 4, timestamp=1000))
        version = retrain(server)

        trained = load_servable(tmp_path / "models" / version, pause=lambda: None)
        assert {"1", "new"} & set(trained.user_index) == set()
        ratings = trained.ratings(trained.user_index["2"])
        assert (ratings.values.tolist(), ratings.timestamps.tolist()) == ([4], [1000])
        assert (listed(server, "2"), counts_all(server, "2")) == ({"5": 4}, True)
        assert is_a_stranger(server, "1")
        server.request("/admin/rollback", method="POST", headers=ADMIN)
        server.wait_version("v1.0.0")
        assert (listed(server, "2"), counts_all(server, "2")) == ({"5": 4}, True)
        assert is_a_stranger(server, "1")


class TestTraces:
    @pytest.fixture
    def server(self, serve: Serve, store_with: Callable[..., object]) -> ServerProcess:
        store_with("v1.0.0")
        return serve(
            environ={
                "RECSYS_ADMIN__TOKEN": TOKEN,
                "RECSYS_LOG__LEVEL": "DEBUG",
                "RECSYS_LOG__ACCESS": "true",
                "RECSYS_FEEDBACK__RECOMMENDATION_IDS": "true",
            }
        )

    def test_no_byte_of_the_id_is_left_in_the_state_or_the_log(self, server: ServerProcess, tmp_path: Path) -> None:
        def live() -> None:
            for n in range(1, 200):
                event_id = f"{ANN} {n}"[:128]
                rate(server, rating(ANN, str(n), 3, event_id=event_id), rating(f"other {n % 9}", str(n)))
            take_back(server, ANN, "5")
            shown = recommended(server, ANN)
            events = [{"recommendation_id": shown["recommendation_id"], "type": "impression", "item_id": "1"}]
            assert server.request("/api/v1/events", method="POST", body={"events": events}).status == 200

        live()
        assert files_with(tmp_path / "state", ANN)
        forget(server, ANN)
        assert files_with(tmp_path / "state", ANN) == []

        live()
        retrain(server)
        forget(server, ANN)
        assert ratings_of(server, ANN) == []
        for bad in (
            rate(server, rating(ANN, "none")),
            take_back(server, ANN, "1"),
            server.request(about(ANN, "/none")),
        ):
            assert bad.status in (400, 404)
        assert files_with(tmp_path / "state", ANN) == []
        assert server.stop() == 0
        assert files_with(tmp_path / "state", ANN) == []
        assert len(server.log) > 400
        assert [line for line in server.log if ANN in line] == []

    @pytest.fixture
    def damaged(self, serve: Serve, store_with: Callable[..., object], tmp_path: Path) -> ServerProcess:
        """One whose database went bad while it ran."""
        store_with("v1.0.0")
        server = serve()
        rate(server, rating("bob", "1"))
        path = tmp_path / "state" / "feedback.sqlite"
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        return server

    def test_a_failure_is_logged_without_the_id(self, damaged: ServerProcess) -> None:
        answers = [
            damaged.request(about(ANN), method="DELETE"),
            rate(damaged, rating(ANN, "1")),
            take_back(damaged, "bob", "1"),
        ]

        assert all(answer.status in (500, 503) for answer in answers), answers
        assert any("kept" in line or "failed" in line for line in damaged.log)
        assert [line for line in damaged.log if ANN in line or "bob" in line] == []

    def test_is_finished_also_while_ratings_never_cease(self, server: ServerProcess, tmp_path: Path) -> None:
        """While a training reads its snapshot the log cannot be emptied; it is done as soon as it can be."""
        rate(server, rating(ANN, "1"))
        with closing(sqlite3.connect(tmp_path / "state" / "feedback.sqlite", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchone()
            forget(server, ANN)
        assert ratings_of(server, ANN) == []

        def gone() -> bool:
            rate(server, rating("ceaseless", "1"))
            return files_with(tmp_path / "state", ANN) == []

        server.wait_for(gone, "gone from the log", 10)
