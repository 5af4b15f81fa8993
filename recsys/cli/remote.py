"""`recsys models` with a bucket: list, push, pull, and move the pointer that all services follow."""

import asyncio
import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson

from recsys.artifacts.manifest import Manifest
from recsys.artifacts.pointer import Pointer, move_pointer, next_pointer, read_pointer, rollback_target
from recsys.artifacts.remote import Progress, RemoteVersions
from recsys.artifacts.s3 import open_bucket
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.cli.logs import configure_logging
from recsys.cli.progress import show_progress
from recsys.errors import NoBucketError, NothingToRollBackError, RecsysError, UnknownVersionError, VersionInvalidError
from recsys.settings import Settings


def run(settings: Settings, action: str, version: str | None, *, as_json: bool) -> int:
    """Carry an action out. Errors: RecsysError with what to do."""
    configure_logging(settings.log.level, settings.log_format)
    if settings.s3.bucket is None:
        raise NoBucketError("there is no bucket", hint="RECSYS_S3__BUCKET names one")
    named = Version.parse(version) if version is not None else None
    print(asyncio.run(_run(settings, action, named, as_json=as_json)))
    return 0


async def _run(settings: Settings, action: str, version: Version | None, *, as_json: bool) -> str:
    async with open_bucket(settings.s3) as objects:
        remote = RemoteVersions(objects, ModelStore(settings.paths.models))
        match action, version:
            case "push", Version():
                return await _push(remote, version)
            case "pull", Version():
                return await _pull(remote, version)
            case "promote", Version():
                return await _promote(remote, version)
            case "rollback", None:
                return await _roll_back(remote)
            case _:
                return await _list(remote, as_json=as_json)


async def _push(remote: RemoteVersions, version: Version) -> str:
    with _transfer(f"pushing {version}") as progress:
        manifest = await remote.push(version, progress=progress)
    hint = f"`recsys models promote {version}` makes all services serve it"
    return f"{version} is in {remote.objects.name}, {manifest.total_bytes / 1e6:.1f} MB; {hint}"


async def _pull(remote: RemoteVersions, version: Version) -> str:
    with _transfer(f"pulling {version}") as progress:
        manifest = await remote.pull(version, progress=progress)
    return f"{version} is here, {manifest.total_bytes / 1e6:.1f} MB, digest {manifest.digest[:12]}"


async def _promote(remote: RemoteVersions, version: Version) -> str:
    manifest, _ = await remote.manifest(version)
    before, etag = await read_pointer(remote.objects)
    if before is not None and (before.version, before.digest) == (manifest.version, manifest.digest):
        return f"{version} is current already"
    return await _move(remote, before, etag, manifest)


async def _roll_back(remote: RemoteVersions) -> str:
    before, etag = await read_pointer(remote.objects)
    if before is None:
        raise NothingToRollBackError(f"{remote.objects.name} has no pointer yet")
    manifests = [manifest for manifest in await _manifests(remote) if isinstance(manifest, Manifest)]
    target = rollback_target(before, manifests)
    if target is None:
        raise NothingToRollBackError(f"there is no accepted version below {before.version} in {remote.objects.name}")
    return await _move(remote, before, etag, target)


async def _move(remote: RemoteVersions, before: Pointer | None, etag: str | None, manifest: Manifest) -> str:
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    pointer = next_pointer(before, manifest, who=who, when=datetime.now(UTC))
    await move_pointer(remote.objects, pointer, etag=etag)
    was = f", before it was {before.version}" if before is not None else ""
    verdict = "" if manifest.accepted else "; the gate had rejected it"
    return f"{pointer.version} is current now{was}{verdict}; the services follow with their next look"


async def _manifests(remote: RemoteVersions) -> list[Manifest | RecsysError]:
    found: list[Manifest | RecsysError] = []
    for version in await remote.versions():
        try:
            found.append((await remote.manifest(version))[0])
        except (UnknownVersionError, VersionInvalidError) as error:
            found.append(VersionInvalidError(f"{version}: {error.detail}"))
    return found


async def _list(remote: RemoteVersions, *, as_json: bool) -> str:
    pointer, _ = await read_pointer(remote.objects)
    rows, problems = [], []
    for found in reversed(await _manifests(remote)):
        if isinstance(found, Manifest):
            rows.append(found.headline() | {"current": pointer is not None and found.version == pointer.version})
        else:
            problems.append(found.detail)
    if as_json:
        content: dict[str, Any] = {
            "items": rows,
            "total": len(rows),
            "pointer": pointer.summary() if pointer else None,
            "problems": problems,
        }
        return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
    if not rows and not problems:
        return f"there is no version in {remote.objects.name}; `recsys models push V` sends one"
    lines = [f"{'version':<12}{'verdict':<13}{'created':<26}{'ratings':>10}{'MB':>9}  notes"]
    lines += [
        f"{row['version']:<12}{row['verdict']:<13}{row['created_at']:<26}{row['ratings']:>10}"
        f"{row['bytes'] / 1e6:>9.1f}  {'current' if row['current'] else ''}"
        for row in rows
    ]
    lines += [f"not a version: {problem}" for problem in problems]
    if pointer is not None:
        lines.append(f"the pointer is of generation {pointer.generation}, moved by {pointer.who}")
    return "\n".join(line.rstrip() for line in lines)


@contextmanager
def _transfer(title: str) -> Iterator[Progress]:
    with show_progress(title) as show:
        yield lambda done, total: show(f"of {total / 1e6:.1f} MB", done / total if total else 1.0)
