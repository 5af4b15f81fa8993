"""What people export elsewhere, in each service's real shape, and what pretends to be it."""

import io
import json
import struct
import zipfile
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.datasets.exports import MAX_RATINGS, Exported, read_export
from recsys.errors import DataError

IMDB = (
    "Const,Your Rating,Date Rated,Title,Original Title,URL,Title Type,IMDb Rating,Runtime (mins),Year,Genres,"
    "Num Votes,Release Date,Directors\r\n"
)
IMDB_BEFORE_2024 = (
    "Const,Your Rating,Date Rated,Title,URL,Title Type,IMDb Rating,Runtime (mins),Year,Genres,Num Votes,Release Date,"
    "Directors\r\n"
)
IMDB_BEFORE_2017 = (
    '"position","const","created","modified","description","Title","Title type","Directors","You rated","IMDb Rating",'
    '"Runtime (mins)","Year","Genres","Num. Votes","Release Date (month/day/year)","URL"\n'
)
LETTERBOXD = "Date,Name,Year,Letterboxd URI,Rating\n"


def zipped(files: dict[str, bytes | str]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def only(content: bytes | str) -> Exported:
    (rating,) = read_export(content if isinstance(content, bytes) else content.encode()).ratings
    return rating


class TestImdb:
    def test_is_read_as_it_is_written_today(self) -> None:
        row = (
            "tt0114709,9,2023-05-14,Toy Story,Toy Story,https://www.imdb.com/title/tt0114709,Movie,8.3,81,1995,"
            '"Adventure, Animation, Comedy",1100000,1995-11-22,John Lasseter\r\n'
        )
        export = read_export((IMDB + row).encode())

        assert export.format == "imdb"
        assert (Exported("Toy Story", 1995, 4.5, "9", "tt0114709", None, 1684022400),) == export.ratings

    def test_is_read_without_the_original_title(self) -> None:
        row = "tt0113497,6,2014-02-01,Jumanji,https://www.imdb.com/title/tt0113497/,movie,7.0,104,1995,Family,1,1995-12-15,J\r\n"
        assert only(IMDB_BEFORE_2024 + row) == Exported("Jumanji", 1995, 3.0, "6", "tt0113497", None, 1391212800)

    def test_is_read_as_it_was_in_latin_1(self) -> None:
        row = '"1","tt0211915","Sun Jan 5 2014","","","Am\xe9lie","Feature Film","J","10","8.4","122","2001"\n'
        found = only((IMDB_BEFORE_2017 + row).encode("latin-1"))
        assert (found.title, found.stars, found.imdb_id, found.timestamp) == ("Amélie", 5.0, "tt0211915", None)

    @pytest.mark.parametrize("kind", ["TV Series", "tvMiniSeries", "TV Episode", "Video Game", "Podcast Series"])
    def test_says_what_is_no_film(self, kind: str) -> None:
        assert kind == only(IMDB + f"tt1,7,2020-01-01,X,X,u,{kind},1,1,2000,g,1,2000-01-01,d\r\n").kind

    @pytest.mark.parametrize("kind", ["Movie", "movie", "TV Movie", "tvMovie", "Short", "Video", "Film", ""])
    def test_takes_every_kind_of_film(self, kind: str) -> None:
        assert only(IMDB + f"tt1,7,2020-01-01,X,X,u,{kind},1,1,2000,g,1,2000-01-01,d\r\n").kind is None

    def test_of_somebody_elses_list_says_so(self) -> None:
        with pytest.raises(DataError, match="no ratings of yours"):
            read_export(b"Position,Const,Created,Title\n1,tt1,2020-01-01,X\n")


class TestLetterboxd:
    def test_is_read_from_ratings_csv(self) -> None:
        export = read_export(f"{LETTERBOXD}2024-03-01,Heat,1995,https://boxd.it/2aHM,4.5\n".encode())
        assert export.format == "letterboxd"
        assert (Exported("Heat", 1995, 4.5, "4.5", None, None, 1709251200),) == export.ratings

    def test_is_read_from_the_zip_as_it_is_sent(self) -> None:
        row = '2024-03-01,"Crouching Tiger, Hidden Dragon",2000,https://boxd.it/1,3\n'
        deleted = f"{LETTERBOXD}2020-01-01,Old,1990,https://boxd.it/9,1\n"
        content = zipped(
            {
                "deleted/ratings.csv": deleted,
                "profile.csv": "Date Joined,Username\n2020-01-01,ann\n",
                "watched.csv": "Date,Name,Year,Letterboxd URI\n2024-03-01,Heat,1995,https://boxd.it/2\n",
                "diary.csv": "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Tags,Watched Date\n",
                "ratings.csv": LETTERBOXD + row,
                "likes/films.csv": "Date,Name,Year,Letterboxd URI\n",
            }
        )
        assert only(content).title == "Crouching Tiger, Hidden Dragon"

    def test_is_read_from_a_folder_in_the_zip(self) -> None:
        content = zipped({"letterboxd-ann-2024/ratings.csv": f"{LETTERBOXD}2024-03-01,Heat,1995,https://boxd.it/2,4\n"})
        assert only(content).title == "Heat"

    def test_leaves_out_what_a_diary_has_no_rating_of(self) -> None:
        diary = "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Tags,Watched Date\n"
        rows = "2024-03-02,Heat,1995,u,,,,2024-03-01\n2024-03-02,Alien,1979,u,5,Yes,,2024-03-01\n"
        assert (only(diary + rows).title, only(diary + rows).timestamp) == ("Alien", 1709251200)

    def test_without_ratings_says_which_file_has_them(self) -> None:
        with pytest.raises(DataError, match="holds no ratings") as caught:
            read_export(b"Date,Name,Year,Letterboxd URI\n2024-03-01,Heat,1995,u\n")
        assert caught.value.hint is not None
        assert "ratings.csv" in caught.value.hint

    def test_names_what_is_no_rating_and_goes_on(self) -> None:
        rows = "2024-03-01,A,2000,u,six\n2024-03-01,B,2000,u,5.5\n2024-03-01,C,2000,u,nan\n2024-03-01,D,2000,u,0.5\n"
        found = read_export((LETTERBOXD + rows).encode()).ratings
        assert [bool(one.problem) for one in found] == [True, True, True, False]
        assert "six" in str(found[0].problem)


class TestTrakt:
    FILM: ClassVar[dict[str, object]] = {
        "rated_at": "2014-09-01T09:10:11.000Z",
        "rating": 8,
        "type": "movie",
        "movie": {
            "title": "TRON: Legacy",
            "year": 2010,
            "ids": {"trakt": 1, "slug": "tron-legacy-2010", "imdb": "tt1104001", "tmdb": 20526},
        },
    }

    def test_is_read(self) -> None:
        export = read_export(json.dumps([self.FILM]).encode())
        assert export.format == "trakt"
        expected = Exported("TRON: Legacy", 2010, 4.0, "8", "tt1104001", "20526", 1409562611)
        assert (expected,) == export.ratings

    def test_is_read_from_a_zip_and_without_a_type(self) -> None:
        bare = {name: value for name, value in self.FILM.items() if name != "type"}
        assert only(zipped({"ann/ratings-movies.json": json.dumps([bare])})).title == "TRON: Legacy"

    def test_says_what_is_no_film(self) -> None:
        show = {"rating": 9, "type": "show", "show": {"title": "Lost", "year": 2004, "ids": {"imdb": "tt0411008"}}}
        assert [one.kind for one in read_export(json.dumps([self.FILM, show]).encode()).ratings] == [None, "show"]

    @pytest.mark.parametrize("odd", [{"movie": None}, {"movie": {"ids": []}}, {"movie": {"title": [], "year": {}}}])
    def test_takes_gaps_for_gaps(self, odd: dict[str, object]) -> None:
        assert only(json.dumps([{**self.FILM, **odd}])).imdb_id is None

    @pytest.mark.parametrize("content", ["[1, 2]", "{}", '{"a": [1]}', '[{"a": 1}]', "[" * 100_000, '[{"rating": 1'])
    def test_is_told_from_other_json(self, content: str) -> None:
        with pytest.raises(DataError):
            read_export(content.encode())


class TestHostile:
    def test_zip_bombs_are_not_unpacked(self) -> None:
        """17 MB of blanks in 17 kB, and a directory that lies about it."""
        bomb = bytearray(zipped({"ratings.csv": b" " * (17 * 2**20)}))
        with pytest.raises(DataError, match="MB when unpacked"):
            read_export(bytes(bomb))
        central = bomb.index(b"PK\x01\x02")
        bomb[central + 24 : central + 28] = struct.pack("<I", 100)
        with pytest.raises(DataError):
            read_export(bytes(bomb))

    def test_zips_of_thousands_of_files_are_refused(self) -> None:
        with pytest.raises(DataError, match="files"):
            read_export(zipped({f"{number}": b"" for number in range(10_001)}))

    def test_a_damaged_an_encrypted_and_an_odd_zip_are_refused(self) -> None:
        whole = zipped({"ratings.csv": LETTERBOXD})
        encrypted = bytearray(whole)
        encrypted[6] |= 1
        encrypted[whole.index(b"PK\x01\x02") + 8] |= 1
        method = bytearray(whole)
        method[8], method[whole.index(b"PK\x01\x02") + 10] = 97, 97
        for content in (whole[:40], bytes(encrypted), bytes(method), zipped({"notes.txt": "x"}), zipped({})):
            with pytest.raises(DataError):
                read_export(content)

    def test_more_ratings_than_anybody_has_are_refused(self) -> None:
        row = "2024-03-01,Heat,1995,u,4\n"
        assert len(read_export((LETTERBOXD + row * MAX_RATINGS).encode()).ratings) == MAX_RATINGS
        with pytest.raises(DataError, match="more than 20,000"):
            read_export((LETTERBOXD + row * (MAX_RATINGS + 1)).encode())

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b" \n",
            b"\x00" * 100,
            b"\x89PNG\r\n\x1a\n\x00",
            b"a,b,c\n1,2,3\n",
            b'Date,Name,Year,Letterboxd URI,Rating\n"',
            b"%PDF-1.7",
        ],
    )
    def test_what_is_no_export_is_refused_in_words(self, content: bytes) -> None:
        with pytest.raises(DataError) as caught:
            read_export(content)
        assert caught.value.detail

    def test_a_field_longer_than_csv_allows_is_refused(self) -> None:
        with pytest.raises(DataError, match="line 2"):
            read_export(f'{LETTERBOXD}2024-03-01,"{"x" * 200_000}",1995,u,4\n'.encode())

    @given(st.binary(max_size=300))
    def test_any_bytes_are_read_or_refused(self, content: bytes) -> None:
        for prefix in (b"", LETTERBOXD.encode(), IMDB.encode(), b"PK\x03\x04", b"["):
            try:
                export = read_export(prefix + content)
            except DataError:
                continue
            assert all(rating.problem or 0 < rating.stars <= 5 for rating in export.ratings)
