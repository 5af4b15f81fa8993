"""What a candidate is held against: the highest accepted version of the store, as far as its manifest tells.

Reads manifests only; the incumbent's arrays are not needed.
"""

from typing import Any

import numpy as np

from recsys.artifacts.contents import Contents
from recsys.artifacts.manifest import GoldenQuery, Manifest
from recsys.artifacts.store import ModelStore
from recsys.datasets.ratings import Dataset
from recsys.models.recommend import History
from recsys.training.evaluation import evaluate_temporal
from recsys.training.gate import Comparison, Standing
from recsys.training.hyperparameters import Hyperparameters

HEADLINE = "ndcg@10"
COVERAGE = "coverage@10"


def find_incumbent(store: ModelStore) -> Manifest | None:
    """Return the manifest of the highest accepted version."""
    accepted = [entry.manifest for entry in store.scan().entries if entry.manifest and entry.manifest.accepted]
    return accepted[-1] if accepted else None


def standing_of(manifest: Manifest) -> Standing:
    """What the gate wants to know of a published version."""
    linear = manifest.algorithm != "popularity"
    return Standing(
        source=manifest.data.source,
        headline=_metric(manifest, manifest.algorithm, HEADLINE) if linear else None,
        popularity=_metric(manifest, "popularity", HEADLINE) if linear else None,
        coverage=_metric(manifest, manifest.algorithm, COVERAGE) if linear else None,
        n_ratings=manifest.data.ratings,
        n_users=manifest.data.users,
        n_items=manifest.data.items,
        rating_shares=manifest.data.rating_shares,
    )


def _metric(manifest: Manifest, model: str, name: str) -> float | None:
    found: Any = manifest.metrics
    for key in ("models", model, name, "value"):
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) else None


def compare(incumbent: Manifest, dataset: Dataset, contents: Contents, parameters: Hyperparameters) -> Comparison:
    """Measure candidate and incumbent together.

    Cost: that of one more evaluation if the incumbent was made by another recipe, else nothing to speak of.
    """
    recipe = _recipe(incumbent)
    recipe_headline = None
    if incumbent.algorithm == "edlae" and recipe is not None and recipe != parameters:
        recipe_headline = evaluate_temporal(dataset, recipe).models["edlae"][HEADLINE].value
    return Comparison(recipe_headline, golden_overlap(incumbent.golden, contents))


def _recipe(manifest: Manifest) -> Hyperparameters | None:
    """The hyperparameters of a version; None when it was made with others than we know."""
    try:
        return Hyperparameters(**manifest.hyperparameters)  # type: ignore[arg-type]
    except TypeError:
        return None


def golden_overlap(golden: tuple[GoldenQuery, ...], contents: Contents) -> float | None:
    """Return the mean share of the recorded lists that the candidate gives for the same histories; None when nothing
    was recorded. Items that are gone or called otherwise count as not kept, a history of which nothing is left as a
    list not kept: ids that are spelled anew are as wrong as ids that are mixed up. Cost: that of a few answers.
    """
    index = {item: position for position, item in enumerate(contents.catalogue.item_ids)}
    recommender = contents.recommender
    kept = []
    for query in golden:
        known = [i for i, item in enumerate(query.items) if item in index]
        if not query.answer:
            continue
        if query.items and not known:
            kept.append(0.0)
            continue
        history = History(
            np.array([index[query.items[i]] for i in known], np.int32),
            np.array([query.stars[i] for i in known], np.float32),
            query.ordered,
        )
        answer = recommender.recommend(history, len(query.answer))
        catalogue = contents.catalogue
        films = {(catalogue.item_ids[item], catalogue.titles[item]) for item in answer.tolist()}
        kept.append(len(films & set(zip(query.answer, query.titles, strict=True))) / len(query.answer))
    return sum(kept) / len(kept) if kept else None
