"""Progress of long work: a bar on a terminal, a log line for each stage elsewhere. Always on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def show_progress(title: str) -> Iterator[Callable[[str, float], None]]:
    """Give a function that takes a stage's name and a share from 0 to 1."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=1.0)
            yield lambda stage, share: bar.update(task, completed=share, description=f"{title}: {stage}")
    else:
        log, last = structlog.get_logger("recsys"), ""

        def tell(stage: str, share: float) -> None:
            nonlocal last
            if stage != last:
                last = stage
                log.info(title, stage=stage, progress=round(share, 2))

        yield tell
