"""What a version says of itself: `manifest.json`, written last, so that its presence means "complete".

Owns the schema, the digest and the strict parsing. Must not touch the arrays.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsys.artifacts.version import Version
from recsys.errors import VersionInvalidError

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 2**20
#: One file of a version. 64 GiB would be a dense matrix of 130,000 items: beyond any that is trained.
MAX_FILE_BYTES = 64 * 2**30

_FileName = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}\.(npy|json|jsonl)$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """Immutable; numbers must be finite and names known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileRecord(Record):
    path: _FileName
    bytes: int = Field(ge=0, le=MAX_FILE_BYTES)
    sha256: _Sha256

    @classmethod
    def of(cls, path: Path) -> "FileRecord":
        """Read a file and describe it. Errors: OSError."""
        content = path.read_bytes()
        return cls(path=path.name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


class GoldenQuery(Record):
    """A history (item ids and stars, oldest first) and the list it must be answered with, up to ties and 1e-4. The gate
    compares the next version's lists with it, titles and all.
    """

    items: tuple[str, ...] = Field(max_length=1000)
    stars: tuple[float, ...] = Field(max_length=1000)
    ordered: bool
    answer: tuple[str, ...] = Field(max_length=100)
    scores: tuple[float, ...] = Field(max_length=100)
    titles: tuple[str, ...] = Field(max_length=100)

    @model_validator(mode="after")
    def _same_lengths(self) -> "GoldenQuery":
        if len(self.items) != len(self.stars) or len({len(self.answer), len(self.scores), len(self.titles)}) > 1:
            raise ValueError("items and stars, and answer, scores and titles, must be of the same length")
        return self


class Check(Record):
    """One check of the gate: the value seen, the threshold it was held against (as a lower bound, or with `at_most` an
    upper one), and what came of it.
    """

    name: str
    passed: bool
    value: float | None = None
    threshold: float | None = None
    at_most: bool = False
    detail: str = ""


class Gate(Record):
    verdict: Literal["accepted", "rejected"]
    checks: tuple[Check, ...] = ()


class Cutoff(Record):
    """How far feedback was taken in: a sequence number of one feedback store."""

    store_id: str
    sequence: int = Field(ge=0, le=2**62)


class DataSummary(Record):
    source: str
    fingerprint: str
    ratings: int = Field(ge=0)
    users: int = Field(ge=0)
    items: int = Field(ge=0)
    rating_shares: dict[str, float] = {}
    feedback_cutoff: Cutoff | None = None


class Manifest(Record):
    format: Literal[1] = 1
    version: str
    parent: str | None = None
    created_at: AwareDatetime
    algorithm: Literal["edlae", "popularity"]
    hyperparameters: dict[str, float | int | str | bool | None]
    seed: int
    libraries: dict[str, str]
    source_revision: str | None = None
    data: DataSummary
    metrics: dict[str, Any]
    gate: Gate
    golden: tuple[GoldenQuery, ...]
    files: tuple[FileRecord, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        if Version.find(self.version) is None:
            raise ValueError(f"{self.version!r} is not a version")
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files must be sorted and named once each")
        if MANIFEST_NAME in paths:
            raise ValueError("the manifest cannot list itself")
        return self

    @property
    def accepted(self) -> bool:
        return self.gate.verdict == "accepted"

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 over the list of files: what the model is, whatever it is called and whenever it was made."""
        return digest_of(self.files)

    def to_json(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def headline(self) -> dict[str, Any]:
        """What an operator wants to read of a version in one line."""
        return {
            "version": self.version,
            "created_at": format_time(self.created_at),
            "algorithm": self.algorithm,
            "verdict": self.gate.verdict,
            "ratings": self.data.ratings,
            "users": self.data.users,
            "items": self.data.items,
            "digest": self.digest,
            "bytes": self.total_bytes,
        }


def digest_of(files: tuple[FileRecord, ...]) -> str:
    text = orjson.dumps([file.model_dump() for file in files], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_manifest(content: bytes, *, name: str) -> Manifest:
    """Read a manifest that must be of the version `name`.

    Errors: VersionInvalidError that says which field is wrong.
    """
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or MANIFEST_NAME
        raise VersionInvalidError(f"{MANIFEST_NAME}: {where}: {first['msg']}") from error
    if manifest.version != name:
        raise VersionInvalidError(f"{MANIFEST_NAME} is of {manifest.version}, the directory is named {name}")
    return manifest
