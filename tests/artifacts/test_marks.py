from pathlib import Path

import pytest

from recsys.artifacts.marks import Mark, Marks
from recsys.artifacts.version import Version
from recsys.errors import StoreError

MARK = Mark("fingerprint", "a reason", "2026-01-01T00:00:00.000Z")


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path / "state")


def test_nothing_is_pinned_or_failed_before_anybody_said_so(marks: Marks) -> None:
    assert marks.pinned() is None
    assert marks.failed() == {}
    assert not marks.unpin()


def test_a_pin_is_what_was_pinned_last_until_it_is_lifted(marks: Marks, tmp_path: Path) -> None:
    marks.pin(Version(1, 0, 0))
    marks.pin(Version(1, 0, 2))

    assert Version(1, 0, 2) == marks.pinned() == Marks(tmp_path / "state").pinned()
    assert marks.unpin()
    assert marks.pinned() is None


def test_marks_are_kept_until_they_are_forgotten(marks: Marks, tmp_path: Path) -> None:
    marks.mark("v1.0.0", MARK)
    marks.mark("v1.0.1", MARK)
    marks.forget({"v1.0.0", "v7.7.7"})

    assert Marks(tmp_path / "state").failed() == {"v1.0.1": MARK}


def test_a_second_mark_takes_the_place_of_the_first(marks: Marks) -> None:
    later = Mark("other", "another reason", "later")
    marks.mark("v1.0.0", MARK)
    marks.mark("v1.0.0", later)

    assert {"v1.0.0": later} == marks.failed()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\0" * 10])
def test_a_file_that_cannot_be_read_is_an_error_with_what_to_do(marks: Marks, content: bytes) -> None:
    marks.ensure()
    (marks.directory / "pin.json").write_bytes(content)
    (marks.directory / "quarantine.json").write_bytes(content)

    for read in (marks.pinned, marks.failed):
        with pytest.raises(StoreError, match="put it right or delete it"):
            read()


@pytest.mark.parametrize("content", [b'{"version": "latest"}', b'{"version": 7}', b"[]", b'{"pin": "v1.0.0"}'])
def test_a_pin_that_names_no_version_is_an_error_not_no_pin(marks: Marks, content: bytes) -> None:
    """Somebody wanted a version held; to go on as if nobody had would swap under their hands."""
    marks.ensure()
    (marks.directory / "pin.json").write_bytes(content)

    with pytest.raises(StoreError, match=r"pin\.json"):
        marks.pinned()


def test_marks_of_another_make_are_skipped(marks: Marks) -> None:
    marks.mark("v1.0.0", MARK)
    path = marks.directory / "quarantine.json"
    path.write_bytes(path.read_bytes().replace(b"{", b'{"v2.0.0": 7, "v3.0.0": {"reason": "x"},', 1))

    assert marks.failed() == {"v1.0.0": MARK}


def test_a_state_directory_that_cannot_be_made_is_an_error_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")

    with pytest.raises(StoreError, match="RECSYS_PATHS__STATE"):
        Marks(tmp_path / "state").pin(Version(1, 0, 0))
