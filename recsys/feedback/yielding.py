"""A thread that gives way to whoever has something to do. Linux only; elsewhere it is scheduled like any other.

With two processors the event loop, whoever asks it and the writer of ratings are often three that want to run. By
itself the scheduler takes a processor from the loop when the writer is woken, hundreds of times a second, and lets
others wait until the writer is done, half a millisecond each time, be another processor idle or not.
"""

import contextlib
import ctypes
import os
import platform

#: The longest slice that may be asked for, in nanoseconds. Who asks for less goes first when woken.
_SLICE_NS = 100_000_000
#: The number of the system call `sched_setattr`, for which neither Python nor every libc has a function.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}


class _Attributes(ctypes.Structure):
    """`struct sched_attr` of sched_setattr(2), as it was first."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def give_way() -> None:
    """Have this thread interrupt nobody when it is woken, and be interrupted by those who are. It gets no less time.

    The first is its class, SCHED_BATCH (sched(7)), the second a long slice, which Linux heeds from 6.12 on. Refused,
    where system calls are filtered, or unknown, it is left as it is.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        if (number := _SCHED_SETATTR.get(platform.machine())) is not None:
            nice = os.getpriority(os.PRIO_PROCESS, 0)
            asked = _Attributes(ctypes.sizeof(_Attributes), os.SCHED_BATCH, nice=nice, runtime=_SLICE_NS)
            this, no_flags = ctypes.c_long(0), ctypes.c_long(0)
            ctypes.CDLL(None).syscall(ctypes.c_long(number), this, ctypes.byref(asked), no_flags)
