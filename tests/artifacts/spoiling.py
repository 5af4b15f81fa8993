"""Ways to spoil a version directory that leave everything else about it right."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.artifacts.servable import Servable, load_servable


def no_pause() -> None:
    """For tests without an event loop to be kind to."""


@dataclass
class Spoiled:
    """A version directory, and edits that keep its manifest's sizes and checksums right, so that what is refused is
    refused for its meaning.
    """

    path: Path

    def load(self) -> Servable:
        return load_servable(self.path, pause=no_pause)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read("manifest.json"))
        return found

    def describe(self, **changes: Any) -> None:
        self.write_manifest(self.manifest | changes)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        (self.path / "manifest.json").write_text(json.dumps(manifest))

    def rewrite(self, name: str, content: bytes | None) -> None:
        """Put `content` (None: no such file) in place of a file, and let the manifest say so."""
        manifest = self.manifest
        records = [record for record in manifest["files"] if record["path"] != name]
        if content is None:
            (self.path / name).unlink()
        else:
            (self.path / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            records.append({"path": name, "bytes": len(content), "sha256": digest})
        manifest["files"] = sorted(records, key=lambda record: record["path"])
        self.write_manifest(manifest)
