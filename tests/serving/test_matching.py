"""Somebody else's ratings find their films in our catalogue, or hear why not."""

import pytest

from recsys.datasets.exports import Exported
from recsys.datasets.ratings import Catalogue, RatingScale
from recsys.serving.matching import Matcher, on_scale, titles_of

HALVES = RatingScale(0.5, 5.0, 0.5)
FILMS = [
    ("The Matrix", 1999, "tt0133093", "603"),
    ("Seven (a.k.a. Se7en)", 1995, "tt0114369", "807"),
    ("The City of Lost Children (La cité des enfants perdus)", 1995, None, None),
    ("Hamlet", 1990, None, None),
    ("Hamlet", 1996, None, None),
    ("Spider-Man 2", 2004, None, None),
    ("Amélie", 2001, None, "194"),
    ("The Professional", 1994, None, None),
    ("Rocky III", 1982, None, None),
    ("Undated", None, None, None),
]
CATALOGUE = Catalogue(
    tuple(str(number) for number in range(len(FILMS))),
    tuple(film[0] for film in FILMS),
    tuple(film[1] for film in FILMS),
    ((),) * len(FILMS),
    tuple(film[2] for film in FILMS),
    tuple(film[3] for film in FILMS),
)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher(CATALOGUE)


def rated(title: str, year: int | None = None, **more: object) -> Exported:
    return Exported(title, year, 4.0, "4", **more)  # type: ignore[arg-type]


def found(matcher: Matcher, exported: Exported) -> str:
    matched, unmatched = matcher.match([exported], HALVES)
    return FILMS[matched[0].item][0] + f" {FILMS[matched[0].item][1]}" if matched else unmatched[0].why


@pytest.mark.parametrize(
    ("title", "year", "expected"),
    [
        ("The Matrix", 1999, "The Matrix 1999"),
        ("Matrix", 1999, "The Matrix 1999"),
        ("MATRIX, the", 1999, "no film of this title in the catalogue"),
        ("Se7en", 1995, "Seven (a.k.a. Se7en) 1995"),
        ("Seven", 1996, "Seven (a.k.a. Se7en) 1995"),
        ("La Cite des Enfants Perdus", 1995, "The City of Lost Children (La cité des enfants perdus) 1995"),
        ("Hamlet", 1996, "Hamlet 1996"),
        ("Hamlet", 1991, "Hamlet 1990"),
        ("Hamlet", 2000, "in the catalogue a film of this title is of 1990, 1996"),
        ("Hamlet", None, "several films bear this title, and no year is given"),
        ("Spider Man II", 2004, "Spider-Man 2 2004"),
        ("Spiderman 2", 2004, "Spider-Man 2 2004"),
        ("amelie", 2001, "Amélie 2001"),
        ("Léon: The Professional", 1994, "The Professional 1994"),
        ("Léon: The Professional", 1995, "no film of this title in the catalogue"),
        ("Rocky 3", 1982, "Rocky III 1982"),
        ("Undated", 2010, "Undated None"),
        ("", 1999, "no film of this title in the catalogue"),
        ("!!!", 1999, "no film of this title in the catalogue"),
    ],
)
def test_a_title_is_found_whatever_its_spelling(matcher: Matcher, title: str, year: int | None, expected: str) -> None:
    assert expected == found(matcher, rated(title, year))


def test_an_id_wins_over_the_title(matcher: Matcher) -> None:
    assert found(matcher, rated("Hamlet", 1996, imdb_id="tt0133093")) == "The Matrix 1999"
    assert found(matcher, rated("Hamlet", 1996, tmdb_id="194")) == "Amélie 2001"
    assert found(matcher, rated("x", None, imdb_id="tt00133093")) == "The Matrix 1999"


def test_another_id_is_another_film_unless_title_and_year_agree(matcher: Matcher) -> None:
    assert found(matcher, rated("The Matrix", 1999, imdb_id="tt7777777")) == "The Matrix 1999"
    assert found(matcher, rated("The Matrix", 2000, imdb_id="tt7777777")).startswith("in the catalogue")


def test_a_series_is_no_film_unless_the_catalogue_has_it(matcher: Matcher) -> None:
    assert found(matcher, rated("Hamlet", 1996, kind="TV Series")) == "not a film: TV Series"
    assert found(matcher, rated("x", None, imdb_id="tt0133093", kind="TV Series")) == "The Matrix 1999"


def test_what_was_withdrawn_is_not_found() -> None:
    assert (
        found(Matcher(CATALOGUE, withdrawn=[0]), rated("The Matrix", 1999)) == "no film of this title in the catalogue"
    )


def test_of_two_ratings_of_a_film_the_later_counts(matcher: Matcher) -> None:
    ratings = [Exported("Matrix", 1999, 1.0, "1", timestamp=20), Exported("The Matrix", 1999, 5.0, "5", timestamp=10)]
    matched, unmatched = matcher.match(ratings, HALVES)
    assert ([one.rating for one in matched], [one.exported.given for one in unmatched]) == ([1.0], ["5"])


@pytest.mark.parametrize(
    ("scale", "stars", "expected"),
    [
        (RatingScale(1, 5, 1), 3.5, 4.0),
        (RatingScale(1, 5, 1), 0.5, 1.0),
        (HALVES, 3.5, 3.5),
        (HALVES, 0.1, 0.5),
        (RatingScale(1, 10, 1), 4.5, 9.0),
        (RatingScale(0, 100, 1), 2.5, 50.0),
        (RatingScale(1, 1, 1), 4.0, 1.0),
        (RatingScale(1, 1, 1), 3.5, None),
    ],
)
def test_stars_are_put_on_the_scale_of_the_data(scale: RatingScale, stars: float, expected: float | None) -> None:
    value = on_scale(stars, scale)
    assert expected == value
    assert value is None or scale.contains(value)


def test_a_leading_article_stays_where_nothing_else_is() -> None:
    assert titles_of("The The") == titles_of("the") == ["the"]
