"""How much of a direction a format can tell, so that a picture never claims more.

Two ears, or microphones in a row, know the angle to the line through them and nothing else: front
and back, up and down on a cone about it are alike. Microphones in a horizontal plane take up for
down. Their estimates are compared with what is left of the label, not with all of it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scenesynth.spatial.arrays import MicArray
from scenesynth.spatial.formats import Format

Reach = Literal["all", "upper", "side", "none"]
"""All of a direction; all but the sign of its elevation; its lateral angle alone, that to the
median plane; or nothing."""

ORDER: tuple[Reach, ...] = ("all", "upper", "side", "none")
FLAT = 1e-3
"""Extent, as a share of an array's size, below which it has none in that dimension."""

Array = NDArray[np.float64]


def reach_of(item: Format) -> Reach:
    """How much of a direction a format tells."""
    if item.kind == "binaural":
        return "side"
    if item.array is not None:
        return _of_microphones(item.array)
    return "all" if item.order >= 1 else "none"


def _of_microphones(array: MicArray) -> Reach:
    rank, axes = _extent(array.positions_m)
    if rank == 3:
        return "all"
    if rank == 2 and abs(axes[2][2]) > 1 - FLAT:
        return "upper"
    if rank == 1 and abs(axes[0][1]) > 1 - FLAT:
        return "side"
    if rank == 0 and array.n_channels >= 4:
        patterns = np.column_stack(
            [array.omni_shares, (1 - array.omni_shares)[:, None] * array.looks]
        )
        return "all" if np.linalg.matrix_rank(patterns, tol=FLAT) == 4 else "none"
    return "none"


def _extent(positions_m: Array) -> tuple[int, Array]:
    """Dimensions that places extend into, and axes of the largest extent first. Shape: [3, 3]."""
    centred = np.pad(positions_m - positions_m.mean(axis=0), ((0, 3), (0, 0)))
    _, extents, axes = np.linalg.svd(centred, full_matrices=False)
    return int(np.sum(extents > max(FLAT * extents[0], 1e-5))), axes


def as_told(vectors: Array, reach: Reach) -> Array:
    """What is told of unit vectors: the one of all like directions that lies in front, or above.

    "side" gives those in the horizontal plane in front with the same y. Shapes: [..., 3].
    """
    x, y, z = np.moveaxis(vectors, -1, 0)
    if reach == "side":
        return np.stack([np.sqrt(np.maximum(1 - y * y, 0)), y, np.zeros_like(y)], axis=-1)
    return np.stack([x, y, np.abs(z)], axis=-1) if reach == "upper" else vectors
