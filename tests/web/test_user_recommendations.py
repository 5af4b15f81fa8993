"""GET /api/v1/users/{user_id}/recommendations."""

import pytest
from http_exchange import ODD_IDS, ids, problem_of, seen_by, user_path
from service import ServerProcess

from recsys.datasets.ratings import Dataset

pytest_plugins = ["http_server"]
ITEM_FIELDS = {"item_id", "title", "year", "genres", "score"}


class TestAnswer:
    def test_has_the_promised_shape(self, server: ServerProcess, sample_data: Dataset) -> None:
        answer = server.request(user_path("1"))

        assert answer.status == 200
        assert answer.headers["Content-Type"].split(";")[0] == "application/json"
        assert answer.headers["X-Model-Version"] == "v1.0.0"
        assert {"user_id", "model_version", "strategy", "items"} == set(answer.json)
        assert tuple(answer.json[name] for name in ("user_id", "model_version", "strategy")) == (
            "1",
            "v1.0.0",
            "personalized",
        )
        assert len(answer.json["items"]) == 10
        catalogue = sample_data.catalogue
        for item in answer.json["items"]:
            assert set(item) == ITEM_FIELDS
            at = catalogue.item_ids.index(item["item_id"])
            known = (catalogue.titles[at], catalogue.years[at], list(catalogue.genres[at]))
            assert known == (item["title"], item["year"], item["genres"])

    def test_is_best_first_and_names_no_item_twice(self, server: ServerProcess) -> None:
        items = server.request(user_path("2", "?n=500")).json["items"]

        scores = [item["score"] for item in items]
        assert sorted(scores, reverse=True) == scores
        assert len(items) == len({item["item_id"] for item in items})

    def test_is_the_same_when_asked_again(self, server: ServerProcess) -> None:
        first, second = (server.request(user_path("3", "?n=50")) for _ in range(2))

        assert first.body == second.body

    @pytest.mark.parametrize("n", [1, 2, 500])
    def test_has_n_items(self, server: ServerProcess, n: int) -> None:
        assert n == len(ids(server.request(user_path("1", f"?n={n}"))))

    def test_of_fewer_items_is_the_beginning_of_that_of_more(self, server: ServerProcess) -> None:
        assert ids(server.request(user_path("4", "?n=50")))[:7] == ids(server.request(user_path("4", "?n=7")))

    def test_has_all_there_is_when_n_is_more(self, odd_server: ServerProcess, odd_data: Dataset) -> None:
        answer = odd_server.request(user_path("007", "?n=500"))

        assert odd_data.n_items - len(seen_by(odd_data, "007")) == len(ids(answer))


class TestSeen:
    def test_items_never_come_back(self, server: ServerProcess, sample_data: Dataset) -> None:
        for user in sample_data.user_ids[::60]:
            assert set() == seen_by(sample_data, user) & set(ids(server.request(user_path(user, "?n=500"))))

    @pytest.mark.real_data
    def test_items_never_come_back_on_real_data(self, ml_100k_server: ServerProcess, ml_100k_data: Dataset) -> None:
        for user in ml_100k_data.user_ids[::90]:
            assert set() == seen_by(ml_100k_data, user) & set(ids(ml_100k_server.request(user_path(user, "?n=500"))))

    def test_items_come_back_when_asked_for(self, odd_server: ServerProcess, odd_data: Dataset) -> None:
        answer = odd_server.request(user_path("007", "?n=500&include_seen=true"))

        assert set(odd_data.catalogue.item_ids) == set(ids(answer))

    def test_items_do_not_come_back_with_the_option_spelled_out_as_false(
        self, odd_server: ServerProcess, odd_data: Dataset
    ) -> None:
        answer = odd_server.request(user_path("007", "?n=500&include_seen=false"))

        assert set() == seen_by(odd_data, "007") & set(ids(answer))


class TestFilters:
    def test_one_genre(self, server: ServerProcess) -> None:
        items = server.request(user_path("1", "?n=500&genre=Horror")).json["items"]

        assert items
        assert all("Horror" in item["genres"] for item in items)

    def test_any_of_several_genres(self, server: ServerProcess) -> None:
        both = set(ids(server.request(user_path("1", "?n=500&genre=War&genre=Western"))))
        war = set(ids(server.request(user_path("1", "?n=500&genre=War"))))
        western = set(ids(server.request(user_path("1", "?n=500&genre=Western"))))

        assert war | western == both
        assert war - western
        assert western - war

    @pytest.mark.parametrize("spelled", ["sci-fi", "SCI-FI", "Sci-Fi", "%20sci-fi"])
    def test_genres_in_any_case(self, server: ServerProcess, spelled: str) -> None:
        expected = ids(server.request(user_path("1", "?n=50&genre=Sci-Fi")))

        assert len(expected) == 50
        assert expected == ids(server.request(user_path("1", f"?n=50&genre={spelled}")))

    def test_a_genre_that_nothing_has_leaves_nothing(self, server: ServerProcess) -> None:
        answer = server.request(user_path("1", "?genre=Polka"))

        assert (answer.status, answer.json["items"]) == (200, [])

    @pytest.mark.parametrize(
        ("query", "lowest", "highest"),
        [("year_from=1990", 1990, 9999), ("year_to=1949", 1, 1949), ("year_from=1980&year_to=1980", 1980, 1980)],
    )
    def test_years_with_both_ends_included(
        self, server: ServerProcess, sample_data: Dataset, query: str, lowest: int, highest: int
    ) -> None:
        catalogue = sample_data.catalogue
        seen = seen_by(sample_data, "5")
        wanted = {
            item
            for item, year in zip(catalogue.item_ids, catalogue.years, strict=True)
            if year is not None and lowest <= year <= highest and item not in seen
        }
        found = ids(server.request(user_path("5", f"?n=500&{query}")))

        assert min(500, len(wanted)) == len(found)
        assert set(found) <= wanted

    def test_an_item_without_a_year_is_in_no_range(self, odd_server: ServerProcess) -> None:
        for query in ("year_from=0", "year_to=9999"):
            items = odd_server.request(user_path("nobody", f"?n=500&{query}")).json["items"]
            assert items
            assert all(item["year"] is not None for item in items)

    def test_genre_and_years_hold_together(self, server: ServerProcess) -> None:
        items = server.request(user_path("1", "?n=500&genre=Comedy&year_from=2000")).json["items"]

        assert items
        assert all("Comedy" in item["genres"] and item["year"] >= 2000 for item in items)

    def test_excluded_items_are_left_out_and_the_next_best_move_up(self, server: ServerProcess) -> None:
        best = ids(server.request(user_path("6", "?n=12")))
        answer = server.request(user_path("6", f"?n=10&exclude={best[0]},{best[5]}"))

        assert [item for item in best if item not in (best[0], best[5])] == ids(answer)

    @pytest.mark.parametrize("exclude", ["no-such-item", ",,,", "", "no-such-item,%00,%F0%9F%8E%AC"])
    def test_excluding_what_is_unknown_does_no_harm(self, server: ServerProcess, exclude: str) -> None:
        assert ids(server.request(user_path("6"))) == ids(server.request(user_path("6", f"?exclude={exclude}")))

    def test_filters_change_no_score(self, server: ServerProcess) -> None:
        scores = {
            item["item_id"]: item["score"]
            for item in server.request(user_path("1", "?n=500&explain=true")).json["items"]
        }
        filtered = server.request(user_path("1", "?n=20&genre=Drama&year_from=1960")).json["items"]

        assert filtered
        assert [scores.get(item["item_id"], item["score"]) for item in filtered] == [i["score"] for i in filtered]


class TestExplanation:
    def test_is_left_out_unless_asked_for(self, server: ServerProcess) -> None:
        for query in ("", "?explain=false"):
            assert all("because" not in item for item in server.request(user_path("1", query)).json["items"])

    @pytest.mark.parametrize("query", ["?n=500&explain=true", "?n=3&explain=true&include_seen=true"])
    def test_sums_to_the_score(self, server: ServerProcess, sample_data: Dataset, query: str) -> None:
        answer = server.request(user_path("1", query)).json

        assert answer["strategy"] == "personalized"
        seen = seen_by(sample_data, "1")
        for item in answer["items"]:
            terms = item["because"]
            assert all({"item_id", "title", "contribution"} == set(term) for term in terms)
            assert {term["item_id"] for term in terms} <= seen
            assert item["score"] == pytest.approx(sum(term["contribution"] for term in terms), abs=2e-6)

    @pytest.mark.real_data
    def test_sums_to_the_score_of_a_long_history(self, ml_100k_server: ServerProcess, ml_100k_data: Dataset) -> None:
        """User 405 rated 737 items: the rounding of so many terms is what could go wrong."""
        for item in ml_100k_server.request(user_path("405", "?n=20&explain=true")).json["items"]:
            total = sum(term["contribution"] for term in item["because"])
            assert item["score"] == pytest.approx(total, abs=1e-5)

    def test_is_largest_first(self, server: ServerProcess) -> None:
        for item in server.request(user_path("1", "?explain=true")).json["items"]:
            contributions = [term["contribution"] for term in item["because"]]
            assert sorted(contributions, reverse=True) == contributions

    def test_of_a_blended_answer_sums_to_the_personalised_part(self, odd_server: ServerProcess) -> None:
        answer = odd_server.request(user_path("newcomer1", "?n=500&explain=true")).json

        assert answer["strategy"] == "blended"
        for item in answer["items"]:
            personalised = sum(term["contribution"] for term in item["because"])
            assert item["score"] - item["popularity"] == pytest.approx(personalised, abs=2e-6)

    def test_of_a_popular_answer_is_there_and_empty(self, server: ServerProcess) -> None:
        answer = server.request(user_path("nobody", "?explain=true")).json

        assert [item["because"] for item in answer["items"]] == [[]] * 10

    def test_changes_neither_items_nor_scores(self, server: ServerProcess) -> None:
        plain = server.request(user_path("7")).json["items"]
        explained = server.request(user_path("7", "?explain=true")).json["items"]

        assert plain == [{name: item[name] for name in ITEM_FIELDS} for item in explained]


class TestStrategy:
    @pytest.mark.parametrize(
        ("user", "expected"),
        [("nobody", "popular"), ("newcomer1", "blended"), ("newcomer4", "blended"), ("newcomer5", "personalized")],
    )
    def test_follows_the_number_of_known_items(self, odd_server: ServerProcess, user: str, expected: str) -> None:
        assert expected == odd_server.request(user_path(user)).json["strategy"]

    def test_of_an_unknown_user_is_what_is_popular(self, server: ServerProcess) -> None:
        answer = server.request(user_path("nobody"))

        assert answer.status == 200
        assert answer.json["user_id"] == "nobody"
        assert ids(server.request("/api/v1/items/popular")) == ids(answer)


class TestIds:
    @pytest.mark.parametrize("user", ODD_IDS)
    def test_of_any_spelling_find_their_user(self, odd_server: ServerProcess, odd_data: Dataset, user: str) -> None:
        answer = odd_server.request(user_path(user, "?n=500"))

        assert answer.status == 200
        assert (user, "personalized") == (answer.json["user_id"], answer.json["strategy"])
        assert set(odd_data.catalogue.item_ids) - seen_by(odd_data, user) == set(ids(answer))

    @pytest.mark.parametrize("unlike", ["07", "7.0", " 7", "7 ", "+7", "ÜNÏCODE", "u\u0308ni\u0308code", "NULL"])
    def test_are_never_interpreted(self, odd_server: ServerProcess, unlike: str) -> None:
        answer = odd_server.request(user_path(unlike)).json

        assert (unlike, "popular") == (answer["user_id"], answer["strategy"])

    @pytest.mark.parametrize("too_long", ["x" * 257, "é" * 257])
    def test_that_are_too_long_are_refused(self, server: ServerProcess, too_long: str) -> None:
        assert problem_of(server.request(user_path(too_long)), 400, "invalid_input") == ["path.user_id"]

    @pytest.mark.parametrize("encoded", ["%FF", "a%C3", "%ED%A0%80"])
    def test_that_are_no_text_are_refused(self, server: ServerProcess, encoded: str) -> None:
        """Left as they are, `%FF` and `%25FF` would name the same user."""
        answer = server.request(f"/api/v1/users/{encoded}/recommendations")

        assert problem_of(answer, 400, "invalid_input") == ["path.user_id"]

    def test_that_are_missing_are_no_address(self, server: ServerProcess) -> None:
        problem_of(server.request("/api/v1/users//recommendations"), 404, "not_found")


WRONG_QUERIES = [
    *(("n", value) for value in ("n=0", "n=501", "n=-1", "n=ten", "n=", "n=1.5", "n=1e1", "n=+1", "n=%201", "n=1%0A")),
    *(("n", value) for value in ("n=99999999999999999999", "n=0x1", "n=1_0", "n=%D9%A1", "n=NaN", "n=1&n=2")),
    *(("year_from", value) for value in ("year_from=-1", "year_from=10000", "year_from=later", "year_from=")),
    *(("year_to", value) for value in ("year_to=-1", "year_to=99999", "year_to=1999.5")),
    ("year_to", "year_from=2000&year_to=1990"),
    *(("include_seen", f"include_seen={value}") for value in ("1", "yes", "TRUE", "", "null")),
    *(("explain", f"explain={value}") for value in ("0", "True", "", "on", "true&explain=true")),
    ("exclude", "exclude=1&exclude=2"),
    ("exclude", "exclude=" + "a," * 10_001),
    ("genre[0]", "genre=" + "a" * 101),
    ("genre", "&".join(["genre=Drama"] * 51)),
    ("N", "N=5"),
    ("genres", "genres=Drama"),
    ("", "=5"),
    ("limit", "limit=5"),
]


@pytest.mark.parametrize(("field", "query"), WRONG_QUERIES, ids=[query[:30] for _, query in WRONG_QUERIES])
def test_a_wrong_parameter_is_named(server: ServerProcess, field: str, query: str) -> None:
    answer = server.request(user_path("1", f"?{query}"))

    assert [f"query.{field}"] == problem_of(answer, 400, "invalid_input")


@pytest.mark.parametrize("name", ["genre", "exclude"])
def test_a_parameter_that_is_no_text_is_named(server: ServerProcess, name: str) -> None:
    """Decoded with replacement characters, it would silently match nothing."""
    answer = server.request(user_path("1", f"?{name}=%FF"))

    assert name in " ".join(problem_of(answer, 400, "invalid_input"))


def test_every_wrong_parameter_is_named_at_once(server: ServerProcess) -> None:
    answer = server.request(user_path("1", "?n=0&explain=maybe&colour=red"))

    assert {"query.n", "query.explain", "query.colour"} == set(problem_of(answer, 400, "invalid_input"))
