"""Rescan → policy → load in a thread → swap: the only path by which what is served changes.

An event from the file system is a hint, never a fact: the kernel's queue may overflow, and a directory that is removed
and made again goes silent for ever. So every event, every kick and every tick of a timer lead to the same full rescan.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from recsys.artifacts.manifest import format_time
from recsys.artifacts.marks import Mark, Marks
from recsys.artifacts.pointer import Pointer
from recsys.artifacts.servable import load_servable
from recsys.artifacts.store import Entry, Listing, ModelStore
from recsys.artifacts.turns import go_on, yield_to_loop
from recsys.artifacts.version import Version
from recsys.errors import RecsysError, StoreError, VersionIncompleteError, VersionInvalidError
from recsys.serving.allocator import trim
from recsys.serving.carry_over import Remake, carry_over
from recsys.serving.hints import follow_hints
from recsys.serving.policy import Decision, Situation, available, decide
from recsys.serving.served import ServedModel
from recsys.serving.slot import Slot

_log = structlog.get_logger(__name__)
_LOADS_IN_A_ROW = 32
_REQUESTS_END_S = 1.0
#: After its loading began, since a version is to be served within a second; kept answers are made again meanwhile.
_SWAPPED_WITHIN_S = 0.75
_CARRY_OVER_S = 0.1


@dataclass(frozen=True)
class Watched:
    """What the last rescan found, for operators: the decision, the versions, the marks, and what could not be read."""

    decision: Decision = Decision(None, "nothing seen yet")
    listing: Listing = Listing((), ())
    failed: dict[str, Mark] = field(default_factory=dict)
    pin: Version | None = None
    pin_is_setting: bool = False
    problem: str | None = None

    @property
    def degraded(self) -> str | None:
        return self.problem or self.decision.degraded


class Watcher:
    """Keeps the slot at what the policy wants. `run` is its task; `state` is what it saw last."""

    def __init__(
        self,
        store: ModelStore,
        marks: Marks,
        slot: Slot,
        *,
        rescan_s: float,
        setting_pin: Version | None = None,
        pointer: Callable[[], Pointer | None] = lambda: None,
        build: Callable[..., ServedModel] = ServedModel,
        remake: Remake = lambda model, key: None,
        outdated: Callable[[ServedModel], bool] = lambda model: False,
        on_swap: Callable[[ServedModel], None] = lambda model: None,
        on_quarantine: Callable[[str, str], None] = lambda version, reason: None,
    ) -> None:
        self.state = Watched()
        self._store = store
        self._marks = marks
        self._slot = slot
        self._rescan_s = rescan_s
        self._setting_pin = setting_pin
        self._pointer = pointer
        self._build = build
        self._remake = remake
        self._outdated = outdated
        self._on_swap = on_swap
        self._on_quarantine = on_quarantine
        self._condemned: tuple[ServedModel | None, str] = (None, "")
        self._failed: dict[str, Mark] = {}
        self._unwritten: set[str] = set()
        self._dismantling: set[asyncio.Task[None]] = set()
        self._kick = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def kick(self) -> None:
        """Ask for a rescan soon; never waits."""
        self._kick.set()

    def condemn(self, reason: str) -> None:
        """Mark the version that is served as failed and go back to the one before, unless an operator pinned it."""
        model = self._slot.current
        if model is None or self.state.pin is not None:
            _log.warning("a pinned version does badly and stays", reason=reason)
            return
        self._condemned = model, reason
        self.kick()

    async def start(self) -> None:
        """Recall the marks and rescan once, so that a service with a model is ready when its port opens."""
        with contextlib.suppress(RecsysError):
            self._failed = await asyncio.to_thread(self._marks.failed)
        await self._try_rescan()

    async def run(self) -> None:
        """Rescan on every hint until cancelled. Nothing that goes wrong in a rescan ends it."""
        roots = [self._store.directory, self._marks.directory]
        hints = asyncio.create_task(follow_hints(roots, self._rescan_s, self.kick), name="watch-files")
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    # not wait_for: Python 3.11's swallows a cancellation that meets a kick
                    async with asyncio.timeout(self._rescan_s):
                        await self._kick.wait()
                self._kick.clear()
                await self._try_rescan()
        finally:
            hints.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hints

    async def _try_rescan(self) -> None:
        try:
            await self.rescan()
        except Exception:
            _log.exception("a rescan failed; what is served stays")

    async def rescan(self) -> None:
        """Look, decide, and swap if something else should be served; again while what should be turns out bad. First
        of all, amend what is served if something was said of its items.
        """
        async with self._one_at_a_time:
            await self._amend()
            for _ in range(_LOADS_IN_A_ROW):
                situation, seen = await asyncio.to_thread(self._look)
                decision = decide(situation)
                if decision.degraded != self.state.decision.degraded and decision.degraded:
                    _log.warning("not serving as wished", because=decision.degraded)
                self.state = replace(seen, decision=decision)
                entry = seen.listing.find(decision.version) if decision.version else None
                current = self._slot.current
                if entry is None or entry.manifest is None or str(entry.version) in seen.failed:
                    return
                if current is not None and _is_served(current, entry):
                    return
                if await self._load(entry, current):
                    self.state = replace(self.state, failed=dict(self._failed))

    def _look(self) -> tuple[Situation, Watched]:
        """Gather what the policy decides on. Runs in a thread; a directory that cannot be read counts as empty."""
        listing, pin, problem = Listing((), ()), None, None
        condemned, reason = self._condemned
        if condemned is not None and condemned.version not in self._failed:
            self._mark(Version.parse(condemned.version), condemned.fingerprint, reason)
        try:
            listing = self._store.scan()
        except StoreError as error:
            problem = str(error)
        else:
            self._forget_lifted()
            self._update_marks(listing)
        try:
            pin = self._setting_pin or self._marks.pinned()
        except StoreError as error:
            problem, pin = str(error), self.state.pin
        failed = {entry.version for entry in listing.entries if str(entry.version) in self._failed}
        current, pointer = self._slot.current, self._pointer()
        situation = Situation(
            available=available(listing, failed, pin, pointer),
            pin=pin,
            pointer=pointer.name if pointer is not None else None,
            serving=Version.find(current.version) if current else None,
            serving_accepted=current is not None
            and current.servable.manifest.accepted
            and current is not self._condemned[0],
            failed=frozenset(failed),
        )
        pin_is_setting = self._setting_pin is not None
        return situation, Watched(Decision(None, ""), listing, dict(self._failed), pin, pin_is_setting, problem)

    def _forget_lifted(self) -> None:
        """Forget the marks that an operator has lifted on disk, as `recsys models verify` does."""
        with contextlib.suppress(StoreError):
            kept = set(self._marks.failed()) | self._unwritten
            self._failed = {name: mark for name, mark in self._failed.items() if name in kept}

    def _update_marks(self, listing: Listing) -> None:
        """Mark what the listing found to be bad, and forget marks whose content has changed or gone."""
        present = {str(entry.version): entry for entry in listing.entries}
        outdated = {
            name
            for name, mark in self._failed.items()
            if name not in present or present[name].fingerprint != mark.fingerprint
        }
        for name in outdated:
            del self._failed[name]
        for name, entry in present.items():
            if entry.problem is not None and name not in self._failed:
                quietly = entry.incomplete or name in outdated
                self._mark(entry.version, entry.fingerprint, entry.problem, quietly=quietly)
        with contextlib.suppress(StoreError):
            self._marks.forget(outdated - set(self._failed))

    def _mark(self, version: Version, fingerprint: str, reason: str, *, quietly: bool = False) -> None:
        mark = Mark(fingerprint, reason, format_time(datetime.now(UTC)))
        self._unwritten.add(str(version))
        self._failed[str(version)] = mark
        log = _log.info if quietly else _log.warning
        log("version quarantined", version=str(version), reason=reason)
        self._on_quarantine(str(version), reason)
        try:
            self._marks.mark(str(version), mark)
            self._unwritten.discard(str(version))
        except StoreError as error:
            _log.warning("the mark is kept in memory only", reason=str(error))

    async def _amend(self) -> None:
        current = self._slot.current
        if current is None or not self._outdated(current):
            return
        model = await asyncio.to_thread(self._build, current.base, fingerprint=current.fingerprint)
        model.loaded_at = current.loaded_at
        condemned, reason = self._condemned
        if condemned is current:
            self._condemned = model, reason
        self._slot.amend(model)
        self._dismantle(current)

    async def _load(self, entry: Entry, current: ServedModel | None) -> bool:
        """Load, verify and build a version in a thread, then swap by one assignment. True: the slot is right now."""
        path, began = self._store.path(entry.version), time.monotonic()
        try:
            model = await asyncio.to_thread(self._prepare, path, entry.fingerprint, yield_to_loop if current else go_on)
            if current is not None and not _is_same(current, model):
                left_s = began + _SWAPPED_WITHIN_S - time.monotonic()
                await carry_over(current, model, self._remake, seconds=max(_CARRY_OVER_S, left_s))
        except VersionInvalidError as error:
            quietly = isinstance(error, VersionIncompleteError)
            await asyncio.to_thread(self._mark, entry.version, entry.fingerprint, error.detail, quietly=quietly)
            return False
        except MemoryError:
            reason = "there is not enough memory to load it"
            await asyncio.to_thread(self._mark, entry.version, entry.fingerprint, reason)
            return False
        except Exception as error:
            _log.exception("a version broke the loader", version=str(entry.version))
            reason = f"it cannot be loaded: {type(error).__name__}: {error}"
            await asyncio.to_thread(self._mark, entry.version, entry.fingerprint, reason)
            return False
        if current is not None and _is_same(current, model):
            current.fingerprint = entry.fingerprint
            return True
        self._slot.swap(model)
        self._condemned = None, ""
        _log.info("serving", version=model.version, before=current.version if current else None)
        self._on_swap(model)
        if current is not None:
            self._dismantle(current)
        return True

    def _dismantle(self, model: ServedModel) -> None:
        """Free a model that was replaced piece by piece, in a thread: all at once would hold the loop for 15 ms at
        20,000 items. The pieces are kept until the requests that took the model have ended.
        """
        task = asyncio.create_task(_free_later(model.pieces()), name="dismantle")
        self._dismantling.add(task)
        task.add_done_callback(self._dismantling.discard)

    def _prepare(self, path: Path, fingerprint: str, pause: Callable[[], None]) -> ServedModel:
        model = self._build(load_servable(path, pause=pause), fingerprint=fingerprint, pause=pause)
        model.warm_up()
        return model


async def _free_later(pieces: list[object]) -> None:
    await asyncio.sleep(_REQUESTS_END_S)
    await asyncio.to_thread(_free, pieces)


def _free(pieces: list[object]) -> None:
    while pieces:
        pieces.pop()
        yield_to_loop()
    trim()


def _is_served(current: ServedModel, entry: Entry) -> bool:
    return current.version == str(entry.version) and current.fingerprint == entry.fingerprint


def _is_same(current: ServedModel, model: ServedModel) -> bool:
    """Whether only times or inodes of the files have changed, as a restored backup does."""
    return current.servable.manifest == model.servable.manifest
