"""What a measurement finds in a response: reverberation times, clarity, direct-to-reverberant.

ISO 3382-1: octave-band filtering, backward integration of the squared response (Schroeder 1965),
regression between -5 and -25 dB (T20), -5 and -35 dB (T30), 0 and -10 dB (EDT), each extrapolated
to 60 dB. A rendered response has no noise but ends: the energy after its end is added back as that
of an exponential with the level and slope of the last half (the standard's correction C).

The filters are sixth-order Butterworth (`octaves`). "Broadband" is everything above the lower edge
of the lowest band: below it the positive reflection factors of image sources pile up energy that
says nothing about the room.

Filters ring too. A band's decay that is about as short as its filter's own (bandwidth times T60 is
4 to 5 for a lone pulse; the standard asks for 16) is not the room's and is not reported, and what
the high-passes leave behind a lone direct sound is not reverberation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.octaves import (
    LANES,
    band_filters,
    broadband_filter,
    record_count,
    remaining_broadband,
    remaining_in_bands,
)
from scenesynth.jit import kernel

DIRECT_WINDOW_S = 0.0025
"""Sound up to this long after the direct arrival counts as direct (DRR)."""

EARLY_S = 0.05
"""Early sound of C50, after the direct arrival."""

LEAST_BANDWIDTHS = 8.0
"""Least measurable product of a band's width and decay time; its error is then about 10 %."""

LEAST_EARLY_BANDWIDTHS = 9.0
"""The same for the early decay: a lone pulse has 8.6."""

LEAST_BROADBAND = 3.0
"""The same for broadband: least product of its lower edge and its decay time."""

MOST_DRR_DB = 28.0
"""Above this the late sound is the high-passes' ringing (-31 dB of a lone direct sound)."""

RINGING_S = 0.05
"""The broadband filter rings for so long before sample 0; what is left then is nothing."""

STEP_S = 0.00025
"""Decay curves are known at points this far apart; the first after 0 is the direct arrival."""

FIT_POINTS = 48
"""A regression takes about this many of them; the curves are smooth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acoustics:
    """Measured acoustics of one response.

    Times are NaN where the decay does not reach far enough or is as short as a filter's ringing:
    an anechoic response has none.

    Attributes:
        band_hz: octave-band centres of the per-band values.
        rt60_s: T30, or T20 where the response ends before -35 dB.
        edt_s: early decay time per band.
        rt60_broadband_s, edt_broadband_s: of everything above the lowest band's lower edge.
        c50_db: early (50 ms) to late energy, broadband; inf where nothing is late.
        drr_db: energy up to 2.5 ms after the direct arrival to the rest, broadband; inf above 28.
        direct_delay_s: arrival of the direct sound after emission.
    """

    band_hz: tuple[float, ...]
    rt60_s: tuple[float, ...]
    t20_s: tuple[float, ...]
    t30_s: tuple[float, ...]
    edt_s: tuple[float, ...]
    rt60_broadband_s: float
    edt_broadband_s: float
    c50_db: float
    drr_db: float
    direct_delay_s: float


@lru_cache(maxsize=64)
def _shortest_s(band_hz: tuple[float, ...]) -> NDArray[np.float64]:
    """EDT, T20 and T30 below these are the filter's. Broadband first. Shape: [1 + bands, 3]."""
    # The early decay of the broadband lies above the ringing.
    broadband = np.array([0.0, 1.0, 1.0]) * LEAST_BROADBAND * np.sqrt(2) / band_hz[0]
    least = np.array([LEAST_EARLY_BANDWIDTHS, LEAST_BANDWIDTHS, LEAST_BANDWIDTHS])
    return np.vstack([broadband, np.outer(np.sqrt(2) / np.array(band_hz), least)])


def measure(
    pressure: NDArray[np.float32],
    sample_rate: int,
    band_hz: tuple[float, ...],
    direct_delay_s: float,
) -> Acoustics:
    """Acoustics of one omnidirectional response, whose sample 0 is the emission.

    Args:
        pressure: the W channel. Shape: [samples].
        band_hz: octave-band centres below Nyquist.
    """
    signal = np.ascontiguousarray(pressure, dtype=np.float32)
    grid = _grid(len(signal), sample_rate, direct_delay_s)
    place = grid.arrival, grid.step / sample_rate
    found = [_broadband(signal, sample_rate, band_hz[0], grid)]
    for remaining in _remaining(signal, sample_rate, band_hz, grid):
        found.append(np.empty((LANES, 5)))
        _decays(remaining, *place, found[-1])
    rows = np.concatenate(found)[: 1 + len(band_hz)]
    times = rows[:, :3]
    times[times < _shortest_s(band_hz)] = np.nan
    edt, t20, t30 = times.T.tolist()
    rt60 = [b if math.isnan(a) else a for a, b in zip(t30, t20, strict=True)]
    return Acoustics(
        band_hz=band_hz,
        rt60_s=tuple(rt60[1:]),
        t20_s=tuple(t20[1:]),
        t30_s=tuple(t30[1:]),
        edt_s=tuple(edt[1:]),
        rt60_broadband_s=rt60[0],
        edt_broadband_s=edt[0],
        c50_db=float(rows[0, 3]),
        drr_db=math.inf if rows[0, 4] > MOST_DRR_DB else float(rows[0, 4]),
        direct_delay_s=direct_delay_s,
    )


def decay_curves(
    pressure: NDArray[np.float32],
    sample_rate: int,
    band_hz: tuple[float, ...],
    direct_delay_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curves that `measure` finds its times in: energy still to come, per octave band.

    Returns:
        Seconds after the direct arrival, and dB re the whole energy (NaN where there is none).
        Shapes: [points], [bands, points].
    """
    signal = np.ascontiguousarray(pressure, dtype=np.float32)
    grid = _grid(len(signal), sample_rate, direct_delay_s)
    levels = []
    for remaining in _remaining(signal, sample_rate, band_hz, grid):
        for energy in remaining.T:
            tail = _tail_energy(energy, grid.arrival)
            with np.errstate(divide="ignore", invalid="ignore"):
                levels.append(10 * np.log10((energy + tail) / (energy[0] + tail)))
    after = np.maximum(grid.offset + grid.step * np.arange(-1, grid.n_records - 1), 0)
    return after / sample_rate - direct_delay_s, np.array(levels[: len(band_hz)])


class _Grid(NamedTuple):
    """Where energies are recorded: from sample 0, `offset`, `offset + step`, ... on.

    Attributes:
        arrival: the record of the direct sound.
    """

    offset: int
    step: int
    n_records: int
    arrival: int


def _grid(n_samples: int, sample_rate: int, direct_delay_s: float) -> _Grid:
    step = max(1, round(STEP_S * sample_rate))
    arrival = min(int(direct_delay_s * sample_rate), n_samples - 1)
    offset = min(arrival % step or step, n_samples)
    n_records = record_count(n_samples, offset, step)
    return _Grid(offset, step, n_records, max(1 + (arrival - offset) // step, 0))


def _remaining(
    signal: NDArray[np.float32], sample_rate: int, band_hz: tuple[float, ...], grid: _Grid
) -> Iterator[NDArray[np.float64]]:
    """Energies of the bands, `LANES` of them at a time, each in the place of the ones before.

    Shape: [records, LANES].
    """
    remaining = np.empty((grid.n_records, LANES))
    for coefficients, gains in zip(*band_filters(sample_rate, band_hz), strict=True):
        remaining_in_bands(signal, coefficients, gains, grid.offset, grid.step, remaining)
        yield remaining


def _broadband(
    signal: NDArray[np.float32], sample_rate: int, lowest_hz: float, grid: _Grid
) -> NDArray[np.float64]:
    """As a row of `_decays`. Shape: [1, 5]."""
    remaining = np.empty((grid.n_records, 1))
    found = np.empty((1, 5))
    rows, gain = broadband_filter(sample_rate, lowest_hz)
    silence = np.zeros(round(RINGING_S * sample_rate), dtype=np.float32)
    remaining_broadband(signal, silence, rows, gain, grid.offset, grid.step, remaining)
    _decays(remaining, grid.arrival, grid.step / sample_rate, found)
    return found


@kernel
def _decays(remaining, arrival, step_s, out):  # type: ignore[no-untyped-def]
    """Write EDT, T20, T30, C50 and DRR of every lane; NaN where out of range.

    Args:
        remaining: energy from each record on. Shape: [records, lanes].
        arrival: record of the direct sound.
        out: Shape: [lanes, 5].
    """
    out[:] = np.nan
    for lane in range(len(out)):
        energy = remaining[:, lane]
        if energy[0] <= 0.0:
            continue
        out[lane, 3] = _ratio_db(energy, arrival + EARLY_S / step_s)
        out[lane, 4] = _ratio_db(energy, arrival + DIRECT_WINDOW_S / step_s)
        tail = _tail_energy(energy, arrival)
        floor = tail / (energy[0] + tail)
        if floor < 0.05:
            out[lane, 0] = _fit(energy, arrival, tail, 0.0, -10.0) * step_s
        if floor < 10.0**-2.8:
            out[lane, 1] = _fit(energy, arrival, tail, -5.0, -25.0) * step_s
        if floor < 10.0**-3.8:
            out[lane, 2] = _fit(energy, arrival, tail, -5.0, -35.0) * step_s


@kernel
def _ratio_db(energy, at):  # type: ignore[no-untyped-def]
    """Energy before record `at` over the energy from there on, in dB."""
    record = int(at + 0.5)
    if record >= len(energy) or energy[record] <= 0.0:
        return np.inf
    late = energy[record]
    return 10.0 * math.log10(max(energy[0] - late, 1e-30) / late)


@kernel
def _tail_energy(energy, start):  # type: ignore[no-untyped-def]
    """Energy beyond the end, if the fall from the third to the last quarter goes on.

    A geometric series: every quarter beyond has the last one's energy times their ratio.
    """
    last = len(energy) - 1
    quarter = (last - start) // 4
    if quarter == 0 or energy[last - quarter] <= 0.0:
        return 0.0
    fourth = energy[last - quarter]
    third = energy[last - 2 * quarter] - fourth
    return fourth / max(third / fourth - 1.0, 0.01)


@kernel
def _fit(energy, start, tail, top_db, bottom_db):  # type: ignore[no-untyped-def]
    """Records for 60 dB by regression between two levels; NaN if the lower one is not reached.

    The level is that of energy + tail, relative to the whole.
    """
    total = energy[0] + tail
    first = _below(energy, start, total * 10.0 ** (0.1 * top_db) - tail)
    stop = _below(energy, first, total * 10.0 ** (0.1 * bottom_db) - tail)
    n = min(stop - first, FIT_POINTS)
    if stop >= len(energy) - 1 or n < 3:
        return np.nan
    level = 0.0  # in nepers of energy
    away = 0.0
    product = 0.0
    spread = 0.0
    for k in range(n):
        x = float((2 * k + 1) * (stop - first) // (2 * n))  # the middle of one of n equal stretches
        y = math.log((energy[first + int(x)] + tail) / total)
        level += y
        away += x
        product += x * y
        spread += x * x
    slope = (product - away * level / n) / (spread - away * away / n)
    return -6.0 * math.log(10.0) / slope if slope < 0.0 else np.nan


@kernel
def _below(energy, first, bound):  # type: ignore[no-untyped-def]
    """The first record from `first` on with no more than `bound`; the last one if there is none."""
    low, high = first, len(energy) - 1
    while low < high:
        middle = (low + high) // 2
        if energy[middle] > bound:
            low = middle + 1
        else:
            high = middle
    return low
