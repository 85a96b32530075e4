"""Rigid spheres by theory, a measured head on a full grid, and what mixers are judged by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.special import spherical_jn, spherical_yn

from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.grids import sphere_grid
from scenesynth.spatial.mixers import Mixer

Array = NDArray[np.floating]

C = 343.0
ARRAY_RADIUS_M = 0.042


def units(angles_deg: Array) -> NDArray[np.float64]:
    """Unit vectors of azimuth and elevation. Shapes: [n, 2], [n, 3]."""
    azimuth, elevation = np.radians(np.asarray(angles_deg, dtype=float).T)
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)


TETRAHEDRON = units(np.array([(45, 35), (-45, -35), (135, -35), (-135, 35)]))
EARS = units(np.array([(100, 0), (-100, 0)]))


def random_directions(n: int, seed: int = 0) -> NDArray[np.float64]:
    vectors = np.random.default_rng(seed).standard_normal((n, 3))
    return vectors / np.linalg.norm(vectors, axis=1)[:, None]


def rigid_sphere(
    points: Array, directions: Array, freq_hz: Array, radius_m: float
) -> NDArray[np.complex128]:
    """Pressure at points of a rigid sphere for plane waves, by its modes: [n, points, f].

    1 / (ka)^2 sum_n i^(n-1) / h_n'(ka) (2n + 1) P_n(cos), with Hankel functions of the second kind.
    """
    ka = 2 * np.pi * freq_hz[1:] * radius_m / C
    cosines = directions @ points.T
    pressure = np.ones((*cosines.shape, len(freq_hz)), dtype=complex)
    pressure[..., 1:] = 0
    before, legendre = np.zeros_like(cosines), np.ones_like(cosines)
    for n in range(int(ka[-1]) + 12):
        with np.errstate(over="ignore", invalid="ignore"):
            slope = spherical_jn(n, ka, True) - 1j * spherical_yn(n, ka, True)
            mode = 1j ** (n - 1) / slope * (2 * n + 1) / ka**2
        pressure[..., 1:] += legendre[..., None] * np.where(np.isfinite(mode), mode, 0)
        before, legendre = legendre, ((2 * n + 1) * cosines * legendre - n * before) / (n + 1)
    return pressure


@dataclass(frozen=True)
class Responses:
    """What a mixer is designed from."""

    spectra: NDArray[np.complex128]
    directions: NDArray[np.float64]
    weights: NDArray[np.float64]
    freq_hz: NDArray[np.float64]

    @property
    def n_fft(self) -> int:
        return 2 * (len(self.freq_hz) - 1)

    @property
    def design(self) -> tuple[NDArray[np.complex128], Array, Array, Array]:
        """The arguments of `design_mixer`."""
        return self.spectra, self.directions, self.weights, self.freq_hz

    @cached_property
    def covariance(self) -> NDArray[np.complex128]:
        """In a diffuse field. Shape: [f, channels, channels]."""
        return np.einsum(
            "ncf,n,ndf->fcd", self.spectra, self.weights, self.spectra.conj(), optimize=True
        )


def sphere_responses(
    points: Array, radius_m: float, sample_rate: int = 48000, n_fft: int = 512, order: int = 20
) -> Responses:
    """A rigid sphere's, on a full grid."""
    directions, weights = sphere_grid(order)
    freq_hz = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    spectra = rigid_sphere(points, directions, freq_hz, radius_m)
    return Responses(spectra, directions, weights, freq_hz)


def head_responses(path: Path, n_fft: int = 1024, order: int = 20) -> Responses:
    """A measured set on a full grid: onsets and aligned responses interpolated in triangles.

    The time origin is the mean onset in the median plane, where both ears are as far from a wave
    as the head's centre is.
    """
    with h5py.File(path) as file:
        irs = np.asarray(file["Data.IR"][:], dtype=float)
        measured = units(file["SourcePosition"][:, :2])
        freq_hz = np.fft.rfftfreq(n_fft, 1 / float(file["Data.SamplingRate"][0]))
    fine = 10
    dense = np.abs(np.fft.irfft(np.fft.rfft(irs), irs.shape[-1] * fine))
    found = dense > 10 ** (-15 / 20) * dense.max(axis=-1, keepdims=True)
    onset = np.argmax(found, axis=-1) / fine
    centre = onset[np.abs(measured[:, 1]) < 1e-3].mean()
    turn = 2j * np.pi * np.arange(len(freq_hz)) / n_fft
    aligned = np.fft.rfft(irs, n_fft) * np.exp(turn * onset[..., None])
    directions, weights = sphere_grid(order)
    corners, shares = barycentric(measured, directions)
    delay = np.einsum("qi,qic->qc", shares, onset[corners]) - centre
    spectra = np.einsum("qi,qicf->qcf", shares, aligned[corners])
    return Responses(spectra * np.exp(-turn * delay[..., None]), directions, weights, freq_hz)


def barycentric(points: Array, wanted: Array) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Triangle of the convex hull that each direction falls into, and its corners' shares."""
    triangles = ConvexHull(points).simplices
    inverse = np.linalg.inv(np.swapaxes(points[triangles], 1, 2))
    shares = np.einsum("tij,qj->qti", inverse, wanted)
    best = np.argmax(shares.min(axis=2), axis=1)
    chosen = np.maximum(shares[np.arange(len(wanted)), best], 0)
    return triangles[best], chosen / chosen.sum(axis=1, keepdims=True)


def filter_spectra(filters: Array, lead: int, n_fft: int) -> NDArray[np.complex128]:
    """Spectra of filters with their time zero. Shape: [..., f]."""
    phase = 2j * np.pi * np.arange(n_fft // 2 + 1) * lead / n_fft
    return np.fft.rfft(np.asarray(filters, dtype=float), n_fft) * np.exp(phase)


def plane_waves(mixer: Mixer, directions: Array, n_fft: int) -> NDArray[np.complex128]:
    """What a mixer makes of plane waves. Shape: [n, channels, f]."""
    filters = filter_spectra(mixer.filters, mixer.lead, n_fft)
    gains = spherical_harmonics(directions, mixer.order)
    return np.einsum("nk,ckf->ncf", gains, filters, optimize=True)


def diffuse_error(mixer: Mixer, true: Responses) -> tuple[float, float]:
    """Largest errors of coherence and of level in dB in a diffuse field, 100 Hz to 0.9 Nyquist."""
    filters = filter_spectra(mixer.filters, mixer.lead, true.n_fft)
    power = 1 / (2 * np.floor(np.sqrt(np.arange(filters.shape[1]))) + 1)
    own = np.einsum("ckf,k,dkf->fcd", filters, power, filters.conj(), optimize=True)
    judged = (true.freq_hz >= 100) & (true.freq_hz <= 0.9 * true.freq_hz[-1])
    (own_level, own_coherence), (level, coherence) = (
        _levels_and_coherence(m[judged]) for m in (own, true.covariance)
    )
    return (
        float(np.abs(own_coherence - coherence).max()),
        float(np.abs(10 * np.log10(own_level / level)).max()),
    )


def _levels_and_coherence(
    covariance: NDArray[np.complex128],
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    levels = np.einsum("fcc->fc", covariance).real
    return levels, covariance / np.sqrt(levels[:, :, None] * levels[:, None, :])


def erb_error_db(ears: NDArray[np.complex128], true: Responses) -> float:
    """Mean |level error| in ERB bands 0.2 to 16 kHz, over the sphere and both ears.

    Bands of one on the ERB-number scale of Glasberg and Moore (1990), 21.4 lg(1 + 0.00437 f).
    """
    number = 21.4 * np.log10(1 + 0.00437 * true.freq_hz)
    first, last = 21.4 * np.log10(1 + 0.00437 * np.array([200.0, 16000.0]))
    starts = np.arange(first, last - 0.999)
    bands = ((number >= starts[:, None]) & (number < starts[:, None] + 1)).astype(float)
    bands = bands[bands.any(axis=1)]
    own, wanted = (10 * np.log10(np.abs(s) ** 2 @ bands.T) for s in (ears, true.spectra))
    return float(true.weights @ np.abs(own - wanted).mean(axis=(1, 2)))


def itd_error_us(
    ears: NDArray[np.complex128], true: Responses, equaliser: NDArray[np.complex128]
) -> float:
    """Mean |error| of the interaural cross-correlation's peak below 1.5 kHz, over the sphere."""
    low = true.freq_hz < 1500
    own, wanted = (_itd_s(s / equaliser * low, true.freq_hz) for s in (ears, true.spectra))
    return float(true.weights @ np.abs(own - wanted)) * 1e6


def _itd_s(ears: NDArray[np.complex128], freq_hz: Array) -> NDArray[np.float64]:
    fine = 8
    n = 2 * (len(freq_hz) - 1) * fine
    step_s = 1 / (2 * freq_hz[-1] * fine)
    reach = round(1.2e-3 / step_s)
    correlation = np.fft.irfft(ears[:, 0] * ears[:, 1].conj(), n)
    correlation = np.roll(correlation, reach, axis=1)[:, : 2 * reach + 1]
    peak = np.clip(np.argmax(correlation, axis=1), 1, 2 * reach - 1)
    before, at, after = (correlation[np.arange(len(peak)), peak + i] for i in (-1, 0, 1))
    bend = before - 2 * at + after
    return (peak - reach + 0.5 * (before - after) / np.where(bend == 0, 1, bend)) * step_s
