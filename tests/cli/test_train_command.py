"""`recsys train`: metrics, verdict and exit status; and one clear line for whatever cannot be trained on."""

import os
import re
import signal
import zipfile
from pathlib import Path

import pytest
from command_line import CommandLine

pytest_plugins = ["recsys_command"]
RATINGS = "user,item,rating,timestamp\n" + "".join(
    f"u{user},i{(user * 7 + n * 3) % 40},{(user + n) % 5 + 1},{n}\n" for user in range(60) for n in range(12)
)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> CommandLine:
    """One directory for all of `TestTrained`: its tests follow each other."""
    return CommandLine(tmp_path_factory.mktemp("trained-by-command"), sample)


class TestTrained:
    def test_a_first_version_of_the_sample_is_accepted_and_beats_popularity(self, trainer: CommandLine) -> None:
        done = trainer("train")

        assert done.returncode == 0, done.stderr
        assert re.match(r"v1\.0\.0 accepted: \w+ on \d+ ratings of 600 users for 1000 items", done.stdout)
        values = {
            name: float(value) for name, value in re.findall(r"^  (\w+): ndcg@10 (\d\.\d+)", done.stdout, re.MULTILINE)
        }
        popularity = values.pop("popularity")
        (model,) = values.values()
        assert model > 1.3 * popularity
        assert "passed beats_popularity" in done.stdout
        assert "FAILED" not in done.stdout

    def test_the_next_takes_the_next_patch(self, trainer: CommandLine) -> None:
        done = trainer("train")

        assert (done.returncode, done.stdout.split()[0]) == (0, "v1.0.1")

    def test_a_named_one_takes_its_name(self, trainer: CommandLine) -> None:
        done = trainer("train", "--version", "v2.5.0")

        assert (done.returncode, done.stdout.split()[0]) == (0, "v2.5.0")
        assert (trainer.directory / "models" / "v2.5.0" / "manifest.json").is_file()

    def test_a_name_that_is_taken_is_refused(self, trainer: CommandLine) -> None:
        assert "v1.0.0 exists in" in trainer.refused("train", "--version", "v1.0.0")

    @pytest.mark.parametrize("name", ["1.0.0", "v1", "v1.0.0-rc1", "../v1.0.0", "v01.0.0", ""])
    def test_a_name_that_is_no_version_is_refused(self, trainer: CommandLine, name: str) -> None:
        done = trainer("train", "--version", name)

        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert "version" in done.stderr.splitlines()[-1]

    def test_what_the_gate_refuses_is_status_1_and_kept(self, trainer: CommandLine, tmp_path: Path) -> None:
        """The same file with fewer users than the gate allows to be lost."""
        data = trainer.directory / "ratings.csv"
        data.write_text(RATINGS)
        assert trainer("train", "--data", str(data), "--version", "v3.0.0").returncode == 0
        data.write_text("\n".join(RATINGS.splitlines()[: 12 * 20 + 1]))
        done = trainer("train", "--data", str(data), "--version", "v3.0.1")

        assert done.returncode == 1
        assert done.stdout.startswith("v3.0.1 rejected")
        assert "FAILED users_not_shrunk" in done.stdout
        assert (trainer.directory / "models" / "v3.0.1" / "manifest.json").is_file()

    def test_models_says_where_versions_go(self, trainer: CommandLine, tmp_path: Path) -> None:
        done = trainer("train", "--models", str(tmp_path / "elsewhere"))

        assert (done.returncode, done.stdout.split()[0]) == (0, "v1.0.0")
        assert (tmp_path / "elsewhere" / "v1.0.0" / "manifest.json").is_file()

    def test_progress_goes_to_stderr(self, trainer: CommandLine, tmp_path: Path) -> None:
        done = trainer("train", "--models", str(tmp_path / "elsewhere"))

        assert "stage=" in done.stderr
        assert "stage=" not in done.stdout


@pytest.mark.real_data
def test_real_data_is_trained_on(recsys: CommandLine, ml_100k: Path) -> None:
    done = recsys("train", "--data", str(ml_100k))

    assert done.returncode == 0
    assert re.match(r"v1\.0\.0 accepted: \w+ on 100000 ratings of 943 users for 1682 items", done.stdout)


def test_bad_rows_are_counted_and_shown(recsys: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(RATINGS + "u1,i1,many,5\n")
    done = recsys("train", "--data", str(path))

    assert done.returncode == 0
    assert "left out 1 bad rows" in done.stdout
    assert "ratings.csv:722" in done.stdout


class TestRefused:
    def train(self, recsys: CommandLine, path: Path) -> str:
        line = recsys.refused("train", "--data", str(path))
        models = recsys.directory / "models"
        assert [name for name in os.listdir(models) if name.startswith("v")] == [] if models.exists() else True
        return line

    def test_a_path_that_is_not_there(self, recsys: CommandLine, tmp_path: Path) -> None:
        assert "nowhere does not exist" in self.train(recsys, tmp_path / "nowhere")

    def test_a_broken_zip(self, recsys: CommandLine, tmp_path: Path) -> None:
        path = tmp_path / "ml.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ratings.csv", RATINGS)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

        assert "ml.zip" in self.train(recsys, path)

    def test_a_csv_without_the_columns(self, recsys: CommandLine, tmp_path: Path) -> None:
        path = tmp_path / "sales.csv"
        path.write_text("date,shop,amount\n2020-01-01,a,5\n")

        assert "its header is: date, shop, amount" in self.train(recsys, path)

    def test_an_empty_file(self, recsys: CommandLine, tmp_path: Path) -> None:
        path = tmp_path / "ratings.csv"
        path.touch()

        assert "is empty" in self.train(recsys, path)

    def test_a_directory_without_ratings(self, recsys: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "holidays").mkdir()

        assert "holidays" in self.train(recsys, tmp_path / "holidays")

    def test_a_file_of_mostly_bad_rows(self, recsys: CommandLine, tmp_path: Path) -> None:
        path = tmp_path / "ratings.csv"
        path.write_text(RATINGS + "u1,i1,many,5\n" * 100)

        assert "ratings.csv" in self.train(recsys, path)

    def test_a_models_directory_that_cannot_be_made(self, recsys: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        line = recsys.refused("train", "--models", str(tmp_path / "file" / "models"))

        assert str(tmp_path / "file") in line

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_models_directory_that_may_not_be_written(self, recsys: CommandLine, tmp_path: Path) -> None:
        (tmp_path / "locked").mkdir(mode=0o500)

        assert "Permission denied" in recsys.refused("train", "--models", str(tmp_path / "locked"))


def test_ctrl_c_is_status_130_and_leaves_nothing_half_made(recsys: CommandLine, ml_100k: Path) -> None:
    process = recsys.start("train", "--data", str(ml_100k))
    assert process.stderr is not None
    with process:
        line = process.stderr.readline()
        assert "training" in line
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 130

    assert "Traceback" not in rest
    assert rest.splitlines()[-1] == "recsys: interrupted"
    models = recsys.directory / "models"
    assert [path for path in models.rglob("*") if path.is_file()] == [] if models.exists() else True
