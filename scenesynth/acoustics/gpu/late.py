"""The noise tails of a chunk of responses: `scenesynth.acoustics.tail` on a device.

The factors of each field are few numbers and come from the host. Here they are interpolated to the
blocks of the pool, multiplied with its noise, turned to the listener and faded in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from scenesynth.acoustics.gpu.tables import upload
from scenesynth.acoustics.noise import BLOCK, BLOCKS, noise_pool
from scenesynth.acoustics.tail import Field, Seam


class Ramps(NamedTuple):
    """Amplitudes at the first sample of every block, and their slopes per sample.

    Shapes: [responses, blocks, pairs, bands], float32.
    """

    start: torch.Tensor
    slope: torch.Tensor


def late_noise(
    fields: Sequence[Field],
    seams: Sequence[Seam],
    n_rows: int,
    n_blocks: int,
    sample_rate: int,
    band_hz: tuple[float, ...],
    device: torch.device,
) -> torch.Tensor:
    """The noise of some fields, in the listener's frame, from time 0.

    Args:
        n_rows: responses of the result; those without a field are silent.

    Returns:
        Shape: [n_rows, channels, n_blocks * BLOCK].
    """
    ramps = _ramps(fields, n_rows, n_blocks, device)
    starts = np.zeros((n_rows, len(fields[0].starts)))
    turn = np.zeros((n_rows, *fields[0].turn.shape))
    limits = np.tile([0.0, 1.0], (n_rows, 1))
    for row, (field, seam) in enumerate(zip(fields, seams, strict=True)):
        starts[row], turn[row] = field.starts, field.turn
        limits[row] = seam.start_s, seam.end_s
    pool = _pool(sample_rate, band_hz, device)
    place = upload(starts, device).to(torch.int64)[:, :, None]
    place = (place + torch.arange(n_blocks, device=device)) % BLOCKS
    noise = _product(ramps, pool, place, fields[0])
    time_s = torch.arange(n_blocks * BLOCK, device=device) / float(sample_rate)
    begin, end = upload(limits, device).unsqueeze(2).unbind(1)
    rising = ((time_s.to(torch.float64) - begin) / (end - begin)).clamp(0.0, 1.0).sqrt()
    noise *= rising.to(torch.float32)[:, None]
    return _turned(noise, upload(turn, device).to(torch.float32))


def _ramps(fields: Sequence[Field], n_rows: int, n_blocks: int, device: torch.device) -> Ramps:
    """Levels in dB and factors in amplitude, both on straight lines between the nodes."""
    most = max(len(field.blocks) for field in fields)
    level = np.zeros((n_rows, most, *fields[0].level.shape[1:]))
    shape = np.zeros((n_rows, most, *fields[0].shape.shape[1:]))
    # Which node lies before each block, how many blocks come from it to the next, and how many of
    # these have passed; blocks outside of a field look at a node that is silent.
    place = np.zeros((n_rows, n_blocks, 3))
    place[:, :, 0], place[:, :, 1] = most - 1, 1
    level[:, most - 1] = 1.0
    for row, field in enumerate(fields):
        nodes = field.blocks
        level[row, : len(nodes)], shape[row, : len(nodes)] = field.level, field.shape
        blocks = np.arange(nodes[0], min(nodes[-1], n_blocks))
        node = np.searchsorted(nodes, blocks, side="right") - 1
        long = nodes[node + 1] - nodes[node]
        place[row, blocks] = np.stack([node, long, blocks - nodes[node]], axis=1)
    levels, shapes, places = (upload(array, device) for array in (level, shape, place))
    nearest = places[:, :, 0].to(torch.int64)
    after = (nearest + 1).clamp(max=most - 1)
    response = torch.arange(n_rows, device=device)[:, None]
    rows = torch.from_numpy(fields[0].rows).to(device)
    stretch, passed = places[:, :, 1, None, None], places[:, :, 2, None, None]
    before = levels[response, nearest][:, :, rows]
    ratio = (levels[response, after][:, :, rows] / before) ** (1.0 / stretch)
    entry, step = shapes[response, nearest], shapes[response, after] - shapes[response, nearest]
    inside = (after > nearest)[:, :, None, None]
    now = before * ratio**passed * (entry + passed / stretch * step) * inside
    then = before * ratio ** (passed + 1) * (entry + (passed + 1) / stretch * step) * inside
    return Ramps(now.to(torch.float32), ((then - now) / BLOCK).to(torch.float32))


def _product(ramps: Ramps, pool: torch.Tensor, place: torch.Tensor, like: Field) -> torch.Tensor:
    """Noise times amplitude, summed over bands in order. Shape: [responses, channels, samples].

    Args:
        place: block of the pool for every block of a channel. Shape: [responses, channels, blocks].
    """
    n_rows, n_channels, n_blocks = place.shape
    out = torch.zeros((n_rows, n_channels, n_blocks, BLOCK), device=pool.device)
    k = torch.arange(BLOCK, device=pool.device, dtype=torch.float32)
    for pair, (i, j) in enumerate(zip(like.rows.tolist(), like.columns.tolist(), strict=True)):
        noise = pool[place[:, j]]
        for band in range(pool.shape[1]):
            start, slope = (part[:, :, pair, band, None] for part in ramps)
            out[:, i] += (start + slope * k) * noise[:, :, band]
    return out.flatten(2)


def _turned(field: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """turn @ field; the harmonics of one degree turn among themselves."""
    out = torch.zeros_like(field)
    degree = 0
    while degree * degree < field.shape[1]:
        block = range(degree * degree, (degree + 1) * (degree + 1))
        for i in block:
            for j in block:
                out[:, i] += turn[:, i, j, None] * field[:, j]
        degree += 1
    return out


@lru_cache(maxsize=4)
def _pool(sample_rate: int, band_hz: tuple[float, ...], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(noise_pool(sample_rate, band_hz)).to(device)
