"""The causal high-pass of the responses.

All reflection factors are positive, so image trains add up at 0 Hz (some 30 dB above the level at
1 to 8 kHz) and a high-pass has to take that away. A zero-phase one would ring before the direct
sound; this one is a minimum-phase second-order Butterworth, run as a recursion in time so that
nothing wraps around either.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.simd import CHANNELS, filter_four
from scenesynth.jit import kernel


def highpass_coefficients(corner_hz: float, sample_rate: int) -> NDArray[np.float64]:
    """b0, b1, b2, a1, a2 of a Butterworth high-pass, by the bilinear transform. Shape: [5].

    Raises:
        ValueError: the corner is not between 0 and half the Nyquist frequency.
    """
    if not 0 < corner_hz < sample_rate / 4:
        raise ValueError(
            f"highpass_hz = {corner_hz:g}; must be 0 (none) or lie below {sample_rate / 4:g} Hz"
        )
    k = math.tan(math.pi * corner_hz / sample_rate)
    scale = 1.0 / (1.0 + math.sqrt(2.0) * k + k * k)
    a1 = 2.0 * (k * k - 1.0) * scale
    a2 = (1.0 - math.sqrt(2.0) * k + k * k) * scale
    return np.array([scale, -2.0 * scale, scale, a1, a2])


def highpass(
    channels: NDArray[np.float32], n: int, corner_hz: float, sample_rate: int
) -> NDArray[np.float32]:
    """The first `n` samples of each channel, filtered; `corner_hz` 0 leaves them as they are.

    Args:
        channels: Shape: [channels, at least n].

    Returns:
        A new array. Shape: [channels, n].
    """
    if corner_hz == 0:
        return np.ascontiguousarray(channels[:, :n])
    out = np.empty((len(channels), n), dtype=np.float32)
    _filter(channels, highpass_coefficients(corner_hz, sample_rate), out)
    return out


@kernel
def _filter(channels, coefficients, out):  # type: ignore[no-untyped-def]
    """Direct form I, in float64: at 30 Hz the poles lie within 0.5 % of 1.

    A sample waits for the last one, so four channels go side by side, and what is left alone.
    """
    n_channels, n = out.shape
    whole = n_channels // CHANNELS * CHANNELS
    for c in range(0, whole, CHANNELS):
        filter_four(
            out[c : c + CHANNELS].ravel(),
            channels[c : c + CHANNELS].ravel(),
            channels.shape[1],
            coefficients,
            n,
        )
    for c in range(whole, n_channels):
        _filter_one(channels[c], coefficients, out[c])


@kernel
def _filter_one(channel, coefficients, out):  # type: ignore[no-untyped-def]
    """The sums of `filter_four`: a sample waits for the last through a product and a difference."""
    b0, b1, b2, a1, a2 = coefficients
    x1, x2, y1, y2 = 0.0, 0.0, 0.0, 0.0
    for n in range(len(out)):
        x = np.float64(channel[n])
        y = (b0 * x + b1 * x1 + b2 * x2 - a2 * y2) - a1 * y1
        x1, x2, y1, y2 = x, x1, y, y1
        out[n] = y
