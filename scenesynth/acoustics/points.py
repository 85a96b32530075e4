"""The band-limited sum of a list of arrivals, for images that lie in no lattice.

The same sum, band edge and octave weights as `scenesynth.acoustics.spread_cpu`, for thousands of
arrivals instead of hundreds of thousands: in double precision, as one sparse product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.grids import GUARD, SHAPE, band_edge, band_weights, pulse_spectrum
from scenesynth.acoustics.simd import TAPS


def sum_of_arrivals(
    delay_s: NDArray[np.float64],
    amplitude: NDArray[np.float64],
    gains: NDArray[np.float64],
    *,
    sample_rate: int,
    n_samples: int,
    band_hz: tuple[float, ...],
) -> NDArray[np.float32]:
    """Response of arrivals of given delay, amplitude per band and gain per channel.

    Args:
        delay_s: after emission, before the end of the response. Shape: [n].
        amplitude: Shape: [n, bands].
        gains: of their directions. Shape: [n, channels].

    Returns:
        Shape: [channels, n_samples].
    """
    n_bands, n_channels = amplitude.shape[1], gains.shape[1]
    n_fft = 2 * scipy.fft.next_fast_len(-(-(n_samples + 2 * GUARD) // 2), real=True)
    values = (amplitude[:, :, None] * gains[:, None, :]).reshape(len(delay_s), -1)
    columns = _pulses(delay_s * (2 * sample_rate), 2 * n_fft) @ values
    spectra = scipy.fft.rfft(columns, axis=0, workers=1)[: n_fft // 2 + 1]
    cycles = np.arange(n_fft // 2 + 1) / (2 * n_fft)
    freq_hz = cycles * 2 * sample_rate
    weights = band_weights(freq_hz, band_hz)
    weights *= (band_edge(freq_hz, sample_rate) / pulse_spectrum(cycles))[:, None]
    spectrum = np.einsum(
        "fbc,fb->cf", spectra.reshape(len(cycles), n_bands, n_channels), weights, optimize=False
    )
    response = scipy.fft.irfft(spectrum, n=n_fft, axis=1, workers=1)
    return np.ascontiguousarray(response[:, :n_samples], dtype=np.float32)


def _pulses(at: NDArray[np.float64], n_rows: int) -> Any:
    """A pulse around each place on a periodic time grid. Shape: [n_rows, n], sparse."""
    import scipy.sparse

    first = np.floor(at).astype(np.int64) - (TAPS // 2 - 1)
    rows = first[:, None] + np.arange(TAPS)
    away = (rows - at[:, None]) * (2.0 / TAPS)
    taps = np.i0(SHAPE * np.sqrt(np.maximum(0.0, 1.0 - away**2))) / np.i0(SHAPE)
    columns = np.repeat(np.arange(len(at)), TAPS)
    return scipy.sparse.csr_matrix(
        (taps.ravel(), (rows.ravel() % n_rows, columns)), shape=(n_rows, len(at))
    )
