"""`recsys ratings`: what people rated, out into a CSV file and in from one, beside a running service or without one.

Owns what is refused, what is told, and that a file appears whole or not at all. Must not know SQL, nor CSV.
"""

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from recsys.artifacts.files import fsync_directory
from recsys.artifacts.marks import Marks
from recsys.artifacts.servable import load_servable
from recsys.artifacts.store import ModelStore
from recsys.artifacts.turns import go_on
from recsys.cli.logs import configure_logging
from recsys.cli.progress import show_progress
from recsys.datasets.ratings import RatingScale
from recsys.datasets.sources import File
from recsys.datasets.tally import Tally, shown
from recsys.errors import DataError, FeedbackUnavailableError, RecsysError, VersionInvalidError
from recsys.feedback.database import feedback_path
from recsys.feedback.exporting import live_ratings
from recsys.feedback.importing import Imported, Row, import_ratings
from recsys.feedback.ratings_csv import HEADER, read_ratings, to_line
from recsys.feedback.reading import FeedbackReader
from recsys.feedback.store import FeedbackStore
from recsys.serving.control import Control
from recsys.settings import Settings

#: As over HTTP: what is later than this is a mistake, and could not be corrected before its day comes.
_AHEAD_S = 86_400
#: Longer than a service keeps the right to write, even on a slow disk.
_LOCK_WAIT_S = 5.0
_SHOWN_ROWS, _SHOWN_ITEMS = 5, 5
_ITEM_HINT = "PUT /api/v1/items/{item_id} registers one"
#: The share of an import's progress that checking takes.
_CHECKING = 0.25


def export_ratings(settings: Settings, target: str) -> int:
    """Write the live ratings to a file, or to standard output for `-`. Errors: RecsysError."""
    configure_logging(settings.log.level, settings.log_format)
    path = feedback_path(settings.paths.state)
    if not path.exists():
        raise FeedbackUnavailableError(f"there is no {path}", hint="RECSYS_PATHS__STATE names its directory")
    n_ratings = n_users = 0
    with show_progress("exporting ratings") as progress, _written_whole(target) as out:
        out.write(HEADER.encode())
        for page in live_ratings(path):
            out.write("".join(to_line(*rating) for rating in page.ratings).encode())
            n_ratings += len(page.ratings)
            n_users += len({rating[0] for rating in page.ratings})
            progress("writing", page.done)
    told = f"wrote {n_ratings:,} ratings of {n_users:,} users to {target}"
    print(told, file=sys.stderr if target == "-" else sys.stdout)
    return 0


@contextmanager
def _written_whole(target: str) -> Iterator[BinaryIO]:
    """Give a new file that takes the place of `target` at the end, durably; after any error nothing has changed. As the
    database, only its owner may read it.
    """
    try:
        if target == "-":
            with open(sys.stdout.fileno(), "wb", closefd=False) as out:
                yield out
            return
        if os.path.exists(target) and not os.path.isfile(target):
            raise RecsysError(f"{target} is not a file", hint="- writes to standard output")
        path = Path(os.path.realpath(target))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)
    except BrokenPipeError:
        raise
    except OSError as error:
        name = "standard output" if target == "-" else target
        raise RecsysError(f"{name} cannot be written: {error.strerror or error}") from error


def import_file(settings: Settings, path: Path, *, strict: bool) -> int:
    """Add the ratings of a CSV file that are not there yet. Errors: RecsysError.

    The file is read twice: whole to see whether it can be trusted, then to add. So one that is refused has changed
    nothing, and memory does not grow with the file.
    """
    configure_logging(settings.log.level, settings.log_format)
    file = _file(path)
    known = _what_is_known(settings)
    latest = time.time() + _AHEAD_S
    so_far = Imported()

    def note(imported: Imported) -> None:
        nonlocal so_far
        so_far = imported

    with show_progress("importing ratings") as progress:
        checked = _Sieve(file, known, latest)
        for _ in checked.rows(lambda share: progress("checking", share * _CHECKING)):
            pass
        checked.refuse_bad(0.0 if strict else settings.data.max_bad_share, strict=strict)
        sieve = _Sieve(file, known, latest)
        rows = sieve.rows(lambda share: progress("adding", _CHECKING + share * (1 - _CHECKING)))
        try:
            with closing(FeedbackStore(settings.paths.state, lock_wait_s=_LOCK_WAIT_S)) as store:
                store.open()
                import_ratings(store, rows, on_progress=note)
        except KeyboardInterrupt:
            print(_left_half(so_far), file=sys.stderr)
            raise
        except RecsysError as error:
            if not so_far.added:
                raise
            raise type(error)(f"{error.detail}; {_left_half(so_far)}", hint=error.hint) from error
    print("\n".join(_told(sieve, so_far, known, settings.paths.models)))
    return 0


def _left_half(so_far: Imported) -> str:
    return f"{so_far.added:,} ratings were added and stay; importing the file again adds the rest"


def _file(path: Path) -> File:
    try:
        found = path.stat()
    except OSError as error:
        hint = "name a CSV file whose first line is like user_id,item_id,rating,timestamp"
        raise DataError(f"{shown(str(path), 300)} cannot be read: {error.strerror}", hint=hint) from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{shown(str(path), 300)} is not a file", hint="name a CSV file; it is read twice")
    return File(path.name, found.st_size, lambda: path.open("rb"))


@dataclass(frozen=True)
class _Known:
    """What ratings are held against: the newest sound accepted version, and what was said of items since."""

    version: str
    scale: RatingScale
    items: frozenset[str]


def _what_is_known(settings: Settings) -> _Known | None:
    """None when there is no version yet, so that nothing can be held against it."""
    store = ModelStore(settings.paths.models)
    if not store.directory.exists():
        return None
    available = Control(store, Marks(settings.paths.state), None).situation().available
    for version in sorted((version for version, accepted in available.items() if accepted), reverse=True):
        try:
            servable = load_servable(store.path(version), pause=go_on)
        except VersionInvalidError:
            continue
        items = set(servable.item_index)
        path = feedback_path(settings.paths.state)
        for item in FeedbackReader(path).items() if path.exists() else ():
            (items.discard if item.withdrawn else items.add)(item.item_id)
        return _Known(str(version), servable.contents.scale, frozenset(items))
    return None


class _Sieve:
    """Lets through the ratings that the service would take in too, and counts the others."""

    def __init__(self, file: File, known: _Known | None, latest: float) -> None:
        self.tally = Tally(file.name)
        self.unknown = 0
        self.unknown_items: dict[str, None] = {}
        self._file = file
        self._known = known
        self._latest = latest

    def rows(self, on_progress: Callable[[float], None]) -> Iterator[Row]:
        scale = self._known.scale if self._known is not None else None
        items = self._known.items if self._known is not None else None
        on_scale = lru_cache(1000)(scale.contains if scale is not None else lambda value: True)
        for line, row in read_ratings(self._file, self.tally, on_progress=on_progress):
            _, item_id, value, timestamp = row
            if not on_scale(value):
                self.tally.leave_out(1, [(line, f"rating {value:g} is not on the scale {scale}")])
            elif timestamp is not None and timestamp > self._latest:
                self.tally.leave_out(1, [(line, f"timestamp {timestamp} is more than a day in the future")])
            elif items is not None and item_id not in items:
                self.unknown += 1
                if len(self.unknown_items) <= _SHOWN_ITEMS:
                    self.unknown_items[item_id] = None
            else:
                yield row

    def refuse_bad(self, max_bad_share: float, *, strict: bool) -> None:
        """Errors: DataError for too many bad rows, and when the items are others altogether."""
        self.tally.check(max_bad_share)
        if self.unknown and (strict or self.unknown + self.tally.bad == self.tally.rows):
            raise DataError(f"{self.tally.file}: {self.of_unknown_items}", hint=_ITEM_HINT)

    @property
    def of_unknown_items(self) -> str:
        version = self._known.version if self._known is not None else ""
        names = ", ".join(repr(shown(item_id)) for item_id in list(self.unknown_items)[:_SHOWN_ITEMS])
        more = ", …" if len(self.unknown_items) > _SHOWN_ITEMS else ""
        return f"{self.unknown:,} ratings of items that {version} does not know: {names}{more}"


def _told(sieve: _Sieve, imported: Imported, known: _Known | None, models: Path) -> Iterator[str]:
    """The lines that say what came of an import."""
    tally = sieve.tally
    left_out = tally.bad + sieve.unknown + imported.forgotten
    yield (
        f"read {tally.rows:,} ratings: {imported.added:,} added, {imported.duplicates:,} there already,"
        f" {left_out:,} left out"
    )
    if tally.bad:
        yield f"  {tally.bad:,} bad rows"
        yield from (f"    {row}" for row in tally.examples[:_SHOWN_ROWS])
    if sieve.unknown:
        yield f"  {sieve.of_unknown_items} ({_ITEM_HINT})"
    if imported.forgotten:
        yield f"  {imported.forgotten:,} ratings of users who were forgotten"
    if known is None:
        yield f"  there is no model in {models} yet: items and values were taken as they are"
