"""The usual group of ratings is one step of SQLite, and whatever is unusual leaves no trace of that step."""

from collections.abc import Callable

import pytest
from stores import FILM, OpenStore, check_indexes, numbered, put, rows, write

from recsys.errors import EventConflictError
from recsys.feedback import indexes
from recsys.feedback.changes import Change, DeleteRating, ForgetUser, PutItem, Rating
from recsys.feedback.importing import import_ratings
from recsys.feedback.store import FeedbackStore


def named(*numbers: int, value: float = 3.0) -> list[Change]:
    """A group of single ratings, each with a name of its own."""
    return [put(Rating(f"user{n % 10}", f"item{n}", value, n, f"e{n}")) for n in numbers]


def steps(store: FeedbackStore, *groups: list[Change]) -> list[list[str]]:
    """What each write asks SQLite to do, step by step. Python tells of one again for each trigger that it sets off."""
    found = []
    with store.transaction() as held:
        db = held.db
    for group in groups:
        seen: dict[str, None] = {}
        db.set_trace_callback(seen.setdefault)
        try:
            store.write(group)
        finally:
            db.set_trace_callback(None)
        found.append(list(seen))
    return found


@pytest.fixture
def used(store: FeedbackStore) -> FeedbackStore:
    """A store with something in it."""
    store.write([*named(*range(100)), PutItem(FILM)])
    return store


def test_a_group_is_one_step(used: FeedbackStore) -> None:
    asked = steps(used, *(named(*range(n, n + 16)) for n in range(200, 296, 16)))

    assert [len(group) for group in asked] == [1] * 6
    assert all(group[0].startswith("INSERT INTO arriving") for group in asked)


def test_so_is_a_group_while_indexes_are_merged(used: FeedbackStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "_WAITING", 50)
    used.write(named(*range(200, 204)))  # it begins here

    asked = steps(used, *(named(*range(n, n + 10)) for n in range(300, 330, 10)))

    assert [len(group) for group in asked] == [1, 1, 1]
    check_indexes(used)


def test_what_was_left_behind_does_not_get_into_a_group(used: FeedbackStore) -> None:
    with used.transaction() as held:
        db = held.db
    db.execute("INSERT INTO incoming (user_id) VALUES ('left')")

    used.write(named(200, 201))

    assert [event.item_id for event in rows(used.events(101))] == ["item200", "item201"]


@pytest.mark.parametrize(
    "unusual",
    [
        lambda store: store.write(named(5)),
        lambda store: store.write(named(5, value=1.0)),
        lambda store: store.write([DeleteRating("user1", "item1")]),
        lambda store: store.write([ForgetUser("user1")]),
        lambda store: store.write([PutItem(FILM)]),
        lambda store: store.write([numbered(range(1000))]),
        lambda store: store.write([put(Rating("half a pair \ud83d", "1", 1.0))]),
        lambda store: import_ratings(store, [("ann", "1", 4.0, 5)]),
    ],
    ids=["again", "conflict", "delete", "forget", "item", "many", "unstorable", "import"],
)
def test_after_something_unusual_it_is_one_step_again(
    used: FeedbackStore, unusual: Callable[[FeedbackStore], object]
) -> None:
    unusual(used)
    before = used.sequence

    ((step,),) = steps(used, named(201, 202, 203))

    assert step.startswith("INSERT INTO arriving")
    assert [(f"user{n % 10}", f"item{n}", 3.0, n, before + n - 200) for n in (201, 202, 203)] == rows(
        used.events(before)
    )


@pytest.mark.parametrize("is_new", [False, True], ids=["same", "reopened"])
@pytest.mark.parametrize("is_settled", [False, True], ids=["lately", "settled"])
def test_one_that_was_sent_again_counts_once_and_hurts_no_other(
    used: FeedbackStore, monkeypatch: pytest.MonkeyPatch, *, is_settled: bool, is_new: bool
) -> None:
    if is_settled:
        monkeypatch.setattr(indexes, "_WAITING", 10)
        used.write(named(*range(200, 260)))
        used.write(named(*range(260, 360)))
    if is_new:
        used.close()  # what it had in mind is gone

    assert write(used, named(7)[0])[:2] == (0, 1)
    outcomes = used.write([*named(500), *named(5), *named(501, 501), *named(6, value=1.0), *named(502)]).outcomes

    assert [(one.accepted, one.duplicates) for one in outcomes] == [(1, 0), (0, 1), (1, 0), (0, 1), (0, 0), (1, 0)]
    assert isinstance(outcomes[4].error, EventConflictError)
    assert [event.item_id for event in rows(used.events())[-3:]] == ["item500", "item501", "item502"]


def test_what_another_has_written_meanwhile_comes_before(used: FeedbackStore, open_store: OpenStore) -> None:
    other = open_store()
    for n in range(200, 220, 2):
        used.write(named(n))
        other.write(named(n + 1))

    assert [f"item{n}" for n in range(200, 220)] == [event.item_id for event in rows(used.events(101))]


def test_another_who_has_only_forgotten_somebody_is_noticed_too(used: FeedbackStore, open_store: OpenStore) -> None:
    """Of that there is no event whose number would be taken."""
    write(open_store(), ForgetUser("user1"))

    written = used.write(named(203))

    assert (written.before, written.sequence) == (102, 103)


def test_who_was_forgotten_is_back_by_a_rating(used: FeedbackStore) -> None:
    write(used, ForgetUser("user1"))

    ((step,),) = steps(used, named(201))

    assert step.startswith("INSERT INTO arriving")
    assert [(event.user_id, event.item_id) for event in rows(used.events()) if event.user_id == "user1"] == [
        ("user1", "item201")
    ]
