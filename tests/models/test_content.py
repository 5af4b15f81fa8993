"""New films: likeness, the mean of the nearest, the fade, the exact because, and what it is worth on real data."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.datasets.ratings import Dataset, Float32
from recsys.datasets.reading import read_dataset
from recsys.models.content import LEARNED_FROM, NEIGHBOURS, ContentNeighbours, content_neighbours
from recsys.models.item_item import DenseItemItem, ItemItem, store_item_item
from recsys.models.recommend import POPULARITY_WEIGHT, History, Recommender
from recsys.training.evaluation import temporal_questions
from recsys.training.fit import fit
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.metrics import gains, ndcg, recall

Film = tuple[tuple[str, ...], int | None, int]  # genres, year, ratings


def _neighbours(
    films: Sequence[Film], new: Sequence[int], *, n_modelled: int | None = None, k: int = NEIGHBOURS
) -> ContentNeighbours | None:
    genres, years, counts = zip(*films, strict=True)
    n_modelled = len(films) if n_modelled is None else n_modelled
    return content_neighbours(
        genres, years, np.array(counts, np.int32), np.array(new, np.int32), n_modelled=n_modelled, k=k
    )


def _weights_of_one(films: Sequence[Film], new: int, *, k: int = NEIGHBOURS) -> dict[int, float]:
    """What the score of the one new film is made of: neighbour → weight."""
    found = _neighbours(films, [new], k=k)
    if found is None:
        return {}
    assert found.items.tolist() == [new]
    return {i: w for i, w in zip(found.indices[0].tolist(), found.weights[0].tolist(), strict=True) if w}


class TestLikeness:
    def test_is_shared_genres_over_all_genres_of_both(self) -> None:
        films = [(("Drama", "War"), 1990, 100), (("Drama",), 1990, 100), (("Drama", "War", "Crime"), 1990, 0)]

        found = _weights_of_one(films, 2, k=2)

        assert {0: pytest.approx(2 / 3), 1: pytest.approx(1 / 3)} == found

    def test_halves_with_two_years_apart(self) -> None:
        films = [(("Drama",), 1990, 100), (("Drama",), 1988, 100), (("Drama",), 1990, 0)]

        assert {0: pytest.approx(2 / 3), 1: pytest.approx(1 / 3)} == _weights_of_one(films, 2, k=2)

    def test_of_an_unknown_year_is_that_of_ten_years_apart(self) -> None:
        films = [(("Drama",), None, 100), (("Drama",), 1980, 100), (("Drama",), 1990, 0)]

        assert {0: pytest.approx(0.5), 1: pytest.approx(0.5)} == _weights_of_one(films, 2, k=2)

    def test_outlives_any_distance_in_time(self) -> None:
        assert {0: pytest.approx(1)} == _weights_of_one([(("Drama",), -9999, 100), (("Drama",), 9999, 0)], 1, k=1)

    def test_does_not_depend_on_case_or_repetition(self) -> None:
        films = [(("drama",), 1990, 100), (("Drama", "War"), 1990, 100), (("DRAMA", "Drama"), 1990, 0)]

        assert {0: pytest.approx(2 / 3), 1: pytest.approx(1 / 3)} == _weights_of_one(films, 2, k=2)


class TestNeighbours:
    def test_are_the_nearest(self) -> None:
        films = [*[(("Drama",), 1990 - i, 100) for i in range(9)], (("Drama",), 1990, 0)]

        assert {0, 1, 2} == set(_weights_of_one(films, 9, k=3))

    def test_that_tie_for_the_last_places_are_taken_evenly(self) -> None:
        """The most popular come first, and would make every new film look like a success."""
        films = [(("Drama", "War"), 1990, 1000), *[(("Drama",), 1990, 900 - i) for i in range(12)]]

        found = _weights_of_one([*films, (("Drama", "War"), 1990, 0)], 13, k=4)

        assert {0, 3, 7, 11} == set(found)

    def test_that_are_missing_count_as_a_score_of_zero(self) -> None:
        films = [(("Anime",), 1990, 100), (("Drama",), 1990, 100), (("Anime",), 1990, 0)]

        assert {0: pytest.approx(1 / 32)} == _weights_of_one(films, 2, k=32)

    def test_are_neither_new_nor_unrated_nor_beyond_the_model(self) -> None:
        """New films that lean on each other would hide each other: none of them has a column yet."""
        films = [(("Drama",), 1990, n) for n in (100, 7, 0, 90, 0)]

        found = _neighbours(films, [1, 4], n_modelled=3, k=4)

        assert found is not None
        assert found.items.tolist() == [1, 4]
        assert {0} == set(found.indices[found.weights > 0].tolist())

    @pytest.mark.parametrize("genres", [(), ("Mystery",)])
    def test_are_none_without_a_shared_genre(self, genres: tuple[str, ...]) -> None:
        assert _neighbours([(("Drama",), 1990, 100), ((), 1990, 100), (genres, 1990, 0)], [2]) is None

    def test_are_none_for_nothing(self) -> None:
        assert _neighbours([(("Drama",), 1990, 100)], []) is None

    def test_fade_as_the_model_learns_the_film(self) -> None:
        def total(ratings: int) -> float:
            return sum(_weights_of_one([(("Drama",), 1990, 100), (("Drama",), 1990, ratings)], 1, k=1).values())

        assert [total(n) for n in (0, LEARNED_FROM // 2, LEARNED_FROM, 1000)] == pytest.approx([1, 0.5, 0, 0])

    def test_are_read_only_and_found_with_pauses(self) -> None:
        pauses: list[None] = []
        found = content_neighbours(
            [("Drama",)] * 30, [1990] * 30, np.array([5] * 20 + [0] * 10, np.int32), np.arange(20, 30),
            n_modelled=20, pause=lambda: pauses.append(None),
        )  # fmt: skip

        assert found is not None
        assert len(pauses) >= 10
        assert not any(array.flags.writeable for array in (found.items, found.indices, found.weights))


def _recommender(item_item: ItemItem, n_items: int, content: ContentNeighbours | None) -> Recommender:
    popularity = np.linspace(0.9, 0, n_items, dtype=np.float32)
    return Recommender(popularity, item_item, content=content)


def _matrix(n: int, seed: int) -> Float32:
    B = np.random.default_rng(seed).normal(size=(n, n)).astype(np.float32)
    np.fill_diagonal(B, 0)
    return B


def _history(items: Sequence[int]) -> History:
    return History(np.array(items, np.int32), np.full(len(items), 4, np.float32))


class TestScores:
    #: Two of them new in the model, one beyond it, and one beyond it of which nothing is known.
    FILMS: tuple[Film, ...] = (
        *((("Drama",), 1990 + i % 3, 100) for i in range(8)),
        *((("Drama", "War"), 1991, 100) for _ in range(4)),
        *((("War",), 1992, 10), (("Drama",), 1991, 0), (("War",), 1993, 0), ((), 1993, 0)),
    )

    @pytest.fixture
    def recommender(self) -> Recommender:
        B = _matrix(14, 3)
        B[:, 13] = 0
        return _recommender(DenseItemItem(B), 16, _neighbours(self.FILMS, [12, 13, 14, 15], n_modelled=14, k=4))

    def test_of_a_new_film_are_the_mean_of_its_neighbours_beside_its_own(self, recommender: Recommender) -> None:
        content = recommender.content
        assert content is not None
        values = recommender.scores(_history([0, 1, 2, 3, 4])).values
        plain = replace(recommender, content=None).scores(_history([0, 1, 2, 3, 4])).values

        for row, (item, own) in enumerate([(12, plain[12]), (13, 0), (14, 0)]):
            expected = own + plain[content.indices[row]] @ content.weights[row]
            assert values[item] == pytest.approx(expected, abs=1e-5)

    def test_of_other_films_stay_as_they_are(self, recommender: Recommender) -> None:
        history = _history([0, 1, 2, 3, 4])
        plain = replace(recommender, content=None).scores(history).values

        np.testing.assert_array_equal(plain[:12], recommender.scores(history).values[:12])

    def test_of_a_film_of_which_nothing_is_known_keep_it_out(self, recommender: Recommender) -> None:
        answer = recommender.recommend(_history([0, 1, 2, 3, 4]), 100).tolist()

        assert {*range(5, 15)} == set(answer)

    def test_without_a_history_are_popularity(self, recommender: Recommender) -> None:
        np.testing.assert_array_equal(recommender.popularity, recommender.scores(History.empty()).values)

    def test_for_a_short_history_have_popularity_beside_them(self, recommender: Recommender) -> None:
        recommender = replace(recommender, popularity=np.zeros(16, np.float32))
        blended = replace(recommender, popularity=np.full(16, 0.5, np.float32)).scores(_history([0, 1])).values

        plain = recommender.scores(_history([0, 1])).values
        np.testing.assert_allclose(plain[:15] + np.float32(POPULARITY_WEIGHT * 0.5), blended[:15], rtol=1e-5)


@st.composite
def _catalogues(draw: st.DrawFn) -> tuple[list[Film], int]:
    """Films, and how many of them are in the model."""
    film = st.tuples(
        st.lists(st.sampled_from("ABCD"), max_size=3).map(tuple),
        st.none() | st.integers(1990, 1996),
        st.sampled_from([0, 1, 20, 49, 50, 300]),
    )
    films = draw(st.lists(film, min_size=2, max_size=25))
    return films, draw(st.integers(1, len(films)))


@given(_catalogues(), st.integers(1, 6), st.data())
@settings(max_examples=150, deadline=None)
def test_every_weight_is_what_the_formula_says(catalogue: tuple[list[Film], int], k: int, data: st.DataObject) -> None:
    films, n_modelled = catalogue
    new = data.draw(st.lists(st.integers(0, len(films) - 1), unique=True))
    new = [j for j in new if films[j][2] < LEARNED_FROM]

    def likeness(one: Film, other: Film) -> float:
        mine, theirs = set(one[0]), set(other[0])
        apart = 10 if one[1] is None or other[1] is None else abs(one[1] - other[1])
        return len(mine & theirs) / max(1, len(mine | theirs)) / (1 + apart / 2)

    rated = [i for i in range(n_modelled) if films[i][2] > 0 and i not in new]
    expected = {}
    for j in sorted(new):
        best = sorted((likeness(films[j], films[i]) for i in rated), reverse=True)[:k]
        if best and best[0] > 0:
            expected[j] = [w for w in best if w > 0]

    found = _neighbours(films, new, n_modelled=n_modelled, k=k)

    assert list(expected) == (found.items.tolist() if found else [])
    for row, (j, best) in enumerate(expected.items()):
        assert found is not None
        kept = found.weights[row] > 0
        chosen, weights = found.indices[row][kept].tolist(), found.weights[row][kept]
        assert len(set(chosen)) == len(best)
        assert set(chosen) <= set(rated)
        fade = 1 - films[j][2] / LEARNED_FROM
        assert sorted(weights, reverse=True) == pytest.approx([fade * w / sum(best) * len(best) / k for w in best])
        assert weights == pytest.approx(
            [fade * likeness(films[j], films[i]) / sum(best) * len(best) / k for i in chosen]
        )


@given(_catalogues(), st.integers(1, 6), st.sampled_from(["dense", "sparse"]), st.data())
@settings(max_examples=150, deadline=None)
def test_because_sums_to_the_personalised_part_of_every_score(
    catalogue: tuple[list[Film], int], k: int, storage: str, data: st.DataObject
) -> None:
    films, n_modelled = catalogue
    new = data.draw(st.lists(st.integers(0, len(films) - 1), unique=True))
    B = _matrix(n_modelled, len(films))
    item_item = DenseItemItem(B) if storage == "dense" else store_item_item(B, max_dense_bytes=0, mean_kept=2)
    content = _neighbours(films, new, n_modelled=n_modelled, k=k)
    recommender = _recommender(item_item, len(films), content)
    history = _history(data.draw(st.lists(st.integers(0, n_modelled - 1), unique=True, min_size=1, max_size=8)))

    scores = recommender.scores(history)
    targets = np.array(data.draw(st.permutations(np.flatnonzero(np.isfinite(scores.values)).tolist())), np.intp)
    because = recommender.because(scores, targets)

    for target, terms in zip(targets, because, strict=True):
        personalised = scores.values[target] - scores.popularity_weight * recommender.popularity[target]
        assert sum(term for _, term in terms) == pytest.approx(personalised, abs=1e-5)
        assert {item for item, _ in terms} <= set(history.items.tolist())
        assert all(terms[i][1] >= terms[i + 1][1] for i in range(len(terms) - 1))


def test_because_of_a_film_with_fewer_neighbours_than_places_is_exact() -> None:
    """The empty places name item 0, and so does a real one."""
    content = _neighbours([(("Drama",), 1990, 100), (("War",), 1990, 100), (("Drama",), 1990, 0)], [2], n_modelled=2)
    B = np.array([[0, 1], [3, 0]], np.float32)
    recommender = _recommender(DenseItemItem(B), 3, content)
    [[(item, term)]] = recommender.because(recommender.scores(_history([1])), np.array([2]))

    assert item == 1
    assert term == pytest.approx(3 / NEIGHBOURS)


@pytest.mark.real_data
def test_new_films_are_seen_and_cost_the_others_nothing(ml_100k: Path) -> None:
    """A tenth of the films is kept out of the fit. Five such tenths of ml-100k: DOC"""
    data = read_dataset(ml_100k)
    order = np.random.Generator(np.random.PCG64(0)).permutation(data.n_items)
    n_modelled = data.n_items - data.n_items // 10
    position = np.argsort(order).astype(np.int32)
    data = Dataset(
        data.user_ids, data.catalogue.take(order), data.users.copy(), position[data.items], data.values.copy(),
        data.timestamps.copy(),
    )  # fmt: skip
    train, questions = temporal_questions(data)
    train = train.where(train.items < n_modelled)
    plain = fit(train, Hyperparameters(max_items=n_modelled)).recommender
    content = content_neighbours(
        data.catalogue.genres,
        data.catalogue.years,
        np.bincount(train.items, minlength=data.n_items).astype(np.int32),
        np.arange(n_modelled, data.n_items),
        n_modelled=n_modelled,
    )

    found = {}
    for name, recommender in (("plain", plain), ("with content", replace(plain, content=content))):
        lists = [recommender.recommend(question.history, 100) for question in questions]
        hits = [gains(ranked, q.relevant) for ranked, q in zip(lists, questions, strict=True)]
        is_new = [ranked >= n_modelled for ranked in lists]
        wanted = [bool(np.any(q.relevant >= n_modelled)) for q in questions]
        found[name] = {
            "ndcg@10": np.mean([ndcg(hit, q.relevant.size, 10) for hit, q in zip(hits, questions, strict=True)]),
            "recall@100": np.mean([recall(hit, q.relevant.size, 100) for hit, q in zip(hits, questions, strict=True)]),
            "new in 10": np.mean([new[:10].mean() for new in is_new]),
            "new in 100": np.mean([new.mean() for new in is_new]),
            "see one": np.mean(
                [np.any(hit & new) for hit, new, want in zip(hits, is_new, wanted, strict=True) if want]
            ),
        }
    before, after = found["plain"], found["with content"]

    assert after["ndcg@10"] > before["ndcg@10"] - 0.001
    assert after["recall@100"] > before["recall@100"] - 0.001
    assert after["new in 10"] < 0.01
    assert after["new in 100"] < 0.1
    assert after["see one"] > 0.15
    assert before["see one"] == 0
