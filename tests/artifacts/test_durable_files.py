import os
import socket
from pathlib import Path

import pytest

from recsys.artifacts import files
from recsys.artifacts.files import read_exactly, replace_durable, write_durable
from recsys.errors import VersionIncompleteError, VersionInvalidError


@pytest.fixture
def directory(tmp_path: Path) -> int:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("n_bytes", [0, 1, 4096, 4 * 2**20, 4 * 2**20 + 1, 9 * 2**20])
def test_a_file_of_the_size_told_is_read_whole(tmp_path: Path, directory: int, n_bytes: int) -> None:
    content = os.urandom(n_bytes)
    (tmp_path / "a").write_bytes(content)

    assert content == read_exactly(directory, "a", n_bytes)


@pytest.mark.parametrize("n_bytes", [3, 5 * 2**20])
def test_a_shorter_file_is_incomplete_and_a_longer_one_invalid(tmp_path: Path, directory: int, n_bytes: int) -> None:
    (tmp_path / "a").write_bytes(bytes(n_bytes))

    with pytest.raises(VersionIncompleteError, match=f"{n_bytes} of {n_bytes + 1}"):
        read_exactly(directory, "a", n_bytes + 1)
    with pytest.raises(VersionInvalidError, match="the manifest says") as caught:
        read_exactly(directory, "a", n_bytes - 1)
    assert not isinstance(caught.value, VersionIncompleteError)


def test_a_missing_file_is_incomplete(directory: int) -> None:
    with pytest.raises(VersionIncompleteError, match="a is missing"):
        read_exactly(directory, "a", 1)


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path, directory: int) -> None:
    """A pipe nobody writes to would hang a plain open for ever."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "target").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        # a socket's path is limited to about 100 bytes, which a temporary directory's may exceed
        listening.bind(f"/proc/self/fd/{directory}/socket")
        for name in ("folder", "pipe", "link", "dangling", "socket"):
            with pytest.raises(VersionInvalidError, match=name):
                read_exactly(directory, name, 3)


def test_a_file_that_shrinks_under_the_read_is_incomplete(tmp_path: Path, directory: int) -> None:
    (tmp_path / "a").write_bytes(bytes(9 * 2**20))

    with pytest.raises(VersionIncompleteError, match="shrank"):
        read_exactly(directory, "a", 9 * 2**20, pause=lambda: os.truncate(tmp_path / "a", 0))


def test_others_get_a_turn_between_pieces(tmp_path: Path, directory: int) -> None:
    (tmp_path / "a").write_bytes(bytes(9 * 2**20))
    pauses: list[None] = []
    read_exactly(directory, "a", 9 * 2**20, pause=lambda: pauses.append(None))

    assert len(pauses) >= 9


def test_what_was_read_cannot_be_changed(tmp_path: Path, directory: int) -> None:
    (tmp_path / "a").write_bytes(bytes(2**20))

    assert read_exactly(directory, "a", 2**20).readonly


def test_a_disk_that_fails_to_read_is_a_refusal_that_names_the_file(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(bytes(9 * 2**20))

    def failing_read(descriptor: int, buffers: list[memoryview]) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.os, "readv", failing_read)
    with pytest.raises(VersionInvalidError, match=r"a .*Input/output error"):
        read_exactly(directory, "a", 9 * 2**20)


def test_a_read_leaves_no_descriptor_open(tmp_path: Path, directory: int) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/proc/self/fd")

    read_exactly(directory, "a", 3)
    for name, n_bytes in (("a", 2), ("a", 4), ("pipe", 3), ("none", 3)):
        with pytest.raises(VersionInvalidError):
            read_exactly(directory, name, n_bytes)

    assert len(before) == len(os.listdir("/proc/self/fd"))


def test_writing_never_goes_over_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    with pytest.raises(FileExistsError):
        write_durable(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_replacing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    replace_durable(path, b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            replace_durable(path, b"new")

    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]
    replace_durable(path, b"new")
    assert path.read_bytes() == b"new"
