"""The noise of late tails: one fixed pool per sample rate, cut into octave bands beforehand.

The pool is periodic and exactly white: every bin of its spectrum has the same magnitude and a phase
from an integer hash. A sample is then the sum of 2^18 independent cosines, hence Gaussian, and over
the whole pool the power of any band is exact and a shifted copy is uncorrelated with the original.
A tail's channels are such shifted copies, far enough apart that none meets another's noise.

The bands carry the amplitude weights of the image sources, which sum to one, and the same band
edge. A channel takes all bands from one place, so that equal levels give back white noise.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.grids import band_edge, band_weights
from scenesynth.jit import kernel

POOL = 1 << 19
"""Samples of the pool: 16 s at 32 kHz."""

BLOCK = 64
"""Samples of one band that lie together; streams start at whole blocks."""

BLOCKS = POOL // BLOCK

_STREAM_BITS = 6
_STREAMS = 1 << _STREAM_BITS
_APART = BLOCKS // _STREAMS


@lru_cache(maxsize=4)
def noise_pool(sample_rate: int, band_hz: tuple[float, ...]) -> NDArray[np.float32]:
    """The noise in octave bands; of unit variance where their weights sum to one.

    Returns:
        Shape: [BLOCKS, bands, BLOCK]; the sample at time n lies in block n // BLOCK.
    """
    words = np.empty(POOL // 2 - 1, dtype=np.uint32)
    _fill_words(words)
    # Unit variance: POOL / 2 - 1 pairs of bins, each of magnitude m, make 2 m^2 / POOL^2 apiece.
    magnitude = POOL / np.sqrt(POOL - 2)
    spectrum = np.zeros(POOL // 2 + 1, dtype=np.complex64)
    spectrum[1:-1] = magnitude * np.exp((2j * np.pi * 2.0**-32) * words)
    freq_hz = np.arange(POOL // 2 + 1, dtype=np.float64) * (sample_rate / POOL)
    spectrum *= band_edge(freq_hz, sample_rate).astype(np.float32)
    pool = np.empty((BLOCKS, len(band_hz), BLOCK), dtype=np.float32)
    weights = band_weights(freq_hz, band_hz).astype(np.float32)
    for band in range(len(band_hz)):
        signal = scipy.fft.irfft(spectrum * weights[:, band], n=POOL, workers=1)
        pool[:, band] = signal.reshape(BLOCKS, BLOCK)
    return pool


def stream_starts(seed: int, n_channels: int) -> NDArray[np.int64]:
    """Block of the pool at which each channel's noise stands at time 0.

    The channels of a seed are spread over the pool by bit reversal, lower ones furthest apart:
    first-order channels by 4 s at 32 kHz, those of third order by 0.9 s.

    Args:
        seed: 32 bits.
        n_channels: up to 64; fewer are the first of more.
    """
    starts = np.empty(n_channels, dtype=np.int64)
    _fill_starts(seed, starts)
    return starts


@kernel
def _mixed(x):  # type: ignore[no-untyped-def]
    """A 32-bit word hashed (finaliser of MurmurHash3), in 64-bit arithmetic."""
    x = (x ^ (x >> 16)) * 0x85EBCA6B & 0xFFFFFFFF
    x = (x ^ (x >> 13)) * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ (x >> 16)


@kernel
def _fill_words(words):  # type: ignore[no-untyped-def]
    for n in range(len(words)):
        words[n] = _mixed((n + 1) * 0x9E3779B1 & 0xFFFFFFFF)


@kernel
def _fill_starts(seed, starts):  # type: ignore[no-untyped-def]
    base = _mixed(seed)
    for c in range(len(starts)):
        turned = 0
        for bit in range(_STREAM_BITS):
            turned |= ((c >> bit) & 1) << (_STREAM_BITS - 1 - bit)
        jitter = _mixed(base ^ ((c + 1) * 0x9E3779B1 & 0xFFFFFFFF)) % (_APART // 2)
        starts[c] = (base + turned * _APART + jitter) % BLOCKS
