"""What tests of the feedback store share: short ways to change and to read one."""

import math
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from hypothesis import strategies as st

from recsys.datasets.events import Event, Events, ItemChange
from recsys.feedback.changes import Change, DeleteRating, ForgetUser, Outcome, PutItem, PutRatings, Rating
from recsys.feedback.store import FeedbackStore

OpenStore = Callable[..., FeedbackStore]
#: The time of arrival in every test that does not say otherwise.
NOW = 1_700_000_000
FILM = ItemChange("900", "Stalker", 1979, ("Drama", "Sci-Fi"), "tt0079944", None, withdrawn=False, sequence=0)


def put(*ratings: Rating) -> PutRatings:
    return PutRatings(ratings)


def numbered(numbers: Iterable[int]) -> PutRatings:
    """A rating for each number, unlike every other."""
    return put(*(Rating(f"user{n % 10}", f"item{n}", 1.0 + n % 5, 1000 + n) for n in numbers))


_USERS, _ITEMS = st.sampled_from("abc"), st.sampled_from("xyz")
_EVENT_IDS = st.one_of(st.none(), st.integers(0, 5).map(str))
_RATINGS = st.builds(Rating, _USERS, _ITEMS, st.sampled_from([0.5, 3.0, 5.0]), st.integers(0, 3), _EVENT_IDS)
#: Any change of ratings, among so few users, items and names that they meet again and again.
CHANGES = st.one_of(
    st.lists(_RATINGS, min_size=1, max_size=4).map(lambda ratings: put(*ratings)),
    st.builds(DeleteRating, _USERS, _ITEMS),
    st.builds(ForgetUser, _USERS),
    st.just(PutItem(FILM)),
)


def write(store: FeedbackStore, change: Change) -> Outcome:
    (outcome,) = store.write([change]).outcomes
    return outcome


def rows(events: Events) -> list[Event]:
    columns = (events.users, events.items, events.values, events.timestamps, events.sequences)
    return [
        Event(events.user_ids[user], events.item_ids[item], None if math.isnan(value) else value, timestamp, sequence)
        for user, item, value, timestamp, sequence in zip(*(column.tolist() for column in columns), strict=True)
    ]


def item_numbers(store: FeedbackStore) -> list[int]:
    """The numbers of `numbered` ratings that the store holds, in order."""
    return [int(event.item_id.removeprefix("item")) for event in rows(store.events())]


def _read(store: FeedbackStore, query: str) -> list[tuple[int, ...]]:
    with closing(sqlite3.connect(store.path)) as db:
        return db.execute(query).fetchall()


def settled(store: FeedbackStore) -> int:
    return _read(store, "SELECT settled FROM store")[0][0]


def check_indexes(store: FeedbackStore) -> None:
    """What has settled is in both indexes, and what was forgotten in neither."""
    for index, has in (("user_events", "1"), ("event_keys", "event_key IS NOT NULL")):
        there = {sequence for (sequence,) in _read(store, f"SELECT sequence FROM {index}")}
        due = _read(store, f"SELECT sequence FROM events WHERE sequence <= (SELECT settled FROM store) AND {has}")
        events = {sequence for (sequence,) in _read(store, "SELECT sequence FROM events")}
        assert {sequence for (sequence,) in due} <= there <= events, index


def all_bytes(directory: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())
