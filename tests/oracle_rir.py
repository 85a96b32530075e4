"""Slow, obvious image sources in float64: the exact band-limited sum in the frequency domain.

Images are listed in Allen and Berkley's form (parity and lattice index per axis), harmonics come
from scipy's associated Legendre functions, and every image is a phase at every frequency.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import lpmv

from scenesynth.room.model import Air, Room, Vector


def harmonics(u: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """ACN SN3D by textbook formula. Shape: [(order + 1)^2]."""
    azimuth = math.atan2(u[1], u[0])
    out = []
    for degree in range(order + 1):
        for m in range(-degree, degree + 1):
            k = abs(m)
            norm = math.sqrt(
                (1 if k == 0 else 2) * math.factorial(degree - k) / math.factorial(degree + k)
            )
            legendre = (-1) ** k * lpmv(k, degree, u[2])  # scipy carries Condon-Shortley's phase
            angle = math.cos(k * azimuth) if m >= 0 else math.sin(k * azimuth)
            out.append(norm * legendre * angle)
    return np.array(out)


def images(
    room: Room, source_m: Vector, listener_m: Vector, radius_m: float
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Vector from the listener and amplitude reflection factor per band, of every image."""
    reflection = np.sqrt(1 - np.array(room.absorption))
    axes = []
    for d, length in enumerate(room.size_m):
        reach = math.ceil(radius_m / (2 * length)) + 1
        entries = []
        for parity, m in itertools.product((0, 1), range(-reach, reach + 1)):
            offset = (1 - 2 * parity) * source_m[d] + 2 * m * length - listener_m[d]
            factor = reflection[2 * d] ** abs(m - parity) * reflection[2 * d + 1] ** abs(m)
            entries.append((offset, factor))
        axes.append(entries)
    out = []
    for (x, a), (y, b), (z, c) in itertools.product(*axes):
        vector = np.array([x, y, z])
        if np.linalg.norm(vector) <= radius_m:
            out.append((vector, a * b * c))
    return out


def octave_weights(freq_hz: NDArray[np.float64], band_hz: tuple[float, ...]) -> NDArray[np.float64]:
    """Raised cosines one octave to either side; the outer bands reach to the ends."""
    out = np.zeros((len(band_hz), len(freq_hz)))
    for n, f in enumerate(freq_hz):
        place = 0.0 if f <= band_hz[0] else min(math.log2(f / band_hz[0]), len(band_hz) - 1)
        for b in range(len(band_hz)):
            if abs(place - b) < 1:
                out[b, n] = 0.5 * (1 + math.cos(math.pi * abs(place - b)))
    return out


def oracle_rir(
    *,
    room: Room,
    air: Air,
    source_m: Vector,
    listener_m: Vector,
    rotation: NDArray[np.float64],
    order: int,
    sample_rate: int,
    length_s: float,
    attenuation_per_m: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Response without a high-pass. Shape: [(order + 1)^2, samples]."""
    n_samples = round(length_s * sample_rate)
    n_fft = 4 * n_samples
    freq_hz = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    nyquist = sample_rate / 2
    edge = np.array(
        [math.sin(math.pi / 2 * min(1, max(0, (1 - f / nyquist) / 0.05))) ** 2 for f in freq_hz]
    )
    band_hz = tuple(band for band in room.band_hz if band < nyquist)
    weights = octave_weights(freq_hz, band_hz)
    spectra = np.zeros(((order + 1) ** 2, len(freq_hz)), dtype=complex)
    radius_m = n_samples / sample_rate * air.speed_of_sound_mps
    for vector, factor in images(room, source_m, listener_m, radius_m):
        distance = float(np.linalg.norm(vector))
        bands = factor[: len(band_hz)] * np.exp(-attenuation_per_m * distance / 2) / distance
        phase = np.exp(-2j * np.pi * freq_hz * distance / air.speed_of_sound_mps)
        gains = harmonics(rotation.T @ vector / distance, order)
        spectra += gains[:, None] * (bands @ weights * phase)
    return np.fft.irfft(spectra * edge, n=n_fft, axis=1)[:, :n_samples]


def error_db(
    got: NDArray[np.float64], want: NDArray[np.float64], sample_rate: int, top_hz: float
) -> float:
    """Energy of the difference below `top_hz` over that of `want`, in dB."""
    n_fft = 2 * want.shape[-1]
    keep = np.arange(n_fft // 2 + 1) * sample_rate / n_fft <= top_hz
    difference = np.fft.rfft(got - want, n=n_fft, axis=-1)[..., keep]
    reference = np.fft.rfft(want, n=n_fft, axis=-1)[..., keep]
    return float(10 * np.log10(np.sum(np.abs(difference) ** 2) / np.sum(np.abs(reference) ** 2)))
