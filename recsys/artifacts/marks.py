"""What operators and the service remember about versions, beside the store: the pin, and the marks of those that
failed.

One small JSON file each in `<state>/store`, replaced atomically: the command line and the service may both write.
Must not know how a version is loaded.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from recsys.artifacts.files import remove_temporaries, replace_durable
from recsys.artifacts.version import Version
from recsys.errors import StoreError


@dataclass(frozen=True)
class Mark:
    """A version that could not be served: `fingerprint` of the content that failed, the reason, and since when."""

    fingerprint: str
    reason: str
    since: str


class Marks:
    """The pin and the failure marks of one store. Every read looks at the disk."""

    def __init__(self, state: Path) -> None:
        self.directory = state / "store"
        self._pin = self.directory / "pin.json"
        self._failed = self.directory / "quarantine.json"

    def ensure(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable(self.directory, error) from error

    def pinned(self) -> Version | None:
        """The version that an operator pinned."""
        if not self._pin.exists():
            return None
        text = _read(self._pin).get("version")
        version = Version.find(text) if isinstance(text, str) else None
        if version is None and self._pin.exists():
            raise StoreError(f"{self._pin} names no version", hint="put it right or delete it")
        return version

    def pin(self, version: Version) -> None:
        with self._writing():
            replace_durable(self._pin, orjson.dumps({"version": str(version)}))

    def unpin(self) -> bool:
        """Lift the pin; false when there was none."""
        with self._writing():
            was_pinned = self._pin.exists()
            self._pin.unlink(missing_ok=True)
            return was_pinned

    def failed(self) -> dict[str, Mark]:
        """The marks by directory name, whether or not the content has changed since."""
        found = {}
        for name, value in _read(self._failed).items():
            if isinstance(value, dict) and set(value) == {"fingerprint", "reason", "since"}:
                found[name] = Mark(**{key: str(part) for key, part in value.items()})
        return found

    def mark(self, name: str, mark: Mark) -> None:
        self._change({name: mark}, ())

    def forget(self, names: set[str]) -> None:
        """Drop the marks of directories that are gone or good again."""
        if names & set(self.failed()):
            self._change({}, names)

    def _change(self, added: dict[str, Mark], removed: Any) -> None:
        with self._writing():
            marks = {name: mark for name, mark in self.failed().items() if name not in removed} | added
            content = orjson.dumps(
                {name: asdict(mark) for name, mark in marks.items()},
                option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
            )
            replace_durable(self._failed, content)

    def clean_up(self) -> int:
        """Remove what killed processes left half written; returns how many files."""
        with self._writing():
            return remove_temporaries(self._pin) + remove_temporaries(self._failed)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time among all processes; a killed one lets go by itself."""
        self.ensure()
        try:
            lock = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise _not_writable(self.directory, error) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}", hint="put it right or delete it") from error
    return found if isinstance(found, dict) else {}


def _not_writable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path} cannot be written: {error.strerror}", hint="RECSYS_PATHS__STATE names its parent")
