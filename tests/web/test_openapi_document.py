"""/openapi.json: a valid OpenAPI 3.1 document that says what the routes do."""

import json
import re
from typing import Any

import pytest
from feedback_calls import ADMIN
from http_exchange import user_path
from jsonschema import Draft202012Validator
from service import Answer, ServerProcess

pytest_plugins = ["http_server"]
ROUTES = {
    ("get", "/api/v1/users/{user_id}/recommendations"),
    ("post", "/api/v1/recommendations"),
    ("post", "/api/v1/recommendations/batch"),
    ("get", "/api/v1/items"),
    ("get", "/api/v1/items/popular"),
    ("get", "/api/v1/items/{item_id}"),
    ("get", "/api/v1/items/{item_id}/similar"),
    ("get", "/api/v1/items/trending"),
    ("put", "/api/v1/items/{item_id}"),
    ("patch", "/api/v1/items/{item_id}"),
    ("delete", "/api/v1/items/{item_id}"),
    ("get", "/api/v1/genres"),
    ("post", "/api/v1/ratings"),
    ("get", "/api/v1/users/{user_id}/ratings"),
    ("delete", "/api/v1/users/{user_id}/ratings/{item_id}"),
    ("delete", "/api/v1/users/{user_id}"),
    ("post", "/api/v1/events"),
    ("get", "/admin/quality"),
    ("get", "/health"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
}


@pytest.fixture(scope="module")
def document(server: ServerProcess) -> dict[str, Any]:
    answer = server.request("/openapi.json")
    assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (200, "application/json")
    found: dict[str, Any] = answer.json
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def schemas_within(part: Any) -> list[dict[str, Any]]:
    """Every schema of a document, wherever it stands."""
    found = []
    if isinstance(part, dict):
        found += [part["schema"]] if isinstance(part.get("schema"), dict) else []
        found += [schema for value in part.values() for schema in schemas_within(value)]
    elif isinstance(part, list):
        found += [schema for value in part for schema in schemas_within(value)]
    return found


def test_is_openapi_3_1(document: dict[str, Any]) -> None:
    """Against the specification's own schema, as schemathesis carries it."""
    definitions = pytest.importorskip("schemathesis.specs.openapi.definitions")

    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in Draft202012Validator(definitions.OPENAPI_31).iter_errors(document)] == []


def test_names_every_route_of_the_contract(document: dict[str, Any]) -> None:
    assert set() == ROUTES - set(operations(document))


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    schemas = [*document["components"]["schemas"].values(), *schemas_within(document["paths"])]

    assert schemas
    for schema in schemas:
        Draft202012Validator.check_schema(schema)


def test_schemas_use_only_words_that_mean_something(document: dict[str, Any]) -> None:
    """JSON Schema ignores a word it does not know, so `ge` in place of `minimum` promises nothing."""
    known = {
        *(
            "$ref",
            "type",
            "format",
            "enum",
            "const",
            "default",
            "title",
            "description",
            "items",
            "properties",
            "required",
        ),
        *("additionalProperties", "anyOf", "minimum", "maximum", "minLength", "maxLength", "pattern"),
        *("minItems", "maxItems"),
    }

    def unknown(schema: Any, at: str) -> list[str]:
        if not isinstance(schema, dict):
            return []
        found = [f"{at}: {word}" for word in schema if word not in known]
        for name, inner in schema.get("properties", {}).items():
            found += unknown(inner, f"{at}.{name}")
        for inner in [schema.get("items"), *schema.get("anyOf", [])]:
            found += unknown(inner, at)
        return found

    parts = {
        f"{method} {path} {parameter['name']}": parameter["schema"]
        for (method, path), operation in operations(document).items()
        for parameter in operation["parameters"]
    } | document["components"]["schemas"]
    assert [word for at, schema in parts.items() for word in unknown(schema, at)] == []


@pytest.mark.parametrize(
    ("route", "name", "expected"),
    [
        (
            "/api/v1/users/{user_id}/recommendations",
            "n",
            {"type": "integer", "minimum": 1, "maximum": 500, "default": 10},
        ),
        ("/api/v1/items/{item_id}/similar", "n", {"type": "integer", "minimum": 1, "maximum": 500, "default": 10}),
        ("/api/v1/items/popular", "n", {"type": "integer", "minimum": 1, "maximum": 500, "default": 10}),
        ("/api/v1/items", "limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 20}),
        ("/api/v1/items/trending", "days", {"type": "integer", "minimum": 1, "maximum": 90, "default": 7}),
    ],
)
def test_says_the_bounds_that_hold(document: dict[str, Any], route: str, name: str, expected: dict[str, Any]) -> None:
    parameters = {p["name"]: p["schema"] for p in operations(document)["get", route]["parameters"]}

    assert expected == {word: parameters[name].get(word) for word in expected}


def test_a_parameters_default_is_of_its_type(document: dict[str, Any]) -> None:
    for (method, path), operation in operations(document).items():
        for parameter in operation["parameters"]:
            schema = parameter["schema"]
            if "default" in schema:
                problems = [error.message for error in Draft202012Validator(schema).iter_errors(schema["default"])]
                assert problems == [], f"{method} {path} {parameter['name']}"


def test_every_operation_has_an_id_of_its_own_and_a_summary(document: dict[str, Any]) -> None:
    found = list(operations(document).values())

    assert len(found) == len({operation["operationId"] for operation in found})
    assert all(operation["summary"].endswith(".") for operation in found)


def test_every_reference_leads_to_a_schema(document: dict[str, Any]) -> None:
    names = set(document["components"]["schemas"])
    text = json.dumps(document)

    assert {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]} <= names


@pytest.mark.parametrize(
    ("method", "route", "path", "body"),
    [
        ("get", "/api/v1/users/{user_id}/recommendations", user_path("1", "?explain=true"), None),
        ("get", "/api/v1/users/{user_id}/recommendations", user_path("nobody"), None),
        ("get", "/api/v1/users/{user_id}/recommendations", user_path("1", "?n=0"), None),
        (
            "post",
            "/api/v1/recommendations",
            "/api/v1/recommendations",
            {"ratings": [{"item_id": "1", "rating": 5}], "explain": True},
        ),
        ("post", "/api/v1/recommendations", "/api/v1/recommendations", {}),
        ("post", "/api/v1/recommendations/batch", "/api/v1/recommendations/batch", {"user_ids": ["1", "nobody"]}),
        ("get", "/api/v1/items", "/api/v1/items?query=the", None),
        ("get", "/api/v1/items/popular", "/api/v1/items/popular", None),
        ("get", "/api/v1/items/{item_id}", "/api/v1/items/1", None),
        ("get", "/api/v1/items/{item_id}", "/api/v1/items/none", None),
        ("get", "/api/v1/items/{item_id}/similar", "/api/v1/items/1/similar", None),
        ("get", "/api/v1/genres", "/api/v1/genres", None),
        ("get", "/health", "/health", None),
        ("get", "/health/live", "/health/live", None),
        ("get", "/health/ready", "/health/ready", None),
    ],
)
def test_answers_are_as_described_and_nothing_is_left_undescribed(
    server: ServerProcess, document: dict[str, Any], method: str, route: str, path: str, body: Any
) -> None:
    answer = server.request(path, method=method.upper(), body=body)

    assert not_as_described(document, method, route, answer) == []


def test_answers_about_ratings_films_and_events_are_as_described(
    ids_server: ServerProcess, document: dict[str, Any]
) -> None:
    """In an order in which each is answered with more than a refusal, and then with one."""

    def ask(expected: int, method: str, route: str, *names: str, query: str = "", body: Any = None) -> Any:
        remaining = iter(names)
        path = re.sub(r"{\w+}", lambda _: next(remaining), route)
        answer = ids_server.request(path + query, method=method.upper(), body=body, headers=ADMIN)
        assert expected == answer.status, (method, route, answer.body)
        assert not_as_described(document, method, route, answer) == [], (method, route, answer.body)
        return answer.json

    item, user = "/api/v1/items/{item_id}", "/api/v1/users/{user_id}"
    ask(200, "get", "/api/v1/items/trending")
    ask(201, "put", item, "x", body={"title": "X", "year": 1999, "genres": ["Drama"], "imdb_id": "tt1"})
    ask(200, "put", item, "x", body={"title": "X"})
    ask(400, "put", item, "x", body={"title": ""})
    ask(200, "patch", item, "x", body={"year": None})
    ask(404, "patch", item, "none", body={"year": None})
    rating = {"user_id": "ann", "item_id": "x", "rating": 5, "timestamp": 1_700_000_000, "event_id": "e"}
    ask(200, "post", "/api/v1/ratings", body={"ratings": [rating]})
    ask(400, "post", "/api/v1/ratings", body={"ratings": [rating | {"item_id": "none"}]})
    ask(409, "post", "/api/v1/ratings", body={"ratings": [rating | {"rating": 4}]})
    ask(200, "post", "/api/v1/ratings", body={"ratings": [{"user_id": "ann", "item_id": "1", "rating": 5}]})
    ask(200, "get", "/api/v1/items/trending", query="?days=30&genre=drama")
    ask(400, "get", "/api/v1/items/trending", query="?days=0")
    ask(200, "get", f"{user}/ratings", "ann")
    ask(200, "get", f"{user}/ratings", "1")
    shown = ask(200, "get", f"{user}/recommendations", "ann", query="?explain=true")["recommendation_id"]
    ask(200, "post", "/api/v1/recommendations", body={"ratings": [{"item_id": "1", "rating": 5}]})
    event = {"recommendation_id": shown, "type": "impression", "item_id": "1"}
    ask(200, "post", "/api/v1/events", body={"events": [event]})
    ask(400, "post", "/api/v1/events", body={"events": [event | {"recommendation_id": "forged"}]})
    ask(200, "get", "/admin/quality")
    ask(200, "delete", f"{user}/ratings/{{item_id}}", "ann", "x")
    ask(404, "delete", f"{user}/ratings/{{item_id}}", "ann", "x")
    ask(200, "delete", user, "ann")
    ask(200, "delete", item, "x")
    ask(404, "delete", item, "x")
    ask(200, "get", "/health")


def not_as_described(document: dict[str, Any], method: str, route: str, answer: Answer) -> list[str]:
    described = operations(document)[method, route]["responses"][str(answer.status)]["content"]
    schema = described[answer.headers["Content-Type"].split(";")[0]]["schema"]
    closed = {"components": _closed(document["components"]), **schema}
    return [error.message for error in Draft202012Validator(closed).iter_errors(answer.json)]


def _closed(part: Any) -> Any:
    """The same schemas, but that a field they do not know is an error."""
    if isinstance(part, list):
        return [_closed(value) for value in part]
    if not isinstance(part, dict):
        return part
    closed = {name: _closed(value) for name, value in part.items()}
    return (
        closed | {"additionalProperties": False}
        if isinstance(part.get("properties"), dict) and "type" in part
        else closed
    )
