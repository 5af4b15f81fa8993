"""A model made ready: filters, likeness, fragments and caches that stay within their bounds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.artifacts.contents import Contents
from recsys.artifacts.servable import Servable
from recsys.datasets.ratings import Catalogue
from recsys.feedback.live import LiveFeedback
from recsys.serving.cache import BoundedCache
from recsys.serving.served import ServedModel, Viewer
from recsys.serving.viewers import Viewers


def no_pause() -> None: ...


def with_catalogue(servable: Servable, **columns: Any) -> ServedModel:
    """The sample's model with other columns in its catalogue: lists are laid over the first items."""
    changed = {}
    for name, values in columns.items():
        before = getattr(servable.contents.catalogue, name)
        changed[name] = (*values, *before[len(values) :])
    contents = replace(servable.contents, catalogue=replace(servable.contents.catalogue, **changed))
    return ServedModel(replace(servable, contents=contents), pause=no_pause)


@pytest.fixture(scope="module")
def model(served_servable: Servable) -> ServedModel:
    return ServedModel(served_servable, pause=no_pause)


def test_fragments_are_the_items_as_json(model: ServedModel, served_contents: Contents) -> None:
    catalogue = served_contents.catalogue
    for item in (0, 1, model.n_items - 1):
        expected = {
            "item_id": catalogue.item_ids[item],
            "title": catalogue.titles[item],
            "year": catalogue.years[item],
            "genres": list(catalogue.genres[item]),
        }
        assert orjson.loads(b"{" + model.fragments[item] + b"}") == expected


@pytest.mark.parametrize("title", ['"', "\\", "</script>", "\u2028", "é", "😀", "\x00", "}", "%b%d%s"])
def test_no_title_breaks_out_of_its_fragment(served_servable: Servable, title: str) -> None:
    made = with_catalogue(served_servable, titles=[title])

    assert orjson.loads(b"{" + made.fragments[0] + b"}")["title"] == title


def test_no_filter_is_no_mask(model: ServedModel) -> None:
    assert model.mask((), None, None) is None
    assert model.mask_uncached((), None, None) is None


filters = st.tuples(
    st.lists(st.sampled_from(["Drama", "drama", "Comedy", "DRAMA ", "No Such Genre"]), max_size=3).map(tuple),
    st.none() | st.integers(-5, 10_000),
    st.none() | st.integers(-5, 10_000),
)


@settings(deadline=None)
@given(filters)
def test_a_mask_is_what_the_catalogue_says(model: ServedModel, asked: tuple[Any, Any, Any]) -> None:
    genres, year_from, year_to = asked
    catalogue = model.servable.contents.catalogue
    wanted = {genre.strip().casefold() for genre in genres}

    def fits(item: int) -> bool:
        year = catalogue.years[item]
        of_genre = not genres or bool(wanted & {name.casefold() for name in catalogue.genres[item]})
        since = year_from is None or (year is not None and year >= year_from)
        until = year_to is None or (year is not None and year <= year_to)
        return of_genre and since and until

    mask = model.mask(genres, year_from, year_to)

    if mask is None:
        assert not genres
        assert year_from is None
        assert year_to is None
    else:
        np.testing.assert_array_equal([fits(item) for item in range(model.n_items)], mask)
        np.testing.assert_array_equal(mask, model.mask_uncached(genres, year_from, year_to))
        assert not mask.flags.writeable


def test_a_film_without_a_year_is_in_no_range_of_years(served_servable: Servable) -> None:
    made = with_catalogue(served_servable, years=[None, 1999])

    for asked in ((-5, None), (None, 9999), (0, 0), (-10, 10)):
        mask = made.mask((), *asked)
        assert mask is not None
        assert not mask[0]


def test_genres_are_found_without_case_accents_and_hyphens(served_servable: Servable) -> None:
    made = with_catalogue(served_servable, genres=[("Sci-Fi",), ("Animé",), ("sci fi",)])

    for asked, expected in (
        ("sci-fi", [True, False, True]),
        ("SCI FI", [True, False, True]),
        ("anime", [False, True, False]),
    ):
        mask = made.mask((asked,), None, None)
        assert mask is not None
        assert mask[:3].tolist() == expected


def test_similar_items_are_ranked_by_partial_correlation(model: ServedModel, served_contents: Contents) -> None:
    values = served_contents.item_item.values  # type: ignore[union-attr]
    assert served_contents.row_norms is not None
    for item in (0, 7, 100):
        expected = served_contents.row_norms[item] * values[item] * served_contents.column_norms
        found, likeness = model.similar(item, 10)

        assert item not in found
        assert np.all(np.diff(likeness) <= 0)
        np.testing.assert_allclose(expected[found], likeness, rtol=1e-6)
        others = np.delete(np.arange(expected.size), np.append(found, item))
        assert expected[others].max() <= likeness[-1]


def test_being_similar_is_mutual(model: ServedModel, served_contents: Contents) -> None:
    assert served_contents.row_norms is not None
    norms = served_contents.row_norms[:, None] * served_contents.item_item.values * served_contents.column_norms  # type: ignore[union-attr]

    np.testing.assert_allclose(norms, norms.T, atol=1e-4)


def test_similar_items_are_only_where_allowed(model: ServedModel) -> None:
    allowed = np.zeros(model.n_items, bool)
    allowed[:50] = True

    found, _ = model.similar(3, 500, allowed)

    assert set(found.tolist()) <= set(range(50)) - {3}


def test_an_item_that_nobody_knows_is_likened_by_its_genres(
    served_contents: Contents, served_servable: Servable
) -> None:
    popular = replace(served_contents, item_item=None, row_norms=None, column_norms=None)
    n = served_contents.catalogue.n_items
    genres = (("A", "B"), ("A", "B"), ("A",), (), ("C",))
    popular = replace(
        popular, catalogue=replace(served_contents.catalogue, genres=(*genres, *(("Z",),) * (n - len(genres))))
    )
    made = ServedModel(replace(served_servable, contents=popular), pause=no_pause)

    found, likeness = made.similar(0, 10)
    assert found.tolist() == [1, 2]
    assert likeness.tolist() == [1.0, 0.5]
    assert made.similar(3, 10)[0].size == 0


def test_a_model_of_nothing_can_be_asked(served_servable: Servable) -> None:
    none = np.empty(0, np.int32)
    contents = replace(
        served_servable.contents,
        catalogue=Catalogue.bare(()),
        user_ids=(),
        rating_counts=none,
        popularity=none.astype(np.float32),
        history_indptr=np.zeros(1, np.int64),
        history_items=none,
        history_values=none.astype(np.float32),
        history_timestamps=none.astype(np.int64),
        item_item=None,
        row_norms=None,
        column_norms=None,
        top_lists=None,
    )
    made = ServedModel(
        replace(served_servable, contents=contents, recommender=contents.recommender, item_index={}, user_index={}),
        pause=no_pause,
    )
    made.warm_up()

    assert made.titles.find("a").size == 0
    assert made.genre_names == ()
    mask = made.mask(("Drama",), 1990, None)
    assert mask is not None
    assert mask.size == 0


def viewer_of(model: ServedModel, user: int) -> Viewer:
    viewer = Viewers(LiveFeedback(Path(), enabled=False)).find(model, model.servable.contents.user_ids[user], 0)
    assert viewer is not None
    return viewer


def test_a_viewers_scores_are_kept_and_the_same(model: ServedModel, served_servable: Servable) -> None:
    first = viewer_of(model, 3)

    assert viewer_of(model, 3) is first
    expected = served_servable.recommender.scores(served_servable.history(3)).values
    np.testing.assert_array_equal(expected, first.scores.values)


@settings(deadline=None)
@given(filters, st.integers(0, 50), st.integers(1, 60), st.lists(st.integers(-1, 400), max_size=80))
def test_a_walk_through_a_ranking_chooses_what_a_selection_does(
    model: ServedModel, asked: tuple[Any, Any, Any], user: int, n: int, excluded: list[int]
) -> None:
    genres, year_from, year_to = asked
    ids = [model.item_ids[item] if item >= 0 else "no such item" for item in excluded]
    viewer = viewer_of(model, user)

    expected = model.select(viewer.scores, n, viewer.seen, ids, model.mask(genres, year_from, year_to))

    assert expected.tolist() == model.walk(model.ranking_of(viewer), n, genres, (year_from, year_to), ids).tolist()


def test_a_ranking_that_was_cut_short_says_so(model: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model.holds_all(model.ranking_of(viewer_of(model, 1)))
    monkeypatch.setattr("recsys.serving.served._RANKED", 30)

    assert not model.holds_all(model.ranking_of(viewer_of(model, 2)))


def test_unknown_ids_are_no_indices(model: ServedModel) -> None:
    assert model.indices([]) is None
    assert model.indices(["no such item"]) is None
    found = model.indices(["no such item", model.item_ids[5]])
    assert found is not None
    assert found.tolist() == [5]


def test_caches_stay_within_their_bytes_however_much_is_asked(served_servable: Servable) -> None:
    one = served_servable.recommender.scores(served_servable.history(0)).nbytes
    made = ServedModel(served_servable, score_cache_bytes=10 * one, answer_cache_bytes=1000, pause=no_pause)

    for user in range(len(made.user_index)):
        viewer_of(made, user)
    for year in range(5000):
        made.mask((), year, None)

    for cache in (made.viewers, made._masks, made.answers):
        assert sum(size for _, size in cache._kept.values()) == cache._bytes <= cache._max_bytes
    assert len(made.viewers._kept) in range(1, 12)
    assert len(made._masks._kept) == 256


def test_a_cache_of_no_bytes_keeps_nothing(served_servable: Servable) -> None:
    made = ServedModel(served_servable, score_cache_bytes=0, answer_cache_bytes=0, pause=no_pause)

    made.answers.put("a", b"b", 1)
    assert made.answers.get("a") is None
    np.testing.assert_array_equal(viewer_of(made, 1).scores.values, viewer_of(made, 1).scores.values)


actions = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(0, 12)), max_size=40)


@given(st.integers(0, 20), actions)
def test_a_cache_keeps_what_was_used_last_within_its_bytes(max_bytes: int, taken: list[tuple[str, int | None]]) -> None:
    """Held against a list in order of use. `None` stands for a look-up, a number for a value of so many bytes."""
    cache: BoundedCache[int] = BoundedCache(max_bytes)
    expected: list[tuple[str, int]] = []
    for key, size in taken:
        if size is None:
            found = next((entry for entry in expected if entry[0] == key), None)
            assert cache.get(key) == (found[1] if found else None)
            if found:
                expected.remove(found)
                expected.append(found)
        else:
            cache.put(key, size, size)
            if size <= max_bytes:
                expected = [entry for entry in expected if entry[0] != key] + [(key, size)]
            while sum(entry[1] for entry in expected) > max_bytes:
                expected.pop(0)
    assert [(key, value) for key, (value, _) in cache._kept.items()] == expected


def test_an_answer_of_which_few_are_asked_twice_is_kept_the_second_time(served_servable: Servable) -> None:
    model = ServedModel(served_servable, pause=no_pause)
    model.keep_answer_if_asked_again("/a", b"{}")
    assert model.answers.get("/a") is None

    model.keep_answer_if_asked_again("/b", b"{}")
    model.keep_answer_if_asked_again("/a", b"{}")
    assert (model.answers.get("/a"), model.answers.get("/b")) == (b"{}", None)

    for number in range(20_000):
        model.keep_answer_if_asked_again(number, b"{}")
    assert len(model._asked_once) <= 8192
