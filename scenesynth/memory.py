"""Memory that is freed stays with the process, for processes that render for hours."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
_MMAP_BYTES = 32 << 20  # the largest that glibc takes
_TRIM_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Tell glibc not to hand freed memory back to the system between arrays.

    Rendering allocates and frees the same few tens of megabytes for every response. By default
    they go back to the system each time and come again page by page, which can cost as much as
    the work itself (measured on a virtual machine: 1,000 to 1,800 page faults and 4 to 10 ms per
    response). It changes the whole process, so it is for those who own one: workers, the command
    line, benchmarks.

    Returns:
        Whether it took effect; False where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MMAP_BYTES) and mallopt(_TRIM_THRESHOLD, _TRIM_BYTES))
