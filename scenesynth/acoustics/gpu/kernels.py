"""Triton kernels that add images to time grids.

A program takes one row of images along z: the pairs (x, y) of a response are the programs' first
axis, the responses of the chunk their second. The row's part inside the sphere is cut out by
arithmetic, since image n of an axis lies between n L and (n + 1) L. Distances are float64, as on
the CPU, so that both find the same place in the table of pulses; everything else is float32.

Each image adds TAPS x channels x bands whole numbers by relaxed atomic additions. They are sums of
int32, so their order does not matter: the same bytes in every run. One tile holds some images and
all columns of a grid row, whose columns are neighbours in memory, so that a warp's additions fill
whole 32-byte sectors of the L2 cache, where they are made.

Roofline for an H200, first-order Ambisonics, seven bands, recipe gram in full: some 55,000 images a
response and 3.3 responses a scene make 180,000 images; 28 columns x 6 taps = 168 additions each,
30 million a scene, in 4 million sectors. At one sector per clock and slice the L2 (96 slices, at
1.7 GHz) takes 160 G sectors/s: 25 us a scene; at one word per clock and slice 190 us. A chunk of 16
responses has grids of some 15 MB, which stay in the L2. `scenesynth bench gpu` measures it.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
from __future__ import annotations

import triton
import triton.language as tl

from scenesynth.acoustics.gpu import tables
from scenesynth.acoustics.grids import PHASES as _PHASES
from scenesynth.acoustics.simd import TAPS as _TAPS
from scenesynth.acoustics.simd import WIDTH as _WIDTH
from scenesynth.acoustics.spread_cpu import UNDISPLACED as _UNDISPLACED

TAPS = tl.constexpr(_TAPS)
WIDTH = tl.constexpr(_WIDTH)
PHASES = tl.constexpr(_PHASES)
LEAD = tl.constexpr(_TAPS // 2 + 1)
RADIUS_2 = tl.constexpr(tables.RADIUS_2)
ROWS_PER_M = tl.constexpr(tables.ROWS_PER_M)
DISPLACEMENT_M = tl.constexpr(tables.DISPLACEMENT_M)
FADE_FROM_M = tl.constexpr(tables.FADE_FROM_M)
FADE_PER_M = tl.constexpr(tables.FADE_PER_M)
SIZE_Z = tl.constexpr(tables.SIZE_Z)
LISTENER_Z = tl.constexpr(tables.LISTENER_Z)
SEED = tl.constexpr(tables.SEED)
N_NUMBERS = tl.constexpr(tables.N_NUMBERS)
UNDISPLACED = tl.constexpr(_UNDISPLACED)


@triton.jit
def _row_of_images(offset, numbers, response, row, reach_x, reach_y, reach_z):
    """Entries of x and y, their squared distance, and the range of images along z."""
    width = 2 * (reach_x + reach_y + reach_z) + 3
    wide_y = 2 * reach_y + 1
    entry_x = response * width + row // wide_y
    entry_y = response * width + 2 * reach_x + 1 + row % wide_y
    entry_z = response * width + 2 * reach_x + 1 + wide_y + reach_z
    x = tl.load(offset + entry_x)
    y = tl.load(offset + entry_y)
    flat_2 = x * x + y * y
    inside_2 = tl.load(numbers + response * N_NUMBERS + RADIUS_2) - flat_2
    reach = tl.sqrt(tl.maximum(inside_2, 0.0))
    size_z = tl.load(numbers + response * N_NUMBERS + SIZE_Z)
    listener_z = tl.load(numbers + response * N_NUMBERS + LISTENER_Z)
    low = tl.floor((listener_z - reach) / size_z).to(tl.int32)
    high = tl.floor((listener_z + reach) / size_z).to(tl.int32) + 1
    high = tl.where(inside_2 < 0.0, low, high)
    return entry_x, entry_y, entry_z, x, y, flat_2, low, high


@triton.jit
def _arrivals(
    offset, mark, hops, numbers, response, entry_x, entry_y, entries, live, flat_2,
    DISPLACED: tl.constexpr,
):  # fmt: skip
    """Offset along z, distance, how much farther an image seems, and which lie in the sphere."""
    z = tl.load(offset + entries, mask=live, other=0.0)
    distance_2 = flat_2 + z * z
    live = live & (distance_2 <= tl.load(numbers + response * N_NUMBERS + RADIUS_2))
    distance = tl.sqrt(tl.where(live, distance_2, 1.0))
    farther = tl.zeros_like(distance)
    if DISPLACED:
        most = tl.load(numbers + response * N_NUMBERS + DISPLACEMENT_M)
        seed = tl.load(numbers + response * N_NUMBERS + SEED).to(tl.int64)
        word = tl.load(mark + entry_x) ^ tl.load(mark + entry_y)
        bits = tl.load(mark + entries, mask=live, other=0) ^ word
        bits = (bits.to(tl.int64) ^ seed) & 0xFFFFFFFF
        bits = ((bits ^ (bits >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
        bits = ((bits ^ (bits >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
        bits = bits ^ (bits >> 16)
        before = tl.load(hops + entry_x) + tl.load(hops + entry_y)
        count = tl.load(hops + entries, mask=live, other=0) + before
        share = bits.to(tl.float64) * (1.0 / 4294967296.0)
        farther = tl.where(count > UNDISPLACED, most * share, 0.0)
    return z, distance, farther, live


@triton.jit
def loudness_kernel(
    sums, offset, loudest, mark, hops, numbers, reach_x, reach_y, reach_z, n_bins, unit,
    DISPLACED: tl.constexpr, BIN_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the largest amplitude of each image, rounded up, to its bin of BIN_ROWS fine grid rows.

    Args:
        sums: int64. Shape: [responses, n_bins].
        unit: steps per unit of amplitude of each response. Shape: [responses], float32.
    """
    response = tl.program_id(1).to(tl.int64)
    entry_x, entry_y, entry_z, _x, _y, flat_2, low, high = _row_of_images(
        offset, numbers, response, tl.program_id(0), reach_x, reach_y, reach_z
    )
    plane = tl.load(loudest + entry_x) * tl.load(loudest + entry_y) * tl.load(unit + response)
    rate = tl.load(numbers + response * N_NUMBERS + ROWS_PER_M)
    for first in range(low, high, BLOCK):
        place = first + tl.arange(0, BLOCK)
        entries = entry_z + place
        _z, distance, farther, live = _arrivals(
            offset, mark, hops, numbers, response, entry_x, entry_y, entries, place < high, flat_2,
            DISPLACED,
        )  # fmt: skip
        amplitude = plane * tl.load(loudest + entries, mask=live, other=0.0)
        steps = tl.ceil(amplitude / distance.to(tl.float32)).to(tl.int64)
        bins = ((distance + farther) * rate).to(tl.int32) // BIN_ROWS
        tl.atomic_add(sums + response * n_bins + bins, steps, mask=live, sem="relaxed")


@triton.jit
def _deposit(cells, first_row, phase, taps, values, column, live, n_columns, row_stride):
    """Add `values` [images, columns], rounded, times the pulse to TAPS rows of the grid."""
    line = phase.to(tl.int32)
    between = (phase - line).to(tl.float32)
    for tap in tl.static_range(TAPS):
        weight = tl.load(taps + line * (2 * WIDTH) + tap)
        weight += between * tl.load(taps + line * (2 * WIDTH) + (WIDTH + tap))
        steps = tl.floor(values * weight[:, None] + 0.5).to(tl.int32)
        row = (first_row + tap).to(tl.int64) * row_stride
        mask = live[:, None] & (column < n_columns)[None, :]
        tl.atomic_add(cells + row[:, None] + column[None, :], steps, mask=mask, sem="relaxed")


@triton.jit
def spread_kernel(
    cells, offset, amplitude, facing, mark, hops, numbers, turn, pattern, attenuation, scale,
    recursion, taps, reach_x, reach_y, reach_z, n_rows, n_bands, first_band, coarser,
    ORDER: tl.constexpr, GRID_BANDS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
    DIRECTED: tl.constexpr, DISPLACED: tl.constexpr, FADED: tl.constexpr,
):  # fmt: skip
    """Add every image of every response to one grid.

    Args:
        cells: int32. Shape: [responses, n_rows, channels, GRID_BANDS].
        scale: steps per unit of amplitude. Shape: [responses], float32.
        recursion: factors of the harmonics beyond the first order, float32.
        n_bands, first_band: bands of the tables, and the first one of this grid.
        coarser: how much lower the grid's rate is than that of the finest.
        COLUMNS: power of two that holds the columns of a tile: channels x bands up to first order,
            the bands of one channel beyond it.
    """
    response = tl.program_id(1).to(tl.int64)
    entry_x, entry_y, entry_z, x, y, flat_2, low, high = _row_of_images(
        offset, numbers, response, tl.program_id(0), reach_x, reach_y, reach_z
    )
    N_CHANNELS: tl.constexpr = (ORDER + 1) * (ORDER + 1)
    row_stride: tl.constexpr = N_CHANNELS * GRID_BANDS
    column = tl.arange(0, COLUMNS)
    channel = column // GRID_BANDS
    band = first_band + column % GRID_BANDS
    cells += response * n_rows * row_stride
    plane = tl.load(amplitude + entry_x * n_bands + band)
    plane *= tl.load(amplitude + entry_y * n_bands + band) * tl.load(scale + response)
    rate = tl.load(numbers + response * N_NUMBERS + ROWS_PER_M) / coarser
    if ORDER == 1:
        # Channels Y, Z, X are the components 1, 2, 0 of the direction.
        axis = turn + response * 9 + channel % 3
        across = (tl.load(axis) * x + tl.load(axis + 3) * y).to(tl.float32)
        along = tl.load(axis + 6).to(tl.float32)
        directional = (channel > 0)[None, :]
    for first in range(low, high, BLOCK):
        place = first + tl.arange(0, BLOCK)
        entries = entry_z + place
        z, distance, farther, live = _arrivals(
            offset, mark, hops, numbers, response, entry_x, entry_y, entries, place < high, flat_2,
            DISPLACED,
        )  # fmt: skip
        inverse = (1.0 / distance).to(tl.float32)
        position = (distance + farther) * rate
        whole = position.to(tl.int32)
        phase = (position - whole) * PHASES
        band_at = entries[:, None] * n_bands + band[None, :]
        values = plane[None, :] * tl.load(amplitude + band_at, mask=live[:, None], other=0.0)
        weight = inverse
        if FADED:
            from_m = tl.load(numbers + response * N_NUMBERS + FADE_FROM_M)
            per_m = tl.load(numbers + response * N_NUMBERS + FADE_PER_M)
            risen = tl.minimum(tl.maximum((distance - from_m) * per_m, 0.0), 1.0)
            weight *= tl.sqrt(1.0 - risen).to(tl.float32)
        values *= weight[:, None]
        if DISPLACED:
            # Air and amplitude are those of the place where the image lies.
            per_m = tl.load(attenuation + response * n_bands + band).to(tl.float32) * 0.5
            values *= tl.exp(per_m[None, :] * farther.to(tl.float32)[:, None])
        if DIRECTED:
            faced = tl.load(facing + entry_x) + tl.load(facing + entry_y)
            cosine = (faced + tl.load(facing + entries, mask=live, other=0.0)) * inverse
            coefficient = pattern + (response * n_bands + band) * 5
            power = tl.load(coefficient + 4)[None, :]
            for degree in tl.static_range(3, -1, -1):
                power = power * cosine[:, None] + tl.load(coefficient + degree)[None, :]
            values *= power
        if ORDER == 1:
            height = z.to(tl.float32)
            gain = (across[None, :] + along[None, :] * height[:, None]) * inverse[:, None]
            values *= tl.where(directional, gain, 1.0)
        if ORDER <= 1:
            _deposit(cells, whole + LEAD, phase, taps, values, column, live, row_stride, row_stride)
        else:
            axis = turn + response * 9
            front = (tl.load(axis) * x + tl.load(axis + 3) * y + tl.load(axis + 6) * z) / distance
            left = tl.load(axis + 1) * x + tl.load(axis + 4) * y + tl.load(axis + 7) * z
            up = tl.load(axis + 2) * x + tl.load(axis + 5) * y + tl.load(axis + 8) * z
            _deposit_harmonics(
                cells, whole + LEAD, phase, taps, values, column, live, recursion,
                front.to(tl.float32), (left / distance).to(tl.float32),
                (up / distance).to(tl.float32), ORDER, GRID_BANDS,
            )  # fmt: skip


@triton.jit
def _deposit_harmonics(
    cells, first_row, phase, taps, values, band, live, recursion, front, left, up,
    ORDER: tl.constexpr, GRID_BANDS: tl.constexpr,
):  # fmt: skip
    """Deposit each channel by itself, its harmonic found by the recursion of `spatial.ambisonics`.

    Args:
        values: Shape: [images, bands].
    """
    row_stride: tl.constexpr = (ORDER + 1) * (ORDER + 1) * GRID_BANDS
    SIDE: tl.constexpr = ORDER + 1
    cos_m = tl.zeros_like(up) + 1.0
    sin_m = tl.zeros_like(up)
    for m in range(SIDE):
        before = tl.zeros_like(up)
        value = tl.zeros_like(up) + tl.load(recursion + m * SIDE + m)
        for degree in range(m, SIDE):
            at = cells + (degree * (degree + 1) + m) * GRID_BANDS
            _deposit(
                at, first_row, phase, taps, values * (value * cos_m)[:, None], band, live,
                GRID_BANDS, row_stride,
            )  # fmt: skip
            at = cells + (degree * (degree + 1) - m) * GRID_BANDS
            _deposit(
                at, first_row, phase, taps, values * (value * sin_m)[:, None], band,
                live & (m > 0), GRID_BANDS, row_stride,
            )  # fmt: skip
            nearest = tl.minimum(degree + 1, ORDER) * SIDE + m
            a = tl.load(recursion + nearest)
            b = tl.load(recursion + SIDE * SIDE + nearest)
            later = a * up * value - b * before
            before = value
            value = later
        turned = front * cos_m - left * sin_m
        sin_m = front * sin_m + left * cos_m
        cos_m = turned
