"""Axis tables of the images of many rooms, made on the device from a few numbers per response.

As `scenesynth.acoustics.arrivals`, in float64, for a chunk of responses side by side: the entries
of an axis are the images n = -reach ... reach, with the reach of the largest room of the chunk.
What lies outside a response's own sphere is left out when images are spread, so that no response
depends on its neighbours in the chunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from scenesynth.acoustics.grids import OVERSAMPLING
from scenesynth.acoustics.response import Request, Settled
from scenesynth.acoustics.spread_cpu import HASH

# Columns of the numbers of a response, float64.
RADIUS_2, ROWS_PER_M, DISPLACEMENT_M, FADE_FROM_M, FADE_PER_M, SIZE_Z, LISTENER_Z, SEED = range(8)
NEAREST_M = 8
N_NUMBERS = 9


class Work(NamedTuple):
    """A request and what follows from it."""

    request: Request
    settled: Settled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """The images of a chunk of responses, as entries of three axes laid end to end.

    Attributes:
        reaches: largest |n| per axis; the axis has 2 * reach + 1 entries.
        offset_m: coordinate minus the listener's. Shape: [responses, entries], float64.
        amplitude: product of reflection factors. Shape: [responses, entries, bands], float32.
        loudest: largest of these over the bands. Shape: [responses, entries], float32.
        facing_m: share of the axis in the emission's component along the source's front, times the
            distance. Shape: [responses, entries], float32.
        mark: hash of the axis index. Shape: [responses, entries], int32.
        hops: reflections on this axis. Shape: [responses, entries], int32.
        numbers: see the columns above. Shape: [responses, N_NUMBERS], float64.
        turn: listener-to-room matrix. Shape: [responses, 9], float64.
        pattern: directivity as a polynomial of the cosine. Shape: [responses, bands, 5], float32.
        attenuation_per_m: energy attenuation of air. Shape: [responses, bands], float64.
        pattern_peak: bound on what the directivity multiplies. Shape: [responses], float64.
    """

    reaches: tuple[int, int, int]
    offset_m: torch.Tensor
    amplitude: torch.Tensor
    loudest: torch.Tensor
    facing_m: torch.Tensor
    mark: torch.Tensor
    hops: torch.Tensor
    numbers: torch.Tensor
    turn: torch.Tensor
    pattern: torch.Tensor
    attenuation_per_m: torch.Tensor
    pattern_peak: torch.Tensor


def image_tables(works: Sequence[Work], n_rows: int, device: torch.device) -> Images:
    """Tables of `works`, filled up to `n_rows` responses with ones that have no image.

    Args:
        works: of one sample rate and one set of bands.
    """
    reaches = _reaches(works)
    packed = _packed(works, n_rows)
    values = {name: upload(array, device) for name, array in packed.items()}
    axes = [_axis(d, reach, values) for d, reach in enumerate(reaches)]
    offset, amplitude, facing, mark, hops = (
        torch.cat(parts, 1) for parts in zip(*axes, strict=True)
    )
    return Images(
        reaches=reaches,
        offset_m=offset,
        amplitude=amplitude,
        loudest=amplitude.amax(2),
        facing_m=facing,
        mark=mark,
        hops=hops,
        numbers=values["numbers"],
        turn=values["turn"],
        pattern=values["pattern"].to(torch.float32),
        attenuation_per_m=values["attenuation"],
        pattern_peak=values["peak"],
    )


def _reaches(works: Sequence[Work]) -> tuple[int, int, int]:
    """Largest |n| of an image within the sphere, per axis, over the chunk.

    Image n lies between n L and (n + 1) L, as the listener lies between 0 and L.
    """
    x, y, z = (
        max(math.ceil(work.settled.radius_m / work.request.room.size_m[d]) + 1 for work in works)
        for d in range(3)
    )
    return x, y, z


def _packed(works: Sequence[Work], n_rows: int) -> dict[str, NDArray[np.float64]]:
    """The numbers of each response as rows of arrays; rows without a response have no sphere."""
    n_bands = len(works[0].settled.band_hz)
    out = {
        "numbers": np.zeros((n_rows, N_NUMBERS)),
        "turn": np.zeros((n_rows, 9)),
        "place": np.ones((n_rows, 4, 3)),
        "reflection": np.zeros((n_rows, 3, 2, n_bands)),
        "pattern": np.zeros((n_rows, n_bands, 5)),
        "attenuation": np.zeros((n_rows, n_bands)),
        "peak": np.ones(n_rows),
    }
    out["numbers"][:, RADIUS_2] = -1.0
    out["numbers"][:, [SIZE_Z, NEAREST_M]] = 1.0
    out["pattern"][:, :, 0] = 1.0
    for row, (request, settled) in enumerate(works):
        out["numbers"][row] = _numbers(request, settled)
        out["turn"][row] = settled.rotation.ravel()
        front = settled.front or (0.0, 0.0, 0.0)
        out["place"][row] = request.room.size_m, request.source_m, request.listener_m, front
        walls = np.array(request.room.absorption)[:, :n_bands]
        out["reflection"][row] = np.sqrt(1.0 - walls).reshape(3, 2, n_bands)
        out["attenuation"][row] = settled.attenuation_per_m
        if settled.directivity is not None:
            out["pattern"][row] = settled.directivity
            out["peak"][row] = np.abs(settled.directivity).sum(1).max()
    return out


def _numbers(request: Request, settled: Settled) -> tuple[float, ...]:
    speed_mps, seam = request.air.speed_of_sound_mps, settled.seam
    fade_from_m = seam.start_s * speed_mps if seam else 0.0
    fade_m = seam.end_s * speed_mps - fade_from_m if seam else math.inf
    return (
        settled.radius_m * settled.radius_m,
        OVERSAMPLING * request.sample_rate / speed_mps,
        request.displacement_m,
        fade_from_m,
        1.0 / fade_m,
        request.room.size_m[2],
        request.listener_m[2],
        float(request.seed),
        settled.distance_m,
    )


def upload(array: NDArray[np.float32 | np.float64], device: torch.device) -> torch.Tensor:
    """To the device without waiting for it."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _axis(d: int, reach: int, values: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Offset, amplitude, facing, mark and hops of the images along axis `d`."""
    size, source, listener, front = values["place"][:, :, d, None].unbind(1)
    n = torch.arange(-reach, reach + 1, device=size.device)
    even = n % 2 == 0
    offset = torch.where(even, n * size + source, (n + 1) * size - source) - listener
    low = torch.div(n, 2, rounding_mode="floor").abs().to(torch.float64)
    high = torch.div(n + 1, 2, rounding_mode="floor").abs().to(torch.float64)
    wall = values["reflection"][:, d, :, None, :]
    amplitude = wall[:, 0] ** low[:, None] * wall[:, 1] ** high[:, None]
    facing = torch.where(even, -front, front) * offset
    mark = n * HASH[d] & 0xFFFFFFFF
    rows = (len(size), -1)
    return (
        offset,
        amplitude.to(torch.float32),
        facing.to(torch.float32),
        _as_int32(mark).expand(rows),
        n.abs().to(torch.int32).expand(rows),
    )


def _as_int32(word: torch.Tensor) -> torch.Tensor:
    """The 32-bit word with the same bits, signed."""
    return torch.where(word >= 1 << 31, word - (1 << 32), word).to(torch.int32)
