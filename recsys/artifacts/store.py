"""The directory of model versions: list, stage, publish by rename, prune. One directory is one version.

Owns what is under the models directory. A version becomes visible whole, in one rename, or not at all. Folders and
files that the store did not make are reported and left alone. Safe for several processes at once: publishing and
pruning hold a lock that a killed process lets go of by itself.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recsys.artifacts.files import fingerprint_of, fsync_directory, write_durable
from recsys.artifacts.manifest import MANIFEST_NAME, FileRecord, Manifest
from recsys.artifacts.servable import read_manifest
from recsys.artifacts.version import FIRST_VERSION, Version
from recsys.errors import (
    StoreError,
    UnknownVersionError,
    VersionIncompleteError,
    VersionInvalidError,
    VersionTakenError,
)

_STAGING = ".staging"
_LOCK = ".lock"
Describe = Callable[[Version, tuple[FileRecord, ...]], Manifest]


@dataclass(frozen=True)
class Entry:
    """A directory named as a version, as it looks from outside: nothing but the manifest was read.

    `fingerprint` changes with any change of content. Exactly one of `manifest` and `problem` is set; `incomplete` says
    that the problem is what a copy under way looks like.
    """

    version: Version
    fingerprint: str
    manifest: Manifest | None
    problem: str | None = None
    incomplete: bool = False


@dataclass(frozen=True)
class Listing:
    """`entries` by rising version; `strangers` are names that the store did not make."""

    entries: tuple[Entry, ...]
    strangers: tuple[str, ...]

    def find(self, version: Version) -> Entry | None:
        return next((entry for entry in self.entries if entry.version == version), None)


class ModelStore:
    """The versions under one directory, for reading and for publishing into."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._seen: dict[str, Entry] = {}

    def ensure(self) -> None:
        with self._translating_errors():
            self.directory.mkdir(parents=True, exist_ok=True)

    def path(self, version: Version) -> Path:
        return self.directory / str(version)

    def scan(self) -> Listing:
        """Look at the directory. A manifest is read again only when its directory has changed.

        Errors: StoreError when the directory cannot be read; a single bad version is an entry with a problem.
        Cost: one stat for each file of each version.
        """
        entries, strangers = [], []
        with self._translating_errors():
            names = sorted(os.listdir(self.directory))
        for name in names:
            version = Version.find(name)
            if version is not None:
                entries.append(self._look(version))
            elif name not in (_STAGING, _LOCK):
                strangers.append(name)
        self._seen = {str(entry.version): entry for entry in entries}
        return Listing(tuple(sorted(entries, key=lambda entry: entry.version)), tuple(strangers))

    def highest_cutoff(self, store_id: str) -> int:
        """Return up to which sequence of a feedback store any version was trained; 0 if none was, or none is seen."""
        try:
            entries = self.scan().entries
        except StoreError:
            return 0
        cutoffs = [entry.manifest.data.feedback_cutoff for entry in entries if entry.manifest is not None]
        return max((cutoff.sequence for cutoff in cutoffs if cutoff and cutoff.store_id == store_id), default=0)

    def _look(self, version: Version) -> Entry:
        path = self.path(version)
        fingerprint = fingerprint_of(path)
        seen = self._seen.get(str(version))
        if seen is not None and seen.fingerprint == fingerprint:
            return seen
        try:
            return Entry(version, fingerprint, read_manifest(path))
        except VersionInvalidError as error:
            incomplete = isinstance(error, VersionIncompleteError)
            return Entry(version, fingerprint, None, error.detail, incomplete)

    def get(self, version: Version) -> Entry:
        """Return one version's entry. Errors: UnknownVersionError when there is no such directory."""
        if not os.path.lexists(self.path(version)):
            raise UnknownVersionError(f"there is no {version} in {self.directory}")
        return self._look(version)

    def next_version(self, taken: Iterable[Version] = ()) -> Version:
        """Return the patch after the highest valid version, here or in `taken`, skipping names that stand already."""
        entries = self.scan().entries
        valid = [entry.version for entry in entries if entry.manifest is not None] + list(taken)
        names = {entry.version for entry in entries} | set(taken)
        version = max(valid).next_patch if valid else FIRST_VERSION
        while version in names:
            version = version.next_patch
        return version

    @contextmanager
    def stage(self, *, resumed_as: str | None = None) -> Iterator[Path]:
        """Give a directory to build a version in: empty, and what is left of it afterwards is removed.

        With `resumed_as` it is found again as an earlier failure under that name left it, and stays after another one.
        It is locked while in use, so that a clean-up by another process leaves it alone; two under one name take turns.
        """
        with self._translating_errors():
            parent = self.directory / _STAGING
            parent.mkdir(parents=True, exist_ok=True)
            staged = parent / (resumed_as or f"{os.getpid()}-{os.urandom(6).hex()}")
            with _staging_lock(parent):
                staged.mkdir(exist_ok=resumed_as is not None)
                lock = os.open(staged, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    os.close(lock)
                    raise StoreError(f"{staged} is in use by another process", hint="try again later") from error
        keep = resumed_as is not None
        try:
            with self._translating_errors():
                yield staged
            keep = False
        finally:
            if not keep:
                shutil.rmtree(staged, ignore_errors=True)
            os.close(lock)

    def publish(
        self, staged: Path, version: Version | None, describe: Describe, *, taken: Iterable[Version] = ()
    ) -> Manifest:
        """Make what lies in `staged` a version: hash the files, write the manifest last, sync, rename.

        `version` None takes the next free one beyond `taken`, decided under the lock. `describe` makes the manifest.
        Errors: VersionTakenError, StoreError. After any error nothing is visible.
        """
        records = tuple(FileRecord.of(path) for path in sorted(staged.iterdir()))
        with self._locked():
            chosen = version or self.next_version(taken)
            target = self.path(chosen)
            if os.path.lexists(target):
                raise VersionTakenError(f"{chosen} exists in {self.directory}", hint="choose another name")
            manifest = describe(chosen, records)
            write_durable(staged / MANIFEST_NAME, manifest.to_json())
            fsync_directory(staged)
            staged.rename(target)
            fsync_directory(self.directory)
        return manifest

    def adopt(self, staged: Path, manifest: Manifest, content: bytes) -> None:
        """Make what lies in `staged` the version that `manifest` describes, whose text is `content`. The files agree
        with it and are on disk.

        Errors: VersionTakenError when another version has its name, StoreError. After any error nothing is visible.
        """
        version = Version.parse(manifest.version)
        with self._locked():
            if os.path.lexists(self.path(version)):
                there = self._look(version).manifest
                if there is not None and there.digest == manifest.digest:
                    return
                raise VersionTakenError(f"another {version} exists in {self.directory}")
            (staged / MANIFEST_NAME).unlink(missing_ok=True)
            write_durable(staged / MANIFEST_NAME, content)
            fsync_directory(staged)
            staged.rename(self.path(version))
            fsync_directory(self.directory)

    def rename(self, version: Version, taken: Iterable[Version]) -> Version:
        """Give a version the next free name, here and beyond `taken`, so that its own is free for another.

        Errors: UnknownVersionError, VersionInvalidError, StoreError. Nobody sees half of it.
        """
        manifest = read_manifest(self.path(version))
        new = self.next_version(taken)
        with self.stage() as staged:
            for record in manifest.files:
                os.link(self.path(version) / record.path, staged / record.path)
            self.adopt(staged, renamed := manifest.model_copy(update={"version": str(new)}), renamed.to_json())
        self.remove(version)
        return new

    def remove(self, version: Version) -> None:
        """Remove a version. Errors: StoreError."""
        with self._locked():
            self._remove(version)
            fsync_directory(self.directory)

    def prune(self, keep: int, protected: Iterable[Version]) -> list[Version]:
        """Remove the lowest accepted versions until `keep` are left, and of the rejected ones likewise; never one of
        `protected`. Returns what was removed.
        """
        kept = frozenset(protected)
        with self._locked():
            manifests = {entry.version: entry.manifest for entry in self.scan().entries if entry.manifest is not None}
            removed = []
            for verdict in (True, False):
                group = [version for version, manifest in manifests.items() if manifest.accepted is verdict]
                removable = [version for version in group if version not in kept]
                removed += removable[: max(0, len(group) - keep)]
            for version in removed:
                self._remove(version)
            if removed:
                fsync_directory(self.directory)
        return removed

    def _remove(self, version: Version) -> None:
        """Take a version out in one rename, then delete it: nobody sees half of it."""
        with self.stage() as trash:
            self.path(version).rename(trash / str(version))

    def clean_up(self, *, besides: str = "") -> int:
        """Remove what killed processes left in the staging folder, and what nobody resumed but what is named `besides`.

        Returns how many. What is in use is left alone.
        """
        removed = 0
        staging = self.directory / _STAGING
        if not staging.is_dir():
            return 0
        with self._translating_errors(), _staging_lock(staging):
            for path in staging.iterdir():
                if path.name != besides and _is_abandoned(path):
                    shutil.rmtree(path, ignore_errors=True)
                    removed += 1
        return removed

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.ensure()
        with self._translating_errors():
            lock = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{error.filename or self.directory}: {error.strerror or error}",
                hint="RECSYS_PATHS__MODELS names the directory of model versions",
            ) from error


@contextmanager
def _staging_lock(staging: Path) -> Iterator[None]:
    """Hold the staging folder: between its making and its locking a directory looks abandoned."""
    lock = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _is_abandoned(staged: Path) -> bool:
    try:
        handle = os.open(staged, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
