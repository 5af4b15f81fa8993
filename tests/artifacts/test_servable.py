"""Issue 2's bad input for a version directory: each spoiled one is refused with a reason, and left as it was."""

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spoiling import Spoiled, no_pause

from recsys.artifacts.manifest import MAX_FILE_BYTES
from recsys.artifacts.servable import Servable, load_servable, read_manifest
from recsys.errors import VersionIncompleteError, VersionInvalidError

FILES = (
    "column_norms.npy", "history_indptr.npy", "history_items.npy", "history_timestamps.npy", "history_values.npy",
    "item_item.npy", "items.jsonl", "model.json", "popularity.npy", "rating_counts.npy", "row_norms.npy",
    "top_items.npy", "top_scores.npy", "top_users.npy", "users.jsonl",
)  # fmt: skip
EVERYTHING = (*FILES, "manifest.json")


@contextmanager
def refused(match: str, *, incomplete: bool = False) -> Iterator[None]:
    """`incomplete`: that the refusal is one a copy under way may get."""
    with pytest.raises(VersionInvalidError, match=match) as caught:
        yield
    assert incomplete == isinstance(caught.value, VersionIncompleteError)


def test_the_files_spoiled_here_are_all_there_are(spoiled: Spoiled) -> None:
    assert sorted(EVERYTHING) == sorted(os.listdir(spoiled.path))


def test_a_sound_version_loads_under_its_name(spoiled: Spoiled) -> None:
    servable = spoiled.load()

    assert servable.version == "v1.0.0"
    assert servable.manifest == read_manifest(spoiled.path)
    assert servable.contents.catalogue.n_items == len(servable.item_index)
    assert servable.manifest.data.users == len(servable.user_index)


def test_a_loaded_model_does_not_hang_on_its_files(spoiled: Spoiled, sample_servable: Servable) -> None:
    """Mapped, a truncated file would kill the process with SIGBUS."""
    servable = spoiled.load()
    for name in EVERYTHING:
        (spoiled.path / name).write_bytes(b"")
    shutil.rmtree(spoiled.path)

    for user in range(0, len(servable.user_index), 50):
        wanted = sample_servable.recommender.recommend(sample_servable.history(user), 10)
        np.testing.assert_array_equal(wanted, servable.recommender.recommend(servable.history(user), 10))


def test_what_ratings_count_is_worked_out_before_it_is_asked(sample_servable: Servable) -> None:
    weighting = sample_servable.recommender.weighting
    for user in range(0, len(sample_servable.user_index), 50):
        history = sample_servable.history(user)
        wanted = weighting.weights(history.stars, ordered=history.ordered)
        assert history.weights == pytest.approx(wanted, rel=1e-6)


def test_a_load_gives_the_loop_its_turn_while_a_large_file_is_read_and_hashed(spoiled: Spoiled) -> None:
    """All files are read and hashed, the spoiled one last, and nothing is decoded."""
    content = bytearray(spoiled.read("users.jsonl"))
    content[0] ^= 1
    (spoiled.path / "users.jsonl").write_bytes(content)
    pauses: list[None] = []

    with refused("SHA-256"):
        load_servable(spoiled.path, pause=lambda: pauses.append(None))

    assert len(pauses) == 2 * sum(-(-(spoiled.path / name).stat().st_size // 2**18) for name in FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("at", [0, 0.5, -1])
def test_a_flipped_bit_is_refused(spoiled: Spoiled, name: str, at: float) -> None:
    content = bytearray(spoiled.read(name))
    content[int(at * len(content))] ^= 1
    (spoiled.path / name).write_bytes(content)

    with refused(rf"{name} does not have the SHA-256"):
        spoiled.load()


def test_a_flipped_bit_in_the_manifest_changes_nothing_that_matters_or_is_refused(spoiled: Spoiled) -> None:
    """Bytes of metrics and times can change unseen; what is served must not."""
    content = spoiled.read("manifest.json")
    wanted = spoiled.load()
    for at in range(0, len(content), max(1, len(content) // 60)):
        flipped = bytearray(content)
        flipped[at] ^= 1
        (spoiled.path / "manifest.json").write_bytes(flipped)
        try:
            found = spoiled.load()
        except VersionInvalidError:
            continue
        assert wanted.manifest.digest == found.manifest.digest


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_missing_file_is_refused_as_incomplete(spoiled: Spoiled, name: str) -> None:
    (spoiled.path / name).unlink()

    for look in (spoiled.load, lambda: read_manifest(spoiled.path)):
        with refused(name.replace(".", r"\."), incomplete=True):
            look()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_file_is_refused_as_incomplete(spoiled: Spoiled, name: str, share: float) -> None:
    path = spoiled.path / name
    os.truncate(path, int(path.stat().st_size * share))

    for look in (spoiled.load, lambda: read_manifest(spoiled.path)):
        with refused(rf"{name} has \d+ of \d+ bytes", incomplete=True):
            look()


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_manifest_is_refused(spoiled: Spoiled, share: float) -> None:
    path = spoiled.path / "manifest.json"
    os.truncate(path, int(path.stat().st_size * share))

    with pytest.raises(VersionInvalidError, match=r"manifest\.json"):
        spoiled.load()


@pytest.mark.parametrize("name", FILES)
def test_a_longer_file_is_refused(spoiled: Spoiled, name: str) -> None:
    with (spoiled.path / name).open("ab") as file:
        file.write(b"\n")

    for look in (spoiled.load, lambda: read_manifest(spoiled.path)):
        with refused(rf"{name} has \d+ bytes, the manifest says"):
            look()


@pytest.mark.parametrize("name", ["notes.txt", "extra.npy", ".hidden", "item_item_values.npy", "manifest.json~"])
def test_a_file_that_the_manifest_does_not_list_is_refused(spoiled: Spoiled, name: str) -> None:
    (spoiled.path / name).write_bytes(b"")

    with refused(rf"{name}: not in the manifest"):
        spoiled.load()


def test_a_file_name_that_is_not_utf_8_is_refused(spoiled: Spoiled) -> None:
    (spoiled.path / os.fsdecode(b"\xff\xfe.npy")).write_bytes(b"")

    with refused("not in the manifest"):
        spoiled.load()


def test_a_folder_within_is_refused(spoiled: Spoiled) -> None:
    (spoiled.path / "more").mkdir()

    with refused("more: not in the manifest"):
        spoiled.load()


def replace_by(path: Path, make: Callable[[Path], object]) -> None:
    path.rename(path.parents[1] / f"aside-{path.name}")
    make(path)


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
@pytest.mark.timeout(20)
def test_what_is_not_a_regular_file_is_refused_and_never_waited_for(spoiled: Spoiled, name: str, kind: str) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "link": lambda path: path.symlink_to(path.parents[1] / f"aside-{name}"),
        "dangling link": lambda path: path.symlink_to("nowhere"),
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
    }
    replace_by(spoiled.path / name, makers[kind])

    for look in (spoiled.load, lambda: read_manifest(spoiled.path)):
        with refused(name.replace(".", r"\.")):
            look()


def test_a_link_in_place_of_the_directory_is_refused(spoiled: Spoiled) -> None:
    aside = spoiled.path.parents[1] / "v1.0.0"
    spoiled.path.rename(aside)
    spoiled.path.symlink_to(aside)

    with refused(r"v1\.0\.0 cannot be opened"):
        spoiled.load()


def test_a_file_in_place_of_the_directory_is_refused(spoiled: Spoiled) -> None:
    shutil.rmtree(spoiled.path)
    spoiled.path.write_bytes(b"")

    with refused(r"v1\.0\.0 cannot be opened"):
        spoiled.load()


def test_a_directory_that_is_gone_is_incomplete(spoiled: Spoiled) -> None:
    shutil.rmtree(spoiled.path)

    with refused(r"v1\.0\.0 is gone", incomplete=True):
        spoiled.load()


def test_a_name_that_is_not_its_manifests_is_refused_with_both(spoiled: Spoiled) -> None:
    renamed = spoiled.path.rename(spoiled.path.with_name("v1.0.7"))

    with refused(r"is of v1\.0\.0, the directory is named v1\.0\.7"):
        load_servable(renamed, pause=no_pause)


@pytest.mark.parametrize("path", ["../v1.0.0/model.json", "..", "/etc/hostname", "sub/model.json", "./model.json"])
def test_a_path_in_the_manifest_that_leads_elsewhere_is_refused(spoiled: Spoiled, path: str) -> None:
    manifest = spoiled.manifest
    manifest["files"][7]["path"] = path
    spoiled.write_manifest(manifest)

    with refused(r"manifest\.json: files\.7\.path"):
        spoiled.load()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": 2}, "format"),
        ({"format": None}, "format"),
        ({"algorithm": "transformer"}, "algorithm"),
        ({"algorithm": "popularity"}, "different algorithms"),
        ({"created_at": "once"}, "created_at"),
        ({"golden": None}, "golden"),
        ({"files": []}, "not in the manifest"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_by_field(
    spoiled: Spoiled, changes: dict[str, Any], match: str
) -> None:
    spoiled.describe(**changes)

    with refused(match):
        spoiled.load()


@pytest.mark.parametrize("field", ["items", "users", "ratings"])
def test_counts_that_do_not_agree_with_the_files_are_refused(spoiled: Spoiled, field: str) -> None:
    data = spoiled.manifest["data"]
    spoiled.describe(data=data | {field: data[field] + 1})

    with refused("the files hold"):
        spoiled.load()


@pytest.mark.parametrize("content", [b"", b"[" * 200_000, b'{"metrics":' * 50_000, b"\xff" * 100, b"\0" * 4096])
def test_a_manifest_that_is_no_json_object_is_refused(spoiled: Spoiled, content: bytes) -> None:
    (spoiled.path / "manifest.json").write_bytes(content)

    with refused(r"manifest\.json"):
        spoiled.load()


@contextmanager
def limited_memory(n_bytes: int) -> Iterator[None]:
    """Let the process have only so much more address space than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("size", [2**30, MAX_FILE_BYTES, MAX_FILE_BYTES + 1, 2**63, 10**30])
def test_an_absurd_size_in_the_manifest_allocates_nothing(spoiled: Spoiled, size: int) -> None:
    manifest = spoiled.manifest
    manifest["files"][5]["bytes"] = size
    spoiled.write_manifest(manifest)

    with limited_memory(256 * 2**20), pytest.raises(VersionInvalidError):
        spoiled.load()


def test_an_absurdly_large_manifest_is_not_read(spoiled: Spoiled) -> None:
    os.truncate(spoiled.path / "manifest.json", 2**40)

    with limited_memory(256 * 2**20), refused(r"manifest\.json has \d+ bytes, more than"):
        spoiled.load()


def test_an_absurd_shape_in_an_array_allocates_nothing(spoiled: Spoiled) -> None:
    content = spoiled.read("history_items.npy")
    shape = content[: content.index(b"\n")].split(b"'shape': ")[1].split(b")")[0] + b")"
    absurd = b"(99999999999,)"
    header = content[:128].replace(shape + b", }" + b" " * (len(absurd) - len(shape)), absurd + b", }")
    assert len(header) == 128
    assert absurd in header
    spoiled.rewrite("history_items.npy", header + content[128:])

    with limited_memory(256 * 2**20), refused(r"history_items\.npy has shape"):
        spoiled.load()


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(("l", "json"))])
def test_text_that_is_not_utf_8_is_refused(spoiled: Spoiled, name: str) -> None:
    spoiled.rewrite(name, spoiled.read(name).replace(b'"', b'"\xff', 3))

    with refused(name):
        spoiled.load()


@pytest.mark.parametrize("name", FILES)
def test_a_file_left_out_of_directory_and_manifest_alike_is_refused(spoiled: Spoiled, name: str) -> None:
    spoiled.rewrite(name, None)

    with refused(r"is not in the manifest|not part of such a model"):
        spoiled.load()


def test_a_refused_version_is_left_as_it_was(spoiled: Spoiled) -> None:
    spoiled.rewrite("model.json", b"{}")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in spoiled.path.iterdir()}

    with refused(r"model\.json"):
        spoiled.load()

    assert before == {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in spoiled.path.iterdir()}


def test_neither_a_load_nor_a_refusal_leaves_a_descriptor_open(spoiled: Spoiled) -> None:
    before = len(os.listdir("/proc/self/fd"))

    spoiled.load()
    read_manifest(spoiled.path)
    replace_by(spoiled.path / "users.jsonl", os.mkfifo)
    with refused("users"):
        spoiled.load()

    assert before == len(os.listdir("/proc/self/fd"))
