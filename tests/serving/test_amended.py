"""A model with what was said of items by hand: what moves, what stays, and what nobody finds any more."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import orjson
import pytest
from arrivals import Service
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.artifacts.servable import Servable
from recsys.artifacts.turns import go_on
from recsys.datasets.events import ItemChange
from recsys.models.recommend import History
from recsys.serving.amended import NO_AMENDMENTS, Amendments, amended
from recsys.serving.served import ServedModel
from recsys.serving.watcher import Watcher

FIELDS = ("item_ids", "titles", "years", "genres", "imdb_ids", "tmdb_ids")


def said(
    item_id: str,
    title: str = "New",
    *,
    year: int | None = 1950,
    genres: tuple[str, ...] = ("Western",),
    withdrawn: bool = False,
) -> ItemChange:
    return ItemChange(item_id, title, year, genres, "tt1", "1", withdrawn, sequence=1)


def gone(item_id: str) -> ItemChange:
    return said(item_id, withdrawn=True)


def after(servable: Servable, *changes: ItemChange) -> Servable:
    return amended(servable, Amendments(changes, 1), pause=lambda: None)


def model_after(servable: Servable, *changes: ItemChange) -> ServedModel:
    return ServedModel(servable, amendments=Amendments(changes, 1), pause=lambda: None)


def row_of(servable: Servable, item_id: str) -> tuple[object, ...]:
    catalogue = servable.contents.catalogue
    return tuple(getattr(catalogue, name)[servable.item_index[item_id]] for name in FIELDS)


class TestNothingSaid:
    def test_is_the_very_same(self, served_servable: Servable) -> None:
        assert amended(served_servable, NO_AMENDMENTS, pause=lambda: None) is served_servable


class TestRegistered:
    def test_films_come_after_the_known_ones_in_order(self, served_servable: Servable) -> None:
        found = after(served_servable, said("x", "First"), said("1", "Other words"), said("y", "Second"))

        n_items = served_servable.contents.catalogue.n_items
        assert found.contents.catalogue.item_ids == (*served_servable.contents.catalogue.item_ids, "x", "y")
        assert {"x": n_items, "y": n_items + 1} == {name: found.item_index[name] for name in ("x", "y")}
        assert served_servable.item_index == {
            name: at for name, at in found.item_index.items() if name not in ("x", "y")
        }

    def test_films_have_what_was_said_and_no_ratings(self, served_servable: Servable) -> None:
        found = after(served_servable, said("x", "First", year=None, genres=("A", "B")))

        assert row_of(found, "x") == ("x", "First", None, ("A", "B"), "tt1", "1")
        assert found.contents.rating_counts[-1] == found.contents.popularity[-1] == 0
        n_items = served_servable.contents.catalogue.n_items + 1
        sizes = (found.contents.rating_counts.size, found.contents.popularity.size, found.recommender.n_items)
        assert sizes == (n_items, n_items, n_items)

    def test_films_are_scored_through_their_genres_and_others_as_before(self, served_servable: Servable) -> None:
        found = after(served_servable, said("x"), said("no-genre", genres=()), said("strange", genres=("None such",)))

        history = served_servable.history(3)
        before, now = served_servable.recommender.scores(history), found.recommender.scores(history)
        np.testing.assert_array_equal(before.values, now.values[: before.values.size])
        assert np.isfinite(now.values[found.item_index["x"]])
        assert np.isneginf(now.values[[found.item_index["no-genre"], found.item_index["strange"]]]).all()

    def test_where_nothing_was_learned_popularity_goes_on(self, served_servable: Servable) -> None:
        learned = dict.fromkeys(("item_item", "row_norms", "column_norms", "top_lists"))
        contents = replace(served_servable.contents, **learned)
        plain = replace(served_servable, contents=contents, recommender=contents.recommender)
        model = model_after(plain, said("x"), gone("1"))

        assert model.recommender.content is None
        assert model.recommender.scores(plain.history(0)).strategy == "popular"
        assert model.popular[-1] == model.item_index["x"]
        assert plain.item_index["1"] not in model.popular.tolist()


class TestOtherWords:
    def test_replace_those_of_the_files_and_leave_its_ratings(self, served_servable: Servable) -> None:
        found = after(served_servable, said("5", "Corrected", genres=("Noir",)))

        assert row_of(found, "5") == ("5", "Corrected", 1950, ("Noir",), "tt1", "1")
        np.testing.assert_array_equal(served_servable.contents.rating_counts, found.contents.rating_counts)
        np.testing.assert_array_equal(served_servable.contents.popularity, found.contents.popularity)

    def test_are_in_every_fragment(self, served_servable: Servable) -> None:
        model = model_after(served_servable, said("5", "Corrected", genres=("Noir",)))

        fragment = orjson.loads(b"{" + model.fragments[model.item_index["5"]] + b"}")
        assert fragment == {"item_id": "5", "title": "Corrected", "year": 1950, "genres": ["Noir"]}
        assert "Noir" in model.genre_names
        mask = model.mask(("noir",), 1950, 1950)
        assert mask is not None
        assert np.flatnonzero(mask).tolist() == [model.item_index["5"]] == model.find("corrected").tolist()


class TestWithdrawn:
    def test_films_keep_their_place_in_histories(self, served_servable: Servable) -> None:
        film = served_servable.contents.catalogue.item_ids[served_servable.history(0).items[0]]
        found = after(served_servable, gone(film))

        assert film not in found.item_index
        np.testing.assert_array_equal(served_servable.history(0).items, found.history(0).items)
        assert served_servable.contents.catalogue == found.contents.catalogue

    def test_films_that_were_never_known_leave_no_trace(self, served_servable: Servable) -> None:
        found = after(served_servable, gone("never known"))

        assert served_servable.item_index == found.item_index
        assert found.recommender.withdrawn is None
        assert served_servable.contents.catalogue == found.contents.catalogue

    def test_films_are_chosen_by_nobody(self, served_servable: Servable) -> None:
        best = served_servable.recommender.recommend(served_servable.history(7), 20)
        names = [served_servable.contents.catalogue.item_ids[item] for item in best.tolist()]
        model = model_after(served_servable, *map(gone, names))

        for history in (served_servable.history(7), History.empty()):
            everything = model.recommender.select(model.recommender.scores(history), 10_000).tolist()
            assert set(best.tolist()) & set(everything) == set()
        offered = [model.popular.tolist(), model.find("").tolist(), model.similar(0, 10_000)[0].tolist()]
        assert [set(best.tolist()) & set(found) for found in offered] == [set(), set(), set()]


def test_the_model_it_starts_from_stays_as_it_was(served_servable: Servable) -> None:
    before = {name: np.copy(getattr(served_servable.contents, name)) for name in ("popularity", "rating_counts")}
    index, catalogue = dict(served_servable.item_index), served_servable.contents.catalogue

    first = model_after(served_servable, said("x"), gone("1"), said("2", "Other words"))
    second = model_after(first.base)

    assert first.base is served_servable
    assert second.servable is served_servable
    assert (index, catalogue) == (served_servable.item_index, served_servable.contents.catalogue)
    for name, column in before.items():
        np.testing.assert_array_equal(column, getattr(served_servable.contents, name))


item_names = st.sampled_from(["1", "2", "3", "500", "x", "y", "z"])
changes = st.lists(
    st.builds(
        said, item_names, genres=st.sampled_from([(), ("Western",), ("Drama", "Crime")]), withdrawn=st.booleans()
    ),
    max_size=5,
    unique_by=lambda change: change.item_id,
)


@settings(deadline=None, max_examples=40)
@given(changes=changes, user=st.integers(0, 599), chosen=st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
def test_reasons_add_up_to_the_score_whatever_was_said(
    served_servable: Servable, changes: list[ItemChange], user: int, chosen: list[int]
) -> None:
    """For any films, new ones among them or not: an answer may hold no new film although some were registered."""
    found = after(served_servable, *changes)
    scores = found.recommender.scores(found.history(user))
    targets = np.unique([number % found.recommender.n_items for number in chosen])
    targets = targets[np.isfinite(scores.values[targets])]

    reasons = found.recommender.because(scores, targets)

    sums = [sum(term for _, term in terms) for terms in reasons]
    np.testing.assert_allclose(scores.values[targets], sums, atol=1e-5)


class TestInService:
    @pytest.fixture
    def world(self, service: Callable[..., Service]) -> tuple[Service, list[ItemChange]]:
        """A watcher that amends by a list, to which a test may add."""
        made, changes = service("v1.0.0", "v1.0.1", rescan_s=0.05), list[ItemChange]()

        def build(servable: Servable, *, fingerprint: str, pause: Callable[[], None] = go_on) -> ServedModel:
            amendments = Amendments(tuple(changes), len(changes))
            return ServedModel(servable, fingerprint=fingerprint, amendments=amendments, pause=pause)

        made.watcher = Watcher(
            made.store,
            made.marks,
            made.slot,
            rescan_s=made.rescan_s,
            build=build,
            outdated=lambda model: model.amended_to < len(changes),
            on_swap=lambda model: made.swaps.append(model.version),
        )
        return made, changes

    async def test_what_was_said_is_served_after_a_rescan_and_is_no_swap(
        self, world: tuple[Service, list[ItemChange]]
    ) -> None:
        made, changes = world
        await made.watcher.start()
        before = made.slot.take()
        changes.append(said("x", "Zyzzyva"))
        await made.watcher.rescan()

        now = made.slot.take()
        assert now.find("zyzzyva").size == 1
        assert (before.version, before.loaded_at, before.fingerprint) == (now.version, now.loaded_at, now.fingerprint)
        assert made.swaps == ["v1.0.1"]
        assert before.find("zyzzyva").size == 0
        await made.watcher.rescan()
        assert made.slot.take() is now

    async def test_a_version_loaded_later_has_it_too(self, world: tuple[Service, list[ItemChange]]) -> None:
        made, changes = world
        await made.watcher.start()
        changes.append(said("x", "Zyzzyva"))
        made.arrive("v1.0.2")
        await made.watcher.rescan()

        assert (made.serving, made.slot.take().find("zyzzyva").size) == ("v1.0.2", 1)

    async def test_a_version_that_does_badly_goes_all_the_same(self, world: tuple[Service, list[ItemChange]]) -> None:
        """A film is registered at the moment when the guard has seen enough."""
        made, changes = world
        await made.watcher.start()
        made.watcher.condemn("too many errors")
        changes.append(said("x", "Zyzzyva"))
        await made.watcher.rescan()

        assert (made.serving, made.slot.take().find("zyzzyva").size) == ("v1.0.0", 1)
        assert made.reasons == {"v1.0.1": "too many errors"}
