"""Building blocks: noise, envelopes, resonances, decaying modes, filters that move."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from scenesynth.seeds import Rng

SAMPLE_RATE = 32000

Signal = NDArray[np.float64]

_CUT_S = 0.05
_WINDOW = 640
_HOP = _WINDOW // 2
_PADDED = 1024


def samples(duration_s: float) -> int:
    """Whole samples of a duration."""
    return max(1, round(duration_s * SAMPLE_RATE))


def times(n: int) -> Signal:
    """Time of each sample in seconds. Shape: [n]."""
    return np.arange(n) / SAMPLE_RATE


def decay(n: int, t60_s: float) -> Signal:
    """Exponential decay from 1 that falls by 60 dB in `t60_s`. Shape: [n]."""
    return np.asarray(10.0 ** (-3.0 * times(n) / t60_s))


def fade(x: Signal, in_s: float, out_s: float) -> Signal:
    """Raised-cosine fades at both ends."""
    result = x.copy()
    n_in, n_out = (min(round(length * SAMPLE_RATE), len(x)) for length in (in_s, out_s))
    if n_in:
        result[:n_in] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(n_in) / n_in)
    if n_out:
        result[len(x) - n_out :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, n_out + 1) / n_out)
    return result


def wander(rng: Rng, n: int, rate_hz: float, spread: float = 1.0) -> Signal:
    """Slow random curve with mean 0 and deviation about `spread`. Shape: [n].

    Gaussian knots `rate_hz` times a second, joined by cubic steps that are flat at the knots.
    """
    knots = rng.normals(int(n / SAMPLE_RATE * rate_hz) + 3) * spread
    at = times(n) * rate_hz
    left = at.astype(np.int64)
    mix = at - left
    mix *= mix * (3.0 - 2.0 * mix)
    return np.asarray(knots[left] + (knots[left + 1] - knots[left]) * mix)


def sweep(freq_hz: Signal, phase: float = 0.0) -> Signal:
    """Sine of a moving frequency [n]."""
    return np.sin(2.0 * np.pi * (np.cumsum(freq_hz) / SAMPLE_RATE + phase))


def modes(
    n: int, freqs_hz: ArrayLike, t60s_s: ArrayLike, gains: ArrayLike, phases: ArrayLike = 0.0
) -> Signal:
    """Sum of decaying sines, faded where `n` cuts them: what a struck thing does. Shape: [n]."""
    out = np.zeros(n)
    pulse = np.zeros(n)
    pulse[0] = 1.0
    columns = np.broadcast_arrays(*np.atleast_1d(freqs_hz, t60s_s, gains, phases))
    for freq, t60, gain, phase in zip(*columns, strict=True):
        # r^n sin(w n + p) is the impulse response of two poles: cheaper than its formula.
        w, p = 2.0 * np.pi * freq / SAMPLE_RATE, 2.0 * np.pi * phase
        r = 10.0 ** (-3.0 / (t60 * SAMPLE_RATE))
        zeros = gain * np.array([np.sin(p), r * np.sin(w - p)])
        out += lfilter(zeros, [1.0, -2.0 * r * np.cos(w), r * r], pulse)
    return fade(out, 0.0, min(_CUT_S, 0.25 * n / SAMPLE_RATE))


def add_at(out: Signal, at_s: float, piece: Signal, gain: float = 1.0) -> None:
    """Add a piece into `out`, in place, from `at_s` on; what lies before or after is cut off."""
    start = round(at_s * SAMPLE_RATE)
    first, last = max(0, -start), min(len(piece), len(out) - start)
    if first < last:
        out[start + first : start + last] += gain * piece[first:last]


def band(x: Signal, low_hz: float, high_hz: float, order: int = 2) -> Signal:
    """Causal Butterworth band-pass; a limit of 0 or above 15 kHz is left open."""
    if low_hz > 0.0:
        x = sosfilt(_sections(order, low_hz, "highpass"), x)
    if high_hz < 15000.0:
        x = sosfilt(_sections(order, high_hz, "lowpass"), x)
    return np.asarray(x, dtype=np.float64)


@lru_cache(maxsize=1024)
def _sections(order: int, corner_hz: float, kind: str) -> Signal:
    return np.asarray(butter(order, corner_hz, kind, fs=SAMPLE_RATE, output="sos"))


def smeared(x: Signal, kernel: Signal) -> Signal:
    """Convolution cut to the length of `x`, so that the kernel only adds what follows."""
    return np.asarray(oaconvolve(x, kernel)[: len(x)])


def shaped_noise(rng: Rng, n: int, points: Sequence[tuple[float, float]]) -> Signal:
    """Gaussian noise of unit power with a spectrum through (hertz, dB) points. Shape: [n].

    The level is linear over log frequency between the points and constant beyond them.
    """
    padded = next_fast_len(n, real=True)
    spectrum = rfft(rng.normals(padded), workers=1)
    freqs = np.maximum(np.fft.rfftfreq(padded, 1.0 / SAMPLE_RATE), 1.0)
    at, levels = zip(*points, strict=True)
    level = np.interp(np.log(freqs), np.log(at), levels)
    spectrum *= 10.0 ** (level / 20.0)
    spectrum[freqs < 25.0] = 0.0
    noise = irfft(spectrum, padded, workers=1)[:n]
    return np.asarray(noise / np.sqrt(np.mean(np.square(noise))))


def formant_response(
    formants_hz: NDArray[np.float64], bandwidths_hz: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Response of a cascade of resonators with unit gain at 0 Hz (Klatt 1980).

    Shapes: formants and bandwidths [..., F]; response [..., bins] for `filter_frames`.
    """
    radius = np.exp(-np.pi * bandwidths_hz / SAMPLE_RATE)
    b = 2.0 * radius * np.cos(2.0 * np.pi * formants_hz / SAMPLE_RATE)
    c = -np.square(radius)
    z = np.exp(-2j * np.pi * np.arange(_PADDED // 2 + 1) / _PADDED)
    poles = np.ones((*formants_hz.shape[:-1], z.size), np.complex128)
    for k in range(formants_hz.shape[-1]):
        poles *= 1.0 - b[..., k, None] * z - c[..., k, None] * (z * z)
    return np.asarray(np.prod(1.0 - b - c, axis=-1)[..., None] / poles)


def frame_times(n: int) -> Signal:
    """Centres in seconds of the frames that `filter_frames` cuts from n samples."""
    return np.arange(n // _HOP + 2) * _HOP / SAMPLE_RATE


def filter_frames(x: Signal, response: NDArray[np.complex128]) -> Signal:
    """Filter with a response per frame, by windowed frames that overlap-add. Shape: [n].

    Frames of 20 ms every 10 ms under a Hann window, whose shifted copies sum to a constant.

    Args:
        x: signal [n].
        response: [frames, bins] at the `frame_times`.
    """
    lead = _HOP
    n_frames = response.shape[0]
    padded = np.zeros((n_frames - 1) * _HOP + _WINDOW)
    padded[lead : lead + len(x)] = x[: len(padded) - lead]
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_WINDOW) / _WINDOW)
    pieces = irfft(rfft(frames * window, _PADDED, workers=1) * response, _PADDED, workers=1)
    out = np.zeros(len(padded) + _PADDED)
    for k, piece in enumerate(pieces):
        out[k * _HOP : k * _HOP + _PADDED] += piece
    return out[lead : lead + len(x)]


def unit_peak(x: Signal) -> Signal:
    """Scaled to a largest magnitude of 1."""
    return np.asarray(x / max(float(np.abs(x).max()), 1e-12))
