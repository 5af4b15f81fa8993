"""The sample data set on disk, in MovieLens CSV form: there whole or not at all, the same bytes each time.

Must not know how it is drawn.
"""

import contextlib
import csv
import fcntl
import io
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from recsys.datasets.ratings import Dataset
from recsys.datasets.sample import make_sample
from recsys.errors import DataError

README = """\
A sample data set in MovieLens CSV form: 600 people, 1,000 films, some 40,000 ratings.

All of it was invented by this project: no film, person or rating is real, and where a title is that of a
real film, it is so by accident. It is free to use under the licence of the project. It is made the same way
each time: delete the directory to have it made again.
"""


def _as_files(dataset: Dataset) -> dict[str, bytes]:
    known = dataset.catalogue
    movies = io.StringIO()
    writer = csv.writer(movies, lineterminator="\n")
    writer.writerow(("movieId", "title", "genres"))
    films = zip(known.item_ids, known.titles, known.years, known.genres, strict=True)
    for item_id, title, year, genres in films:
        writer.writerow((item_id, f"{title} ({year})", "|".join(genres)))
    columns = (dataset.users, dataset.items, dataset.values, dataset.timestamps)
    ratings = [
        f"{dataset.user_ids[user]},{known.item_ids[item]},{value:.1f},{timestamp}\n"
        for user, item, value, timestamp in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return {
        "README.txt": README.encode(),
        "movies.csv": movies.getvalue().encode(),
        "ratings.csv": "".join(["userId,movieId,rating,timestamp\n", *ratings]).encode(),
    }


def _is_complete(directory: Path) -> bool:
    return all((directory / name).is_file() for name in ("README.txt", "movies.csv", "ratings.csv"))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_sample(directory: Path) -> Path:
    """Write the sample to `directory` and return it; a sample that is there already is kept as it is.

    It is made beside its place and renamed: it is there whole or not at all, also after a crash and with
    several processes at it. Errors: DataError when the directory holds something else or cannot be written.
    """
    target = directory.resolve()
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    lock = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(target.parent):
            _remove_abandoned(target)
        # in this order: what another process renames into place in between is complete
        is_occupied = target.exists() and any(target.iterdir())
        if _is_complete(target):
            return directory
        if is_occupied:
            raise DataError(f"{directory} holds something that is no sample", hint="name another directory")
        with _alone_in(target.parent):
            staging.mkdir()
            lock = _lock(staging)
        for name, content in _as_files(make_sample()).items():
            (staging / name).write_bytes(content)
            _sync(staging / name)
        _sync(staging)
        staging.rename(target)
        _sync(target.parent)
    except OSError as error:
        # a rename never replaces a directory that holds something: another process was first
        if not _is_complete(target):
            raise DataError(f"the sample cannot be written to {directory}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    return directory


@contextlib.contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    """Hold a directory: between its making and its locking a staging directory looks abandoned."""
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(target: Path) -> None:
    """Remove what killed processes left beside the sample. One who is at it holds a lock, which ends with him."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}")
    for path in target.parent.iterdir():
        if pattern.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                os.close(_lock(path))
                shutil.rmtree(path)


def _lock(directory: Path) -> int:
    """Errors: OSError while another process holds it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
