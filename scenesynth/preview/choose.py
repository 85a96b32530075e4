"""Which scenes are shown; only the tables of their own shards are read for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scenesynth.errors import ConfigError
from scenesynth.seeds import rng
from scenesynth.store.reader import Dataset
from scenesynth.store.scene_ids import find_scenes

WORST_OF: Final = 64
"""Scenes among which those with the largest label errors are looked for."""


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
