"""Slow, obvious image sources in float64: the exact band-limited sum in the frequency domain.

Images are listed in Allen and Berkley's form (parity and lattice index per axis), harmonics come
from scipy's associated Legendre functions, and every image is a phase at every frequency. Hashes
are worked out in Python's whole numbers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image source.

    Attributes:
        vector: from the listener.
        factor: amplitude reflection factor per band.
        emission: unit vector along which its sound left the source.
        index: per axis, its size the number of reflections.
    """

    vector: NDArray[np.float64]
    factor: NDArray[np.float64]
    emission: NDArray[np.float64]
    index: tuple[int, int, int]


def images(room: Room, source_m: Vector, listener_m: Vector, radius_m: float) -> list[Image]:
    """All images within `radius_m` of the listener."""
    reflection = np.sqrt(1 - np.array(room.absorption))
    axes = []
    for d, length in enumerate(room.size_m):
        reach = math.ceil(radius_m / (2 * length)) + 1
        entries = []
        for parity, m in itertools.product((0, 1), range(-reach, reach + 1)):
            offset = (1 - 2 * parity) * source_m[d] + 2 * m * length - listener_m[d]
            factor = reflection[2 * d] ** abs(m - parity) * reflection[2 * d + 1] ** abs(m)
            entries.append((offset, factor, parity, 2 * m - parity))
        axes.append(entries)
    out = []
    for triple in itertools.product(*axes):
        offset, factor, parity, index = zip(*triple, strict=True)
        vector = np.array(offset)
        distance = np.linalg.norm(vector)
        if distance <= radius_m:
            unfolded = -vector / distance  # from the image to the listener, mirrored back
            out.append(
                Image(
                    vector=vector,
                    factor=np.prod(factor, axis=0),
                    emission=np.where(np.array(parity) == 1, -unfolded, unfolded),
                    index=index,
                )
            )
    return out


def displaced_share(index: tuple[int, int, int], seed: int) -> float:
    """Part of the displacement that an image has, in [0, 1)."""
    if sum(map(abs, index)) < 3:
        return 0.0
    multipliers = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
    x = seed
    for n, multiplier in zip(index, multipliers, strict=True):
        x ^= (n % 2**32) * multiplier % 2**32
    x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
    x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
    return (x ^ x >> 16) / 2**32


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
    directivity: NDArray[np.float64] | None = None,
    front: Vector = (1.0, 0.0, 0.0),
    displacement_m: float = 0.0,
    seed: int = 0,
    fade_m: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """Response without a high-pass. Shape: [(order + 1)^2, samples].

    Args:
        directivity: polynomial in the cosine to the front, a unit vector. Shape: [bands, 5].
        displacement_m: images of three reflections and more arrive from up to this farther away.
        fade_m: distances between which power falls linearly to nothing.
    """
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
    for image in images(room, source_m, listener_m, radius_m):
        distance = float(np.linalg.norm(image.vector))
        bands = image.factor[: len(band_hz)] * np.exp(-attenuation_per_m * distance / 2) / distance
        if directivity is not None:
            cosine = float(image.emission @ np.array(front))
            bands *= [sum(c * cosine**p for p, c in enumerate(row)) for row in directivity]
        if fade_m is not None:
            bands *= math.sqrt(min(1, max(0, (fade_m[1] - distance) / (fade_m[1] - fade_m[0]))))
        path = distance + displacement_m * displaced_share(image.index, seed)
        phase = np.exp(-2j * np.pi * freq_hz * path / air.speed_of_sound_mps)
        gains = harmonics(rotation.T @ image.vector / distance, order)
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
