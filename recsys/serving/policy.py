"""Which version to serve: a pure function of what there is, what is wanted and what is served now.

A pin comes first, then the bucket's pointer, then the highest accepted version. What is named but missing or bad never
unloads what is served; without a pin, the service never goes below what it serves by itself either, so a directory that
is emptied, truncated or unreadable changes nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from recsys.artifacts.pointer import Pointer
from recsys.artifacts.store import Listing
from recsys.artifacts.version import Version


@dataclass(frozen=True)
class Situation:
    """`available` maps versions that are complete, valid and have not failed to whether the gate accepted them.
    `serving_accepted` is that of the model in memory, whatever has become of its files.
    """

    available: Mapping[Version, bool]
    pin: Version | None = None
    pointer: Version | None = None
    serving: Version | None = None
    serving_accepted: bool = True
    failed: frozenset[Version] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Decision:
    """`version` to serve (None: there is nothing), `because` of what, and what is not as wished (`degraded`)."""

    version: Version | None
    because: str
    degraded: str | None = None


def available(
    listing: Listing, failed: Collection[Version], pin: Version | None, pointer: Pointer | None
) -> dict[Version, bool]:
    """Return the versions that can be served, and whether the gate accepted them.

    One that the pointer names but that is another than it means does not count, unless somebody pinned it.
    """
    found = {
        entry.version: entry.manifest
        for entry in listing.entries
        if entry.manifest is not None and entry.version not in failed
    }
    meant = pointer if pointer is not None and pointer.name != pin else None
    if meant is not None and meant.name in found and found[meant.name].digest != meant.digest:
        del found[meant.name]
    return {version: manifest.accepted for version, manifest in found.items()}


def decide(situation: Situation) -> Decision:
    """Choose the version to serve."""
    serving = situation.serving
    degraded = None
    for name, wanted in (("pin", situation.pin), ("pointer", situation.pointer)):
        if wanted is None:
            continue
        if wanted in situation.available:
            return Decision(wanted, name, degraded)
        if wanted == serving:
            return Decision(wanted, name, degraded or _only_in_memory(situation))
        problem = "has failed" if wanted in situation.failed else "is not there"
        degraded = degraded or f"the {name} names {wanted}, which {problem}"
        if serving is not None:
            return Decision(serving, "kept", degraded)
    accepted = [version for version, is_accepted in situation.available.items() if is_accepted]
    if serving is not None and situation.available.get(serving, situation.serving_accepted):
        accepted.append(serving)
    if accepted:
        version = max(accepted)
        if version == serving:
            degraded = degraded or _only_in_memory(situation)
        return Decision(version, "highest accepted", degraded)
    if serving is not None:
        return Decision(serving, "kept", degraded or "no accepted version is there")
    return Decision(None, "nothing to serve", degraded)


def _only_in_memory(situation: Situation) -> str | None:
    if situation.serving in situation.available:
        return None
    return f"{situation.serving} is served from memory: its files are gone or no longer valid"


def rollback_target(situation: Situation) -> Version | None:
    """Return the highest accepted, unfailed version below the one served."""
    serving = situation.serving
    below = [
        version
        for version, accepted in situation.available.items()
        if accepted and serving is not None and version < serving
    ]
    return max(below, default=None)
