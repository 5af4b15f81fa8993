"""Ratings and movies as CSV with a header: MovieLens from latest-small to 32M, and anybody's own.

Owns the spellings of headers and the choice of the delimiter. Must not read ratings: it says where they are
and how they are written, and fills the catalogue.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from recsys.datasets.cataloguing import CatalogueBuilder, Layout
from recsys.datasets.collecting import RatingsFile
from recsys.datasets.rows import Form, encoding_of, records
from recsys.datasets.sources import File, Folder
from recsys.datasets.tally import shown
from recsys.datasets.titles import imdb_id, parse_year, split_genres, tmdb_id
from recsys.errors import DataError

#: For each column its spellings, likeliest first, in lower case and without anything but letters and digits.
Spellings = Mapping[str, tuple[str, ...]]
RATINGS: Spellings = {
    "user": ("userid", "user", "uid", "username", "memberid", "member", "customerid", "customer",
             "reviewerid", "reviewer", "viewerid", "viewer", "accountid", "account"),
    "item": ("itemid", "item", "movieid", "movie", "filmid", "film", "iid", "mid", "titleid", "showid",
             "productid", "product", "asin"),
    "rating": ("rating", "userrating", "score", "stars", "star", "grade", "value", "vote", "overall"),
    "timestamp": ("timestamp", "unixtimestamp", "ratingtimestamp", "ts", "unixtime", "unixreviewtime", "time",
                  "datetime", "ratedat", "createdat", "updatedat", "date", "ratingdate", "reviewdate"),
}  # fmt: skip
MOVIES: Spellings = {
    "id": ("movieid", "itemid", "filmid", "titleid", "showid", "productid", "asin", "mid", "iid", "id",
           "item", "movie", "film", "product"),
    "title": ("title", "movietitle", "itemtitle", "filmtitle", "name", "moviename", "itemname", "filmname",
              "movie", "film", "item", "product"),
    "year": ("year", "releaseyear", "movieyear", "released", "releasedate", "yearofrelease"),
    "genres": ("genres", "genre", "categories", "category"),
    "imdb": ("imdbid", "imdb", "tconst"),
    "tmdb": ("tmdbid", "tmdb", "themoviedbid"),
}  # fmt: skip
LINKS: Spellings = {"id": MOVIES["id"], "imdb": MOVIES["imdb"], "tmdb": MOVIES["tmdb"]}
_DELIMITERS = ",;\t"
#: A NUL or two spoil their rows; more of them are a file of another kind.
_MAX_NUL_SHARE = 0.01
_CATALOGUES = ("movies.csv", "items.csv", "movies.tsv", "items.tsv")
_LINKS = "links.csv"
_HINT = "the first line must name the columns, for instance: user_id,item_id,rating,timestamp"


@dataclass(frozen=True)
class Header:
    """A first line: its names as they stand, which column plays which role, and how the file is written."""

    file: File
    names: tuple[str, ...]
    roles: Mapping[str, int]
    form: Form

    def need(self, *roles: str) -> None:
        """Errors: DataError that names what is missing and what was found."""
        missing = [role for role in roles if role not in self.roles]
        if missing:
            what = f"no column for {' and '.join(missing)}"
            raise DataError(f"{shown(self.file.name)} has {what}; its header is: {self}", hint=_HINT)

    def cell(self, fields: list[str], role: str) -> str:
        return fields[self.roles[role]] if role in self.roles else ""

    def __str__(self) -> str:
        return shown(", ".join(self.names), 200) or "(nothing)"


def find_csv(folder: Folder, chosen: str | None) -> Layout | None:
    """The CSV data set that `folder` holds, or None: the file `chosen`, else `ratings.csv`, else the only one
    with a header for ratings. Errors: DataError when there are several, or the one that must be it is not.
    """
    name = chosen or next((name for name in ("ratings.csv", "ratings.tsv") if name in folder), None)
    if name is None:
        headers = {name: header for name, header in _headers(folder).items() if is_ratings(header)}
        if len(headers) > 1:
            names = ", ".join(sorted(header.file.name for header in headers.values()))
            raise DataError(f"several files hold ratings: {shown(names, 200)}", hint="name the one to read")
        if not headers:
            return None
        name = next(iter(headers))
    header = read_header(folder[name], RATINGS)
    header.need("user", "item", "rating")
    movies = next((folder[name_] for name_ in _CATALOGUES if name_ in folder and name_ != name), None)
    links = folder.get(_LINKS)
    is_movielens = header.names == ("userId", "movieId", "rating", "timestamp")
    columns = {role: header.roles[role] for role in ("user", "item", "rating")}
    ratings = RatingsFile(folder[name], header.form, **columns, timestamp=header.roles.get("timestamp"))
    return Layout("ml-latest" if is_movielens else "csv", ratings, partial(_fill, movies, links))


def is_ratings(header: Header) -> bool:
    return {"user", "item", "rating"} <= header.roles.keys()


def describe(folder: Folder) -> str:
    """The files of `folder`, with the header of each CSV file, for an error message."""
    headers = _headers(folder)
    told = [f"{file.name} ({headers[name]})" if name in headers else file.name for name, file in sorted(folder.items())]
    return shown(", ".join(told[:10]), 300) + (", …" if len(told) > 10 else "")


def _headers(folder: Folder) -> dict[str, Header]:
    found = {}
    for name, file in folder.items():
        if name.endswith((".csv", ".tsv")):
            try:
                found[name] = read_header(file, RATINGS)
            except DataError:  # not a table: then it is not the one that is looked for
                continue
    return found


def read_header(file: File, spellings: Spellings) -> Header:
    """Read the first line that is not empty, with the delimiter under which it says most.

    Errors: DataError for an empty file, one that is not text, and a name that plays a role twice.
    """
    head = file.head()
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{shown(file.name)} is written in UTF-16", hint="save it as UTF-8")
    if head.count(0) > len(head) * _MAX_NUL_SHARE:
        raise DataError(f"{shown(file.name)} is not a text file: it has NUL bytes", hint=_HINT)
    text = head.decode(encoding_of(head) or "utf-8", errors="replace")
    if "\n" not in text and "\r" in text:
        raise DataError(f"{shown(file.name)} ends its lines with CR alone", hint="save it with LF or CRLF")
    lines = text.split("\n")
    n_empty = next((n for n, line in enumerate(lines) if line.strip()), None)
    if n_empty is None:
        raise DataError(f"{shown(file.name)} is empty", hint=_HINT)
    first, n_lines = lines[n_empty].rstrip("\r"), n_empty + 1
    candidates = [_header(file, first, delimiter, n_lines, spellings) for delimiter in _DELIMITERS]
    return max(candidates, key=lambda header: (len(header.roles), len(header.names)))


def _header(file: File, line: str, delimiter: str, n_lines: int, spellings: Spellings) -> Header:
    try:
        fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except (csv.Error, StopIteration):
        fields = [line]
    names = tuple(field.strip() for field in fields)
    plain = [re.sub(r"[^a-z0-9]", "", name.casefold()) for name in names]
    roles: dict[str, int] = {}
    for role, known in spellings.items():
        spelling = next((s for s in known if s in plain and plain.index(s) not in roles.values()), None)
        if spelling is None:
            continue
        if plain.count(spelling) > 1:
            found = shown(", ".join(names), 200)
            raise DataError(f"{shown(file.name)} has more than one column {spelling!r}: {found}")
        roles[role] = plain.index(spelling)
    return Header(file, names, roles, Form(delimiter, len(names), n_lines, quoted=True))


def _fill(movies: File | None, links: File | None, builder: CatalogueBuilder) -> None:
    if movies is None:
        return
    header = read_header(movies, MOVIES)
    header.need("id", "title")
    tally = builder.reading(movies)
    for line, fields in records(movies, header.form, tally):
        item_id = header.cell(fields, "id")
        genres = split_genres(header.cell(fields, "genres"))
        year = parse_year(header.cell(fields, "year"))
        builder.add(tally, line, item_id, header.cell(fields, "title"), genres=genres, year=year)
        builder.link(item_id, imdb_id(header.cell(fields, "imdb")), tmdb_id(header.cell(fields, "tmdb")))
    if links is None:
        return
    header = read_header(links, LINKS)
    if "id" not in header.roles:  # links of another kind
        return
    for _, fields in records(links, header.form, builder.reading(links)):
        ids = imdb_id(header.cell(fields, "imdb")), tmdb_id(header.cell(fields, "tmdb"))
        builder.link(header.cell(fields, "id"), *ids)
