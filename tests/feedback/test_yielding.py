"""A thread gives way by the kernel's own word."""

import errno
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from recsys.feedback import yielding
from recsys.feedback.yielding import give_way

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="the scheduler has no such class")


class Scheduled(NamedTuple):
    policy: int
    nice: int
    #: In nanoseconds, None where the kernel does not tell.
    slice_ns: int | None


def scheduled(before: Callable[[], object] = lambda: None, then: Callable[[], object] = give_way) -> Scheduled:
    """How the kernel treats a new thread after what it does."""
    found = []

    def run() -> None:
        before()
        then()
        told = Path(f"/proc/self/task/{threading.get_native_id()}/sched")
        slices = re.findall(r"^se\.slice\s*:\s*(\d+)$", told.read_text() if told.exists() else "", re.MULTILINE)
        policy, nice = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
        found.append(Scheduled(policy, nice, int(slices[0]) if slices else None))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_it_is_of_the_class_that_interrupts_nobody() -> None:
    assert scheduled().policy == os.SCHED_BATCH
    assert scheduled(then=lambda: None).policy == os.SCHED_OTHER


def test_its_slice_is_the_longest_there_is() -> None:
    found = scheduled()
    if found.slice_ns is None:
        pytest.skip("this kernel knows no slices")

    assert found.slice_ns == 100_000_000


def test_it_is_as_nice_as_it_was() -> None:
    """Less, and it would need a right that the service does not have."""
    nicer = min(os.getpriority(os.PRIO_PROCESS, 0) + 1, 19)

    assert scheduled(before=lambda: os.setpriority(os.PRIO_PROCESS, 0, nicer)).nice == nicer


def test_on_another_machine_the_class_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yielding, "_SCHED_SETATTR", {})

    assert scheduled().policy == os.SCHED_BATCH


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
def test_where_it_is_refused_all_stays_as_it_is(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters of system calls say either, and musl always the second: it has no such call."""

    def refuse(*arguments: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)

    assert scheduled().policy == os.SCHED_OTHER


def test_where_there_is_nothing_of_it_all_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SCHED_BATCH")

    assert scheduled().policy == os.SCHED_OTHER
