import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.artifacts.manifest import (
    DataSummary,
    FileRecord,
    Gate,
    GoldenQuery,
    Manifest,
    digest_of,
    format_time,
    parse_manifest,
)
from recsys.errors import VersionInvalidError

SHA = "0123456789abcdef" * 4


def make_manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "version": "v1.0.0",
        "created_at": datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC),
        "algorithm": "edlae",
        "hyperparameters": {"l2": 300.0, "dropout": 0.3},
        "seed": 7,
        "libraries": {"numpy": "2.0"},
        "data": DataSummary(source="sample", fingerprint="f", ratings=3, users=2, items=1),
        "metrics": {"models": {"edlae": {"ndcg@10": {"value": 0.2}}}},
        "gate": Gate(verdict="accepted"),
        "golden": (GoldenQuery(items=("1",), stars=(4.0,), ordered=True, answer=("2",), scores=(0.5,), titles=("B",)),),
        "files": (FileRecord(path="a.npy", bytes=1, sha256=SHA), FileRecord(path="b.json", bytes=2, sha256=SHA)),
    }
    return Manifest(**(values | changes))


def as_json(**changes: Any) -> bytes:
    return json.dumps(json.loads(make_manifest().to_json()) | changes).encode()


def test_a_manifest_reads_back_as_it_was_written() -> None:
    manifest = make_manifest()

    assert manifest == parse_manifest(manifest.to_json(), name="v1.0.0")


def a_file(path: str, n_bytes: Any = 1, sha256: str = SHA) -> dict[str, Any]:
    return {"path": path, "bytes": n_bytes, "sha256": sha256}


_QUERY = {"items": [], "stars": [], "ordered": True, "answer": [], "scores": [], "titles": []}


@pytest.mark.parametrize(
    "path",
    [
        "../a.npy", "..", ".", "", "/etc/passwd.npy", "a/b.npy", "a\\b.npy", "a.npy\n", "a.npy\0", ".a.npy", "A.npy",
        "a.pkl", "a.npy.exe", "manifest.json", "é.npy", "a" * 80 + ".npy", "a..npy",
    ],
)  # fmt: skip
def test_a_file_name_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(VersionInvalidError, match=r"manifest\.json"):
        parse_manifest(as_json(files=[a_file(path)]), name="v1.0.0")


@given(st.text(max_size=10), st.sampled_from("./\\\0\n "), st.text(max_size=10))
def test_no_file_name_with_a_separator_is_accepted(before: str, separator: str, after: str) -> None:
    stem = before + separator + after
    with pytest.raises(VersionInvalidError):
        parse_manifest(as_json(files=[a_file(f"{stem}.npy")]), name="v1.0.0")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"format": 2}, "format"),
        ({"format": "1.0"}, "format"),
        ({"algorithm": "pickle"}, "algorithm"),
        ({"version": "latest"}, "not a version"),
        ({"version": None}, "version"),
        ({"created_at": "2026-01-02T03:04:05"}, "created_at"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"files": [a_file("b.npy"), a_file("a.npy")]}, "sorted"),
        ({"files": [a_file("a.npy"), a_file("a.npy")]}, "once each"),
        ({"files": [a_file("a.npy", -1)]}, "bytes"),
        ({"files": [a_file("a.npy", 2**63)]}, "bytes"),
        ({"files": [a_file("a.npy", 1.5)]}, "bytes"),
        ({"files": [a_file("a.npy", sha256="x" * 64)]}, "sha256"),
        ({"files": [a_file("a.npy", sha256=SHA[:-1])]}, "sha256"),
        ({"files": [a_file("a.npy", sha256=SHA.upper())]}, "sha256"),
        ({"files": "a.npy"}, "files"),
        ({"gate": {"verdict": "maybe", "checks": []}}, "verdict"),
        ({"data": {"source": "s", "fingerprint": "f", "ratings": -1, "users": 1, "items": 1}}, "ratings"),
        ({"golden": [_QUERY | {"items": ["1"]}]}, "same length"),
        ({"golden": [_QUERY | {"answer": ["1"]}]}, "same length"),
        ({"golden": [_QUERY | {"answer": ["1"], "scores": [1.0]}]}, "same length"),
        ({"golden": [{"items": [], "stars": [], "ordered": True, "answer": ["1"] * 101, "scores": [1] * 101}]}, "100"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_by_name(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(VersionInvalidError, match=names):
        parse_manifest(as_json(**changes), name="v1.0.0")


@pytest.mark.parametrize(
    "field", sorted(json.loads(make_manifest().to_json()).keys() - {"format", "parent", "source_revision"})
)
def test_a_missing_field_is_refused_by_name(field: str) -> None:
    content = json.loads(make_manifest().to_json())
    del content[field]

    with pytest.raises(VersionInvalidError, match=field):
        parse_manifest(json.dumps(content).encode(), name="v1.0.0")


@pytest.mark.parametrize(
    "content",
    [
        b"", b" ", b"{", b"[]", b"null", b"\xff\xfe{}", b"\x00" * 100, b"[" * 100_000, b'{"a":' * 100_000,
        as_json().replace(b"sample", b"sam\xffple"), as_json()[:-20], as_json() + b"{}",
        as_json().replace(b'"seed": 7', b'"seed": NaN'),
        as_json(metrics="@").replace(b'"@"', b"[" * 9000 + b"]" * 9000),
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(VersionInvalidError):
        parse_manifest(content, name="v1.0.0")


@given(st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_manifest_or_a_refusal(content: bytes) -> None:
    with pytest.raises(VersionInvalidError):
        parse_manifest(content, name="v1.0.0")


def test_a_manifest_of_another_version_is_refused_with_both_names() -> None:
    with pytest.raises(VersionInvalidError, match=r"v1\.0\.0.*v2\.0\.0"):
        parse_manifest(make_manifest().to_json(), name="v2.0.0")


def test_the_digest_is_of_the_files_alone() -> None:
    digest = make_manifest().digest

    assert digest == make_manifest(version="v2.0.0", seed=8, gate=Gate(verdict="rejected")).digest
    assert digest == digest_of(make_manifest().files)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.model_copy(update={"path": "c.npy"}),
        lambda record: record.model_copy(update={"bytes": 9}),
        lambda record: record.model_copy(update={"sha256": SHA[::-1]}),
    ],
)
def test_the_digest_changes_with_any_file(change: Callable[[FileRecord], FileRecord]) -> None:
    files = make_manifest().files

    assert digest_of(files) != digest_of((files[0], change(files[1])))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678_900, UTC), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000Z"),
    ],
)
def test_times_are_written_in_utc_wherever_the_model_was_made(moment: datetime, text: str) -> None:
    assert text == format_time(moment)
