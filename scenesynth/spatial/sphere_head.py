"""A rigid sphere with two points for ears: a head for any direction and rate, without a file.

The pressure on a rigid sphere of radius a in a plane wave is known (Duda and Martens, "Range
dependence of the response of a spherical head model", J. Acoust. Soc. Am. 104, 1998, in the limit
of a distant source). With mu = 2 pi f a / c and t the angle between the wave's direction and the
point, relative to the free field at the centre, and delays as exp(-i omega tau),

    H(mu, t) = (-i / mu^2) sum_m i^m (2 m + 1) P_m(cos t) / h_m'(mu),   h_m = j_m - i y_m.

H depends on nothing but t: it is tabulated each half degree, advanced by the sphere's geometric
delay (Woodworth: -cos(t) a/c on the near side, (t - pi/2) a/c beyond), and interpolated by a
parabola through three angles. Left and right are the same numbers.

The response falls to zero between 0.9 and 1 times the Nyquist frequency. Its level is that of
measured heads: 0 dB in a diffuse field.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import scipy.special
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.spatial.head_grid import Grid, build_grid
from scenesynth.spatial.hrtf import (
    HEAD_RADIUS_M,
    LEVEL_BAND_HZ,
    SPEED_OF_SOUND,
    Interpolation,
    diffuse_gain,
)

EAR_AZIMUTH_DEG: Final = 100.0
RADIUS_M: Final = (0.05, 0.15)
MODEL: Final = "rigid sphere 1"
"""Part of the digest: changes whenever the responses do."""

_STEP_DEG = 0.5
_LENGTH_S = 0.010


@dataclass(frozen=True, eq=False, kw_only=True)
class SphereHead:
    """A rigid sphere of `radius_m`, ears at 100 degrees left and right."""

    radius_m: float = HEAD_RADIUS_M
    sample_rate: int = 48000

    @property
    def id(self) -> str:
        """ "sphere", or "sphere:RADIUS" where it is not the usual one."""
        return "sphere" if self.radius_m == HEAD_RADIUS_M else f"sphere:{self.radius_m:g}"

    @property
    def digest(self) -> str:
        """Of the model and its numbers."""
        text = f"{MODEL}, radius {self.radius_m!r} m, ears at {EAR_AZIMUTH_DEG!r} degrees"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def n_taps(self) -> int:
        """Samples by which the responses have died away."""
        return math.ceil(_LENGTH_S * self.sample_rate)

    @property
    def start_s(self) -> float:
        """Time of the first tap of `hrir`."""
        return -(self.n_taps // 3) / self.sample_rate

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """Directions all around, mirror images of each other, for those who need a set of them.

        Rings five degrees apart, with about as much between the directions of a ring. Shape: [n, 3]
        """
        return _rings(5)

    @cached_property
    def grid(self) -> Grid:
        """Mesh of `directions`."""
        return build_grid(self.directions)

    @cached_property
    def delay_s(self) -> NDArray[np.float64]:
        """Geometric delay at each ear from time 0, for `directions`. Shape: [n, 2]."""
        return self.interpolation(self.directions).delay_s

    def at_rate(self, sample_rate: int) -> SphereHead:
        """The sphere at another rate."""
        return self if sample_rate == self.sample_rate else replace(self, sample_rate=sample_rate)

    def aligned_spectra(self, n_fft: int) -> NDArray[np.complex128]:
        """Spectra at each half degree, advanced by the geometric delay. Shape: [angles, bins]."""
        angle = _angles()
        freq_hz = np.arange(n_fft // 2 + 1, dtype=np.float64) * (self.sample_rate / n_fft)
        spectra = sphere_response(angle, freq_hz, self.radius_m)
        early = np.exp(2j * np.pi * freq_hz * self._delay_s(angle)[:, None])
        edge = np.clip((freq_hz * 2 / self.sample_rate - 0.9) / 0.1, 0.0, 1.0)
        gain = _sphere_gain(self.radius_m) * np.cos(np.pi / 2 * edge) ** 2
        return np.asarray(spectra * early * gain)

    def interpolation(self, directions: NDArray[np.float64]) -> Interpolation:
        """Neighbouring angles, weights and onsets of directions. Shape of `directions`: [n, 3]."""
        ear = math.radians(EAR_AZIMUTH_DEG)
        front = directions[:, 0] * math.cos(ear)
        side = directions[:, 1] * math.sin(ear)
        cosine = np.stack([front + side, front - side], axis=1)
        angle = np.arccos(np.clip(cosine, -1.0, 1.0))
        place = angle / math.radians(_STEP_DEG)
        middle = np.clip(np.round(place), 1, len(_angles()) - 2)
        x = place - middle
        return Interpolation(
            rows=middle.astype(np.int64)[:, :, None] + np.arange(-1, 2),
            weights=np.stack([x * (x - 1) / 2, (1 - x) * (1 + x), x * (x + 1) / 2], axis=2),
            delay_s=self._delay_s(angle),
        )

    def _delay_s(self, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        turn = np.where(angle < np.pi / 2, -np.cos(angle), angle - np.pi / 2)
        return np.asarray(turn * (self.radius_m / SPEED_OF_SOUND))


def parse_sphere(id: str) -> SphereHead:
    """The head that "sphere" or "sphere:RADIUS" names, the radius in metres.

    Raises:
        ConfigError: another radius than a head can have.
    """
    _, colon, text = id.partition(":")
    if not colon:
        return SphereHead()
    try:
        radius_m = float(text)
    except ValueError:
        radius_m = math.nan
    if not RADIUS_M[0] <= radius_m <= RADIUS_M[1]:
        raise ConfigError(
            f"head {id!r}: the radius must lie in [{RADIUS_M[0]}, {RADIUS_M[1]}] metres, as in "
            f"sphere:0.09"
        )
    return SphereHead(radius_m=radius_m)


def sphere_response(
    angle: NDArray[np.float64], freq_hz: NDArray[np.float64], radius_m: float
) -> NDArray[np.complex128]:
    """Pressure on a rigid sphere relative to the free field at its centre.

    Args:
        angle: between the wave's direction and the point, in radians. Shape: [angles].
        freq_hz: Shape: [frequencies].

    Returns:
        Shape: [angles, frequencies].
    """
    mu = 2 * np.pi * np.maximum(freq_hz, 1e-3) * radius_m / SPEED_OF_SOUND
    n_orders = math.ceil(mu.max() + 4 * mu.max() ** (1 / 3) + 12)
    order = np.arange(n_orders)[:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        slope = scipy.special.spherical_jn(order, mu, True) - 1j * scipy.special.spherical_yn(
            order, mu, True
        )
    # Where h' overflows, the order adds nothing.
    slope[~(np.abs(slope) < 1e200)] = np.inf
    parts = (1j**order) * (2 * order + 1) / slope
    legendre = scipy.special.eval_legendre(order, np.cos(angle))
    return np.asarray(-1j / mu**2 * (legendre.T @ parts))


@lru_cache(maxsize=8)
def _sphere_gain(radius_m: float) -> float:
    """Gain that makes the level in a diffuse field 0 dB, whatever the rate."""
    angle = (np.arange(180) + 0.5) * np.pi / 180
    freq_hz = np.arange(LEVEL_BAND_HZ[0], LEVEL_BAND_HZ[1] + 1, 20.0)
    power = np.abs(sphere_response(angle, freq_hz, radius_m)) ** 2
    return diffuse_gain(np.average(power, axis=0, weights=np.sin(angle)), freq_hz)


def _angles() -> NDArray[np.float64]:
    return np.asarray(np.radians(np.arange(round(180 / _STEP_DEG) + 1) * _STEP_DEG))


def _rings(step_deg: int) -> NDArray[np.float64]:
    points = []
    for elevation_deg in range(-90, 91, step_deg):
        elevation = math.radians(elevation_deg)
        n = max(1, round(360 / step_deg * math.cos(elevation)))
        for k in range(n):
            half = min(k, n - k)
            azimuth = 2 * math.pi * half / n
            side = math.sin(azimuth) if 0 < half < n / 2 else 0.0
            sign = 1.0 if k <= n / 2 else -1.0
            flat = math.cos(elevation) if abs(elevation_deg) < 90 else 0.0
            points.append((math.cos(azimuth) * flat, sign * side * flat, math.sin(elevation)))
    return np.array(points)
