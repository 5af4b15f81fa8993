"""A user's ratings: GET /api/v1/users/{user_id}/ratings, and taking one back."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from feedback_calls import (
    RATINGS,
    about,
    by_hand,
    counts_all,
    listed,
    put_item,
    rate,
    rating,
    ratings_of,
    recommended,
    take_back,
    talking,
    withdraw_item,
)
from http_exchange import problem_of, user_path
from service import ServerProcess

from recsys.datasets.ratings import Dataset

pytest_plugins = ["http_server"]
Serve = Callable[..., ServerProcess]


def file_rows(data: Dataset, user_id: str) -> list[tuple[str, float, str, str]]:
    """What the files say of a user, oldest first, as it is to be listed."""
    user = data.user_ids.index(user_id)
    rows = [row for row in data.in_history_order().tolist() if data.users[row] == user]
    times = [datetime.fromtimestamp(int(data.timestamps[row]), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z") for row in rows]
    return [
        (data.catalogue.item_ids[data.items[row]], float(data.values[row]), time, "file")
        for row, time in zip(rows, times, strict=True)
    ]


def rows_of(server: ServerProcess, user_id: str) -> list[tuple[str, float, str, str]]:
    return [(row["item_id"], row["rating"], row["timestamp"], row["source"]) for row in ratings_of(server, user_id)]


def best_of_all(server: ServerProcess, user_id: str) -> list[str]:
    return [item["item_id"] for item in recommended(server, user_id, "?n=500")["items"]]


class TestListing:
    def test_has_the_promised_shape(self, club: ServerProcess) -> None:
        rate(club, rating("shape", "1", 4.5, timestamp=1_700_000_000))
        answer = club.request(about("shape", "/ratings"))

        assert answer.json == {
            "ratings": [{"item_id": "1", "rating": 4.5, "timestamp": "2023-11-14T22:13:20.000Z", "source": "api"}]
        }

    def test_of_a_user_of_the_files_is_what_they_say(self, club: ServerProcess, sample_data: Dataset) -> None:
        for user_id in ("2", "300", "600"):
            assert file_rows(sample_data, user_id) == rows_of(club, user_id)

    def test_of_nobody_is_empty(self, club: ServerProcess) -> None:
        assert club.request(about("nobody", "/ratings")).json == {"ratings": []}

    def test_is_oldest_first_then_files_then_by_arrival(self, club: ServerProcess, sample_data: Dataset) -> None:
        before = rows_of(club, "3")
        at = int(datetime.fromisoformat(before[4][2]).timestamp())
        unseen = [str(n) for n in range(1, 1001) if str(n) not in {row[0] for row in before}]
        rate(club, *(rating("3", item, 1, timestamp=at) for item in unseen[:3]))
        rate(club, rating("3", unseen[3], 2, timestamp=at - 1))

        same = [row for row in before if row[2] == before[4][2]]
        place = before.index(same[-1]) + 1
        expected = [*before[:place], *((item, 1.0, before[4][2], "api") for item in unseen[:3]), *before[place:]]
        assert expected == [row for row in rows_of(club, "3") if row[0] != unseen[3]]
        times = [row[2] for row in rows_of(club, "3")]
        assert sorted(times) == times

    def test_says_where_a_rating_is_from(self, club: ServerProcess, sample_data: Dataset) -> None:
        (first, *_, last) = file_rows(sample_data, "4")
        rate(club, rating("4", first[0], 3), rating("4", last[0], 0.5, timestamp=1))

        sources = {row[0]: (row[1], row[3]) for row in rows_of(club, "4")}
        assert sources[first[0]] == (3, "api")
        assert sources[last[0]] == (last[1], "file")
        assert {source for _, source in sources.values()} == {"file", "api"}

    def test_of_very_many_is_written_no_differently(self, club: ServerProcess) -> None:
        """Long lists are written out in a thread."""
        for n in (300, 301, 900):
            user_id = f"collector of {n}"
            rate(club, *(rating(user_id, str(item + 1), 4, timestamp=10 * item) for item in range(n)))
            expected = [
                (str(item + 1), 4.0, datetime.fromtimestamp(10 * item, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"), "api")
                for item in range(n)
            ]
            assert expected == rows_of(club, user_id)

    def test_without_times_says_so(self, tenths_server: ServerProcess) -> None:
        rows = ratings_of(tenths_server, "u1")
        assert {(row["timestamp"], row["source"]) for row in rows} == {(None, "file")}

        rate(tenths_server, rating("u1", "i2", 3.3))
        *before, last = ratings_of(tenths_server, "u1")
        assert [row["item_id"] for row in before] == [row["item_id"] for row in rows if row["item_id"] != "i2"]
        assert (last["item_id"], last["rating"], last["source"]) == ("i2", 3.3, "api")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", last["timestamp"])

    @pytest.mark.parametrize(
        ("path", "where"),
        [(about("x" * 257, "/ratings"), "path.user_id"), (about("1", "/ratings?limit=5"), "query.limit")],
    )
    def test_refuses_what_it_does_not_take(self, club: ServerProcess, path: str, where: str) -> None:
        assert problem_of(club.request(path), 400, "invalid_input") == [where]

    def test_is_the_same_after_a_restart(self, serve: Serve, store_with: Callable[..., object]) -> None:
        store_with("v1.0.0")
        first = serve()
        rate(first, *(rating("ann", str(n), 4, timestamp=n % 3) for n in range(1, 50)), rating("1", "9", 0.5))
        take_back(first, "ann", "7")
        take_back(first, "1", rows_of(first, "1")[0][0])
        before = [(rows_of(first, user_id), recommended(first, user_id)) for user_id in ("ann", "1")]
        assert first.stop() == 0

        second = serve()
        assert before == [(rows_of(second, user_id), recommended(second, user_id)) for user_id in ("ann", "1")]


class TestTakingBack:
    def test_a_rating_of_the_files_lets_the_film_come_back(self, club: ServerProcess, sample_data: Dataset) -> None:
        film, *_ = next(row for row in file_rows(sample_data, "10") if row[1] == 5)
        assert film not in best_of_all(club, "10")

        answer = take_back(club, "10", film)

        assert (answer.status, answer.json) == (200, {"user_id": "10", "item_id": film, "deleted": True})
        assert film in best_of_all(club, "10")
        assert film not in listed(club, "10")
        assert counts_all(club, "10")

    def test_what_replaced_a_rating_of_the_files_takes_both(self, club: ServerProcess, sample_data: Dataset) -> None:
        film, *_ = file_rows(sample_data, "11")[0]
        rate(club, rating("11", film, 0.5))
        assert take_back(club, "11", film).status == 200

        assert film not in listed(club, "11")
        assert counts_all(club, "11")

    def test_the_last_one_leaves_a_stranger(self, club: ServerProcess) -> None:
        rate(club, rating("brief", "1"))
        assert recommended(club, "brief")["strategy"] == "blended"
        take_back(club, "brief", "1")

        assert ratings_of(club, "brief") == []
        unknown = recommended(club, "unknown") | {"user_id": "brief"}
        assert unknown == recommended(club, "brief")

    def test_counts_in_the_next_answer_of_the_same_connection(self, club: ServerProcess) -> None:
        rate(club, *(rating("quick", str(n)) for n in range(1, 7)))
        with talking(club) as talk:
            before = talk.request(user_path("quick")).json
            assert talk.request(about("quick", "/ratings/6"), method="DELETE").status == 200
            after = talk.request(user_path("quick")).json
            assert talk.request(about("quick", "/ratings/6"), method="DELETE").status == 404
            talk.request(RATINGS, method="POST", body={"ratings": [rating("quick", "6")]})
            again = talk.request(user_path("quick")).json

        assert before["items"] != after["items"]
        assert before["items"] == again["items"]

    def test_lets_any_later_rating_in_whatever_its_time(self, club: ServerProcess) -> None:
        rate(club, rating("again", "1", 5, timestamp=5000))
        take_back(club, "again", "1")
        rate(club, rating("again", "1", 2, timestamp=1))

        assert listed(club, "again") == {"1": 2}

    @pytest.mark.parametrize("item_id", ["1", "no such film", "a/b", "x" * 256])
    def test_what_was_not_rated_is_not_found(self, club: ServerProcess, item_id: str) -> None:
        before = club.request("/health").json["feedback"]["ratings"]

        problem_of(take_back(club, "rated nothing", item_id), 404, "unknown_rating")
        assert before == club.request("/health").json["feedback"]["ratings"]

    def test_an_id_that_is_too_long_is_named(self, club: ServerProcess) -> None:
        assert problem_of(take_back(club, "ann", "x" * 257), 400) == ["path.item_id"]
        assert problem_of(take_back(club, "x" * 257, "1"), 400) == ["path.user_id"]


class TestWithdrawnFilms:
    """They stay in histories: what was said of them counts as it was said."""

    def test_are_listed_with_what_was_said_last(self, club: ServerProcess, sample_data: Dataset) -> None:
        user_id = "20"
        changed, deleted, kept = (row[0] for row in file_rows(sample_data, user_id)[:3])
        rate(club, rating(user_id, changed, 0.5))
        take_back(club, user_id, deleted)
        expected, answer = rows_of(club, user_id), recommended(club, user_id, "?n=100")
        for film in (changed, deleted, kept):
            assert withdraw_item(club, film).status == 200

        assert expected == rows_of(club, user_id)
        offered = [item for item in answer["items"] if item["item_id"] not in (changed, deleted, kept)]
        assert offered == recommended(club, user_id, "?n=100")["items"][: len(offered)]

        assert take_back(club, user_id, changed).status == 200
        assert take_back(club, user_id, changed).status == 404
        assert changed not in listed(club, user_id)
        for film in (changed, deleted, kept):
            put_item(club, film)
        assert counts_all(club, user_id)

    def test_that_were_registered_here_are_listed(self, club: ServerProcess) -> None:
        put_item(club, "short-lived")
        rate(club, rating("witness", "short-lived", 3), rating("witness", "1"))
        withdraw_item(club, "short-lived")

        assert listed(club, "witness") == {"short-lived": 3, "1": 5}
        assert by_hand(club, "witness")["ignored"] == ["short-lived"]
        assert take_back(club, "witness", "short-lived").status == 200
        assert listed(club, "witness") == {"1": 5}

    def test_take_no_new_ratings(self, club: ServerProcess) -> None:
        put_item(club, "gone")
        withdraw_item(club, "gone")

        assert problem_of(rate(club, rating("late", "gone")), 400) == ["body.ratings[0].item_id"]
