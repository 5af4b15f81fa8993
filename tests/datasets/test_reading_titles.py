"""What a catalogue's texts mean: titles, years, articles, genres, ids elsewhere."""

import pytest

from recsys.datasets.titles import imdb_id, parse_title, parse_year, split_genres, tmdb_id


@pytest.mark.parametrize(
    ("text", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Two Friends (1986) ", "Two Friends", 1986),
        ("Stranger Things", "Stranger Things", None),
        ("unknown", "unknown", None),
        ("Fawlty Towers (1975-1979)", "Fawlty Towers", 1975),
        ("Fawlty Towers 1975-1979", "Fawlty Towers", 1975),
        ("Death Note (2006–2007)", "Death Note", 2006),
        ("Big Bang Theory, The (2007-)", "The Big Bang Theory", 2007),
        ("Diplomatic Immunity (2009– )", "Diplomatic Immunity", 2009),
        ("The Great Giving (1995) (V)", "The Great Giving", 1995),
        ("1984 (1984)", "1984", 1984),
        ("Blade Runner 2049", "Blade Runner 2049", None),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009),
        ("Some Number (3000)", "Some Number (3000)", None),
        ("(1995)", "(1995)", None),
        ("", "", None),
        ("  Lost \n in  Translation (2003)", "Lost in Translation", 2003),
    ],
)
def test_the_year_is_parted_from_the_title(text: str, title: str, year: int | None) -> None:
    assert parse_title(text) == (title, year)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Matrix, The", "The Matrix"),
        ("Bug's Life, A", "A Bug's Life"),
        ("American in Paris, An", "An American in Paris"),
        ("Misérables, Les", "Les Misérables"),
        ("Boot, Das (Boat, The)", "Das Boot (The Boat)"),
        ("Postino, Il (The Postman)", "Il Postino (The Postman)"),
        ("Enfer, L'", "L'Enfer"),
        ("Avventura, L’ (Adventure, The)", "L’Avventura (The Adventure)"),
        ("Vitelloni, I (a.k.a. Young and the Passionate, The)", "I Vitelloni (a.k.a. The Young and the Passionate)"),
        ("Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il)",
         "The Good, the Bad and the Ugly (Il Buono, il brutto, il cattivo)"),
        ("Fellowship of the Ring, The", "The Fellowship of the Ring"),
        ("Fille seule, La (A Single Girl)", "La Fille seule (A Single Girl)"),
        ("Paris, Texas", "Paris, Texas"),
        ("Corrina, Corrina", "Corrina, Corrina"),
        ("I, Robot", "I, Robot"),
        ("Yes, Madam", "Yes, Madam"),
        ("Girl, Interrupted", "Girl, Interrupted"),
        ("Tinker, Tailor, Soldier, Spy", "Tinker, Tailor, Soldier, Spy"),
        ("Monsters, Inc.", "Monsters, Inc."),
        ("I love you, the", "I love you, the"),
        (", The", ", The"),
        ("The Matrix", "The Matrix"),
    ],
)  # fmt: skip
def test_a_trailing_article_comes_first_and_other_words_after_a_comma_stay(text: str, title: str) -> None:
    assert parse_title(text) == (title, None)
    assert parse_title(f"{text} (1999)") == (title, 1999)


@pytest.mark.parametrize(
    ("text", "year"),
    [("1995", 1995), ("1995.0", 1995), ("1975-1979", 1975), ("01-Jan-1997", 1997), ("", None), ("19951", None),
     ("1066", None), ("soon", None)],
)  # fmt: skip
def test_a_year_column_gives_its_first_year(text: str, year: int | None) -> None:
    assert parse_year(text) == year


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        ("Action|Sci-Fi", ("Action", "Sci-Fi")),
        ("Crime, Drama", ("Crime", "Drama")),
        ("Crime; Drama", ("Crime", "Drama")),
        ("Drama| Drama ||Crime", ("Drama", "Crime")),
        ("(no genres listed)", ()),
        ("unknown|Drama", ("Drama",)),
        ("Unknown", ()),
        ("", ()),
    ],
)
def test_genres_keep_their_order_and_what_is_no_genre_goes(text: str, genres: tuple[str, ...]) -> None:
    assert split_genres(text) == genres


def test_ids_elsewhere_take_their_own_form() -> None:
    assert [imdb_id(text) for text in ("0114709", "114709", " tt0114709 ", "12345678", "", "nm0000158")] == [
        "tt0114709",
        "tt0114709",
        "tt0114709",
        "tt12345678",
        None,
        None,
    ]
    assert [tmdb_id(text) for text in ("862", "862.0", "", "tv/862")] == ["862", "862", None, None]
