"""The versions in a bucket: send one, fetch one, list, remove. Nothing that comes from there is believed unseen.

    models/<version>/<file>         data first, each under a key that holds nothing yet
    models/<version>/manifest.json  last, and only if there is none: so a version is claimed once, whole

Keys are made of names that our own patterns allow; a manifest that names a file otherwise is refused before anything is
fetched. Must not know how a version is loaded, or which one is served.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from recsys.artifacts.bucket import Objects, Patience, together, write_under_condition
from recsys.artifacts.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, FileRecord, Manifest, parse_manifest
from recsys.artifacts.servable import read_manifest
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import (
    BucketError,
    LostRaceError,
    ObjectMissingError,
    StoreError,
    UnknownVersionError,
    VersionInvalidError,
    VersionTakenError,
)

#: How much of a file was handed on, in bytes, and of how many in all.
Progress = Callable[[int, int], None]
#: A version that would leave less than this share of the free space is not fetched.
_LEAVE_FREE = 0.1
#: Bytes may be damaged on their way, or in the bucket: a second try tells.
_TRIES_A_FILE = 2
_HEADWAY_BYTES = 2**20
#: The disk begins to write after so much, and not only when all has to be there.
_WRITE_BACK_BYTES = 8 * 2**20
_FOLDER = "models/"


class RemoteVersions:
    """The versions below `models/` of a bucket."""

    def __init__(self, objects: Objects, store: ModelStore, *, patience: Patience | None = None) -> None:
        self.objects = objects
        self._store = store
        self._patience = patience or Patience()

    async def versions(self) -> list[Version]:
        """List the names that are taken, whether or not a manifest has made them versions. One LIST."""
        found = (Version.find(name) for name in await self.objects.names(_FOLDER, folders=True))
        return sorted(version for version in found if version is not None)

    async def manifest(self, version: Version) -> tuple[Manifest, bytes]:
        """Read what a version says of itself, with the text.

        Errors: UnknownVersionError, VersionInvalidError, BucketError.
        """
        try:
            found = await self.objects.read(_key(version, MANIFEST_NAME), limit=MAX_MANIFEST_BYTES)
        except ObjectMissingError as error:
            raise UnknownVersionError(f"there is no {version} in {self.objects.name}") from error
        if found is None:
            raise BucketError(f"{self.objects.name}: answered a question that was not asked")
        return await asyncio.to_thread(parse_manifest, found.content, name=str(version)), found.content

    async def push(self, version: Version, *, progress: Progress = lambda done, total: None) -> Manifest:
        """Send a version that has been proven to be what its manifest says. What was sent before is not sent again.

        Errors: VersionTakenError when the bucket holds another of that name, VersionInvalidError, UnknownVersionError,
        BucketError. After any error the version is not in the bucket.
        """
        path = self._store.path(version)
        await asyncio.to_thread(self._store.get, version)
        manifest = await asyncio.to_thread(_prove, path)
        counted = _Counter(manifest.total_bytes, progress)
        try:
            await together(
                self.objects.send(_key(version, record.path), path / record.path, record.sha256, told=counted.add)
                for record in manifest.files
            )
            content = await asyncio.to_thread((path / MANIFEST_NAME).read_bytes)
            await write_under_condition(self.objects, _key(version, MANIFEST_NAME), content, only_new=True)
        except LostRaceError as error:
            there = await self._there(version)
            if there is not None and there.digest == manifest.digest:
                return there
            raise VersionTakenError(f"{self.objects.name} holds another {version}") from error
        return manifest

    async def _there(self, version: Version) -> Manifest | None:
        try:
            return (await self.manifest(version))[0]
        except (UnknownVersionError, VersionInvalidError):
            return None

    async def pull(
        self, version: Version, digest: str | None = None, *, progress: Progress = lambda done, total: None
    ) -> Manifest:
        """Fetch a version into the store, each file checked by our own SHA-256 and going on where it broke off.

        `digest` is what it must have. Nothing happens if it is there already.
        Errors: UnknownVersionError, VersionInvalidError when the bucket's is not what it should be, VersionTakenError
        when another of that name is here, StoreError, BucketError. After any error the version is not in the store.
        """
        manifest, content = await self.manifest(version)
        if digest is not None and manifest.digest != digest:
            raise VersionInvalidError(
                f"{version} in {self.objects.name} is not the one that was meant: its digest differs"
            )
        if await asyncio.to_thread(self._is_here, manifest):
            return manifest
        name = f"pull-{version}-{manifest.digest[:16]}"
        await asyncio.to_thread(self._store.clean_up, besides=name)
        stage = self._store.stage(resumed_as=name)
        staged = await asyncio.to_thread(stage.__enter__)
        try:
            counted = _Counter(manifest.total_bytes, progress)
            await together(self._fetch(version, record, staged, counted) for record in manifest.files)
            await asyncio.to_thread(self._store.adopt, staged, manifest, content)
        except BaseException as error:
            # not in a thread: a cancellation must not be able to skip it. What was fetched stays, to be gone on with
            stage.__exit__(type(error), error, error.__traceback__)
            raise
        await asyncio.to_thread(stage.__exit__, None, None, None)
        return manifest

    def _is_here(self, manifest: Manifest) -> bool:
        """Whether there is nothing to do; what cannot end well is refused before a byte is fetched."""
        self._store.ensure()
        there = self._store.scan().find(Version.parse(manifest.version))
        if there is not None:
            if there.manifest is None or there.manifest.digest != manifest.digest:
                raise VersionTakenError(f"another {manifest.version} exists in {self._store.directory}")
            return True
        free = shutil.disk_usage(self._store.directory).free
        if manifest.total_bytes > free * (1 - _LEAVE_FREE):
            raise StoreError(f"{manifest.version} has {manifest.total_bytes} bytes, {free} are free")
        return False

    async def _fetch(self, version: Version, record: FileRecord, staged: Path, counted: "_Counter") -> None:
        file = await asyncio.to_thread(_Partial.open, staged / record.path, record)
        try:
            counted.add(file.n_bytes)
            for _ in range(_TRIES_A_FILE):
                await self._fetch_rest(_key(version, record.path), file, counted)
                if await asyncio.to_thread(file.is_right):
                    return
                counted.add(-file.n_bytes)
                await asyncio.to_thread(file.start_again)
            raise VersionInvalidError(f"{record.path} of {version} does not have the SHA-256 that the manifest says")
        finally:
            await asyncio.to_thread(file.close)

    async def _fetch_rest(self, key: str, file: "_Partial", counted: "_Counter") -> None:
        """Fetch until the file has its size. Failures are counted from the last one that brought the file well on."""

        async def take(piece: bytes) -> None:
            await asyncio.to_thread(file.add, piece)
            counted.add(len(piece))

        failures, counted_from = 0, file.n_bytes
        while file.n_bytes < file.record.bytes:
            before = file.n_bytes
            try:
                await self.objects.fetch(key, before, file.record.bytes, take)
            except ObjectMissingError as error:
                raise VersionInvalidError(f"{key} is in the manifest but not in the bucket") from error
            except BucketError as error:
                failures += 1
                if file.n_bytes >= counted_from + _HEADWAY_BYTES:
                    failures, counted_from = 1, file.n_bytes
                if not error.passing or failures == self._patience.tries:
                    raise
            else:
                if file.n_bytes == before:
                    raise VersionInvalidError(f"{key} has {before} bytes, the manifest says {file.record.bytes}")
                continue
            await self._patience.pause(failures)

    async def remove(self, version: Version) -> None:
        """Remove a version: its manifest first, so that nobody takes the rest for one."""
        await self.objects.remove([_key(version, MANIFEST_NAME)])
        await self.objects.remove(await self.objects.names(_key(version, "")))

    async def prune(self, keep: int, protected: Iterable[Version]) -> list[Version]:
        """Remove the lowest versions until `keep` are left, never one of `protected`. Returns what was removed."""
        kept = frozenset(protected)
        versions = await self.versions()
        removed = [version for version in versions if version not in kept][: max(0, len(versions) - keep)]
        for version in removed:
            await self.remove(version)
        return removed


class _Counter:
    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, n_bytes: int) -> None:
        self._done += n_bytes
        self._progress(self._done, self._total)


class _Partial:
    """A file that is being fetched: how much of it there is, and the hash of that. Its methods block."""

    def __init__(self, path: Path, record: FileRecord) -> None:
        self.record = record
        # a link that somebody put into the staging folder is not followed
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._hash = hashlib.sha256()
        self.n_bytes = self._n_bytes_to_disk = 0

    @classmethod
    def open(cls, path: Path, record: FileRecord) -> "_Partial":
        """Go on with what is there."""
        file = cls(path, record)
        while piece := file._file.read(2**20):
            file._hash.update(piece)
            file.n_bytes += len(piece)
        if file.n_bytes > record.bytes:
            file.start_again()
        return file

    def add(self, piece: bytes) -> None:
        """Errors: VersionInvalidError when it would be longer than the manifest says; nothing is written then."""
        if self.n_bytes + len(piece) > self.record.bytes:
            raise VersionInvalidError(
                f"{self.record.path} is longer than the {self.record.bytes} bytes of the manifest"
            )
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(piece)
        self.n_bytes += len(piece)
        if self.n_bytes - self._n_bytes_to_disk >= _WRITE_BACK_BYTES:
            # begins to write them and drops nothing, since they are not written yet; only Linux knows it
            if hasattr(os, "posix_fadvise"):
                size = self.n_bytes - self._n_bytes_to_disk
                os.posix_fadvise(self._file.fileno(), self._n_bytes_to_disk, size, os.POSIX_FADV_DONTNEED)
            self._n_bytes_to_disk = self.n_bytes

    def is_right(self) -> bool:
        if self._hash.hexdigest() != self.record.sha256:
            return False
        os.fsync(self._file.fileno())
        return True

    def start_again(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.n_bytes = self._n_bytes_to_disk = 0

    def close(self) -> None:
        self._file.close()


def _key(version: Version, name: str) -> str:
    return f"{_FOLDER}{version}/{name}"


def _prove(path: Path) -> Manifest:
    """Read every byte of a version and see that it is what the manifest says, a megabyte at a time."""
    manifest = read_manifest(path)
    for record in manifest.files:
        with (path / record.path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != record.sha256:
                raise VersionInvalidError(f"{record.path} does not have the SHA-256 that the manifest says")
    return manifest
