"""The indexes follow in bulk: whether an event has settled or not, it is found, and once."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import CHANGES, NOW, OpenStore, check_indexes, put, rows, settled, write

from recsys.errors import EventConflictError
from recsys.feedback import indexes
from recsys.feedback.changes import ForgetUser, PutRatings, Rating
from recsys.feedback.database import wal_bytes
from recsys.feedback.exporting import live_ratings
from recsys.feedback.importing import Imported, import_ratings
from recsys.feedback.store import FeedbackStore

PAGE = 4096


@contextmanager
def waiting(n: int) -> Iterator[None]:
    """Have a merge begin when so many events wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexes, "_WAITING", n)
        yield


def named(numbers: range, *, value: float = 3.0) -> list[PutRatings]:
    return [put(Rating(f"user{n % 7}", f"item{n}", value, 1000 + n, f"event {n}")) for n in numbers]


def test_a_merge_begins_when_enough_wait_and_is_over_before_as_many_wait_again(store: FeedbackStore) -> None:
    steps = []
    with waiting(100):
        for n in range(600):
            store.write(named(range(n, n + 1)))
            steps.append(n + 1 - settled(store))
            check_indexes(store)

    assert [*range(1, 100)] == steps[:99]
    assert max(steps) < 200
    assert settled(store) >= 400


@pytest.mark.parametrize("n_before", [50, 100, 120, 149, 150, 260])
def test_an_event_is_known_again_before_during_and_after_a_merge(open_store: OpenStore, n_before: int) -> None:
    with waiting(100):
        store = open_store()
        for n in range(n_before):
            store.write(named(range(n, n + 1)))
        for again in (store, open_store()):  # as after a restart, too
            written = again.write([*named(range(n_before)), *named(range(1), value=1.0)])
            assert [0] * n_before == [outcome.accepted for outcome in written.outcomes[:-1]]
            assert isinstance(written.outcomes[-1].error, EventConflictError)
    assert n_before == store.sequence == store.events().size


def test_what_another_process_wrote_is_known_again(open_store: OpenStore) -> None:
    """Each has a merge of its own under way."""
    one, other = open_store(), open_store()
    with waiting(50):
        for n in range(0, 400, 2):
            one.write(named(range(n, n + 1)))
            outcomes = other.write(named(range(n + 1, n - 1, -1))).outcomes
            assert [outcome.accepted for outcome in outcomes] == [1, 0]
            check_indexes(one)
    assert one.events().size == 400
    assert settled(one) > 300


def test_names_are_kept_until_they_have_settled_by_whomever(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    with waiting(10**9):
        for n in range(50):
            one.write(named(range(n, n + 1)))
            with other.transaction() as transaction:
                transaction.indexes.settle(transaction.sequence)
        with one.transaction() as transaction:
            assert transaction.indexes._recent == {}
    assert [outcome.duplicates for outcome in one.write(named(range(50))).outcomes] == [1] * 50


def test_after_a_failure_the_merge_begins_anew(store: FeedbackStore) -> None:
    with waiting(100):
        for n in range(110):
            store.write(named(range(n, n + 1)))
        with pytest.raises(OverflowError):
            fail_in_the_end(store, named(range(110, 160)))
        assert (settled(store), store.events().size) == (0, 110)
        for n in range(200):
            outcome = write(store, named(range(n, n + 1))[0])
            assert outcome.accepted == (n >= 110)
            check_indexes(store)
    assert settled(store) >= 110


def fail_in_the_end(store: FeedbackStore, changes: list[PutRatings]) -> None:
    with store.transaction() as transaction:
        transaction.apply(changes)
        transaction.sequence = 2**63  # more than can be written


def test_a_group_of_ratings_changes_few_pages(store: FeedbackStore) -> None:
    """Kept with each rating, the indexes would change three pages for each."""
    size, n_groups = 16, 500
    n_users, spread = 997, 7919
    with waiting(2000), closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
        store.write([put(*(Rating(f"u{n}", f"i{n}", 3.0) for n in range(n_users)))])
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()  # the log is not begun anew while somebody reads
        before = wal_bytes(store.path)
        for group in range(n_groups):
            numbers = [spread * n for n in range(group * size, (group + 1) * size)]
            store.write([put(Rating(f"u{n % n_users}", f"i{n % 499}", 3.0, n, f"e{n}")) for n in numbers])

    assert settled(store) > 4000
    assert (wal_bytes(store.path) - before) / n_groups < 12 * PAGE


class TestForgetting:
    @pytest.mark.parametrize("n_before", [50, 120, 149, 260])
    def test_takes_a_user_out_of_both_indexes(self, store: FeedbackStore, n_before: int) -> None:
        with waiting(100):
            for n in range(n_before):
                store.write(named(range(n, n + 1)))
            write(store, ForgetUser("user3"))
            check_indexes(store)
            assert "user3" not in store.events().user_ids

            # the names of what was forgotten are free again; by them the merge goes on to its end
            for n in range(n_before + 200):
                assert (n % 7 == 3 or n >= n_before) == write(store, named(range(n, n + 1))[0]).accepted
                check_indexes(store)
        assert settled(store) > n_before

    def test_by_another_process_does_not_come_back_by_a_merge(self, open_store: OpenStore) -> None:
        service, other = open_store(), open_store()
        with waiting(100):
            service.write(named(range(99)))
            service.write(named(range(99, 100)))  # the merge has begun, and has not come far
            assert settled(service) == 0
            write(other, ForgetUser("user3"))
            for n in range(100, 200):
                service.write(named(range(n, n + 1)))
        check_indexes(service)
        assert settled(service) >= 100


def test_an_import_settles_what_it_looks_for(store: FeedbackStore) -> None:
    ratings = [(f"user{n % 7}", f"item{n}", 3.0, 1000 + n) for n in range(300)]
    with waiting(100):
        store.write(named(range(120)))
        assert import_ratings(store, ratings) == Imported(rows=300, added=180, duplicates=120)
        assert settled(store) >= 120
        assert import_ratings(store, ratings) == Imported(rows=300, duplicates=300)
        check_indexes(store)


STEPS = st.one_of(st.lists(CHANGES, min_size=1, max_size=4), st.just("restart"), st.just("import"))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 12), steps=st.lists(STEPS, max_size=14))
def test_nothing_depends_on_how_far_they_are(n: int, steps: list[object]) -> None:
    """Beside a store whose events never settle, the same is accepted, kept and exported."""
    with TemporaryDirectory() as directory:
        stores = [FeedbackStore(Path(directory) / name, clock=lambda: NOW) for name in ("merging", "waiting")]
        for step in steps:
            found = []
            for store, wait in zip(stores, (n, 10**9), strict=True):
                with waiting(wait):
                    found.append(_done(store, step))
                check_indexes(store) if store.path.exists() else None
            assert found[0] == found[1]
        for store in stores:
            store.close()


def _done(store: FeedbackStore, step: object) -> object:
    match step:
        case "restart":
            store.close()
            return None
        case "import":
            said: object = import_ratings(store, [("a", "x", 5.0, 1), ("b", "z", None, 2), ("a", "x", 5.0, None)])
        case _:
            said = [(one.accepted, one.duplicates, type(one.error)) for one in store.write(step).outcomes]  # type: ignore[arg-type]
    exported = [rating for page in live_ratings(store.path) for rating in page.ratings]
    return said, rows(store.events()), exported
