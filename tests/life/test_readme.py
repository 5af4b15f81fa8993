"""What README.md tells its reader to type, typed: by bash, against a real service, in the order of the page."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from life_of_a_process import wait_idle
from service import ROOT, ServerProcess

README = (ROOT / "README.md").read_text()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
]
Serve = Callable[..., ServerProcess]


def commands(section: str) -> list[str]:
    """The lines of the shell blocks of a section, those that go on with a backslash joined."""
    text = re.split(rf"^## {re.escape(section)}$", README, flags=re.MULTILINE)[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@dataclass
class Reader:
    """Somebody at a shell in the directory of the project, where a service runs on another port than README's."""

    server: ServerProcess
    directory: Path

    def types(self, *lines: str) -> str:
        """Run lines in one shell, and return what the last of them printed."""
        *before, last = lines
        script = "\n".join(["set -euo pipefail", *before, "echo; echo @@@", last])
        script = script.replace("http://127.0.0.1:8000", self.server.address)
        script = re.sub(r"\bcurl ", "curl --silent --show-error --fail-with-body --max-time 20 ", script)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")} | {
            "RECSYS_PATHS__MODELS": str(self.server.directory / "models"),
            "RECSYS_PATHS__STATE": str(self.server.directory / "state"),
            "RECSYS_PATHS__SAMPLE": str(self.directory / "data" / "sample"),
        }
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.directory, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{last}\n{done.stdout}{done.stderr}"
        return done.stdout.split("@@@\n", 1)[1]


@pytest.fixture
def reader(serve: Serve, store_with: Callable[..., object], sample: Path, tmp_path: Path) -> Reader:
    store_with("v1.0.0")
    server = serve()
    project = tmp_path / "project"
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / "config").mkdir()
    command = project / ".venv" / "bin" / "recsys"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m recsys "$@"\n')
    command.chmod(0o755)
    (project / "data").mkdir()
    shutil.copytree(sample, project / "data" / "sample")
    return Reader(server, project)


def one(lines: list[str], *words: str) -> str:
    (found,) = [line for line in lines if all(word in line for word in words)]
    return found


def test_the_first_answer_is_the_one_on_the_first_screen(reader: Reader) -> None:
    first = next(line for line in README.splitlines() if line.startswith("curl "))
    block = re.search(r"^```json\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert block is not None
    shown, given = json.loads(block[1]), json.loads(reader.types(first))

    for item in shown["items"] + given["items"]:
        item["score"] = pytest.approx(item["score"], abs=2e-4)  # processors round differently
    assert shown == given


def test_every_address_to_ask_answers(reader: Reader) -> None:
    reader.types(one(commands("Asking"), "--json"))
    with zipfile.ZipFile(reader.directory / "letterboxd-ann.zip", "w") as archive:
        archive.writestr("ratings.csv", "Date,Name,Year,Letterboxd URI,Rating\n2024-03-01,Ghoul Crossing,2004,x,4\n")
    brought = json.loads(reader.types(one(commands("The pages"), "curl", "/api/v1/import")))

    assert brought["counts"]["matched"] == 1


def test_a_rating_counts_at_once_is_learned_and_forgotten(reader: Reader) -> None:
    lines = commands("Rating, and seeing it count")
    accepted = reader.types(one(lines, "--json", "api/v1/ratings"))
    counts = json.loads(reader.types(one(lines, "curl", "ann/recommendations")))
    listed = json.loads(reader.types(one(lines, "curl http", "ann/ratings")))
    reader.types(one(lines, "-X DELETE", "ann/ratings/71"))
    wait_idle(reader.server)
    reader.types(one(lines, "/admin/retrain"))
    reader.server.wait_version("v1.0.1", 60)
    wait_idle(reader.server)
    (reader.directory / "old-ratings.csv").write_text("user_id,item_id,rating,timestamp\nbob,5,4,1700000000\n")
    reader.types(one(lines, "ratings import"))
    reader.types(one(lines, "ratings export"))
    learned = json.loads((reader.server.directory / "models" / "v1.0.1" / "manifest.json").read_text())
    reader.types(one(lines, "-X DELETE", "users/ann  "))
    forgotten = json.loads(reader.types(one(lines, "curl", "ann/recommendations")))

    assert json.loads(accepted) == {"accepted": 2, "duplicates": 0}
    assert counts["strategy"] == "blended"
    assert {"5", "71"} >= {term["item_id"] for item in counts["items"] for term in item["because"]} != set()
    assert {"5", "71"} == {rating["item_id"] for rating in listed["ratings"]}
    assert learned["data"]["users"] == 601
    exported = (reader.directory / "ratings.csv").read_text().splitlines()
    assert [
        exported[0], *sorted(line.rpartition(",")[0] for line in exported[1:])
    ] == ["user_id,item_id,rating,timestamp", "ann,5,5.0", "bob,5,4.0"]  # fmt: skip
    assert forgotten["strategy"] == "popular"


def test_versions_are_listed_gone_back_from_and_pinned(reader: Reader, store_with: Callable[..., object]) -> None:
    store_with("v1.0.1", "v1.0.2")
    reader.server.wait_version("v1.0.2")
    lines = commands("Models")

    assert "v1.0.1" in reader.types(one(lines, "models list"))
    reader.types(one(lines, "models rollback"))
    reader.server.wait_version("v1.0.1")
    reader.types(one(lines, "models unpin"))
    reader.server.wait_version("v1.0.2")
    reader.types(one(lines, "models rollback"))
    reader.types(one(lines, "models pin v1.0.2"))
    reader.server.wait_version("v1.0.2")
    reader.types(one(lines, "models verify v1.0.2"))


def test_a_training_is_asked_for_followed_and_taken_back(reader: Reader) -> None:
    lines = commands("Retraining")
    token = one(lines, "TOKEN=")
    wait_idle(reader.server)
    job = json.loads(reader.types(token, one(lines, "/admin/retrain")))
    follow = one(lines, "/admin/events").partition("#")[0]
    told = reader.types(token, f"grep --max-count=1 v1.0.1 < <({follow})")
    wait_idle(reader.server)
    jobs = json.loads(reader.types(token, one(lines, "/admin/jobs")))
    reader.types(token, one(lines, "/admin/rollback"))
    reader.server.wait_version("v1.0.0")

    assert job["status"] in ("queued", "running")
    assert "v1.0.1" in told
    assert "accepted" in {found["status"] for found in jobs["items"]}
