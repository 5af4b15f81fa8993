"""POST /api/v1/ratings: a rating counts in the very next answer, all of a request are kept or none, and why not."""

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from feedback_calls import (
    RATINGS,
    TENTHS,
    about,
    counts_all,
    kept,
    listed,
    rate,
    rating,
    ratings_of,
    recommended,
    take_back,
    talking,
)
from http_exchange import ODD_IDS, connected, exchange, ids, problem_of, request_bytes, user_path
from service import ServerProcess, copy_version

from recsys.datasets.ratings import Dataset

pytest_plugins = ["http_server"]
Serve = Callable[..., ServerProcess]
DAY_S = 86_400
#: Nothing about these is special: but each is somebody's id somewhere.
STRANGE_IDS = (
    *ODD_IDS,
    "\x00",
    "a\x00b",
    "\t",
    " lead",
    "trail ",
    "\u2028",
    "e\u0301",
    "é",
    "🎬" * 256,
    "{x}",
    "null\n",
)


def now() -> int:
    return int(time.time())


class TestTheNextAnswer:
    @pytest.mark.parametrize("user_id", ["just-arrived", "1"])
    def test_on_the_same_connection_knows_the_rating(self, club: ServerProcess, user_id: str) -> None:
        with talking(club) as talk:
            for _ in range(12):
                answers = [talk.request(user_path(user_id)) for _ in range(2)]
                assert answers[0].body == answers[1].body
                best = ids(answers[0])[0]
                assert talk.request(RATINGS, method="POST", body={"ratings": [rating(user_id, best)]}).status == 200

                after = talk.request(user_path(user_id))
                assert best not in ids(after)
                assert answers[0].json["items"][1] != after.json["items"][0]  # not only left out: the scores moved
        assert counts_all(club, user_id)

    def test_knows_it_when_both_came_at_once(self, club: ServerProcess) -> None:
        """Pipelined: the second request is there before the first is answered."""
        body = json.dumps({"ratings": [rating("hasty", "1")]}).encode()
        post = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        with connected(club) as connection:
            get = request_bytes("GET", about("hasty", "/ratings"))
            connection.sendall(post % (RATINGS.encode(), len(body), body) + get)
            answers = connection.makefile("rb").read()

        assert answers.count(b"HTTP/1.1 200 OK") == 2
        assert answers.index(b'"accepted":1') < answers.index(b'"item_id":"1"')

    def test_of_a_user_with_500_new_ratings_counts_every_one(self, club: ServerProcess) -> None:
        dice, start = random.Random(3), now() - 10_000
        many = [rating("busy", str(n + 1), dice.randint(1, 10) / 2, timestamp=start + n) for n in range(500)]
        assert kept(rate(club, *many)) == (200, 500, 0)
        assert counts_all(club, "busy")

        assert kept(rate(club, rating("busy", "900"))) == (200, 1, 0)
        assert len(ratings_of(club, "busy")) == 501
        assert counts_all(club, "busy")

    def test_of_every_route_for_a_user_knows_it(self, club: ServerProcess) -> None:
        rate(club, *(rating("thorough", str(n)) for n in range(1, 8)))
        best = recommended(club, "thorough")["items"][0]["item_id"]
        rate(club, rating("thorough", best))

        batch = {"user_ids": ["thorough"], "n": 10}
        (found,) = club.request("/api/v1/recommendations/batch", method="POST", body=batch).json["results"]
        assert recommended(club, "thorough")["items"] == found["items"]
        for query in ("?genre=Drama&genre=Comedy", "?explain=true", "?year_from=1900", "?exclude=2", "?n=500"):
            assert best not in [item["item_id"] for item in recommended(club, "thorough", query)["items"]], query
        assert best in [item["item_id"] for item in recommended(club, "thorough", "?n=500&include_seen=true")["items"]]
        reasons = {
            reason["item_id"]
            for item in recommended(club, "thorough", "?explain=true")["items"]
            for reason in item["because"]
        }
        assert best in reasons

    @pytest.mark.parametrize(("n_ratings", "strategy"), [(1, "blended"), (4, "blended"), (5, "personalized")])
    def test_rests_on_as_much_as_is_known(self, club: ServerProcess, n_ratings: int, strategy: str) -> None:
        user_id = f"newcomer {n_ratings}"
        rate(club, *(rating(user_id, str(n + 1)) for n in range(n_ratings)))

        assert strategy == recommended(club, user_id)["strategy"]

    def test_knows_that_a_rating_was_changed(self, club: ServerProcess) -> None:
        rate(club, *(rating("moody", str(n)) for n in range(1, 7)))
        before = recommended(club, "moody")
        rate(club, rating("moody", "3", 0.5))

        assert before["items"] != recommended(club, "moody")["items"]
        assert listed(club, "moody")["3"] == 0.5
        assert counts_all(club, "moody")

    def test_knows_what_many_clients_sent_at_once(self, club: ServerProcess) -> None:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: kept(rate(club, rating("shared", str(n)))), range(1, 81)))

        assert answers == [(200, 1, 0)] * 80
        assert set(listed(club, "shared")) == {str(n) for n in range(1, 81)}
        assert counts_all(club, "shared")


class TestAllOrNothing:
    def test_one_bad_rating_of_many_keeps_all_out(self, club: ServerProcess) -> None:
        good = [rating("careful", str(n)) for n in range(1, 60)]
        answer = rate(club, *good[:40], rating("careful", "no such film"), *good[40:])

        assert problem_of(answer, 400, "invalid_input") == ["body.ratings[40].item_id"]
        assert "no such film" in answer.json["errors"][0]["problem"]
        assert ratings_of(club, "careful") == []

    def test_every_bad_rating_is_named_by_its_place(self, club: ServerProcess) -> None:
        answer = rate(
            club,
            rating("careful", "1"),
            rating("careful", "none", 4.25),
            rating("careful", "2", timestamp=now() + 2 * DAY_S),
            rating("careful", "3", 5.5),
        )

        expected = {f"body.ratings[{place}]" for place in ("1].item_id", "1].rating", "2].timestamp", "3].rating")}
        assert {name.replace("]]", "]").removesuffix("]") for name in expected} == set(problem_of(answer, 400))
        assert ratings_of(club, "careful") == []

    def test_a_thousand_bad_ones_make_no_endless_answer(self, club: ServerProcess) -> None:
        answer = rate(club, *(rating("careful", "x" * 256) for _ in range(1000)))

        assert 1 <= len(problem_of(answer, 400)) <= 50
        assert len(answer.body) < 30_000

    def test_a_taken_event_id_keeps_all_out(self, club: ServerProcess) -> None:
        rate(club, rating("other", "1", 5, event_id="all-or-nothing"))
        answer = rate(club, rating("careful", "1"), rating("careful", "2", event_id="all-or-nothing"))

        assert problem_of(answer, 409, "event_id_taken") == ["body.ratings[1].event_id"]
        assert ratings_of(club, "careful") == []
        assert kept(rate(club, rating("careful", "1"))) == (200, 1, 0)


class TestRefused:
    @pytest.mark.parametrize("value", [0, 0.25, 4.25, 5.5, 10, 4.999, 1e-9])
    def test_off_the_scale(self, club: ServerProcess, value: float) -> None:
        answer = rate(club, rating("bad", "1", value))

        assert problem_of(answer, 400, "invalid_input") == ["body.ratings[0].rating"]
        assert "0.5–5 in steps of 0.5" in answer.json["detail"]

    @pytest.mark.parametrize("value", [None, "5", True, -1, 1001, 1e308, [5], float("nan"), float("inf")])
    def test_what_is_no_rating(self, club: ServerProcess, value: Any) -> None:
        assert set(problem_of(rate(club, rating("bad", "1", value)), 400)) == {"body.ratings[0].rating"}

    def test_half_a_star_where_the_data_has_whole_ones(self, odd_server: ServerProcess) -> None:
        answer = rate(odd_server, rating("new here", "plain1", 4.5))

        assert problem_of(answer, 400) == ["body.ratings[0].rating"]
        assert "1–5 in steps of 1" in answer.json["detail"]
        assert kept(rate(odd_server, rating("new here", "plain1", 4))) == (200, 1, 0)

    def test_an_unknown_item_with_a_hint_how_it_becomes_known(self, club: ServerProcess) -> None:
        answer = rate(club, rating("bad", "001"))

        assert problem_of(answer, 400) == ["body.ratings[0].item_id"]
        assert "'001'" in answer.json["detail"]
        assert "PUT /api/v1/items" in answer.json["hint"]

    @pytest.mark.parametrize("name", ["user_id", "item_id"])
    @pytest.mark.parametrize("value", ["", "x" * 257, "🎬" * 257, None, 1, ["1"]])
    def test_what_is_no_id(self, club: ServerProcess, name: str, value: Any) -> None:
        assert problem_of(rate(club, rating("bad", "1") | {name: value}), 400) == [f"body.ratings[0].{name}"]

    @pytest.mark.parametrize("value", ["", "x" * 129, 5])
    def test_what_is_no_event_id(self, club: ServerProcess, value: Any) -> None:
        assert problem_of(rate(club, rating("bad", "1", event_id=value)), 400) == ["body.ratings[0].event_id"]

    @pytest.mark.parametrize("name", ["user_id", "item_id", "event_id"])
    def test_half_a_surrogate_pair(self, club: ServerProcess, name: str) -> None:
        body = json.dumps({"ratings": [rating("bad", "1") | {name: "\ud800"}]}).encode()

        assert problem_of(exchange(club, request_bytes("POST", RATINGS, body=body)), 400) == ["body"]

    @pytest.mark.parametrize(
        ("body", "where"),
        [
            ({}, "body.ratings"), ({"ratings": []}, "body.ratings"), ({"ratings": {}}, "body.ratings"), ([], "body"),
            ({"ratings": [1]}, "body.ratings[0]"),
            ({"ratings": [rating("a", "1") | {"stars": 5}]}, "body.ratings[0].stars"),
            ({"ratings": [rating("a", "1")], "source": "web"}, "body.source"),
        ],
    )  # fmt: skip
    def test_another_shape(self, club: ServerProcess, body: Any, where: str) -> None:
        assert where in problem_of(club.request(RATINGS, method="POST", body=body), 400, "invalid_input")

    def test_more_than_a_thousand_but_not_a_thousand(self, club: ServerProcess) -> None:
        many = [rating("hoarder", str(n % 1000 + 1), timestamp=1000 + n) for n in range(1001)]

        assert problem_of(rate(club, *many), 400) == ["body.ratings"]
        assert kept(rate(club, *many[:1000])) == (200, 1000, 0)
        assert len(listed(club, "hoarder")) == 1000

    def test_a_query(self, club: ServerProcess) -> None:
        answer = club.request(f"{RATINGS}?dry_run=true", method="POST", body={"ratings": [rating("bad", "1")]})

        assert problem_of(answer, 400) == ["query.dry_run"]

    def test_nothing_of_what_was_refused_is_kept(self, club: ServerProcess) -> None:
        assert ratings_of(club, "bad") == []


class TestTimes:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (1_577_836_800, "2020-01-01T00:00:00.000Z"), ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z"),
            ("2020-01-01t02:30:00.999+02:30", "2020-01-01T00:00:00.000Z"),
            ("2019-12-31 19:00:00-05:00", "2020-01-01T00:00:00.000Z"), (0, "1970-01-01T00:00:00.000Z"),
        ],
    )  # fmt: skip
    def test_come_in_either_spelling(self, club: ServerProcess, given: Any, expected: str) -> None:
        rate(club, rating(f"clock {given}", "1", timestamp=given))

        assert [expected] == [row["timestamp"] for row in ratings_of(club, f"clock {given}")]

    @pytest.mark.parametrize(
        "given",
        [
            *(-1, 1.5, True, "", "now", "2020-01-01", "2020-01-01T00:00:00", "1577836800", "2020-02-30T00:00:00Z"),
            *("0001-01-01T00:00:00+23:59", "2020-01-01T00:00:00+99:99", 2**41, 10**30),
        ],
    )
    def test_that_are_none_are_refused(self, club: ServerProcess, given: Any) -> None:
        answer = rate(club, rating("untimely", "1", timestamp=given))

        assert problem_of(answer, 400, "invalid_input") == ["body.ratings[0].timestamp"]

    @pytest.mark.parametrize("given", [DAY_S + 3600, 10 * 365 * DAY_S])
    def test_to_come_are_refused(self, club: ServerProcess, given: int) -> None:
        moment = (datetime.now(UTC) + timedelta(seconds=given)).isoformat()

        for spelling in (now() + given, moment, "9999-12-31T23:59:59-23:59"):
            answer = rate(club, rating("untimely", "1", timestamp=spelling))
            assert problem_of(answer, 400) == ["body.ratings[0].timestamp"]
        assert ratings_of(club, "untimely") == []

    def test_of_a_clock_that_is_a_little_fast_are_taken(self, club: ServerProcess) -> None:
        assert kept(rate(club, rating("fast", "1", timestamp=now() + DAY_S - 60))) == (200, 1, 0)

    def test_left_out_mean_now(self, club: ServerProcess) -> None:
        before = now()
        rate(club, rating("prompt", "1"), rating("prompt", "2", timestamp=None))

        for row in ratings_of(club, "prompt"):
            assert before <= datetime.fromisoformat(row["timestamp"]).timestamp() <= time.time()

    def test_decide_which_rating_counts(self, club: ServerProcess) -> None:
        """As after an offline sync: an older rating that arrives late does not overwrite a newer one."""
        rate(club, rating("traveller", "1", 4, timestamp=2000))
        assert kept(rate(club, rating("traveller", "1", 1, timestamp=1999))) == (200, 1, 0)
        assert listed(club, "traveller") == {"1": 4}

        rate(club, rating("traveller", "1", 2, timestamp=2000))
        assert listed(club, "traveller") == {"1": 2}

        rate(club, rating("traveller", "1", 3, timestamp=2001))
        assert listed(club, "traveller") == {"1": 3}

    def test_older_than_what_the_files_say_change_nothing(self, club: ServerProcess, sample_data: Dataset) -> None:
        before, answer = ratings_of(club, "77"), recommended(club, "77")
        rate(club, rating("77", before[0]["item_id"], 0.5, timestamp=1))

        assert before == ratings_of(club, "77")
        assert answer == recommended(club, "77")

    def test_of_one_request_decide_too(self, club: ServerProcess) -> None:
        pair = rating("twice", "1", 5, timestamp=50), rating("twice", "1", 1, timestamp=49)
        assert kept(rate(club, *pair, rating("twice", "2", 1), rating("twice", "2", 4))) == (200, 4, 0)

        assert listed(club, "twice") == {"1": 5, "2": 4}


class TestResends:
    def test_are_counted_as_such_and_change_nothing(self, club: ServerProcess) -> None:
        sent = [rating("patient", str(n), 4, event_id=f"patient {n}") for n in range(1, 4)]
        assert kept(rate(club, *sent)) == (200, 3, 0)
        rate(club, rating("patient", "2", 1))
        before = ratings_of(club, "patient")

        assert kept(rate(club, *sent)) == (200, 0, 3)
        assert kept(rate(club, *sent, rating("patient", "4", 4, event_id="patient 4"))) == (200, 1, 3)
        assert before == ratings_of(club, "patient")[:3]

    def test_within_one_request_are_found_too(self, club: ServerProcess) -> None:
        same = rating("stutter", "1", 4, event_id="st-st")

        assert kept(rate(club, same, same, rating("stutter", "2"))) == (200, 2, 1)

    def test_at_the_same_moment_count_once(self, club: ServerProcess) -> None:
        same = rating("impatient", "1", 4, event_id="again and again")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: kept(rate(club, same)), range(16)))

        assert sorted(answers) == [(200, 0, 1)] * 15 + [(200, 1, 0)]

    def test_do_not_bring_back_what_was_taken_back(self, club: ServerProcess) -> None:
        sent = rating("undo", "1", event_id="undo")
        rate(club, sent)
        assert take_back(club, "undo", "1").status == 200

        assert kept(rate(club, sent)) == (200, 0, 1)
        assert ratings_of(club, "undo") == []

    @pytest.mark.parametrize(
        "change",
        [{"rating": 3}, {"item_id": "2"}, {"user_id": "someone"}, {"timestamp": 99}],
        ids=lambda c: next(iter(c)),
    )
    def test_with_another_content_are_refused(self, club: ServerProcess, change: dict[str, Any]) -> None:
        sent = rating("liar", "1", 4, event_id=f"liar {change}", timestamp=100)
        rate(club, sent)
        answer = rate(club, sent | change)

        assert problem_of(answer, 409, "event_id_taken") == ["body.ratings[0].event_id"]
        assert listed(club, "liar") == {"1": 4}
        assert ratings_of(club, "someone") == []

    def test_within_one_request_with_another_content_are_refused(self, club: ServerProcess) -> None:
        answer = rate(club, rating("fickle", "1", event_id="f"), rating("fickle", "2", event_id="f"))

        assert problem_of(answer, 409) == ["body.ratings[1].event_id"]
        assert ratings_of(club, "fickle") == []

    def test_are_known_after_a_restart(self, serve: Serve, store_with: Callable[..., object]) -> None:
        store_with("v1.0.0")
        sent = [rating("ann", str(n), 4, event_id=f"ann {n}") for n in range(1, 20)]
        first = serve()
        rate(first, *sent)
        before = ratings_of(first, "ann")
        assert first.stop() == 0

        second = serve()
        assert kept(rate(second, *sent)) == (200, 0, 19)
        assert before == ratings_of(second, "ann")
        assert counts_all(second, "ann")


@pytest.mark.parametrize("user_id", STRANGE_IDS, ids=ascii)
def test_an_id_is_its_exact_text(club: ServerProcess, user_id: str) -> None:
    n_before = len(ratings_of(club, user_id))
    assert kept(rate(club, rating(user_id, "999", 4), rating(user_id, "998", 3))) == (200, 2, 0)

    assert n_before + 2 == len(ratings_of(club, user_id))
    assert recommended(club, user_id)["user_id"] == user_id
    assert take_back(club, user_id, "999").json == {"user_id": user_id, "item_id": "999", "deleted": True}
    assert take_back(club, user_id, "998").status == 200
    assert n_before == len(ratings_of(club, user_id))


class TestAScaleOfItsOwn:
    """Where no well-known scale holds the ratings of the files, theirs is from their least to their highest."""

    def test_takes_the_values_that_the_files_have(self, tenths_server: ServerProcess) -> None:
        given = {f"i{n}": value for n, value in enumerate(TENTHS)}
        assert kept(rate(tenths_server, *(rating("new", *pair) for pair in given.items()))) == (200, 4, 0)

        assert given == listed(tenths_server, "new")

    @pytest.mark.parametrize("value", [0.6, 10, 3.333])
    def test_takes_no_others(self, tenths_server: ServerProcess, value: float) -> None:
        assert problem_of(rate(tenths_server, rating("new", "i1", value)), 400) == ["body.ratings[0].rating"]


class TestWithoutIngest:
    @pytest.fixture
    def server(self, serve: Serve, store_with: Callable[..., object]) -> ServerProcess:
        store_with("v1.0.0")
        return serve(environ={"RECSYS_FEEDBACK__ENABLED": "false"})

    def test_ratings_are_refused_with_the_reason_and_reading_goes_on(
        self, server: ServerProcess, tmp_path: Path
    ) -> None:
        for answer in (rate(server, rating("ann", "1")), server.request(about("ann"), method="DELETE")):
            problem_of(answer, 503, "feedback_unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            assert "RECSYS_FEEDBACK__ENABLED" in answer.json["hint"]
        assert recommended(server, "1")["strategy"] == "personalized"
        assert ratings_of(server, "1")
        assert server.request("/api/v1/items/trending").json == {"items": [], "total": 0}
        assert not (tmp_path / "state" / "feedback.sqlite").exists()

    def test_a_new_version_is_not_blamed_for_it(
        self, server: ServerProcess, trained_sample: Path, tmp_path: Path
    ) -> None:
        """A service whose disk is full must not go back from each new model in turn."""
        copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.1")
        server.wait_version("v1.0.1")
        for _ in range(70):
            assert rate(server, rating("ann", "1")).status == 503

        assert recommended(server, "1")["model_version"] == "v1.0.1"
        server.wait_for(lambda: server.request("/health").json["model_because"] == "highest accepted", "seen again")
        assert server.request("/health").json["quarantined"] == []
