"""Alerts and dashboard, against promtool, the metrics of a real service, and a real Prometheus that scrapes it."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from service import ROOT, ServerProcess

from recsys.artifacts.store import ModelStore

MONITORING = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "recsys.json"
ALERT_TESTS = sorted((ROOT / "tests" / "deploy" / "alerts").glob("*.yml"))
ALERTS = (MONITORING / "alerts.yml").read_text(encoding="utf-8")


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: on Debian, apt-get install prometheus")
    return found


def queries() -> list[str]:
    """The dashboard's, with its variables filled in."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in found]


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:recsys|process)_[a-z_]+", expression))


class TestAlerts:
    def test_are_sound_and_fire_when_they_should(self, tmp_path: Path) -> None:
        promtool = tool("promtool")
        copies = [tmp_path / path.name for path in ALERT_TESTS]
        for path, copy in zip(ALERT_TESTS, copies, strict=True):
            copy.write_text(path.read_text(encoding="utf-8").replace("RULES", str(MONITORING / "alerts.yml")))

        for command in (
            ["check", "config", MONITORING / "prometheus.yml"],
            ["check", "rules", MONITORING / "alerts.yml"],
            ["test", "rules", *copies],
        ):
            done = subprocess.run([promtool, *command], text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

    def test_are_each_tested(self) -> None:
        tested = "".join(path.read_text(encoding="utf-8") for path in ALERT_TESTS)

        assert [name for name in re.findall(r"- alert: (\w+)", ALERTS) if f"alertname: {name}" not in tested] == []

    def test_have_a_section_each_in_the_runbook_and_no_other_has(self) -> None:
        runbook = (ROOT / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
        names = re.findall(r"- alert: (\w+)", ALERTS)

        assert re.findall(r"^## (\w+)$", runbook, re.MULTILINE) == names
        assert re.findall(r"runbook: (\S+)", ALERTS) == [f"deploy/RUNBOOK.md#{name.lower()}" for name in names]


class TestMetricNames:
    def test_of_alerts_and_dashboard_are_those_of_the_service(
        self, serve: Callable[..., ServerProcess], store_with: Callable[..., ModelStore]
    ) -> None:
        store_with("v1.0.0")
        text = serve().request("/metrics").body.decode()
        families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        names = set(families)
        for name, kind in families.items():
            if kind == "histogram":
                names |= {f"{name}_{suffix}" for suffix in ("bucket", "count", "sum")}

        assert metrics_in(ALERTS) - names == set()
        assert metrics_in(" ".join(queries())) - names == set()


class TestDashboard:
    def test_panels_do_not_overlap_and_have_ids_of_their_own(self) -> None:
        panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in panels)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]

        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
        assert len({panel["id"] for panel in panels}) == len(panels)


class Prometheus:
    """A real one, that scrapes every second."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._address}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[float]:
        return [float(found["value"][1]) for found in self.ask("query", query=query)["result"]]


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[ServerProcess], Prometheus]]:
    program = tool("prometheus")
    started: list[subprocess.Popen[bytes]] = []

    def start(service: ServerProcess) -> Prometheus:
        config = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
        config = config.replace("15s", "1s").replace("recsys:8000", service.address.removeprefix("http://"))
        (tmp_path / "prometheus.yml").write_text(config)
        shutil.copy(MONITORING / "alerts.yml", tmp_path)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    program, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log, stderr=log, env=os.environ | {"GOMAXPROCS": "1"},
            )  # fmt: skip
        started.append(process)
        found = Prometheus(f"http://127.0.0.1:{port}")
        eventually(lambda: found.values('up{job="recsys"}') == [1.0], "scraped")
        return found

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"not {what} after {timeout_s} s"
        time.sleep(0.2)


def _use(service: ServerProcess) -> None:
    """One of everything that is measured."""
    answer = service.request("/api/v1/users/1/recommendations").json
    item = answer["items"][0]["item_id"]
    events = [{"type": "click", "recommendation_id": answer["recommendation_id"], "item_id": item}]
    assert service.request("/api/v1/events", method="POST", body={"events": events}).status == 200
    rating = {"user_id": "ann", "item_id": item, "rating": 5}
    assert service.request("/api/v1/ratings", method="POST", body={"ratings": [rating]}).status == 200
    assert service.request("/api/v1/items/no-such-item").status == 404


def test_a_real_prometheus_scrapes_it_judges_it_and_feeds_the_dashboard(
    serve: Callable[..., ServerProcess], prometheus: Callable[[ServerProcess], Prometheus]
) -> None:
    service = serve(environ={"RECSYS_FEEDBACK__RECOMMENDATION_IDS": "true"})
    watching = prometheus(service)
    _use(service)

    empty = list(queries())

    def all_answered() -> bool:
        empty[:] = [query for query in empty if not watching.values(query)]
        return not empty

    try:
        eventually(all_answered, "answered")
    except AssertionError:
        assert empty == [], "no data for these"
    rules = watching.ask("rules")["groups"][0]["rules"]
    assert [rule["name"] for rule in rules if rule["health"] == "err"] == []
    assert sorted(rule["name"] for rule in rules) == sorted(re.findall(r"- alert: (\w+)", ALERTS))
    assert [alert["labels"] for alert in watching.ask("alerts")["alerts"] if alert["state"] == "firing"] == []

    service.stop()
    eventually(
        lambda: "RecsysDown" in {alert["labels"]["alertname"] for alert in watching.ask("alerts")["alerts"]}, "noticed"
    )
