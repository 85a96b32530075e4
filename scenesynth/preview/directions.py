"""Where sound comes from, estimated from first-order Ambisonics audio alone.

The estimate is an acoustic intensity vector (Merimaa & Pulkki, 2005) restricted to onsets: in each
octave, only energy counts that rises well above what came before and has not had the time to decay.
That is the direct sound before its reflections arrive, as in the precedence effect: a reflection
adds to the energy, but seldom enough to pass for an onset. A time and octave weighs with the
amplitude of its rise, and less where its field is diffuse. What is left of reverberation and noise
shows as a lower `confidence`, so a weak estimate says that it is weak.

Vectors are in the listener's frame: x front, y left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

WINDOW_S = 0.008
HOP_S = 0.002
BAND_EDGES_HZ = (500, 1000, 2000, 4000, 8000)
"""Below, an onset takes longer to show than a reflection to arrive."""

ONSET_RATIO = 2.5
"""Factor of energy that makes an onset. Without it reflections of near walls count: the median
error over 40 scenes of the recipe gram at 20 dB SNR was 7 degrees instead of 2."""

REVERBERANT_DECAY_DB_PER_S = 60.0
"""Slowest decay that still counts as a tail: a T60 of one second."""

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Direction estimates per frame.

    Attributes:
        hop_s: length of a frame; frame k covers [hop_s k, hop_s (k+1)).
        vectors: weighted sum of intensity over energy density. Shape: [frames, 3].
        weight: sum of the weights, amplitudes re full scale. Shape: [frames].
    """

    hop_s: float
    vectors: Array
    weight: Array

    @property
    def confidence(self) -> Array:
        """1 where all onsets of a frame agree on one direction, 0 for a diffuse field."""
        length = np.linalg.norm(self.vectors, axis=-1)
        return np.asarray(length / np.maximum(self.weight, np.finfo(float).tiny))


def estimate_directions(foa: NDArray[np.float32], sample_rate: int, hop_s: float) -> Directions:
    """Directions of onsets in frames of `hop_s`.

    Args:
        foa: ACN, SN3D (W, Y, Z, X). Shape: [4, samples].
    """
    if foa.ndim != 2 or foa.shape[0] != 4:
        raise ValueError(f"foa has shape {foa.shape}; must be [4, samples]")
    n_frames = max(1, int(np.ceil(foa.shape[1] / sample_rate / hop_s - 1e-9)))
    intensity, energy, times = _band_intensity(foa, sample_rate)
    unit = intensity / np.maximum(energy, np.finfo(float).tiny)
    bin_weight = np.sqrt(_rise(energy)) * np.sum(unit**2, axis=0)
    frame = np.clip((times / hop_s).astype(int), 0, n_frames - 1)
    vectors, weight = np.zeros((n_frames, 3)), np.zeros(n_frames)
    np.add.at(vectors, frame, np.einsum("cbt,bt->tc", unit, bin_weight))
    np.add.at(weight, frame, bin_weight.sum(axis=0))
    return Directions(hop_s=hop_s, vectors=vectors, weight=weight)


def _band_intensity(foa: NDArray[np.float32], sample_rate: int) -> tuple[Array, Array, Array]:
    """Intensity [3, bands, times] and energy density [bands, times], equal for a plane wave.

    A time is the end of its window, so that an onset is not seen before it comes.
    """
    window = max(16, round(WINDOW_S * sample_rate))
    hop = max(4, round(HOP_S * sample_rate))
    stft = ShortTimeFFT(hann(window, sym=False), hop, sample_rate, mfft=window)
    padded = np.pad(foa, ((0, 0), (0, max(0, window - foa.shape[1]))))
    spectra = stft.stft(padded)
    w, yzx = spectra[0], spectra[1:]
    intensity = np.real(np.conj(w) * yzx)[[2, 0, 1]]
    energy = 0.5 * (np.abs(w) ** 2 + np.sum(np.abs(yzx) ** 2, axis=0))
    starts = np.unique(np.searchsorted(stft.f, [f for f in BAND_EDGES_HZ if f < sample_rate / 2]))
    bands = slice(0, max(1, len(starts) - 1))
    return (
        np.add.reduceat(intensity, starts, axis=1)[:, bands],
        np.add.reduceat(energy, starts, axis=0)[bands],
        np.maximum(stft.t(padded.shape[1]) + 0.5 * window / sample_rate, 0.0),
    )


def _rise(energy: Array) -> Array:
    """Energy in excess of `ONSET_RATIO` times the decaying maximum of what came before."""
    keep = 10 ** (-REVERBERANT_DECAY_DB_PER_S * HOP_S / 10)
    rise = np.zeros_like(energy)
    held = energy[:, 0].copy()
    for t in range(1, energy.shape[1]):
        held *= keep
        rise[:, t] = np.maximum(energy[:, t] - ONSET_RATIO * held, 0.0)
        held = np.maximum(held, energy[:, t])
    return rise


def to_angles(vectors: Array) -> tuple[Array, Array]:
    """Azimuth (counter-clockwise from the front) and elevation in degrees. Shape: [..., 3]."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def to_vectors(azimuth_deg: Array, elevation_deg: Array) -> Array:
    """Unit vectors of directions in degrees. Shape: [..., 3]."""
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=-1)
