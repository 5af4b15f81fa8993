"""Servers that the tests of this folder share, one for each data set.

A plugin (`pytest_plugins` in the test modules) and not a conftest.py, whose name would hide the one above it.
"""

import contextlib
import csv
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from feedback_calls import TENTHS, TOKEN
from http_exchange import BODY_TIMEOUT_S, ODD_IDS
from service import ROOT, ServerProcess

from recsys.datasets.ratings import Dataset
from recsys.datasets.reading import read_dataset
from recsys.training.pipeline import train
from recsys.training.plan import TrainingPlan

#: Titles with what JSON, HTML and a title search stumble over.
ODD_TITLES = (
    "Amélie (2001)",
    'He Said "No" (1999)',
    "<script>alert(1)</script> (1980)",
    "Back \\ Slash",
    "東京物語 (1953)",
)


@contextlib.contextmanager
def running_server(directory: Path, **settings: str) -> Iterator[ServerProcess]:
    """A server process in `directory`, with these settings (`SECTION__NAME`), ended by its own process id."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    env |= {f"RECSYS_{name}": value for name, value in settings.items()}
    env |= {"RECSYS_PATHS__STATE": str(directory / "state"), "RECSYS_CONFIG_DIR": str(ROOT / "config")}
    process = subprocess.Popen(
        [sys.executable, "-m", "recsys", "serve", "--port", "0"],
        cwd=directory, env=env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    server = ServerProcess(process, directory)
    listening = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            server.log.append(line.rstrip())
            if found := re.search(r"address=(http://\S+)", line):
                server.address = found[1]
                listening.set()
        listening.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert listening.wait(30), "the server does not listen"
        assert server.address, "the server ended:\n" + "\n".join(server.log)
        server.wait_ready()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        reader.join(10)
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture(scope="session")
def server(trained_sample: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The sample, with the settings as they come but for a short wait for bodies."""
    with running_server(
        tmp_path_factory.mktemp("sample-server"),
        PATHS__MODELS=str(trained_sample),
        PATHS__SAMPLE=str(sample),
        SERVER__BODY_TIMEOUT_S=str(BODY_TIMEOUT_S),
    ) as running:
        yield running


@pytest.fixture(scope="session")
def sample_data(sample: Path) -> Dataset:
    return read_dataset(sample)


@pytest.fixture(scope="session")
def ml_100k_server(ml_100k: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with _trained_server(ml_100k, tmp_path_factory.mktemp("ml-100k-server")) as running:
        yield running


@pytest.fixture(scope="session")
def ml_100k_data(ml_100k: Path) -> Dataset:
    return read_dataset(ml_100k)


@pytest.fixture(scope="session")
def ml_latest_small_server(ml_latest_small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with _trained_server(ml_latest_small, tmp_path_factory.mktemp("ml-latest-small-server")) as running:
        yield running


@pytest.fixture(scope="session")
def odd_ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV whose users and items bear `ODD_IDS`, and some newcomers with as many ratings as their names say."""
    directory = tmp_path_factory.mktemp("odd")
    dice = random.Random(5)
    items = [*ODD_IDS, *(f"plain{number}" for number in range(17))]
    with (directory / "ratings.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "rating", "timestamp"])
        for user in (*ODD_IDS, *(f"crowd{number}" for number in range(40))):
            favourites = items[::2] if dice.random() < 0.5 else items[1::2]
            for when, item in enumerate(dice.sample(favourites, 14)):
                rows.writerow([user, item, dice.choice([4, 5]), when])
            rows.writerow([user, dice.choice([item for item in items if item not in favourites]), 2, 20])
        for n_ratings in (1, 4, 5):
            rows.writerows([f"newcomer{n_ratings}", item, 5, 1] for item in items[:n_ratings])
    with (directory / "movies.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["movieId", "title", "genres"])
        for number, item in enumerate(items):
            title = ODD_TITLES[number] if number < len(ODD_TITLES) else f"Film {number} ({1950 + number})"
            rows.writerow([item, title, "Drama|Sci-Fi" if number % 2 else "Comedy"])
    return directory


@pytest.fixture(scope="session")
def odd_data(odd_ratings: Path) -> Dataset:
    return read_dataset(odd_ratings)


@pytest.fixture(scope="session")
def odd_server(odd_ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with _trained_server(odd_ratings, tmp_path_factory.mktemp("odd-server")) as running:
        yield running


@contextlib.contextmanager
def _trained_server(data: Path, directory: Path) -> Iterator[ServerProcess]:
    models = directory / "models"
    train(TrainingPlan(models=models, sample=directory / "none", data=data), now=lambda: datetime.now(UTC))
    with running_server(directory, PATHS__MODELS=str(models), DATA__PATH=str(data), ADMIN__TOKEN=TOKEN) as running:
        yield running


@pytest.fixture(scope="session")
def cors_server(trained_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Answers pages of one origin."""
    with running_server(
        tmp_path_factory.mktemp("cors-server"),
        PATHS__MODELS=str(trained_sample),
        CORS__ORIGINS='["https://films.example"]',
    ) as running:
        yield running


@pytest.fixture(scope="session")
def open_server(trained_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Answers pages of every origin."""
    with running_server(
        tmp_path_factory.mktemp("open-server"), PATHS__MODELS=str(trained_sample), CORS__ORIGINS='["*"]'
    ) as running:
        yield running


@contextlib.contextmanager
def _own_server(trained_sample: Path, sample: Path, directory: Path, **settings: str) -> Iterator[ServerProcess]:
    models = directory / "models"
    shutil.copytree(trained_sample, models)
    settings |= {"PATHS__MODELS": str(models), "PATHS__SAMPLE": str(sample), "ADMIN__TOKEN": TOKEN}
    with running_server(directory, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def club(trained_sample: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The sample's model in a service that one test module has to itself, for its ratings and films."""
    with _own_server(trained_sample, sample, tmp_path_factory.mktemp("club")) as running:
        yield running


@pytest.fixture(scope="module")
def ids_server(trained_sample: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Like `club`, and each answer carries an id."""
    directory = tmp_path_factory.mktemp("ids-server")
    with _own_server(trained_sample, sample, directory, FEEDBACK__RECOMMENDATION_IDS="true") as running:
        yield running


@pytest.fixture(scope="module")
def tenths_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Ratings that no well-known scale holds, without times, and too few for more than popularity."""
    directory = tmp_path_factory.mktemp("tenths-server")
    rows = [f"u{user},i{item},{TENTHS[(user + item) % len(TENTHS)]}" for user in range(5) for item in range(8)]
    (directory / "ratings.csv").write_text("\n".join(["user,item,rating", *rows]) + "\n", encoding="utf-8")
    with _trained_server(directory / "ratings.csv", directory) as running:
        yield running
