"""GET /api/v1/items: search by title, and the whole catalogue in pages."""

from urllib.parse import quote

import pytest
from http_exchange import ids, problem_of
from service import ServerProcess

from recsys.datasets.ratings import Dataset

pytest_plugins = ["http_server"]
PATH = "/api/v1/items"


def find(server: ServerProcess, query: str, rest: str = "") -> list[str]:
    answer = server.request(f"{PATH}?query={quote(query)}{rest}")
    assert answer.status == 200
    return [item["title"] for item in answer.json["items"]]


def test_has_the_promised_shape(server: ServerProcess) -> None:
    answer = server.request(f"{PATH}?query=the&limit=3")

    assert answer.status == 200
    assert answer.headers["X-Model-Version"] == "v1.0.0"
    assert {"items", "total"} == set(answer.json)
    assert [{"item_id", "title", "year", "genres"}] * 3 == [set(item) for item in answer.json["items"]]
    assert answer.json["total"] > 3


def test_finds_every_item_by_its_title(server: ServerProcess, sample_data: Dataset) -> None:
    for title in sample_data.catalogue.titles[::97]:
        assert title in find(server, title)


@pytest.mark.parametrize("query", ["amelie", "AMÉLIE", "Ame", "  amelie  ", "ame\u0301lie"])
def test_minds_neither_case_nor_accents(odd_server: ServerProcess, query: str) -> None:
    assert find(odd_server, query) == ["Amélie"]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ('said "no"', 'He Said "No"'),
        ("no, he said!", 'He Said "No"'),
        ("<script>", "<script>alert(1)</script>"),
        ("東京", "東京物語"),
    ],
)
def test_words_may_come_in_any_order_and_with_any_punctuation(
    odd_server: ServerProcess, query: str, title: str
) -> None:
    assert [title] == find(odd_server, query)


def test_every_word_must_be_there(odd_server: ServerProcess) -> None:
    assert find(odd_server, "amelie film") == []


def test_a_title_that_begins_with_the_query_comes_first(server: ServerProcess, sample_data: Dataset) -> None:
    title = next(title for title in sample_data.catalogue.titles if len(title.split()) > 2)

    assert title == find(server, title.rsplit(maxsplit=1)[0], "&limit=500")[0]


@pytest.mark.parametrize("query", ["zzzzzz", "\n", "!!!", "a\nb", "\x00", "💥", "a" * 200])
def test_what_nothing_is_called_finds_nothing_or_everything_but_never_fails(server: ServerProcess, query: str) -> None:
    answer = server.request(f"{PATH}?query={quote(query)}")

    assert answer.status == 200
    assert answer.json["total"] >= len(answer.json["items"])


def test_an_empty_query_lists_the_whole_catalogue_once(server: ServerProcess, sample_data: Dataset) -> None:
    listed: list[str] = []
    while page := ids(answer := server.request(f"{PATH}?limit=300&offset={len(listed)}")):
        assert sample_data.n_items == answer.json["total"]
        listed += page

    assert sample_data.n_items == len(listed)
    assert set(sample_data.catalogue.item_ids) == set(listed)


def test_pages_join_without_gap_or_overlap(server: ServerProcess) -> None:
    whole = ids(server.request(f"{PATH}?query=the&limit=60"))
    pages = [ids(server.request(f"{PATH}?query=the&limit=20&offset={offset}")) for offset in (0, 20, 40)]

    assert whole == [item for page in pages for item in page]


def test_a_page_beyond_the_end_is_empty_with_the_true_total(server: ServerProcess) -> None:
    total = server.request(f"{PATH}?query=the").json["total"]

    assert {"items": [], "total": total} == server.request(f"{PATH}?query=the&offset=9999999").json


def test_has_twenty_unless_told_otherwise(server: ServerProcess) -> None:
    assert len(ids(server.request(PATH))) == 20


def test_genres_narrow_it_and_its_total(server: ServerProcess, sample_data: Dataset) -> None:
    westerns = {
        item
        for item, genres in zip(sample_data.catalogue.item_ids, sample_data.catalogue.genres, strict=True)
        if "Western" in genres
    }
    answer = server.request(f"{PATH}?genre=western&limit=500")

    assert westerns == set(ids(answer))
    assert len(westerns) == answer.json["total"]


@pytest.mark.parametrize(
    ("field", "query"),
    [
        *(("limit", f"limit={bad}") for bad in ("0", "501", "-1", "all", "")),
        *(("offset", f"offset={bad}") for bad in ("-1", "x", "10000001", "", "1.0")),
        ("query", "query=" + "a" * 201),
        ("query", "query=a&query=b"),
        ("q", "q=star"),
        ("n", "n=5"),
        ("genre[0]", "genre=" + "a" * 101),
    ],
)
def test_a_wrong_parameter_is_named(server: ServerProcess, field: str, query: str) -> None:
    assert [f"query.{field}"] == problem_of(server.request(f"{PATH}?{query}"), 400, "invalid_input")


def test_a_query_that_is_no_text_is_named(server: ServerProcess) -> None:
    assert problem_of(server.request(f"{PATH}?query=%FFamelie"), 400, "invalid_input") == ["query.query"]
