"""The bucket's pointer: which version all services are to serve, and who said so, when, for the how manieth time.

`current.json` is moved only from the content that the mover has seen (`If-Match`), so of two movers one loses.
Owns the record, the rule for which pointer may follow which, and the memory of the last one on disk.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import orjson
from pydantic import AwareDatetime, Field, ValidationError, field_validator

from recsys.artifacts.bucket import MAX_SMALL_BYTES, Objects, write_under_condition
from recsys.artifacts.files import replace_durable
from recsys.artifacts.manifest import Manifest, Record, format_time
from recsys.artifacts.version import Version
from recsys.errors import LostRaceError, ObjectMissingError, PointerRefusedError, StoreError

KEY = "current.json"
_Line = Annotated[str, Field(max_length=200)]


class Pointer(Record):
    """`generation` counts the moves. `rollback` says that somebody meant to go back. `nonce` is of one move alone."""

    version: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    generation: int = Field(ge=1, le=2**53)
    who: _Line
    when: AwareDatetime
    rollback: bool = False
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")

    @field_validator("version")
    @classmethod
    def _is_version(cls, value: str) -> str:
        if Version.find(value) is None:
            raise ValueError("is not a version")
        return value

    @property
    def name(self) -> Version:
        return Version.parse(self.version)

    def to_json(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def summary(self) -> dict[str, str | int]:
        return {
            "version": self.version,
            "generation": self.generation,
            "who": self.who,
            "when": format_time(self.when),
        }


def next_pointer(before: Pointer | None, manifest: Manifest, *, who: str, when: datetime) -> Pointer:
    """The pointer that comes after `before` and names the version of `manifest`."""
    return Pointer(
        version=manifest.version,
        digest=manifest.digest,
        generation=before.generation + 1 if before else 1,
        who=who,
        when=when,
        rollback=before is not None and Version.parse(manifest.version) < before.name,
        nonce=os.urandom(16).hex(),
    )


def sealed(before: Pointer, *, who: str, when: datetime) -> Pointer:
    """The pointer that comes after `before` and names the same version."""
    changes = {"generation": before.generation + 1, "who": who, "when": when, "nonce": os.urandom(16).hex()}
    return before.model_copy(update=changes | {"rollback": False})


def rollback_target(pointer: Pointer, manifests: Iterable[Manifest]) -> Manifest | None:
    """Return the highest accepted version below the one that the pointer names."""
    below = [each for each in manifests if each.accepted and Version.parse(each.version) < pointer.name]
    return max(below, key=lambda each: Version.parse(each.version), default=None)


def refuse_older(seen: Pointer | None, found: Pointer) -> None:
    """Refuse a pointer that an old copy of the bucket, or somebody with one, has put back.

    A rollback that was made later than what was seen is meant. Errors: PointerRefusedError.
    """
    if seen is None or found.generation > seen.generation or found == seen:
        return
    if found.rollback and found.when > seen.when:
        return
    raise PointerRefusedError(
        f"the bucket's pointer is of generation {found.generation}; one of {seen.generation} was seen before",
        hint="recsys models promote or rollback --remote moves it on",
    )


async def read_pointer(objects: Objects, *, unless: str | None = None) -> tuple[Pointer | None, str | None]:
    """Return the pointer and its tag. When its tag is `unless` still: no pointer, and that tag. When there is none:
    nothing.

    Errors: PointerRefusedError for one that cannot be understood, BucketError.
    """
    try:
        found = await objects.read(KEY, limit=MAX_SMALL_BYTES, unless=unless)
    except ObjectMissingError:
        return None, None
    if found is None:
        return None, unless
    try:
        return Pointer.model_validate_json(found.content), found.etag
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or KEY
        raise PointerRefusedError(f"the bucket's pointer cannot be understood: {where}: {first['msg']}") from error


async def move_pointer(objects: Objects, pointer: Pointer, *, etag: str | None) -> str:
    """Put the pointer in the place of the one whose tag is `etag` (None: of none). Returns its tag.

    Errors: LostRaceError when somebody else has moved it, BucketError.
    """
    try:
        return await write_under_condition(objects, KEY, pointer.to_json(), only_new=etag is None, only_if=etag)
    except LostRaceError as error:
        raise LostRaceError("somebody else has moved the bucket's pointer", passing=False) from error


class PointerMemory:
    """The last pointer that was accepted, beside the pin: what is wanted when the bucket is gone, and what an older one
    is told by. One of another bucket does not count. Its methods block.
    """

    def __init__(self, state: Path, bucket: str) -> None:
        self._path = state / "store" / "pointer.json"
        self._bucket = bucket

    def load(self) -> Pointer | None:
        """Errors: StoreError for a file that cannot be read."""
        try:
            found = orjson.loads(self._path.read_bytes())
            return Pointer.model_validate(found["pointer"]) if found["bucket"] == self._bucket else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoreError(f"{self._path} cannot be read: {error}", hint="put it right or delete it") from error

    def save(self, pointer: Pointer) -> None:
        """Errors: StoreError."""
        content = {"bucket": self._bucket, "pointer": pointer.model_dump(mode="json")}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_durable(self._path, orjson.dumps(content, option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from error
