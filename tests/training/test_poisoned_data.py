"""A ratings file gone wrong never goes live: each poison is refused by a check that names it, and what is sound is not.

The poisons are mishaps that we have seen or can imagine: a join on the wrong key, an export cut short, a column lost.
Each changes one thing in a data set that was trained on before, and leaves the rest as it is.
"""

import csv
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys.artifacts.manifest import Manifest
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import DataError
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.incumbent import find_incumbent
from recsys.training.pipeline import train
from recsys.training.plan import TrainingPlan

Row = list[str]
Rows = list[Row]
USER, ITEM, RATING, TIME = range(4)
_BASE_NAME = "v1.0.0"


def _now() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Trained:
    """A data set in a directory of our own, and the plan that trains on it into a store that has its incumbent."""

    plan: TrainingPlan
    ratings: Path
    delimiter: str
    header: Row | None
    genres: dict[str, set[str]]

    def rows(self) -> Rows:
        with self.ratings.open(encoding="latin-1", newline="") as file:
            rows = list(csv.reader(file, delimiter=self.delimiter))
        return rows[1:] if self.header else rows

    def write(self, rows: Rows) -> None:
        with self.ratings.open("w", encoding="latin-1", newline="") as file:
            writer = csv.writer(file, delimiter=self.delimiter, lineterminator="\n")
            writer.writerows([self.header, *rows] if self.header else rows)

    def train(self, parameters: Hyperparameters | None = None) -> Manifest:
        plan = replace(self.plan, parameters=parameters) if parameters else self.plan
        return train(plan, now=_now).manifest

    def incumbent(self) -> str:
        found = find_incumbent(ModelStore(self.plan.models))
        assert found is not None
        return found.version


def _genres_of_csv(path: Path) -> dict[str, set[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["movieId"]: set(row["genres"].split("|")) for row in csv.DictReader(file)}


def _genres_of_100k(directory: Path) -> dict[str, set[str]]:
    names = [line.split("|")[0] for line in (directory / "u.genre").read_text().splitlines() if line]
    found = {}
    for line in (directory / "u.item").read_text(encoding="latin-1").splitlines():
        columns = line.split("|")
        flags = zip(names, columns[-len(names) :], strict=True)
        found[columns[0]] = {name for name, flag in flags if flag == "1"}
    return found


@pytest.fixture(scope="module")
def sample_incumbent(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The sample as the operator's own data, with a model trained on it."""
    directory = tmp_path_factory.mktemp("poison-sample")
    shutil.copytree(sample, directory / "data")
    plan = TrainingPlan(directory / "models", sample, data=directory / "data")
    train(plan, now=_now)
    ratings = directory / "data" / "ratings.csv"
    header = ratings.read_text().splitlines()[0].split(",")
    return Trained(plan, ratings, ",", header, _genres_of_csv(directory / "data" / "movies.csv"))


@pytest.fixture(scope="module")
def ml_100k_incumbent(ml_100k: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    directory = tmp_path_factory.mktemp("poison-100k")
    (directory / "data").mkdir()
    for name in ("u.data", "u.item", "u.genre"):
        shutil.copy(ml_100k / name, directory / "data" / name)
    plan = TrainingPlan(directory / "models", sample, data=directory / "data")
    train(plan, now=_now)
    return Trained(plan, directory / "data" / "u.data", "\t", None, _genres_of_100k(directory / "data"))


def _copied(base: Trained, directory: Path) -> Trained:
    """The same trained with a store of its own and its data as they were. The data keep their place: the source is part
    of what the gate compares.
    """
    data = base.ratings.parent
    original = data.with_name("original")
    if not original.exists():
        shutil.copytree(data, original)
    shutil.rmtree(data)
    shutil.copytree(original, data)
    shutil.copytree(base.plan.models, directory / "models")
    return replace(base, plan=replace(base.plan, models=directory / "models"))


@pytest.fixture
def sample_trained(sample_incumbent: Trained, tmp_path: Path) -> Trained:
    return _copied(sample_incumbent, tmp_path)


@pytest.fixture
def ml_100k_trained(ml_100k_incumbent: Trained, tmp_path: Path) -> Trained:
    return _copied(ml_100k_incumbent, tmp_path)


@pytest.fixture(
    params=[
        pytest.param("sample_trained", id="sample"),
        pytest.param("ml_100k_trained", id="ml-100k", marks=[pytest.mark.real_data, pytest.mark.slow]),
    ]
)
def trained(request: pytest.FixtureRequest) -> Trained:
    found: Trained = request.getfixturevalue(request.param)
    return found


def _relabelled(rows: Rows, column: int) -> Rows:
    """Give every id of a column another id of the same column, one to one."""
    ids = sorted({row[column] for row in rows})
    shuffled = random.Random(1).sample(ids, len(ids))
    new = dict(zip(ids, shuffled, strict=True))
    return [[*row[:column], new[row[column]], *row[column + 1 :]] for row in rows]


def _column_shuffled(rows: Rows, column: int) -> Rows:
    values = random.Random(2).sample([row[column] for row in rows], len(rows))
    return [[*row[:column], value, *row[column + 1 :]] for row, value in zip(rows, values, strict=True)]


def _with(rows: Rows, column: int, change: Callable[[str], str]) -> Rows:
    return [[*row[:column], change(row[column]), *row[column + 1 :]] for row in rows]


def _bots(rows: Rows, share: float) -> Rows:
    """People who are none, each of whom gives fives to the same twenty of the least rated films."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row[ITEM]] = counts.get(row[ITEM], 0) + 1
    pushed = sorted(counts, key=lambda item: (counts[item], item))[:20]
    n_bots = int(len(rows) * share) // len(pushed)
    made = [[f"9{bot:06d}", item, "5", rows[0][TIME]] for bot in range(n_bots) for item in pushed]
    return rows + made


def _without_genre(trained: Trained, genre: str) -> Rows:
    return [row for row in trained.rows() if genre not in trained.genres.get(row[ITEM], set())]


def _joined_by_a_few(rows: Rows) -> Rows:
    """Newcomers with the tastes of every thirtieth user."""
    users = sorted({row[USER] for row in rows})[::30]
    return rows + [[f"8{row[USER]}", *row[ITEM:]] for row in rows if row[USER] in users]


Change = Callable[[Trained], Rows]
#: Each with the check that has to name it; others may fail as well.
_POISONS: dict[str, tuple[str, Change]] = {
    "items relabelled": ("golden_lists_kept", lambda trained: _relabelled(trained.rows(), ITEM)),
    "item ids spelled anew": (
        "golden_lists_kept",
        lambda trained: _with(trained.rows(), ITEM, lambda item: f"00{item}"),
    ),
    "user and item swapped": (
        "golden_lists_kept",
        lambda trained: [[r[ITEM], r[USER], *r[RATING:]] for r in trained.rows()],
    ),
    "item ids cut": ("golden_lists_kept", lambda trained: _with(trained.rows(), ITEM, lambda item: item[:2])),
    "every other row gone": ("ratings_not_shrunk", lambda trained: trained.rows()[::2]),
    "the file cut in the middle": ("ratings_not_shrunk", lambda trained: trained.rows()[: len(trained.rows()) // 2]),
    "drama gone": ("ratings_not_shrunk", lambda trained: _without_genre(trained, "Drama")),
    "users all one": ("users_not_shrunk", lambda trained: _with(trained.rows(), USER, lambda _: "1")),
    "user ids cut": ("users_not_shrunk", lambda trained: _with(trained.rows(), USER, lambda user: user[:2])),
    "all fives": ("rating_values_not_shifted", lambda trained: _with(trained.rows(), RATING, lambda _: "5")),
    "ratings upside down": (
        "rating_values_not_shifted",
        lambda trained: _with(trained.rows(), RATING, lambda value: f"{6 - float(value):g}"),
    ),
    "ratings on a scale of ten": (
        "rating_values_not_shifted",
        lambda trained: _with(trained.rows(), RATING, lambda value: f"{2 * float(value):g}"),
    ),
    "as many fives by bots as half of all": ("rating_values_not_shifted", lambda trained: _bots(trained.rows(), 0.5)),
    "ratings shuffled": ("not_below_incumbent", lambda trained: _column_shuffled(trained.rows(), RATING)),
    "users shuffled": ("beats_popularity", lambda trained: _column_shuffled(trained.rows(), USER)),
    "items shuffled": ("beats_popularity", lambda trained: _column_shuffled(trained.rows(), ITEM)),
}
_SOUND: dict[str, Change] = {
    "the same again": lambda trained: trained.rows(),
    "the same in another order": lambda trained: random.Random(3).sample(trained.rows(), len(trained.rows())),
    "a few newcomers": lambda trained: _joined_by_a_few(trained.rows()),
    "a small genre gone": lambda trained: _without_genre(trained, "Western"),
}


def _failed(manifest: Manifest) -> list[str]:
    return [check.name for check in manifest.gate.checks if not check.passed]


@pytest.mark.parametrize("poison", _POISONS)
def test_poison_is_rejected_by_a_check_that_names_it(trained: Trained, poison: str) -> None:
    check, change = _POISONS[poison]
    trained.write(change(trained))
    manifest = trained.train()
    assert manifest.gate.verdict == "rejected"
    assert check in _failed(manifest)
    assert trained.incumbent() == _BASE_NAME


@pytest.mark.parametrize("sound", _SOUND)
def test_sound_data_makes_a_new_accepted_version(trained: Trained, sound: str) -> None:
    trained.write(_SOUND[sound](trained))
    manifest = trained.train()
    assert _failed(manifest) == []
    assert (manifest.version, trained.incumbent(), manifest.parent) == ("v1.0.1", "v1.0.1", _BASE_NAME)


def test_a_rejected_candidate_is_kept_and_is_no_measure_for_the_next(trained: Trained) -> None:
    trained.write(_with(trained.rows(), RATING, lambda _: "5"))
    assert [trained.train().version for _ in range(2)] == ["v1.0.1", "v1.0.2"]
    entry = ModelStore(trained.plan.models).scan().find(Version(1, 0, 2))
    assert entry is not None
    assert entry.manifest is not None
    assert (entry.manifest.gate.verdict, entry.manifest.parent) == ("rejected", _BASE_NAME)
    assert trained.incumbent() == _BASE_NAME


@pytest.mark.parametrize("empty", ["", "header", "blank lines"])
def test_an_empty_file_is_refused_and_leaves_nothing(trained: Trained, empty: str) -> None:
    header = trained.delimiter.join(trained.header or []) + "\n"
    trained.ratings.write_text({"": "", "header": header, "blank lines": "\n\n\n"}[empty])
    with pytest.raises(DataError):
        trained.train()
    assert [str(entry.version) for entry in ModelStore(trained.plan.models).scan().entries] == [_BASE_NAME]


@pytest.mark.parametrize("parameters", [Hyperparameters(ridge=800), Hyperparameters(ridge=100)])
def test_hyperparameters_that_are_a_little_worse_are_accepted(trained: Trained, parameters: Hyperparameters) -> None:
    manifest = trained.train(parameters)
    assert _failed(manifest) == []
    assert "not_below_incumbent_recipe" in {check.name for check in manifest.gate.checks}


@pytest.mark.parametrize("parameters", [Hyperparameters(ridge=1e6), Hyperparameters(max_items=200)])
def test_hyperparameters_that_are_much_worse_are_rejected(trained: Trained, parameters: Hyperparameters) -> None:
    manifest = trained.train(parameters)
    assert {"not_below_incumbent", "not_below_incumbent_recipe"} <= set(_failed(manifest))
    assert trained.incumbent() == _BASE_NAME


def test_a_poison_that_makes_the_recipe_no_worse_is_still_held_against_what_was_measured(trained: Trained) -> None:
    """Other hyperparameters and bad data at once: the recipe of before does as badly on it, its record does not."""
    trained.write(_column_shuffled(trained.rows(), USER))
    assert "not_below_incumbent" in _failed(trained.train(Hyperparameters(ridge=300)))


@pytest.mark.real_data
@pytest.mark.slow
def test_scrambled_timestamps_are_rejected(ml_100k_trained: Trained) -> None:
    ml_100k_trained.write(_column_shuffled(ml_100k_trained.rows(), TIME))
    assert ml_100k_trained.train().gate.verdict == "rejected"


@pytest.mark.real_data
@pytest.mark.slow
def test_bots_that_take_over_what_is_popular_are_rejected(ml_100k_trained: Trained) -> None:
    ml_100k_trained.write(_bots(ml_100k_trained.rows(), 0.1))
    assert ml_100k_trained.train().gate.verdict == "rejected"


def test_titles_of_other_films_are_rejected(sample_trained: Trained) -> None:
    movies = sample_trained.ratings.with_name("movies.csv")
    header, *films = movies.read_text(encoding="utf-8").splitlines()
    ids = [line.split(",", 1)[0] for line in films]
    rest = random.Random(4).sample([line.split(",", 1)[1] for line in films], len(films))
    movies.write_text("\n".join([header, *map(",".join, zip(ids, rest, strict=True))]) + "\n", encoding="utf-8")
    assert sample_trained.train().gate.verdict == "rejected"
