"""The sample data set: pinned bytes, believable people, learnable tastes, and a write that is whole or not at all."""

import ast
import hashlib
import inspect
import os
import re
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recsys.datasets import sample
from recsys.datasets.ratings import Dataset
from recsys.datasets.reading import read_dataset
from recsys.datasets.sample import make_sample
from recsys.datasets.sample_files import write_sample
from recsys.errors import DataError

#: Changes only when the sample is changed on purpose: say so in the change-log, it changes what newcomers see.
DIGEST = "7ca5f3450c5209b001a94d75422905f8888e8bf6c983e14a530e59bf615dbf46"
FILES = ["README.txt", "movies.csv", "ratings.csv"]
GENRES = {
    *("Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_sample()


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


class TestBytes:
    def test_the_written_files_are_the_same_on_every_machine_and_numpy(self, tmp_path: Path) -> None:
        digest = hashlib.sha256()
        for name, content in contents(write_sample(tmp_path / "sample")).items():
            digest.update(f"{name} {len(content)}\n".encode() + content)
        assert digest.hexdigest() == DIGEST

    def test_only_arithmetic_that_rounds_alike_everywhere_is_used(self) -> None:
        """On one machine the digest cannot notice `np.exp` or `@`, whose last bit differs on another."""
        types = "random random.PCG64 uint64 int32 int64 float32 float64 inf"
        moving = "arange array asarray repeat where argsort lexsort"
        rounding_alike = "clip floor abs maximum cumsum"  # cumsum of integers only
        allowed = {f"np.{name}" for name in f"{types} {moving} {rounding_alike}".split()}
        nodes = list(ast.walk(ast.parse(inspect.getsource(sample))))
        used = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
        assert {name for name in used if re.fullmatch(r"np\.[\w.]+", name)} - allowed == set()
        assert {name for name in used if name.startswith("math.")} == {"math.sqrt", "math.prod"}
        assert {name for name in used if name.endswith((".mean", ".dot", ".sum"))} == {"counts.sum"}
        operations = [node for node in nodes if isinstance(node, ast.BinOp)]
        assert not any(isinstance(node.op, ast.MatMult) for node in operations)
        assert all(isinstance(node.left, ast.Constant) for node in operations if isinstance(node.op, ast.Pow))

    def test_drawing_again_gives_the_same_and_another_seed_another(self, dataset: Dataset) -> None:
        assert make_sample().fingerprint == dataset.fingerprint
        assert make_sample(seed=7).fingerprint != dataset.fingerprint

    def test_reading_the_files_gives_what_was_drawn(self, tmp_path: Path, dataset: Dataset) -> None:
        found = read_dataset(write_sample(tmp_path / "sample"))
        assert found.catalogue == dataset.catalogue
        assert found.fingerprint == dataset.fingerprint
        assert found.report.bad == found.report.duplicates == 0


class TestFilms:
    def test_a_title_comes_once_a_year_and_twice_only_as_a_remake(self, dataset: Dataset) -> None:
        titles, years = dataset.catalogue.titles, dataset.catalogue.years
        assert len(titles) == 1000
        assert max(Counter(zip(titles, years, strict=True)).values()) == 1
        times = Counter(titles)
        remakes = sorted(title for title, n in times.items() if n > 1)
        sequels = sorted(title for title in titles if title.endswith(" II"))
        assert (len(remakes), len(sequels)) == (13, 13)
        assert max(times.values()) == 2
        assert all(times[title.removesuffix(" II")] == 1 for title in sequels)

    def test_titles_survive_every_reader(self, dataset: Dataset) -> None:
        for title in dataset.catalogue.titles:
            assert title == " ".join(title.split())
            assert title == unicodedata.normalize("NFC", title)
            assert not re.search(r'["|()]|, (The|A|An)$', title)
        assert sum(not title.isascii() for title in dataset.catalogue.titles) >= 20
        assert sum("," in title for title in dataset.catalogue.titles) >= 20

    def test_a_film_has_one_to_three_known_genres(self, dataset: Dataset) -> None:
        assert {genre for genres in dataset.catalogue.genres for genre in genres} == GENRES
        n_genres = Counter(map(len, dataset.catalogue.genres))
        assert set(n_genres) == {1, 2, 3}
        assert min(n_genres.values()) > 150

    def test_genres_belong_to_the_title(self, dataset: Dataset) -> None:
        genres = dict(zip(dataset.catalogue.titles, dataset.catalogue.genres, strict=True))
        assert "Film-Noir" in genres["The Fog Owes Me Money"]
        assert "Western" in genres["The Second-Slowest Gun in Wyoming"]
        assert "Sci-Fi" in genres["Zorgon Wants Your Toaster"]
        assert "Documentary" in genres["Counting Puffins"]

    def test_years_span_a_century_and_lean_to_the_present(self, dataset: Dataset) -> None:
        years = np.array(dataset.catalogue.years)
        assert 1921 <= years.min() < 1930
        assert years.max() == 2025
        assert 1985 <= np.median(years) <= 2003
        assert 0.02 < (years < 1940).mean() < 0.10


class TestRatings:
    def test_there_is_enough_to_learn_from(self, dataset: Dataset) -> None:
        assert (dataset.n_users, dataset.n_items) == (600, 1000)
        assert 37_000 <= dataset.n_ratings <= 43_000
        assert np.unique(dataset.users * 1000 + dataset.items).size == dataset.n_ratings

    def test_people_rate_from_a_dozen_to_three_hundred_films(self, dataset: Dataset) -> None:
        counts = np.bincount(dataset.users)
        assert counts.min() == 12
        assert 40 <= np.median(counts) <= 60
        assert 200 < counts.max() <= 300

    def test_popularity_has_a_head_and_a_long_tail(self, dataset: Dataset) -> None:
        counts = np.bincount(dataset.items, minlength=dataset.n_items)
        assert 0.35 < counts.max() / dataset.n_users < 0.45
        assert ((counts >= 3) & (counts <= 15)).sum() > 250
        assert (counts == 0).sum() <= 10
        assert 0.33 < np.sort(counts)[-100:].sum() / dataset.n_ratings < 0.43

    def test_stars_look_like_peoples_stars(self, dataset: Dataset) -> None:
        values, counts = np.unique(dataset.values, return_counts=True)
        assert values.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
        assert 3.5 < dataset.values.mean() < 3.7
        assert 0.9 < dataset.values.std() < 1.1
        assert values[counts.argmax()] == 4.0
        halves = np.bincount(dataset.users, dataset.values % 1 != 0)
        assert 0.4 < (halves == 0).mean() < 0.6

    def test_nobody_rates_a_film_before_its_year(self, dataset: Dataset) -> None:
        years = np.array(dataset.catalogue.years)[dataset.items]
        rated = dataset.timestamps.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
        assert (years <= rated).all()
        assert (rated.min(), rated.max()) == (2016, 2025)

    def test_people_rate_in_sittings_and_rows_are_in_history_order(self, dataset: Dataset) -> None:
        assert (np.diff(dataset.users) >= 0).all()
        gaps_s = np.diff(dataset.timestamps)[np.diff(dataset.users) == 0]
        assert gaps_s.min() > 0
        assert 0.06 < (gaps_s > 6 * 3600).mean() < 0.11
        assert ((gaps_s < 120) | (gaps_s > 6 * 3600 - 1)).all()


@pytest.fixture(scope="module")
def ndcg(dataset: Dataset) -> dict[str, float]:
    """NDCG@10 of the temporal protocol: the last fifth of each user is the test, relevant from four stars."""
    counts = np.bincount(dataset.users)
    from_end = np.cumsum(counts)[dataset.users] - 1 - np.arange(dataset.n_ratings)
    is_test = from_end < np.maximum(1, counts // 5)[dataset.users]
    users, items, values = dataset.users[~is_test], dataset.items[~is_test], dataset.values[~is_test]
    shape = (dataset.n_users, dataset.n_items)
    rated, asked, graded, relevant = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    rated[users, items] = 1
    grades = np.interp(values, [1, 2, 3, 4, 5], [0.1, 0.3, 0.6, 1, 1.2])
    n = np.bincount(users)
    from_end = np.cumsum(n)[users] - 1 - np.arange(users.size)
    graded[users, items] = grades
    asked[users, items] = grades * 0.5 ** (from_end / (n[users] / 4))
    relevant[dataset.users[is_test], dataset.items[is_test]] = dataset.values[is_test] >= 4
    has_any = relevant.any(axis=1)

    def measure(scores: np.ndarray) -> float:
        top = np.argsort(np.where(rated > 0, np.inf, -scores), axis=1, kind="stable")[:, :10]
        discounts = 1 / np.log2(np.arange(2, 12))
        gains = np.take_along_axis(relevant, top, axis=1) @ discounts
        n_relevant = np.minimum(relevant.sum(axis=1)[has_any].astype(int), 10)
        return float((gains[has_any] / np.cumsum(discounts)[n_relevant - 1]).mean())

    inverse = np.linalg.inv(rated.T @ rated + 200 * np.eye(dataset.n_items))
    item_item = -inverse / np.diag(inverse)
    np.fill_diagonal(item_item, 0)
    popularity = np.bincount(items[values >= 4], minlength=dataset.n_items)
    names = sorted(GENRES)
    of_genre = np.array([[name in genres for name in names] for genres in dataset.catalogue.genres], float)
    of_genre /= np.linalg.norm(of_genre, axis=1, keepdims=True)
    profile = asked @ of_genre
    profile /= np.linalg.norm(profile, axis=1, keepdims=True)
    return {
        "popularity": measure(np.broadcast_to(popularity, shape)),
        "genres": measure((profile @ of_genre.T) ** 2 * popularity),
        "ease": measure(rated @ item_item),
        "ease, graded": measure(graded @ item_item),
        "ease, graded, recent": measure(asked @ item_item),
    }


class TestTastes:
    def test_popularity_is_a_baseline_that_is_worth_beating(self, ndcg: dict[str, float]) -> None:
        assert 0.09 < ndcg["popularity"] < 0.125

    def test_a_collaborative_model_beats_popularity_clearly(self, ndcg: dict[str, float]) -> None:
        assert 0.23 < ndcg["ease, graded, recent"] < 0.275
        assert ndcg["ease, graded, recent"] > 1.5 * ndcg["popularity"]

    def test_genres_alone_do_not_reveal_the_tastes(self, ndcg: dict[str, float]) -> None:
        assert ndcg["popularity"] < ndcg["genres"] < 0.75 * ndcg["ease, graded, recent"]

    def test_tastes_drift_so_recency_helps(self, ndcg: dict[str, float]) -> None:
        assert 1.05 < ndcg["ease, graded, recent"] / ndcg["ease, graded"] < 1.25

    def test_stars_say_something_beyond_the_choice_to_watch(self, ndcg: dict[str, float]) -> None:
        assert ndcg["ease, graded"] > ndcg["ease"]


class TestWriting:
    def test_a_complete_sample_is_kept_untouched(self, tmp_path: Path) -> None:
        directory = write_sample(tmp_path / "sample")
        with (directory / "ratings.csv").open("a") as file:
            file.write("601,1,5.0,1700000000\n")
        before = contents(directory)
        assert write_sample(directory) == directory
        assert contents(directory) == before

    def test_missing_parents_are_made_and_an_empty_directory_is_filled(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        for directory in (tmp_path / "empty", tmp_path / "a" / "b" / "sample"):
            assert write_sample(directory) == directory
            assert sorted(os.listdir(directory)) == FILES
            assert os.listdir(directory.parent).count(directory.name) == 1
        assert sorted(os.listdir(tmp_path)) == ["a", "empty"]

    def test_others_may_read_it_as_the_umask_says(self, tmp_path: Path) -> None:
        (tmp_path / "plain").mkdir()
        assert write_sample(tmp_path / "sample").stat().st_mode == (tmp_path / "plain").stat().st_mode

    @pytest.mark.parametrize("names", [["notes.txt"], ["ratings.csv"], ["movies.csv", "ratings.csv"]])
    def test_a_directory_with_something_else_is_refused_and_left_alone(self, tmp_path: Path, names: list[str]) -> None:
        for name in names:
            (tmp_path / name).write_text("mine")
        with pytest.raises(DataError, match="holds something that is no sample"):
            write_sample(tmp_path)
        assert contents(tmp_path) == dict.fromkeys(names, b"mine")

    def test_a_file_in_its_place_is_refused_with_the_reason(self, tmp_path: Path) -> None:
        (tmp_path / "sample").write_text("mine")
        with pytest.raises(DataError, match=r"cannot be written to .*sample: Not a directory"):
            write_sample(tmp_path / "sample")
        assert contents(tmp_path) == {"sample": b"mine"}

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    @pytest.mark.parametrize("step", range(4))
    def test_an_interrupted_write_leaves_nothing_half_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException
    ) -> None:
        """Steps 0 to 2 are the files, 3 is their directory: all before the rename."""
        done = 0

        def fsync(descriptor: int) -> None:
            nonlocal done
            if done == step:
                assert not (tmp_path / "sample").exists()
                raise error
            done += 1

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(DataError if isinstance(error, OSError) else KeyboardInterrupt):
                write_sample(tmp_path / "sample")
        assert os.listdir(tmp_path) == []
        assert sorted(contents(write_sample(tmp_path / "sample"))) == FILES

    def test_everything_is_on_disk_before_the_name_appears(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []
        rename = Path.rename

        def noted_rename(self: Path, target: Path) -> Path:
            steps.append("rename")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", noted_rename)
        monkeypatch.setattr(os, "fsync", lambda fd: steps.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name))
        write_sample(tmp_path / "sample")
        staging = steps[3]
        assert steps == [*FILES, staging, "rename", tmp_path.name]
        assert staging.startswith(".sample.")

    def test_of_several_writers_one_wins_and_all_are_content(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(write_sample, [tmp_path / "sample"] * 4))
        assert found == [tmp_path / "sample"] * 4
        assert os.listdir(tmp_path) == ["sample"]
        assert sorted(contents(tmp_path / "sample")) == FILES
