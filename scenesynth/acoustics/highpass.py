"""The causal high-pass of the responses.

All reflection factors are positive, so image trains add up at 0 Hz (some 35 dB above the level at
1 to 8 kHz) and a high-pass has to take that away. A zero-phase one would ring before the direct
sound; this one is a minimum-phase second-order Butterworth, run as a recursion in time so that
nothing wraps around either.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

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

    Summed so that a sample waits for the last one through one product and one difference only.
    """
    b0, b1, b2, a1, a2 = coefficients
    for c in range(out.shape[0]):
        x1 = 0.0
        x2 = 0.0
        y1 = 0.0
        y2 = 0.0
        for n in range(out.shape[1]):
            x = np.float64(channels[c, n])
            y = (b0 * x + b1 * x1 + b2 * x2 - a2 * y2) - a1 * y1
            x2 = x1
            x1 = x
            y2 = y1
            y1 = y
            out[c, n] = y
