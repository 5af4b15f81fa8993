"""`recsys sample DIR`."""

from pathlib import Path

from command_line import CommandLine

pytest_plugins = ["recsys_command"]


def test_writes_a_data_set_that_can_be_trained_on(recsys: CommandLine, tmp_path: Path, sample: Path) -> None:
    done = recsys("sample", str(tmp_path / "films"))

    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "films") in done.stdout
    assert (sample / "ratings.csv").read_bytes() == (tmp_path / "films" / "ratings.csv").read_bytes()


def test_a_second_time_changes_nothing(recsys: CommandLine, tmp_path: Path) -> None:
    recsys("sample", str(tmp_path / "films"))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "films").iterdir()}

    assert recsys("sample", str(tmp_path / "films")).returncode == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "films").iterdir()}


def test_a_place_that_cannot_be_written_is_one_clear_line(recsys: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert str(tmp_path / "file") in recsys.refused("sample", str(tmp_path / "file" / "films"))


def test_other_files_are_not_written_over(recsys: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "ratings.csv").write_text("mine")

    recsys("sample", str(tmp_path / "films"))
    assert (tmp_path / "films" / "ratings.csv").read_text() == "mine"
