"""Spread and correct: the band-limited sum of all images by a type-1 non-uniform FFT.

Every image adds a 6-tap Kaiser-Bessel pulse to a time grid at twice the sample rate; columns are
[time, channel, band]. One FFT per column, division by the pulse's spectrum, octave-band weights and
the sum over bands give the spectrum of each channel (Greengard and Lee 2004; Barnett et al. 2019).

Two grids share the bands. Bands whose weights end below a small part of the sample rate live on a
coarse grid with a `decimation` times lower rate, so their FFTs cost next to nothing; the pulse and
the correction are the same in samples of either grid. Each grid holds up to four bands.

Air absorption exp(-m c t / 2) is a gain per band on the time axis of the grids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.arrivals import AxisTable
from scenesynth.acoustics.simd import BANDS, TAPS, deposit_1, deposit_4, prefetch
from scenesynth.jit import kernel
from scenesynth.spatial.ambisonics import harmonics_into, recursion_table

PHASES = 1024
"""Sub-sample positions in the table of pulses; the nearest is taken (-73 dB)."""

SHAPE = math.pi * math.sqrt((TAPS / 2) ** 2 * 1.5**2 - 0.8)
"""Kaiser-Bessel parameter of a 6-tap pulse at 2x oversampling (Beatty et al. 2005)."""

MAX_BANDS = 2 * BANDS
EDGE_START = 0.95
"""The pulses' spectrum is flat up to here and falls to 0 at 1, in units of Nyquist."""

GUARD = 256
"""Output samples kept free at the end, where pulses of early images may ring around."""

QUANTUM = 1024
"""Lengths are rounded up to this many samples inside, so that few tables serve all lengths."""

BLOCK = 64
"""Rows of a grid that are turned into columns at a time."""

FOUR = 4 * BANDS
"""Columns of four channels. A stride known to the compiler makes a fifth of the time."""

LINE = 64
"""Bytes of a cache line."""

AHEAD = 4
"""How many images ahead the grid's cache lines are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """One of the two time grids.

    Attributes:
        bands: which bands of the room it holds.
        decimation: how much coarser than the fine grid (2 samples per output sample).
        n_rows: length in grid samples.
        weights: octave-band weight over the correction. Shape: [bands, bins], float32.
        phase: takes the front padding back. Shape: [bins], complex64.
    """

    bands: slice
    decimation: int
    n_rows: int
    weights: NDArray[np.float32]
    phase: NDArray[np.complex64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Tables that depend on sample rate, length and bands only.

    Attributes:
        n_samples: capacity in output samples; a response may be shorter.
        n_fft: length of the inverse transform in output samples.
        fine, coarse: the two grids.
    """

    sample_rate: int
    n_samples: int
    n_fft: int
    fine: Grid
    coarse: Grid


@lru_cache(maxsize=1)
def pulse_table() -> NDArray[np.float32]:
    """Taps of the pulse for each sub-sample position, flat. Shape: [(PHASES + 1) * TAPS]."""
    tap = np.arange(TAPS) - (TAPS // 2 - 1)
    t = tap - np.arange(PHASES + 1)[:, None] / PHASES
    inside = np.sqrt(np.maximum(0.0, 1.0 - (2.0 * t / TAPS) ** 2))
    return (np.i0(SHAPE * inside) / np.i0(SHAPE)).astype(np.float32).ravel()


def pulse_spectrum(cycles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fourier transform of the pulse at `cycles` per grid sample, up to 1/4."""
    s = np.sqrt(SHAPE**2 - (np.pi * TAPS * cycles) ** 2)
    spectrum: NDArray[np.float64] = TAPS * np.sinh(s) / (s * np.i0(SHAPE))
    return spectrum


def band_weights(freq_hz: NDArray[np.float64], band_hz: tuple[float, ...]) -> NDArray[np.float64]:
    """Zero-phase octave-band weights that sum to 1 at every frequency. Shape: [freq, bands].

    Raised cosines over log frequency, one octave to either side; the lowest and highest band
    reach to the ends.
    """
    octave = np.log2(np.maximum(freq_hz, 1e-3) / band_hz[0])
    octave = np.clip(octave, 0, len(band_hz) - 1)[:, None]
    away = np.minimum(np.abs(octave - np.arange(len(band_hz))), 1.0)
    weights: NDArray[np.float64] = 0.5 * (1.0 + np.cos(np.pi * away))
    return weights


def band_edge(freq_hz: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Gain of the anti-alias edge: 1 up to 0.95 Nyquist, raised cosine to 0 at Nyquist."""
    nyquist = sample_rate / 2
    ramp = np.clip((1.0 - freq_hz / nyquist) / (1.0 - EDGE_START), 0.0, 1.0)
    gain: NDArray[np.float64] = np.sin(0.5 * np.pi * ramp) ** 2
    return gain


def make_plan(sample_rate: int, n_samples: int, band_hz: tuple[float, ...]) -> Plan:
    """Tables for responses of up to `n_samples`; equal plans are shared."""
    capacity = -(-n_samples // QUANTUM) * QUANTUM
    return _make_plan(sample_rate, capacity, band_hz)


@lru_cache(maxsize=64)
def _make_plan(sample_rate: int, n_samples: int, band_hz: tuple[float, ...]) -> Plan:
    if len(band_hz) > MAX_BANDS:
        raise ValueError(f"{len(band_hz)} bands; at most {MAX_BANDS}")
    n_coarse = min(BANDS, len(band_hz) - 1)
    decimation = _decimation(sample_rate, band_hz[n_coarse - 1]) if n_coarse else 1
    rows = 2 * (n_samples + GUARD) + 2 * TAPS * decimation
    step = 2 * decimation  # both grids and the output need whole, even transform lengths
    rows = step * scipy.fft.next_fast_len(-(-rows // step), real=True)
    return Plan(
        sample_rate=sample_rate,
        n_samples=n_samples,
        n_fft=rows // 2,
        fine=_make_grid(sample_rate, rows, 1, band_hz, slice(n_coarse, len(band_hz))),
        coarse=_make_grid(sample_rate, rows, decimation, band_hz, slice(0, n_coarse)),
    )


def _decimation(sample_rate: int, top_hz: float) -> int:
    """Largest power of two whose grid still carries the weights of the band at `top_hz`."""
    return 1 << int(math.log2(sample_rate / (4.0 * top_hz)))


def _make_grid(
    sample_rate: int, rows: int, decimation: int, band_hz: tuple[float, ...], bands: slice
) -> Grid:
    n_rows = rows // decimation
    top = n_rows // 4 if decimation > 1 else rows // 4
    cycles = np.arange(top + 1) / n_rows
    freq_hz = cycles * 2 * sample_rate / decimation
    weights = band_weights(freq_hz, band_hz)[:, bands]
    weights *= (band_edge(freq_hz, sample_rate) / pulse_spectrum(cycles))[:, None]
    # The pulse of an image at t starts TAPS / 2 - 1 samples before it; the padding is TAPS.
    return Grid(
        bands=bands,
        decimation=decimation,
        n_rows=n_rows,
        weights=np.ascontiguousarray(weights.T, dtype=np.float32),
        phase=np.exp(2j * np.pi * cycles * TAPS).astype(np.complex64),
    )


def channel_spectra(
    plan: Plan,
    tables: tuple[AxisTable, AxisTable, AxisTable],
    *,
    radius_m: float,
    rotation: NDArray[np.float64],
    order: int,
    attenuation_per_m: NDArray[np.float64],
    speed_of_sound_mps: float,
) -> NDArray[np.complex64]:
    """Spectrum of each Ambisonic channel, the sum over all images within `radius_m`.

    Args:
        rotation: listener-to-room matrix; directions are given in the listener's frame.
        order: Ambisonic order.
        attenuation_per_m: energy attenuation of air per band. Shape: [bands].

    Returns:
        Shape: [(order + 1)^2, n_fft / 2 + 1].
    """
    n_channels = (order + 1) ** 2
    padded = n_channels if order == 0 else -(-n_channels // 4) * 4
    grids = (plan.fine, plan.coarse)
    cells = [_aligned_zeros(grid.n_rows * padded * BANDS) for grid in grids]
    _spread(
        *(table.offset_m for table in tables),
        *(_columns(table.amplitude, plan) for table in tables),
        radius_m,
        np.array(rotation, dtype=np.float64, order="C"),
        2.0 * plan.sample_rate / speed_of_sound_mps,
        plan.coarse.decimation,
        order,
        recursion_table(order),
        pulse_table(),
        *cells,
    )
    spectra = np.zeros((n_channels, plan.n_fft // 2 + 1), dtype=np.complex64)
    for grid, flat in zip(grids, cells, strict=True):
        n_bands = len(grid.weights)
        if n_bands == 0:
            continue
        step_m = speed_of_sound_mps * grid.decimation / (2.0 * plan.sample_rate)
        ratio = np.exp(-attenuation_per_m[grid.bands] * step_m / 2)
        columns = np.empty((n_channels, n_bands, grid.n_rows), dtype=np.float32)
        _take_columns(flat.reshape(grid.n_rows, padded, BANDS), ratio, columns)
        _add_bands(scipy.fft.rfft(columns, axis=2, workers=1), grid.weights, grid.phase, spectra)
    return spectra


def _aligned_zeros(n: int) -> NDArray[np.float32]:
    """Zeros that begin with a cache line, as a row of 16 columns then does too."""
    spare = LINE // 4
    room = np.zeros(n + spare, dtype=np.float32)
    first = -(room.ctypes.data // 4) % spare
    return room[first : first + n]


def _columns(amplitude: NDArray[np.float64], plan: Plan) -> NDArray[np.float32]:
    """Bands in the order of the grids, four and four, flat. Shape: [n * 2 * BANDS]."""
    out = np.zeros((len(amplitude), 2, BANDS), dtype=np.float32)
    for n, grid in enumerate((plan.fine, plan.coarse)):
        out[:, n, : len(grid.weights)] = amplitude[:, grid.bands]
    return out.ravel()


@kernel
def _spread(  # type: ignore[no-untyped-def]
    x,
    y,
    z,
    x_amp,
    y_amp,
    z_amp,
    radius,
    rotation,
    rate,
    decimation,
    order,
    table,
    taps,
    fine,
    coarse,
):
    """Add every image inside the sphere to both grids, row by row along z."""
    n_z = len(z)
    n_chunks = 1 if order == 0 else ((order + 1) * (order + 1) + 3) // 4
    width = 4 if order == 0 else 4 * n_chunks
    stride = BANDS * width
    distance = np.empty(n_z)
    inverse = np.empty(n_z)
    fine_at = np.empty(n_z, dtype=np.int32)
    fine_tap = np.empty(n_z, dtype=np.int32)
    coarse_at = np.empty(n_z, dtype=np.int32)
    coarse_tap = np.empty(n_z, dtype=np.int32)
    gains = np.zeros((n_z, width), dtype=np.float32)
    plane = np.empty(2 * BANDS, dtype=np.float32)
    if order == 0:
        stride = BANDS
    for i in range(len(x)):
        for j in range(len(y)):
            flat2 = x[i] * x[i] + y[j] * y[j]
            if flat2 > radius * radius:
                continue
            reach = math.sqrt(radius * radius - flat2)
            first = np.searchsorted(z, -reach)
            n = np.searchsorted(z, reach, side="right") - first
            for b in range(2 * BANDS):
                plane[b] = x_amp[i * 2 * BANDS + b] * y_amp[j * 2 * BANDS + b]
            row = z[first : first + n]
            for k in range(n):
                distance[k] = math.sqrt(flat2 + row[k] * row[k])
            for k in range(n):
                inverse[k] = 1.0 / distance[k]
            _places(distance[:n], rate, fine_at, fine_tap)
            _places(distance[:n], rate / decimation, coarse_at, coarse_tap)
            if order == 0:
                for k in range(n):
                    axis = (first + k) * 2 * BANDS
                    deposit_1(
                        fine, np.int64(fine_at[k]) * BANDS, BANDS,
                        taps, np.int64(fine_tap[k]) * TAPS,
                        plane, 0, z_amp, axis, np.float32(inverse[k]), gains, 0,
                    )  # fmt: skip
                    deposit_1(
                        coarse, np.int64(coarse_at[k]) * BANDS, BANDS,
                        taps, np.int64(coarse_tap[k]) * TAPS,
                        plane, BANDS, z_amp, axis + BANDS, np.float32(inverse[k]), gains, 0,
                    )  # fmt: skip
                continue
            _row_gains(x[i], y[j], row, inverse, rotation, order, table, gains)
            if order == 1:
                for k in range(n):
                    axis = (first + k) * 2 * BANDS
                    later = k + AHEAD if k + AHEAD < n else n - 1
                    prefetch(fine, np.int64(fine_at[later]) * FOUR)
                    deposit_4(
                        fine, np.int64(fine_at[k]) * FOUR, FOUR,
                        taps, np.int64(fine_tap[k]) * TAPS,
                        plane, 0, z_amp, axis, np.float32(inverse[k]), gains, 4 * k,
                    )  # fmt: skip
                    deposit_4(
                        coarse, np.int64(coarse_at[k]) * FOUR, FOUR,
                        taps, np.int64(coarse_tap[k]) * TAPS,
                        plane, BANDS, z_amp, axis + BANDS, np.float32(inverse[k]), gains, 4 * k,
                    )  # fmt: skip
                continue
            for k in range(n):
                axis = (first + k) * 2 * BANDS
                later = k + AHEAD if k + AHEAD < n else n - 1
                for chunk in range(n_chunks):
                    prefetch(fine, np.int64(fine_at[later]) * stride + 16 * TAPS * chunk)
                    prefetch(coarse, np.int64(coarse_at[later]) * stride + 16 * TAPS * chunk)
                    deposit_4(
                        fine, np.int64(fine_at[k]) * stride + 16 * chunk, stride,
                        taps, np.int64(fine_tap[k]) * TAPS,
                        plane, 0, z_amp, axis, np.float32(inverse[k]), gains, k * width + 4 * chunk,
                    )  # fmt: skip
                    deposit_4(
                        coarse, np.int64(coarse_at[k]) * stride + 16 * chunk, stride,
                        taps, np.int64(coarse_tap[k]) * TAPS,
                        plane, BANDS, z_amp, axis + BANDS, np.float32(inverse[k]), gains,
                        k * width + 4 * chunk,
                    )  # fmt: skip


@kernel
def _places(distance, rate, at, tap):  # type: ignore[no-untyped-def]
    """First grid row of every image's pulse, and which of the pulses in the table it is.

    Loops over few arrays each: only then are they vectorised.
    """
    for k in range(len(distance)):
        rows = distance[k] * rate
        whole = np.int32(rows)
        at[k] = whole + (TAPS - TAPS // 2 + 1)
        tap[k] = np.int32((rows - whole) * PHASES + 0.5)


@kernel
def _row_gains(x, y, row, inverse, rotation, order, table, gains):  # type: ignore[no-untyped-def]
    """Harmonics of the directions of one row of images, in the listener's frame.

    The first order is written out, so that its loop is vectorised.
    """
    front = rotation[0, 0] * x + rotation[1, 0] * y
    left = rotation[0, 1] * x + rotation[1, 1] * y
    up = rotation[0, 2] * x + rotation[1, 2] * y
    front_z, left_z, up_z = rotation[2, 0], rotation[2, 1], rotation[2, 2]
    if order == 1:
        for k in range(len(row)):
            gains[k, 0] = 1.0
            gains[k, 1] = (left + left_z * row[k]) * inverse[k]
            gains[k, 2] = (up + up_z * row[k]) * inverse[k]
            gains[k, 3] = (front + front_z * row[k]) * inverse[k]
        return
    for k in range(len(row)):
        u_x = (front + front_z * row[k]) * inverse[k]
        u_y = (left + left_z * row[k]) * inverse[k]
        u_z = (up + up_z * row[k]) * inverse[k]
        harmonics_into(u_x, u_y, u_z, order, table, gains[k])


@kernel
def _take_columns(grid, ratio, columns):  # type: ignore[no-untyped-def]
    """Columns of a grid, each a row of its own; row t of band b times ratio[b]^(t - TAPS).

    Shapes: [rows, channels, bands] to [channels, bands, rows]. Transforms along the last axis are
    twice as fast, and the air's gain costs nothing on the way. In blocks that stay in the cache.
    """
    n_channels, n_bands, n_rows = columns.shape
    gain = ratio ** float(-TAPS)
    gains = np.empty((n_bands, BLOCK), dtype=np.float32)
    for first in range(0, n_rows, BLOCK):
        last = min(first + BLOCK, n_rows)
        n = last - first
        for b in range(n_bands):
            value = gain[b]
            for k in range(n):
                gains[b, k] = value
                value *= ratio[b]
            gain[b] = value
        for channel in range(n_channels):
            for b in range(n_bands):
                column, block = columns[channel, b, first:last], grid[first:last, channel, b]
                factor = gains[b, :n]
                for k in range(n):
                    column[k] = block[k] * factor[k]


@kernel
def _add_bands(columns, weights, phase, out):  # type: ignore[no-untyped-def]
    """out[c, k] += phase[k] * sum over b of weights[b, k] * columns[c, b, k]."""
    for c in range(out.shape[0]):
        for k in range(len(phase)):
            total = np.complex64(0)
            for b in range(len(weights)):
                total += columns[c, b, k] * weights[b, k]
            out[c, k] += total * phase[k]
