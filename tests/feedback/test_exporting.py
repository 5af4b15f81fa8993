import tracemalloc
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import NOW, OpenStore, numbered, put, rows, write

from recsys.datasets.sources import File
from recsys.datasets.tally import Tally
from recsys.errors import FeedbackCorruptError
from recsys.feedback import exporting
from recsys.feedback.changes import Change, DeleteRating, ForgetUser, Rating
from recsys.feedback.exporting import LiveRating, live_ratings
from recsys.feedback.importing import import_ratings
from recsys.feedback.ratings_csv import HEADER, read_ratings, to_line
from recsys.feedback.store import FeedbackStore


def exported(store: FeedbackStore) -> list[LiveRating]:
    return [rating for page in live_ratings(store.path) for rating in page.ratings]


def as_the_rule_says(store: FeedbackStore) -> dict[str, list[tuple[str, float, int]]]:
    """Each user's live ratings, oldest first: the rule of the last rating, one event at a time."""
    live: dict[tuple[str, str], tuple[int, int, float]] = {}
    for event in rows(store.events()):
        pair = (event.user_id, event.item_id)
        if event.value is None:
            live.pop(pair, None)
        elif pair not in live or event.timestamp >= live[pair][0]:
            live[pair] = (event.timestamp, event.sequence, event.value)
    found: dict[str, list[tuple[str, float, int]]] = {}
    for (user_id, item_id), (timestamp, _, value) in sorted(live.items(), key=lambda one: one[1][:2]):
        found.setdefault(user_id, []).append((item_id, value, timestamp))
    return found


def by_user(ratings: list[LiveRating]) -> dict[str, list[tuple[str, float, int]]]:
    found: dict[str, list[tuple[str, float, int]]] = {}
    for user_id, *rating in ratings:
        found.setdefault(user_id, []).append((rating[0], rating[1], rating[2]))
    return found


def test_users_come_in_their_order_and_ratings_oldest_first(store: FeedbackStore) -> None:
    ratings = [Rating("bob", "2", 4.5, 300), Rating("ann", "1", 4.0, 100), Rating("bob", "1", 0.5, 200)]
    store.write([put(*ratings, Rating("ann", "2", 3.0, 100))])

    assert exported(store) == [
        ("bob", "1", 0.5, 200), ("bob", "2", 4.5, 300), ("ann", "1", 4.0, 100), ("ann", "2", 3.0, 100),
    ]  # fmt: skip


def test_only_what_counts_is_exported(store: FeedbackStore) -> None:
    store.write(
        [
            put(Rating("ann", "1", 4.0, 100), Rating("ann", "1", 2.0, 200), Rating("ann", "1", 5.0, 150)),
            put(Rating("bob", "1", 3.0, 100), Rating("eve", "1", 1.0, 100)),
            DeleteRating("bob", "1"),
            DeleteRating("bob", "of the files"),
            ForgetUser("eve"),
        ]
    )

    assert exported(store) == [("ann", "1", 2.0, 200)]


def test_an_older_rating_counts_once_the_later_one_was_taken_back(store: FeedbackStore) -> None:
    store.write([put(Rating("ann", "1", 2.0, 200)), DeleteRating("ann", "1"), put(Rating("ann", "1", 4.0, 100))])

    assert exported(store) == [("ann", "1", 4.0, 100)]


def test_values_are_exact(store: FeedbackStore) -> None:
    store.write([put(Rating("ann", "1", 0.1, 1), Rating("ann", "2", 3.141592653589793, 2))])

    assert [value for *_, value, _ in exported(store)] == [0.1, 3.141592653589793]


def test_an_empty_store_has_no_page(store: FeedbackStore) -> None:
    assert exported(store) == []


class TestWhileItIsRead:
    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exporting, "_ROWS_AT_ONCE", 5)

    def test_what_is_written_is_not_seen(self, store: FeedbackStore) -> None:
        write(store, numbered(range(100)))
        before = as_the_rule_says(store)
        pages = live_ratings(store.path)
        first = next(pages)
        store.write(
            [numbered(range(100, 200)), DeleteRating("user9", "item9"), put(Rating("user8", "item8", 1.0, NOW))]
        )

        assert before == by_user([*first.ratings, *chain.from_iterable(page.ratings for page in pages)])

    def test_a_user_who_is_forgotten_is(self, store: FeedbackStore) -> None:
        write(store, numbered(range(100)))
        pages = live_ratings(store.path)
        first = next(pages)
        write(store, ForgetUser("user9"))

        rest = {user_id for page in pages for user_id, *_ in page.ratings}
        assert ({"user0"}, {f"user{n}" for n in range(1, 9)}) == ({user for user, *_ in first.ratings}, rest)

    def test_nobody_is_kept_from_emptying_the_log(self, store: FeedbackStore) -> None:
        write(store, numbered(range(100)))
        pages = live_ratings(store.path)
        next(pages)
        write(store, ForgetUser("user9"))

        assert store.scrub()
        assert store.path.with_name(f"{store.path.name}-wal").stat().st_size == 0
        assert list(pages)

    def test_what_is_done_rises_to_all(self, store: FeedbackStore) -> None:
        write(store, numbered(range(100)))
        done = [page.done for page in live_ratings(store.path)]

        assert sorted(done) == done
        assert len(done) == 10
        assert done[-1] == 1.0


def test_a_damaged_database_is_refused(store: FeedbackStore) -> None:
    write(store, numbered(range(2000)))
    store.close()
    content = bytearray(store.path.read_bytes())
    content[-4096 * 8 :] = b"\xff" * 4096 * 8
    store.path.write_bytes(content)

    with pytest.raises(FeedbackCorruptError, match="damaged"):
        exported(store)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_ratings(open_store: OpenStore, tmp_path: Path) -> None:
    peaks = []
    for n_users in (500, 2000):
        store = open_store(tmp_path / str(n_users))
        import_ratings(store, ((f"user{n // 30}", str(n % 977), 4.0, n) for n in range(n_users * 30)))
        tracemalloc.start()
        n_ratings = sum(len(page.ratings) for page in live_ratings(store.path))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert n_users * 30 == n_ratings

    assert peaks[1] < 1.5 * peaks[0] < 20_000_000


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(
    ["a", "b", '"', "a,b", "a\nb", "a\r\nb", " a ", "é", "=1+1", "\0", ";", "\t", "\ufffd", "\x1e", "\ufeff", "007"]
)
RATINGS = st.builds(
    Rating, IDS, st.sampled_from("xyz") | IDS, st.sampled_from([0.5, 1.0, 4.5, 0.1]), st.integers(0, 4) | st.none()
)
CHANGES: st.SearchStrategy[Change] = (
    st.lists(RATINGS, min_size=1, max_size=5).map(lambda ratings: put(*ratings))
    | st.builds(DeleteRating, st.sampled_from("ab"), st.sampled_from("xyz"))
    | st.builds(ForgetUser, st.sampled_from("ab"))
)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(CHANGES, max_size=12), page=st.integers(1, 6))
def test_an_export_imported_into_an_empty_store_gives_the_same_live_ratings(
    changes: list[Change], page: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("round")
    path = directory / "ratings.csv"
    first, second = (FeedbackStore(directory / name, clock=lambda: NOW) for name in ("first", "second"))
    tally = Tally("ratings.csv")

    def write_csv(store: FeedbackStore) -> bytes:
        text = HEADER + "".join(to_line(*rating) for rating in exported(store))
        path.write_bytes(text.encode())
        return text.encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "_ROWS_AT_ONCE", page)
        for store in (first, second):
            store.open()
        first.write(changes)
        expected = as_the_rule_says(first)
        content = write_csv(first)
        file = File(path.name, len(content), lambda: path.open("rb"))
        found = import_ratings(second, (row for _, row in read_ratings(file, tally)))

        assert (tally.rows, 0, tally.examples) == (found.added, tally.bad, [])
        assert expected == as_the_rule_says(second)
        assert content == write_csv(second)
        again = import_ratings(first, (row for _, row in read_ratings(file, tally)))
        assert again.added == 0
        assert expected == as_the_rule_says(first)
        for store in (first, second):
            store.close()
