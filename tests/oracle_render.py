"""Slow, obvious float64 versions of what the renderer does."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import fftconvolve

Signal = NDArray[np.float64]


def convolve_float64(dry: ArrayLike, response: ArrayLike, onset: int, length: int) -> Signal:
    """`dry`, starting at `onset`, through `response`, cut to [0, length)."""
    out = np.zeros(length)
    wet = fftconvolve(np.asarray(dry, np.float64), np.asarray(response, np.float64))
    wet = wet[: max(length - onset, 0)]
    out[onset : onset + len(wet)] = wet
    return out


def relative_error_db(got: ArrayLike, expected: ArrayLike, scale: ArrayLike | None = None) -> float:
    """Energy of the difference relative to the mean energy of `scale` (default `expected`)."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape
    reference = np.mean(np.square(expected if scale is None else np.asarray(scale, np.float64)))
    return float(10 * np.log10(np.mean(np.square(got - expected)) / reference + 1e-30))
