"""The estimate is held against what training really takes, in a process of its own, beyond what its libraries take."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest

from recsys.artifacts.store import ModelStore
from recsys.errors import TrainingError
from recsys.training.memory import estimate_bytes, refuse_beyond
from recsys.training.pipeline import train
from recsys.training.plan import TrainingPlan

_MB = 2**20
#: Above this the guard would refuse what fits; a small data set is mostly base.
_MOST_OVER = 3.0
#: `clear_refs` 5 makes the kernel count the peak of resident memory anew, from the libraries on.
_CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from recsys.training import worker
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.pipeline import train
from recsys.training.plan import TrainingPlan

def status(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024

models, sample, data = map(Path, sys.argv[1:4])
worker._load_libraries()
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
for ridge in map(float, sys.argv[4:]):
    plan = TrainingPlan(models, sample, data=data, parameters=Hyperparameters(ridge=ridge))
    manifest = train(plan, now=lambda: datetime.now(UTC)).manifest
print(f'{{"users": {manifest.data.users}, "items": {manifest.data.items}, "ratings": {manifest.data.ratings},'
      f'"taken": {status("VmHWM") - before}}}')
"""


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """6,000 items, 3,000 users, 300,000 ratings: popularity falls with the item, and users keep to one of 20 kinds."""
    draw = np.random.default_rng(0)
    n_users, n_items, n_ratings = 3_000, 6_000, 300_000
    kind_of = draw.integers(0, 20, n_users)
    pairs = np.arange(n_items) + np.arange(n_items) % n_users * n_items  # every item once
    while pairs.size < n_ratings:
        users = draw.integers(0, n_users, n_ratings)
        items = (n_items * draw.random(n_ratings) ** 2).astype(np.int64)
        of_kind = (items // 20 * 20 + kind_of[users]) % n_items
        pairs = np.union1d(pairs, users * n_items + np.where(draw.random(n_ratings) < 0.6, of_kind, items))
    pairs = draw.permutation(pairs)
    columns = (
        pairs // n_items,
        pairs % n_items,
        draw.integers(1, 6, pairs.size),
        draw.integers(10**9, 2 * 10**9, pairs.size),
    )
    path = tmp_path / "made-up.csv"
    np.savetxt(path, np.stack(columns, axis=1), "%d", ",", header="user,item,rating,timestamp", comments="")
    return path


@pytest.mark.parametrize(
    ("data", "ridges"),
    [
        pytest.param("sample", ["400"], id="sample"),
        pytest.param("ml_100k", ["400"], id="ml-100k", marks=[pytest.mark.real_data]),
        pytest.param("ml_latest_small", ["400"], id="latest-small", marks=[pytest.mark.real_data, pytest.mark.slow]),
        pytest.param("made_up", ["400"], id="made up", marks=[pytest.mark.slow]),
        pytest.param("made_up", ["400", "500"], id="made up, beside another recipe", marks=[pytest.mark.slow]),
    ],
)
@pytest.mark.timeout(400)
def test_training_takes_no_more_than_estimated_and_not_far_less(
    data: str, ridges: list[str], request: pytest.FixtureRequest, sample: Path, tmp_path: Path, full: bool
) -> None:
    if not full and data not in ("sample", "ml_100k"):
        pytest.skip("takes a quarter or half of a minute: --full")
    path: Path = request.getfixturevalue(data)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _CHILD, str(tmp_path / "models"), str(sample), str(path), *ridges]
    found = orjson.loads(subprocess.run(command, env=environ, check=True, capture_output=True, timeout=390).stdout)
    estimate = estimate_bytes(found["users"], found["items"], found["ratings"], max_items=20_000)
    assert found["taken"] <= estimate <= _MOST_OVER * found["taken"]


@pytest.mark.parametrize("larger", [{"n_users": 2000}, {"n_items": 2000}, {"n_ratings": 200_000}])
def test_more_of_anything_needs_more(larger: dict[str, int]) -> None:
    size = {"n_users": 1000, "n_items": 1000, "n_ratings": 100_000}
    assert estimate_bytes(**size, max_items=20_000) < estimate_bytes(**(size | larger), max_items=20_000)


def test_items_beyond_those_modelled_cost_no_matrix() -> None:
    estimates = [estimate_bytes(1000, n_items, 10**6, max_items=5_000) for n_items in (5_000, 50_000)]
    assert estimates[1] - estimates[0] < 45_000 * 5_000
    assert estimate_bytes(1000, 50_000, 10**6, max_items=20_000) > 1.5 * 4 * 20_000**2


def test_what_fits_is_not_refused() -> None:
    refuse_beyond(100, 100 * _MB)
    refuse_beyond(None, 10**15)


def test_what_does_not_fit_is_refused_with_both_figures_and_what_to_do() -> None:
    with pytest.raises(TrainingError) as raised:
        refuse_beyond(100, 150 * _MB)
    for part in ("about 150 MB", "the limit of 100 MB", "MEMORY_LIMIT_MB", "MAX_ITEMS"):
        assert part in str(raised.value)


def test_a_run_that_cannot_fit_is_refused_before_anything_is_computed(sample: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    note: Callable[[str, float], None] = lambda stage, share: stages.append(stage)  # noqa: E731
    plan = TrainingPlan(tmp_path / "models", sample, memory_limit_mb=10)
    with pytest.raises(TrainingError, match="more than the limit of 10 MB"):
        train(plan, now=lambda: datetime(2026, 1, 2, tzinfo=UTC), progress=note)
    assert set(stages) <= {"read"}
    assert ModelStore(plan.models).scan().entries == ()
