"""What is in the image, what is not, and how long it takes to make."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from containers import Container, base_image, podman, remove_images, script


@pytest.fixture(scope="module")
def config(image: Any) -> Any:
    return json.loads(podman("image", "inspect", image.name))[0]


def size_of(image: str) -> int:
    return int(podman("image", "inspect", "--format", "{{.Size}}", image))


def layers_of(image: str) -> list[str]:
    return list(json.loads(podman("image", "inspect", "--format", "{{json .RootFS.Layers}}", image)))


class TestImage:
    def test_adds_at_most_300_mb_to_its_base(self, image: Any) -> None:
        added = size_of(image.name) - size_of(base_image())

        assert added <= 300e6
        assert f"{added // 1_000_000} MB over its base" in image.printed

    def test_a_change_of_the_code_makes_only_the_layers_of_the_code_anew(self, image: Any) -> None:
        """The packages, which take a minute, are those of before; what it takes is measured by `./scripts/bench`."""
        changed = image.project / "recsys" / "errors.py"
        changed.write_text(changed.read_text() + f"\n# {time.time()}\n")
        name = image.name.replace(":latest", ":changed")

        status, printed = script("build", image.project, {"RECSYS_IMAGE": name})

        before, after = layers_of(image.name), layers_of(name) if status == 0 else []
        remove_images(name)
        assert status == 0, printed
        anew = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
        assert anew == [len(before) - 2, len(before) - 1], "the code and its bytecode"

    def test_says_how_it_is_to_be_run(self, config: Any) -> None:
        assert config["Config"]["User"] == "1000:1000"
        assert list(config["Config"]["Volumes"]) == ["/app/data"]
        assert config["Config"]["StopSignal"] in ("SIGTERM", "15")
        assert list(config["Config"]["ExposedPorts"]) == ["8000/tcp"]
        assert config["Healthcheck"]["Test"][0] == "CMD"  # the image's own, which OCI's format drops

    def test_carries_labels(self, config: Any, image: Any) -> None:
        labels = config["Labels"]
        version = re.search(r'__version__ = "(.+)"', (image.project / "recsys" / "__init__.py").read_text())

        assert version is not None
        assert labels["org.opencontainers.image.title"] == "recsys"
        assert labels["org.opencontainers.image.licenses"] == "MIT"
        assert labels["org.opencontainers.image.version"] == version[1]

    def test_has_no_compiler_cache_test_or_data_set(self, image: Any) -> None:
        code = """
import pathlib, shutil, sys
found = [name for name in ("cc", "gcc", "g++", "clang", "make", "cargo", "curl", "git") if shutil.which(name)]
site = next(pathlib.Path("/opt/recsys/lib").glob("python3*/site-packages"))
found += [str(p) for p in site.rglob("*") if p.name in ("tests", "test") and p.is_dir()]
found += [str(p) for p in site.iterdir() if p.name.split("-")[0] in ("pip", "setuptools", "pytest", "debugpy")]
found += [str(p) for p in pathlib.Path("/app/data").rglob("*") if p.is_file()]
found += [p for p in ("/root/.cache", "/wheels", "/app/tests", "/app/.git", "/app/scripts") if pathlib.Path(p).exists()]
print(*found)
"""
        assert podman("run", "--rm", "--user=0", image.name, "python", "-c", code).split() == []

    def test_holds_no_secret_in_any_layer_or_in_its_history(self, image: Any) -> None:
        """The token was in the builder's environment and in files of the project that a careless build takes up."""
        canary = image.canary
        assert canary in (image.project / "data" / "state" / "admin-token").read_text()
        saved = subprocess.Popen(["podman", "save", image.name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert saved.stdout is not None
        total, found, tail = 0, False, b""
        with saved.stdout:
            while chunk := saved.stdout.read(1 << 22):
                total += len(chunk)
                found = found or canary.encode() in tail + chunk
                tail = chunk[-len(canary) :]
        saved.wait(30)

        assert total > 200e6
        assert not found
        assert canary not in podman("history", "--no-trunc", image.name)
        assert canary not in podman("image", "inspect", image.name)

    def test_has_a_first_model_only_if_asked(self, image: Any, container: Callable[..., Container]) -> None:
        name = image.name.replace(":latest", ":sample")
        status, printed = script("build", image.project, {"RECSYS_IMAGE": name}, "--sample")
        assert status == 0, printed
        code = "import pathlib; print(*sorted(p.name for p in pathlib.Path('/app/data').glob('*/*')))"

        inside = podman("run", "--rm", name, "python", "-c", code).split()
        remove_images(name)

        assert "v1.0.0" in inside
        assert not {"admin-token", "feedback.sqlite"} & set(inside)  # every copy of the image would share them


class TestContainerfile:
    def test_is_tied_to_no_architecture(self, image: Any) -> None:
        text = (image.project / "Containerfile").read_text()

        assert re.findall(r"(?i)amd64|x86|arm64|aarch64|--platform", text) == []
