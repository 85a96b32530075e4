"""Closed-form energy decay of a shoebox, and the absorption that gives a wanted T60.

Images have uniform density 1 / V, so 4 pi c / V of unit energy arrive per second; along a path of
length c t in direction u the walls of axis d are hit c t |u_d| / L_d times, alternately. Hence

    E(t) = (4 pi c / V) < exp(-r(u) t) >_u
    r(u) = c m - c sum_d (|u_d| / L_d) ln((1 - a_d0) (1 - a_d1)) / 2

with m the energy attenuation of air. Backward integration (Schroeder) is exact under the mean:
exp(-r t) / r. Sabine and Eyring assume that all directions decay alike; a specular shoebox does
not, and they miss its T60 by 18 to 39 %.

"T60" is what a measurement calls T30 here: 60 dB at the regression slope of the decay curve
between -5 and -35 dB. Valid for specular walls with angle-independent absorption.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenesynth.errors import UnreachableT60Error
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import WALLS, Air, Room, Vector

MIN_ABSORPTION = 0.005
"""Least mean absorption of the inversion: below that no real room is."""

MARGIN_S = 0.05
"""What follows the last direct sound in a room without echoes: the ringing of the high-pass."""


def predicted_t60_s(
    size_m: Vector,
    absorption: ArrayLike,
    attenuation_per_m: ArrayLike,
    speed_of_sound_mps: float,
) -> NDArray[np.float64]:
    """T60 per band (T30 regression) that a measurement in this room will find on average.

    Args:
        absorption: Shape: [6, bands].
        attenuation_per_m: energy attenuation of air. Shape: [bands].

    Returns:
        Seconds. Shape: [bands].
    """
    from scenesynth.room import decay_kernels  # numba takes long; reading a recipe needs none of it

    walls = np.array(absorption, dtype=np.float64, order="C")
    air = np.array(attenuation_per_m, dtype=np.float64)
    t60_s = np.empty(len(air))
    decay_kernels.predict(
        np.array(size_m, dtype=np.float64),
        walls,
        air,
        float(speed_of_sound_mps),
        decay_kernels.grids(),
        t60_s,
    )
    return t60_s


def absorption_for_t60(
    size_m: Vector,
    t60_s: Sequence[float],
    band_hz: Sequence[float],
    air: Air,
    wall_weights: Sequence[float] | None = None,
) -> tuple[tuple[float, ...], ...]:
    """Absorption of six walls per band that gives the wanted T60s; air takes its share.

    Each wall's absorption is a common scale times its weight, at most 0.99; the scale is found by
    bracketed search on `predicted_t60_s`.

    Args:
        t60_s: one per band.
        wall_weights: relative absorption of the walls, order of `WALLS`; all equal by default.

    Returns:
        Absorption [6][bands].

    Raises:
        UnreachableT60Error: a T60 that no scale gives, with the band and the reachable range.
        ValueError: wrong lengths or values that are not positive.
    """
    from scenesynth.room import decay_kernels

    weights = np.ones(len(WALLS)) if wall_weights is None else np.array(wall_weights, dtype=float)
    target = np.array(t60_s, dtype=float)
    if weights.shape != (len(WALLS),) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"wall_weights = {wall_weights}; must be six positive numbers")
    if target.shape != (len(band_hz),) or not (np.isfinite(target) & (target > 0)).all():
        raise ValueError(f"rt60_s = {t60_s}; must be {len(band_hz)} positive numbers, one per band")
    attenuation = energy_attenuation_per_m(np.array(band_hz), air)

    least = np.full(len(target), MIN_ABSORPTION / weights.mean())
    most = np.full(len(target), decay_kernels.MAX_ABSORPTION / weights.min())

    def walls(scale: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.minimum(np.outer(weights, scale), decay_kernels.MAX_ABSORPTION)

    longest, shortest = (
        predicted_t60_s(size_m, walls(scale), attenuation, air.speed_of_sound_mps)
        for scale in (least, most)
    )
    _check_reachable(size_m, target, band_hz, shortest, longest)
    scale = np.empty(len(target))
    decay_kernels.solve(
        np.array(size_m, dtype=np.float64),
        weights,
        attenuation,
        float(air.speed_of_sound_mps),
        decay_kernels.grids(),
        target,
        np.stack([least, longest, most, shortest]),
        scale,
    )
    return tuple(tuple(float(a) for a in wall) for wall in walls(scale))


def octant_directions() -> NDArray[np.float64]:
    """Directions at which `late_covariance` asks for harmonics and source power. Shape: [n, 3].

    They lie in the octant of positive x, y and z: the room is symmetric about the other seven.
    """
    from scenesynth.room import decay_kernels

    return np.ascontiguousarray(decay_kernels.grids()[0].T)


def late_covariance(
    size_m: Vector,
    absorption: ArrayLike,
    attenuation_per_m: ArrayLike,
    speed_of_sound_mps: float,
    times_s: ArrayLike,
    harmonics: ArrayLike,
    source_power: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Power and directional covariance of the late field per second, in the room's frame.

    (4 pi c / V) < Y_i(u) Y_j(u) G(u) exp(-c m t) f_x f_y f_z >_u over all directions u, with
    f_d the energy that the walls of axis d leave over c t |u_d| / L_d lengths of the room: linear
    between whole numbers n, where it is that of the images n, mean of both sides. For sources and
    listeners that may be anywhere this is exact; exp(-r(u) t) above is its limit for live walls.
    Where walls are dead it has many decibels less, and a steeper slope.

    The field has the room's three mirror planes, so that what is odd in an axis vanishes:
    first-order channels are uncorrelated. The variance of a sample at time t is this over the
    sample rate.

    Args:
        absorption: Shape: [6, bands].
        attenuation_per_m: energy attenuation of air. Shape: [bands].
        times_s: after emission. Shape: [times].
        harmonics: of `octant_directions`, ACN order. Shape: [n, (order + 1)^2].
        source_power: power that the source sends towards `octant_directions`, mean over the eight
            mirror images of each; 1 everywhere by default. Shape: [bands, n].

    Returns:
        Shape: [bands, times, K, K] with K = (order + 1)^2.
    """
    from scenesynth.room import decay_kernels

    gains = np.asarray(harmonics, dtype=np.float64)
    first, second = even_pairs(gains.shape[1])
    walls = np.array(absorption, dtype=np.float64, order="C")
    times = np.array(times_s, dtype=np.float64)
    moments = np.empty((walls.shape[1], len(first), len(times)))
    power = np.ones((walls.shape[1], len(gains))) if source_power is None else source_power
    decay_kernels.late_moments(
        np.array(size_m, dtype=np.float64),
        walls,
        np.array(attenuation_per_m, dtype=np.float64),
        float(speed_of_sound_mps),
        decay_kernels.grids(),
        times,
        np.ascontiguousarray((gains[:, first] * gains[:, second]).T),
        np.array(power, dtype=np.float64, order="C"),
        moments,
    )
    covariance = np.zeros((walls.shape[1], len(times), gains.shape[1], gains.shape[1]))
    covariance[:, :, first, second] = moments.transpose(0, 2, 1)
    covariance[:, :, second, first] = moments.transpose(0, 2, 1)
    return covariance


@lru_cache(maxsize=8)
def even_pairs(n_channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of harmonics whose product is even in x, y and z; the first no later than the second.

    In ACN order the harmonic of degree l and order m is odd in z where l + m is, odd in y where
    m < 0, and cos(m az) or sin(|m| az) is odd in x where |m| is odd or even.
    """
    degree = np.repeat(np.arange(math.isqrt(n_channels)), 2 * np.arange(math.isqrt(n_channels)) + 1)
    m = np.arange(n_channels) - degree * (degree + 1)
    parity = np.stack([(np.abs(m) + (m < 0)) % 2, m < 0, (degree + m) % 2])
    even = (parity[:, :, None] == parity[:, None, :]).all(axis=0)
    first, second = np.nonzero(np.triu(even))
    return first, second


def _check_reachable(
    size_m: Vector,
    target: NDArray[np.float64],
    band_hz: Sequence[float],
    shortest: NDArray[np.float64],
    longest: NDArray[np.float64],
) -> None:
    for n, band in enumerate(band_hz):
        if not shortest[n] <= target[n] <= longest[n]:
            raise UnreachableT60Error(
                f"rt60_s = {target[n]:g} s at {band:g} Hz cannot be reached in a room of "
                f"{' x '.join(f'{length:g}' for length in size_m)} m: it reaches "
                f"{shortest[n]:.3g} to {longest[n]:.3g} s in that band; choose "
                f"another T60 (or one per octave band) or another room"
            )


def response_length_s(room: Room, air: Air) -> float:
    """Length of a response that shows the room's whole decay.

    The largest predicted T60 over the bands, so the slowest band has fallen by about 60 dB at the
    end (a curved decay by a little less) and T30 is free of truncation; never shorter than the
    room's diagonal takes, so that the direct sound of any pair of places is in it. Images grow
    with the cube of this.
    """
    attenuation = energy_attenuation_per_m(np.array(room.band_hz), air)
    t60 = predicted_t60_s(room.size_m, room.absorption, attenuation, air.speed_of_sound_mps)
    diagonal_s = math.hypot(*room.size_m) / air.speed_of_sound_mps
    return max(float(t60.max()), diagonal_s + MARGIN_S)
