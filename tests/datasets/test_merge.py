"""Which rating counts: the rule's sentences as tables, and both mergers against each other and a plain loop."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.datasets.events import Event, Events, ItemChange, UserEvents
from recsys.datasets.merge import merge_dataset, merge_history
from recsys.datasets.ratings import NO_TIMESTAMP, Catalogue, Dataset, RatingScale
from recsys.errors import DataError

Given = tuple[str, str, float, int | None]
History = list[tuple[str, float, int]]

_FILE: tuple[Given, ...] = (("ann", "alien", 4.0, 100), ("bob", "brazil", 2.0, 200), ("bob", "alien", 5.0, 100))


def dataset(*ratings: Given) -> Dataset:
    """A data set with these ratings: user, item, value, time."""
    users = tuple(dict.fromkeys(row[0] for row in ratings))
    items = tuple(dict.fromkeys(row[1] for row in ratings))
    return Dataset(
        users,
        Catalogue.bare(items),
        np.array([users.index(row[0]) for row in ratings], np.int32),
        np.array([items.index(row[1]) for row in ratings], np.int32),
        np.array([row[2] for row in ratings], np.float32),
        np.array([NO_TIMESTAMP if row[3] is None else row[3] for row in ratings], np.int64),
        source="files",
    )


def in_order(given: Iterable[tuple[str, str, float | None, int]]) -> list[Event]:
    """These events: user, item, value (None: taken back), time. The sequence counts from 1."""
    return [Event(*row, sequence) for sequence, row in enumerate(given, start=1)]


def events(*given: tuple[str, str, float | None, int]) -> Events:
    return Events.of(in_order(given))


def film(item_id: str, *, title: str = "", withdrawn: bool = False, sequence: int = 1) -> ItemChange:
    return ItemChange(item_id, title or item_id, 1999, ("Drama",), "tt1", "1", withdrawn, sequence)


def histories(data: Dataset) -> dict[str, History]:
    """Each user's ratings, oldest first: item, value, time."""
    found: dict[str, History] = {}
    for row in data.in_history_order().tolist():
        rating = (data.catalogue.item_ids[data.items[row]], float(data.values[row]), int(data.timestamps[row]))
        found.setdefault(data.user_ids[data.users[row]], []).append(rating)
    return found


def history_after(data: Dataset | None, user: str, later: Sequence[Event]) -> History:
    """A user's history in a data set (None: there is no rating), and what came after it for that user, merged."""
    item_ids = data.catalogue.item_ids if data is not None else ()
    before = histories(data).get(user, []) if data is not None else []
    change = Events.of([event for event in later if event.user_id == user])
    merged = merge_history(
        np.array([item_ids.index(item) for item, _, _ in before], np.int32),
        np.array([value for _, value, _ in before], np.float32),
        np.array([time for _, _, time in before], np.int64),
        UserEvents(change.items, change.values, change.timestamps).renumbered(
            change.item_ids, {item: number for number, item in enumerate(item_ids)}
        ),
    )
    rows = zip(merged.items.tolist(), merged.values.tolist(), merged.timestamps.tolist(), strict=True)
    return [(item_ids[item], value, time) for item, value, time in rows]


#: What the files have of a film (value, time), what came later, and what then counts.
_RULE = {
    "a rating counts where there was none": (None, [(3.0, 50)], (3.0, 50)),
    "a later rating replaces one of the files": ((4.0, 100), [(3.0, 101)], (3.0, 101)),
    "a later rating replaces one that came in": (None, [(4.0, 100), (3.0, 101)], (3.0, 101)),
    "an older rating that arrives late does not overwrite a newer one": (None, [(4.0, 100), (3.0, 99)], (4.0, 100)),
    "nor one of the files": ((4.0, 100), [(3.0, 99)], (4.0, 100)),
    "of equal times the later arrival counts": (None, [(4.0, 100), (3.0, 100)], (3.0, 100)),
    "feedback arrives after the files": ((4.0, 100), [(3.0, 100)], (3.0, 100)),
    "a rating of the files without a time is older than everything": ((4.0, None), [(3.0, 0)], (3.0, 0)),
    "the greatest time counts, wherever it came": (None, [(1.0, 5), (2.0, 9), (3.0, 7), (4.0, 8)], (2.0, 9)),
    "taking back removes a rating of the files": ((4.0, 100), [(None, 200)], None),
    "whatever its time": ((4.0, 100), [(None, 1)], None),
    "and one that came in": (None, [(4.0, 100), (None, 1)], None),
    "taking back what is not there does nothing": (None, [(None, 100)], None),
    "after it any rating counts, also an older one": ((4.0, 100), [(None, 200), (3.0, 1)], (3.0, 1)),
    "what was overruled does not come back": (None, [(3.0, 50), (4.0, 100), (None, 100)], None),
    "only what came after the last taking back counts": (
        (5.0, 900), [(None, 0), (4.0, 800), (None, 0), (2.0, 7), (3.0, 6)], (2.0, 7),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("of_files", "later", "expected"), _RULE.values(), ids=_RULE.keys())
class TestRule:
    """Beside the film in question the user has rated another, so that there is always a rating."""

    def test_for_a_data_set(
        self,
        of_files: tuple[float, int | None] | None,
        later: list[tuple[float | None, int]],
        expected: tuple[float, int] | None,
    ) -> None:
        files = [("ann", "other", 1.0, 0)] + ([("ann", "film", *of_files)] if of_files else [])
        given = events(*(("ann", "film", *row) for row in later))

        merged = merge_dataset(dataset(*files), given, items=[film("film")])

        assert [("other", 1.0, 0)] + ([("film", *expected)] if expected else []) == sorted(
            histories(merged)["ann"], key=lambda rating: rating[0] == "film"
        )

    def test_for_one_user(
        self,
        of_files: tuple[float, int | None] | None,
        later: list[tuple[float | None, int]],
        expected: tuple[float, int] | None,
    ) -> None:
        history = [(7, *of_files)] if of_files else []

        merged = merge_history(
            np.array([7 for _ in history], np.int32),
            np.array([value for _, value, _ in history], np.float32),
            np.array([NO_TIMESTAMP if time is None else time for _, _, time in history], np.int64),
            UserEvents(
                np.full(len(later), 7, np.int32),
                np.array([np.nan if value is None else value for value, _ in later], np.float32),
                np.array([time for _, time in later], np.int64),
            ),
        )

        found = zip(merged.items.tolist(), merged.values.tolist(), merged.timestamps.tolist(), strict=True)
        assert ([(7, *expected)] if expected else []) == list(found)


class TestOrder:
    """A history is in order of time, then files before feedback, then arrival."""

    def test_is_that_of_time(self) -> None:
        merged = merge_dataset(
            dataset(("ann", "b", 3.0, 20), ("ann", "d", 3.0, 40)),
            events(("ann", "c", 4.0, 30), ("ann", "a", 4.0, 10)),
            items=[film("a"), film("c")],
        )

        assert [item for item, _, _ in histories(merged)["ann"]] == ["a", "b", "c", "d"]

    def test_at_equal_times_has_the_files_first_then_arrival(self) -> None:
        merged = merge_dataset(
            dataset(("ann", "b", 3.0, 10), ("ann", "a", 3.0, 10), ("ann", "late", 3.0, 20)),
            events(("ann", "d", 4.0, 10), ("ann", "c", 4.0, 10), ("ann", "late", None, 0), ("ann", "late", 1.0, 10)),
            items=[film("c"), film("d")],
        )

        assert [item for item, _, _ in histories(merged)["ann"]] == ["b", "a", "d", "c", "late"]

    def test_of_files_without_times_is_theirs_and_comes_before_feedback(self) -> None:
        merged = merge_dataset(
            dataset(("ann", "b", 3.0, None), ("ann", "a", 4.0, None), ("ann", "c", 5.0, None)),
            events(("ann", "b", 2.0, 0)),
        )

        assert histories(merged) == {"ann": [("a", 4.0, NO_TIMESTAMP), ("c", 5.0, NO_TIMESTAMP), ("b", 2.0, 0)]}

    def test_a_rating_that_replaces_one_of_equal_time_moves_to_the_end_of_that_time(self) -> None:
        """As it does when the model has the first of them and only the second is new."""
        files = dataset(("ann", "a", 3.0, 10), ("ann", "b", 3.0, 10))
        again = Event("ann", "a", 5.0, 10, 1)

        assert histories(merge_dataset(files, Events.of([again])))["ann"] == [("b", 3.0, 10), ("a", 5.0, 10)]
        assert history_after(files, "ann", [again]) == [("b", 3.0, 10), ("a", 5.0, 10)]


class TestUsers:
    def test_whom_only_feedback_knows_come_last_in_order_of_first_appearance(self) -> None:
        given = events(
            ("zoe", "alien", 5.0, 1), ("cat", "alien", 4.0, 2), ("ann", "brazil", 1.0, 3), ("zoe", "alien", 2.0, 4)
        )

        assert merge_dataset(dataset(*_FILE), given).user_ids == ("ann", "bob", "zoe", "cat")

    def test_their_order_does_not_depend_on_how_the_store_numbers_them(self) -> None:
        given = events(("zoe", "alien", 5.0, 1), ("cat", "alien", 4.0, 2))
        renumbered = replace(given, users=given.users[::-1].copy(), user_ids=given.user_ids[::-1])

        assert merge_dataset(dataset(*_FILE), renumbered).user_ids == ("ann", "bob", "zoe", "cat")

    def test_who_are_new_and_have_no_rating_are_left_out(self) -> None:
        given = events(("zoe", "alien", 5.0, 1), ("zoe", "alien", None, 2), ("cat", "nobody knows it", 5.0, 3))

        assert merge_dataset(dataset(*_FILE), given).user_ids == ("ann", "bob")

    def test_of_the_files_stay_when_they_have_taken_everything_back(self) -> None:
        merged = merge_dataset(dataset(*_FILE), events(("ann", "alien", None, 0)))

        assert merged.user_ids == ("ann", "bob")
        assert list(histories(merged)) == ["bob"]


class TestSilencedUsers:
    def test_are_not_in_the_result_not_even_by_name(self) -> None:
        merged = merge_dataset(dataset(*_FILE), events(), silenced=lambda user: user == "ann")

        assert merged.user_ids == ("bob",)
        assert histories(merged) == {"bob": [("alien", 5.0, 100), ("brazil", 2.0, 200)]}

    def test_count_again_with_what_they_gave_since(self) -> None:
        given = events(("ann", "brazil", 3.0, 50))

        merged = merge_dataset(dataset(*_FILE), given, silenced=lambda user: user == "ann")

        assert histories(merged)["ann"] == [("brazil", 3.0, 50)]

    def test_have_an_older_rating_counted_for_the_newer_one_of_the_files_is_gone(self) -> None:
        given = events(("ann", "alien", 3.0, 50))

        merged = merge_dataset(dataset(*_FILE), given, silenced=lambda user: user == "ann")

        assert histories(merged)["ann"] == [("alien", 3.0, 50)]


class TestItems:
    def test_registered_by_hand_come_last_with_all_that_was_said_of_them(self) -> None:
        merged = merge_dataset(
            dataset(*_FILE), events(("ann", "new", 5.0, 300)), items=[film("unrated"), film("new", title="New")]
        )

        assert merged.catalogue.item_ids == ("alien", "brazil", "unrated", "new")
        new = merged.catalogue.take([3])
        assert tuple(vars(new).values())[1:] == (("New",), (1999,), (("Drama",),), ("tt1",), ("1",))
        assert ("new", 5.0, 300) in histories(merged)["ann"]

    def test_described_by_hand_replace_what_the_files_say_in_its_place(self) -> None:
        merged = merge_dataset(dataset(*_FILE), events(), items=[film("alien", title="Alien, restored")])

        assert merged.catalogue.item_ids == ("alien", "brazil")
        assert merged.catalogue.titles == ("Alien, restored", "brazil")
        assert histories(dataset(*_FILE)) == histories(merged)

    def test_withdrawn_are_left_out_with_their_ratings(self) -> None:
        given = events(("ann", "alien", 5.0, 300))

        merged = merge_dataset(dataset(*_FILE), given, items=[film("alien", withdrawn=True)])

        assert merged.catalogue.item_ids == ("brazil",)
        assert histories(merged) == {"bob": [("brazil", 2.0, 200)]}
        assert merged.user_ids == ("ann", "bob")

    def test_registered_and_withdrawn_are_as_the_last_change_says(self) -> None:
        changes = [film("alien", sequence=3), film("alien", withdrawn=True, sequence=2), film("new", sequence=4)]

        merged = merge_dataset(dataset(*_FILE), events(), items=[*changes, film("new", withdrawn=True, sequence=5)])

        assert merged.catalogue.item_ids == ("alien", "brazil")

    def test_that_nobody_knows_have_their_events_passed_over(self) -> None:
        merged = merge_dataset(dataset(*_FILE), events(("ann", "what", 5.0, 300), ("ann", "what", None, 301)))

        assert histories(dataset(*_FILE)) == histories(merged)

    def test_that_the_model_does_not_know_are_passed_over_at_a_request_too(self) -> None:
        later = [
            Event("ann", "what", 5.0, 300, 1),
            Event("ann", "brazil", 3.0, 301, 2),
            Event("ann", "why", 5.0, 302, 3),
        ]

        assert history_after(dataset(*_FILE), "ann", later) == [("alien", 4.0, 100), ("brazil", 3.0, 301)]


class TestResult:
    def test_without_feedback_is_the_same_data(self) -> None:
        files = dataset(*_FILE)

        assert files.fingerprint == merge_dataset(files, events()).fingerprint
        assert merge_dataset(files, events()).source == "files"

    def test_keeps_the_scale_of_the_files_when_its_ends_are_no_longer_used(self) -> None:
        files = dataset(("ann", "alien", 0.5, 1), ("bob", "alien", 8.0, 1), ("bob", "brazil", 3.0, 1))

        merged = merge_dataset(files, events(("bob", "alien", None, 2)), silenced=lambda user: user == "ann")

        assert RatingScale(0.5, 10.0, 0.5) == merged.scale
        assert merged.stars.tolist() == [1.5]

    def test_leaves_what_it_was_given_alone(self) -> None:
        files, given = dataset(*_FILE), events(("ann", "alien", 1.0, 300), ("zoe", "alien", 2.0, 300))

        merge_dataset(files, given, items=[film("brazil", withdrawn=True)], silenced=lambda user: user == "bob")

        assert dataset(*_FILE).fingerprint == files.fingerprint
        assert given.users.tolist() == [0, 1]
        assert given.values.flags.writeable

    @pytest.mark.parametrize(
        ("given", "items", "silenced"),
        [
            (events(), [], {"ann", "bob"}),
            (events(("ann", "alien", None, 0)), [], {"bob"}),
            (events(("zoe", "alien", 1.0, 0)), [film("alien", withdrawn=True), film("brazil", withdrawn=True)], set()),
        ],
        ids=["all silenced", "taken back", "withdrawn"],
    )
    def test_with_no_rating_left_is_an_error(self, given: Events, items: list[ItemChange], silenced: set[str]) -> None:
        with pytest.raises(DataError, match="no rating is left"):
            merge_dataset(dataset(*_FILE), given, items=items, silenced=silenced.__contains__)

    def test_of_silenced_files_rests_on_feedback_alone(self) -> None:
        merged = merge_dataset(dataset(*_FILE), events(("zoe", "alien", 3.0, 9)), silenced=lambda user: user != "zoe")

        assert histories(merged) == {"zoe": [("alien", 3.0, 9)]}
        assert RatingScale(1, 5, 1) == merged.scale

    def test_of_files_without_a_rating_is_an_error(self) -> None:
        with pytest.raises(DataError, match="no rating"):
            merge_dataset(dataset(), events(("ann", "new", 3.0, 1)), items=[film("new")])


@dataclass(frozen=True)
class Case:
    files: list[Given]
    given: list[Event]
    silenced: set[str]
    changes: list[ItemChange]


_users, _items = st.sampled_from(["ann", "bob", "cat", "dan"]), st.sampled_from(["a", "b", "c", "d", "e"])
#: Few times, so that most are equal.
_times = st.integers(0, 3)
_values = st.integers(1, 5).map(float)
_given = st.lists(st.tuples(_users, _items, st.none() | _values, _times), max_size=40)
_files = st.lists(
    st.tuples(_users, _items, _values, st.none() | _times), min_size=1, max_size=15, unique_by=lambda row: row[:2]
)
_cases = st.builds(
    lambda files, given, silenced, changes: Case(
        files,
        in_order(given),
        silenced,
        [film(item, withdrawn=withdrawn) for item, withdrawn in changes.items()],
    ),
    _files,
    _given,
    st.sets(_users, max_size=2),
    st.dictionaries(_items, st.booleans(), max_size=3),
)


def merged_up_to(case: Case, n_events: int) -> Dataset | None:
    """Files and the first events, merged; None when no rating is left."""
    try:
        given = Events.of(case.given[:n_events])
        return merge_dataset(dataset(*case.files), given, items=case.changes, silenced=case.silenced.__contains__)
    except DataError:
        return None


def by_a_plain_loop(case: Case) -> dict[str, History]:
    """The rule as feedback.md's sentences have it, one event after the other."""
    withdrawn = {change.item_id for change in case.changes if change.withdrawn}
    known = {item for _, item, _, _ in case.files} | {change.item_id for change in case.changes}
    live: dict[tuple[str, str], tuple[int, int, float]] = {}
    for arrival, (user, item, value, time) in enumerate(case.files, start=-len(case.files)):
        if user not in case.silenced:
            live[user, item] = (NO_TIMESTAMP if time is None else time, arrival, value)
    for event in case.given:
        pair = event.user_id, event.item_id
        if event.value is None:
            live.pop(pair, None)
        elif pair not in live or event.timestamp >= live[pair][0]:
            live[pair] = (event.timestamp, event.sequence, event.value)
    found: dict[str, History] = {}
    for (user, item), (time, _, value) in sorted(live.items(), key=lambda entry: entry[1][:2]):
        if item in known - withdrawn:
            found.setdefault(user, []).append((item, value, time))
    return found


@given(_cases)
def test_a_data_set_is_merged_as_a_plain_loop_merges_it(case: Case) -> None:
    merged = merged_up_to(case, len(case.given))

    assert by_a_plain_loop(case) == (histories(merged) if merged is not None else {})


@given(_cases, st.integers(0, 40))
def test_a_model_and_what_came_after_it_give_the_history_of_everything_at_once(case: Case, cutoff: int) -> None:
    model, whole = merged_up_to(case, cutoff), merged_up_to(case, len(case.given))

    expected = histories(whole) if whole is not None else {}
    if model is not None:  # without one there is nobody to ask
        users = {*model.user_ids, *(event.user_id for event in case.given)}
        found = {user: history_after(model, user, case.given[cutoff:]) for user in users}
        assert expected == {user: history for user, history in found.items() if history}


@given(_cases, st.integers(0, 40))
def test_merging_in_two_steps_gives_the_ratings_of_one(case: Case, cutoff: int) -> None:
    """What was merged is a data set like any other."""
    first = merged_up_to(case, cutoff)
    if first is None:
        return
    try:
        second = merge_dataset(first, Events.of(case.given[cutoff:]))
    except DataError:
        second = None

    assert by_a_plain_loop(case) == (histories(second) if second is not None else {})
