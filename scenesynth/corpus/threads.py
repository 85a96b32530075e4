"""Work on many clips in threads: decoding, filtering and hashing release the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from scenesynth.corpus.clips import Progress

T = TypeVar("T")
R = TypeVar("R")

_BATCH = 2048


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(
    work: Callable[[T], R],
    items: Sequence[T],
    *,
    what: str,
    progress: Progress | None,
    workers: int | None = None,
) -> list[R]:
    """`work` of every item, in order; the first failure is raised.

    Args:
        what: first argument of `progress`, which is called after each item.
        workers: threads; None for one per core.
    """
    results: list[R] = []
    with ThreadPoolExecutor(workers or available_cores()) as pool:
        # In batches, so that a million items do not become a million waiting futures.
        for start in range(0, len(items), _BATCH):
            for result in pool.map(work, items[start : start + _BATCH]):
                results.append(result)
                if progress:
                    progress(what, len(results), len(items))
    return results
