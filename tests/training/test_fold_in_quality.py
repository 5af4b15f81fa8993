"""Users whom training never saw, fed through the API, are served nearly as well as if it had: the history folds in."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from service import ServerProcess

from recsys.datasets.ratings import LIKED_STARS, Dataset
from recsys.datasets.reading import read_dataset
from recsys.datasets.split import split_temporal
from recsys.training.evaluation import Question, measure_temporal, temporal_questions
from recsys.training.fit import fit
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.metrics import gains, ndcg
from recsys.training.pipeline import train
from recsys.training.plan import TrainingPlan

LEAST_SHARE = 0.97
KEPT_OUT = 0.10
SEED = 20240229
MOST_AT_ONCE = 1000


def questions_by_user(data: Dataset) -> tuple[Dataset, dict[int, Question]]:
    """The training part of protocol T, and the question of each user that it asks about."""
    training, questions = temporal_questions(data)
    test = split_temporal(data).test
    liked = test[data.stars[test] >= LIKED_STARS]
    return training, dict(zip(np.unique(data.users[liked]).tolist(), questions, strict=True))


def write_like_ml_100k(data: Dataset, source: Path, target: Path) -> Path:
    """Write these ratings, in this order, with the whole catalogue."""
    target.mkdir()
    for name in ("u.item", "u.genre"):
        (target / name).write_bytes((source / name).read_bytes())
    rows = zip(data.users.tolist(), data.items.tolist(), data.values.tolist(), data.timestamps.tolist(), strict=True)
    users, items = data.user_ids, data.catalogue.item_ids
    lines = (f"{users[user]}\t{items[item]}\t{value:g}\t{at}\n" for user, item, value, at in rows)
    (target / "u.data").write_text("".join(lines))
    return target


def send(server: ServerProcess, data: Dataset) -> None:
    """Post ratings in the order of the file, which is not that of their times."""
    rows = zip(data.users.tolist(), data.items.tolist(), data.values.tolist(), data.timestamps.tolist(), strict=True)
    users, items = data.user_ids, data.catalogue.item_ids
    ratings = [
        {"user_id": users[user], "item_id": items[item], "rating": value, "timestamp": at}
        for user, item, value, at in rows
    ]
    for start in range(0, len(ratings), MOST_AT_ONCE):
        batch = ratings[start : start + MOST_AT_ONCE]
        answer = server.request("/api/v1/ratings", method="POST", body={"ratings": batch})
        assert {"accepted": len(batch), "duplicates": 0} == answer.json


@pytest.mark.real_data
@pytest.mark.slow
def test_users_kept_out_of_training_and_fed_through_the_api_are_served_nearly_as_well(
    ml_100k: Path, serve: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    data = read_dataset(ml_100k)
    training, questions = questions_by_user(data)
    kept_out = np.random.default_rng(SEED).choice(data.n_users, round(KEPT_OUT * data.n_users), replace=False)
    asked = sorted(set(kept_out.tolist()) & set(questions))
    trained_on = measure_temporal(fit(training, Hyperparameters()).recommender, [questions[user] for user in asked])

    is_kept_out = np.isin(training.users, kept_out)
    rest = write_like_ml_100k(training.where(~is_kept_out), ml_100k, tmp_path / "rest")
    train(TrainingPlan(models=tmp_path / "models", sample=tmp_path / "none", data=rest), now=lambda: datetime.now(UTC))
    server = serve("--data", str(rest))
    send(server, training.where(is_kept_out))
    position = {item_id: item for item, item_id in enumerate(data.catalogue.item_ids)}
    folded_in = []
    for user in asked:
        answer = server.request(f"/api/v1/users/{data.user_ids[user]}/recommendations?n=10").json
        ranked = np.array([position[item["item_id"]] for item in answer["items"]])
        assert np.intersect1d(ranked, questions[user].history.items).size == 0
        relevant = questions[user].relevant
        folded_in.append(ndcg(gains(ranked, relevant), relevant.size, 10))

    before, after = trained_on.values["ndcg@10"].mean(), np.mean(folded_in)
    print(f"NDCG@10 of {len(asked)} users: {before:.4f} trained on, {after:.4f} folded in: {after / before:.1%}")
    assert after >= LEAST_SHARE * before


@pytest.mark.real_data
def test_so_is_everybody_in_ten_such_splits(ml_100k: Path) -> None:
    """One split of 90 users is noise of ±2.5 %. What the service does with a history is what is asked here."""
    training, questions = questions_by_user(read_dataset(ml_100k))
    trained_on = fit(training, Hyperparameters()).recommender
    before, after = [], []
    for kept_out in np.array_split(np.random.default_rng(SEED).permutation(training.n_users), round(1 / KEPT_OUT)):
        asked = [questions[user] for user in kept_out.tolist() if user in questions]
        rest = fit(training.where(~np.isin(training.users, kept_out)), Hyperparameters()).recommender
        before.append(measure_temporal(trained_on, asked).values["ndcg@10"])
        after.append(measure_temporal(rest, asked).values["ndcg@10"])

    share = np.concatenate(after).mean() / np.concatenate(before).mean()
    print(f"{share:.1%} over {len(questions)} users")
    assert share >= LEAST_SHARE
