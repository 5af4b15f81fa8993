"""GET /health, /health/live, /health/ready and /metrics."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from feedback_calls import rate, rating, take_back
from prometheus_client.parser import text_string_to_metric_families
from service import ServerProcess

from recsys import __version__

pytest_plugins = ["http_server"]
RFC_3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def samples(server: ServerProcess) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = server.request("/metrics").body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counted(server: ServerProcess, route: str, method: str, status: int) -> float:
    labels = (("method", method), ("route", route), ("status", str(status)))
    return samples(server).get(("recsys_http_request_seconds_count", labels), 0.0)


class TestHealth:
    def test_says_everything_at_a_glance(self, server: ServerProcess) -> None:
        health = server.request("/health").json

        assert {
            *("status", "version", "environment", "model_version", "model_loaded_at", "uptime_s", "retraining", "sync")
        } <= set(health)
        assert {"enabled", "running", "last", "next_run"} <= set(health["retraining"])
        expected = ("ok", None, __version__, "development", "v1.0.0", None, [])
        names = ("status", "detail", "version", "environment", "model_version", "pin", "quarantined")
        assert expected == tuple(health[name] for name in names)

    def test_says_how_ratings_come_in(self, club: ServerProcess) -> None:
        before = club.request("/health").json["feedback"]
        rate(club, rating("ann", "1"), rating("ann", "2"))
        take_back(club, "ann", "2")

        assert before == {"enabled": True, "ratings": before["ratings"], "waiting": 0, "problem": None}
        assert before | {"ratings": before["ratings"] + 3} == club.request("/health").json["feedback"]

    def test_tells_times_in_utc(self, server: ServerProcess) -> None:
        loaded = server.request("/health").json["model_loaded_at"]

        assert RFC_3339_UTC.fullmatch(loaded)
        assert 0 <= (datetime.now(UTC) - datetime.fromisoformat(loaded)).total_seconds() < 3600

    def test_counts_the_seconds_since_the_start(self, server: ServerProcess) -> None:
        first = server.request("/health").json["uptime_s"]

        assert first > 0
        server.wait_for(lambda: server.request("/health").json["uptime_s"] > first, "older", 5)


class TestProbes:
    def test_live(self, server: ServerProcess) -> None:
        answer = server.request("/health/live")

        assert (answer.status, answer.json) == (200, {"status": "live"})

    def test_ready(self, server: ServerProcess) -> None:
        answer = server.request("/health/ready")

        assert answer.status == 200
        assert answer.json == {"status": "ready", "model_version": "v1.0.0", "stage": None, "progress": None}


class TestMetrics:
    def test_requests_do_not_set_off_the_collector(self, server: ServerProcess) -> None:
        looked = ("python_gc_collections_total", (("generation", "0"),))
        many = [rating("ann", "no such item")] * 1000
        before = samples(server)[looked]
        for _ in range(20):
            assert rate(server, *many).status == 400

        assert samples(server)[looked] - before < 20

    def test_are_in_prometheus_text(self, server: ServerProcess) -> None:
        answer = server.request("/metrics")

        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name for family in text_string_to_metric_families(answer.body.decode())}
        assert {
            *(
                "recsys_http_request_seconds",
                "recsys_http_requests_in_flight",
                "recsys_model_swaps",
                "recsys_model_info",
            ),
            *("recsys_models_quarantined", "recsys_degraded", "recsys_event_loop_lag_seconds", "recsys_build_info"),
            *("process_resident_memory_bytes", "process_cpu_seconds"),
        } <= families

    @pytest.mark.parametrize(
        ("path", "method", "route", "label", "status"),
        [
            ("/api/v1/users/1/recommendations", "GET", "/api/v1/users/{user_id}/recommendations", "GET", 200),
            ("/api/v1/users/2/recommendations?n=0", "GET", "/api/v1/users/{user_id}/recommendations", "GET", 400),
            ("/api/v1/items/no-such-item", "GET", "/api/v1/items/{item_id}", "GET", 404),
            ("/health/live", "GET", "/health/live", "GET", 200),
            ("/nowhere/at/all", "GET", "unmatched", "any", 404),
        ],
    )
    def test_count_each_request_under_its_route(
        self, server: ServerProcess, path: str, method: str, route: str, label: str, status: int
    ) -> None:
        before = counted(server, route, label, status)
        for _ in range(3):
            assert status == server.request(path, method=method).status

        assert before + 3 == counted(server, route, label, status)

    def test_do_not_grow_with_what_clients_make_up(self, server: ServerProcess) -> None:
        """A label for each address, user or method would fill the memory of Prometheus."""
        for made_up in ("/made-up-1", "/api/v1/users/made-up-2/recommendations", "/api/v1/items/made-up-3"):
            server.request(made_up)
            server.request(made_up, method="PURGE" if "made-up-1" in made_up else "DELETE")

        assert "made-up" not in server.request("/metrics").body.decode()
        assert "PURGE" not in server.request("/metrics").body.decode()

    def test_count_ratings_by_what_became_of_them(self, club: ServerProcess) -> None:
        before = samples(club)
        rate(club, rating("bob", "1", event_id="made-up-event"), rating("bob", "2"))
        rate(club, rating("bob", "1", event_id="made-up-event"), rating("bob", "3"))
        rate(club, rating("bob", "none"))

        grown = {outcome: ("recsys_ratings_total", (("outcome", outcome),)) for outcome in ("accepted", "duplicate")}
        counts = {outcome: samples(club)[key] - before[key] for outcome, key in grown.items()}
        assert counts == {"accepted": 3, "duplicate": 1}
        assert samples(club)["recsys_ratings_waiting", ()] == 0
        text = club.request("/metrics").body.decode()
        assert "made-up-event" not in text
        assert "bob" not in text

    def test_name_the_model_that_answers(self, server: ServerProcess) -> None:
        found = samples(server)

        assert found["recsys_model_info", (("version", "v1.0.0"),)] == 1
        assert found["recsys_model_swaps_total", ()] == 1
        assert found["recsys_degraded", ()] == 0
        assert found["recsys_models_quarantined", ()] == 0

    def test_see_only_the_request_for_them_in_flight(self, server: ServerProcess) -> None:
        assert samples(server)["recsys_http_requests_in_flight", ()] == 1

    def test_buckets_add_up(self, server: ServerProcess) -> None:
        server.request("/health/live")
        found = samples(server)
        labels = {"method": "GET", "route": "/health/live", "status": "200"}

        def value(bound: str) -> float:
            return found["recsys_http_request_seconds_bucket", tuple(sorted({**labels, "le": bound}.items()))]

        buckets = list(_bounds(found, labels["route"]))
        counts = [value(bound) for bound in buckets]
        assert sorted(counts) == counts
        assert counts[-1] == found["recsys_http_request_seconds_count", tuple(sorted(labels.items()))]


def _bounds(found: dict[tuple[str, tuple[tuple[str, str], ...]], float], route: str) -> Iterator[str]:
    bounds = {
        dict(labels)["le"]
        for name, labels in found
        if name == "recsys_http_request_seconds_bucket" and dict(labels)["route"] == route
    }
    yield from sorted(bounds, key=float)
