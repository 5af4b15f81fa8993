import stat
import threading
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import CHANGES, FILM, NOW, OpenStore, item_numbers, numbered, put, rows, write

from recsys.datasets.events import Event
from recsys.datasets.ratings import NO_TIMESTAMP
from recsys.errors import EventConflictError, InvalidInputError
from recsys.feedback import reading, transaction
from recsys.feedback.changes import DeleteRating, ForgetUser, Outcome, PutItem, Rating, RecordShown, Shown, n_rows
from recsys.feedback.reading import FeedbackReader
from recsys.feedback.store import FeedbackStore


@given(st.lists(st.integers(-(2**31), 2**31 - 1)) | st.lists(st.integers(0, 40)))
def test_row_numbers_are_told_apart_as_numpy_does(numbers: list[int]) -> None:
    column = np.array(numbers, np.int32)
    wanted, positions = reading._distinct(column)

    expected, expected_positions = np.unique(column, return_inverse=True)
    assert (wanted.dtype, positions.dtype) == (np.int32, np.int32)
    assert (wanted.tolist(), positions.tolist()) == (expected.tolist(), expected_positions.tolist())


class TestRatings:
    def test_are_there_in_order_after_the_store_is_opened_again(self, open_store: OpenStore) -> None:
        store = open_store()
        outcome = write(store, put(Rating("ann", "7", 4.5, 100), Rating("007", "é", 0.5)))
        store.close()

        expected = [Event("ann", "7", 4.5, 100, 1), Event("007", "é", 0.5, NOW, 2)]
        assert outcome == Outcome(accepted=2, events=tuple(expected))
        assert expected == rows(open_store().events())

    def test_of_many_requests_share_a_commit_and_keep_their_order(self, store: FeedbackStore) -> None:
        write(store, put(Rating("ann", "1", 1.0)))

        written = store.write([put(Rating("ann", "1", 2.0)), DeleteRating("ann", "1"), put(Rating("bob", "1", 3.0))])

        assert (written.before, written.sequence) == (1, 4)
        assert [event.value for outcome in written.outcomes for event in outcome.events] == [2.0, None, 3.0]
        assert list(written.outcomes[0].events) == rows(store.events(1, up_to=2))

    def test_keep_any_text_and_any_time(self, store: FeedbackStore) -> None:
        outcome = write(store, put(Rating("a,b\n\0'\"", "🎬", 5.0, NO_TIMESTAMP), Rating("", "", 0.25, 2**62 + 1)))

        assert list(outcome.events) == rows(store.events())
        assert list(outcome.events) == [event for chunk in store.in_chunks() for event in chunk]

    def test_can_be_read_in_parts(self, store: FeedbackStore) -> None:
        for number in range(5):
            store.write([put(Rating(f"u{number}", "1", 1.0)), PutItem(replace(FILM, item_id=f"i{number}"))])

        part = store.events(3, up_to=8)
        assert (
            part.sequences.tolist(), part.users.tolist(), part.user_ids, part.item_ids,
        ) == ([5, 7], [0, 1], ("u2", "u3"), ("1",))  # fmt: skip
        assert store.events(10).size == 0
        assert not part.values.flags.writeable

    @pytest.mark.parametrize("chunk", [1, 7, 10, 1000])
    def test_are_read_whole_in_chunks_of_any_size(
        self, store: FeedbackStore, monkeypatch: pytest.MonkeyPatch, chunk: int
    ) -> None:
        """Also where somebody was forgotten, so that sequences are missing: some of a chunk, or all of it."""
        values = [5.0, 0.5, 3.0, 1 / 3, 4.0, -1.0, 0.0, 1e-7, 2.0**40, 1e30]
        store.write([put(*(Rating(f"u{n % 3}", f"i{n % 7}", values[n % 10], n) for n in range(40)))])
        store.write([put(*(Rating("gone", f"i{n}", 1.0, n) for n in range(25)))])
        store.write([DeleteRating("u1", "i1"), ForgetUser("gone"), ForgetUser("u2"), put(Rating("ann", "i99", 4.5, 7))])
        expected = [
            event._replace(value=None if event.value is None else float(np.float32(event.value)))
            for events in store.in_chunks()
            for event in events
        ]
        monkeypatch.setattr(reading, "_CHUNK", chunk)

        assert len(expected) == 40 - 13 + 2
        assert expected == rows(store.events())
        assert expected[3:17] == rows(store.events(expected[2].sequence, up_to=expected[16].sequence))

    def test_in_chunks_agree_with_the_columns(self, store: FeedbackStore) -> None:
        store.write([put(*(Rating(f"u{n % 3}", f"i{n % 7}", 1.0 + n % 5, n) for n in range(50)))])
        store.write([DeleteRating("u1", "i1")])

        assert rows(store.events()) == [event for chunk in store.in_chunks(size=7) for event in chunk]

    def test_are_read_whole_where_numbers_are_missing(self, store: FeedbackStore) -> None:
        """Forgetting leaves gaps, here longer than what is read at once."""
        store.write([put(Rating("first", "1", 1.0)), put(*(Rating("gone", str(n), 1.0) for n in range(12_000)))])
        store.write([ForgetUser("gone"), put(Rating("last", "1", 2.0))])

        assert store.events().sequences.tolist() == [1, 12_003]


class TestResending:
    def test_the_same_event_again_is_counted_as_a_duplicate(self, store: FeedbackStore) -> None:
        first = put(Rating("ann", "1", 4.0, 100, "e1"), Rating("ann", "2", 4.0, None, "e2"))
        store.write([first])

        again = write(
            store, put(*first.ratings, Rating("ann", "3", 1.0, 100, "e3"), Rating("ann", "3", 1.0, 100, "e3"))
        )

        assert (again.accepted, again.duplicates) == (1, 3)
        assert [event.item_id for event in rows(store.events())] == ["1", "2", "3"]

    def test_an_event_without_a_time_may_arrive_later_again(self, open_store: OpenStore) -> None:
        open_store().write([put(Rating("ann", "1", 4.0, None, "e1"))])
        later = FeedbackStore(open_store().path.parent, clock=lambda: NOW + 60)

        assert write(later, put(Rating("ann", "1", 4.0, None, "e1"))).duplicates == 1
        later.close()

    @pytest.mark.parametrize(
        "other",
        [
            Rating("bob", "1", 4.0, 100, "e1"),
            Rating("ann", "2", 4.0, 100, "e1"),
            Rating("ann", "1", 3.0, 100, "e1"),
            Rating("ann", "1", 4.0, 101, "e1"),
        ],
    )
    def test_another_rating_under_the_same_id_is_refused_and_hurts_nobody_else(
        self, store: FeedbackStore, other: Rating
    ) -> None:
        store.write([put(Rating("ann", "1", 4.0, 100, "e1"))])

        before, refused, after = store.write(
            [put(Rating("x", "1", 1.0)), put(Rating("new", "new", 1.0), other), put(Rating("y", "1", 2.0))]
        ).outcomes

        assert isinstance(refused.error, EventConflictError)
        assert [problem.where for problem in refused.error.problems] == ["body.ratings[1].event_id"]
        assert (refused.accepted, refused.events) == (0, ())
        assert (before.accepted, after.accepted) == (1, 1)
        assert [(event.user_id, event.sequence) for event in rows(store.events())] == [("ann", 1), ("x", 2), ("y", 3)]

    def test_is_seen_within_a_commit_too(self, store: FeedbackStore) -> None:
        rating = Rating("ann", "1", 4.0, 100, "e1")

        outcomes = store.write(
            [put(rating), put(rating), put(Rating("ann", "1", 2.0, 100, "e1")), put(Rating("bob", "1", 2.0, 100, "e2"))]
        ).outcomes

        assert [(outcome.accepted, outcome.duplicates) for outcome in outcomes] == [(1, 0), (0, 1), (0, 0), (1, 0)]
        assert isinstance(outcomes[2].error, EventConflictError)
        assert [event.user_id for event in rows(store.events())] == ["ann", "bob"]

    def test_what_was_refused_did_not_use_its_id_up(self, store: FeedbackStore) -> None:
        store.write([put(Rating("ann", "1", 4.0, 100, "e1"))])

        refused, kept = store.write(
            [
                put(Rating("bob", "1", 2.0, 100, "e2"), Rating("ann", "1", 1.0, 100, "e1")),
                put(Rating("eve", "1", 3.0, 100, "e2")),
            ]
        ).outcomes

        assert isinstance(refused.error, EventConflictError)
        assert [event.user_id for event in kept.events] == ["eve"]


@pytest.mark.parametrize("n_changes", [1, 2, 63, 64, 65, 200])
def test_any_number_of_ratings_in_a_commit_finds_the_users_and_items_there_are(
    store: FeedbackStore, n_changes: int
) -> None:
    ratings = [Rating(f"user {n % 50}", f"item {n % 70}", 1.0 + n % 5, 100 + n, f"event {n}") for n in range(400)]
    store.write([put(rating) for rating in ratings[:150]])
    new = ratings[100 : 100 + n_changes]  # some of them came before

    outcomes = store.write([put(rating) for rating in new]).outcomes

    assert [outcome.duplicates for outcome in outcomes] == [int(n < 50) for n in range(n_changes)]
    expected = ratings[: max(150, 100 + n_changes)]
    assert [(e.user_id, e.item_id, e.value, e.timestamp) for e in rows(store.events())] == [
        (rating.user_id, rating.item_id, rating.value, rating.timestamp) for rating in expected
    ]


@pytest.mark.parametrize(
    "rating",
    [
        Rating("half \ud800", "1", 1.0),
        Rating("ann", "half \ud800", 1.0),
        Rating("ann", "1", 1.0, 2**63),
        Rating("ann", "1", float("nan")),
        Rating("ann", "1", 1.0, 1, "half \ud800"),
    ],
)
def test_what_cannot_be_stored_fails_alone_and_leaves_nothing(store: FeedbackStore, rating: Rating) -> None:
    refused, kept = store.write([put(Rating("new", "new", 1.0), rating), put(Rating("new", "new", 2.0))]).outcomes

    assert isinstance(refused.error, InvalidInputError)
    assert [Event("new", "new", 2.0, NOW, 1)] == list(kept.events) == rows(store.events())


class TestItems:
    def test_the_last_word_counts(self, store: FeedbackStore) -> None:
        second = replace(FILM, year=None, genres=(), withdrawn=True)
        outcome = write(store, PutItem(FILM))
        store.write([put(Rating("ann", "900", 5.0)), PutItem(second)])

        assert outcome.item == replace(FILM, sequence=1)
        assert (replace(second, sequence=3),) == store.items()
        assert ((), (replace(second, sequence=3),)) == (store.changes(0, up_to=2).items, store.changes(2).items)


class TestShown:
    def test_is_counted_once_for_each_answer_kind_and_item(self, store: FeedbackStore) -> None:
        def shown(kind: str, item_id: str, answer: str = "r1") -> Shown:
            return Shown(answer, kind, item_id, "v1.0.0", "blended")

        first = write(store, RecordShown((shown("impression", "1"), shown("impression", "2"), shown("click", "1"))))
        again = write(store, RecordShown((shown("click", "1"), shown("click", "1", "r2"), shown("click", "1", "r2"))))

        assert (first.accepted, first.duplicates, again.accepted, again.duplicates) == (3, 0, 1, 2)
        assert (shown("click", "1", "r2"),) == again.shown
        counts = {("v1.0.0", "blended", "impression"): 2, ("v1.0.0", "blended", "click"): 2}
        assert counts == store.shown_counts()
        assert store.sequence == 0

    def test_only_the_latest_are_remembered(self, store: FeedbackStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transaction, "_SHOWN_KEPT", 10)
        for number in range(30):
            store.write([RecordShown((Shown(f"r{number}", "click", "1", "v1.0.0", "popular"),))])

        def again(number: int) -> int:
            return write(store, RecordShown((Shown(f"r{number}", "click", "1", "v1.0.0", "popular"),))).duplicates

        assert [again(29), again(20), again(19)] == [1, 1, 0]


def test_work_is_counted_in_rows() -> None:
    assert [
        n_rows(change) for change in (numbered(range(3)), DeleteRating("a", "b"), ForgetUser("a"), PutItem(FILM))
    ] == [3, 1, 1, 1]


def test_the_files_are_for_their_owner_only_and_the_name_and_key_stay(open_store: OpenStore) -> None:
    store = open_store()
    store.write([numbered(range(3))])
    reader = FeedbackReader(store.path)
    assert reader.events().size == 3

    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
    assert files == dict.fromkeys(("feedback.sqlite", "feedback.sqlite-wal", "feedback.sqlite-shm"), 0o600)
    assert (len(store.store_id), len(store.key)) == (32, 32)
    assert (store.store_id, store.key) == (reader.store_id, reader.key)
    assert store.key.hex() not in repr(store.identity())


def test_another_directory_is_another_store(open_store: OpenStore, tmp_path: Path) -> None:
    here, there = open_store(), open_store(tmp_path / "other")

    assert here.store_id != there.store_id
    assert here.key != there.key


def test_changes_come_as_of_one_moment_and_in_parts(store: FeedbackStore) -> None:
    store.write([put(Rating("ann", "1", 1.0)), PutItem(FILM), put(Rating("bob", "1", 2.0)), ForgetUser("ann")])

    first, rest = store.changes(0, most=2), store.changes(2)
    assert (first.sequence, rest.sequence) == (2, 4)
    assert (rows(first.events), [item.item_id for item in first.items], first.forgotten) == ([], ["900"], ())
    assert (
        [event.user_id for event in rows(rest.events)], rest.items, [user.sequence for user in rest.forgotten],
    ) == (["bob"], (), [4])  # fmt: skip
    assert (store.changes(9).sequence, store.changes(9).events.size) == (9, 0)


def test_threads_may_share_a_store(store: FeedbackStore) -> None:
    def work(start: int) -> None:
        for number in range(start, start + 20):
            store.write([numbered([number])])
            store.changes(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [*range(20), *range(100, 120), *range(200, 220)] == sorted(item_numbers(store))
    assert list(range(1, 61)) == store.events().sequences.tolist()


def test_what_is_kept_is_looked_up_by_index_however_much_there_is(store: FeedbackStore) -> None:
    store.write([put(Rating("ann", "1", 4.0, event_id="a"))])
    with store.transaction() as held:
        statements = (
            transaction._KNOWN_EVENTS.replace("?", "'[]'"),
            *transaction.KNOW,
            transaction.KEEP_EVENTS.format("0"),
        )
        plans = [row[3] for text in statements for row in held.db.execute(f"EXPLAIN QUERY PLAN {text}")]

    once = "SCAN json_each VIRTUAL TABLE INDEX 1:"
    assert {"SCAN incoming", once} == {step for step in plans if step.startswith("SCAN")}
    assert (len(statements), 1) == (plans.count("SCAN incoming"), plans.count(once))


class Model:
    """What the store should hold: the live ratings, and the events that led to them."""

    def __init__(self) -> None:
        self.live: dict[tuple[str, str], tuple[float, int]] = {}
        self.by_event_id: dict[str, Rating] = {}

    def apply(self, change: object) -> None:
        match change:
            case DeleteRating(user_id, item_id):
                self.live.pop((user_id, item_id), None)
            case ForgetUser(user_id):
                self.live = {key: value for key, value in self.live.items() if key[0] != user_id}
                self.by_event_id = {
                    key: rating for key, rating in self.by_event_id.items() if rating.user_id != user_id
                }
            case PutItem():
                pass
            case _:
                self.put(change.ratings)  # type: ignore[attr-defined]

    def put(self, ratings: tuple[Rating, ...]) -> None:
        seen = dict(self.by_event_id)
        fresh = []
        for rating in ratings:
            if rating.event_id is not None and seen.setdefault(rating.event_id, rating) is not rating:
                if seen[rating.event_id] != rating:
                    return
                continue
            fresh.append(rating)
        self.by_event_id = seen
        for rating in fresh:
            rate(self.live, rating.user_id, rating.item_id, rating.value, rating.timestamp or 0)


def rate(live: dict[tuple[str, str], tuple[float, int]], user: str, item: str, value: float | None, time: int) -> None:
    """The rule of the last rating: a deletion always counts, a rating unless it is older than what is live."""
    if value is None:
        live.pop((user, item), None)
    elif (user, item) not in live or time >= live[user, item][1]:
        live[user, item] = (value, time)


@settings(max_examples=60, deadline=None)
@given(groups=st.lists(st.lists(CHANGES, min_size=1, max_size=5), max_size=8))
def test_events_gone_through_in_order_give_the_live_ratings(groups: list[list[object]]) -> None:
    model = Model()
    with TemporaryDirectory() as directory:
        store = FeedbackStore(Path(directory), clock=lambda: NOW)
        store.open()
        for group in groups:
            store.write(group)
            for change in group:
                model.apply(change)
        found: dict[tuple[str, str], tuple[float, int]] = {}
        events = rows(store.events())
        for event in events:
            rate(found, event.user_id, event.item_id, event.value, event.timestamp)
        store.close()

    assert model.live == found
    assert sorted({event.sequence for event in events}) == [event.sequence for event in events]
