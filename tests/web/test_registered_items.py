"""PUT, PATCH and DELETE /api/v1/items/{item_id}: what was said of a film counts in every answer that follows."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from feedback_calls import (
    ADMIN,
    TOKEN,
    counts_all,
    item_path,
    kept,
    listed,
    patch_item,
    put_item,
    rate,
    rating,
    recommended,
    retrain,
    withdraw_item,
)
from http_exchange import ODD_IDS, ids, problem_of
from service import Answer, ServerProcess, copy_version

pytest_plugins = ["http_server"]
Serve = Callable[..., ServerProcess]
STALKER = {
    "title": "Stalker of the Zone",
    "year": 1979,
    "genres": ["Drama", "Sci-Fi"],
    "imdb_id": "tt0079944",
    "tmdb_id": "1398",
}


def item(server: ServerProcess, item_id: str) -> Any:
    answer = server.request(item_path(item_id))
    return answer.json if answer.status == 200 else answer.status


def found(server: ServerProcess, query: str) -> list[str]:
    return ids(server.request(f"/api/v1/items?limit=500&query={query}"))


def is_nowhere(server: ServerProcess, item_id: str, *, query: str, genre: str, user_id: str) -> bool:
    """Whether no answer offers an item any more."""
    lists = [
        f"/api/v1/items?query={query}&limit=500", "/api/v1/items?limit=500", "/api/v1/items/popular?n=500",
        f"/api/v1/items/popular?n=500&genre={genre}", "/api/v1/items/trending?n=500&days=90",
        f"/api/v1/users/{user_id}/recommendations?n=500&include_seen=true",
        f"/api/v1/users/{user_id}/recommendations?n=500&include_seen=true&genre={genre}",
        "/api/v1/users/a-stranger/recommendations?n=500", "/api/v1/items/1/similar?n=500",
    ]  # fmt: skip
    stateless = {"ratings": [{"item_id": "3", "rating": 5}], "n": 500}
    batch = {"user_ids": [user_id, "a-stranger"], "n": 500, "include_seen": True}
    answers = [ids(server.request(path)) for path in lists]
    answers.append(ids(server.request("/api/v1/recommendations", method="POST", body=stateless)))
    results = server.request("/api/v1/recommendations/batch", method="POST", body=batch).json["results"]
    answers += [[entry["item_id"] for entry in result["items"]] for result in results]
    offered = [number for number, answer in enumerate(answers) if item_id in answer]
    return offered == [] and item(server, item_id) == server.request(item_path(item_id, "/similar")).status == 404


class TestRegistering:
    def test_makes_a_film_known_at_once(self, club: ServerProcess) -> None:
        answer = put_item(club, "stalker", **STALKER)

        assert answer.status == 201
        expected = {"item_id": "stalker", **STALKER, "n_ratings": 0, "liked_share": 0.0}
        assert expected == answer.json == item(club, "stalker")
        assert answer.headers["X-Model-Version"] == "v1.0.0"
        assert found(club, "stalker+of+the+zone") == ["stalker"]
        assert "stalker" in ids(club.request("/api/v1/items?query=zone&genre=sci-fi"))
        assert "stalker" not in ids(club.request("/api/v1/items?query=zone&genre=western"))

    def test_needs_only_a_title(self, club: ServerProcess) -> None:
        nothing = {"year": None, "genres": [], "imdb_id": None, "tmdb_id": None, "n_ratings": 0, "liked_share": 0.0}

        assert put_item(club, "bare", title="Bare").json == {"item_id": "bare", "title": "Bare"} | nothing
        assert club.request(item_path("bare", "/similar")).json == {"items": [], "total": 0}

    def test_replaces_what_was_registered_before(self, club: ServerProcess) -> None:
        statuses = [
            put_item(club, "twice", title="First Attempt", year=1950, imdb_id="tt1").status,
            put_item(club, "twice", title="Second Attempt").status,
        ]

        assert statuses == [201, 200]
        assert (item(club, "twice")["title"], item(club, "twice")["year"]) == ("Second Attempt", None)
        assert item(club, "twice")["imdb_id"] is None
        assert (found(club, "first+attempt"), found(club, "second+attempt")) == ([], ["twice"])

    def test_a_film_of_the_files_keeps_its_ratings_and_gets_its_words_everywhere(self, club: ServerProcess) -> None:
        before, likeness = item(club, "30"), ids(club.request(item_path("30", "/similar")))
        assert ids(club.request("/api/v1/items/popular?genre=noir")) == []  # is kept from here on
        answer = put_item(club, "30", title="Wholly New Words", year=2001, genres=["Noir"])

        assert (answer.status, answer.json["n_ratings"]) == (200, before["n_ratings"])
        fields = {"item_id": "30", "title": "Wholly New Words", "year": 2001, "genres": ["Noir"]}
        for path in ("/api/v1/items/popular?genre=noir", "/api/v1/items?query=wholly+new", "/api/v1/items?genre=noir"):
            (entry,) = [entry for entry in club.request(path).json["items"] if entry["item_id"] == "30"]
            assert fields == {name: entry[name] for name in fields}, path
        assert "Noir" in club.request("/api/v1/genres").json["items"]
        assert likeness == ids(club.request(item_path("30", "/similar")))
        rate(club, rating("wordy", "30"))
        (reason,) = recommended(club, "wordy", "?n=1&explain=true")["items"][0]["because"]
        assert reason["title"] == "Wholly New Words"

    @pytest.mark.parametrize("item_id", [*ODD_IDS, "\x00", "{x}", "similar", "🎬" * 256], ids=ascii)
    def test_an_id_is_its_exact_text(self, club: ServerProcess, item_id: str) -> None:
        is_new = item(club, item_id) == 404
        assert (201 if is_new else 200) == put_item(club, item_id, title="Odd One", genres=["Drama"]).status

        assert item(club, item_id)["item_id"] == item_id
        assert item_id in found(club, "odd+one")
        assert kept(rate(club, rating("odd", item_id))) == (200, 1, 0)
        assert patch_item(club, item_id, title="Even One").json["title"] == "Even One"
        if is_new:
            assert withdraw_item(club, item_id).json == {"item_id": item_id, "withdrawn": True}
            assert item(club, item_id) == 404

    @pytest.mark.parametrize(
        "title", ["<script>alert(1)</script>", 'He said "no"', "back\\slash", "a\u2028b", "日本", "%s %b", "}{", "\x00"]
    )
    def test_a_title_is_its_exact_text(self, club: ServerProcess, title: str) -> None:
        assert title == put_item(club, "named", title=title).json["title"] == item(club, "named")["title"]
        (entry,) = [entry for entry in _all_items(club) if entry["item_id"] == "named"]
        assert title == entry["title"]

    def test_of_many_at_once_loses_none(self, club: ServerProcess) -> None:
        names = [f"crowd-{n}" for n in range(24)]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda name: put_item(club, name, title=f"Crowded {name}"), names))

        assert [answer.status for answer in answers] == [201] * 24
        assert sorted(names) == sorted(found(club, "crowded"))


def _all_items(server: ServerProcess) -> list[dict[str, Any]]:
    first = server.request("/api/v1/items?limit=500").json
    items: list[dict[str, Any]] = first["items"]
    while len(items) < first["total"]:
        items += server.request(f"/api/v1/items?limit=500&offset={len(items)}").json["items"]
    return items


class TestANewFilm:
    def test_is_recommended_through_its_genres_and_says_why(self, club: ServerProcess) -> None:
        fans = [entry["item_id"] for entry in club.request("/api/v1/items/popular?n=8&genre=Western").json["items"]]
        rate(club, *(rating("cowboy", film) for film in fans))
        put_item(club, "dust", title="Dust Again", year=1950, genres=["Western"])
        put_item(club, "kiss", title="Kisses Again", year=1950, genres=["Romance"])

        explained = recommended(club, "cowboy", "?n=500&explain=true")["items"]
        places = {entry["item_id"]: (place, entry) for place, entry in enumerate(explained)}
        place, dust = places["dust"]
        assert place < places.get("kiss", (500,))[0]
        assert dust["score"] > 0
        assert dust["because"]
        assert set(fans) >= {reason["item_id"] for reason in dust["because"]}
        assert dust["score"] == pytest.approx(sum(reason["contribution"] for reason in dust["because"]), abs=2e-6)
        assert "dust" in ids(club.request("/api/v1/users/cowboy/recommendations?genre=western&year_from=1950&n=50"))
        assert "dust" not in ids(club.request("/api/v1/users/cowboy/recommendations?genre=western&year_from=1951&n=50"))
        assert counts_all(club, "cowboy")

    def test_is_seen_once_it_is_rated_and_trends(self, club: ServerProcess) -> None:
        put_item(club, "hit", title="The Hit", genres=["Western"])
        rate(club, *(rating("viewer", str(n)) for n in range(1, 7)))
        assert "hit" in ids(club.request("/api/v1/users/viewer/recommendations?n=500&genre=western"))
        assert kept(rate(club, rating("viewer", "hit"))) == (200, 1, 0)

        assert "hit" not in ids(club.request("/api/v1/users/viewer/recommendations?n=500&genre=western"))
        assert "hit" in ids(club.request("/api/v1/items/trending?n=500"))
        assert listed(club, "viewer")["hit"] == 5
        assert counts_all(club, "viewer")

    def test_is_not_popular_with_anybody_yet_but_like_others(self, club: ServerProcess) -> None:
        put_item(club, "quiet", title="Quiet", year=1960, genres=["Western"])
        likeness = club.request(item_path("quiet", "/similar?n=20")).json["items"]

        assert likeness
        assert all("Western" in entry["genres"] for entry in likeness)
        popular = club.request("/api/v1/items/popular?n=500&genre=Western").json["items"]
        assert next(entry["score"] for entry in popular if entry["item_id"] == "quiet") == 0

    def test_where_only_popularity_answers_can_be_found_and_rated(self, tenths_server: ServerProcess) -> None:
        assert put_item(tenths_server, "new", title="New Here", genres=["Drama"]).status == 201
        rate(tenths_server, rating("fan", "new", 9.9))

        assert found(tenths_server, "new+here") == ["new"]
        answer = recommended(tenths_server, "fan", "?n=500")
        assert answer["strategy"] == "popular"
        assert "new" not in [entry["item_id"] for entry in answer["items"]]


class TestChanging:
    def test_leaves_what_is_not_named(self, club: ServerProcess) -> None:
        put_item(club, "patched", **STALKER)
        answer = patch_item(club, "patched", year=1980)

        assert answer.status == 200
        assert {name: answer.json[name] for name in STALKER} == {**STALKER, "year": 1980}
        assert {
            name: value for name, value in patch_item(club, "patched", imdb_id=None).json.items() if name in STALKER
        } == {**STALKER, "year": 1980, "imdb_id": None}
        assert patch_item(club, "patched", genres=[]).json["genres"] == []

    def test_changes_a_film_of_the_files(self, club: ServerProcess) -> None:
        before = item(club, "40")

        assert before | {"title": "Corrected"} == patch_item(club, "40", title="Corrected").json
        assert "40" in found(club, "corrected")

    def test_of_an_unknown_or_withdrawn_film_is_not_found(self, club: ServerProcess) -> None:
        put_item(club, "briefly")
        assert withdraw_item(club, "briefly").status == 200

        for item_id in ("briefly", "never"):
            for answer in (patch_item(club, item_id, title="x"), withdraw_item(club, item_id)):
                problem_of(answer, 404, "unknown_item")


class TestWithdrawing:
    def test_takes_a_film_of_the_files_out_of_every_answer(self, club: ServerProcess) -> None:
        best = recommended(club, "50", "?n=1")["items"][0]
        rate(club, rating("a-fan", best["item_id"]))
        assert best["item_id"] in ids(club.request("/api/v1/items/trending?n=500"))
        genre, query = best["genres"][0], best["title"].split()[0]
        ids(club.request(item_path("1", "/similar?n=500")))  # is kept from here on
        answer = withdraw_item(club, best["item_id"])

        assert (answer.status, answer.json) == (200, {"item_id": best["item_id"], "withdrawn": True})
        assert is_nowhere(club, best["item_id"], query=query, genre=genre, user_id="50")

    def test_takes_a_registered_one_out_of_every_answer(self, club: ServerProcess) -> None:
        put_item(club, "regret", title="Regrettable", genres=["Western"], year=1950)
        rate(club, rating("a-fan", "regret"))
        assert withdraw_item(club, "regret").status == 200

        assert is_nowhere(club, "regret", query="regrettable", genre="Western", user_id="50")

    def test_is_undone_by_registering_it_again(self, club: ServerProcess) -> None:
        before, similar = item(club, "60"), ids(club.request(item_path("60", "/similar")))
        withdraw_item(club, "60")
        said = {name: before[name] for name in STALKER}

        assert put_item(club, "60", **said).status == 201
        assert before == item(club, "60")
        assert similar == ids(club.request(item_path("60", "/similar")))


class TestRefused:
    @pytest.mark.parametrize(
        ("said", "where"),
        [
            *(({"title": bad}, "body.title") for bad in (None, 1, "", "  ", "x" * 501)),
            *(({"year": bad}, "body.year") for bad in (0, 10_000, "1999", 1999.5, True)),
            ({"genres": "Drama"}, "body.genres"), ({"genres": ["x"] * 51}, "body.genres"),
            *(({"genres": ["Drama", bad]}, "body.genres[1]") for bad in ("", " ", "x" * 101, None, 1)),
            *(({"imdb_id": bad}, "body.imdb_id") for bad in ("", "a b", "x" * 21, 7, "tt1\n")),
            ({"tmdb_id": 1398}, "body.tmdb_id"), ({"director": "Tarkovsky"}, "body.director"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_said_is_named(self, club: ServerProcess, said: dict[str, Any], where: str) -> None:
        assert problem_of(put_item(club, "refused", **said), 400, "invalid_input") == [where]
        assert problem_of(patch_item(club, "1", **said), 400, "invalid_input") == [where]
        assert item(club, "refused") == 404

    def test_nothing_said_is_refused(self, club: ServerProcess) -> None:
        assert problem_of(patch_item(club, "1"), 400) == ["body"]
        answer = club.request(item_path("refused"), method="PUT", body={}, headers=ADMIN)
        assert problem_of(answer, 400) == ["body.title"]

    @pytest.mark.parametrize("item_id", ["popular", "trending"])
    def test_the_address_of_a_list_is_not_that_of_a_film(self, club: ServerProcess, item_id: str) -> None:
        for answer in (put_item(club, item_id), patch_item(club, item_id, title="x"), withdraw_item(club, item_id)):
            problem_of(answer, 405, "method_not_allowed")
            assert {"GET", "HEAD"} == set(answer.headers["Allow"].split(","))

    def test_what_cannot_be_an_id_is_refused(self, club: ServerProcess) -> None:
        assert problem_of(put_item(club, "x" * 257), 400, "invalid_input") == ["path.item_id"]

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    def test_nobody_without_the_token_changes_anything(self, club: ServerProcess, method: str) -> None:
        def ask(headers: dict[str, str]) -> Answer:
            return club.request(item_path("70"), method=method, body={"title": "Hacked"}, headers=headers)

        before = item(club, "70")
        problem_of(ask({}), 401, "not_signed_in")
        problem_of(ask({"Authorization": f"Bearer {TOKEN}x"}), 403, "wrong_token")
        assert before == item(club, "70")


class TestLater:
    def test_all_of_it_survives_a_restart_a_swap_and_a_training(
        self, serve: Serve, store_with: Callable[..., object], trained_sample: Path, tmp_path: Path
    ) -> None:
        store_with("v1.0.0")

        def start() -> ServerProcess:
            return serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})

        def as_said(server: ServerProcess) -> bool:
            return (
                {name: item(server, "stalker")[name] for name in STALKER} == STALKER
                and item(server, "1")["title"] == "Renamed"
                and is_nowhere(server, "2", query="the", genre="Drama", user_id="50")
                and found(server, "zone") == ["stalker"]
                and counts_all(server, "fan")
            )

        first = start()
        put_item(first, "stalker", **STALKER)
        patch_item(first, "1", title="Renamed")
        withdraw_item(first, "2")
        rate(first, rating("fan", "stalker"), *(rating("fan", str(n)) for n in range(3, 9)))
        assert as_said(first)
        assert first.stop() == 0

        second = start()
        assert as_said(second)
        copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.1")  # trained before any of it
        second.wait_version("v1.0.1")
        assert as_said(second)
        assert item(second, "stalker")["n_ratings"] == 0

        assert retrain(second) == "v1.0.2"
        assert as_said(second)
        assert item(second, "stalker")["n_ratings"] == 1
        assert second.request("/admin/rollback", method="POST", headers=ADMIN).status == 200
        second.wait_version("v1.0.1")
        assert as_said(second)

    def test_what_is_said_while_versions_arrive_is_never_lost(
        self, serve: Serve, store_with: Callable[..., object], trained_sample: Path, tmp_path: Path
    ) -> None:
        """A version is built in a thread from what had been said when it began."""
        store_with("v1.0.0")
        server = serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})

        def arrive() -> None:
            for number in range(1, 9):
                copy_version(trained_sample / "v1.0.0", tmp_path / "models" / f"v1.0.{number}")
                server.wait_version(f"v1.0.{number}", 20)

        with ThreadPoolExecutor(1) as pool:
            arriving = pool.submit(arrive)
            n = 0
            while not arriving.done() or n < 40:
                answer = put_item(server, f"amid-{n}", title=f"Amid {n}")
                assert answer.status == 201, answer.body
                assert item(server, f"amid-{n}") == answer.json
                n += 1
            arriving.result()

        assert len(found(server, "amid")) == min(n, 500)
