"""Progress of long work: a bar on a terminal, a log line for each stage elsewhere. Always on stderr."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def show_progress(title: str) -> Iterator[Callable[[str, float], None]]:
    """Give a function that takes a stage's name and a share from 0 to 1."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=1.0, desc=title, leave=False, bar_format="{desc} |{bar}| {percentage:3.0f} % {elapsed}") as bar:

            def draw(stage: str, share: float) -> None:
                bar.update(share - bar.n)
                if bar.desc != (about := f"{title}: {stage}"):
                    bar.set_description_str(about)  # at once

            yield draw
    else:
        log, last = structlog.get_logger("recsys"), ""

        def tell(stage: str, share: float) -> None:
            nonlocal last
            if stage != last:
                last = stage
                log.info(title, stage=stage, progress=round(share, 2))

        yield tell
