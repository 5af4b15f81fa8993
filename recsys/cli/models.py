"""`recsys models`: the local store, for operators. Publishes nothing into a running service but what files say."""

from collections.abc import Callable
from typing import Any

import orjson

from recsys.artifacts.marks import Marks
from recsys.artifacts.pointer import PointerMemory
from recsys.artifacts.s3_objects import bucket_name
from recsys.artifacts.servable import load_servable
from recsys.artifacts.store import Entry, ModelStore
from recsys.artifacts.turns import go_on
from recsys.artifacts.version import Version
from recsys.errors import VersionInvalidError
from recsys.serving.control import Control
from recsys.serving.policy import decide
from recsys.settings import Settings


def run(settings: Settings, action: str, version: str | None, *, as_json: bool) -> int:
    """Carry an action out. Errors: RecsysError with what to do."""
    return _Models(settings).run(action, Version.parse(version) if version is not None else None, as_json=as_json)


class _Models:
    def __init__(self, settings: Settings) -> None:
        self._store = ModelStore(settings.paths.models)
        self._marks = Marks(settings.paths.state)
        setting_pin = Version.parse(settings.model.version) if settings.model.version else None
        pointer = PointerMemory(settings.paths.state, bucket_name(settings.s3)).load if settings.s3.follows else _none
        self._control = Control(self._store, self._marks, setting_pin, pointer)

    def run(self, action: str, version: Version | None, *, as_json: bool) -> int:
        without: dict[str, Callable[[], Any]] = {
            "list": lambda: self._list(as_json=as_json),
            "unpin": self._unpin,
            "rollback": self._rollback,
        }
        if version is None:
            print(without[action]())
            return 0
        taking: dict[str, Callable[[Version], str]] = {"show": self._show, "verify": self._verify, "pin": self._pin}
        print(taking[action](version))
        return 0

    def _list(self, *, as_json: bool) -> str:
        self._store.ensure()
        listing, failed = self._store.scan(), self._control.failed()
        served, pinned = decide(self._control.situation()).version, self._control.pinned()
        rows = [_row(entry, failed, served, pinned) for entry in reversed(listing.entries)]
        if as_json:
            content = {"items": rows, "total": len(rows), "strangers": listing.strangers}
            return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
        if not rows:
            return f"there is no version in {self._store.directory}; `recsys train` makes one"
        lines = [f"{'version':<12}{'verdict':<13}{'created':<26}{'ratings':>10}  notes"]
        lines += [
            f"{row['version']:<12}{row['verdict']:<13}{row.get('created_at', ''):<26}{row.get('ratings', ''):>10}  "
            + ", ".join(row["notes"])
            for row in rows
        ]
        lines += [f"left alone, not made by the store: {name}" for name in listing.strangers]
        return "\n".join(line.rstrip() for line in lines)

    def _show(self, version: Version) -> str:
        entry = self._store.get(version)
        if entry.manifest is None:
            raise VersionInvalidError(f"{version}: {entry.problem}")
        return entry.manifest.to_json().decode().rstrip()

    def _verify(self, version: Version) -> str:
        entry = self._store.get(version)
        servable = load_servable(self._store.path(version), pause=go_on)
        self._marks.forget({str(entry.version)})
        files, golden = len(servable.manifest.files), len(servable.manifest.golden)
        return f"{version} is sound: {files} files, {golden} golden queries, digest {servable.manifest.digest}"

    def _pin(self, version: Version) -> str:
        self._control.pin(version)
        return f"pinned {version}"

    def _unpin(self) -> str:
        return "the pin is lifted" if self._control.unpin() else "there was no pin"

    def _rollback(self) -> str:
        served = decide(self._control.situation()).version
        target = self._control.rollback(served)
        return f"rolled back from {served} to {target}, which is pinned now; `recsys models unpin` lifts it"


def _none() -> None:
    return None


def _row(entry: Entry, failed: dict[Version, str], served: Version | None, pinned: Version | None) -> dict[str, Any]:
    notes = []
    if entry.version == served:
        notes.append("served")
    if entry.version == pinned:
        notes.append("pinned")
    if entry.version in failed:
        notes.append(f"quarantined: {failed[entry.version]}")
    if entry.manifest is None:
        return {"version": str(entry.version), "verdict": "invalid", "notes": [*notes, entry.problem or ""]}
    checks = [check.name for check in entry.manifest.gate.checks if not check.passed]
    notes += [f"failed {name}" for name in checks]
    return {**entry.manifest.headline(), "notes": notes}
