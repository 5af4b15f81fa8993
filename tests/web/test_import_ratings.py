"""POST /api/v1/import: exports in their real shapes, matched in time; hostile ones refused; nothing stored."""

import csv
import gzip
import io
import json
import random
import time
import zipfile
from collections.abc import Callable

import pytest
from http_exchange import problem_of
from service import Answer, ServerProcess

from recsys.datasets.ratings import Catalogue, Dataset
from recsys.datasets.reading import read_dataset

pytest_plugins = ["http_server"]
N_RATINGS = 2000


def send(server: ServerProcess, content: bytes, content_type: str = "application/octet-stream") -> Answer:
    return server.request("/api/v1/import", method="POST", body=content, headers={"Content-Type": content_type})


def letterboxd(rows: list[tuple[str, int | None, float]]) -> bytes:
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["Date", "Name", "Year", "Letterboxd URI", "Rating"])
    for number, (title, year, rating) in enumerate(rows):
        table.writerow(["2024-03-01", title, year or "", f"https://boxd.it/{number:x}", rating])
    return written.getvalue().encode()


def zipped(name: str, content: bytes) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return written.getvalue()


def as_imdb(catalogue: Catalogue, items: list[int]) -> bytes:
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(
        [
            "Const",
            "Your Rating",
            "Date Rated",
            "Title",
            "Original Title",
            "URL",
            "Title Type",
            "IMDb Rating",
            "Runtime (mins)",
            "Year",
            "Genres",
            "Num Votes",
            "Release Date",
            "Directors",
        ]
    )
    for item in items:
        imdb, title, year = catalogue.imdb_ids[item] or "tt99999999", catalogue.titles[item], catalogue.years[item]
        url = f"https://www.imdb.com/title/{imdb}"
        table.writerow(
            [
                imdb,
                item % 10 + 1,
                "2023-05-14",
                title,
                title,
                url,
                "Movie",
                7.1,
                100,
                year,
                "Drama",
                999,
                f"{year}-05-01",
                "X",
            ]
        )
    return written.getvalue().encode()


def as_letterboxd(catalogue: Catalogue, items: list[int]) -> bytes:
    """Letterboxd writes titles without what MovieLens puts in brackets, and dates films by their premiere."""
    dice = random.Random(5)
    rows = []
    for item in items:
        year = catalogue.years[item]
        shifted = None if year is None else year - (dice.random() < 0.1)
        rows.append((catalogue.titles[item].partition(" (")[0], shifted, item % 10 / 2 + 0.5))
    return zipped("letterboxd-ann/ratings.csv", letterboxd(rows))


def as_trakt(catalogue: Catalogue, items: list[int]) -> bytes:
    def ids(item: int) -> dict[str, object]:
        tmdb = catalogue.tmdb_ids[item]
        return {
            "trakt": item,
            "slug": f"a-{item}",
            "imdb": catalogue.imdb_ids[item],
            "tmdb": int(tmdb) if tmdb else None,
        }

    return json.dumps(
        [
            {
                "rated_at": "2014-09-01T09:10:11.000Z",
                "rating": item % 10 + 1,
                "type": "movie",
                "movie": {"title": catalogue.titles[item], "year": catalogue.years[item], "ids": ids(item)},
            }
            for item in items
        ]
    ).encode()


class TestMatching:
    def test_says_what_it_is_about_and_what_it_is_not(self, server: ServerProcess, sample_data: Dataset) -> None:
        catalogue = sample_data.catalogue
        rows = [(catalogue.titles[3], catalogue.years[3], 4.5), ("<b>Never Made</b>", 1999, 1.0)]
        found = send(server, letterboxd(rows)).json

        assert found["counts"] == {"ratings": 2, "matched": 1, "unmatched": 1}
        assert (catalogue.item_ids[3], "4.5", "title") == tuple(
            found["matched"][0][key] for key in ("item_id", "given", "by")
        )
        assert (
            found["unmatched"][0]["title"],
            found["unmatched"][0]["why"],
        ) == ("<b>Never Made</b>", "no film of this title in the catalogue")

    def test_is_taken_by_the_stateless_list_and_by_the_way_in(
        self, server: ServerProcess, sample_data: Dataset
    ) -> None:
        catalogue = sample_data.catalogue
        rows = [(catalogue.titles[item], catalogue.years[item], item % 10 / 2 + 0.5) for item in range(12)]
        matched = send(server, letterboxd(rows)).json["matched"]
        ratings = [{name: one[name] for name in ("item_id", "rating", "timestamp")} for one in matched]

        listed = server.request("/api/v1/recommendations", method="POST", body={"ratings": ratings, "explain": True})
        assert (listed.status, listed.json["strategy"], listed.json["ignored"]) == (200, "personalized", [])
        kept = [{**one, "user_id": "importer", "event_id": f"e{one['item_id']}"} for one in ratings]
        assert server.request("/api/v1/ratings", method="POST", body={"ratings": kept}).json["accepted"] == 12

    def test_stores_nothing(self, serve: Callable[..., ServerProcess], store_with: Callable[..., object]) -> None:
        store_with("v1.0.0")
        server = serve()
        before = {path: path.stat().st_mtime_ns for path in (server.directory / "state").rglob("*")}
        assert send(server, letterboxd([("Hamlet", 1990, 4.0)])).status == 200
        assert before == {path: path.stat().st_mtime_ns for path in (server.directory / "state").rglob("*")}

    def test_takes_a_form_with_a_file(self, server: ServerProcess, sample_data: Dataset) -> None:
        content = letterboxd([(sample_data.catalogue.titles[0], sample_data.catalogue.years[0], 4.0)])
        form = (
            b"--x\r\nContent-Disposition: form-data; name=note\r\n\r\nhello\r\n--x\r\n"
            b'Content-Disposition: form-data; name="file"; filename="ratings.csv"\r\nContent-Type: text/csv\r\n\r\n'
        )
        answer = send(server, form + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")
        assert (answer.status, answer.json["counts"]["matched"]) == (200, 1)

    @pytest.mark.parametrize("write", [as_imdb, as_letterboxd, as_trakt])
    def test_finds_nearly_every_film_of_the_catalogue_in_time(
        self, ml_latest_small_server: ServerProcess, ml_latest_small_data: Dataset,
        write: Callable[[Catalogue, list[int]], bytes],
    ) -> None:  # fmt: skip
        """Any 2,000 films: 95 % found, and recommendations on screen within two seconds of the choice of the file."""
        catalogue = ml_latest_small_data.catalogue
        items = random.Random(7).sample(range(catalogue.n_items), N_RATINGS)
        content = write(catalogue, items)

        took = []
        for _ in range(3):  # the best of three, since other work shares the machine
            started = time.perf_counter()
            found = send(ml_latest_small_server, content).json
            newest = [{name: one[name] for name in ("item_id", "rating")} for one in found["matched"]][:1000]
            body = {"ratings": newest, "n": 18, "explain": True}
            listed = ml_latest_small_server.request("/api/v1/recommendations", method="POST", body=body)
            took.append(time.perf_counter() - started)

        assert (found["counts"]["ratings"], listed.status) == (N_RATINGS, 200)
        right = {catalogue.item_ids[item] for item in items}
        assert len([one for one in found["matched"] if one["item_id"] in right]) >= 0.95 * N_RATINGS
        assert min(took) <= 2.0


class TestRefusals:
    @pytest.mark.parametrize(
        "content",
        [b"", b"\x00\x01\x02", b"PK\x03\x04", b"a,b\n1,2\n", b"{}", b"[" * 50_000, b"<script>alert(1)</script>"],
        ids=lambda content: repr(content[:8]),
    )
    def test_what_is_no_export_is_refused_in_words(self, server: ServerProcess, content: bytes) -> None:
        answer = send(server, content)
        assert problem_of(answer, 400, "invalid_input") == ["body"]
        assert "Letterboxd" in answer.json["hint"]

    def test_a_zip_bomb_is_refused_and_the_service_stays_small(self, server: ServerProcess) -> None:
        bomb = zipped("ratings.csv", b"\n" * (300 * 2**20))
        assert len(bomb) < 2**20
        before = resident_mb(server)
        assert problem_of(send(server, bomb), 400) == ["body"]
        assert resident_mb(server) - before < 100

    def test_a_file_too_large_is_refused(self, server: ServerProcess) -> None:
        problem_of(send(server, b"Date,Name\n" + b"x" * (9 * 2**20)), 413)

    def test_a_compressed_body_counts_as_what_it_unpacks_to(self, server: ServerProcess) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}
        content = gzip.compress(b"\n" * (20 * 2**20))
        answer = server.request("/api/v1/import", method="POST", body=content, headers=headers)
        problem_of(answer, 413)

    @pytest.mark.parametrize("body", [b"", b"--x--\r\n", b"--x\r\n\r\nno name\r\n--x--\r\n", b"no boundary at all"])
    def test_a_form_without_a_file_is_refused(self, server: ServerProcess, body: bytes) -> None:
        problem_of(send(server, body, "multipart/form-data; boundary=x"), 400)
        problem_of(send(server, body, "multipart/form-data"), 400)

    def test_hostile_titles_come_back_as_they_are(self, server: ServerProcess) -> None:
        title = '"><img src=x onerror=alert(1)>\u202e\u0000'.replace("\x00", "")
        answer = send(server, letterboxd([(title, 1999, 4.0)]))
        assert answer.json["unmatched"][0]["title"] == title
        assert answer.headers["Content-Type"].startswith("application/json")


def resident_mb(server: ServerProcess) -> float:
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


@pytest.fixture(scope="session")
def ml_latest_small_data(ml_latest_small: "object") -> Dataset:
    return read_dataset(ml_latest_small)  # type: ignore[arg-type]
