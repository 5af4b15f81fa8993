"""A training run, from data to a version that can be served."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from recsys.artifacts.servable import load_servable
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.datasets.reading import read_dataset
from recsys.errors import DataError, VersionTakenError
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.pipeline import arrange, train
from recsys.training.plan import TrainingPlan


def _now() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def plan(tmp_path: Path, sample: Path) -> TrainingPlan:
    return TrainingPlan(models=tmp_path / "models", sample=sample)


def _csv(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(["user,item,rating,timestamp", *lines]) + "\n")
    return path


def test_the_same_input_gives_the_same_digest_and_a_new_accepted_version(plan: TrainingPlan) -> None:
    first, second = (train(plan, now=_now).manifest for _ in range(2))
    assert (first.version, second.version) == ("v1.0.0", "v1.0.1")
    assert first.digest == second.digest
    assert second.accepted
    assert second.parent == "v1.0.0"


def test_other_hyperparameters_give_another_digest(plan: TrainingPlan, sample: Path, tmp_path: Path) -> None:
    other = TrainingPlan(plan.models, sample, parameters=Hyperparameters(ridge=50))
    assert train(plan, now=_now).manifest.digest != train(other, now=_now).manifest.digest


def test_the_published_version_is_sound_and_says_what_it_is(plan: TrainingPlan) -> None:
    manifest = train(plan, now=_now).manifest
    servable = load_servable(plan.models / manifest.version)
    assert manifest == servable.manifest
    assert (manifest.data.source, manifest.data.users, manifest.data.items) == ("sample", 600, 1000)
    assert (
        manifest.metrics["models"]["edlae"]["ndcg@10"]["value"]
        > manifest.metrics["models"]["popularity"]["ndcg@10"]["value"]
    )
    assert {check.name for check in manifest.gate.checks} >= {"finite", "beats_popularity", "coverage"}
    assert len(manifest.golden) >= 8


def test_progress_rises_from_nothing_to_one(plan: TrainingPlan) -> None:
    seen: list[tuple[str, float]] = []
    train(plan, now=_now, progress=lambda stage, share: seen.append((stage, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert seen[-1] == ("publish", 1.0)
    assert list(dict.fromkeys(stage for stage, _ in seen)) == ["read", "fit", "evaluate", "refit", "publish"]


def test_a_name_that_is_taken_is_refused_before_the_work(plan: TrainingPlan, sample: Path) -> None:
    train(plan, now=_now)
    stages: list[str] = []
    again = TrainingPlan(plan.models, sample, version=Version.parse("v1.0.0"))
    with pytest.raises(VersionTakenError):
        train(again, now=_now, progress=lambda stage, share: stages.append(stage))
    assert stages == []


def test_data_too_small_to_learn_from_gives_a_popularity_model(tmp_path: Path, sample: Path) -> None:
    data = _csv(tmp_path / "ratings.csv", ["a,x,5,1", "a,y,4,2", "b,x,5,3"])
    manifest = train(TrainingPlan(tmp_path / "models", sample, data=data), now=_now).manifest
    assert (manifest.algorithm, manifest.gate.verdict) == ("popularity", "accepted")
    servable = load_servable(tmp_path / "models" / manifest.version)
    answer = servable.recommender.recommend(servable.history(servable.user_index["b"]), 5)
    assert [servable.contents.catalogue.item_ids[i] for i in answer] == ["y"]


def test_a_single_rating_is_enough_to_start_with(tmp_path: Path, sample: Path) -> None:
    data = _csv(tmp_path / "ratings.csv", ["a,x,5,1"])
    assert train(TrainingPlan(tmp_path / "models", sample, data=data), now=_now).manifest.accepted


def test_no_rating_at_all_is_a_clear_error_and_publishes_nothing(tmp_path: Path, sample: Path) -> None:
    data = _csv(tmp_path / "ratings.csv", [])
    with pytest.raises(DataError):
        train(TrainingPlan(tmp_path / "models", sample, data=data), now=_now)
    assert ModelStore(tmp_path / "models").scan().entries == ()


def test_a_worse_candidate_is_kept_but_rejected(plan: TrainingPlan, sample: Path, tmp_path: Path) -> None:
    """Half the rows gone: the check that names it fails, and the version is there to be looked at."""
    data = tmp_path / "mine"
    shutil.copytree(sample, data)
    mine = TrainingPlan(plan.models, sample, data=data)
    assert train(mine, now=_now).manifest.accepted
    lines = (data / "ratings.csv").read_text().splitlines(keepends=True)
    (data / "ratings.csv").write_text("".join([lines[0], *lines[1::2]]))
    manifest = train(mine, now=_now).manifest
    assert manifest.gate.verdict == "rejected"
    assert "ratings_not_shrunk" in {check.name for check in manifest.gate.checks if not check.passed}
    assert (plan.models / manifest.version / "manifest.json").exists()


def test_arranging_sorts_items_by_ratings_and_keeps_who_rated_what(sample: Path) -> None:
    data = read_dataset(sample)
    arranged = arrange(data)
    counts = np.bincount(arranged.items, minlength=arranged.n_items)
    assert np.all(np.diff(counts) <= 0)
    before = {(data.users[i], data.catalogue.item_ids[data.items[i]], data.values[i]) for i in range(data.n_ratings)}
    after = {
        (arranged.users[i], arranged.catalogue.item_ids[arranged.items[i]], arranged.values[i])
        for i in range(data.n_ratings)
    }
    assert before == after


def test_only_the_most_rated_items_are_modelled_when_there_are_too_many(plan: TrainingPlan, sample: Path) -> None:
    small = TrainingPlan(plan.models, sample, parameters=Hyperparameters(max_items=300))
    version = train(small, now=_now).manifest.version
    recommender = load_servable(plan.models / version).recommender
    assert (recommender.n_modelled, recommender.n_items) == (300, 1000)
