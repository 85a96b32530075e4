"""Directions of onsets in first-order Ambisonics: the acoustic intensity vector.

After Merimaa & Pulkki (2005), restricted to onsets. A time and octave weighs with the amplitude of
its rise, and less where its field is diffuse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scenesynth.localization.onsets import BAND_EDGES_HZ, Array, rise, short_time


def intensity_vectors(
    foa: NDArray[np.float32],
    sample_rate: int,
    hop_s: float,
    n_frames: int,
    edges_hz: Sequence[float] = BAND_EDGES_HZ,
) -> tuple[Array, Array]:
    """Weighted sums per frame of intensity over energy density, and of the weights.

    Args:
        foa: ACN, SN3D (W, Y, Z, X). Shape: [4, samples].
        edges_hz: of the octaves that count.

    Returns:
        Shapes: [frames, 3], [frames].
    """
    if foa.ndim != 2 or foa.shape[0] != 4:
        raise ValueError(f"foa has shape {foa.shape}; must be [4, samples]")
    found = short_time(foa, sample_rate, edges_hz)
    w, yzx = found.spectra[0], found.spectra[1:]
    intensity = found.per_band(np.real(np.conj(w) * yzx)[[2, 0, 1]])
    energy = found.per_band(0.5 * (np.abs(w) ** 2 + np.sum(np.abs(yzx) ** 2, axis=0)))
    unit = intensity / np.maximum(energy, np.finfo(float).tiny)
    weight = np.sqrt(rise(energy)) * np.sum(unit**2, axis=0)
    frame = found.frames(hop_s, n_frames)
    vectors, weights = np.zeros((n_frames, 3)), np.zeros(n_frames)
    np.add.at(vectors, frame, np.einsum("cbt,bt->tc", unit, weight))
    np.add.at(weights, frame, weight.sum(axis=0))
    return vectors, weights
