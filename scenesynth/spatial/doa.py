"""Direction of arrival estimated from first-order Ambisonics, for checks and pictures."""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray


def intensity_direction(
    foa: NDArray[np.floating],
    sample_rate: int,
    band_hz: tuple[float, float] = (200.0, 8000.0),
) -> tuple[float, float, float]:
    """Energy-weighted direction that a signal comes from: the mean active intensity.

    Sums Re(conj(W) (X, Y, Z)) over all frequencies of the band; a plane wave from u gives u.

    Args:
        foa: W, Y, Z, X (ACN, SN3D); only the first four channels are used. Shape: [>= 4, samples].
        band_hz: lowest and highest frequency used.

    Returns:
        Unit vector x front, y left, z up.

    Raises:
        ValueError: fewer than four channels, or no intensity in the band (silence).
    """
    if foa.ndim != 2 or len(foa) < 4:
        raise ValueError(f"foa has shape {foa.shape}; must be [4 or more, samples]")
    n_samples = foa.shape[1]
    n_fft = scipy.fft.next_fast_len(n_samples, real=True)
    first = math.ceil(band_hz[0] * n_fft / sample_rate)
    last = math.floor(band_hz[1] * n_fft / sample_rate) + 1
    spectra = scipy.fft.rfft(foa[:4], n=n_fft, axis=1, workers=1)[:, first:last]
    w, y, z, x = spectra.astype(np.complex128)
    intensity = [float(np.sum((np.conj(w) * axis).real)) for axis in (x, y, z)]
    length = math.hypot(*intensity)
    if length == 0:
        raise ValueError(
            f"no intensity between {band_hz[0]:g} and {band_hz[1]:g} Hz in {n_samples} samples; "
            f"the signal is silent or has no direction"
        )
    return (intensity[0] / length, intensity[1] / length, intensity[2] / length)
