"""Keeping memory between scenes.

A scene allocates and frees some 30 MB in blocks of about 1 MB. glibc hands such blocks back to the
kernel, which gives them anew, page by page and zeroed, for the next scene: a sixth of the time of a
rendering. A process that renders many scenes asks it to keep them.
"""

from __future__ import annotations

import ctypes
from functools import cache

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_KEPT_BLOCK = 32 << 20  # glibc accepts no more
_LARGEST_KEPT_TOTAL = 512 << 20


@cache
def keep_freed_memory() -> bool:
    """Make this process keep freed blocks for reuse; False where the C library cannot.

    It changes the whole process, so it is for worker processes and commands, not for the library
    to do unasked.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BLOCK)
        and mallopt(_M_TRIM_THRESHOLD, _LARGEST_KEPT_TOTAL)
    )
