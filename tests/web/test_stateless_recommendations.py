"""POST /api/v1/recommendations."""

from typing import Any

import pytest
from http_exchange import ODD_IDS, ids, problem_of, seen_by, user_path
from service import Answer, ServerProcess

from recsys.datasets.ratings import Dataset

pytest_plugins = ["http_server"]
PATH = "/api/v1/recommendations"


def ask(server: ServerProcess, ratings: list[dict[str, Any]], **options: Any) -> Answer:
    return server.request(PATH, method="POST", body={"ratings": ratings, **options})


def liked(*items: str) -> list[dict[str, Any]]:
    return [{"item_id": item, "rating": 5} for item in items]


@pytest.fixture(scope="module")
def some_items(sample_data: Dataset) -> list[str]:
    return sorted(seen_by(sample_data, "1"))[:20]


class TestAnswer:
    def test_has_the_promised_shape(self, server: ServerProcess, some_items: list[str]) -> None:
        answer = ask(server, liked(*some_items), n=3)

        assert answer.status == 200
        assert answer.headers["X-Model-Version"] == "v1.0.0"
        assert {"model_version", "strategy", "items", "ignored"} == set(answer.json)
        assert (answer.json["model_version"], answer.json["ignored"]) == ("v1.0.0", [])
        assert [{"item_id", "title", "year", "genres", "score"}] * 3 == [set(item) for item in answer.json["items"]]

    def test_has_ten_items_unless_told_otherwise(self, server: ServerProcess, some_items: list[str]) -> None:
        assert len(ids(ask(server, liked(*some_items)))) == 10

    def test_leaves_out_what_was_rated(self, server: ServerProcess, some_items: list[str]) -> None:
        assert set() == set(some_items) & set(ids(ask(server, liked(*some_items), n=500)))

    def test_is_that_of_the_user_with_these_ratings(self, odd_server: ServerProcess, odd_data: Dataset) -> None:
        user = odd_data.user_ids.index("007")
        mine = odd_data.users == user
        ratings = [
            {"item_id": odd_data.catalogue.item_ids[item], "rating": value, "timestamp": when}
            for item, value, when in zip(
                odd_data.items[mine].tolist(),
                odd_data.values[mine].tolist(),
                odd_data.timestamps[mine].tolist(),
                strict=True,
            )
        ]
        expected = odd_server.request(user_path("007", "?n=20")).json

        for order in (ratings, ratings[::-1]):
            answer = ask(odd_server, order, n=20).json
            assert (expected["strategy"], expected["items"]) == (answer["strategy"], answer["items"])

    def test_stores_nothing(self, server: ServerProcess, some_items: list[str]) -> None:
        before = server.request(user_path("1")).body
        ask(server, liked(*some_items))

        assert before == server.request(user_path("1")).body


class TestStrategy:
    @pytest.mark.parametrize(
        ("n_known", "expected"),
        [(0, "popular"), (1, "blended"), (4, "blended"), (5, "personalized"), (20, "personalized")],
    )
    def test_follows_the_number_of_known_items(
        self, server: ServerProcess, some_items: list[str], n_known: int, expected: str
    ) -> None:
        answer = ask(
            server, liked(*some_items[:n_known], "unknown-1", "unknown-2", "unknown-3", "unknown-4", "unknown-5")
        )

        assert expected == answer.json["strategy"]

    def test_counts_an_item_once(self, server: ServerProcess, some_items: list[str]) -> None:
        assert ask(server, liked(*[some_items[0]] * 7)).json["strategy"] == "blended"

    def test_of_no_ratings_is_what_is_popular(self, server: ServerProcess) -> None:
        assert ids(server.request("/api/v1/items/popular")) == ids(ask(server, []))


class TestRatings:
    def test_of_unknown_items_are_ignored_and_named_once_in_order(self, server: ServerProcess) -> None:
        answer = ask(server, liked("1", "zzz", "🎬", "zzz", "two words", "2"))

        assert answer.json["ignored"] == ["zzz", "🎬", "two words"]
        assert ids(ask(server, liked("1", "2"))) == ids(answer)

    def test_the_last_of_an_item_wins(self, server: ServerProcess, some_items: list[str]) -> None:
        once = ask(server, [*liked(*some_items[1:6]), {"item_id": some_items[0], "rating": 1}])
        twice = ask(server, [*liked(*some_items[:6]), {"item_id": some_items[0], "rating": 1}])

        assert once.json["items"] == twice.json["items"]

    def test_a_low_rating_says_less_than_a_high_one(self, server: ServerProcess, some_items: list[str]) -> None:
        item = some_items[0]

        def share(stars: float) -> float:
            answer = ask(server, [{"item_id": item, "rating": stars}, *liked(*some_items[1:6])], n=1, explain=True)
            terms = {term["item_id"]: term["contribution"] for term in answer.json["items"][0]["because"]}
            return abs(terms.get(item, 0.0)) / sum(abs(term) for term in terms.values())

        assert share(0.5) < share(5)

    def test_a_newer_rating_says_more_than_an_older_one(self, server: ServerProcess, some_items: list[str]) -> None:
        ratings = [{"item_id": item, "rating": 5, "timestamp": when} for when, item in enumerate(some_items[:8])]
        newest_last = ask(server, ratings, n=50, explain=True).json["items"]
        reversed_times = [dict(rating, timestamp=100 - rating["timestamp"]) for rating in ratings]
        newest_first = ask(server, reversed_times, n=50, explain=True).json["items"]

        def total(items: list[dict[str, Any]], item_id: str) -> float:
            return sum(abs(t["contribution"]) for item in items for t in item["because"] if t["item_id"] == item_id)

        assert total(newest_last, some_items[7]) > total(newest_first, some_items[7])

    def test_without_a_time_their_order_means_nothing(self, server: ServerProcess, some_items: list[str]) -> None:
        assert ids(ask(server, liked(*some_items))) == ids(ask(server, liked(*some_items[::-1])))

    @pytest.mark.parametrize(
        "spelled", [1_577_836_800, "2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00", "2020-01-01T00:00:00.000000Z"]
    )
    def test_times_are_seconds_or_rfc_3339(
        self, server: ServerProcess, some_items: list[str], spelled: int | str
    ) -> None:
        def body(when: int | str) -> list[dict[str, Any]]:
            later = [{"item_id": item, "rating": 5, "timestamp": 1_577_836_801} for item in some_items[1:6]]
            return [{"item_id": some_items[0], "rating": 5, "timestamp": when}, *later]

        expected = ask(server, body(1_577_836_800)).json
        assert expected["items"] == ask(server, body(spelled)).json["items"]

    def test_ids_of_any_spelling_are_known(self, odd_server: ServerProcess) -> None:
        answer = ask(odd_server, liked(*ODD_IDS), n=500)

        assert answer.json["ignored"] == []
        assert set() == set(ODD_IDS) & set(ids(answer))

    def test_a_thousand_are_taken(self, server: ServerProcess, sample_data: Dataset) -> None:
        answer = ask(server, liked(*sample_data.catalogue.item_ids[:1000]), explain=True)

        assert answer.status == 200


class TestOptions:
    def test_genres_are_any_of_in_any_case(self, server: ServerProcess, some_items: list[str]) -> None:
        items = ask(server, liked(*some_items), n=500, genres=["WAR", "western"]).json["items"]

        assert {"War", "Western"} == {genre for item in items for genre in item["genres"]} & {"War", "Western"}
        assert all({"War", "Western"} & set(item["genres"]) for item in items)

    def test_years_have_both_ends_included(self, server: ServerProcess, some_items: list[str]) -> None:
        items = ask(server, liked(*some_items), n=500, year_from=1980, year_to=1981).json["items"]

        assert {1980, 1981} == {item["year"] for item in items}

    def test_excluded_items_are_left_out(self, server: ServerProcess, some_items: list[str]) -> None:
        best = ids(ask(server, liked(*some_items), n=12))
        answer = ask(server, liked(*some_items), n=11, exclude=[best[3], "no-such-item"])

        assert best[:3] + best[4:] == ids(answer)

    def test_null_is_the_same_as_left_out_where_the_document_says_so(
        self, server: ServerProcess, some_items: list[str]
    ) -> None:
        ratings = [dict(rating, timestamp=None) for rating in liked(*some_items)]
        answer = ask(server, ratings, year_from=None, year_to=None)

        assert ids(ask(server, liked(*some_items))) == ids(answer)

    @pytest.mark.parametrize("n_known", [1, 4, 5, 20])
    def test_because_sums_to_the_personalised_part(
        self, server: ServerProcess, some_items: list[str], n_known: int
    ) -> None:
        answer = ask(server, liked(*some_items[:n_known]), n=500, explain=True).json

        for item in answer["items"]:
            total = sum(term["contribution"] for term in item["because"])
            assert item["score"] - item.get("popularity", 0.0) == pytest.approx(total, abs=2e-6)
            assert {term["item_id"] for term in item["because"]} <= set(some_items[:n_known])

    @pytest.mark.real_data
    def test_because_is_exact_on_real_data(self, ml_100k_server: ServerProcess) -> None:
        answer = ask(ml_100k_server, liked("50", "172", "181", "1", "7"), n=5, explain=True).json

        assert answer["strategy"] == "personalized"
        for item in answer["items"]:
            assert item["score"] == pytest.approx(sum(term["contribution"] for term in item["because"]), abs=2e-6)


WRONG_BODIES: list[tuple[str, Any]] = [
    ("body", None),
    ("body", []),
    ("body", "ratings"),
    ("body", 5),
    ("body.ratings", {}),
    ("body.ratings", {"ratings": None}),
    ("body.ratings", {"ratings": {}}),
    ("body.ratings", {"ratings": liked("1") * 1001}),
    ("body.ratings[0]", {"ratings": [None]}),
    ("body.ratings[0]", {"ratings": ["1"]}),
    ("body.ratings[1].item_id", {"ratings": [*liked("1"), {"rating": 3}]}),
    *(
        ("body.ratings[0].item_id", {"ratings": [{"item_id": bad, "rating": 3}]})
        for bad in (None, 1, "", "x" * 257, ["1"])
    ),
    ("body.ratings[0].rating", {"ratings": [{"item_id": "1"}]}),
    *(
        ("body.ratings[0].rating", {"ratings": [{"item_id": "1", "rating": bad}]})
        for bad in (None, "5", True, -1, 0, 5.5, 1001, 1e308, [5], float("nan"), float("inf"))
    ),
    *(
        ("body.ratings[0].timestamp", {"ratings": [{"item_id": "1", "rating": 5, "timestamp": bad}]})
        for bad in (
            -1,
            1.5,
            2**41,
            10**400,
            True,
            "",
            "yesterday",
            "2020-01-01",
            "2020-01-01T00:00:00",
            "1577836800",
            [1],
        )
    ),
    ("body.ratings[0].stars", {"ratings": [{"item_id": "1", "rating": 5, "stars": 5}]}),
    *(("body.n", {"ratings": [], "n": bad}) for bad in (0, 501, -1, "5", True, None, 1.5, [1], 10**30)),
    ("body.genres", {"ratings": [], "genres": "Drama"}),
    ("body.genres", {"ratings": [], "genres": ["Drama"] * 51}),
    ("body.genres[1]", {"ratings": [], "genres": ["Drama", 5]}),
    ("body.genres[0]", {"ratings": [], "genres": ["a" * 101]}),
    *(("body.year_from", {"ratings": [], "year_from": bad}) for bad in (-1, 10_000, "1990", True, 1990.5)),
    ("body.year_to", {"ratings": [], "year_to": "later"}),
    ("body.year_to", {"ratings": [], "year_from": 2000, "year_to": 1990}),
    ("body.exclude", {"ratings": [], "exclude": "1,2"}),
    ("body.exclude", {"ratings": [], "exclude": ["1"] * 10_001}),
    ("body.exclude[0]", {"ratings": [], "exclude": [1]}),
    ("body.explain", {"ratings": [], "explain": "true"}),
    ("body.genre", {"ratings": [], "genre": ["Drama"]}),
    ("body.include_seen", {"ratings": [], "include_seen": True}),
]


@pytest.mark.parametrize(
    ("field", "body"), WRONG_BODIES, ids=[f"{field}-{str(body)[-40:]}" for field, body in WRONG_BODIES]
)
def test_a_wrong_field_is_named(server: ServerProcess, field: str, body: Any) -> None:
    content = b"null" if body is None else body if isinstance(body, list | dict) else str(body).encode()
    if isinstance(body, str):
        content = f'"{body}"'.encode()
    answer = server.request(PATH, method="POST", body=content, headers={"Content-Type": "application/json"})

    assert {field} == set(problem_of(answer, 400, "invalid_input"))


def test_every_wrong_rating_is_named(server: ServerProcess) -> None:
    """The reader of one problem should not have to send the rest again to learn of the next."""
    answer = ask(server, [*liked("1"), {"item_id": "2", "rating": 9}, {"item_id": "3", "rating": 7}])

    assert problem_of(answer, 400, "invalid_input") == ["body.ratings[1].rating", "body.ratings[2].rating"]


def test_times_before_1970_are_taken_or_refused_in_either_spelling(server: ServerProcess) -> None:
    spellings = (-315_619_200, "1960-01-01T00:00:00Z")
    statuses = [ask(server, [{"item_id": "1", "rating": 5, "timestamp": when}]).status for when in spellings]

    assert statuses[0] == statuses[1]


def test_a_parameter_in_the_address_is_refused(server: ServerProcess) -> None:
    answer = server.request(f"{PATH}?n=5", method="POST", body={"ratings": []})

    assert problem_of(answer, 400, "invalid_input") == ["query.n"]
