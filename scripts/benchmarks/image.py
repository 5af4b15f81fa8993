"""The image, built anew after a change of the code: what somebody waits for who tries a change in a container."""

import os
import shutil
import time
from pathlib import Path

from containers import copy_project, remove_images, script

from benchmarks.world import Row, World, median

_MAX_S = 10.0


def run(world: World) -> list[Row]:
    if shutil.which("podman") is None:
        world.say("image: left out; it needs podman")
        return []
    project, image = copy_project(world.directory / "image"), f"localhost/recsys-bench-{os.getpid()}"
    names = [f"{image}:first"]
    seconds: list[float] = []
    try:
        world.say("image: built once, with its packages")
        _build(project, names[0])
        for number in range(1 if world.quick else 3):
            world.say(f"image: after a change of the code, {number + 1}")
            changed = project / "recsys" / "errors.py"
            changed.write_text(f"{changed.read_text()}\n# {number} {time.time()}\n")
            names.append(f"{image}:changed-{number}")
            seconds.append(_build(project, names[-1]))
    finally:
        remove_images(*names)
    return [
        Row(
            "image",
            "built anew after a change of the code",
            {"median_s": round(median(seconds), 1), "n": len(seconds)},
            f"<= {_MAX_S:g} s",
            median(seconds) <= _MAX_S,
        )
    ]


def _build(project: Path, name: str) -> float:
    started = time.perf_counter()
    status, printed = script("build", project, {"RECSYS_IMAGE": name})
    if status:
        raise RuntimeError(f"the image cannot be built:\n{printed[-2000:]}")
    return time.perf_counter() - started
