"""Title search: against the plainest implementation there is, and on titles that trip up searches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.serving.search import TitleIndex, fold


def no_pause() -> None: ...


def search(titles: list[str], query: str) -> list[int]:
    found: list[int] = TitleIndex(titles, pause=no_pause).find(query).tolist()
    return found


def plainly(titles: list[str], query: str) -> list[int]:
    """What `find` promises, word for word, at the price of a loop."""
    words = fold(query).split()
    ranked = []
    for item, title in enumerate(map(fold, titles)):
        if not words or not all(word in title for word in words):
            continue
        starts = all(f" {word}" in f" {title}" for word in words)
        rank = 2 if title.startswith(" ".join(words)) else 1 if starts else 0
        ranked.append((-rank, item))
    return [item for _, item in sorted(ranked)]


letters = st.text("ab éÉ-\n", max_size=8)
#: Of so few words that titles begin with each other's, hold the same ones in another order, or one of them twice.
phrases = st.lists(st.sampled_from(["a", "b", "ab", "ba", "七", "七人"]), max_size=4).map(" ".join)


@given(st.lists(letters | phrases | st.text(max_size=8), max_size=8), letters | phrases | st.text(max_size=4))
def test_it_finds_what_the_plainest_search_finds(titles: list[str], query: str) -> None:
    assert plainly(titles, query) == search(titles, query)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    """A title is folded when it is stored and a query when it is asked: both must end at the same place."""
    assert fold(text) == fold(fold(text))


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_folded_by_its_table_as_beside_other_letters(text: str) -> None:
    assert f"{fold(text)} e".strip() == fold(f"{text} é")


@given(st.text())
def test_a_title_is_found_by_itself(title: str) -> None:
    if fold(title):
        assert search(["something else", title], title)[0] in {0, 1}
        assert 1 in search(["something else", title], title)


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("amelie", "Amélie"),
        ("AMÉLIE", "Amélie"),
        ("amélie", "Ame\u0301lie"),
        ("strasse", "Die Straße"),
        ("la strada", "La Strada (1954)"),
        ("spider man", "Spider-Man"),
        ("spider-man", "Spider Man"),
        ("oceans", "Ocean's Eleven".replace("'", "")),
        ("wall e", "WALL·E"),
        ("7", "Se7en"),
        ("seven samurai", "Samurai, Seven"),
        ("七人", "七人の侍"),
        ("istanbul", "İstanbul"),
        ("1900", "Novecento (1900)"),
    ],
)
def test_a_title_is_found_as_people_type_it(query: str, title: str) -> None:
    assert search(["Another film", title], query) == [1]


def test_a_title_that_begins_so_comes_first_then_word_beginnings_then_the_rest() -> None:
    titles = ["The Thermal", "Another Her", "Her", "Heretic", "Searcher"]

    assert search(titles, "her") == [2, 3, 1, 0, 4]


@pytest.mark.parametrize(
    ("titles", "query"),
    [
        (["Wars, Star", "Star Wars"], "star wars"),
        (["Stars Warred", "Star Warred"], "star war"),
        (["Star", "Star Star"], "star star"),
        (["侍 七人", "七人 侍"], "七人 侍"),
    ],
)
def test_a_title_begins_with_the_words_asked_for_in_their_order(titles: list[str], query: str) -> None:
    assert search(titles, query) == [1, 0]


def test_among_equals_the_more_popular_comes_first() -> None:
    assert search(["Star A", "Star B", "Star C"], "star") == [0, 1, 2]


@pytest.mark.parametrize("query", ["", " ", "\n", "!!!", "\u0301", "("])
def test_a_query_without_a_word_finds_nothing(query: str) -> None:
    assert search(["A film", "!!!", ""], query) == []


def test_a_match_never_runs_over_the_end_of_a_title() -> None:
    assert search(["Star", "Wars", "Star Wars"], "star wars") == [2]
    assert search(["Star", "Wars"], "arw") == []


@pytest.mark.parametrize("titles", [[], [""], ["", ""], ["!!!"]])
def test_a_catalogue_without_words_is_searched_in_vain(titles: list[str]) -> None:
    assert search(titles, "a") == []


def test_what_is_found_can_index_arrays() -> None:
    found = TitleIndex(["A", "B"], pause=no_pause).find("b")

    assert found.dtype == np.intp
