"""What became of what was recommended: ids in answers, POST /api/v1/events, GET /admin/quality and the metrics."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from feedback_calls import ADMIN, TOKEN, kept, rate, rating, recommended
from http_exchange import problem_of, user_path
from prometheus_client.parser import text_string_to_metric_families
from service import Answer, ServerProcess, copy_version

pytest_plugins = ["http_server"]
Serve = Callable[..., ServerProcess]
WITH_IDS = {"RECSYS_FEEDBACK__RECOMMENDATION_IDS": "true", "RECSYS_ADMIN__TOKEN": TOKEN}
EVENTS = "/api/v1/events"
IN_AN_ANSWER = re.compile(rb',"recommendation_id":"([^"]+)"}$')
STATELESS = {"ratings": [{"item_id": "3", "rating": 5}], "n": 5}


@pytest.fixture
def start(serve: Serve, store_with: Callable[..., object]) -> Callable[..., ServerProcess]:
    store_with("v1.0.0")
    return lambda **environ: serve(environ=WITH_IDS | environ)


@pytest.fixture
def server(start: Callable[..., ServerProcess]) -> ServerProcess:
    return start()


def an_id(server: ServerProcess, user_id: str = "1") -> str:
    found: str = recommended(server, user_id, "?n=3")["recommendation_id"]
    return found


def event(recommendation_id: Any, kind: str = "click", item_id: str = "1", **more: Any) -> dict[str, Any]:
    return {"recommendation_id": recommendation_id, "type": kind, "item_id": item_id, **more}


def report(server: ServerProcess, *events: Any) -> Answer:
    return server.request(EVENTS, method="POST", body={"events": events})


def quality(server: ServerProcess) -> Any:
    answer = server.request("/admin/quality", headers=ADMIN)
    assert answer.status == 200, answer.body
    assert answer.json["total"] == len(answer.json["items"])
    return answer.json


def counted(server: ServerProcess) -> dict[tuple[str, str, str], int]:
    return {
        (row["model_version"], row["strategy"], kind): row[kind]
        for row in quality(server)["items"]
        for kind in ("impressions", "clicks", "watches")
    }


def in_metrics(server: ServerProcess) -> dict[tuple[str, str, str], float]:
    families = text_string_to_metric_families(server.request("/metrics").body.decode())
    return {
        (sample.labels["model_version"], sample.labels["strategy"], sample.labels["kind"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "recsys_shown_total"
    }


class TestIds:
    def test_are_all_that_switching_them_on_changes(self, ids_server: ServerProcess, club: ServerProcess) -> None:
        for path in (user_path("1"), user_path("1", "?n=500"), user_path("2", "?explain=true"), user_path("nobody")):
            for _ in range(2):  # made, and kept
                on, off = ids_server.request(path), club.request(path)
                assert b"recommendation_id" not in off.body
                assert off.body == IN_AN_ANSWER.sub(b"}", on.body)
                assert off.headers["Content-Type"] == on.headers["Content-Type"]
        on, off = (one.request("/api/v1/recommendations", method="POST", body=STATELESS) for one in (ids_server, club))
        assert IN_AN_ANSWER.search(on.body)
        assert off.body == IN_AN_ANSWER.sub(b"}", on.body)

    def test_are_each_answers_own(self, ids_server: ServerProcess) -> None:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda n: an_id(ids_server, str(n % 7)), range(200)))

        assert len(set(found)) == 200

    def test_are_put_where_the_answer_ends_whatever_the_user_is_called(self, ids_server: ServerProcess) -> None:
        before = counted(ids_server).get(("v1.0.0", "popular", "clicks"), 0)
        for user_id in ('"strategy":"x', '","strategy":"popular","items":[],"a":"', "~", "}"):
            answer = recommended(ids_server, user_id)
            assert (answer["user_id"], answer["strategy"]) == (user_id, "popular")
            assert kept(report(ids_server, event(answer["recommendation_id"]))) == (200, 1, 0)
        assert before + 4 == counted(ids_server)["v1.0.0", "popular", "clicks"]

    def test_tell_nobody_who_was_asked_for(self, ids_server: ServerProcess) -> None:
        assert "zaphod" not in an_id(ids_server, "zaphod")

    def test_are_left_out_where_there_is_no_store_to_count_in(self, start: Callable[..., ServerProcess]) -> None:
        """Serving without ingest is the way out of a damaged database: it must not fail at every answer."""
        server = start(RECSYS_FEEDBACK__ENABLED="false")
        for path in (user_path("1"), user_path("nobody")):
            answer = server.request(path)
            assert (answer.status, "recommendation_id" in answer.json) == (200, False)

        assert server.request("/api/v1/recommendations", method="POST", body=STATELESS).status == 200
        problem_of(report(server, event("v1.0.0~popular~x1~AAAAAAAAAAAA")), 503, "feedback_unavailable")


class TestReporting:
    @pytest.mark.parametrize("kind", ["impression", "click", "watch"])
    def test_counts_each_kind_once_for_an_answer_and_an_item(self, ids_server: ServerProcess, kind: str) -> None:
        before = counted(ids_server)
        shown = an_id(ids_server)
        first, second = event(shown, kind, "1"), event(shown, kind, "2")

        assert kept(report(ids_server, first)) == (200, 1, 0)
        assert kept(report(ids_server, first, second, second)) == (200, 1, 2)
        assert kept(report(ids_server, event(an_id(ids_server), kind, "1"))) == (200, 1, 0)
        name = {"impression": "impressions", "click": "clicks", "watch": "watches"}[kind]
        changed = {key: count - before.get(key, 0) for key, count in counted(ids_server).items()}
        assert {("v1.0.0", "personalized", name): 3} == {key: count for key, count in changed.items() if count}

    def test_at_the_same_moment_counts_once(self, ids_server: ServerProcess) -> None:
        same = event(an_id(ids_server))
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: kept(report(ids_server, same)), range(16)))

        assert sorted(answers) == [(200, 0, 1)] * 15 + [(200, 1, 0)]

    def test_goes_on_after_a_restart(self, start: Callable[..., ServerProcess]) -> None:
        first = start()
        shown = an_id(first)
        assert kept(report(first, event(shown, item_id="1"))) == (200, 1, 0)
        assert first.stop() == 0

        second = start()
        assert kept(report(second, event(shown, item_id="1"), event(shown, item_id="2"))) == (200, 1, 1)
        assert [row["clicks"] for row in quality(second)["items"]] == [2]
        assert len({an_id(second), an_id(second), shown}) == 3

    def test_refuses_ids_that_were_not_given(self, ids_server: ServerProcess, club: ServerProcess) -> None:
        before, mine = counted(ids_server), an_id(ids_server)
        version, strategy, number, tag = mine.split("~")
        forged = [
            f"v9.9.9~{strategy}~{number}~{tag}", f"{version}~popular~{number}~{tag}", f"{version}~{strategy}~0~{tag}",
            f"{version}~{strategy}~{number}~{tag[:-1]}", f"{version}~{strategy}~{number}~", f"{mine}A", f"~{mine}",
            *(mine.upper(), mine.rpartition("~")[0], mine.replace("~", "~~"), "~", "~~~", "x", "日本", "\x00"),
        ]  # fmt: skip
        for recommendation_id in forged:
            answer = report(ids_server, event(mine, item_id="9"), event(recommendation_id))
            assert problem_of(answer, 400, "invalid_input") == ["body.events[1].recommendation_id"], recommendation_id
        assert problem_of(report(club, event(mine)), 400) == ["body.events[0].recommendation_id"]
        assert before == counted(ids_server)  # all or nothing

    @pytest.mark.parametrize(
        ("change", "where"),
        [
            ({"type": "purchase"}, "type"), ({"type": None}, "type"), ({"item_id": ""}, "item_id"),
            ({"item_id": "x" * 257}, "item_id"), ({"recommendation_id": ""}, "recommendation_id"),
            ({"recommendation_id": "x" * 201}, "recommendation_id"), ({"recommendation_id": 1}, "recommendation_id"),
            ({"user_id": "1"}, "user_id"),
        ],
    )  # fmt: skip
    def test_names_what_is_wrong(self, club: ServerProcess, change: dict[str, Any], where: str) -> None:
        assert problem_of(report(club, event("x") | change), 400) == [f"body.events[0].{where}"]

    def test_takes_one_to_a_thousand(self, ids_server: ServerProcess) -> None:
        shown = an_id(ids_server)
        many = [event(shown, "impression", str(n)) for n in range(1001)]

        assert problem_of(report(ids_server), 400) == ["body.events"]
        assert problem_of(report(ids_server, *many), 400) == ["body.events"]
        assert kept(report(ids_server, *many[:1000])) == (200, 1000, 0)


class TestQuality:
    def test_says_how_often_what_was_shown_was_clicked(self, server: ServerProcess) -> None:
        shown = [an_id(server) for _ in range(10)]
        report(server, *(event(one, "impression", str(n)) for one in shown for n in range(4)))
        report(server, *(event(one, "click", "0") for one in shown), event(shown[0], "watch", "0"))
        (row,) = quality(server)["items"]

        share, counts = row.pop("click_through"), {"impressions": 40, "clicks": 10, "watches": 1}
        assert {"model_version": "v1.0.0", "strategy": "personalized"} | counts == row
        # Wilson's interval of 10 in 40, from a table
        assert (share["value"], share["low"], share["high"]) == pytest.approx((0.25, 0.1419, 0.4019), abs=1e-4)
        assert in_metrics(server) == {
            ("v1.0.0", "personalized", "impression"): 40,
            ("v1.0.0", "personalized", "click"): 10,
            ("v1.0.0", "personalized", "watch"): 1,
        }

    def test_keeps_versions_and_strategies_apart(
        self, server: ServerProcess, trained_sample: Path, tmp_path: Path
    ) -> None:
        rate(server, rating("beginner", "1"))
        before = [an_id(server, user_id) for user_id in ("1", "beginner", "nobody")]
        copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.1")
        server.wait_version("v1.0.1")
        after = [an_id(server, user_id) for user_id in ("1", "beginner", "nobody")]
        assert kept(report(server, *(event(one, "impression") for one in before + after))) == (200, 6, 0)

        rows = {(row["model_version"], row["strategy"]): row["impressions"] for row in quality(server)["items"]}
        strategies = ("personalized", "blended", "popular")
        assert rows == {(version, strategy): 1 for version in ("v1.0.0", "v1.0.1") for strategy in strategies}

    def test_of_more_clicks_than_impressions_is_all(self, ids_server: ServerProcess) -> None:
        """A client may report only clicks."""
        rate(ids_server, rating("clicker", "1"))
        shown = an_id(ids_server, "clicker")
        report(ids_server, event(shown, "click", "1"), event(shown, "click", "2"), event(shown, "impression", "1"))

        (share,) = [row["click_through"] for row in quality(ids_server)["items"] if row["strategy"] == "blended"]
        assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1

    def test_of_nothing_shown_is_unknown(self, server: ServerProcess) -> None:
        assert quality(server) == {"items": [], "total": 0, "enabled": True}
        report(server, event(an_id(server), "watch"))
        (row,) = quality(server)["items"]

        assert row["click_through"] == {"value": None, "low": 0.0, "high": 1.0}

    def test_says_whether_answers_carry_ids(self, club: ServerProcess) -> None:
        assert quality(club)["enabled"] is False

    def test_needs_the_token(self, club: ServerProcess) -> None:
        problem_of(club.request("/admin/quality"), 401, "not_signed_in")
        problem_of(club.request("/admin/quality", headers={"Authorization": "Bearer x"}), 403, "wrong_token")
