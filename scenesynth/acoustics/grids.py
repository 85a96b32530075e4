"""Time grids of the spread kernel: their pulses, rates, bands and weights.

The bands share up to four grids. The highest alone needs the full rate; a grid of bands whose
weights end at a lower frequency runs at a rate lower by a power of two, so that its transforms cost
less. Each grid has OVERSAMPLING times the samples that its frequencies need. Pulse and correction
are the same in samples of any of them (a Kaiser-Bessel pulse; Beatty et al. 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.simd import TAPS, WIDTH

SLOTS: Final = (1, 2, 4, 4)
"""Bands of the grids, from the highest band down."""

MAX_BANDS: Final = sum(SLOTS)

OVERSAMPLING: Final = 1.5
SHAPE: Final = 2.16 * TAPS
"""Kaiser-Bessel parameter: least aliasing over a band at this oversampling, -97 dB."""

PHASE_BITS: Final = 7
PHASES: Final = 1 << PHASE_BITS
"""Sub-sample positions in the table of pulses; between them it is interpolated (-95 dB)."""

EDGE_START: Final = 0.95
"""The pulses' spectrum is flat up to here and falls to 0 at 1, in units of Nyquist."""

GUARD: Final = 256
"""Output samples kept free at the end, or one period of the lowest band where that is longer:
weights without phase make early images ring ahead of time 0, around the end of a transform."""

QUANTUM: Final = 1024
"""Lengths are rounded up to this many samples inside, so that few tables serve all lengths."""

MAX_SHIFT: Final = 3
"""Slowest grid: the full rate over 2^3. Slower ones would save nothing any more."""

_STEP: Final = 32
"""Transform lengths are multiples of this, so that those of all grids are whole and even."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """One of the time grids.

    Attributes:
        slot: its place in SLOTS, which says how many columns it has for each channel.
        bands: which bands of the room it holds.
        shift: its rate is the full one over 2^shift.
        rate_hz: its sample rate.
        n_rows: length in grid samples.
        weights: octave-band weight over the correction. Shape: [bands, bins], float32.
        phase: takes the front padding back. Shape: [bins], complex64.
    """

    slot: int
    bands: slice
    shift: int
    rate_hz: float
    n_rows: int
    weights: NDArray[np.float32]
    phase: NDArray[np.complex64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Tables that depend on sample rate, length and bands only.

    Attributes:
        n_samples: capacity in output samples; a response may be shorter.
        n_fft: length of the inverse transform in output samples.
        grids: from the highest band down.
    """

    sample_rate: int
    n_samples: int
    n_fft: int
    grids: tuple[Grid, ...]


def make_plan(sample_rate: int, n_samples: int, band_hz: tuple[float, ...]) -> Plan:
    """Tables for responses of up to `n_samples`; equal plans are shared.

    Raises:
        ValueError: more than MAX_BANDS bands.
    """
    capacity = -(-n_samples // QUANTUM) * QUANTUM
    return _make_plan(sample_rate, capacity, band_hz)


@lru_cache(maxsize=64)
def _make_plan(sample_rate: int, n_samples: int, band_hz: tuple[float, ...]) -> Plan:
    if len(band_hz) > MAX_BANDS:
        raise ValueError(f"{len(band_hz)} bands; at most {MAX_BANDS}")
    padding = math.ceil(TAPS * 2**MAX_SHIFT / OVERSAMPLING)
    n_fft = n_samples + max(GUARD, math.ceil(sample_rate / band_hz[0])) + padding
    n_fft = _STEP * scipy.fft.next_fast_len(-(-n_fft // _STEP), real=True)
    grids = []
    last = len(band_hz)
    for slot, width in enumerate(SLOTS):
        first = max(0, last - width)
        if first < last:
            grids.append(_make_grid(sample_rate, n_fft, band_hz, slot, slice(first, last)))
        last = first
    return Plan(sample_rate=sample_rate, n_samples=n_samples, n_fft=n_fft, grids=tuple(grids))


def _make_grid(
    sample_rate: int, n_fft: int, band_hz: tuple[float, ...], slot: int, bands: slice
) -> Grid:
    shift = _shift(sample_rate, band_hz[bands.stop - 1]) if slot else 0
    n_rows = round(n_fft * OVERSAMPLING) >> shift
    n_bins = (n_fft // 2 >> shift) + 1
    cycles = np.arange(n_bins) / n_rows
    freq_hz = np.arange(n_bins) * sample_rate / n_fft
    weights = band_weights(freq_hz, band_hz)[:, bands]
    weights *= (band_edge(freq_hz, sample_rate) / pulse_spectrum(cycles))[:, None]
    # The pulse of an image at t starts TAPS / 2 - 1 samples before it; the padding is TAPS.
    return Grid(
        slot=slot,
        bands=bands,
        shift=shift,
        rate_hz=sample_rate * OVERSAMPLING / 2**shift,
        n_rows=n_rows,
        weights=np.ascontiguousarray(weights.T, dtype=np.float32),
        phase=np.exp(2j * np.pi * cycles * TAPS).astype(np.complex64),
    )


def _shift(sample_rate: int, top_hz: float) -> int:
    """How often the rate may be halved with the weights of the band at `top_hz` still in it."""
    return min(MAX_SHIFT, int(math.log2(sample_rate / (4.0 * top_hz))))


@lru_cache(maxsize=1)
def pulse_table() -> NDArray[np.float32]:
    """Taps of the pulse for each sub-sample position, and what to add per step, flat.

    Shape: [PHASES * 2 * WIDTH], a cache line for each position.
    """
    tap = np.arange(WIDTH) - (TAPS // 2 - 1)
    taps = pulse(tap - np.arange(PHASES + 1)[:, None] / PHASES)
    taps[:, TAPS:] = 0.0
    rows = np.concatenate([taps[:-1], np.diff(taps, axis=0)], axis=1)
    return rows.astype(np.float32).ravel()


def pulse(t: NDArray[np.float64], shape: float = SHAPE) -> NDArray[np.float64]:
    """The pulse `t` grid samples from its middle."""
    inside = np.sqrt(np.maximum(0.0, 1.0 - (2.0 * t / TAPS) ** 2))
    height: NDArray[np.float64] = np.i0(shape * inside) / np.i0(shape)
    return height


def pulse_spectrum(cycles: NDArray[np.float64], shape: float = SHAPE) -> NDArray[np.float64]:
    """Fourier transform of the pulse at `cycles` per grid sample, up to 1/3."""
    s = np.sqrt(shape**2 - (np.pi * TAPS * cycles) ** 2)
    spectrum: NDArray[np.float64] = TAPS * np.sinh(s) / (s * np.i0(shape))
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
