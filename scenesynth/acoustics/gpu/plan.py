"""Time grids of the GPU's kernel: two of them, at twice the rate that their frequencies need.

Bands whose weights end below a small part of the sample rate live on a coarse grid with a
`decimation` times lower rate; each grid holds up to four bands. Pulse and correction are the same
in samples of either grid. Weights and pulses are those of `scenesynth.acoustics.grids`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.grids import (
    GUARD,
    QUANTUM,
    band_edge,
    band_weights,
    pulse,
    pulse_spectrum,
)
from scenesynth.acoustics.simd import TAPS

BANDS = 4
"""Bands per grid."""

MAX_BANDS = 2 * BANDS

PHASES = 8192
"""Sub-sample positions in the table of pulses; the nearest is taken (-90 dB)."""

SHAPE = math.pi * math.sqrt((TAPS / 2) ** 2 * 1.5**2 - 0.8)
"""Kaiser-Bessel parameter of a 6-tap pulse at 2x oversampling (Beatty et al. 2005)."""


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
    return pulse(t, SHAPE).astype(np.float32).ravel()


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
    weights *= (band_edge(freq_hz, sample_rate) / pulse_spectrum(cycles, SHAPE))[:, None]
    # The pulse of an image at t starts TAPS / 2 - 1 samples before it; the padding is TAPS.
    return Grid(
        bands=bands,
        decimation=decimation,
        n_rows=n_rows,
        weights=np.ascontiguousarray(weights.T, dtype=np.float32),
        phase=np.exp(2j * np.pi * cycles * TAPS).astype(np.complex64),
    )
