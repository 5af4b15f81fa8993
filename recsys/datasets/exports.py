"""Reads what people export from elsewhere: an IMDb ratings CSV, a Letterboxd export, a Trakt JSON.

Pure: bytes in, ratings out, and bounded whatever the bytes are. Must not know our catalogue: `serving.matching` finds
the films.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from recsys.datasets.titles import imdb_id, parse_year, tmdb_id
from recsys.errors import DataError

Format = Literal["imdb", "letterboxd", "trakt"]
MAX_RATINGS = 20_000
#: What a file may have when it is unpacked. Twenty thousand ratings are about 4 MB.
_MAX_UNPACKED = 16 * 2**20
_MAX_MEMBERS = 10_000
_LATEST_S = 2**40
#: Which file of a zip holds the ratings, likeliest first.
_MEMBERS = ("ratings.csv", "ratings-movies.json", "ratings_movies.json", "diary.csv")
_HINT = "an IMDb ratings CSV, a Letterboxd export (the zip or its ratings.csv) or a Trakt ratings JSON can be read"


@dataclass(frozen=True)
class Exported:
    """One rating as somebody else wrote it down. `stars` are of five, `given` is as it stood; `kind` says what it is if
    it is no film; `problem` why it cannot be used at all.
    """

    title: str
    year: int | None
    stars: float
    given: str
    imdb_id: str | None = None
    tmdb_id: str | None = None
    timestamp: int | None = None
    kind: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Export:
    format: Format
    ratings: tuple[Exported, ...]


def read_export(content: bytes) -> Export:
    """Find out by its content what an export is, and read it.

    Errors: DataError for what is none of ours, is damaged, or is larger than any person's ratings. Cost: O(bytes),
    about 8 µs a rating.
    """
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _read(*_unpacked(content))
    return _read("", content)


def _read(name: str, content: bytes) -> Export:
    if len(content) > _MAX_UNPACKED:
        raise DataError(f"the file has more than {_MAX_UNPACKED // 2**20} MB when unpacked")
    if not content.strip():
        raise DataError("the file is empty", hint=_HINT)
    if content.count(0, 0, 4096) and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("the file is not text", hint=_HINT)
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"):
        return Export("trakt", _bounded(_trakt(content)))
    return _csv(_text(content), name)


def _unpacked(content: bytes) -> tuple[str, bytes]:
    """Take the file with the ratings out of a zip, reading no more of it than is allowed: what a zip says of its own
    sizes is not believed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS:
                raise DataError(f"the zip holds more than {_MAX_MEMBERS} files")
            for wanted in _MEMBERS:
                found = [one for one in members if one.filename.replace("\\", "/").rpartition("/")[2].lower() == wanted]
                # an export keeps what was deleted in folders below
                if found:
                    chosen = min(found, key=lambda one: (one.filename.count("/"), len(one.filename)))
                    with archive.open(chosen) as member:
                        return wanted, member.read(_MAX_UNPACKED + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, OverflowError) as error:
        # RuntimeError: it is encrypted, or packed in a way that Python does not know
        raise DataError(f"the zip cannot be read: {error}", hint=_HINT) from error
    raise DataError("the zip holds no ratings.csv", hint=_HINT)


def _text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")  # IMDb before 2017


def _csv(text: str, name: str) -> Export:
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next((row for row in rows if any(cell.strip() for cell in row)), [])
        columns = {cell.strip().lower(): number for number, cell in reversed(list(enumerate(header)))}
        if "const" in columns and ("your rating" in columns or "you rated" in columns):
            return Export("imdb", _bounded(_rows(rows, columns, _imdb)))
        if "letterboxd uri" in columns and "name" in columns and "rating" in columns:
            return Export("letterboxd", _bounded(_rows(rows, columns, _letterboxd)))
    except csv.Error as error:
        raise DataError(f"line {rows.line_num} cannot be read: {error}", hint=_HINT) from error
    if "letterboxd uri" in columns:
        raise DataError("this file of Letterboxd's holds no ratings", hint="ratings.csv of the export does")
    if "const" in columns:
        raise DataError("this file of IMDb's holds no ratings of yours", hint="export “Your ratings”, not a list")
    shown = ", ".join(header)[:120]
    raise DataError(f"{name or 'the file'} is of no kind that we know; its first line is: {shown!r}", hint=_HINT)


Row = Callable[[str], str]


def _rows(
    rows: Iterator[list[str]], columns: dict[str, int], read: Callable[[Row], Exported | None]
) -> Iterator[Exported]:
    for fields in rows:
        if not fields:
            continue

        def cell(name: str, fields: list[str] = fields) -> str:
            at = columns.get(name, len(fields))
            return fields[at].strip() if at < len(fields) else ""

        found = read(cell)
        if found is not None:
            yield found


def _imdb(cell: Row) -> Exported | None:
    kind = cell("title type")
    given = cell("your rating") or cell("you rated")
    if not given:
        return None
    return _rated(
        cell("title"),
        parse_year(cell("year")) or parse_year(cell("release date")),
        given,
        10,
        imdb_id=imdb_id(cell("const")),
        timestamp=_time(cell("date rated") or cell("created")),
        kind=None if _is_film(kind) else kind,
    )


def _letterboxd(cell: Row) -> Exported | None:
    if not cell("rating"):
        return None  # a diary holds what was seen without a rating, too
    year = parse_year(cell("year"))
    return _rated(cell("name"), year, cell("rating"), 5, timestamp=_time(cell("watched date") or cell("date")))


def _trakt(content: bytes) -> Iterator[Exported]:
    try:
        found = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise DataError(f"the JSON cannot be read: {error}", hint=_HINT) from error
    entries = found
    if isinstance(found, dict):
        entries = next((found[name] for name in ("ratings", "movies") if isinstance(found.get(name), list)), None)
    if not isinstance(entries, list) or (entries and not any(_is_trakt(entry) for entry in entries)):
        raise DataError("the JSON holds no ratings as Trakt writes them", hint=_HINT)
    for entry in entries:
        if not _is_trakt(entry):
            yield _unusable("", None, "?", "is no rating as Trakt writes it")
            continue
        kind = str(entry.get("type") or ("movie" if "movie" in entry else "show"))
        about = entry.get("movie" if kind == "movie" else kind)
        about = about if isinstance(about, dict) else {}
        ids = about.get("ids")
        ids = ids if isinstance(ids, dict) else {}
        yield _rated(
            str(about.get("title") or ""),
            parse_year(str(about.get("year") or "")),
            str(entry["rating"]),
            10,
            imdb_id=imdb_id(str(ids.get("imdb") or "")),
            tmdb_id=tmdb_id(str(ids.get("tmdb") or "")),
            timestamp=_time(str(entry.get("rated_at") or "")),
            kind=None if kind == "movie" else kind,
        )


def _is_trakt(entry: Any) -> bool:
    return isinstance(entry, dict) and "rating" in entry and bool({"movie", "show", "season", "episode"} & entry.keys())


def _rated(title: str, year: int | None, given: str, of: int, **said: Any) -> Exported:
    try:
        value = float(given.replace(",", "."))
    except ValueError:
        return _unusable(title, year, given, f"the rating {given[:20]!r} is no number")
    if not 0 < value <= of:  # also what is not finite
        return _unusable(title, year, given, f"the rating {given[:20]} is not between 0 and {of}")
    return Exported(title[:500], year, value * 5 / of, given[:20], **said)


def _unusable(title: str, year: int | None, given: str, problem: str) -> Exported:
    return Exported(title[:500], year, 0.0, given[:20], problem=problem)


def _is_film(kind: str) -> bool:
    """Whether an IMDb "Title Type" is a film: "Movie", "movie", "TV Movie", "tvMovie", "Short", "Video", "TV Special".

    A language other than English is given the benefit of the doubt.
    """
    plain = kind.lower().replace(" ", "")
    return not any(word in plain for word in ("series", "episode", "game", "podcast", "musicvideo"))


def _time(text: str) -> int | None:
    """Unix seconds of "2024-03-01" or RFC 3339, None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    seconds = int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())
    return seconds if 0 <= seconds <= _LATEST_S else None


def _bounded(ratings: Iterator[Exported]) -> tuple[Exported, ...]:
    read: list[Exported] = []
    for rating in ratings:
        if len(read) == MAX_RATINGS:
            raise DataError(f"the file holds more than {MAX_RATINGS:,} ratings")
        read.append(rating)
    if not read:
        raise DataError("the file holds no ratings", hint=_HINT)
    return tuple(read)
