"""POST /api/v1/recommendations/batch."""

import json
from typing import Any

import pytest
from http_exchange import ODD_IDS, ids, problem_of, seen_by, user_path
from service import Answer, ServerProcess

from recsys.datasets.ratings import Dataset

pytest_plugins = ["http_server"]
PATH = "/api/v1/recommendations/batch"
#: More than are worked on at once, so that the answer is streamed.
MANY = 60


def ask(server: ServerProcess, user_ids: list[str], **options: Any) -> Answer:
    return server.request(PATH, method="POST", body={"user_ids": user_ids, **options})


@pytest.mark.parametrize("n_users", [1, 25, 26, MANY])
def test_has_the_promised_shape(server: ServerProcess, sample_data: Dataset, n_users: int) -> None:
    answer = ask(server, list(sample_data.user_ids[:n_users]), n=2)

    assert answer.status == 200
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    assert answer.headers["X-Model-Version"] == "v1.0.0"
    assert answer.headers["X-Request-ID"]
    assert {"model_version", "results"} == set(answer.json)
    assert n_users == len(answer.json["results"])
    for result in answer.json["results"]:
        assert {"user_id", "strategy", "items"} == set(result)
        assert [{"item_id", "title", "year", "genres", "score"}] * 2 == [set(item) for item in result["items"]]


def test_keeps_the_order_asked_with_unknown_and_repeated_users(server: ServerProcess, sample_data: Dataset) -> None:
    asked = [*sample_data.user_ids[30:0:-1], "nobody", "🎬", "3", "3", "", *sample_data.user_ids[40:60]]

    assert asked == [result["user_id"] for result in ask(server, asked, n=1).json["results"]]


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({}, ""),
        ({"n": 30}, "?n=30"),
        ({"include_seen": True, "n": 5}, "?include_seen=true&n=5"),
        (
            {"genres": ["drama", "War"], "year_from": 1950, "year_to": 1999},
            "?genre=drama&genre=War&year_from=1950&year_to=1999",
        ),
        ({"exclude": ["884", "520", "no-such-item"]}, "?exclude=884,520,no-such-item"),
    ],
)
def test_equals_single_answers(server: ServerProcess, sample_data: Dataset, body: dict[str, Any], query: str) -> None:
    users = [*sample_data.user_ids[:MANY:2], "nobody"]
    results = ask(server, users, **body).json["results"]

    for user, result in zip(users, results, strict=True):
        single = server.request(user_path(user, query)).json
        assert (single["strategy"], single["items"]) == (result["strategy"], result["items"])


@pytest.mark.real_data
def test_equals_single_answers_on_real_data(ml_100k_server: ServerProcess, ml_100k_data: Dataset) -> None:
    users = list(ml_100k_data.user_ids[::100])

    for result in ask(ml_100k_server, users).json["results"]:
        single = ml_100k_server.request(user_path(result["user_id"])).json
        assert (single["strategy"], single["items"]) == (result["strategy"], result["items"])


def test_leaves_out_what_each_has_seen(server: ServerProcess, sample_data: Dataset) -> None:
    for result in ask(server, list(sample_data.user_ids[:5]), n=500).json["results"]:
        assert set() == seen_by(sample_data, result["user_id"]) & {item["item_id"] for item in result["items"]}


def test_finds_ids_of_any_spelling(odd_server: ServerProcess) -> None:
    results = ask(odd_server, list(ODD_IDS), n=1).json["results"]

    assert [(user, "personalized") for user in ODD_IDS] == [(r["user_id"], r["strategy"]) for r in results]


def test_a_thousand_users_are_answered(server: ServerProcess, sample_data: Dataset) -> None:
    users = [*sample_data.user_ids, *(f"stranger{number}" for number in range(1000))][:1000]
    answer = ask(server, users, n=10)

    assert users == [result["user_id"] for result in answer.json["results"]]


def test_a_long_answer_is_one_json_text(server: ServerProcess, sample_data: Dataset) -> None:
    """It is written in parts: a comma too many would only show here."""
    body = ask(server, list(sample_data.user_ids[:MANY]), n=1).body

    assert len(json.loads(body)["results"]) == MANY
    assert body.endswith(b"]}]}")


@pytest.mark.parametrize("n_users", [1, MANY])
def test_echoes_the_request_id_however_long_the_answer(server: ServerProcess, n_users: int) -> None:
    body = {"user_ids": [str(number) for number in range(n_users)], "n": 1}
    answer = server.request(PATH, method="POST", body=body, headers={"X-Request-ID": "nightly-7"})

    assert answer.headers.get("X-Request-ID") == "nightly-7"


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("body.user_ids", {}),
        ("body.user_ids", {"user_ids": []}),
        ("body.user_ids", {"user_ids": None}),
        ("body.user_ids", {"user_ids": "1,2"}),
        ("body.user_ids", {"user_ids": ["1"] * 1001}),
        ("body.user_ids[1]", {"user_ids": ["1", 2]}),
        ("body.user_ids[0]", {"user_ids": ["x" * 257]}),
        ("body.user_ids[0]", {"user_ids": [None]}),
        ("body.n", {"user_ids": ["1"], "n": 0}),
        ("body.n", {"user_ids": ["1"], "n": 501}),
        ("body.include_seen", {"user_ids": ["1"], "include_seen": 1}),
        ("body.explain", {"user_ids": ["1"], "explain": True}),
        ("body.users", {"user_ids": ["1"], "users": []}),
    ],
)
def test_a_wrong_field_is_named(server: ServerProcess, field: str, body: dict[str, Any]) -> None:
    answer = server.request(PATH, method="POST", body=body)

    assert field == problem_of(answer, 400, "invalid_input")[0]


def test_its_items_are_those_of_one_model(server: ServerProcess) -> None:
    answer = ask(server, ["1"], n=1)

    assert answer.headers["X-Model-Version"] == answer.json["model_version"]
    assert ids(server.request(user_path("1", "?n=1"))) == [
        item["item_id"] for item in answer.json["results"][0]["items"]
    ]
