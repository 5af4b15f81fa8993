"""What the parts share: the data, trained models, processes, the load client, and how long to measure."""

import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.processes import LoadClient, Processes, Server, free_port
from recsys.artifacts.servable import Servable, load_servable
from recsys.artifacts.turns import go_on

_ROOT = Path(__file__).parents[2]
_MOVIELENS = _ROOT.parent / "shared" / "data" / "ml-100k"


@dataclass(frozen=True)
class Row:
    """One line of the table. `target` and `met` stay empty where nothing is promised."""

    part: str
    what: str
    measured: Mapping[str, float | int | str | list[float]]
    target: str = ""
    met: bool | None = None


@dataclass
class World:
    processes: Processes
    client: LoadClient
    data: Path | None
    quick: bool
    seed: int = 0
    _trained: dict[str, Path] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.processes.directory

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def trained(self, name: str = "default") -> Path:
        """A directory of models with the one version v1.0.0, trained when it is first asked for."""
        if name not in self._trained:
            self.say(f"training the {name} model")
            models = self.directory / f"models-{name}"
            environ = {"RECSYS_PATHS__MODELS": str(models)}
            # the other model must answer differently, or a mix-up of versions would not show
            environ |= {"RECSYS_TRAINING__RIDGE": "50"} if name == "other" else {}
            self.processes.run(["recsys", "train"], environ)
            self._trained[name] = models
        return self._trained[name]

    def servable(self) -> Servable:
        return load_servable(self.trained() / "v1.0.0", pause=go_on)

    def users(self) -> tuple[str, ...]:
        return self.servable().contents.user_ids

    def random(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    def serve(self) -> Server:
        return self.processes.recsys(self.trained())

    def bare(self, routes: Sequence[tuple[str, str, int]]) -> Server:
        """The yardstick: method, path as aiohttp routes it, and length of the constant answer for each route."""
        port = free_port()
        server = self.processes.start(["benchmarks.bare", str(port), json.dumps(routes)], port, {})
        server.wait_ready("/ready")
        return server


def default_data() -> Path | None:
    return _MOVIELENS if _MOVIELENS.is_dir() else None


def copy_version(source: Path, staged: Path, version: str) -> None:
    """Copy a version under another name; it counts only once it is renamed into the models directory."""
    shutil.copytree(source, staged)
    manifest = staged / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": version}))


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def recommendations_of(users: Iterable[str]) -> list[bytes]:
    return [get(f"/api/v1/users/{user}/recommendations?n=10") for user in users]


def interleaved(rounds: int, measure: Sequence[Callable[[], None]]) -> None:
    """Call each of `measure` in each round, the first one last in every other round: what drifts hits all alike."""
    for number in range(rounds):
        for one in measure if number % 2 == 0 else reversed(measure):
            one()


def median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def percentile(latencies_ms: Sequence[float], share: float) -> float:
    return float(np.percentile(np.asarray(latencies_ms), share))
