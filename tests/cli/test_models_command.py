"""`recsys models`: what an operator sees of the store and does to it, beside a service or without one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import CommandLine

from recsys.artifacts.store import ModelStore

pytest_plugins = ["recsys_command"]
StoreWith = Callable[..., ModelStore]


def listed(recsys: CommandLine) -> dict[str, list[str]]:
    """Notes by version."""
    done = recsys("models", "list", "--json")
    assert done.returncode == 0, done.stderr
    return {row["version"]: row["notes"] for row in json.loads(done.stdout)["items"]}


def reject(store: ModelStore, version: str) -> None:
    """Make a version one that the gate refused."""
    path = store.directory / version / "manifest.json"
    manifest = json.loads(path.read_text()) | {"gate": {"verdict": "rejected", "checks": []}}
    path.write_text(json.dumps(manifest))


class TestList:
    def test_shows_each_version_with_its_verdict_newest_first(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store_with("v1.0.0", "v1.0.10", "v1.0.9")
        done = recsys("models", "list")

        assert done.returncode == 0
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        assert [row[:2] for row in rows] == [["v1.0.10", "accepted"], ["v1.0.9", "accepted"], ["v1.0.0", "accepted"]]
        assert "served" in rows[0][-1]

    def test_json_has_the_total(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store_with("v1.0.0")
        found = json.loads(recsys("models", "list", "--json").stdout)

        assert (found["total"], found["strangers"]) == (1, [])
        assert {"version", "verdict", "created_at", "ratings", "notes"} <= set(found["items"][0])

    def test_an_empty_store_says_how_to_fill_it(self, recsys: CommandLine) -> None:
        done = recsys("models", "list")

        assert done.returncode == 0
        assert "recsys train" in done.stdout

    def test_names_what_is_no_version_and_leaves_it(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store = store_with("v1.0.0")
        (store.directory / "notes.txt").write_text("mine")
        (store.directory / "v2.0.0").mkdir()
        done = recsys("models", "list")

        assert "left alone, not made by the store: notes.txt" in done.stdout
        assert [line.split()[:2] for line in done.stdout.splitlines()[1:] if line.startswith("v")] == [
            ["v2.0.0", "invalid"],
            ["v1.0.0", "accepted"],
        ]
        assert (store.directory / "notes.txt").read_text() == "mine"

    def test_models_names_another_directory(self, recsys: CommandLine, trained_sample: Path) -> None:
        done = recsys("models", "--models", str(trained_sample), "list")

        assert "v1.0.0" in done.stdout


class TestShow:
    def test_prints_the_manifest(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store = store_with("v1.0.0")
        done = recsys("models", "show", "v1.0.0")

        assert done.returncode == 0
        assert json.loads((store.directory / "v1.0.0" / "manifest.json").read_text()) == json.loads(done.stdout)

    def test_of_a_version_without_a_sound_manifest_is_refused(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store = store_with("v1.0.0")
        (store.directory / "v1.0.0" / "manifest.json").write_text("{")

        assert "v1.0.0" in recsys.refused("models", "show", "v1.0.0")


class TestVerify:
    def test_says_that_a_sound_version_is(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store_with("v1.0.0")
        done = recsys("models", "verify", "v1.0.0")

        assert done.returncode == 0
        assert done.stdout.startswith("v1.0.0 is sound: ")

    def test_names_the_file_with_a_flipped_byte(self, recsys: CommandLine, store_with: StoreWith) -> None:
        path = max((store_with("v1.0.0").directory / "v1.0.0").glob("*.npy"), key=lambda path: path.stat().st_size)
        content = bytearray(path.read_bytes())
        content[-7] ^= 1
        path.write_bytes(content)

        assert path.name in recsys.refused("models", "verify", "v1.0.0")


class TestPin:
    def test_holds_until_it_is_lifted(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store_with("v1.0.0", "v1.0.1")

        assert recsys("models", "pin", "v1.0.0").stdout == "pinned v1.0.0\n"
        assert listed(recsys) == {"v1.0.1": [], "v1.0.0": ["served", "pinned"]}
        assert recsys("models", "unpin").stdout == "the pin is lifted\n"
        assert listed(recsys) == {"v1.0.1": ["served"], "v1.0.0": []}
        done = recsys("models", "unpin")
        assert (done.returncode, done.stdout) == (0, "there was no pin\n")

    def test_of_a_rejected_version_is_the_operators_right(
        self, recsys: CommandLine, store_with: StoreWith, trained_sample: Path
    ) -> None:
        store = store_with("v1.0.0", "v1.0.1")
        reject(store, "v1.0.1")

        assert "served" in listed(recsys)["v1.0.0"]
        assert recsys("models", "pin", "v1.0.1").returncode == 0
        assert listed(recsys)["v1.0.1"] == ["served", "pinned"]

    def test_of_a_damaged_version_is_refused(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store = store_with("v1.0.0")
        (store.directory / "v1.0.0" / "manifest.json").unlink()

        assert "v1.0.0 cannot be served" in recsys.refused("models", "pin", "v1.0.0")

    def test_from_a_setting_cannot_be_changed_here(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store_with("v1.0.0", "v1.0.1")

        for action in (["pin", "v1.0.1"], ["unpin"], ["rollback"]):
            line = recsys.refused("models", *action, RECSYS_MODEL__VERSION="v1.0.0")
            assert "RECSYS_MODEL__VERSION pins v1.0.0" in line

    @pytest.mark.parametrize("content", ["{", "", "\x00\x01", "pinned: v1.0.0"])
    def test_in_a_corrupt_file_is_one_clear_line_that_names_it(
        self, recsys: CommandLine, store_with: StoreWith, content: str
    ) -> None:
        store_with("v1.0.0")
        path = recsys.directory / "state" / "store" / "pin.json"
        path.parent.mkdir(parents=True)
        path.write_text(content)

        assert str(path) in recsys.refused("models", "list")
        assert str(path) in recsys.refused("models", "rollback")

    def test_replaces_a_corrupt_file(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store_with("v1.0.0")
        path = recsys.directory / "state" / "store" / "pin.json"
        path.parent.mkdir(parents=True)
        path.write_text("{")

        assert recsys("models", "pin", "v1.0.0").returncode == 0
        assert listed(recsys)["v1.0.0"] == ["served", "pinned"]


class TestRollback:
    def test_goes_down_one_accepted_version_at_a_time(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store_with("v1.0.0", "v1.0.1", "v1.0.2")

        assert recsys("models", "rollback").stdout.startswith("rolled back from v1.0.2 to v1.0.1")
        assert listed(recsys)["v1.0.1"] == ["served", "pinned"]
        assert recsys("models", "rollback").stdout.startswith("rolled back from v1.0.1 to v1.0.0")
        assert "no accepted version below v1.0.0" in recsys.refused("models", "rollback")
        assert listed(recsys)["v1.0.0"] == ["served", "pinned"]

    def test_skips_what_was_rejected(self, recsys: CommandLine, store_with: StoreWith, trained_sample: Path) -> None:
        store = store_with("v1.0.0", "v1.0.1", "v1.0.2")
        reject(store, "v1.0.1")

        assert "to v1.0.0" in recsys("models", "rollback").stdout

    def test_of_an_empty_store_is_one_clear_line(self, recsys: CommandLine, store_with: StoreWith) -> None:
        store_with()

        assert "None" not in recsys.refused("models", "rollback")


@pytest.mark.parametrize("action", ["show", "verify", "pin"])
def test_a_version_that_is_not_there_is_refused(recsys: CommandLine, store_with: StoreWith, action: str) -> None:
    store_with("v1.0.0")

    assert "there is no v9.9.9" in recsys.refused("models", action, "v9.9.9")


@pytest.mark.parametrize("name", ["latest", "1.0.0", "v1.0", "../../etc", "v1.0.0/..", ""])
@pytest.mark.parametrize("action", ["show", "verify", "pin"])
def test_a_name_that_is_no_version_is_refused(recsys: CommandLine, action: str, name: str) -> None:
    done = recsys("models", action, name)

    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "version" in done.stderr


@pytest.mark.parametrize("action", [["list"], ["rollback"], ["show", "v1.0.0"]])
def test_a_models_path_that_is_a_file_is_one_clear_line(recsys: CommandLine, tmp_path: Path, action: list[str]) -> None:
    (tmp_path / "models").touch()

    assert recsys.refused("models", *action)
