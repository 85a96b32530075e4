"""Windows of features as grids of patches, and where each patch lies.

Token n of a grid of F x T patches is patch (n // T, n % T): low bands first, and within them from
early to late. A patch is flattened as [channel, mel band, frame].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def patched(features: Tensor, patch: tuple[int, int]) -> Tensor:
    """Patches of windows. Shapes: [batch, channels, mels, frames] -> [batch, tokens, values]."""
    tiles = features.unflatten(3, (-1, patch[1])).unflatten(2, (-1, patch[0]))
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpatched(values: Tensor, grid: tuple[int, int], patch: tuple[int, int]) -> Tensor:
    """Inverse of `patched`. Shapes: [batch, tokens, values] -> [batch, channels, mels, frames]."""
    tiles = values.unflatten(2, (-1, *patch)).unflatten(1, grid)
    return tiles.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def positions(dim: int, grid: tuple[int, int]) -> NDArray[np.float32]:
    """Fixed codes of the places of a grid (He et al. 2022). Shape: [tokens, dim].

    The first half tells the place over frequency, the second that over time; each is sin(p w)
    beside cos(p w) for dim / 4 rates w from 1 down to almost 1e-4.
    """
    rates = 10000.0 ** -(np.arange(dim // 4) / (dim // 4))
    over_freq, over_time = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    halves = []
    for place in (over_freq, over_time):
        angle = np.outer(place, rates)
        halves += [np.sin(angle), np.cos(angle)]
    return np.concatenate(halves, axis=1).astype(np.float32)
