"""What deploy/GUIDE.md says of several services and one bucket, as it is written there; only the machines are one."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from buckets import CREDENTIALS, make_bucket
from service import ROOT, ServerProcess

_TOKEN = "a-token-for-the-tests"
_HEADING = "## Several services, one bucket"


def _blocks() -> list[str]:
    """The section's shell blocks: who trains, who follows, who operates."""
    text = (ROOT / "deploy" / "GUIDE.md").read_text(encoding="utf-8")
    section = text.partition(_HEADING)[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.mark.slow
def test_the_guides_services_share_a_bucket(
    serve: Callable[..., ServerProcess], moto: str, tmp_path: Path, sample: Path
) -> None:
    trainer, follower, operator = _blocks()
    make_bucket(moto, "film-models")

    def machine(name: str) -> dict[str, str]:
        """What makes it a machine of its own, and the bucket one that is here."""
        return {
            **CREDENTIALS,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RECSYS_S3__ENDPOINT_URL": moto,
            "RECSYS_S3__POLL_INTERVAL_S": "0.5",
            "RECSYS_SERVER__PORT": "0",
            "RECSYS_PATHS__MODELS": str(tmp_path / name / "models"),
            "RECSYS_PATHS__STATE": str(tmp_path / name / "state"),
            "RECSYS_PATHS__SAMPLE": str(sample),
            "RECSYS_ADMIN__TOKEN": _TOKEN,
        }

    def start(name: str, block: str) -> ServerProcess:
        *before, last = block.strip().splitlines()
        # the shell becomes the service, so that the service is what is ended
        script = "\n".join([*before, f"exec {last}"])
        return serve(command=["bash", "-euc", script], environ=machine(name))

    one, two = start("trainer", trainer), start("follower", follower)
    two.wait_version("v1.0.0", 60)
    one.wait_for(lambda: one.request("/health").json["retraining"]["running"] is None, "idle", 30)
    one.request("/admin/retrain", method="POST", headers={"Authorization": f"Bearer {_TOKEN}"})
    for service in (one, two):
        service.wait_version("v1.0.1", 60)
    health = two.request("/health").json
    assert (health["sync"]["role"], health["model_because"]) == ("pull", "pointer")
    one.wait_for(lambda: one.request("/health").json["retraining"]["running"] is None, "idle", 30)

    environ = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    done = subprocess.run(
        ["bash", "-euc", operator],
        env=environ | machine("desk"), cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "v1.0.0 is current now, before it was v1.0.1" in done.stdout
    assert "v1.0.1 is current now, before it was v1.0.0" in done.stdout
    for service in (one, two):
        service.wait_for(
            lambda s=service: s.request("/health").json["sync"]["pointer"]["generation"] == 4, "in step", 30
        )  # type: ignore[misc]
        service.wait_version("v1.0.1", 30)
    assert (one.stop(), two.stop()) == (0, 0)
