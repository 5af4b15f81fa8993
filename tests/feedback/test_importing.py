import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import NOW, OpenStore, numbered, put, rows

from recsys.datasets.events import Event
from recsys.errors import FeedbackUnavailableError, InvalidInputError
from recsys.feedback import importing
from recsys.feedback.changes import DeleteRating, ForgetUser, Rating
from recsys.feedback.importing import Imported, Row, import_ratings
from recsys.feedback.store import FeedbackStore


def many(n_rows: int) -> Iterator[Row]:
    for number in range(n_rows):
        yield f"user{number // 50}", str(number * 7919 % 4001), 0.5 + number % 10 / 2, 10**9 + number


def test_rows_become_events_in_their_order(store: FeedbackStore) -> None:
    found = import_ratings(store, [("ann", "1", 4.0, 100), ("bob", "é", 0.5, None), ("ann", "1", None, 200)])

    assert found == Imported(rows=3, added=3)
    assert rows(store.events()) == [
        Event("ann", "1", 4.0, 100, 1), Event("bob", "é", 0.5, NOW, 2), Event("ann", "1", None, 200, 3),
    ]  # fmt: skip


def test_the_same_rows_again_change_nothing(store: FeedbackStore) -> None:
    progress: list[Imported] = []
    import_ratings(store, many(12_000))
    before = store.events()

    again = import_ratings(store, many(12_000), on_progress=progress.append)

    assert again == Imported(rows=12_000, duplicates=12_000)
    assert rows(before) == rows(store.events())
    assert store.sequence == 12_000
    assert [so_far.rows for so_far in progress] == [5000, 10_000, 12_000]


def test_what_is_exported_changes_nothing_when_it_is_imported(store: FeedbackStore) -> None:
    store.write([numbered(range(30)), put(Rating("ann", "1", 4.0, None, "e1")), DeleteRating("user3", "item13")])
    exported = [
        (event.user_id, event.item_id, event.value, event.timestamp) for chunk in store.in_chunks() for event in chunk
    ]

    assert import_ratings(store, exported) == Imported(rows=32, duplicates=32)


def test_a_change_of_mind_is_no_duplicate(store: FeedbackStore) -> None:
    import_ratings(store, [("ann", "1", 4.0, 100)])

    others: list[Row] = [("ann", "1", 4.5, 100), ("ann", "1", 4.0, 101), ("ann", "2", 4.0, 100), ("bob", "1", 4.0, 100)]
    assert import_ratings(store, others).added == 4
    assert import_ratings(store, [("ann", "1", None, 100)]).added == 1
    assert import_ratings(store, [("ann", "1", None, 100)]).duplicates == 1


def test_a_row_without_a_time_is_there_if_it_is_at_any(store: FeedbackStore) -> None:
    assert import_ratings(store, [("ann", "1", 4.0, 100), ("ann", "1", 4.0, None)]) == Imported(2, 1, 1)


@pytest.mark.parametrize("row", [("ann", "1", float("nan"), 1), ("half \ud800", "1", 1.0, 1), ("ann", "1", 1.0, 2**63)])
def test_what_cannot_be_stored_ends_the_import_and_its_transaction_is_not_kept(store: FeedbackStore, row: Row) -> None:
    with pytest.raises(InvalidInputError, match="cannot be stored"):
        import_ratings(store, [*many(10), row])

    assert (store.events().size, store.sequence) == (0, 0)
    assert import_ratings(store, many(10)).added == 10


def test_users_who_were_forgotten_stay_so(store: FeedbackStore) -> None:
    """Or an old file would bring them back."""
    import_ratings(store, [("ann", "1", 4.0, 100), ("bob", "1", 4.0, 100)])
    store.write([ForgetUser("ann"), put(Rating("ann", "2", 1.0, 300))])

    found = import_ratings(store, [("ann", "1", 4.0, 100), ("bob", "1", 4.0, 100), ("eve", "1", 4.0, 100)])

    assert found == Imported(rows=3, added=1, duplicates=1, forgotten=1)
    assert [(e.user_id, e.item_id) for e in rows(store.events())] == [("bob", "1"), ("ann", "2"), ("eve", "1")]


def test_an_import_that_was_cut_off_is_completed_by_the_next(
    store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_ROWS_AT_ONCE", 100)

    def breaking() -> Iterator[Row]:
        yield from list(many(350))
        raise FeedbackUnavailableError("as a disk that is full")

    with pytest.raises(FeedbackUnavailableError):
        import_ratings(store, breaking())
    assert store.events().size == 300

    assert import_ratings(store, many(500)) == Imported(rows=500, added=200, duplicates=300)


def test_a_service_gets_its_turn_meanwhile(open_store: OpenStore, tmp_path: Path) -> None:
    service, tool = open_store(), open_store()
    importer = threading.Thread(target=import_ratings, args=(tool, many(30_000)))
    importer.start()
    own = 0
    while importer.is_alive():
        service.write([numbered([own])])
        own += 1
    importer.join()

    events = service.events()
    assert own >= 6  # at least one for each transaction of the import
    assert 30_000 + own == events.size == service.sequence
    assert own == sum(item.startswith("item") for item in events.item_ids)


@pytest.mark.slow
def test_a_million_ratings_take_bounded_memory(store: FeedbackStore, full: bool) -> None:
    """A share of them by default; what is held does not grow with the number."""
    peaks = []
    for n_rows in (20_000, 1_000_000 if full else 60_000):
        tracemalloc.start()
        import_ratings(store, many(n_rows))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.5 * peaks[0] < 20_000_000
    assert store.events().size == (1_000_000 if full else 60_000)


ROWS = st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from([None, 1.0, 2.0]), st.integers(0, 2))


@settings(max_examples=25, deadline=None)
@given(first=st.lists(ROWS, max_size=20), second=st.lists(ROWS, max_size=20))
def test_an_import_is_a_union(first: list[Row], second: list[Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = FeedbackStore(tmp_path_factory.mktemp("import"))
    store.open()
    for part in (first, second, first):
        found = import_ratings(store, part)
        assert found.rows == found.added + found.duplicates
    held = (
        [(event.user_id, event.item_id, event.value, event.timestamp) for event in rows(store.events())]
        if first or second
        else []
    )
    store.close()

    assert held == list(dict.fromkeys(first + second))
