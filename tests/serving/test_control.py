"""Pin, unpin and rollback on a store without a service: what is refused, and in which words."""

from collections.abc import Callable
from pathlib import Path

import pytest
from service import copy_version

from recsys.artifacts.marks import Mark, Marks
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import NothingToRollBackError, PinnedBySettingError, UnknownVersionError, VersionInvalidError
from recsys.serving.control import Control

V0, V1, V2 = Version(1, 0, 0), Version(1, 0, 1), Version(1, 0, 2)


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path / "state")


@pytest.fixture
def store(store_with: Callable[..., ModelStore]) -> ModelStore:
    return store_with("v1.0.0", "v1.0.1", "v1.0.2")


@pytest.fixture
def control(store: ModelStore, marks: Marks) -> Control:
    return Control(store, marks, None)


def mark(store: ModelStore, marks: Marks, version: Version) -> None:
    marks.mark(str(version), Mark(store.get(version).fingerprint, "it was slow", "2024-02-29T00:00:00Z"))


def test_a_pin_lasts_until_it_is_lifted(control: Control, store: ModelStore, marks: Marks) -> None:
    control.pin(V1)
    assert V1 == control.pinned() == Control(store, marks, None).pinned()
    control.pin(V0)
    assert control.pinned() == V0
    assert control.unpin()
    assert control.pinned() is None
    assert not control.unpin()


def test_a_rejected_version_may_be_pinned(control: Control, store: ModelStore, trained_sample: Path) -> None:
    copy_version(trained_sample / "v1.0.0", store.path(Version(1, 0, 3)), gate={"verdict": "rejected", "checks": []})
    control.pin(Version(1, 0, 3))
    assert Version(1, 0, 3) == control.pinned()


def test_a_version_that_is_not_there_cannot_be_pinned(control: Control) -> None:
    with pytest.raises(UnknownVersionError, match=r"no v9\.0\.0"):
        control.pin(Version(9, 0, 0))
    assert control.pinned() is None


def test_a_version_without_manifest_cannot_be_pinned(control: Control, store: ModelStore) -> None:
    (store.path(V1) / "manifest.json").unlink()
    with pytest.raises(VersionInvalidError, match=r"v1\.0\.1 cannot be served: .*manifest\.json"):
        control.pin(V1)


def test_a_version_that_has_failed_cannot_be_pinned_until_it_changes(
    control: Control, store: ModelStore, marks: Marks
) -> None:
    mark(store, marks, V1)
    with pytest.raises(VersionInvalidError, match="it was slow"):
        control.pin(V1)
    (store.path(V1) / "manifest.json").touch()
    control.pin(V1)
    assert control.pinned() == V1


@pytest.mark.parametrize(("serving", "target"), [(V2, V1), (V1, V0)])
def test_a_rollback_pins_the_highest_below_the_served_one(control: Control, serving: Version, target: Version) -> None:
    assert target == control.rollback(serving) == control.pinned()


def test_a_rollback_passes_over_rejected_and_failed_ones(
    control: Control, store: ModelStore, marks: Marks, trained_sample: Path
) -> None:
    copy_version(trained_sample / "v1.0.0", store.path(Version(1, 0, 3)), gate={"verdict": "rejected", "checks": []})
    mark(store, marks, V2)
    assert control.rollback(Version(1, 0, 4)) == V1


@pytest.mark.parametrize("serving", [V0, None])
def test_a_rollback_with_nothing_below_changes_nothing(control: Control, serving: Version | None) -> None:
    with pytest.raises(NothingToRollBackError, match=r"there is no (accepted )?version"):
        control.rollback(serving)
    assert control.pinned() is None


def test_a_pin_by_setting_is_not_overruled(store: ModelStore, marks: Marks) -> None:
    control = Control(store, marks, V1)
    for act in (lambda: control.pin(V0), control.unpin, lambda: control.rollback(V2)):
        with pytest.raises(PinnedBySettingError, match=r"RECSYS_MODEL__VERSION pins v1\.0\.1"):
            act()
    assert control.pinned() == V1
    assert marks.pinned() is None


def test_the_situation_of_a_start_has_no_failed_and_no_broken_version(
    control: Control, store: ModelStore, marks: Marks
) -> None:
    mark(store, marks, V2)
    (store.path(V1) / "manifest.json").unlink()
    situation = control.situation()
    assert ({V0: True}, frozenset({V2}), None) == (situation.available, situation.failed, situation.serving)
