"""Which scenes are shown: found from the commits, and from the tables of their own shards alone."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final

from scenesynth.errors import ConfigError
from scenesynth.seeds import rng
from scenesynth.store.reader import Dataset
from scenesynth.store.scene_ids import find_scenes

WORST_OF: Final = 64
"""Scenes among which those with the largest label errors are looked for."""


class Usable:
    """Scenes that are there: by number, as `dataset[number]`, and by the column `index`."""

    def __init__(self, dataset: Dataset) -> None:
        self._commits = [
            (commit, n)
            for at, commit in enumerate(dataset.commits)
            if (n := dataset.n_usable(at)) > 0
        ]
        self._stops = list(accumulate(n for _, n in self._commits))
        self._firsts = [commit.first for commit, _ in self._commits]
        self._gone = frozenset(() if dataset.with_excluded else dataset.excluded)
        self._indices = lru_cache(maxsize=64)(self._read_indices)

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    def index(self, number: int) -> int:
        """The scene's number in the column `index`."""
        at = bisect_right(self._stops, number)
        return self._indices(at)[number - self._start(at)]

    def number(self, index: int) -> int:
        """Number of the first scene from `index` on; `len` where there is none."""
        at = bisect_right(self._firsts, index) - 1
        if at < 0:
            return 0
        return self._start(at) + bisect_left(self._indices(at), index)

    def _start(self, at: int) -> int:
        return self._stops[at - 1] if at else 0

    def _read_indices(self, at: int) -> list[int]:
        commit, _ = self._commits[at]
        gone = self._gone.union(commit.skipped)
        return [index for index in range(commit.first, commit.stop) if index not in gone]


def draw(n_scenes: int, wanted: int, seed: int) -> list[int]:
    """Different numbers below `n_scenes`, rising, the same for the same seed."""
    order = rng(seed, "", "preview").units(n_scenes).argsort()
    return sorted(int(number) for number in order[:wanted])


def named_scenes(dataset: Dataset, names: Iterable[str], option: str) -> list[int]:
    """The named scenes by the column `index`, rising.

    Args:
        names: ids, numbers or ranges, as `scenesynth.store.scene_ids.find_scenes` takes them.

    Raises:
        ConfigError: a scene that is not there, or excluded, and why.
    """
    found = find_scenes(dataset, names, option)
    for index in found:
        if index in dataset.excluded and not dataset.with_excluded:
            raise ConfigError(
                f"{option} {index}: it is excluded; take that back with `scenesynth exclude "
                f"{dataset.place} {index} --undo`"
            )
    return list(found)


def worst_scenes(
    scenes: Sequence[int],
    wanted: int,
    error_of: Callable[[int], float | None],
    progress: Callable[[str, int, int], None],
) -> list[int]:
    """Those of `scenes` with the largest label errors, the largest first.

    Args:
        error_of: largest label error of a scene in degrees; None where there is none.
        progress: called with (what, done, total).
    """
    errors: dict[int, float] = {}
    for done, index in enumerate(scenes):
        progress("compare labels with the audio", done, len(scenes))
        if (error := error_of(index)) is not None:
            errors[index] = error
    progress("compare labels with the audio", len(scenes), len(scenes))
    return sorted(errors, key=lambda index: -errors[index])[:wanted]
