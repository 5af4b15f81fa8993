import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from stores import FILM, NOW, OpenStore, all_bytes, numbered, put, rows, write

from recsys.datasets.events import Event
from recsys.feedback.changes import DeleteRating, ForgetUser, Forgotten, PutItem, Rating, user_hash
from recsys.feedback.store import FeedbackStore

Hold = Callable[..., AbstractContextManager[None]]
ANN = "ann-2f1c77-of-the-hill"


def test_leaves_no_byte_of_the_id_but_one_keyed_hash(store: FeedbackStore) -> None:
    state = store.path.parent
    store.write([numbered(range(500)), put(*(Rating(ANN, f"item{n}", 3.0, n, f"event-{n}-{ANN}") for n in range(300)))])
    assert ANN.encode() in all_bytes(state)

    outcome = write(store, ForgetUser(ANN))

    expected = Forgotten(user_hash(store.key, ANN), 801, ANN)
    assert expected == outcome.forgotten
    assert (replace(expected, user_id=None),) == store.forgotten()
    assert ANN.encode() not in all_bytes(state)
    assert store.events().size == 500
    assert ANN not in store.events().user_ids
    store.close()
    assert ANN.encode() not in all_bytes(state)


def test_covers_users_of_whom_nothing_is_known_here(store: FeedbackStore) -> None:
    """They are in the ratings files."""
    write(store, ForgetUser(ANN))

    assert [Forgotten(user_hash(store.key, ANN), 1)] == list(store.forgotten())
    assert ANN.encode() not in all_bytes(store.path.parent)


def test_what_comes_after_counts_and_is_forgotten_again(store: FeedbackStore) -> None:
    store.write([put(Rating(ANN, "1", 5.0, None, "e1")), ForgetUser(ANN), put(Rating(ANN, "2", 4.0, None, "e1"))])

    assert [Event(ANN, "2", 4.0, NOW, 3)] == rows(store.events())
    assert [user.sequence for user in store.forgotten()] == [2]

    store.write([DeleteRating(ANN, "9"), ForgetUser(ANN)])

    assert rows(store.events()) == []
    assert [user.sequence for user in store.forgotten()] == [5]
    assert ANN.encode() not in all_bytes(store.path.parent)


def test_numbers_are_never_given_twice(open_store: OpenStore) -> None:
    store = open_store()
    store.write([put(Rating(ANN, "1", 5.0)), ForgetUser(ANN)])
    store.close()

    assert [event.sequence for event in write(open_store(), put(Rating("bob", "1", 1.0))).events] == [3]


def test_leaves_nothing_among_thousands_who_come_and_go(store: FeedbackStore) -> None:
    """Pages are split and merged all the time: with an index over the text, three of these ids would be left in their
    unused parts.
    """
    dice = random.Random(4)
    present: list[str] = []
    gone: set[str] = set()
    for _ in range(60):
        arriving = [f"user-{dice.randrange(10**12):012d}-{'x' * dice.randrange(400)}" for _ in range(100)]
        present += arriving
        leaving = [present.pop(dice.randrange(len(present))) for _ in range(60)]
        returning = dice.sample(sorted(gone), min(len(gone), 10))
        gone = (gone | set(leaving)) - set(returning)
        present += returning
        rated = [put(Rating(user, "1", 1.0, None, f"event of {user}")) for user in arriving + returning]
        store.write([*rated, *(ForgetUser(user) for user in leaving)])

    found = all_bytes(store.path.parent)
    assert [user for user in gone if user.encode() in found] == []
    assert [user for user in present if user.encode() not in found] == []


def test_waits_for_whoever_still_reads_the_log(store: FeedbackStore, held_by_another_process: Hold) -> None:
    """A training run reads its snapshot: the log is emptied when that is done."""
    store.write([put(Rating(ANN, "1", 5.0))])
    with held_by_another_process(store.path, "BEGIN", "SELECT count(*) FROM events"):
        store.write([ForgetUser(ANN)])
        assert rows(store.events()) == []
        assert not store.scrub()

    assert store.scrub()
    assert ANN.encode() not in all_bytes(store.path.parent)


def test_is_finished_at_the_next_start(open_store: OpenStore, held_by_another_process: Hold, tmp_path: Path) -> None:
    """As after a crash between the commit and the emptying of the log."""
    store = open_store()
    store.write([put(Rating(ANN, "1", 5.0)), PutItem(FILM)])
    with held_by_another_process(store.path, "BEGIN", "SELECT count(*) FROM events"):
        store.write([ForgetUser(ANN)])
        assert ANN.encode() in all_bytes(tmp_path / "state")
    open_store()

    assert ANN.encode() not in all_bytes(tmp_path / "state")
