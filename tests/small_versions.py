"""Versions that are whole by their manifest and hold next to nothing: for tests that never load them."""

from datetime import UTC, datetime

from recsys.artifacts.files import write_durable
from recsys.artifacts.manifest import DataSummary, FileRecord, Gate, Manifest
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version


def publish_small(
    store: ModelStore,
    version: str | None = None,
    *,
    taken: tuple[Version, ...] = (),
    accepted: bool = True,
    **files: bytes,
) -> Manifest:
    """Publish a version that holds `files`, each named without its ending."""

    def describe(version: Version, records: tuple[FileRecord, ...]) -> Manifest:
        return Manifest(
            version=str(version),
            created_at=datetime.now(UTC),
            algorithm="popularity",
            hyperparameters={},
            seed=0,
            libraries={},
            data=DataSummary(source="test", fingerprint="", ratings=0, users=0, items=0),
            metrics={},
            gate=Gate(verdict="accepted" if accepted else "rejected"),
            golden=(),
            files=records,
        )

    store.ensure()
    with store.stage() as staged:
        for name, content in (files or {"model": b"{}"}).items():
            write_durable(staged / f"{name}.json", content)
        return store.publish(staged, Version.parse(version) if version else None, describe, taken=taken)
