"""One store, several processes, any of which may be killed; and a disk that runs full."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from small_disks import fill, small_disk_at
from test_store import describe, listed, publish

from recsys.artifacts.marks import Mark, Marks
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import StoreError

Run = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made = ModelStore(tmp_path / "models")
    made.ensure()
    return made


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run code in a process of its own, with `store`, `marks` and the module `test_store` at hand."""
    with ExitStack() as started:

        def start(code: str) -> "subprocess.Popen[str]":
            preamble = f"""
                import sys
                sys.path.insert(0, {str(Path(__file__).parent)!r})
                from pathlib import Path
                from test_store import describe, publish
                from recsys.artifacts.marks import Mark, Marks
                from recsys.artifacts.store import ModelStore
                from recsys.artifacts.version import Version
                store = ModelStore(Path({str(tmp_path / "models")!r}))
                marks = Marks(Path({str(tmp_path / "state")!r}))
            """
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(preamble) + textwrap.dedent(code)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start


def start_together(processes: list["subprocess.Popen[str]"]) -> None:
    """Let processes go on that have said "ready" and wait for a line, as nearly at the same moment as can be."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def said(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output


def test_publishers_at_the_same_time_each_get_a_version_of_their_own(store: ModelStore, run: Run) -> None:
    each, n_processes = 8, 4
    code = f"""
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range({each}):
            print(publish(store).version, flush=True)
    """
    processes = [run(code) for _ in range(n_processes)]
    start_together(processes)
    published = [name for process in processes for name in said(process).split()]

    assert len(set(published)) == len(published) == each * n_processes
    assert sorted(published) == sorted(listed(store))
    assert [f"v1.0.{patch}" for patch in range(each * n_processes)] == listed(store)


def test_of_publishers_of_the_same_name_exactly_one_wins(store: ModelStore, run: Run) -> None:
    code = """
        from recsys.errors import VersionTakenError
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            print(publish(store, "v1.0.0").version)
        except VersionTakenError:
            print("taken")
    """
    processes = [run(code) for _ in range(4)]
    start_together(processes)

    assert sorted(said(process).strip() for process in processes) == ["taken", "taken", "taken", "v1.0.0"]


def test_a_clean_up_at_the_same_time_takes_nothing_from_publishers(store: ModelStore, run: Run) -> None:
    """A service that starts cleans up while a training run publishes."""
    cleaner = run("""
        import threading
        stop = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
        print("ready", flush=True)
        while not stop.is_set():
            store.clean_up()
    """)
    assert cleaner.stdout is not None
    cleaner.stdout.readline()

    published = [publish(store).version for _ in range(150)]

    said(cleaner)
    assert published == listed(store)


def test_what_a_killed_process_was_staging_is_removed_and_never_listed(store: ModelStore, run: Run) -> None:
    process = run("""
        with store.stage() as staged:
            (staged / "model.json").write_bytes(b"{}")
            print(staged, flush=True)
            sys.stdin.readline()
    """)
    assert process.stdout is not None
    staged = Path(process.stdout.readline().strip())
    assert store.clean_up() == 0
    assert staged.is_dir()

    process.send_signal(signal.SIGKILL)
    process.wait(10)

    assert store.clean_up() == 1
    assert not staged.exists()
    assert listed(store) == []


def test_a_process_killed_while_it_holds_the_lock_lets_go_of_it(store: ModelStore, run: Run) -> None:
    process = run("""
        def stuck(version, files):
            print("locked", flush=True)
            sys.stdin.readline()
        with store.stage() as staged:
            store.publish(staged, None, stuck)
    """)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait(10)

    assert publish(store).version == "v1.0.0"


def test_a_process_killed_anywhere_in_a_publication_leaves_a_version_or_nothing(store: ModelStore, run: Run) -> None:
    """The kernel decides where: what counts is that whatever is listed is whole."""
    for _ in range(5):
        process = run("""
            print("ready", flush=True)
            while True:
                publish(store, content=b"x" * 100_000)
        """)
        assert process.stdout is not None
        process.stdout.readline()
        before, deadline = len(listed(store)), time.monotonic() + 30
        while len(listed(store)) < before + 3:
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
        process.wait(10)

        assert all(entry.manifest is not None for entry in store.scan().entries)
        for entry in store.scan().entries:
            assert (store.path(entry.version) / "model.json").read_bytes() == b"x" * 100_000
    store.clean_up()
    assert os.listdir(store.directory / ".staging") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with small_disk_at(tmp_path / "disk", "1m") as path:
        yield path


def test_a_full_disk_leaves_nothing_visible_and_nothing_behind(small_disk: Path) -> None:
    store = ModelStore(small_disk / "models")
    publish(store, "v1.0.0")
    before = store.scan()

    with pytest.raises(StoreError, match="No space left"):
        publish(store, content=bytes(2 * 2**20))

    assert before == store.scan()
    assert os.listdir(store.directory / ".staging") == []
    assert publish(store).version == "v1.0.1"


def test_a_disk_that_is_full_when_the_manifest_is_written_shows_nothing(small_disk: Path) -> None:
    store = ModelStore(small_disk / "models")
    publish(store, "v1.0.0")
    ballast: list[Path] = []

    def publish_late() -> None:
        with store.stage() as staged:
            (staged / "model.json").write_bytes(b"{}")
            ballast.append(fill(small_disk))
            store.publish(staged, None, describe)

    with pytest.raises(StoreError, match="No space left"):
        publish_late()

    assert listed(store) == ["v1.0.0"]
    ballast[0].unlink()
    assert publish(store).version == "v1.0.1"


def test_marks_on_a_full_disk_stay_as_they_were(small_disk: Path) -> None:
    marks = Marks(small_disk)
    marks.pin(Version(1, 0, 0))
    marks.mark("v1.0.1", Mark("f", "reason", "now"))
    fill(small_disk)

    with pytest.raises(StoreError):
        marks.pin(Version(2, 0, 0))
    with pytest.raises(StoreError):
        marks.mark("v1.0.2", Mark("f", "reason", "now"))

    assert Version(1, 0, 0) == marks.pinned()
    assert {"v1.0.1"} == set(marks.failed())
    assert {"pin.json", "quarantine.json", ".lock"} == set(os.listdir(marks.directory))


def test_marks_from_several_processes_are_all_kept(tmp_path: Path, run: Run) -> None:
    processes = [
        run(f"""
            print("ready", flush=True)
            sys.stdin.readline()
            for patch in range(20):
                marks.mark(f"v{number}.0.{{patch}}", Mark("f", "reason", "now"))
            marks.forget({{"v{number}.0.0"}})
        """)
        for number in range(3)
    ]
    start_together(processes)
    for process in processes:
        said(process)

    expected = {f"v{number}.0.{patch}" for number in range(3) for patch in range(1, 20)}
    assert expected == set(Marks(tmp_path / "state").failed())


def test_a_reader_sees_a_whole_pin_at_any_moment(tmp_path: Path, run: Run) -> None:
    marks = Marks(tmp_path / "state")
    marks.pin(Version(1, 0, 0))
    writer = run("""
        print("ready", flush=True)
        for patch in range(150):
            marks.pin(Version(1, 0, patch))
            marks.mark(f"v1.0.{patch}", Mark("f", "reason" * patch, "now"))
    """)
    assert writer.stdout is not None
    writer.stdout.readline()

    while writer.poll() is None:
        assert marks.pinned() is not None
        marks.failed()

    assert writer.returncode == 0
    assert Version(1, 0, 149) == marks.pinned()
    assert len(marks.failed()) == 150
