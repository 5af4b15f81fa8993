"""GET /api/v1/items/{item_id}, its /similar, /api/v1/items/popular and /api/v1/genres."""

from urllib.parse import quote

import numpy as np
import pytest
from http_exchange import ODD_IDS, ids, problem_of
from service import ServerProcess

from recsys.datasets.ratings import Dataset

pytest_plugins = ["http_server"]
ITEM_FIELDS = {"item_id", "title", "year", "genres"}
POPULAR = "/api/v1/items/popular"
GENRES = "/api/v1/genres"


def item_path(item_id: str, rest: str = "") -> str:
    return f"/api/v1/items/{quote(item_id, safe='')}{rest}"


class TestItem:
    def test_has_the_promised_shape(self, server: ServerProcess, sample_data: Dataset) -> None:
        answer = server.request(item_path("1"))

        assert answer.status == 200
        assert answer.headers["X-Model-Version"] == "v1.0.0"
        assert ITEM_FIELDS | {"imdb_id", "tmdb_id", "n_ratings", "liked_share"} == set(answer.json)
        at = sample_data.catalogue.item_ids.index("1")
        assert int(np.count_nonzero(sample_data.items == at)) == answer.json["n_ratings"]
        liked = np.count_nonzero((sample_data.items == at) & (sample_data.values >= 4)) / sample_data.n_users
        assert answer.json["liked_share"] == pytest.approx(liked, abs=1e-6)

    @pytest.mark.real_data
    def test_has_the_title_year_and_genres_of_the_file(self, ml_100k_server: ServerProcess) -> None:
        toy_story = ml_100k_server.request(item_path("1")).json

        assert tuple(toy_story[name] for name in ("item_id", "title", "year")) == ("1", "Toy Story", 1995)
        assert {"Animation", "Children's", "Comedy"} == set(toy_story["genres"])
        assert toy_story["n_ratings"] == 452

    @pytest.mark.parametrize("item", ODD_IDS)
    def test_is_found_by_an_id_of_any_spelling(self, odd_server: ServerProcess, item: str) -> None:
        answer = odd_server.request(item_path(item))

        assert (200, item) == (answer.status, answer.json["item_id"])

    def test_has_its_title_letter_by_letter(self, odd_server: ServerProcess) -> None:
        titles = [odd_server.request(item_path(item)).json["title"] for item in ODD_IDS[:5]]

        assert titles == ["Amélie", 'He Said "No"', "<script>alert(1)</script>", "Back \\ Slash", "東京物語"]

    def test_without_a_year_says_null(self, odd_server: ServerProcess) -> None:
        assert odd_server.request(item_path(ODD_IDS[3])).json["year"] is None

    @pytest.mark.parametrize("rest", ["", "/similar"])
    @pytest.mark.parametrize("item", ["no-such-item", "01", "1.0", "🎬", "' OR 1=1"])
    def test_that_is_unknown_is_not_found(self, server: ServerProcess, item: str, rest: str) -> None:
        problem_of(server.request(item_path(item, rest)), 404, "unknown_item")

    @pytest.mark.parametrize("rest", ["", "/similar"])
    @pytest.mark.parametrize("encoded", ["x" * 257, "%FF"])
    def test_that_cannot_be_an_id_is_named(self, server: ServerProcess, encoded: str, rest: str) -> None:
        answer = server.request(f"/api/v1/items/{encoded}{rest}")

        assert problem_of(answer, 400, "invalid_input") == ["path.item_id"]

    def test_takes_no_parameter(self, server: ServerProcess) -> None:
        assert problem_of(server.request(item_path("1", "?n=5")), 400, "invalid_input") == ["query.n"]


class TestSimilar:
    def test_has_the_promised_shape(self, server: ServerProcess) -> None:
        answer = server.request(item_path("884", "/similar?n=7"))

        assert answer.status == 200
        assert answer.headers["X-Model-Version"] == "v1.0.0"
        assert {"items", "total"} == set(answer.json)
        assert 7 == answer.json["total"] == len(answer.json["items"])
        assert [ITEM_FIELDS | {"score"}] * 7 == [set(item) for item in answer.json["items"]]

    def test_is_best_first_without_the_item_itself(self, server: ServerProcess) -> None:
        items = server.request(item_path("884", "/similar?n=500")).json["items"]

        scores = [item["score"] for item in items]
        assert sorted(scores, reverse=True) == scores
        assert "884" not in {item["item_id"] for item in items}
        assert len(items) == len({item["item_id"] for item in items})

    def test_has_ten_unless_told_otherwise(self, server: ServerProcess) -> None:
        assert len(ids(server.request(item_path("884", "/similar")))) == 10

    def test_shares_a_genre_more_often_than_chance(self, server: ServerProcess, sample_data: Dataset) -> None:
        catalogue = sample_data.catalogue
        near = by_chance = 0.0
        for asked in catalogue.item_ids[::50]:
            genres = set(catalogue.genres[catalogue.item_ids.index(asked)])
            similar = server.request(item_path(asked, "/similar?n=10")).json["items"]
            near += sum(bool(genres & set(item["genres"])) for item in similar) / len(similar)
            by_chance += sum(bool(genres & set(others)) for others in catalogue.genres) / len(catalogue.genres)
        assert near > 1.3 * by_chance

    @pytest.mark.real_data
    def test_a_saga_is_similar_to_itself(self, ml_100k_server: ServerProcess) -> None:
        """Star Wars 50, Empire Strikes Back 172, Return of the Jedi 181."""
        assert {"172", "181"} <= set(ids(ml_100k_server.request(item_path("50", "/similar?n=5"))))

    @pytest.mark.parametrize(("field", "query"), [("n", "n=0"), ("n", "n=501"), ("n", "n=x"), ("genre", "genre=Drama")])
    def test_a_wrong_parameter_is_named(self, server: ServerProcess, field: str, query: str) -> None:
        answer = server.request(item_path("1", f"/similar?{query}"))

        assert [f"query.{field}"] == problem_of(answer, 400, "invalid_input")

    def test_a_wrong_parameter_is_named_also_after_a_right_one(self, server: ServerProcess) -> None:
        assert server.request(item_path("1", "/similar?n=5")).status == 200
        problem_of(server.request(item_path("1", "/similar?n=5&n=5")), 400, "invalid_input")


class TestPopular:
    def test_has_the_promised_shape(self, server: ServerProcess) -> None:
        answer = server.request(f"{POPULAR}?n=4")

        assert answer.status == 200
        assert answer.headers["X-Model-Version"] == "v1.0.0"
        assert {"items", "total"} == set(answer.json)
        assert [ITEM_FIELDS | {"score"}] * 4 == [set(item) for item in answer.json["items"]]

    def test_is_what_most_users_liked(self, server: ServerProcess, sample_data: Dataset) -> None:
        """The score of an item is the share of all users who gave it at least four stars."""
        likes = np.bincount(sample_data.items[sample_data.values >= 4], minlength=sample_data.n_items)
        items = server.request(POPULAR).json["items"]

        assert sorted(likes.tolist(), reverse=True)[:10] == [round(i["score"] * sample_data.n_users) for i in items]
        for item in items:
            at = sample_data.catalogue.item_ids.index(item["item_id"])
            assert item["score"] == pytest.approx(likes[at] / sample_data.n_users, abs=1e-6)

    def test_of_a_genre_has_that_genre_only(self, server: ServerProcess) -> None:
        items = server.request(f"{POPULAR}?genre=western&genre=WAR&n=20").json["items"]

        assert len(items) == 20
        assert all({"Western", "War"} & set(item["genres"]) for item in items)

    def test_of_a_genre_that_nothing_has_is_empty(self, server: ServerProcess) -> None:
        assert server.request(f"{POPULAR}?genre=Polka").json == {"items": [], "total": 0}

    @pytest.mark.parametrize(
        ("field", "query"), [("n", "n=0"), ("n", "n=501"), ("year", "year=1990"), ("offset", "offset=1")]
    )
    def test_a_wrong_parameter_is_named(self, server: ServerProcess, field: str, query: str) -> None:
        assert [f"query.{field}"] == problem_of(server.request(f"{POPULAR}?{query}"), 400, "invalid_input")


class TestGenres:
    def test_are_those_of_the_items_in_order(self, server: ServerProcess, sample_data: Dataset) -> None:
        answer = server.request(GENRES)
        names = sorted({genre for genres in sample_data.catalogue.genres for genre in genres})

        assert {"items": names, "total": len(names)}.items() <= answer.json.items()
        assert answer.headers["X-Model-Version"] == "v1.0.0"

    def test_can_each_be_asked_for(self, server: ServerProcess) -> None:
        for genre in server.request(GENRES).json["items"]:
            assert server.request(f"{POPULAR}?n=1&genre={quote(genre)}").json["items"]

    def test_take_no_parameter(self, server: ServerProcess) -> None:
        assert problem_of(server.request(f"{GENRES}?n=5"), 400, "invalid_input") == ["query.n"]
