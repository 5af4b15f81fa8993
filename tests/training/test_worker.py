"""The child stays behind the server as far as the kernel lets it, and trains all the same where it does not."""

import errno
import os
import threading

import pytest

from recsys.training.worker import stay_behind

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="the scheduler has no such class")
NICER = min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)


def staying_behind() -> tuple[int, int]:
    """The class and the niceness of a thread that stays behind: to Linux both are a thread's own."""
    found = []

    def run() -> None:
        stay_behind()
        found.append((os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_it_works_when_nobody_else_wants_to() -> None:
    assert staying_behind() == (os.SCHED_IDLE, NICER)


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
def test_where_that_is_refused_it_is_nice(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters of system calls say either, and musl always the second: it has no such call."""

    def refuse(*arguments: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)

    assert staying_behind() == (os.SCHED_OTHER, NICER)


def test_where_there_is_nothing_of_it_it_is_nice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "SCHED_IDLE")

    assert staying_behind() == (os.SCHED_OTHER, NICER)
