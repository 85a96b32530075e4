"""The direct sound in a response: when it comes, how strong it is, and in which channels.

Found in the data, since files of measured responses rarely say. All of it looks at a short piece
around the first arrival, 1 to 4 kHz: above the ringing of loudspeakers and the noise of Ambisonic
microphones at low frequencies, below the limits of arrays.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

THRESHOLD: Final = 0.25
"""The direct sound is where the response first comes within 12 dB of its peak."""

BEFORE_S, AFTER_S, FADE_S = 0.0005, 0.0015, 0.0005
"""Piece around the direct sound that is taken for it, and the fades at its ends."""

BAND_HZ: Final = (1000.0, 4000.0)
_FINER: Final = 16
_PIECE_S: Final = 0.004


def direct_time_s(pressure: NDArray[np.floating], sample_rate: int) -> float:
    """When the direct sound peaks: highest envelope within 1 ms of the first arrival.

    Args:
        pressure: a response that is not silent. Shape: [samples].

    Returns:
        Seconds from its first sample, to a small part of a sample.
    """
    size = np.abs(pressure)
    first = int(np.argmax(size >= THRESHOLD * size.max()))
    n = 2 * round(_PIECE_S * sample_rate / 2)
    start = first - n // 2
    piece = _cut(pressure[None], start, n)[0] * np.hanning(n + 1)[:n]
    spectrum = scipy.fft.rfft(piece.astype(np.float64), workers=1)
    analytic = np.zeros(n * _FINER, dtype=np.complex128)
    analytic[: len(spectrum)] = spectrum
    envelope = np.abs(scipy.fft.ifft(analytic, workers=1))
    low = (n // 2 - round(0.0005 * sample_rate)) * _FINER
    high = (n // 2 + round(0.001 * sample_rate)) * _FINER
    at = low + int(np.argmax(envelope[low:high]))
    before, here, after = envelope[at - 1], envelope[at], envelope[(at + 1) % len(envelope)]
    curve = before - 2 * here + after
    shift = 0.5 * (before - after) / curve if curve < 0 else 0.0
    return float((start + (at + np.clip(shift, -1, 1)) / _FINER) / sample_rate)


def direct_spectra(
    response: NDArray[np.floating], sample_rate: int, at_s: float
) -> NDArray[np.complex128]:
    """Spectra of the direct sound inside `BAND_HZ`. Shape: [channels, frequencies]."""
    window, first, stop = _window(sample_rate)
    start = round((at_s - BEFORE_S - FADE_S) * sample_rate)
    piece = _cut(response, start, len(window)) * window
    spectra = scipy.fft.rfft(piece.astype(np.float64), n=4 * len(window), axis=1, workers=1)
    return np.asarray(spectra[:, first:stop])


def direct_level(spectra: NDArray[np.complex128]) -> float:
    """Amplitude of the direct sound: of a lone impulse, its height. All channels' mean power."""
    return float(np.sqrt(np.mean(np.abs(spectra) ** 2)))


def direct_ratios(spectra: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Amplitudes of the channels over that of the first, in phase with it. Shape: [channels]."""
    reference = spectra[0]
    power = max(float(np.sum(np.abs(reference) ** 2)), 1e-300)
    return np.asarray(np.sum((np.conj(reference) * spectra).real, axis=1) / power)


@lru_cache(maxsize=16)
def _window(sample_rate: int) -> tuple[NDArray[np.float64], int, int]:
    """Window over the piece, and the range of frequency bins of its padded spectrum."""
    fade = max(1, round(FADE_S * sample_rate))
    n = round((BEFORE_S + AFTER_S) * sample_rate) + 2 * fade
    window = np.ones(n)
    window[:fade] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    window[n - fade :] = window[:fade][::-1]
    spacing = sample_rate / (4 * n)
    top_hz = min(BAND_HZ[1], 0.4 * sample_rate)
    first = int(min(BAND_HZ[0], 0.5 * top_hz) / spacing)
    return window, first, int(top_hz / spacing) + 1


def _cut(response: NDArray[np.floating], start: int, n: int) -> NDArray[np.floating]:
    """Samples [start, start + n) of every channel, zeros outside. Shape: [channels, n]."""
    out = np.zeros((len(response), n), dtype=response.dtype)
    low, high = max(start, 0), min(start + n, response.shape[1])
    if low < high:
        out[:, low - start : high - start] = response[:, low:high]
    return out
