"""What a candidate is held against, and how far it is asked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from service import copy_version

from recsys.artifacts.contents import Contents
from recsys.artifacts.manifest import GoldenQuery, Manifest
from recsys.artifacts.servable import Servable, load_servable
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.datasets.ratings import Dataset
from recsys.datasets.reading import read_dataset
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.incumbent import compare, find_incumbent, golden_overlap, standing_of

_REJECTED = {"gate": {"verdict": "rejected", "checks": []}}


@pytest.fixture(scope="module")
def servable(trained_sample: Path) -> Servable:
    return load_servable(trained_sample / "v1.0.0")


@pytest.fixture(scope="module")
def manifest(servable: Servable) -> Manifest:
    return servable.manifest


@pytest.fixture(scope="module")
def dataset(sample: Path) -> Dataset:
    return read_dataset(sample)


def _renamed(contents: Contents, new: Callable[[str], str]) -> Contents:
    catalogue = replace(contents.catalogue, item_ids=tuple(new(item) for item in contents.catalogue.item_ids))
    return replace(contents, catalogue=catalogue)


def test_an_empty_store_has_no_incumbent(store_with: Callable[..., ModelStore]) -> None:
    assert find_incumbent(store_with()) is None


def test_the_incumbent_is_the_highest_accepted_sound_version(
    store_with: Callable[..., ModelStore], trained_sample: Path
) -> None:
    """By version, not by name or time; a rejected or half-made one is no measure."""
    store = store_with("v1.0.9", "v1.0.10", "v1.0.2")
    copy_version(trained_sample / "v1.0.0", store.path(Version(1, 0, 11)), **_REJECTED)
    (store.path(Version(9, 0, 0))).mkdir()
    found = find_incumbent(store)
    assert found is not None
    assert found.version == "v1.0.10"


def test_a_standing_repeats_what_the_manifest_says(manifest: Manifest) -> None:
    standing = standing_of(manifest)
    metrics = manifest.metrics["models"]
    assert standing.source == "sample"
    assert standing.headline == metrics["edlae"]["ndcg@10"]["value"]
    assert standing.popularity == metrics["popularity"]["ndcg@10"]["value"]
    assert standing.coverage == metrics["edlae"]["coverage@10"]["value"]
    assert (standing.n_ratings, standing.n_users, standing.n_items) == (manifest.data.ratings, 600, 1000)
    assert sum(standing.rating_shares.values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("metrics", [{}, {"models": None}, {"models": {"edlae": {"ndcg@10": {"value": "much"}}}}])
def test_a_manifest_without_usable_metrics_gives_no_headline(manifest: Manifest, metrics: dict[str, object]) -> None:
    """A version that was made elsewhere, or by an older release."""
    assert standing_of(manifest.model_copy(update={"metrics": metrics})).headline is None


def test_a_popularity_model_has_no_headline_to_be_held_to(manifest: Manifest) -> None:
    standing = standing_of(manifest.model_copy(update={"algorithm": "popularity"}))
    assert (standing.headline, standing.popularity, standing.coverage) == (None, None, None)


def test_the_same_recipe_is_not_measured_again(manifest: Manifest, servable: Servable, dataset: Dataset) -> None:
    found = compare(manifest, dataset, servable.contents, Hyperparameters())
    assert (found.recipe_headline, found.golden_overlap) == (None, 1.0)


def test_another_recipe_is_measured_on_the_same_split(manifest: Manifest, servable: Servable, dataset: Dataset) -> None:
    found = compare(manifest, dataset, servable.contents, Hyperparameters(ridge=1e6))
    assert found.recipe_headline == pytest.approx(standing_of(manifest).headline)


def test_a_recipe_that_we_no_longer_know_is_left_out(manifest: Manifest, servable: Servable, dataset: Dataset) -> None:
    older = manifest.model_copy(update={"hyperparameters": {"ridge": 400.0, "factors": 64}})
    assert compare(older, dataset, servable.contents, Hyperparameters(ridge=1e6)).recipe_headline is None


def test_a_model_keeps_all_of_its_own_golden_lists(manifest: Manifest, servable: Servable) -> None:
    assert golden_overlap(manifest.golden, servable.contents) == 1.0


def test_items_that_changed_places_keep_next_to_nothing(manifest: Manifest, servable: Servable) -> None:
    ids = servable.contents.catalogue.item_ids
    moved = dict(zip(ids, ids[len(ids) // 2 :] + ids[: len(ids) // 2], strict=True))
    overlap = golden_overlap(manifest.golden, _renamed(servable.contents, moved.__getitem__))
    assert overlap is not None
    assert overlap < 0.1


def test_ids_that_are_all_spelled_anew_keep_nothing(manifest: Manifest, servable: Servable) -> None:
    """No history can be asked any more. That is no reason to ask nothing: it is the worst that can be."""
    contents = _renamed(servable.contents, lambda item: f"00{item}")
    assert [0.0] * len(manifest.golden) == [golden_overlap((query,), contents) for query in manifest.golden]


def test_an_item_that_is_gone_counts_as_not_kept(manifest: Manifest, servable: Servable) -> None:
    query = next(query for query in manifest.golden if len(query.items) > 5 and len(query.answer) == 10)
    gone = set(query.answer[:3])
    contents = _renamed(servable.contents, lambda item: f"gone-{item}" if item in gone else item)
    assert golden_overlap((query,), contents) == pytest.approx(0.7)


def test_someone_without_a_history_is_asked_too(manifest: Manifest, servable: Servable) -> None:
    """Their list is what is popular, and most visitors see it first."""
    query = next(query for query in manifest.golden if not query.items)
    assert golden_overlap((query,), servable.contents) == 1.0
    assert golden_overlap((query,), _renamed(servable.contents, lambda item: f"00{item}")) == 0.0


_UNANSWERED = GoldenQuery(items=("1",), stars=(5.0,), ordered=False, answer=(), scores=(), titles=())


@pytest.mark.parametrize("golden", [(), (_UNANSWERED,)])
def test_without_recorded_lists_there_is_nothing_to_compare(
    golden: tuple[GoldenQuery, ...], servable: Servable
) -> None:
    assert golden_overlap(golden, servable.contents) is None
