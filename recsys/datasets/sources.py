"""Where the bytes of a data set come from: a file, a directory or a zip, all seen as folders of named files.

Owns opening, the bounds on what a zip may unpack to, and turning the errors of the operating system and of
zipfile into DataError. A zip is read in place: nothing is written to disk, so no name in it leads anywhere.
Must not know what is in the files.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO

from recsys.datasets.tally import shown
from recsys.errors import DataError

#: Read at a time: enough for numpy and pandas to work in bulk, little beside the columns of a large data set.
BLOCK_BYTES = 8 * 2**20
#: A file with no line end in this many bytes is not a table.
MAX_LINE_BYTES = 2**20
#: The largest public set, MovieLens 32M, unpacks to less than 1 GiB.
MAX_UNPACKED_BYTES = 8 * 2**30
#: Ratings shrink to about a quarter. Small files may be repetitive, so the ratio counts only above a size.
MAX_RATIO, RATIO_COUNTS_FROM_BYTES = 200, 64 * 2**20
#: Somebody may point at a home directory: it need not be searched to the end.
_MAX_ENTRIES, _MAX_FOLDERS, _MAX_ENTRIES_INSIDE = 100_000, 100, 1_000
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_BOM = b"\xef\xbb\xbf"
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,  # zipfile: a password is needed; NotImplementedError: a compression it does not know
    ValueError,
    ArithmeticError,
    LookupError,
    struct.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
)


@contextmanager
def _told_as_data_error(what: str) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{shown(what, 300)} cannot be read: {shown(str(reason), 200)}") from error


@dataclass(frozen=True)
class File:
    """One readable file: its base name for messages, its size unpacked, and how to open it."""

    name: str
    size_bytes: int
    open: Callable[[], IO[bytes]]

    def head(self, n_bytes: int = 65_536) -> bytes:
        """The first bytes, without a byte order mark."""
        with _told_as_data_error(self.name), self.open() as stream:
            return stream.read(n_bytes).removeprefix(_BOM)

    def blocks(self) -> Iterator[bytes]:
        """The content in pieces of about BLOCK_BYTES, each of whole lines that end in a newline; without a
        byte order mark.

        Errors: DataError when it cannot be read, or has a line that is longer than any table's.
        """
        with _told_as_data_error(self.name), self.open() as stream:
            rest = b""
            at_start = True
            while piece := stream.read(BLOCK_BYTES):
                rest += piece
                if at_start and len(rest) >= len(_BOM):
                    rest, at_start = rest.removeprefix(_BOM), False
                whole = rest.rfind(b"\n") + 1
                if len(rest) - whole > MAX_LINE_BYTES:
                    raise DataError(
                        f"{self.name} is not a table of text: it has a line of over {MAX_LINE_BYTES:,} bytes"
                    )
                if whole:
                    yield rest[:whole]
                    rest = rest[whole:]
            if rest:
                yield rest + b"\n"


Folder = Mapping[str, File]


@dataclass(frozen=True)
class Source:
    """What the operator pointed at: folders by their path inside it, files by lower-case name.

    `chosen` is set when it was one file: the name of that file in the folder "", its neighbours beside it.
    """

    path: Path
    folders: Mapping[str, Folder]
    chosen: str | None = None


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file, directory or zip for reading; a zip stays open for the length of the `with`."""
    with _told_as_data_error(str(path)):
        if path.is_dir():
            found: Source | None = Source(path, _directory(path))
        elif not path.exists():
            raise DataError(
                f"{shown(str(path), 300)} does not exist",
                hint="name a MovieLens directory or zip, or a CSV file with a header",
            )
        elif not path.is_file():
            raise DataError(f"{shown(str(path), 300)} is neither a file nor a directory")
        else:
            found = None if _is_zip(path) else _single(path)
    if found is not None:
        yield found
        return
    with _told_as_data_error(str(path)):
        archive = zipfile.ZipFile(path)
    with archive:
        with _told_as_data_error(str(path)):
            members = _members(archive)
        yield Source(path, members)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in _ZIP_MAGIC or path.suffix.lower() == ".zip"


def _on_disk(path: Path) -> File:
    return File(path.name, path.stat().st_size, lambda: path.open("rb"))


def _entries(directory: Path, limit: int) -> list[Path]:
    return sorted(path for path in islice(directory.iterdir(), limit) if not path.name.startswith("."))


def _files_in(directory: Path, limit: int = _MAX_ENTRIES) -> Folder:
    files = {}
    for path in _entries(directory, limit):
        try:
            if path.is_file():
                files[path.name.lower()] = _on_disk(path)
        except OSError:  # gone since it was listed
            continue
    return files


def _directory(path: Path) -> dict[str, Folder]:
    folders = {"": _files_in(path)}
    inner = [entry for entry in _entries(path, _MAX_ENTRIES) if entry.is_dir()]
    for folder in inner[:_MAX_FOLDERS]:
        try:
            folders[folder.name] = _files_in(folder, _MAX_ENTRIES_INSIDE)
        except OSError:  # what cannot be listed is not what the operator means
            continue
    return folders


def _single(path: Path) -> Source:
    chosen = path.name.lower()
    try:
        beside = _files_in(path.parent)
    except OSError:
        beside = {}
    return Source(path, {"": {**beside, chosen: _on_disk(path)}}, chosen)


def _members(archive: zipfile.ZipFile) -> dict[str, Folder]:
    folders: dict[str, dict[str, File]] = {}
    for info in archive.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))
        hidden = name.name.startswith(".") or "__MACOSX" in name.parts
        outside = name.is_absolute() or ".." in name.parts
        # A name can be empty in a damaged zip, and is_dir() fails on that.
        if not name.name or info.is_dir() or hidden or outside:
            continue
        folder = folders.setdefault("" if str(name.parent) == "." else str(name.parent), {})
        folder.setdefault(name.name.lower(), _member(archive, info, name.name))
    return dict(folders)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> File:
    def open_member() -> IO[bytes]:
        if info.flag_bits & 0x1:
            raise DataError(f"{shown(info.filename, 200)} in the zip is encrypted", hint="unpack it first")
        # zipfile never gives more than the declared size, so checking what is declared is enough.
        packed = max(info.compress_size, 1)
        swollen = info.file_size > RATIO_COUNTS_FROM_BYTES and info.file_size > MAX_RATIO * packed
        if swollen or info.file_size > MAX_UNPACKED_BYTES:
            raise DataError(
                f"{shown(info.filename, 200)} in the zip unpacks from {packed:,} to {info.file_size:,} bytes",
                hint="that looks like a zip bomb; if it is not, unpack it and name the directory",
            )
        return archive.open(info)

    return File(name, info.file_size, open_member)
