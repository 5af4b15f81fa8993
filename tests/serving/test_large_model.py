"""20,000 items: the event loop comes round while one is loaded, verified and swapped in, and while one is asked."""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrivals import LoopMonitor, Service

from recsys.artifacts.contents import Contents, encode
from recsys.artifacts.files import write_durable
from recsys.artifacts.manifest import DataSummary, FileRecord, Manifest
from recsys.artifacts.servable import Servable, load_servable, make_golden
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.datasets.events import ItemChange
from recsys.datasets.ratings import Catalogue
from recsys.feedback.live import LiveFeedback
from recsys.models.item_item import SparseItemItem
from recsys.serving.amended import Amendments
from recsys.serving.collector import collect_by_the_clock
from recsys.serving.served import ServedModel, Viewer
from recsys.serving.viewers import Viewers
from recsys.training.top_lists import make_top_lists
from recsys.web import server
from recsys.web.answers import explained
from recsys.web.kept import choose, viewer_answer
from recsys.web.schemas import RecommendationQuery

N_ITEMS, N_USERS, KEPT = 20_000, 20_000, 200
GENRES = ("Drama", "Comedy", "Action", "Horror", "Romance", "Sci-Fi", "War", "Western")
NEW_FILM = ItemChange("new", "New Here", 2026, ("Drama",), None, None, withdrawn=False, sequence=0)
#: Other work shares the processor, and a descheduled process looks like a blocked loop: what blocks the loop blocks it
#: every time, so the best of a few attempts tells one from the other.
ATTEMPTS = 6


def large_contents(like: Contents) -> Contents:
    random = np.random.default_rng(11)
    # one column in each hundred, so that the columns of a row rise; another in the same hundred instead of the diagonal
    columns = np.arange(0, N_ITEMS, N_ITEMS // KEPT) + random.integers(0, N_ITEMS // KEPT, (N_ITEMS, KEPT))
    columns = np.where(columns == np.arange(N_ITEMS)[:, None], columns ^ 1, columns).astype(np.int32)
    lengths = random.integers(5, 80, N_USERS)
    n_ratings = int(lengths.sum())
    numbers = range(N_ITEMS)
    contents = replace(
        like,
        catalogue=Catalogue(
            tuple(str(i) for i in numbers),
            tuple(f"The {GENRES[i % 7]} of Number {i}, Part {i % 9} ({1920 + i % 100})" for i in numbers),
            tuple(1920 + i % 100 for i in numbers),
            tuple((GENRES[i % 8], GENRES[i % 3]) for i in numbers),
            tuple(f"tt{i:07}" for i in numbers),
            tuple(str(i) for i in numbers),
        ),
        user_ids=tuple(f"user-{i}" for i in range(N_USERS)),
        rating_counts=np.arange(N_ITEMS, 0, -1).astype(np.int32),
        popularity=np.linspace(0.5, 0, N_ITEMS, dtype=np.float32),
        history_indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        history_items=random.integers(0, N_ITEMS, n_ratings).astype(np.int32),
        history_values=random.integers(1, 6, n_ratings).astype(np.float32),
        history_timestamps=np.arange(n_ratings, dtype=np.int64),
        item_item=SparseItemItem(
            np.arange(0, N_ITEMS * KEPT + 1, KEPT, dtype=np.int64),
            columns.ravel(),
            random.normal(0, 0.05, N_ITEMS * KEPT).astype(np.float32),
        ),
        row_norms=np.ones(N_ITEMS, np.float32),
        column_norms=np.ones(N_ITEMS, np.float32),
    )
    return replace(contents, top_lists=make_top_lists(contents))


@pytest.fixture(scope="module")
def large_version(served_servable: Servable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    contents = large_contents(served_servable.contents)
    like, golden = served_servable.manifest, make_golden(contents)

    def describe(version: Version, files: tuple[FileRecord, ...]) -> Manifest:
        counts = {"ratings": contents.history_items.size, "users": N_USERS, "items": N_ITEMS}
        data = DataSummary(source="made up", fingerprint="", **counts)
        changes: dict[str, Any] = {
            "version": str(version), "created_at": datetime.now(UTC), "data": data, "golden": golden, "files": files,
        }  # fmt: skip
        return like.model_copy(update=changes)

    store = ModelStore(tmp_path_factory.mktemp("large"))
    with store.stage() as staged:
        for name, content in encode(contents):
            write_durable(staged / name, content)
        store.publish(staged, Version(1, 0, 0), describe)
    return store.path(Version(1, 0, 0))


@pytest.fixture
async def set_up_as_the_app() -> AsyncIterator[None]:
    """As `server.serve` does first of all."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(server._SWITCH_INTERVAL_S)
    collector = asyncio.create_task(collect_by_the_clock())
    await asyncio.sleep(0)
    yield
    collector.cancel()
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.usefixtures("set_up_as_the_app")
async def test_the_loop_is_never_held_up_by_a_load_a_check_or_a_swap(large_version: Path, tmp_path: Path) -> None:
    longest_s = []
    made = Service(large_version, tmp_path, rescan_s=1.0)
    made.arrive("v1.0.0")
    await made.watcher.start()
    for attempt in range(1, ATTEMPTS + 1):
        made.arrive(f"v1.0.{attempt}")
        async with LoopMonitor() as monitor:
            await made.watcher.rescan()
        assert made.serving == f"v1.0.{attempt}"
        longest_s.append(monitor.longest_s)
        if monitor.longest_s < 0.010:
            break

    assert min(longest_s) < 0.010, longest_s


@pytest.mark.slow
@pytest.mark.parametrize("changes", [(), (NEW_FILM,)], ids=["as it is", "amended"])
def test_the_cycle_collector_never_goes_through_a_models_columns(
    large_version: Path, changes: tuple[ItemChange, ...]
) -> None:
    """It would, once for each, with the GIL: 10 ms if it meets them all at once."""
    gc.collect()
    gc.disable()  # by itself it looks so often that it meets them one by one
    try:
        servable = load_servable(large_version, pause=lambda: None)
        model = ServedModel(servable, amendments=Amendments(changes), pause=lambda: None)
    finally:
        gc.enable()
    contents = model.servable.contents

    for large in (*vars(contents.catalogue).values(), contents.user_ids, model.fragments):
        assert len(large) >= N_ITEMS
        assert not gc.is_tracked(large)
    for index in (model.item_index, model.user_index):
        assert not gc.is_tracked(index)


@pytest.fixture(scope="module")
def large_model(large_version: Path) -> ServedModel:
    return ServedModel(load_servable(large_version, pause=lambda: None), pause=lambda: None)


def best_ms(act: Callable[[int], object]) -> float:
    times = []
    for attempt in range(9):
        start = time.perf_counter()
        act(attempt)
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def viewer_of(model: ServedModel, user: int) -> Viewer:
    viewer = Viewers(LiveFeedback(Path(), enabled=False)).find(model, model.servable.contents.user_ids[user], 0)
    assert viewer is not None
    return viewer


def recommend(model: ServedModel, user: int, n: int) -> bytes:
    """What a request does on the loop for a user not asked for before, with a filter not asked for before."""
    asked = {"n": str(n), "genre": ("Drama", "Sci-Fi"), "year_from": str(1950 + user % 30)}
    query = RecommendationQuery.model_validate(asked)
    return viewer_answer(model, viewer_of(model, user), query)


def explain(model: ServedModel, user: int) -> bytes:
    scores, items = choose(model, viewer_of(model, user), RecommendationQuery())
    return explained(model, items, scores)


def search(model: ServedModel, query: str) -> int:
    return int(model.titles.find(query).size)


ASKED: dict[str, Callable[[ServedModel, int], object]] = {
    "ten for a user": lambda model, attempt: recommend(model, attempt, 10),
    "five hundred for a user": lambda model, attempt: recommend(model, 100 + attempt, 500),
    "ten with reasons": lambda model, attempt: explain(model, 200 + attempt),
    "similar items": lambda model, attempt: model.similar(attempt, 500),
    "search for a rare word": lambda model, attempt: search(model, f"number {1234 + attempt}"),
    "search for a common word": lambda model, _: search(model, "the of"),
    "search for a letter": lambda model, _: search(model, "a"),
    "search for a digit": lambda model, _: search(model, "1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("asked", ASKED)
def test_a_request_holds_the_loop_for_five_milliseconds_at_most(large_model: ServedModel, asked: str) -> None:
    assert best_ms(lambda attempt: ASKED[asked](large_model, attempt)) <= 5.0
