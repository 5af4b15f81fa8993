"""What counts as available when the bucket's pointer says which version is meant, to the byte."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from small_versions import publish_small

from recsys.artifacts.pointer import Pointer
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.serving.policy import Situation, available, decide

V1, V2 = Version(1, 0, 0), Version(1, 0, 1)


@pytest.mark.parametrize(
    ("names", "is_same", "pin", "expected", "because"),
    [
        ("v1.0.0", True, None, V1, "pointer"),
        ("v1.0.0", False, None, V2, "highest accepted"),
        ("v1.0.0", False, V1, V1, "pin"),
        ("v1.0.0", True, V2, V2, "pin"),
        ("v1.0.5", True, None, V2, "highest accepted"),
    ],
)
def test_another_version_of_the_name_is_not_what_the_pointer_means(
    tmp_path: Path, names: str, is_same: bool, pin: Version | None, expected: Version, because: str
) -> None:
    store = ModelStore(tmp_path)
    manifest = publish_small(store, "v1.0.0", model=b"one")
    publish_small(store, "v1.0.1", model=b"two")
    digest = manifest.digest if is_same else "0" * 64
    pointer = Pointer(version=names, digest=digest, generation=1, who="", when=datetime.now(UTC), nonce="0" * 32)
    decision = decide(Situation(available(store.scan(), (), pin, pointer), pin=pin, pointer=pointer.name))

    assert (expected, because) == (decision.version, decision.because)
