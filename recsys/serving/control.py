"""What an operator may ask of versions: pin, unpin, roll back. Writes the marks; the watcher does the rest.

The command line and the admin routes both come through here, so both refuse the same things in the same words.
"""

from collections.abc import Callable

from recsys.artifacts.marks import Marks
from recsys.artifacts.pointer import Pointer
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import NothingToRollBackError, PinnedBySettingError, VersionInvalidError
from recsys.serving.policy import Situation, available, rollback_target


class Control:
    """The operator's hand on one store. Every call looks at the disk; call it in a thread."""

    def __init__(
        self,
        store: ModelStore,
        marks: Marks,
        setting_pin: Version | None,
        pointer: Callable[[], Pointer | None] = lambda: None,
    ) -> None:
        self._store = store
        self._marks = marks
        self._setting_pin = setting_pin
        self._pointer = pointer

    def pinned(self) -> Version | None:
        return self._setting_pin or self._marks.pinned()

    def failed(self) -> dict[Version, str]:
        """Why versions cannot be served, as far as their content is still what failed."""
        marks = self._marks.failed()
        return {
            entry.version: marks[str(entry.version)].reason
            for entry in self._store.scan().entries
            if str(entry.version) in marks and marks[str(entry.version)].fingerprint == entry.fingerprint
        }

    def situation(self, serving: Version | None = None) -> Situation:
        """What the policy decides on; without `serving`, as if the service were started now."""
        failed, pin, pointer = self.failed(), self.pinned(), self._pointer()
        return Situation(
            available(self._store.scan(), failed, pin, pointer),
            pin=pin,
            pointer=pointer.name if pointer is not None else None,
            serving=serving,
            failed=frozenset(failed),
        )

    def pin(self, version: Version) -> None:
        """Serve `version`, accepted or not, until the pin is lifted.

        Errors: UnknownVersionError, VersionInvalidError, PinnedBySettingError, StoreError.
        """
        self._refuse_beside_setting()
        entry = self._store.get(version)
        if entry.manifest is None:
            raise VersionInvalidError(f"{version} cannot be served: {entry.problem}")
        if reason := self.failed().get(version):
            raise VersionInvalidError(f"{version} has failed: {reason}", hint=f"recsys models verify {version}")
        self._marks.pin(version)

    def unpin(self) -> bool:
        """Lift the pin; false when there was none. Errors: PinnedBySettingError, StoreError."""
        self._refuse_beside_setting()
        return self._marks.unpin()

    def rollback(self, serving: Version | None) -> Version:
        """Pin the highest accepted, unfailed version below `serving`, and return it.

        Errors: NothingToRollBackError, PinnedBySettingError, StoreError.
        """
        self._refuse_beside_setting()
        target = rollback_target(self.situation(serving))
        if target is None:
            below = f"no accepted version below {serving}" if serving else "no version to roll back from"
            raise NothingToRollBackError(f"there is {below}")
        self._marks.pin(target)
        return target

    def _refuse_beside_setting(self) -> None:
        if self._setting_pin is not None:
            raise PinnedBySettingError(
                f"RECSYS_MODEL__VERSION pins {self._setting_pin}", hint="while it is set, change the pin there"
            )
