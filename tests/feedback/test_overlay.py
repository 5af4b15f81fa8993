"""The overlay against a plain dictionary of lists, and a model with its overlay against a training on everything."""

import hmac
import threading
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.datasets.events import Event, Events, UserEvents, UserRatings
from recsys.datasets.merge import merge_dataset, merge_history
from recsys.datasets.ratings import NO_TIMESTAMP, Catalogue, Dataset
from recsys.errors import DataError
from recsys.feedback.overlay import Overlay, user_hash

Row = tuple[str, float | None, int]

KEY = b"k" * 32
USERS, ITEMS = ("ann", "bob", "cat"), ("a", "b", "c", "d")


def overlay_of(events: Sequence[Event] = (), forgotten: dict[str, int] | None = None) -> Overlay:
    hashes = {user_hash(KEY, user): sequence for user, sequence in (forgotten or {}).items()}
    return Overlay(Events.of(events), store_id="this store", key=KEY, forgotten=hashes)


def rows(overlay: Overlay, change: UserEvents | UserRatings) -> list[Row]:
    """Item, value (None: taken back) and time of each event or rating."""
    columns = zip(change.items.tolist(), change.values.tolist(), change.timestamps.tolist(), strict=True)
    return [(overlay.item_ids[item], None if value != value else value, time) for item, value, time in columns]


def rated(user: str, item: str, value: float | None, time: int, sequence: int) -> Event:
    return Event(user, item, value, time, sequence)


_FOUR = (
    rated("ann", "a", 4.0, 100, 1),
    rated("bob", "a", 3.0, 100, 2),
    rated("ann", "b", 2.5, 90, 5),
    rated("ann", "a", None, 110, 7),
)


class TestQuestions:
    @pytest.fixture(params=["built", "applied", "half and half", "extended"])
    def overlay(self, request: pytest.FixtureRequest) -> Overlay:
        n_built = {"built": 4, "applied": 0, "half and half": 2, "extended": 2}[request.param]
        overlay = overlay_of(_FOUR[:n_built])
        if request.param == "extended":
            overlay.extend(Events.of(_FOUR[n_built:]))
        else:
            overlay.apply(_FOUR[n_built:])
        return overlay

    def test_the_newest_event_of_a_user(self, overlay: Overlay) -> None:
        assert tuple(map(overlay.latest, ("ann", "bob", "nobody"))) == (7, 2, 0)

    @pytest.mark.parametrize(
        ("after", "expected"),
        [
            (0, [("a", 4.0, 100), ("b", 2.5, 90), ("a", None, 110)]),
            (1, [("b", 2.5, 90), ("a", None, 110)]),
            (4, [("b", 2.5, 90), ("a", None, 110)]),
            (5, [("a", None, 110)]),
            (7, []),
            (99, []),
        ],
    )
    def test_what_is_newer_than_a_cutoff(self, overlay: Overlay, after: int, expected: list[Row]) -> None:
        assert expected == rows(overlay, overlay.of_user("ann", after))

    def test_nothing_of_a_stranger(self, overlay: Overlay) -> None:
        assert rows(overlay, overlay.of_user("nobody")) == []
        assert rows(overlay, overlay.live_of_user("nobody")) == []

    def test_what_stands_by_feedback_alone(self, overlay: Overlay) -> None:
        assert rows(overlay, overlay.live_of_user("ann")) == [("b", 2.5, 90)]

    def test_how_much_there_is_and_of_what(self, overlay: Overlay) -> None:
        assert (overlay.n_events, overlay.sequence, overlay.store_id) == (4, 7, "this store")

    def test_in_the_columns_that_merging_takes(self, overlay: Overlay) -> None:
        change = overlay.of_user("ann")

        columns = (change.items, change.values, change.timestamps)
        assert [column.dtype for column in columns] == [np.dtype(np.int32), np.dtype(np.float32), np.dtype(np.int64)]

    def test_in_the_numbers_of_a_model(self, overlay: Overlay) -> None:
        assert overlay.of_user("ann").renumbered(overlay.item_ids, {"z": 0, "a": 12}).items.tolist() == [12, -1, 12]


class TestApplying:
    def test_counts_in_the_very_next_answer(self) -> None:
        overlay = overlay_of(_FOUR)

        overlay.apply([rated("ann", "new", 5.0, 120, 8), rated("zoe", "a", 1.0, 121, 9)])

        assert rows(overlay, overlay.of_user("ann", 7)) == [("new", 5.0, 120)]
        assert rows(overlay, overlay.of_user("zoe")) == [("a", 1.0, 121)]

    def test_passes_over_what_the_snapshot_already_had(self) -> None:
        """At start a rating may come in while the overlay is built."""
        overlay = overlay_of(_FOUR)

        overlay.apply([*_FOUR[2:], rated("bob", "b", 1.0, 120, 8)])

        assert (overlay.n_events, overlay.sequence) == (5, 8)
        assert rows(overlay, overlay.of_user("ann", 1)) == [("b", 2.5, 90), ("a", None, 110)]

    def test_of_many_at_once_passes_over_them_too(self) -> None:
        overlay = overlay_of(_FOUR)

        overlay.extend(Events.of([*_FOUR[2:], rated("bob", "b", 1.0, 120, 8)]))

        assert (overlay.n_events, overlay.sequence) == (5, 8)
        assert rows(overlay, overlay.of_user("ann", 1)) == [("b", 2.5, 90), ("a", None, 110)]

    def test_leaves_what_was_asked_before_as_it_was(self) -> None:
        overlay = overlay_of(_FOUR)
        before = overlay.of_user("ann", 5)

        overlay.apply([rated("ann", "c", 5.0, 120, 8)])

        assert rows(overlay, before) == [("a", None, 110)]

    def test_never_numbers_an_item_anew(self) -> None:
        overlay = overlay_of(_FOUR)
        before = list(overlay.item_ids)

        overlay.apply([rated("ann", "c", 5.0, 120, 8)])
        overlay.forget("ann", user_hash(KEY, "ann"), 9)
        overlay.apply([rated("ann", "b", 5.0, 120, 10)])

        assert [*before, "c"] == overlay.item_ids


class TestForgetting:
    def test_drops_every_event_of_the_user_and_of_nobody_else(self) -> None:
        overlay = overlay_of(_FOUR)

        overlay.forget("ann", user_hash(KEY, "ann"), 8)

        assert (overlay.latest("ann"), rows(overlay, overlay.of_user("ann")), overlay.n_events) == (0, [], 1)
        assert rows(overlay, overlay.of_user("bob")) == [("a", 3.0, 100)]
        assert [block.items.size for block in overlay.blocks()] == [1]

    def test_silences_models_from_before_it_and_none_from_after(self) -> None:
        overlay = overlay_of(_FOUR)

        overlay.forget("ann", user_hash(KEY, "ann"), 8)

        assert [overlay.is_silenced("ann", cutoff) for cutoff in (0, 7, 8, 9)] == [True, True, False, False]
        assert not overlay.is_silenced("bob", 0)

    def test_of_earlier_days_is_known_from_the_start(self) -> None:
        overlay = overlay_of(_FOUR[:2], forgotten={"ann": 8, "zoe": 3})

        assert [overlay.is_silenced("ann", cutoff) for cutoff in (7, 8)] == [True, False]
        assert [overlay.is_silenced("zoe", cutoff) for cutoff in (2, 3)] == [True, False]
        assert overlay.sequence == 8

    def test_lets_new_ratings_count_as_usual(self) -> None:
        overlay = overlay_of(_FOUR)
        overlay.forget("ann", user_hash(KEY, "ann"), 8)

        overlay.apply([rated("ann", "d", 1.0, 5, 9)])

        assert rows(overlay, overlay.of_user("ann")) == [("d", 1.0, 5)]
        assert overlay.is_silenced("ann", 7)

    def test_leaves_what_the_user_gave_after_it_even_if_that_is_heard_of_first(self) -> None:
        overlay = overlay_of([*_FOUR, rated("ann", "d", 1.0, 5, 9)])

        overlay.forget("ann", user_hash(KEY, "ann"), 8)

        assert (rows(overlay, overlay.of_user("ann")), overlay.n_events) == ([("d", 1.0, 5)], 2)

    def test_by_another_process_finds_the_user_by_the_hash(self) -> None:
        overlay = overlay_of(_FOUR)

        overlay.forget(None, user_hash(KEY, "ann"), 8)
        overlay.forget(None, user_hash(KEY, "nobody"), 9)

        assert (overlay.latest("ann"), overlay.latest("bob"), overlay.n_events) == (0, 2, 1)
        assert [overlay.is_silenced(user, 0) for user in ("ann", "nobody", "bob")] == [True, True, False]

    def test_of_somebody_without_events_silences_too(self) -> None:
        overlay = overlay_of()

        overlay.forget("from the files", user_hash(KEY, "from the files"), 1)

        assert overlay.is_silenced("from the files", 0)

    def test_keeps_a_hash_that_does_not_tell_the_id_without_the_key(self) -> None:
        assert user_hash(KEY, "ann") != user_hash(b"another", "ann")
        for key in (KEY, bytes(range(64))):
            assert hmac.digest(key, "Zoë".encode(), "sha256") == user_hash(key, "Zoë")

    def test_costs_no_hash_while_nobody_was_forgotten_since_the_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        overlay = overlay_of(_FOUR, forgotten={"zoe": 3})
        monkeypatch.setattr("recsys.feedback.overlay.user_hash", lambda key, user: pytest.fail("hashed"))

        assert not overlay.is_silenced("ann", 3)


def test_a_user_of_whom_the_store_has_the_id_alone_is_a_stranger() -> None:
    events = Events.of(_FOUR)
    shifted = replace(events, users=events.users + np.int32(1), user_ids=("before", *events.user_ids, "after"))
    overlay = Overlay(shifted, store_id="", key=KEY)

    assert [overlay.latest(user) for user in ("before", "ann", "bob", "after")] == [0, 7, 2, 0]
    assert overlay.of_user("before").items.size == 0


def test_holds_an_event_in_a_few_bytes() -> None:
    n_events, n_users = 100_000, 5_000
    rng = np.random.default_rng(0)
    events = Events(
        rng.integers(0, n_users, n_events).astype(np.int32),
        rng.integers(0, 1000, n_events).astype(np.int32),
        np.full(n_events, 3, np.float32),
        np.arange(n_events),
        np.arange(1, n_events + 1),
        tuple(f"user {user}" for user in range(n_users)),
        tuple(map(str, range(1000))),
    )

    tracemalloc.start()
    try:
        overlay = Overlay(events, store_id="", key=KEY)
        held, at_most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert overlay.n_events == n_events
    assert held < 24 * n_events + 250 * n_users + 200_000
    assert at_most < 60 * n_events


def test_blocks_hold_each_user_whole_and_once() -> None:
    events = [rated(f"user {number % 700}", ITEMS[number % 4], 3.0, number, number) for number in range(1, 60_001)]
    overlay = overlay_of(events)

    blocks = list(overlay.blocks())

    assert len(blocks) > 1
    times = [block.timestamps[block.users == user] for block in blocks for user in range(int(block.users.max()) + 1)]
    assert len(times) == 700
    assert sorted(map(tuple, times)) == sorted(tuple(range(first or 700, 60_001, 700)) for first in range(700))


def test_blocks_can_be_read_by_a_thread_while_events_come_in() -> None:
    """Each user's events are seen up to some moment: their times count 0, 1, 2, … without a gap."""
    overlay, problems, done = overlay_of(), [], threading.Event()

    def read() -> None:
        while not done.is_set():
            for block in overlay.blocks():
                starts = np.searchsorted(block.users, np.arange(len(USERS)))
                place = np.arange(block.users.size) - starts[block.users] if block.users.size else block.users
                if not np.array_equal(place, block.timestamps):
                    problems.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(30_000):
            user = USERS[number % len(USERS)]
            overlay.apply([rated(user, "a", 3.0, number // len(USERS), number + 1)])
    finally:
        done.set()
        reader.join(10)

    assert problems == []
    assert overlay.n_events == 30_000


#: What happens in a store: a rating or its taking back, or a user who is forgotten (an event without an item).
_happenings = st.lists(
    st.builds(
        Event,
        st.sampled_from(USERS),
        st.sampled_from(ITEMS) | st.just(""),
        st.none() | st.integers(1, 5).map(float),
        st.integers(0, 3),
        st.just(0),
    ),
    max_size=40,
).map(lambda events: [event._replace(sequence=2 * number + 1) for number, event in enumerate(events)])


class Store:
    """What a store holds after some happenings, as plain lists."""

    def __init__(self, happenings: Iterable[Event]) -> None:
        self.events: list[Event] = []
        self.forgotten: dict[str, int] = {}
        self.sequence = 0
        for event in happenings:
            if event.item_id:
                self.events.append(event)
            else:
                self.events = [kept for kept in self.events if kept.user_id != event.user_id]
                self.forgotten[event.user_id] = event.sequence
            self.sequence = event.sequence

    def of_user(self, user: str, after: int = 0) -> list[Event]:
        return [event for event in self.events if event.user_id == user and event.sequence > after]


def overlay_after(happenings: Sequence[Event], n_built: int) -> Overlay:
    """An overlay that was built from the first happenings and told of the others."""
    start = Store(happenings[:n_built])
    overlay = overlay_of(start.events, start.forgotten)
    for number, event in enumerate(happenings[n_built:]):
        known_by_id = number % 2 == 0
        if not event.item_id:
            overlay.forget(event.user_id if known_by_id else None, user_hash(KEY, event.user_id), event.sequence)
        elif known_by_id:
            overlay.apply([event])
        else:
            overlay.extend(Events.of([event]))
    return overlay


@given(_happenings, st.integers(0, 40), st.integers(0, 80))
def test_answers_as_plain_lists_do_whenever_it_was_built(happenings: list[Event], n_built: int, after: int) -> None:
    store, overlay = Store(happenings), overlay_after(happenings, n_built)

    for user in USERS:
        own = [(event.item_id, event.value, event.timestamp) for event in store.of_user(user, after)]
        assert own == rows(overlay, overlay.of_user(user, after))
        assert max((event.sequence for event in store.of_user(user)), default=0) == overlay.latest(user)
        assert (store.forgotten.get(user, 0) > after) is overlay.is_silenced(user, after)
    assert (len(store.events), store.sequence) == (overlay.n_events, overlay.sequence)
    held = sorted((event.timestamp, event.value or 0) for event in store.events)
    found = [pair for block in overlay.blocks() for pair in zip(block.timestamps, block.values, strict=True)]
    assert held == sorted((int(time), 0 if np.isnan(value) else float(value)) for time, value in found)


_files = st.lists(
    st.tuples(
        st.sampled_from(USERS), st.sampled_from(ITEMS), st.integers(1, 5).map(float), st.none() | st.integers(0, 3)
    ),
    min_size=1,
    max_size=10,
    unique_by=lambda row: row[:2],
)


def trained(files: list[tuple[str, str, float, int | None]], store: Store) -> dict[str, list[Row]]:
    """Every user's history in a model that was trained on the files and a store."""
    dataset = Dataset(
        USERS,
        Catalogue.bare(ITEMS),
        np.array([USERS.index(user) for user, _, _, _ in files], np.int32),
        np.array([ITEMS.index(item) for _, item, _, _ in files], np.int32),
        np.array([value for _, _, value, _ in files], np.float32),
        np.array([NO_TIMESTAMP if time is None else time for _, _, _, time in files], np.int64),
    )
    try:
        merged = merge_dataset(dataset, Events.of(store.events), silenced=store.forgotten.__contains__)
    except DataError:
        return {}
    found: dict[str, list[Row]] = {}
    for row in merged.in_history_order().tolist():
        item, value, time = ITEMS[merged.items[row]], float(merged.values[row]), int(merged.timestamps[row])
        found.setdefault(merged.user_ids[merged.users[row]], []).append((item, value, time))
    return found


@given(_files, _happenings, st.integers(0, 40), st.integers(0, 40))
def test_a_model_of_any_age_answers_as_one_trained_on_everything(
    files: list[tuple[str, str, float, int | None]], happenings: list[Event], n_trained: int, n_built: int
) -> None:
    before, overlay = Store(happenings[:n_trained]), overlay_after(happenings, n_built)
    model = trained(files, before)

    def history(user: str) -> list[Row]:
        old = [] if overlay.is_silenced(user, before.sequence) else model.get(user, [])
        merged = merge_history(
            np.array([ITEMS.index(item) for item, _, _ in old], np.int32),
            np.array([value for _, value, _ in old], np.float32),
            np.array([time for _, _, time in old], np.int64),
            overlay.of_user(user, before.sequence).renumbered(
                overlay.item_ids, {item: n for n, item in enumerate(ITEMS)}
            ),
        )
        columns = zip(merged.items.tolist(), merged.values.tolist(), merged.timestamps.tolist(), strict=True)
        return [(ITEMS[item], value, time) for item, value, time in columns]

    expected = trained(files, Store(happenings))
    assert {user: expected.get(user, []) for user in USERS} == {user: history(user) for user in USERS}


@given(_files, _happenings)
def test_a_rating_is_from_feedback_if_feedback_alone_has_it_at_that_time(
    files: list[tuple[str, str, float, int | None]], happenings: list[Event]
) -> None:
    """How the source of a rating can be told, though a model's history mixes both."""
    overlay, store = overlay_after(happenings, 0), Store(happenings)
    marked = Store(event._replace(value=event.value and event.value + 10) for event in happenings)

    for user, history in trained(files, store).items():
        from_feedback = {(item, time) for item, _, time in rows(overlay, overlay.live_of_user(user))}
        came_in = [value is not None and value > 10 for _, value, _ in trained(files, marked)[user]]
        assert came_in == [(item, time) in from_feedback for item, _, time in history]
