"""What two ears hear of sound from given directions: the head-related transfer functions."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from scenesynth.spatial.head_kernels import combine
from scenesynth.spatial.hrtf import MeasuredHead
from scenesynth.spatial.sphere_head import SphereHead

Head = MeasuredHead | SphereHead
"""Both know their `id`, `digest`, `sample_rate`, `n_taps`, `directions`, `grid` and `at_rate`."""


def ear_responses(head: Head, directions: ArrayLike, n_fft: int) -> NDArray[np.complex64]:
    """Spectra of both ears for plane waves, at the head's own sample rate.

    Time 0 is when the wave passes the head's centre, so the near ear hears it before: in
    `irfft(spectra, n_fft)` such samples stand at the end.

    Args:
        directions: unit vectors the sound comes from, x front, y left, z up. Shape: [n, 3].
        n_fft: points of the transform, `head.n_taps` or more.

    Returns:
        Left ear first. Each row depends on its own direction only. Shape: [n, 2, n_fft // 2 + 1].

    Raises:
        ValueError: directions that are no unit vectors, or fewer points than the responses have.
    """
    vectors = np.asarray(directions, dtype=np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != 3:
        raise ValueError(f"directions has shape {vectors.shape}; must be [n, 3]")
    lengths = np.sqrt((vectors * vectors).sum(axis=1))
    if not (np.abs(lengths - 1.0) < 1e-6).all():
        raise ValueError(f"directions has a length of {lengths[np.argmax(abs(lengths - 1))]}")
    if n_fft < head.n_taps:
        raise ValueError(f"n_fft = {n_fft}; head {head.id} has responses of {head.n_taps} samples")
    found = head.interpolation(vectors)
    table = _table(head, n_fft)
    out = np.empty((len(vectors), 2, table.shape[1], 2), dtype=np.float32)
    bin_hz = head.sample_rate / n_fft
    combine(table, found.rows, found.weights, found.delay_s, bin_hz, out)
    return out.view(np.complex64)[..., 0]


def diffuse_field_response(head: Head, n_fft: int) -> NDArray[np.float64]:
    """Magnitude of what the ears hear of sound from all around: rms over directions and ears.

    Each direction counts with the solid angle that it stands for. Shape: [n_fft // 2 + 1].
    """
    power = np.zeros(n_fft // 2 + 1)
    for first in range(0, len(head.directions), 256):
        part = slice(first, first + 256)
        spectra = ear_responses(head, head.directions[part], n_fft).astype(np.complex128)
        power += head.grid.areas[part] @ (np.abs(spectra) ** 2).mean(axis=1)
    return np.asarray(np.sqrt(power / (4 * np.pi)))


def impulse_responses(head: Head, directions: ArrayLike) -> tuple[NDArray[np.float32], float]:
    """HRIRs of directions, and the time of their first sample. Shape: [n, 2, samples]."""
    n_fft = scipy.fft.next_fast_len(2 * head.n_taps, real=True)
    lead = round(-head.start_s * head.sample_rate)
    spectra = ear_responses(head, directions, n_fft)
    rows = scipy.fft.irfft(spectra, n=n_fft, axis=2, workers=1)
    return np.roll(rows, lead, axis=2)[:, :, : head.n_taps], -lead / head.sample_rate


@lru_cache(maxsize=4)
def _table(head: Head, n_fft: int) -> NDArray[np.float32]:
    """Aligned spectra as real and imaginary parts. Shape: [rows, bins, 2]."""
    spectra = head.aligned_spectra(n_fft).astype(np.complex64)
    return np.ascontiguousarray(spectra).view(np.float32).reshape(*spectra.shape, 2)
