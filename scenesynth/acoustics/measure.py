"""What a measurement finds in a response: reverberation times, clarity, direct-to-reverberant.

ISO 3382-1: octave-band filtering, backward integration of the squared response (Schroeder 1965),
regression between -5 and -25 dB (T20), -5 and -35 dB (T30), 0 and -10 dB (EDT), each extrapolated
to 60 dB. A rendered response has no noise but ends: the energy after its end is added back as that
of an exponential with the level and slope of the last half (the standard's correction C).

The octave filters have the magnitude of a sixth-order Butterworth band-pass and zero phase, applied
to one spectrum; each band is brought back at no higher a rate than it needs. "Broadband" is
everything above the lower edge of the lowest band: below it the positive reflection factors of
image sources pile up energy that says nothing about the room.

Filters ring too. A band's decay that is about as short as its filter's own (bandwidth times T60 is
4 to 5 for a lone pulse; the standard asks for 16) is not the room's and is not reported, and what
the high-passes leave behind a lone direct sound is not reverberation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.jit import kernel

DIRECT_WINDOW_S = 0.0025
"""Sound up to this long after the direct arrival counts as direct (DRR)."""

EARLY_S = 0.05
"""Early sound of C50, after the direct arrival."""

PADDING_S = 0.064
"""Silence added before the spectrum is taken, so that the filters' ringing does not wrap."""

LEAST_BANDWIDTHS = 8.0
"""Least measurable product of a band's width and decay time; its error is then about 10 %."""

LEAST_BROADBAND = 3.0
"""The same for broadband: least product of its lower edge and its decay time."""

MOST_DRR_DB = 28.0
"""Above this the late sound is the high-passes' ringing (-31 dB of a lone direct sound)."""

QUANTUM = 1024
FIT_POINTS = 1024
"""Decay curves are read off at about this many points; they are smooth."""


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Band:
    """Bins [first, first + len(gain)) of the spectrum, times gain, back at length n.

    EDT, T20 and T30 below `shortest_s` are the filter's.
    """

    first: int
    gain: NDArray[np.float32]
    n: int
    shortest_s: tuple[float, float, float]


@lru_cache(maxsize=64)
def _bands(sample_rate: int, n_fft: int, band_hz: tuple[float, ...]) -> tuple[_Band, ...]:
    """Broadband first, then every band."""
    freq_hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    edge_hz = band_hz[0] / np.sqrt(2)
    edge = np.maximum(freq_hz, 1e-3) / edge_hz
    above = (1.0 / np.sqrt(1.0 + edge**-12.0)).astype(np.float32)
    least_s = LEAST_BROADBAND / edge_hz  # the early decay lies above the ringing
    out = [_Band(first=0, gain=above, n=n_fft, shortest_s=(0.0, least_s, least_s))]
    for centre in band_hz:
        first = int(centre / 4 / sample_rate * n_fft)
        last = min(int(centre * 2.8 / sample_rate * n_fft) + 1, n_fft // 2)
        f = np.maximum(freq_hz[first : last + 1], 1e-3) / centre
        gain = 1.0 / np.sqrt(1.0 + (np.sqrt(2) * (f - 1.0 / f)) ** 6)
        n = scipy.fft.next_fast_len(2 * last + 2, real=True) if last < n_fft // 2 else n_fft
        least_s = LEAST_BANDWIDTHS * np.sqrt(2) / centre
        shortest_s = (least_s, least_s, least_s)
        out.append(_Band(first=first, gain=gain.astype(np.float32), n=n, shortest_s=shortest_s))
    return tuple(out)


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
    quantised = -(-len(pressure) // QUANTUM) * QUANTUM + int(PADDING_S * sample_rate)
    n_fft = scipy.fft.next_fast_len(quantised, real=True)
    n_fft += n_fft % 2
    spectrum = scipy.fft.rfft(pressure, n=n_fft, workers=1)
    length_s = len(pressure) / sample_rate
    rows = []
    for band in _bands(sample_rate, n_fft, band_hz):
        part = np.zeros(band.n // 2 + 1, dtype=np.complex64)
        part[band.first : band.first + len(band.gain)] = (
            spectrum[band.first : band.first + len(band.gain)] * band.gain
        )
        signal = scipy.fft.irfft(part, n=band.n, workers=1)
        result = np.empty(5)
        _decay(signal, band.n * sample_rate / n_fft, direct_delay_s, length_s, result)
        result[:3][result[:3] < band.shortest_s] = np.nan
        rows.append(result)
    broadband, *bands = rows
    edt, t20, t30 = (tuple(float(row[k]) for row in bands) for k in range(3))
    rt60 = tuple(b if np.isnan(a) else a for a, b in zip(t30, t20, strict=True))
    return Acoustics(
        band_hz=band_hz,
        rt60_s=rt60,
        t20_s=t20,
        t30_s=t30,
        edt_s=edt,
        rt60_broadband_s=float(broadband[1] if np.isnan(broadband[2]) else broadband[2]),
        edt_broadband_s=float(broadband[0]),
        c50_db=float(broadband[3]),
        drr_db=math.inf if broadband[4] > MOST_DRR_DB else float(broadband[4]),
        direct_delay_s=direct_delay_s,
    )


@kernel
def _decay(signal, rate, direct_s, length_s, out):  # type: ignore[no-untyped-def]
    """Write EDT, T20, T30, C50 and DRR of a band signal to `out`; NaN where out of range."""
    n = min(len(signal), int(length_s * rate))
    start = min(int(direct_s * rate), n - 1)
    energy = np.empty(n + 1)
    energy[n] = 0.0
    for k in range(n - 1, -1, -1):
        energy[k] = energy[k + 1] + np.float64(signal[k]) * np.float64(signal[k])
    total = energy[0]
    out[:] = np.nan
    if total <= 0.0:
        return
    out[3] = _ratio_db(energy, start + EARLY_S * rate, total)
    out[4] = _ratio_db(energy, start + DIRECT_WINDOW_S * rate, total)
    step = max(1, (n - start) // FIT_POINTS)
    seconds = step / rate
    level = np.empty((n - start) // step)
    tail = _tail_energy(energy, start, n)
    _levels(energy, start, step, tail, level)
    floor_db = 10.0 * np.log10(max(tail / (total + tail), 1e-30))
    if floor_db < -13.0:
        out[0] = _fit(level, seconds, 0.0, -10.0)
    if floor_db < -28.0:
        out[1] = _fit(level, seconds, -5.0, -25.0)
    if floor_db < -38.0:
        out[2] = _fit(level, seconds, -5.0, -35.0)


@kernel
def _ratio_db(energy, at, total):  # type: ignore[no-untyped-def]
    """Energy before sample `at` over the energy from there on, in dB."""
    if at >= len(energy) or energy[int(at)] <= 0.0:
        return np.inf
    late = energy[int(at)]
    return 10.0 * np.log10(max(total - late, 1e-30) / late)


@kernel
def _levels(energy, start, step, tail, level):  # type: ignore[no-untyped-def]
    """Decay curve in dB at every `step` samples from `start`, with `tail` beyond the end."""
    total = energy[0] + tail
    for k in range(len(level)):
        level[k] = 10.0 * np.log10(max(energy[start + k * step] + tail, 1e-30) / total)


@kernel
def _tail_energy(energy, start, n):  # type: ignore[no-untyped-def]
    """Energy beyond the end, if the fall from the third to the last quarter goes on.

    A geometric series: every quarter beyond has the last one's energy times their ratio.
    """
    quarter = (n - start) // 4
    last = energy[n - quarter]
    if last <= 0.0:
        return 0.0
    third = energy[n - 2 * quarter] - last
    return last / max(third / last - 1.0, 0.01)


@kernel
def _fit(level, seconds, top, bottom):  # type: ignore[no-untyped-def]
    """Time for 60 dB by regression of `level` between `top` and `bottom` dB; NaN if not reached."""
    first = 0
    while first < len(level) and level[first] > top:
        first += 1
    last = first
    while last < len(level) and level[last] >= bottom:
        last += 1
    n = last - first
    if last == len(level) or n < 3:
        return np.nan
    mean = 0.0
    for k in range(first, last):
        mean += level[k]
    mean /= n
    centre = 0.5 * (n - 1)
    slope = 0.0
    for k in range(n):
        slope += (k - centre) * (level[first + k] - mean)
    slope *= 12.0 / (n * (n * n - 1.0) * seconds)
    return -60.0 / slope if slope < 0.0 else np.nan
