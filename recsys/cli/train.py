"""`recsys train`: one training run in this process, with its metrics and verdict."""

from datetime import UTC, datetime

from recsys.artifacts.version import Version
from recsys.cli.logs import configure_logging
from recsys.cli.progress import show_progress
from recsys.settings import Settings
from recsys.training.pipeline import TrainingResult, train
from recsys.training.plan import plan_from


def run(settings: Settings, version: str | None) -> int:
    """Train and print. Returns 1 when the gate rejected the candidate, which is kept and can be pinned."""
    configure_logging(settings.log.level, settings.log_format)
    plan = plan_from(settings, version=Version.parse(version) if version is not None else None)
    with show_progress("training") as progress:
        result = train(plan, now=lambda: datetime.now(UTC), progress=progress)
    print(describe(result))
    return 0 if result.manifest.accepted else 1


def describe(result: TrainingResult) -> str:
    """The result as a person reads it."""
    manifest = result.manifest
    data = manifest.data
    about = f"{data.ratings} ratings of {data.users} users for {data.items} items"
    size = f"{manifest.total_bytes / 1e6:.1f} MB, digest {manifest.digest[:12]}"
    lines = [f"{manifest.version} {manifest.gate.verdict}: {manifest.algorithm} on {about}, {size}"]
    report = result.report
    if report.bad or report.duplicates:
        lines.append(f"  left out {report.bad} bad rows, merged {report.duplicates} duplicates")
        lines += [f"    {row}" for row in report.examples[:5]]
    if result.evaluation is not None:
        for name in (manifest.algorithm, "popularity"):
            metrics = ", ".join(f"{key} {value}" for key, value in result.evaluation.models[name].items())
            lines.append(f"  {name}: {metrics}")
    for check in manifest.gate.checks:
        bound = "at most" if check.at_most else "at least"
        numbers = "" if check.value is None else f" {check.value:.4g}, {bound} {check.threshold:.4g}"
        lines.append(f"  {'passed' if check.passed else 'FAILED'} {check.name}{numbers}")
    return "\n".join(lines)
