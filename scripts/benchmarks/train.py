"""A whole `recsys train`: start of Python, reading, evaluation, gate, fit on everything, publishing."""

from benchmarks.world import Row, World, median

_MAX_S = 5.0


def run(world: World) -> list[Row]:
    seconds, peak_mb = [], []
    for number in range(1 if world.quick else 3):
        world.say(f"train: {number + 1}")
        models = world.directory / f"models-train-{number}"
        _, took_s, used_mb = world.processes.run(["recsys", "train"], {"RECSYS_PATHS__MODELS": str(models)})
        seconds.append(took_s)
        peak_mb.append(used_mb)
    return [
        Row(
            "train",
            "whole run, evaluation included",
            {"median_s": round(median(seconds), 2), "peak_mb": round(max(peak_mb))},
            f"<= {_MAX_S:g} s",
            median(seconds) <= _MAX_S,
        )
    ]
