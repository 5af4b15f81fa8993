"""`recsys ratings export FILE` and `recsys ratings import FILE`."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from command_line import CommandLine
from service import ServerProcess

from recsys.artifacts.store import ModelStore
from recsys.datasets.events import ItemChange
from recsys.feedback.changes import Change, DeleteRating, ForgetUser, PutItem, PutRatings, Rating
from recsys.feedback.database import feedback_path
from recsys.feedback.exporting import LiveRating, live_ratings
from recsys.feedback.reading import FeedbackReader
from recsys.feedback.store import FeedbackStore

pytest_plugins = ["recsys_command"]
StoreWith = Callable[..., ModelStore]
HEADER = "user_id,item_id,rating,timestamp\n"


@pytest.fixture
def films(store_with: StoreWith) -> list[str]:
    """The items of a model that is in the store."""
    path = store_with("v1.0.0").directory / "v1.0.0" / "items.jsonl"
    return [json.loads(line)[0] for line in path.read_text().splitlines()]


def csv_of(recsys: CommandLine, *lines: str, name: str = "ratings.csv") -> str:
    path = recsys.directory / name
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return str(path)


def change(recsys: CommandLine, *changes: Change) -> None:
    with closing(FeedbackStore(recsys.directory / "state")) as store:
        store.open()
        store.write(changes)


def kept(recsys: CommandLine) -> list[LiveRating]:
    """The live ratings in the store; none if there is no store."""
    path = feedback_path(recsys.directory / "state")
    return [rating for page in live_ratings(path) for rating in page.ratings] if path.exists() else []


def item(item_id: str, *, withdrawn: bool = False) -> PutItem:
    return PutItem(ItemChange(item_id, "A film", None, (), None, None, withdrawn=withdrawn, sequence=0))


def with_files_up_to(n_bytes: int, recsys: CommandLine, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that cannot write beyond `n_bytes` of a file: it fails where it would on a disk that is full."""
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (int(sys.argv.pop(1)),));"
    command = [sys.executable, "-c", f"{code} from recsys.cli.main import main; sys.exit(main())", str(n_bytes)]
    return subprocess.run(
        [*command, *arguments], cwd=recsys.directory, env=recsys.environ, capture_output=True, text=True, check=False
    )


class TestImport:
    def test_says_what_came_of_it_and_a_second_time_changes_nothing(
        self, recsys: CommandLine, films: list[str]
    ) -> None:
        path = csv_of(recsys, f"ann,{films[0]},4.5,100", f"bob,{films[1]},1,200", f"ann,{films[0]},4.5,100")
        first = recsys("ratings", "import", path)
        before = kept(recsys)
        second = recsys("ratings", "import", path)

        assert (first.returncode, first.stdout) == (0, "read 3 ratings: 2 added, 1 there already, 0 left out\n")
        assert before == [("ann", films[0], 4.5, 100), ("bob", films[1], 1.0, 200)]
        assert (second.returncode, second.stdout) == (0, "read 3 ratings: 0 added, 3 there already, 0 left out\n")
        assert before == kept(recsys)

    def test_shows_its_stages_on_stderr(self, recsys: CommandLine, films: list[str]) -> None:
        done = recsys("ratings", "import", csv_of(recsys, f"ann,{films[0]},4,100"))

        assert ["stage=checking" in done.stderr, "stage=adding" in done.stderr] == [True, True]
        assert "ann" not in done.stderr

    def test_what_was_exported_changes_nothing(self, recsys: CommandLine, films: list[str]) -> None:
        ratings = (Rating("ann", films[0], 4.0, 100), Rating("ann", films[0], 2.0, 50), Rating("bob", films[1], 3.0))
        change(recsys, PutRatings(ratings), DeleteRating("ann", films[2]))
        sequence = FeedbackReader(feedback_path(recsys.directory / "state")).sequence
        recsys("ratings", "export", "out.csv")

        done = recsys("ratings", "import", "out.csv")

        assert done.stdout == "read 2 ratings: 0 added, 2 there already, 0 left out\n"
        assert FeedbackReader(feedback_path(recsys.directory / "state")).sequence == sequence

    def test_bad_rows_are_counted_and_named_by_file_and_line(self, recsys: CommandLine, films: list[str]) -> None:
        bad = [f"ann,{films[1]},many,5", f"ann,{films[2]},4.7,5", f"ann,{films[3]},4,{int(time.time()) + 90_000}"]
        path = csv_of(recsys, f"ann,{films[0]},4,5", *bad)
        done = recsys("ratings", "import", path, RECSYS_DATA__MAX_BAD_SHARE="0.75")

        assert done.stdout.splitlines()[:4] == [
            "read 4 ratings: 1 added, 0 there already, 3 left out",
            "  3 bad rows",
            "    ratings.csv:3: rating 'many' is not a finite number",
            "    ratings.csv:4: rating 4.7 is not on the scale 0.5–5 in steps of 0.5",
        ]
        assert "ratings.csv:5: timestamp" in done.stdout
        assert "more than a day in the future" in done.stdout
        assert kept(recsys) == [("ann", films[0], 4.0, 5)]

    def test_too_many_of_them_refuse_the_file_before_anything_is_added(
        self, recsys: CommandLine, films: list[str]
    ) -> None:
        path = csv_of(recsys, *(f"ann,{film},4,5" for film in films[:98]), *(f"bob,{film},9,5" for film in films[:2]))

        line = recsys.refused("ratings", "import", path)
        assert "ratings.csv: 2 of 100 rows are bad, over the limit of 0.01" in line
        assert "ratings.csv:100: rating 9 is not on the scale" in line
        assert not feedback_path(recsys.directory / "state").exists()

    def test_unknown_items_are_counted_named_and_left_out(self, recsys: CommandLine, films: list[str]) -> None:
        path = csv_of(recsys, f"ann,{films[0]},4,5", *(f"ann,new{n % 7},4,{n}" for n in range(20)))
        done = recsys("ratings", "import", path)

        assert done.stdout == (
            "read 21 ratings: 1 added, 0 there already, 20 left out\n"
            "  20 ratings of items that v1.0.0 does not know: 'new0', 'new1', 'new2', 'new3', 'new4', …"
            " (PUT /api/v1/items/{item_id} registers one)\n"
        )
        assert kept(recsys) == [("ann", films[0], 4.0, 5)]

    def test_strict_refuses_them_and_bad_rows(self, recsys: CommandLine, films: list[str]) -> None:
        good = [f"ann,{film},4,5" for film in films[:200]]

        assert "does not know: 'new'" in recsys.refused(
            "ratings", "import", "--strict", csv_of(recsys, *good, "ann,new,4,5")
        )
        assert "1 of 201 rows" in recsys.refused("ratings", "import", "--strict", csv_of(recsys, *good, "ann,1,many,5"))
        assert kept(recsys) == []

    def test_a_file_of_unknown_items_alone_is_refused(self, recsys: CommandLine, films: list[str]) -> None:
        line = recsys.refused("ratings", "import", csv_of(recsys, "ann,new,4,5", "bob,newer,4,5"))

        assert "2 ratings of items that v1.0.0 does not know: 'new', 'newer' (PUT " in line

    def test_items_that_were_registered_are_known_and_withdrawn_ones_are_not(
        self, recsys: CommandLine, films: list[str]
    ) -> None:
        change(recsys, item("new"), item(films[0], withdrawn=True))
        done = recsys("ratings", "import", csv_of(recsys, "ann,new,4,5", f"ann,{films[0]},4,5", f"ann,{films[1]},4,6"))

        assert done.stdout.startswith("read 3 ratings: 2 added, 0 there already, 1 left out\n")
        assert kept(recsys) == [("ann", "new", 4.0, 5), ("ann", films[1], 4.0, 6)]

    def test_users_who_were_forgotten_stay_so(self, recsys: CommandLine, films: list[str]) -> None:
        path = csv_of(recsys, f"ann,{films[0]},4,5", f"bob,{films[0]},4,5")
        recsys("ratings", "import", path)
        change(recsys, ForgetUser("ann"))
        done = recsys("ratings", "import", path)

        assert done.stdout == (
            "read 2 ratings: 0 added, 1 there already, 1 left out\n  1 ratings of users who were forgotten\n"
        )
        assert kept(recsys) == [("bob", films[0], 4.0, 5)]

    def test_without_a_model_ratings_are_taken_as_they_are(self, recsys: CommandLine) -> None:
        done = recsys("ratings", "import", csv_of(recsys, "ann,any,77,5"))

        assert done.returncode == 0
        assert "there is no model in" in done.stdout
        assert kept(recsys) == [("ann", "any", 77.0, 5)]

    def test_the_newest_version_that_is_sound_and_accepted_is_the_measure(
        self, recsys: CommandLine, store_with: StoreWith
    ) -> None:
        directory = store_with("v1.0.0", "v1.0.1", "v1.0.2").directory
        rejected, damaged = directory / "v1.0.2" / "manifest.json", directory / "v1.0.1" / "items.jsonl"
        manifest = json.loads(rejected.read_text()) | {"gate": {"verdict": "rejected", "checks": []}}
        rejected.write_text(json.dumps(manifest))
        damaged.write_bytes(damaged.read_bytes().replace(b"e", b"a", 1))

        assert "that v1.0.0 does not know" in recsys.refused("ratings", "import", csv_of(recsys, "ann,new,4,5"))

    def test_an_empty_table_is_done_at_once(self, recsys: CommandLine, films: list[str]) -> None:
        done = recsys("ratings", "import", csv_of(recsys))

        assert (done.returncode, done.stdout) == (0, "read 0 ratings: 0 added, 0 there already, 0 left out\n")

    def test_interrupted_keeps_what_was_added_and_the_next_adds_the_rest(
        self, recsys: CommandLine, films: list[str]
    ) -> None:
        n_rows = 60_000
        path = csv_of(recsys, *(f"user{n // 50},{films[n % 1000]},4,{n}" for n in range(n_rows)))
        process = recsys.start("ratings", "import", path)
        assert process.stdout is not None
        assert process.stderr is not None
        database, deadline = feedback_path(recsys.directory / "state"), time.monotonic() + 60
        with process:
            while not (database.exists() and FeedbackReader(database).sequence):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)

        n_kept = len(kept(recsys))
        assert (process.returncode, out) == (130, "")
        assert 0 < n_kept < n_rows
        assert err.splitlines()[-2:] == [
            f"{n_kept:,} ratings were added and stay; importing the file again adds the rest",
            "recsys: interrupted",
        ]
        done = recsys("ratings", "import", path)
        assert done.stdout.startswith(f"read 60,000 ratings: {n_rows - n_kept:,} added, {n_kept:,} there already")
        assert len(kept(recsys)) == n_rows


class TestBesideAService:
    def test_an_import_counts_by_itself(
        self, recsys: CommandLine, films: list[str], serve: Callable[..., ServerProcess]
    ) -> None:
        server, user = serve(), "/api/v1/users/newcomer"
        assert server.request(f"{user}/recommendations").json["strategy"] == "popular"
        lines = [f"newcomer,{film},5,{n}" for n, film in enumerate(films[:8])]

        done = recsys("ratings", "import", csv_of(recsys, *lines))
        assert done.returncode == 0, done.stderr
        server.wait_for(lambda: len(server.request(f"{user}/ratings").json["ratings"]) == 8, "in the listing", 3)

        answer = server.request(f"{user}/recommendations?n=100").json
        assert answer["strategy"] == "personalized"
        assert not {one["item_id"] for one in answer["items"]} & set(films[:8])

    def test_export_has_what_was_acknowledged(
        self, recsys: CommandLine, films: list[str], serve: Callable[..., ServerProcess]
    ) -> None:
        server = serve()
        ratings = [{"user_id": 'é, \n"x"', "item_id": films[0], "rating": 4.5, "timestamp": 100}]
        assert server.request("/api/v1/ratings", method="POST", body={"ratings": ratings}).status == 200

        assert recsys("ratings", "export", "out.csv").returncode == 0
        assert (recsys.directory / "out.csv").read_bytes() == (HEADER + f'"é, \n""x""",{films[0]},4.5,100\n').encode()
        done = recsys("ratings", "import", "out.csv")
        assert done.stdout == "read 1 ratings: 0 added, 1 there already, 0 left out\n"


class TestExport:
    IDS = ("a,b", 'a"b', "a\nb", "a\r\nb", " é ", "日本", "=1+1", "\ufeff", "007", "\x07\0")

    @pytest.fixture
    def rated(self, recsys: CommandLine) -> CommandLine:
        ratings = [
            Rating(user_id, item_id, 0.5 + n % 10 / 2, 1000 - n)
            for n, (user_id, item_id) in enumerate((user_id, item_id) for user_id in self.IDS for item_id in self.IDS)
        ]
        change(recsys, PutRatings(tuple(ratings)), DeleteRating("007", "007"))
        return recsys

    def test_what_is_imported_into_an_empty_store_is_what_was_exported(
        self, rated: CommandLine, tmp_path: Path
    ) -> None:
        done = rated("ratings", "export", "out.csv")
        assert (done.returncode, done.stdout) == (0, "wrote 99 ratings of 10 users to out.csv\n")
        other = CommandLine(tmp_path / "other", rated.sample)
        other.directory.mkdir()

        done = other("ratings", "import", str(tmp_path / "out.csv"))
        assert done.stdout.startswith("read 99 ratings: 99 added, 0 there already, 0 left out\n")
        assert kept(rated) == kept(other)
        assert other("ratings", "export", "out.csv").returncode == 0
        assert (rated.directory / "out.csv").read_bytes() == (other.directory / "out.csv").read_bytes()

    def test_a_dash_writes_the_table_and_nothing_else_to_standard_output(self, rated: CommandLine) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "recsys", "ratings", "export", "-"], cwd=rated.directory,
            env=rated.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True,
        )  # fmt: skip
        rated("ratings", "export", "out.csv")

        assert (rated.directory / "out.csv").read_bytes() == done.stdout
        assert b"wrote 99 ratings of 10 users to -" in done.stderr

    def test_only_its_owner_may_read_the_file(self, rated: CommandLine) -> None:
        rated("ratings", "export", "out.csv")

        assert stat.S_IMODE((rated.directory / "out.csv").stat().st_mode) == 0o600

    def test_a_link_is_followed(self, rated: CommandLine) -> None:
        (rated.directory / "backups").mkdir()
        (rated.directory / "out.csv").symlink_to("backups/today.csv")
        rated("ratings", "export", "out.csv")

        assert (rated.directory / "out.csv").is_symlink()
        assert (rated.directory / "backups" / "today.csv").read_text().startswith(HEADER)

    def test_without_a_database_is_refused_and_leaves_the_file_as_it_was(self, recsys: CommandLine) -> None:
        path = csv_of(recsys, "ann,1,4,5")

        assert "there is no" in recsys.refused("ratings", "export", path)
        assert Path(path).read_text() == HEADER + "ann,1,4,5\n"

    @pytest.mark.parametrize("target", [".", "pipe", "nowhere/out.csv", "ratings.csv/out.csv"])
    def test_what_cannot_be_written_is_one_clear_line(self, rated: CommandLine, target: str) -> None:
        csv_of(rated)
        pipe = rated.directory / "pipe"
        os.mkfifo(pipe)

        assert f"recsys: {target} " in rated.refused("ratings", "export", target)
        assert pipe.is_fifo()
        assert sorted(os.listdir(rated.directory)) == ["pipe", "ratings.csv", "state"]

    def test_a_full_disk_leaves_the_file_as_it_was(self, rated: CommandLine) -> None:
        path = csv_of(rated, "ann,1,4,5")
        done = with_files_up_to(512, rated, "ratings", "export", "ratings.csv")

        assert done.returncode == 1, done.stderr
        assert done.stderr.splitlines()[-1] == "recsys: ratings.csv cannot be written: File too large"
        assert Path(path).read_text() == HEADER + "ann,1,4,5\n"
        assert sorted(os.listdir(rated.directory)) == ["ratings.csv", "state"]

    @pytest.mark.parametrize(("sink", "status", "says"), [("/dev/full", 1, "No space left"), ("closed", 1, "")])
    def test_standard_output_that_fails_is_no_traceback(
        self, rated: CommandLine, sink: str, status: int, says: str
    ) -> None:
        read, write = os.pipe()
        os.close(read)
        if sink != "closed":
            os.close(write)
            write = os.open(sink, os.O_WRONLY)
        done = subprocess.run(
            [sys.executable, "-m", "recsys", "ratings", "export", "-"], cwd=rated.directory, env=rated.environ,
            stdout=write, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        os.close(write)

        assert status == done.returncode
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


class TestRefused:
    @pytest.mark.parametrize("name", ["nowhere.csv", ".", "pipe", "-"])
    def test_a_path_that_is_no_file(self, recsys: CommandLine, name: str) -> None:
        os.mkfifo(recsys.directory / "pipe")

        assert f"recsys: {name} " in recsys.refused("ratings", "import", name)

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "ratings.csv is empty"),
            (b"user,item,when\nann,1,5\n", "has no column for rating; its header is: user, item, when"),
            (b"PK\x03\x04" + bytes(range(256)) * 20, "ratings.csv"),
        ],
    )
    def test_a_file_that_is_no_table_of_ratings(self, recsys: CommandLine, content: bytes, says: str) -> None:
        (recsys.directory / "ratings.csv").write_bytes(content)

        assert says in recsys.refused("ratings", "import", "ratings.csv")

    @pytest.mark.parametrize("action", ["import", "export"])
    def test_a_damaged_database_which_is_kept(self, recsys: CommandLine, films: list[str], action: str) -> None:
        path = feedback_path(recsys.directory / "state")
        path.parent.mkdir()
        path.write_bytes(b"not a database" * 1000)
        csv_of(recsys, f"ann,{films[0]},4,5")

        assert f"{path} is damaged" in recsys.refused("ratings", action, "ratings.csv")
        assert path.read_bytes() == b"not a database" * 1000

    @pytest.mark.slow
    def test_a_locked_database(self, recsys: CommandLine, films: list[str]) -> None:
        change(recsys, item("new"))
        with locked(feedback_path(recsys.directory / "state")):
            line = recsys.refused("ratings", "import", csv_of(recsys, f"ann,{films[0]},4,5"))

        assert "is locked by another process" in line

    def test_a_disk_that_fills_up_keeps_what_was_added(self, recsys: CommandLine, films: list[str]) -> None:
        rows = [f"user{n // 50},{films[n % 1000]},4,{n}" for n in range(60_000)]
        csv_of(recsys, *rows)
        change(recsys, item("new"))
        done = with_files_up_to(1_500_000, recsys, "ratings", "import", "ratings.csv")

        n_kept = len(kept(recsys))
        assert (done.returncode, done.stdout) == (1, "")
        assert 0 < n_kept < 60_000
        last = done.stderr.splitlines()[-1]
        assert last.startswith("recsys: ")
        assert f"; {n_kept:,} ratings were added and stay; importing the file again adds the rest" in last

    @pytest.mark.parametrize(
        "arguments", [[], ["fly"], ["import"], ["export"], ["import", "a", "b"], ["export", "--strict", "a"]]
    )
    def test_wrong_usage_is_status_2(self, recsys: CommandLine, arguments: list[str]) -> None:
        done = recsys("ratings", *arguments)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: recsys")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("action", ["import", "export"])
def test_help_says_what_is_not_in_a_csv_file(recsys: CommandLine, action: str) -> None:
    text = " ".join(recsys("ratings", action, "--help").stdout.split())

    assert "What was taken back of the data files, who was forgotten, and what was said of films is not" in text
    assert "feedback.sqlite" in text
