"""Has glibc's allocator give memory back: a model is a few large arrays and many small ones, and swaps come and go.

By default the size from which an allocation gets pages of its own rises with what is freed, so that after the first
swap a model's arrays live in the heap, where they leave holes; and every thread has a heap of its own.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_OWN_PAGES_FROM_BYTES = 256 * 1024
_ARENAS = 2
#: With the threshold above fixed, this one would stay at 128 KB, and requests would have the heap shrink and grow for
# ever.
_TRIM_FROM_BYTES = 32 * 2**20


def return_memory() -> None:
    """Set the threshold for good, and the number of heaps. Does nothing where the C library is another (musl,
    macOS), like `trim`.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_FROM_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _TRIM_FROM_BYTES)
    mallopt(_M_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Give back the pages that are free between what is in use. Cost: about a millisecond for 20 MB, in which the heap
    is locked.
    """
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    malloc_trim(0)
