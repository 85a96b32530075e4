"""The one door to compiled kernels: `@kernel` is numba's njit with the cache in the right place.

Compiled code is cached on disk under `data.cache_root()`, in a folder named after the source text
of every module that holds kernels. numba itself looks at the time and size of one file, which
misses a changed kernel in another module and two releases whose files bear the same time; it would
also need a writable package folder. `NUMBA_CACHE_DIR` overrides the place.

No `fastmath`: sums keep their order, so the bytes do not depend on the vector width.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

from scenesynth.data import cache_root

_PACKAGE = Path(__file__).resolve().parent
_MARKS = (b"scenesynth.jit import", b"from numba")


@cache
def sources_digest() -> str:
    """Digest of the text of every module of the package that takes part in a kernel."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        text = path.read_bytes()
        if path == Path(__file__).resolve() or any(mark in text for mark in _MARKS):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + b"\0" + text)
    return digest.hexdigest()[:16]


@cache
def kernel_cache() -> Path:
    """Folder of the compiled kernels; numba is told about it on the first call."""
    explicit = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(explicit) if explicit else cache_root() / "numba" / sources_digest()
    numba.config.CACHE_DIR = str(folder)
    return folder


def kernel(function: Callable[..., Any]) -> Any:
    """Compile on the first call, or load from the cache; runs without the GIL, on one thread.

    Callers give every array with one dtype, C order and writable, so that each kernel has exactly
    one compiled signature and `ensure_compiled` can make it beforehand.
    """
    kernel_cache()
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder at all that it may write: compile in memory
        return numba.njit(**options)(function)
