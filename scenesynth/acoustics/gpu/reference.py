"""The same spread in plain torch: the way of the CPU device, and the oracle of the kernels.

One response at a time, all its images at once, in floating point.
"""

from __future__ import annotations

import torch

from scenesynth.acoustics.gpu import tables
from scenesynth.acoustics.gpu.tables import Images
from scenesynth.acoustics.grids import PHASES, pulse_table
from scenesynth.acoustics.simd import TAPS, WIDTH
from scenesynth.acoustics.spread_cpu import UNDISPLACED
from scenesynth.spatial.ambisonics import spherical_harmonics


def spread_reference(
    images: Images,
    *,
    n_rows: int,
    bands: slice,
    shift: int,
    order: int,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Grids of a chunk: every image through the pulse. Shape: [responses, rows, channels, bands].

    Args:
        bands: those of the tables that the grid holds.
        shift: the grid's rate is that of the finest over 2^shift.
        dtype: of gains and sums.
    """
    n_bands = images.amplitude[0, :, bands].shape[1]
    columns = (order + 1) ** 2 * n_bands
    cells = images.amplitude.new_zeros((len(images.numbers), n_rows * columns), dtype=dtype)
    for response, flat in enumerate(cells):
        if images.numbers[response, tables.RADIUS_2] > 0:
            _spread_one(images, response, flat.view(n_rows, columns), bands, shift, order)
    return cells.view(len(cells), n_rows, -1, n_bands)


def _spread_one(
    images: Images, r: int, grid: torch.Tensor, bands: slice, shift: int, order: int
) -> None:
    number = images.numbers[r].tolist()
    i, j, k = _inside(images, r, number[tables.RADIUS_2])
    vectors = torch.stack([images.offset_m[r, axis] for axis in (i, j, k)], 1)
    distance = vectors.square().cumsum(1)[:, 2].sqrt()
    amplitude = images.amplitude[r, :, bands].to(grid.dtype)
    gains = amplitude[i] * amplitude[j] * amplitude[k] / distance.to(grid.dtype)[:, None]
    risen = (distance - number[tables.FADE_FROM_M]) * number[tables.FADE_PER_M]
    gains *= (1.0 - risen.clamp(0.0, 1.0)).sqrt().to(grid.dtype)[:, None]
    facing = images.facing_m[r].to(torch.float64)
    cosine = (facing[i] + facing[j] + facing[k]) / distance
    powers = torch.stack([cosine**p for p in range(5)]).to(grid.dtype)
    gains *= (images.pattern[r, bands].to(grid.dtype) @ powers).T
    turned = vectors / distance[:, None] @ images.turn[r].view(3, 3)
    harmonics = torch.from_numpy(spherical_harmonics(turned.cpu().numpy(), order)).to(grid)
    columns = (harmonics[:, :, None] * gains[:, None, :]).flatten(1)
    farther = _farther_m(images, r, number, (i, j, k))
    air = images.attenuation_per_m[r, bands] / 2 * farther[:, None]
    columns *= torch.exp(air).to(grid.dtype).repeat(1, harmonics.shape[1])
    position = (distance + farther) * (number[tables.ROWS_PER_M] / 2**shift)
    whole = position.to(torch.int64)
    phase = (position - whole) * PHASES
    line = phase.to(torch.int64)
    table = torch.from_numpy(pulse_table()).to(grid).view(PHASES, 2, WIDTH)[line]
    between = (phase - line).to(grid.dtype)
    pulses = table[:, 0] + between[:, None] * table[:, 1]
    for tap in range(TAPS):
        row = whole + (TAPS - TAPS // 2 + 1 + tap)
        grid.index_add_(0, row, columns * pulses[:, tap, None])


def _inside(images: Images, r: int, radius_2: float) -> tuple[torch.Tensor, ...]:
    """Entries along x, y and z of all images inside the sphere."""
    wide = [2 * reach + 1 for reach in images.reaches]
    squares = [part.square() for part in images.offset_m[r].split(wide)]
    distance_2 = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    i, j, k = torch.nonzero(distance_2 <= radius_2, as_tuple=True)
    return i, j + wide[0], k + wide[0] + wide[1]


def _farther_m(
    images: Images, r: int, number: list[float], entries: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """How much farther away each image seems to lie by its arrival: late ones are displaced."""
    i, j, k = entries
    bits = images.mark[r].to(torch.int64)
    word = (bits[i] ^ bits[j] ^ bits[k] ^ int(number[tables.SEED])) & 0xFFFFFFFF
    word = ((word ^ (word >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    word = ((word ^ (word >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    share = (word ^ (word >> 16)).to(torch.float64) / 2**32
    hops = images.hops[r]
    late = hops[i] + hops[j] + hops[k] > UNDISPLACED
    return torch.where(late, number[tables.DISPLACEMENT_M] * share, 0.0)
