"""What a training run learns from: the files and one moment of the feedback store, and how the manifest names it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from recsys.artifacts.manifest import Cutoff
from recsys.artifacts.servable import load_servable
from recsys.datasets.events import ItemChange
from recsys.datasets.merge import merge_dataset
from recsys.datasets.ratings import Catalogue, Dataset, RatingScale
from recsys.datasets.reading import read_dataset
from recsys.errors import DataError, FeedbackCorruptError
from recsys.feedback.changes import Change, DeleteRating, ForgetUser, PutItem, PutRatings, Rating, RecordShown, Shown
from recsys.feedback.database import feedback_path
from recsys.feedback.store import FeedbackStore
from recsys.training.feedback import with_feedback
from recsys.training.pipeline import train
from recsys.training.plan import TrainingPlan

NOW = 1_700_000_000
FILM = ItemChange("new", "New Here", 2026, ("Drama",), "tt1", "1", withdrawn=False, sequence=0)
Given = dict[tuple[str, str], tuple[float, int]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> Iterator[FeedbackStore]:
    with closing(FeedbackStore(state, clock=lambda: NOW)) as made:
        made.open()
        yield made


@pytest.fixture
def files() -> Dataset:
    """Three users and three films of a 1–5 scale: ann a 5, ann b 3, bob a 2, cat c 1."""
    return Dataset(
        ("ann", "bob", "cat"),
        Catalogue.bare(("a", "b", "c")),
        np.array([0, 0, 1, 2], np.int32),
        np.array([0, 1, 0, 2], np.int32),
        np.array([5, 3, 2, 1], np.float32),
        np.array([10, 20, 30, 40], np.int64),
        source="files",
    )


def put(*ratings: Rating) -> PutRatings:
    return PutRatings(ratings)


def keep(store: FeedbackStore, *changes: Change) -> int:
    """Write changes, each of which must be kept; returns the store's sequence."""
    written = store.write(changes)
    assert [outcome.error for outcome in written.outcomes] == [None] * len(changes)
    return written.sequence


def ratings_in(data: Dataset) -> Given:
    found = {
        (data.user_ids[user], data.catalogue.item_ids[item]): (value, at)
        for user, item, value, at in zip(
            data.users.tolist(), data.items.tolist(), data.values.tolist(), data.timestamps.tolist(), strict=True
        )
    }
    assert len(found) == data.n_ratings
    return found


FILES: Given = {("ann", "a"): (5, 10), ("ann", "b"): (3, 20), ("bob", "a"): (2, 30), ("cat", "c"): (1, 40)}


class TestWithoutFeedback:
    @pytest.mark.parametrize("known", [False, True])
    def test_the_files_stand_alone_where_there_is_no_store(self, files: Dataset, state: Path, *, known: bool) -> None:
        learned = with_feedback(files, state if known else None)

        assert learned.dataset is files
        assert learned.cutoff is None
        assert not state.exists()

    def test_an_empty_store_changes_nothing_but_is_named(
        self, files: Dataset, state: Path, store: FeedbackStore
    ) -> None:
        learned = with_feedback(files, state)

        assert learned.dataset is files
        assert learned.cutoff == Cutoff(store_id=store.store_id, sequence=0)

    def test_what_was_only_shown_changes_nothing(self, files: Dataset, state: Path, store: FeedbackStore) -> None:
        keep(store, RecordShown((Shown("id", "click", "a", "v1.0.0", "popular"),)))

        assert with_feedback(files, state).dataset is files


class TestWithFeedback:
    def test_the_last_rating_wins_and_one_taken_back_is_gone(
        self, files: Dataset, state: Path, store: FeedbackStore
    ) -> None:
        sequence = keep(
            store,
            put(Rating("ann", "a", 1.0, 11), Rating("ann", "b", 5.0, 19), Rating("dan", "c", 4.0)),
            DeleteRating("bob", "a"),
        )
        learned = with_feedback(files, state)

        changes: Given = {("ann", "a"): (1, 11), ("dan", "c"): (4, NOW)}
        assert {pair: rating for pair, rating in (FILES | changes).items() if pair != ("bob", "a")} == ratings_in(
            learned.dataset
        )
        assert learned.cutoff == Cutoff(store_id=store.store_id, sequence=sequence)
        assert sequence == 4

    def test_is_what_merging_by_hand_gives(self, files: Dataset, state: Path, store: FeedbackStore) -> None:
        keep(store, put(*(Rating(user, item, 2.0, 15) for user in ("ann", "eve", "bob") for item in "cab")))

        expected = merge_dataset(files, store.events())
        assert expected.fingerprint == with_feedback(files, state).dataset.fingerprint != files.fingerprint

    def test_the_scale_stays_that_of_the_files(self, files: Dataset, state: Path, store: FeedbackStore) -> None:
        keep(store, DeleteRating("ann", "a"), DeleteRating("cat", "c"))

        assert with_feedback(files, state).dataset.scale == RatingScale(1, 5, 1) == files.scale

    def test_films_are_as_they_were_last_spoken_of(self, files: Dataset, state: Path, store: FeedbackStore) -> None:
        keep(
            store,
            PutItem(FILM),
            put(Rating("ann", "new", 4.0, 50)),
            PutItem(replace(FILM, item_id="c", withdrawn=True)),
        )
        data = with_feedback(files, state).dataset

        assert data.catalogue.item_ids == ("a", "b", "new")
        assert (data.catalogue.titles[2], data.catalogue.years[2]) == ("New Here", 2026)
        assert ratings_in(data)["ann", "new"] == (4, 50)
        assert data.user_ids == ("ann", "bob", "cat")

    def test_of_forgotten_users_only_what_came_after(self, files: Dataset, state: Path, store: FeedbackStore) -> None:
        keep(
            store,
            put(Rating("ann", "c", 5.0, 50), Rating("eve", "a", 5.0, 50)),
            *(ForgetUser(user) for user in ("ann", "bob", "eve", "never seen")),
            put(Rating("ann", "a", 1.0, 9)),
        )
        learned = with_feedback(files, state)

        assert ratings_in(learned.dataset) == {("ann", "a"): (1, 9), ("cat", "c"): (1, 40)}
        assert set(learned.dataset.user_ids) == {"ann", "cat"}
        assert learned.cutoff is not None
        assert learned.cutoff.sequence == 7

    def test_a_cutoff_covers_what_left_no_rating(self, files: Dataset, state: Path, store: FeedbackStore) -> None:
        """A version trained after a forgetting need not be silenced by it."""
        sequence = keep(store, PutItem(FILM), ForgetUser("nobody"))
        learned = with_feedback(files, state)

        assert learned.cutoff == Cutoff(store_id=store.store_id, sequence=sequence)
        assert ratings_in(learned.dataset) == FILES

    def test_nothing_left_is_a_clear_error(self, files: Dataset, state: Path, store: FeedbackStore) -> None:
        keep(store, *(ForgetUser(user) for user in ("ann", "bob", "cat")))

        with pytest.raises(DataError, match="no rating is left"):
            with_feedback(files, state)

    def test_is_one_moment_whatever_is_written_meanwhile(
        self, files: Dataset, state: Path, store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = keep(store, put(Rating("ann", "c", 4.0, 50)))

        def merging_takes_its_time(*given: object, **named: object) -> Dataset:
            keep(store, put(Rating("ann", "c", 1.0, 60), Rating("bob", "b", 1.0, 60)), ForgetUser("cat"))
            return merge_dataset(*given, **named)  # type: ignore[arg-type]

        monkeypatch.setattr("recsys.training.feedback.merge_dataset", merging_takes_its_time)
        learned = with_feedback(files, state)

        assert learned.cutoff == Cutoff(store_id=store.store_id, sequence=before)
        assert ratings_in(learned.dataset) == FILES | {("ann", "c"): (4, 50)}

    def test_does_not_wait_for_a_writer_nor_write(self, files: Dataset, state: Path, store: FeedbackStore) -> None:
        keep(store, put(Rating("ann", "c", 4.0, 50)))
        with closing(sqlite3.connect(feedback_path(state), isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE store SET sequence = 99")
            learned = with_feedback(files, state)
            writer.execute("ROLLBACK")

        assert ratings_in(learned.dataset) == FILES | {("ann", "c"): (4, 50)}
        assert learned.cutoff is not None
        assert learned.cutoff.sequence == 1

    def test_a_damaged_store_is_an_error_not_a_training_without_it(
        self, files: Dataset, state: Path, store: FeedbackStore
    ) -> None:
        keep(store, put(*(Rating(f"user {n}", "a", 1.0) for n in range(2000))))
        store.close()
        content = bytearray(feedback_path(state).read_bytes())
        content[4096 * 3 : 4096 * 12] = b"\xff" * (4096 * 9)
        feedback_path(state).write_bytes(content)

        with pytest.raises(FeedbackCorruptError):
            with_feedback(files, state)


class TestTraining:
    @pytest.fixture
    def run(self, tmp_path: Path, sample: Path, state: Path) -> Callable[[], str]:
        plan = TrainingPlan(models=tmp_path / "models", sample=sample, state=state)
        return lambda: train(plan, now=lambda: datetime(2026, 1, 2, tzinfo=UTC)).manifest.version

    def test_learns_from_it_and_says_so(
        self, run: Callable[[], str], store: FeedbackStore, sample: Path, tmp_path: Path
    ) -> None:
        files, models = read_dataset(sample), tmp_path / "models"
        plain = load_servable(models / run(), pause=lambda: None)
        sequence = keep(store, put(*(Rating("newcomer", str(n), 4.5, 100 + n) for n in range(1, 21))))
        learned = load_servable(models / run(), pause=lambda: None)

        assert plain.manifest.data.feedback_cutoff == Cutoff(store_id=store.store_id, sequence=0)
        assert learned.manifest.data.feedback_cutoff == Cutoff(store_id=store.store_id, sequence=sequence)
        assert plain.manifest.data.fingerprint == files.fingerprint != learned.manifest.data.fingerprint
        assert plain.manifest.digest != learned.manifest.digest
        assert learned.manifest.data.ratings == files.n_ratings + 20
        ratings = learned.ratings(learned.user_index["newcomer"])
        assert [learned.contents.catalogue.item_ids[item] for item in ratings.items] == [str(n) for n in range(1, 21)]
        assert set(ratings.values.tolist()) == {4.5}

    def test_twice_on_the_same_feedback_gives_the_same_digest(
        self, run: Callable[[], str], store: FeedbackStore, tmp_path: Path
    ) -> None:
        keep(store, put(Rating("newcomer", "1", 4.5, 100)), ForgetUser("2"))
        first, second = (load_servable(tmp_path / "models" / run(), pause=lambda: None).manifest for _ in range(2))

        assert first.digest == second.digest
        assert first.data == second.data
