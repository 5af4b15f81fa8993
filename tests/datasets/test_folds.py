"""The folds of protocol R: MovieLens 100K's own where they are, and random ones elsewhere."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.datasets.folds import canonical_folds, random_folds
from recsys.datasets.ratings import Catalogue, Dataset
from recsys.datasets.reading import read_dataset
from recsys.errors import DataError

#: Row n is the rating of user n // 5 for item n % 5; fold u1 tests the items 0, u2 the items 1 and so on.
ROWS = [f"{n // 5}\t{n % 5}\t{1 + n % 5}\t{n}\n" for n in range(20)]


@pytest.fixture
def with_folds(tmp_path: Path) -> Callable[..., Path]:
    """Write a MovieLens 100K directory; named files (`u1_base="…"`) take other content, None leaves one out."""

    def write(**files: str | None) -> Path:
        content: dict[str, str | None] = {"u.data": "".join(ROWS)}
        for k in range(5):
            content[f"u{k + 1}.base"] = "".join(row for n, row in enumerate(ROWS) if n % 5 != k)
            content[f"u{k + 1}.test"] = "".join(reversed(ROWS[k::5]))
        content |= {name.replace("_", "."): text for name, text in files.items()}
        folder = tmp_path / "ml-100k"
        folder.mkdir()
        for name, text in content.items():
            if text is not None:
                (folder / name).write_text(text)
        return folder

    return write


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"ml-100k/{file.name}")
    return path


class TestCanonical:
    @pytest.mark.parametrize("given_as", ["directory", "zip", "file"])
    def test_are_found_where_the_ratings_are(self, with_folds: Callable[..., Path], given_as: str) -> None:
        folder = with_folds()
        path = {"directory": lambda: folder, "zip": lambda: zipped(folder), "file": lambda: folder / "u.data"}[
            given_as
        ]()
        data = read_dataset(path)
        folds = canonical_folds(data, path)

        assert folds is not None
        assert [fold.name for fold in folds] == ["u1", "u2", "u3", "u4", "u5"]
        for k, fold in enumerate(folds):
            assert {str(k)} == {data.catalogue.item_ids[item] for item in data.items[fold.test]}
            assert list(range(20)) == sorted([*fold.train, *fold.test])

    @pytest.mark.parametrize("missing", ["u1_base", "u5_test"])
    def test_are_not_used_unless_all_ten_files_are_there(self, with_folds: Callable[..., Path], missing: str) -> None:
        path = with_folds(**{missing: None})

        assert canonical_folds(read_dataset(path), path) is None

    def test_belong_to_movielens_100k_only(self, sample: Path) -> None:
        assert canonical_folds(read_dataset(sample), sample) is None

    def test_that_test_what_they_train_on_are_refused(self, with_folds: Callable[..., Path]) -> None:
        path = with_folds(u2_base="".join(ROWS))

        with pytest.raises(DataError, match=r"u2\.base and u2\.test share 4 ratings"):
            canonical_folds(read_dataset(path), path)

    @pytest.mark.parametrize("row", ["9\t1\t3\t1\n", "0\t7\t3\t1\n", "3\t5\t3\t1\n"], ids=["user", "item", "item next"])
    def test_of_another_data_set_are_refused(self, with_folds: Callable[..., Path], row: str) -> None:
        path = with_folds(u3_test=ROWS[2] + row)

        with pytest.raises(DataError, match=r"u3\.test names ratings that u\.data has not"):
            canonical_folds(read_dataset(path), path)

    def test_that_name_a_pair_without_a_rating_are_refused(self, with_folds: Callable[..., Path]) -> None:
        path = with_folds(u_data="".join(ROWS[:-1]))

        with pytest.raises(DataError, match=r"u1\.base names ratings that u\.data has not"):
            canonical_folds(read_dataset(path), path)

    @pytest.mark.parametrize(
        ("text", "problem"), [("", "holds no ratings"), ("not a rating\n" * 9, "9 of 9 rows are bad")]
    )
    def test_that_cannot_be_read_are_refused(self, with_folds: Callable[..., Path], text: str, problem: str) -> None:
        path = with_folds(u4_test=text)

        with pytest.raises(DataError, match=rf"u4\.test.*{problem}"):
            canonical_folds(read_dataset(path), path)

    @pytest.mark.real_data
    def test_of_movielens_test_each_rating_once(self, ml_100k: Path) -> None:
        folds = canonical_folds(read_dataset(ml_100k), ml_100k)

        assert folds is not None
        assert [(fold.train.size, fold.test.size) for fold in folds] == [(80_000, 20_000)] * 5
        assert np.array_equal(np.arange(100_000), np.sort(np.concatenate([fold.test for fold in folds])))


class TestRandom:
    @staticmethod
    def of_size(n: int) -> Dataset:
        return Dataset(
            ("u",), Catalogue.bare([f"i{i}" for i in range(n)]), np.zeros(n, np.int32), np.arange(n, dtype=np.int32),
            np.ones(n, np.float32), np.zeros(n, np.int64),
        )  # fmt: skip

    @given(st.integers(5, 200), st.integers(0, 5))
    def test_test_each_rating_once_and_never_what_was_learned(self, n: int, seed: int) -> None:
        folds = random_folds(self.of_size(n), seed=seed)

        assert list(range(n)) == sorted(np.concatenate([fold.test for fold in folds]).tolist())
        for fold in folds:
            assert list(range(n)) == sorted([*fold.train, *fold.test])
            assert n // 5 <= fold.test.size <= n // 5 + 1

    def test_are_the_same_for_a_seed(self) -> None:
        first, second, other = (random_folds(self.of_size(50), seed=seed)[0].test.tolist() for seed in (1, 1, 2))

        assert first == second
        assert first != other

    def test_of_fewer_than_five_ratings_are_refused(self) -> None:
        with pytest.raises(DataError, match="too few"):
            random_folds(self.of_size(4), seed=0)
