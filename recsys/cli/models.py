"""`recsys models`: the local store, for operators. Publishes nothing into a running service but what files say."""

from collections.abc import Callable
from typing import Any

import orjson

from recsys.artifacts.marks import Marks
from recsys.artifacts.servable import load_servable
from recsys.artifacts.store import Entry, ModelStore
from recsys.artifacts.version import Version
from recsys.errors import PinnedBySettingError, UnknownVersionError, VersionInvalidError
from recsys.serving.policy import Situation, decide, rollback_target
from recsys.settings import Settings


def run(settings: Settings, action: str, version: str | None, *, as_json: bool) -> int:
    """Carry an action out. Errors: RecsysError with what to do."""
    return _Models(settings).run(action, Version.parse(version) if version else None, as_json=as_json)


class _Models:
    def __init__(self, settings: Settings) -> None:
        self._store = ModelStore(settings.paths.models)
        self._marks = Marks(settings.paths.state)
        self._setting_pin = settings.model.version

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

    def _situation(self) -> Situation:
        """What the service would decide on, were it started now."""
        failed = self._failed()
        return Situation(
            available={
                entry.version: entry.manifest.accepted
                for entry in self._store.scan().entries
                if entry.manifest is not None and entry.version not in failed
            },
            pin=self._pinned(),
            failed=frozenset(failed),
        )

    def _pinned(self) -> Version | None:
        return Version.parse(self._setting_pin) if self._setting_pin else self._marks.pinned()

    def _failed(self) -> dict[Version, str]:
        marks = self._marks.failed()
        return {
            entry.version: marks[str(entry.version)].reason
            for entry in self._store.scan().entries
            if str(entry.version) in marks and marks[str(entry.version)].fingerprint == entry.fingerprint
        }

    def _list(self, *, as_json: bool) -> str:
        self._store.ensure()
        listing, failed = self._store.scan(), self._failed()
        served, pinned = decide(self._situation()).version, self._pinned()
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
        servable = load_servable(self._store.path(version), pause=lambda: None)
        self._marks.forget({str(entry.version)})
        files, golden = len(servable.manifest.files), len(servable.manifest.golden)
        return f"{version} is sound: {files} files, {golden} golden queries, digest {servable.manifest.digest}"

    def _pin(self, version: Version) -> str:
        self._refuse_beside_setting()
        entry = self._store.get(version)
        if entry.manifest is None:
            raise VersionInvalidError(f"{version} cannot be served: {entry.problem}")
        if reason := self._failed().get(version):
            raise VersionInvalidError(f"{version} has failed: {reason}", hint=f"recsys models verify {version}")
        self._marks.pin(version)
        return f"pinned {version}"

    def _unpin(self) -> str:
        self._refuse_beside_setting()
        return "the pin is lifted" if self._marks.unpin() else "there was no pin"

    def _rollback(self) -> str:
        self._refuse_beside_setting()
        situation = self._situation()
        served = decide(situation).version
        target = rollback_target(Situation(situation.available, serving=served))
        if target is None:
            raise UnknownVersionError(f"there is no accepted version below {served}")
        self._marks.pin(target)
        return f"rolled back from {served} to {target}, which is pinned now; `recsys models unpin` lifts it"

    def _refuse_beside_setting(self) -> None:
        if self._setting_pin:
            raise PinnedBySettingError(
                f"RECSYS_MODEL__VERSION pins {self._setting_pin}", hint="a pin is changed there while it is set"
            )


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
