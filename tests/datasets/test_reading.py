"""Data sets are found by what is in a directory, a zip or a file, and come out as one table."""

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recsys.datasets import sources
from recsys.datasets.ratings import NO_TIMESTAMP, Dataset, ReadReport
from recsys.datasets.reading import read_dataset
from recsys.errors import DataError

HEADER = "userId,movieId,rating,timestamp\n"


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def zipped(folder: Path, target: Path, top: str = "") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, top + path.name)
    return target


def rows(data: Dataset) -> list[tuple[str, str, float, int | None]]:
    return [
        (data.user_ids[u], data.catalogue.item_ids[i], float(v), None if t == NO_TIMESTAMP else int(t))
        for u, i, v, t in zip(data.users, data.items, data.values, data.timestamps, strict=True)
    ]


def movie(data: Dataset, item_id: str) -> tuple[object, ...]:
    at = data.catalogue.item_ids.index(item_id)
    return tuple(column[at] for column in list(vars(data.catalogue).values())[1:])


@pytest.mark.real_data
def test_the_100k_layout(ml_100k: Path) -> None:
    data = read_dataset(ml_100k)

    assert (data.n_users, data.n_items, data.n_ratings) == (943, 1682, 100_000)
    assert data.report == ReadReport("ml-100k", rows=100_000)
    assert data.source == str(ml_100k)
    assert rows(data)[0] == ("196", "242", 3.0, 881250949)
    assert data.catalogue.item_ids == tuple(str(n) for n in range(1, 1683))
    assert movie(data, "1") == ("Toy Story", 1995, ("Animation", "Children's", "Comedy"), None, None)
    assert movie(data, "543") == ("Les Misérables", 1995, ("Drama", "Musical"), None, None)
    assert movie(data, "1005")[:2] == ("La Double vie de Véronique (The Double Life of Veronique)", 1991)
    assert movie(data, "267") == ("unknown", None, (), None, None)
    assert (data.scale.low, data.scale.high) == (1.0, 5.0)


@pytest.mark.real_data
def test_the_100k_ratings_are_those_of_the_file_row_by_row(ml_100k: Path) -> None:
    lines = (ml_100k / "u.data").read_text().splitlines()
    expected = [(u, i, float(v), int(t)) for u, i, v, t in (line.split("\t") for line in lines)]

    assert rows(read_dataset(ml_100k)) == expected


@pytest.mark.real_data
def test_the_latest_layout(ml_latest_small: Path) -> None:
    data = read_dataset(ml_latest_small)

    assert (data.n_users, data.n_items, data.n_ratings) == (671, 9125, 100_004)
    assert data.report == ReadReport("ml-latest", rows=100_004)
    assert rows(data)[0] == ("1", "31", 2.5, 1260759144)
    genres = ("Adventure", "Animation", "Children", "Comedy", "Fantasy")
    assert movie(data, "1") == ("Toy Story", 1995, genres, "tt0114709", "862")
    assert ("Das Boot (The Boat)", 1981) in set(zip(data.catalogue.titles, data.catalogue.years, strict=True))
    assert ("Fawlty Towers", 1975) in set(zip(data.catalogue.titles, data.catalogue.years, strict=True))
    assert np.unique(data.items).size == 9066  # the others were never rated, and stay
    assert (data.scale.low, data.scale.high, data.scale.step) == (0.5, 5.0, 0.5)


@pytest.mark.real_data
@pytest.mark.parametrize("top", ["", "ml-latest-small/", "a/b/"])
def test_a_zip_reads_like_its_directory(ml_latest_small: Path, tmp_path: Path, top: str) -> None:
    archive = zipped(ml_latest_small, tmp_path / "ml.zip", top)

    data = read_dataset(archive)

    assert read_dataset(ml_latest_small).fingerprint == data.fingerprint
    assert data.source == str(archive)
    assert list(tmp_path.iterdir()) == [archive]  # nothing was unpacked


@pytest.mark.real_data
def test_a_zip_of_100k_reads_like_its_directory(ml_100k: Path, tmp_path: Path) -> None:
    archive = zipped(ml_100k, tmp_path / "ml-100k.zip", "ml-100k/")

    assert read_dataset(ml_100k).fingerprint == read_dataset(archive).fingerprint


@pytest.mark.real_data
def test_small_blocks_give_the_same_data(ml_latest_small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_dataset(ml_latest_small)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 50_000)

    assert whole.fingerprint == read_dataset(ml_latest_small).fingerprint


@pytest.mark.real_data
def test_two_data_sets_side_by_side_are_not_guessed_between(ml_100k: Path) -> None:
    with pytest.raises(DataError, match="several data sets: ml-100k, ml-latest-small"):
        read_dataset(ml_100k.parent)


ML_1M: dict[str, str | bytes] = {
    "ratings.dat": "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4::978298413\n",
    "movies.dat": "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
    "1193::Fabuleux destin d'Amélie Poulain, Le (2001)::Drama\n9::Alien: Résurrection (1997)::Action|Horror\n".encode(
        "latin-1"
    ),
    "users.dat": "1::F::1::10::48067\n",
}


@pytest.mark.parametrize("as_zip", [False, True])
def test_the_1m_layout(tmp_path: Path, as_zip: bool) -> None:
    folder = write(tmp_path / "ml-1m", ML_1M)

    data = read_dataset(zipped(folder, tmp_path / "ml-1m.zip", "ml-1m/") if as_zip else folder)

    assert data.report.layout == "ml-1m"
    assert data.catalogue.item_ids == ("661", "1193", "9")
    assert movie(data, "1193") == ("Le Fabuleux destin d'Amélie Poulain", 2001, ("Drama",), None, None)
    expected = [("1", "1193", 5.0, 978300760), ("1", "661", 3.0, 978302109), ("2", "1193", 4.0, 978298413)]
    assert rows(data) == expected


def test_ids_are_the_exact_text_without_blanks_around_it(tmp_path: Path) -> None:
    path = write(tmp_path, {"r.csv": "user,item,rating\n 007 ,0x10,5\n7, 1e3,4\n007,1.0,3\nNA,nan,2\n"}) / "r.csv"

    data = read_dataset(path)

    assert data.user_ids == ("007", "7", "NA")
    assert data.catalogue.item_ids == ("0x10", "1e3", "1.0", "nan")
    assert data.catalogue.item_ids == data.catalogue.titles
    assert data.timestamps.tolist() == [NO_TIMESTAMP] * 4
    assert not data.has_timestamps


@pytest.mark.parametrize(
    "header",
    ["user,item,rating,timestamp", "user_id,item_id,rating,time", "userId,movieId,rating,timestamp",
     "userid,movieid,score,date", "USER ID,Movie ID,Stars,Rated At", "uid,movie_id,Rating,ts",
     "customer-id,product-id,Score,datetime"],
)  # fmt: skip
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_the_usual_spellings(tmp_path: Path, header: str, delimiter: str, line_end: str, bom: bytes) -> None:
    lines = [header, "ann,m1,4.5,1260759144", 'bob,"m2",3,1260759145', ""]
    text = line_end.join(line.replace(",", delimiter) for line in lines)
    path = write(tmp_path, {"film club.csv": bom + text.encode()}) / "film club.csv"

    assert rows(read_dataset(path)) == [("ann", "m1", 4.5, 1260759144), ("bob", "m2", 3.0, 1260759145)]


def test_columns_may_come_in_any_order_among_others(tmp_path: Path) -> None:
    text = 'note,when,date,Rating,user_name,userId,movie\n"a, b",x,2020-01-02,4,ann,u1,m1\n,,,3,bob,u2,m1\n'

    data = read_dataset(write(tmp_path, {"r.csv": text}) / "r.csv")

    assert rows(data) == [("u1", "m1", 4.0, 1577923200), ("u2", "m1", 3.0, None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1260759144", 1260759144),
        ("1260759144.9", 1260759144),
        ("1260759144123", 1260759144),
        ("2009-12-14T02:52:24Z", 1260759144),
        ("2009-12-14T03:52:24+01:00", 1260759144),
        ("2009-12-14 02:52:24.75", 1260759144),
        ("2009-12-14", 1260748800),
        ("0", 0),
        ("", None),
        ("NULL", None),
    ],
)
def test_times_are_seconds_milliseconds_or_iso_8601(tmp_path: Path, text: str, expected: int | None) -> None:
    for others in ("", "u2,m1,3,2020-01-01\n"):  # the same alone and in a column of dates
        path = write(tmp_path, {"r.csv": f"user,item,rating,time\nu1,m1,4,{text}\n{others}"}) / "r.csv"

        assert rows(read_dataset(path))[0][3] == expected


def test_a_semicolon_file_may_have_decimal_commas(tmp_path: Path) -> None:
    path = write(tmp_path, {"r.csv": 'user;item;rating\n1;2;3,5\n1;3;"0,5"\n'}) / "r.csv"

    assert read_dataset(path).values.tolist() == [3.5, 0.5]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_text_is_utf_8_or_else_latin_1(tmp_path: Path, encoding: str) -> None:
    files: dict[str, str | bytes] = {
        "r.csv": "user,item,rating\nZoë,café,5\nann,café,4\n".encode(encoding),
        "movies.csv": "id,title,genres\ncafé,Café au lait (1993),Comédie\n".encode(encoding),
    }

    data = read_dataset(write(tmp_path, files) / "r.csv")

    assert (
        data.user_ids, data.catalogue.item_ids, data.catalogue.titles
    ) == (("Zoë", "ann"), ("café",), ("Café au lait",))  # fmt: skip


@pytest.mark.parametrize("where", ["file", "directory", "zip", "zip with a folder"])
def test_a_movies_file_beside_the_ratings_names_them(tmp_path: Path, where: str) -> None:
    movies = (
        "item_id;title;year;genre;imdb;tmdb_id\n"
        "9;Never Rated;2001;Drama;;\n"
        'b;"Matrix, The (1999)";;Action|Sci-Fi;133093;603.0\n'
        "a;No Year;1975-1979;unknown;tt0072500;\n"
    )
    ratings = "user,item,rating\nu2,zz,1\nu1,a,5\nu1,b,4\nu1,yy,4\n"
    folder = write(tmp_path / "club", {"club.csv": ratings, "items.csv": movies, "notes.txt": "hello"})
    paths = {"file": folder / "club.csv", "directory": folder}
    if where.startswith("zip"):
        top = "club/" if "folder" in where else ""
        paths[where] = zipped(folder, tmp_path / "club.zip", top)

    data = read_dataset(paths[where])

    assert data.report.layout == "csv"
    assert data.catalogue.item_ids == ("9", "b", "a", "zz", "yy")
    assert data.catalogue.titles == ("Never Rated", "The Matrix", "No Year", "zz", "yy")
    assert data.catalogue.years == (2001, 1999, 1975, None, None)
    assert data.catalogue.genres == (("Drama",), ("Action", "Sci-Fi"), (), (), ())
    assert data.catalogue.imdb_ids == (None, "tt0133093", "tt0072500", None, None)
    assert data.catalogue.tmdb_ids == (None, "603", None, None, None)
    assert data.user_ids == ("u2", "u1")
    assert data.items.tolist() == [3, 2, 1, 4]


def test_links_fill_only_what_the_catalogue_lacks(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "ratings.csv": HEADER + "1,10,4,5\n",
        "movies.csv": "movieId,title,genres,imdbId\n10,A,Drama,7\n11,B,Drama,\n",
        "links.csv": "movieId,imdbId,tmdbId\n10,8,1\n11,9,\n12,1,1\n",
    }

    data = read_dataset(write(tmp_path, files))

    assert data.catalogue.item_ids == ("10", "11")
    assert data.catalogue.imdb_ids == ("tt0000007", "tt0000009")
    assert data.catalogue.tmdb_ids == ("1", None)


def test_links_of_another_kind_do_no_harm(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "ratings.csv": HEADER + "1,10,4,5\n",
        "movies.csv": "movieId,title\n10,A\n",
        "links.csv": "url,clicks\nhttp://example.org,9,and,more\n",
    }

    assert read_dataset(write(tmp_path, files)).catalogue.titles == ("A",)


def test_a_year_column_goes_before_the_year_in_the_title(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "ratings.csv": HEADER + "1,10,4,5\n",
        "movies.csv": "id,movie,year\n10,A (1999),2001\n11,B (1998),\n",
    }

    data = read_dataset(write(tmp_path, files))

    assert (data.catalogue.titles, data.catalogue.years) == (("A", "B"), (2001, 1998))


def test_ratings_may_be_in_a_file_called_movies(tmp_path: Path) -> None:
    path = write(tmp_path, {"movies.csv": "user,item,rating\nu,i,5\n"}) / "movies.csv"

    assert read_dataset(path).catalogue.titles == ("i",)


@pytest.mark.parametrize("as_zip", [False, True])
def test_the_data_set_nearest_to_the_top_is_meant(tmp_path: Path, as_zip: bool) -> None:
    folder = write(tmp_path / "top", {"ratings.csv": HEADER + "1,1,1,1\n", "backup/ratings.csv": HEADER + "2,2,2,2\n"})
    archive = tmp_path / "top.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("backup/ratings.csv", "ratings.csv"):
            file.write(folder / name, f"a/{name}")

    data = read_dataset(archive if as_zip else folder)

    assert rows(data) == [("1", "1", 1.0, 1)]


@pytest.mark.parametrize("name", ["u.data", "ratings.dat"])
def test_the_ratings_file_of_a_layout_may_be_named_itself(tmp_path: Path, name: str) -> None:
    files: dict[str, str | bytes] = {
        "u.data": "1\t2\t3\t4\n",
        "u.item": "2|Heat|15-Dec-1995||url|1|0\n",
        "ratings.dat": "1::2::3::4\n",
        "movies.dat": "2::Heat (1995)::Crime\n",
    }

    data = read_dataset(write(tmp_path, files) / name)

    assert rows(data) == [("1", "2", 3.0, 4)]
    assert (data.catalogue.titles, data.catalogue.years) == (("Heat",), (1995,))


def test_in_the_layouts_without_a_header_a_quote_is_text_and_a_byte_order_mark_nothing(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "u.data": b'\xef\xbb\xbf1\t"2\t3\t4\n"1\t3"\t3\t4\n',
        "u.item": '\ufeff"2|"Crocodile" Dundee (1986)|||url\n',
    }

    data = read_dataset(write(tmp_path, files))

    assert rows(data) == [("1", '"2', 3.0, 4), ('"1', '3"', 3.0, 4)]
    assert data.catalogue.titles == ('"Crocodile" Dundee', '3"')


def test_progress_goes_from_nothing_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 100)
    write(tmp_path, {"ratings.csv": "\ufeff" + HEADER + "".join(f"{n},1,3,9\n" for n in range(100))})
    told: list[tuple[str, float]] = []

    read_dataset(tmp_path, progress=lambda stage, share: told.append((stage, share)))

    shares = [share for _, share in told]
    assert {stage for stage, _ in told} == {"reading"}
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert sorted(shares) == shares
    assert len(set(shares)) > 5


def test_what_the_csv_module_writes_is_read_back(tmp_path: Path) -> None:
    """Quotes of every kind, by the reference implementation: delimiters, doubled quotes, lone quotes, blanks."""
    ids = ["a,b", 'say "hi"', '"', "; x", "a\tb".replace("\t", " "), "it's", "\\", "ü", "#1", "1_0"]
    with (tmp_path / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "rating", "timestamp"])
        writer.writerows([user, item, 4, 10] for user in ids for item in ids)

    data = read_dataset(tmp_path)

    assert tuple(ids) == data.user_ids == data.catalogue.item_ids
    assert data.n_ratings == 100


def test_importing_the_module_does_not_load_pandas() -> None:
    code = "import sys, recsys.datasets.reading; sys.exit(bool({'pandas', 'scipy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
