"""What was trained here and is still to be published: kept on disk, so that it goes out once the bucket is back."""

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from recsys.artifacts.files import replace_durable
from recsys.artifacts.version import Version
from recsys.errors import StoreError


@dataclass(frozen=True)
class Waiting:
    """A version, and the pointer's generation when its training began: who comes later than another says so."""

    version: str
    generation: int


class Outbox:
    """The list of one service, first come first. Its methods block."""

    def __init__(self, state: Path) -> None:
        self._path = state / "store" / "outbox.json"

    def load(self) -> tuple[Waiting, ...]:
        """Errors: StoreError for a file that cannot be read."""
        try:
            found = [
                Waiting(str(each["version"]), int(each["generation"])) for each in orjson.loads(self._path.read_bytes())
            ]
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{self._path} cannot be read: {error}", hint="put it right or delete it") from error
        return tuple(waiting for waiting in found if Version.find(waiting.version) is not None)

    def save(self, waiting: tuple[Waiting, ...]) -> None:
        """Errors: StoreError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_durable(self._path, orjson.dumps([asdict(each) for each in waiting]))
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from error
