"""Whom an answer is for: whatever was trained when, a history is that of the files and of all that came in."""

import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.artifacts.manifest import Cutoff, DataSummary, Gate, Manifest
from recsys.artifacts.servable import Servable, build_servable
from recsys.datasets.events import Event, Events, ItemChange
from recsys.datasets.merge import merge_dataset
from recsys.datasets.ratings import NO_TIMESTAMP, Catalogue, Dataset, RatingScale
from recsys.errors import DataError
from recsys.feedback.changes import user_hash
from recsys.feedback.live import LiveFeedback
from recsys.feedback.overlay import Overlay
from recsys.serving.amended import Amendments
from recsys.serving.served import ServedModel
from recsys.serving.viewers import Viewers
from recsys.training.fit import fit
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.pipeline import arrange, assemble

STORE, KEY = "this store", b"k" * 32
USERS, ITEMS = ("ann", "bob", "cat"), ("a", "b", "c", "d")
#: Registered by hand, if at all; "d" is withdrawn, if at all.
NEW = ItemChange("new", "New", 2026, ("Drama",), None, None, withdrawn=False, sequence=1)
GONE = ItemChange("d", "d", None, (), None, None, withdrawn=True, sequence=2)
Row = tuple[str, float, int, str]


@dataclass(frozen=True)
class Rated:
    """A rating, or one taken back (`value` None), or, without an item, a user forgotten."""

    user_id: str
    item_id: str | None = None
    value: float | None = None
    timestamp: int = 0


def live_rows_of(files: Dataset, changes: Sequence[Rated], user_id: str) -> list[Row]:
    """The rule as it is written, one change after the other: what counts of a user, oldest first, and its source."""
    live: dict[str, tuple[float, int, str, int]] = {}
    for row, user in enumerate(files.users.tolist()):
        if files.user_ids[user] == user_id:
            item_id = files.catalogue.item_ids[files.items[row]]
            live[item_id] = float(files.values[row]), int(files.timestamps[row]), "file", row
    for sequence, change in enumerate(changes, start=1):
        if change.user_id != user_id:
            continue
        if change.item_id is None:
            live.clear()
        elif change.value is None:
            live.pop(change.item_id, None)
        elif change.item_id not in live or change.timestamp >= live[change.item_id][1]:
            live[change.item_id] = change.value, change.timestamp, "api", sequence
    ordered = sorted(live.items(), key=lambda pair: (pair[1][1], pair[1][2] == "api", pair[1][3]))
    return [(item_id, value, at, source) for item_id, (value, at, source, _) in ordered]


def events_of(changes: Sequence[Rated]) -> list[Event]:
    """What the store still has of these changes: a forgetting removed what was before it."""
    forgotten = {change.user_id: number for number, change in enumerate(changes) if change.item_id is None}
    return [
        Event(change.user_id, change.item_id, change.value, change.timestamp, number + 1)
        for number, change in enumerate(changes)
        if change.item_id is not None and number > forgotten.get(change.user_id, -1)
    ]


def merged(files: Dataset, changes: Sequence[Rated], items: Sequence[ItemChange]) -> Dataset | None:
    """What a training on everything would be given; None when nothing is left."""
    forgotten = {change.user_id for change in changes if change.item_id is None}
    try:
        return merge_dataset(files, Events.of(events_of(changes)), items=items, silenced=forgotten.__contains__)
    except DataError:
        return None


def trained_on(dataset: Dataset, *, cutoff: Cutoff | None = None) -> Servable:
    """A version whose histories are those of a data set; it has too little to learn from, and popularity answers."""
    arranged = arrange(dataset)
    contents = assemble(arranged, fit(arranged, Hyperparameters()))
    summary = DataSummary(
        source="test",
        fingerprint="",
        ratings=arranged.n_ratings,
        users=arranged.n_users,
        items=arranged.n_items,
        feedback_cutoff=cutoff,
    )
    manifest = Manifest(
        version="v1.0.0",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        algorithm=contents.description.algorithm,
        hyperparameters={},
        seed=0,
        libraries={},
        data=summary,
        metrics={},
        gate=Gate(verdict="accepted"),
        golden=(),
        files=(),
    )
    return build_servable(manifest, contents)


def served(servable: Servable, *said: ItemChange) -> ServedModel:
    return ServedModel(servable, store_id=STORE, amendments=Amendments(said, len(said)), pause=lambda: None)


@dataclass
class World:
    """A store's changes in memory, as they come in, and who asks."""

    feedback: LiveFeedback = field(default_factory=lambda: LiveFeedback(Path(), enabled=False))
    n_changes: int = 0

    def __post_init__(self) -> None:
        self.feedback.overlay = Overlay(Events.of([]), store_id=STORE, key=KEY)
        self.viewers = Viewers(self.feedback)

    def apply(self, change: Rated) -> None:
        self.n_changes += 1
        if change.item_id is None:
            self.feedback.overlay.forget(change.user_id, user_hash(KEY, change.user_id), self.n_changes)
        else:
            event = Event(change.user_id, change.item_id, change.value, change.timestamp, self.n_changes)
            self.feedback.overlay.apply([event])

    def restart(self, changes: Sequence[Rated]) -> None:
        """Read the store anew."""
        forgotten = {
            user_hash(KEY, change.user_id): number
            for number, change in enumerate(changes, start=1)
            if change.item_id is None
        }
        self.feedback.overlay = Overlay(Events.of(events_of(changes)), store_id=STORE, key=KEY, forgotten=forgotten)

    def rows(self, model: ServedModel, user_id: str) -> list[Row]:
        ratings = self.viewers.ratings(model, user_id, self.viewers.stamp(model, user_id))
        columns = zip(ratings.items.tolist(), ratings.values.tolist(), ratings.timestamps.tolist(), strict=True)
        return [(model.item_ids[item], value, at, "") for item, value, at in columns]


def dataset_of(ratings: Iterable[tuple[str, str, float, int]]) -> Dataset:
    rows = list({(user, item): (user, item, value, at) for user, item, value, at in ratings}.values())
    users = tuple(dict.fromkeys(row[0] for row in rows))
    return Dataset(
        users,
        Catalogue.bare(ITEMS),
        np.array([users.index(row[0]) for row in rows], np.int32),
        np.array([ITEMS.index(row[1]) for row in rows], np.int32),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[3] for row in rows], np.int64),
        given_scale=RatingScale(0.5, 5.0, 0.5),
    )


times, values = st.integers(0, 4), st.sampled_from((0.5, 3.0, 5.0))
file_ratings = st.tuples(st.sampled_from(USERS), st.sampled_from(ITEMS), values, times | st.just(NO_TIMESTAMP))
all_files = st.lists(file_ratings, min_size=1, max_size=10).map(dataset_of)
users, items = st.sampled_from(USERS), st.sampled_from((*ITEMS, "new"))
all_changes = st.lists(
    st.builds(Rated, users, items, values, times)
    | st.builds(Rated, users, items, st.none(), times)
    | st.builds(Rated, users),
    max_size=14,
)


@settings(deadline=None)
@given(
    files=all_files,
    changes=all_changes,
    trained_at=st.lists(st.integers(0, 14), min_size=1, max_size=2),
    is_new_known=st.booleans(),
    is_one_withdrawn=st.booleans(),
)
def test_a_history_is_that_of_everything_whatever_the_model_learned_of_it(
    files: Dataset, changes: list[Rated], trained_at: list[int], *, is_new_known: bool, is_one_withdrawn: bool
) -> None:
    """After every single change, by every model that there is by then, and by one of another store."""
    registered = (NEW,) if is_new_known else ()
    said = (*registered, GONE) if is_one_withdrawn else registered
    versions = (trained_on(files, cutoff=Cutoff(store_id="another", sequence=9)), trained_on(files))
    models = [served(version, *said) for version in versions]
    world = World()
    by_stamp: dict[tuple[int, str, int], list[Row]] = {}
    for n in range(len(changes) + 1):
        so_far = changes[:n]
        if n:
            world.apply(changes[n - 1])
        if n in trained_at and (dataset := merged(files, so_far, registered)) is not None:
            models.append(served(trained_on(dataset, cutoff=Cutoff(store_id=STORE, sequence=n)), *said))
        for user_id in USERS:
            listing = live_rows_of(files, so_far, user_id)
            known = [row for row in listing if row[0] != "new" or is_new_known]
            expected = [(item_id, value, at, "") for item_id, value, at, _ in known]
            for number, model in enumerate(models):
                stamp = world.viewers.stamp(model, user_id)
                viewer = world.viewers.find(model, user_id, stamp)
                assert expected == world.rows(model, user_id)
                assert [row[0] for row in known] == ([model.item_ids[i] for i in viewer.seen] if viewer else [])
                assert sorted(listing) == sorted(world.viewers.listing(model, user_id))
                # a kept answer is found by its stamp: two histories must never have the same
                assert expected == by_stamp.setdefault((number, user_id, stamp), expected)
        everything = merged(files, so_far, registered)
        assert _histories(everything) == {
            user_id: rows for user_id in USERS if (rows := _of(files, so_far, user_id, registered))
        }
    world.restart(changes)
    for model in [served(model.base, *said) for model in models]:
        for user_id in USERS:
            assert _of(files, changes, user_id, registered) == [row[:3] for row in world.rows(model, user_id)]


def _of(
    files: Dataset, changes: Sequence[Rated], user_id: str, registered: Sequence[ItemChange]
) -> list[tuple[str, float, int]]:
    rows = live_rows_of(files, changes, user_id)
    return [row[:3] for row in rows if row[0] != "new" or registered]


def _histories(data: Dataset | None) -> dict[str, list[tuple[str, float, int]]]:
    found: dict[str, list[tuple[str, float, int]]] = {}
    for row in data.in_history_order().tolist() if data is not None else ():
        rating = (data.catalogue.item_ids[data.items[row]], float(data.values[row]), int(data.timestamps[row]))
        found.setdefault(data.user_ids[data.users[row]], []).append(rating)
    return found


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def sample_model(served_servable: Servable) -> ServedModel:
    return ServedModel(served_servable, store_id=STORE, pause=lambda: None)


class TestStamps:
    def test_of_a_user_nobody_said_anything_of_is_nothing(self, world: World, sample_model: ServedModel) -> None:
        world.apply(Rated("somebody else", "1", 5.0))

        assert [world.viewers.stamp(sample_model, user_id) for user_id in ("1", "nobody")] == [0, 0]

    def test_of_what_was_learned_is_nothing(self, world: World) -> None:
        files = dataset_of([("ann", "a", 5.0, 1)])
        world.apply(Rated("ann", "b", 5.0))
        world.apply(Rated("bob"))

        stamps = []
        for cutoff in (0, 1, 2):
            model = served(trained_on(files, cutoff=Cutoff(store_id=STORE, sequence=cutoff)))
            stamps.append([world.viewers.stamp(model, user_id) for user_id in ("ann", "bob")])
        assert stamps == [[1, -1], [0, -1], [0, 0]]

    def test_find_works_a_viewer_out_once_for_each(self, world: World, sample_model: ServedModel) -> None:
        first = world.viewers.find(sample_model, "1", 0)
        assert world.viewers.find(sample_model, "1", 0) is first
        world.apply(Rated("1", "1", 5.0, 2**31))
        stamp = world.viewers.stamp(sample_model, "1")
        second = world.viewers.find(sample_model, "1", stamp)

        assert second is not None
        assert second is not first
        assert world.viewers.find(sample_model, "1", stamp) is second


def test_a_user_with_nothing_but_unknown_items_is_nobody(world: World, sample_model: ServedModel) -> None:
    world.apply(Rated("ann", "no such film", 5.0))
    stamp = world.viewers.stamp(sample_model, "ann")

    assert world.viewers.find(sample_model, "ann", stamp) is None
    assert world.viewers.listing(sample_model, "ann") == [("no such film", 5.0, 0, "api")]


def test_500_new_ratings_add_less_than_a_millisecond(world: World, sample_model: ServedModel) -> None:
    for n in range(500):
        world.apply(Rated("busy", str(n + 1), 4.0, n))
    world.apply(Rated("fresh", "1", 4.0))

    def best_of(user_id: str) -> float:
        stamp = world.viewers.stamp(sample_model, user_id)
        best = math.inf
        for _ in range(50):
            began = time.perf_counter()
            world.viewers.history(sample_model, user_id, stamp)
            best = min(best, time.perf_counter() - began)
        return best

    best_of("busy")  # finds where the items are
    assert best_of("busy") - best_of("fresh") < 0.001


@pytest.fixture
def eager_threads() -> Iterable[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_a_thread_may_ask_while_users_rate_and_are_forgotten(world: World, sample_model: ServedModel) -> None:
    """Batches, and the answers that are carried over to the next model, are made in threads."""
    failures: list[BaseException] = []
    enough = threading.Event()

    def until_enough(ask: Callable[[], object]) -> None:
        try:
            while not enough.is_set():
                ask()
        except BaseException as error:
            failures.append(error)

    def ask() -> None:
        history = world.viewers.history(sample_model, "ann", world.viewers.stamp(sample_model, "ann"))
        assert history is None or history.items.size <= 20

    threads = [threading.Thread(target=until_enough, args=(ask,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline and not failures:
        for n in range(20):
            world.apply(Rated("ann", str(n + 1), 4.0))
        world.apply(Rated("ann"))
    enough.set()
    for thread in threads:
        thread.join()
    assert failures == []
