"""Reading and writing files so that neither a crash nor a hostile file can hurt: durable writes, bounded strict reads.

Must not know what the files mean.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recsys.artifacts.turns import go_on
from recsys.errors import VersionIncompleteError, VersionInvalidError

_AT_ONCE_BYTES = 2**18


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durable(path: Path, content: bytes | memoryview) -> None:
    """Write a new file and wait until it is on disk. The caller makes its name durable."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_durable(path: Path, content: bytes) -> None:
    """Write beside `path`, then rename onto it: a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        write_durable(temporary, content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def remove_temporaries(path: Path) -> int:
    """Remove what killed processes left beside `path` in `replace_durable`, and return how many there were. The caller
    sees to it that nobody is writing.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.\d+\.[0-9a-f]{{8}}")
    found = [other for other in path.parent.iterdir() if pattern.fullmatch(other.name)]
    for other in found:
        other.unlink(missing_ok=True)
    return len(found)


def read_exactly(directory: int, name: str, n_bytes: int, *, pause: Callable[[], None] = go_on) -> memoryview:
    """Read a regular file of exactly `n_bytes` from an open directory, following no link.

    Errors: VersionIncompleteError for one that is missing or shorter, VersionInvalidError for anything else.
    Cost: one read into one buffer, a piece at a time with a `pause` after each, since fresh memory can hold up a whole
    virtual machine (4 ms for 11 MB in one piece). What is returned is what was read, read-only, so what is hashed can
    be what is used.
    """
    descriptor = open_regular(directory, name)
    try:
        found = os.fstat(descriptor).st_size
        if found > n_bytes:
            raise VersionInvalidError(f"{name} has {found} bytes, the manifest says {n_bytes}")
        if found < n_bytes:
            raise VersionIncompleteError(f"{name} has {found} of {n_bytes} bytes")
        content = np.empty(n_bytes, np.uint8).data  # a bytearray would be filled with zeros, the GIL held
        start = 0
        while start < n_bytes and (n_read := os.readv(descriptor, [content[start : start + _AT_ONCE_BYTES]])):
            start += n_read
            pause()
    except OSError as error:
        raise VersionInvalidError(f"{name} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if start != n_bytes:
        raise VersionIncompleteError(f"{name} shrank while it was read")
    return content.toreadonly()


def open_regular(directory: int, name: str) -> int:
    """Open a file of an open directory for reading, refusing links, devices, pipes and folders."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError as error:
        raise VersionIncompleteError(f"{name} is missing") from error
    except OSError as error:
        raise VersionInvalidError(f"{name} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VersionInvalidError(f"{name} is not a regular file")
    return descriptor


def fingerprint_of(path: Path) -> str:
    """Tell any change of a directory's content from outside: names, kinds, sizes, times and inodes of all it holds."""
    parts = []
    try:
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            found = entry.stat(follow_symlinks=False)
            parts.append((entry.name, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
        parts.append(("", os.lstat(path).st_mode, 0, 0, 0, os.lstat(path).st_ino))
    except OSError as error:
        parts = [(type(error).__name__, error.errno or 0, 0, 0, 0, 0)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
