"""Watches a new version after its swap: does it err, or is it slow? Pure counting; the clock is passed in.

The gate judges a model on data, the golden queries on a few answers; this sees how it does under the real load. Who
goes back when it trips is the watcher.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class GuardLimits:
    """Within `watch_s` of a swap, at most `max_errors` of the answers may be errors and at most `max_slow` take longer
    than `slow_s`; nothing is judged on fewer than `min_answers`.
    """

    watch_s: float = 60.0
    max_errors: float = 0.05
    slow_s: float = 0.5
    max_slow: float = 0.10
    min_answers: int = 50


class SwapGuard:
    """Counts the answers of one version at a time."""

    def __init__(self, limits: GuardLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._ends = 0.0
        self.version: str | None = None
        self._answers = self._errors = self._slow = 0

    def begin(self, version: str) -> None:
        """Start to watch a version that was just swapped in."""
        self._ends = self._clock() + self._limits.watch_s
        self.version = version if self._limits.watch_s > 0 else None
        self._answers = self._errors = self._slow = 0

    def end(self) -> None:
        """Watch nothing."""
        self.version = None

    def observe(self, seconds: float, *, failed: bool) -> str | None:
        """Count an answer; return the reason when the version should go, once."""
        if self.version is None:
            return None
        if self._clock() > self._ends:
            self.version = None
            return None
        self._answers += 1
        self._errors += failed
        self._slow += seconds > self._limits.slow_s
        if self._answers < self._limits.min_answers:
            return None
        for count, most, what in (
            (self._errors, self._limits.max_errors, "were errors"),
            (self._slow, self._limits.max_slow, f"took longer than {self._limits.slow_s * 1000:g} ms"),
        ):
            if count > most * self._answers:
                self.version = None
                return f"after the swap {count} of {self._answers} answers {what}"
        return None
