"""The MovieLens layouts without a header: 100K (`u.data`, `u.item`), 1M, 10M (`ratings.dat`, `movies.dat`).

The later ones are CSV with a header and are read by `csvfile`. Must not read ratings: it says where they are
and how they are written, and fills the catalogue.
"""

from functools import partial

from recsys.datasets.cataloguing import CatalogueBuilder, Layout
from recsys.datasets.collecting import RatingsFile
from recsys.datasets.rows import Form, records
from recsys.datasets.sources import File, Folder
from recsys.datasets.titles import parse_genres, parse_year, split_genres

#: u.item: id, title, release date, video release date, URL; then a flag for each genre of u.genre.
_FIELDS_BEFORE_GENRES = 5


def find_movielens(folder: Folder, chosen: str | None) -> Layout | None:
    """The layout that `folder` holds, or None; with `chosen`, only if that is its ratings file."""
    for name, layout in (("u.data", _layout_100k), ("ratings.dat", _layout_1m)):
        if name in folder and chosen in {None, name}:
            return layout(folder)
    return None


def _layout_100k(folder: Folder) -> Layout:
    ratings = RatingsFile(folder["u.data"], Form("\t", 4), user=0, item=1, rating=2, timestamp=3)
    return Layout("ml-100k", ratings, partial(_fill_100k, folder))


def _layout_1m(folder: Folder) -> Layout:
    ratings = RatingsFile(folder["ratings.dat"], Form("::", 4), user=0, item=1, rating=2, timestamp=3)
    return Layout("ml-1m", ratings, partial(_fill_1m, folder))


def _fill_100k(folder: Folder, builder: CatalogueBuilder) -> None:
    movies = folder.get("u.item")
    if movies is None:
        return
    genres = _genre_names(folder["u.genre"], builder) if "u.genre" in folder else None
    n_genres = _genres_on_first_line(movies) if genres is None else len(genres)
    form, tally = Form("|", _FIELDS_BEFORE_GENRES + n_genres), builder.reading(movies)
    for line, (item_id, title, released, _, _, *flags) in records(movies, form, tally):
        flagged = (name for name, flag in zip(genres or (), flags, strict=False) if flag.strip() == "1")
        genres_of_item = parse_genres(flagged)
        builder.add(tally, line, item_id, title, genres=genres_of_item, other_year=parse_year(released))


def _genre_names(file: File, builder: CatalogueBuilder) -> list[str]:
    """The genres in the order of their flags, which is the order of the file."""
    return [name for _, (name, _) in records(file, Form("|", 2), builder.reading(file))]


def _genres_on_first_line(movies: File) -> int:
    """How many flags there are when no u.genre names them: they mean nothing then, but are to step over."""
    return max(0, movies.head().split(b"\n")[0].count(b"|") + 1 - _FIELDS_BEFORE_GENRES)


def _fill_1m(folder: Folder, builder: CatalogueBuilder) -> None:
    movies = folder.get("movies.dat")
    if movies is None:
        return
    tally = builder.reading(movies)
    for line, (item_id, title, genres) in records(movies, Form("::", 3), tally):
        builder.add(tally, line, item_id, title, genres=split_genres(genres))
