"""The directory of versions: what is listed, what a publication shows and hides, what a prune may take."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.artifacts import store as store_module
from recsys.artifacts.manifest import DataSummary, FileRecord, Gate, Manifest
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import StoreError, UnknownVersionError, VersionTakenError


def describe(version: Version, files: tuple[FileRecord, ...]) -> Manifest:
    """The least that is a manifest; the store never looks into the files."""
    return Manifest(
        version=str(version),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        algorithm="popularity",
        hyperparameters={},
        seed=1,
        libraries={},
        data=DataSummary(source="made up", fingerprint="", ratings=0, users=0, items=0),
        metrics={},
        gate=Gate(verdict="accepted"),
        golden=(),
        files=files,
    )


def publish(store: ModelStore, version: str | None = None, content: bytes = b"{}") -> Manifest:
    with store.stage() as staged:
        (staged / "model.json").write_bytes(content)
        return store.publish(staged, Version.parse(version) if version else None, describe)


def listed(store: ModelStore) -> list[str]:
    return [str(entry.version) for entry in store.scan().entries if entry.manifest is not None]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "models")
    made.ensure()
    return made


def test_what_is_published_is_listed_with_its_manifest(store: ModelStore) -> None:
    manifest = publish(store, "v1.2.3", b'{"a": 1}')

    entry = store.scan().find(Version(1, 2, 3))
    assert entry is not None
    assert manifest == entry.manifest
    assert [(record.path, record.bytes) for record in manifest.files] == [("model.json", 8)]
    assert sorted(os.listdir(store.path(Version(1, 2, 3)))) == ["manifest.json", "model.json"]


def test_the_first_versions_are_named_in_order(store: ModelStore) -> None:
    assert [publish(store).version for _ in range(3)] == ["v1.0.0", "v1.0.1", "v1.0.2"]


def test_a_retrain_takes_the_patch_after_the_highest_valid_version(store: ModelStore) -> None:
    for version in ("v1.0.0", "v2.3.9", "v1.10.0"):
        publish(store, version)

    assert publish(store).version == "v2.3.10"


@pytest.mark.parametrize("stray", ["empty", "no manifest", "broken manifest", "file", "link"])
def test_a_stray_name_without_a_valid_manifest_does_not_count(store: ModelStore, tmp_path: Path, stray: str) -> None:
    publish(store, "v1.0.0")
    path = store.directory / "v9.0.0"
    match stray:
        case "file":
            path.write_bytes(b"")
        case "link":
            shutil.copytree(store.path(Version(1, 0, 0)), tmp_path / "v9.0.0")
            path.symlink_to(tmp_path / "v9.0.0")
        case _:
            path.mkdir()
            if stray == "no manifest":
                (path / "model.json").write_bytes(b"{}")
            if stray == "broken manifest":
                (path / "manifest.json").write_bytes(b"{")

    assert publish(store).version == "v1.0.1"


def test_a_name_that_stands_is_skipped_whatever_it_is(store: ModelStore) -> None:
    publish(store, "v1.0.0")
    (store.directory / "v1.0.1").mkdir()
    (store.directory / "v1.0.2").write_bytes(b"")

    assert publish(store).version == "v1.0.3"


@pytest.mark.parametrize(
    ("taken", "expected"),
    [(["v1.0.0"], "v1.0.1"), (["v3.0.0", "v1.5.0"], "v3.0.1"), (["v0.1.0"], "v1.0.1")],
)
def test_names_taken_elsewhere_count(store: ModelStore, taken: list[str], expected: str) -> None:
    publish(store, "v1.0.0")

    assert expected == str(store.next_version(Version.parse(name) for name in taken))


@settings(deadline=None, max_examples=30)
@given(st.sets(st.builds(Version, st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), max_size=5))
def test_the_next_version_is_above_all_and_free(
    tmp_path_factory: pytest.TempPathFactory, versions: set[Version]
) -> None:
    store = ModelStore(tmp_path_factory.mktemp("models"))
    for version in versions:
        publish(store, str(version))

    following = store.next_version()

    assert not store.path(following).exists()
    assert all(version < following for version in versions)


def test_a_name_that_is_taken_is_refused_and_what_stands_there_is_untouched(store: ModelStore) -> None:
    publish(store, "v1.0.0", b'{"first": true}')

    with pytest.raises(VersionTakenError, match=r"v1\.0\.0 exists"):
        publish(store, "v1.0.0", b'{"second": true}')

    assert (store.path(Version(1, 0, 0)) / "model.json").read_bytes() == b'{"first": true}'
    assert os.listdir(store.directory / ".staging") == []


@pytest.mark.parametrize("kind", ["empty directory", "file", "dangling link"])
def test_a_stranger_in_the_place_of_a_name_is_never_overwritten(store: ModelStore, kind: str) -> None:
    """A rename onto an empty directory would succeed."""
    path = store.directory / "v1.0.0"
    match kind:
        case "empty directory":
            path.mkdir()
        case "file":
            path.write_bytes(b"mine")
        case _:
            path.symlink_to("nowhere")
    before = os.lstat(path).st_ino

    with pytest.raises(VersionTakenError):
        publish(store, "v1.0.0")

    assert before == os.lstat(path).st_ino


class CrashError(Exception):
    """Stands for whatever may go wrong at a step."""


@pytest.mark.parametrize("step", ["before", "describe", "manifest", "sync", "rename"])
def test_nothing_is_visible_of_a_publication_that_fails_at_any_step(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    publish(store, "v1.0.0")
    before = store.scan()

    def crash(*arguments: object) -> None:
        raise CrashError

    match step:
        case "manifest":
            monkeypatch.setattr(store_module, "write_durable", crash)
        case "sync":
            monkeypatch.setattr(store_module, "fsync_directory", crash)
        case "rename":
            monkeypatch.setattr(Path, "rename", crash)

    def fail() -> None:
        with store.stage() as staged:
            (staged / "model.json").write_bytes(b"{}")
            if step == "before":
                raise CrashError
            store.publish(staged, None, crash if step == "describe" else describe)  # type: ignore[arg-type]

    with pytest.raises(CrashError):
        fail()
    assert before == store.scan()
    assert os.listdir(store.directory / ".staging") == []


def test_a_version_has_its_manifest_from_the_moment_it_is_visible(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename
    seen: list[list[str]] = []

    def looking_rename(path: Path, target: Path) -> Path:
        seen.append(sorted(os.listdir(path)))
        assert not target.exists()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", looking_rename)
    publish(store)

    assert seen == [["manifest.json", "model.json"]]


def test_strangers_are_named_and_left_alone(store: ModelStore) -> None:
    publish(store, "v1.0.0")
    names = ["README", "backup-of-v1.0.0", "current", "v1", "v1.0.0.bak", "v1.0.1-rc1", "é"]
    for name in names:
        (store.directory / name).mkdir()
        (store.directory / name / "precious").write_bytes(b"mine")

    assert tuple(sorted(names)) == store.scan().strangers
    store.prune(0, ())
    store.clean_up()
    publish(store)

    for name in names:
        assert (store.directory / name / "precious").read_bytes() == b"mine"


def test_a_stranger_whose_name_is_not_utf_8_does_not_end_a_scan(store: ModelStore) -> None:
    name = os.fsdecode(b"\xff\xfe")
    (store.directory / name).mkdir()

    assert (name,) == store.scan().strangers


def test_a_directory_without_a_manifest_is_an_incomplete_entry(store: ModelStore) -> None:
    store.path(Version(1, 0, 0)).mkdir()

    (entry,) = store.scan().entries
    assert entry.incomplete
    assert entry.manifest is None
    assert "manifest.json" in str(entry.problem)


def test_entries_come_in_the_order_of_versions(store: ModelStore) -> None:
    names = ["v1.0.2", "v1.0.10", "v1.2.0", "v10.0.0"]
    for name in reversed(names):
        publish(store, name)

    assert names == listed(store)


def edits(path: Path) -> dict[str, Callable[[], object]]:
    model = path / "model.json"
    return {
        "content": lambda: model.write_bytes(b"[]"),
        "longer": lambda: model.write_bytes(b"{}  "),
        "gone": model.unlink,
        "extra": lambda: (path / "extra").write_bytes(b""),
        "mode": lambda: model.chmod(0o600),
        "renamed": lambda: model.rename(path / "other.json"),
        "link": lambda: (model.unlink(), model.symlink_to("manifest.json")),
        "inode": lambda: (shutil.copy2(model, path / "copy"), (path / "copy").replace(model)),
    }


@pytest.mark.parametrize("edit", edits(Path()))
def test_any_change_of_content_changes_the_fingerprint(store: ModelStore, edit: str) -> None:
    publish(store, "v1.0.0")
    path = store.path(Version(1, 0, 0))
    os.utime(path / "model.json", (1, 1))
    before = store.get(Version(1, 0, 0)).fingerprint
    assert before == store.get(Version(1, 0, 0)).fingerprint

    edits(path)[edit]()

    assert before != store.get(Version(1, 0, 0)).fingerprint


def test_a_manifest_is_read_again_only_when_its_directory_has_changed(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, "v1.0.0")
    publish(store, "v1.0.1")
    read: list[str] = []
    monkeypatch.setattr(
        store_module, "read_manifest", lambda path, of=store_module.read_manifest: (read.append(path.name), of(path))[1]
    )
    store.scan()
    store.scan()
    (store.path(Version(1, 0, 1)) / "extra").write_bytes(b"")
    store.scan()

    assert read == ["v1.0.0", "v1.0.1", "v1.0.1"]


def test_a_version_that_is_not_there_is_named(store: ModelStore) -> None:
    with pytest.raises(UnknownVersionError, match=r"v1\.0\.0"):
        store.get(Version(1, 0, 0))


def test_a_directory_that_is_gone_is_a_store_error_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"models.*RECSYS_PATHS__MODELS"):
        ModelStore(tmp_path / "models").scan()


def test_a_file_in_place_of_the_directory_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"")
    store = ModelStore(tmp_path / "models")

    for act in (store.ensure, store.scan, lambda: publish(store), lambda: store.prune(1, ())):
        with pytest.raises(StoreError):
            act()


def test_a_prune_takes_the_lowest_and_never_a_protected_one(store: ModelStore) -> None:
    for name in ("v1.0.0", "v1.0.1", "v1.0.2", "v1.0.3", "v1.0.4"):
        publish(store, name)

    removed = store.prune(2, [Version(1, 0, 0), Version(1, 0, 2)])

    assert [Version(1, 0, 1), Version(1, 0, 3), Version(1, 0, 4)] == removed
    assert listed(store) == ["v1.0.0", "v1.0.2"]
    assert os.listdir(store.directory / ".staging") == []


@pytest.mark.parametrize("make", [list, set, tuple, iter])
def test_protection_does_not_depend_on_how_it_is_passed(
    store: ModelStore, make: Callable[[list[Version]], object]
) -> None:
    names = ["v1.0.0", "v1.0.1", "v1.0.2"]
    for name in names:
        publish(store, name)

    assert store.prune(0, make([Version.parse(name) for name in names])) == []  # type: ignore[arg-type]
    assert names == listed(store)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_prune_keeps_the_protected_and_as_many_as_told(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = ModelStore(tmp_path_factory.mktemp("models"))
    there = [Version.parse(publish(store).version) for _ in range(data.draw(st.integers(0, 5)))]
    protected = data.draw(st.sets(st.sampled_from([*there, Version(9, 9, 9)])))
    keep = data.draw(st.integers(0, 6))

    removed = store.prune(keep, protected)

    left = [version for version in there if version not in removed]
    assert [str(version) for version in left] == listed(store)
    assert not protected & set(removed)
    assert len(left) >= min(keep, len(there))
    assert len(left) <= max(keep, len(protected & set(there)))
    assert removed == sorted(removed)


def test_a_prune_leaves_invalid_ones_alone(store: ModelStore) -> None:
    publish(store, "v1.0.0")
    (store.directory / "v0.0.1").mkdir()

    assert [Version(1, 0, 0)] == store.prune(0, ())
    assert (store.directory / "v0.0.1").is_dir()


def test_a_clean_up_of_nothing_is_nothing(tmp_path: Path) -> None:
    assert ModelStore(tmp_path / "models").clean_up() == 0


def test_a_clean_up_takes_what_is_abandoned_and_leaves_what_is_in_use(store: ModelStore) -> None:
    with store.stage() as staged:
        abandoned = staged.parent / "4711-abandoned"
        abandoned.mkdir()
        (abandoned / "half").write_bytes(b"a")

        assert store.clean_up() == 1
        assert staged.is_dir()
        assert not abandoned.exists()
    assert not staged.exists()


def test_a_clean_up_follows_no_link_out_of_the_store(store: ModelStore, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a").write_bytes(b"mine")
    with store.stage():
        (store.directory / ".staging" / "link").symlink_to(precious)
        abandoned = store.directory / ".staging" / "abandoned"
        abandoned.mkdir()
        (abandoned / "link").symlink_to(precious)
        store.clean_up()

    assert (precious / "a").read_bytes() == b"mine"


def test_a_manifest_made_by_the_store_is_plain_json(store: ModelStore) -> None:
    publish(store, "v1.0.0")

    content = json.loads((store.path(Version(1, 0, 0)) / "manifest.json").read_text())
    assert content["format"] == 1
    assert content["version"] == "v1.0.0"
