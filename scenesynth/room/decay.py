"""The energy decay of a shoebox, and the absorption that gives a wanted T60.

Images have uniform density 1 / V, so 4 pi c / V of unit energy arrive per second; along a path of
length c t in direction u the walls of axis d are hit c t |u_d| / L_d times, alternately. Hence

    E(t) = (4 pi c / V) < exp(-r(u) t) >_u
    r(u) = c m - c sum_d (|u_d| / L_d) ln((1 - a_d0) (1 - a_d1)) / 2

with m the energy attenuation of air. Sabine and Eyring assume that all directions decay alike; a
specular shoebox does not, and they miss its T60 by 18 to 39 %. Low bands decay more slowly still,
by a third at 125 Hz: `grazing` adds what long waves do along walls.

"T60" is what a measurement calls T30 here: 60 dB at the regression slope of the decay curve between
-5 and -35 dB, of an octave filter, which lets some of the neighbouring bands through. It is that of
the mean energy over the places of people. One response scatters about it, by 14 % (standard
deviation) at 250 Hz and 5 % at 8 kHz in rooms of 100 m3: few modes are left at -35 dB. Valid for
specular walls with angle-independent absorption.
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

STEEPEST = 1.2
"""Most by which a band's absorption makes up for what its neighbours leak into its measurement."""

MET = 0.002
"""Relative error of a T60 that counts as met."""

MARGIN_S = 0.05
"""What follows the last direct sound in a room without echoes: the ringing of the high-pass."""


def predicted_t60_s(
    size_m: Vector,
    absorption: ArrayLike,
    attenuation_per_m: ArrayLike,
    speed_of_sound_mps: float,
    band_hz: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """T60 per octave band (T30 regression) that a measurement in this room will find on average.

    Args:
        absorption: Shape: [6, bands].
        attenuation_per_m: energy attenuation of air. Shape: [bands].
        band_hz: centres of the octave bands; by default waves are infinitely short, which leaves
            out that low bands decay more slowly.

    Returns:
        Seconds. Shape: [bands].
    """
    from scenesynth.room import decay_kernels  # numba takes long; reading a recipe needs none of it

    air = np.array(attenuation_per_m, dtype=np.float64)
    centres = np.full(len(air), np.inf) if band_hz is None else band_hz
    mixture = decay_kernels.mixtures(len(air))
    return _predict(size_m, absorption, air, speed_of_sound_mps, centres, mixture)


def _predict(
    size_m: Vector,
    absorption: ArrayLike,
    attenuation_per_m: ArrayLike,
    speed_of_sound_mps: float,
    band_hz: ArrayLike,
    mixture: NDArray[np.float64],
) -> NDArray[np.float64]:
    from scenesynth.room import decay_kernels

    t60_s = np.empty(len(mixture))
    decay_kernels.predict(
        np.array(size_m, dtype=np.float64),
        np.array(absorption, dtype=np.float64, order="C"),
        np.array(attenuation_per_m, dtype=np.float64),
        float(speed_of_sound_mps),
        np.array(band_hz, dtype=np.float64),
        mixture,
        decay_kernels.tables(),
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

    Each wall's absorption is a common scale times its weight, at most 0.99; the scales are those
    whose `predicted_t60_s` is wanted. A measured band holds some of its neighbours: where they ask
    for longer times, its absorption makes up for them by `STEEPEST` at most, and what is measured
    lies between (`predicted_t60_s` says where).

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

    weights = _checked_weights(wall_weights)
    target = np.array(t60_s, dtype=float)
    if target.shape != (len(band_hz),) or not (np.isfinite(target) & (target > 0)).all():
        raise ValueError(f"rt60_s = {t60_s}; must be {len(band_hz)} positive numbers, one per band")
    attenuation = energy_attenuation_per_m(np.array(band_hz), air)
    scale = _first_guess(size_m, target, attenuation, air.speed_of_sound_mps) / weights.mean()
    ends = _scale_limits(weights)
    limits = np.outer(ends, np.ones(len(target)))
    scale = np.clip(scale, *limits)
    found_s, slopes = np.empty(len(target)), np.zeros(len(target))
    for mixture in (decay_kernels.alone(len(target)), decay_kernels.mixtures(len(target))):
        decay_kernels.solve(
            np.array(size_m, dtype=np.float64),
            weights,
            attenuation,
            float(air.speed_of_sound_mps),
            np.array(band_hz, dtype=np.float64),
            mixture,
            decay_kernels.tables(),
            target,
            limits,
            scale,
            slopes,
            found_s,
        )
        if (np.abs(found_s / target - 1) > MET).any():
            _check_reachable(size_m, target, band_hz, air, weights)
        limits = np.clip(np.outer([1 / STEEPEST, STEEPEST], scale), *ends)
    walls = np.minimum(np.outer(weights, scale), decay_kernels.MAX_ABSORPTION)
    return tuple(tuple(float(a) for a in wall) for wall in walls)


def reachable_t60_s(
    size_m: Vector,
    band_hz: Sequence[float],
    air: Air,
    wall_weights: Sequence[float] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shortest and longest T60 per band that `absorption_for_t60` can give. Shapes: [bands]."""
    from scenesynth.room import decay_kernels

    weights = _checked_weights(wall_weights)
    attenuation = energy_attenuation_per_m(np.array(band_hz), air)
    longest, shortest = (
        _predict(
            size_m,
            np.outer(
                np.minimum(weights * scale, decay_kernels.MAX_ABSORPTION), np.ones_like(attenuation)
            ),
            attenuation,
            air.speed_of_sound_mps,
            band_hz,
            decay_kernels.alone(len(band_hz)),
        )
        for scale in _scale_limits(weights)
    )
    return shortest, longest


def _checked_weights(wall_weights: Sequence[float] | None) -> NDArray[np.float64]:
    weights = np.ones(len(WALLS)) if wall_weights is None else np.array(wall_weights, dtype=float)
    if weights.shape != (len(WALLS),) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"wall_weights = {wall_weights}; must be six positive numbers")
    return weights


def _scale_limits(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales at which the walls absorb least, and all of them most. Shape: [2]."""
    from scenesynth.room import decay_kernels

    return np.array([MIN_ABSORPTION / weights.mean(), decay_kernels.MAX_ABSORPTION / weights.min()])


def _first_guess(
    size_m: Vector,
    t60_s: NDArray[np.float64],
    attenuation_per_m: NDArray[np.float64],
    speed_of_sound_mps: float,
) -> NDArray[np.float64]:
    """Mean absorption of the wanted T60, to about a quarter: Eyring's, and some 30 % more."""
    rate = 6 * math.log(10) / (speed_of_sound_mps * t60_s) - attenuation_per_m
    per_wall = 2.6 * np.maximum(rate, 1e-3) / sum(1 / length for length in size_m)
    guess: NDArray[np.float64] = -np.expm1(-per_wall)
    return guess


def _check_reachable(
    size_m: Vector,
    target: NDArray[np.float64],
    band_hz: Sequence[float],
    air: Air,
    weights: NDArray[np.float64],
) -> None:
    shortest, longest = reachable_t60_s(size_m, band_hz, air, tuple(weights))
    for n, band in enumerate(band_hz):
        if not shortest[n] <= target[n] <= longest[n]:
            raise UnreachableT60Error(
                f"rt60_s = {target[n]:g} s at {band:g} Hz cannot be reached in a room of "
                f"{' x '.join(f'{length:g}' for length in size_m)} m: it reaches "
                f"{shortest[n]:.3g} to {longest[n]:.3g} s in that band; choose "
                f"another T60 (or one per octave band) or another room"
            )


def octant_directions() -> NDArray[np.float64]:
    """Directions at which `late_covariance` asks for harmonics and source power. Shape: [n, 3].

    They lie in the octant of positive x, y and z, the last ones in its planes and axes: the room is
    symmetric about the other seven.
    """
    from scenesynth.room import decay_kernels

    return np.ascontiguousarray(decay_kernels.nodes(decay_kernels.LATE_NODES)[0].T)


def late_covariance(
    size_m: Vector,
    absorption: ArrayLike,
    attenuation_per_m: ArrayLike,
    speed_of_sound_mps: float,
    times_s: ArrayLike,
    harmonics: ArrayLike,
    source_power: ArrayLike | None = None,
    *,
    band_hz: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """Power and directional covariance of the late field per second, in the room's frame.

    (4 pi c / V) < Y_i(u) Y_j(u) G(u) exp(-c m t) f_x f_y f_z >_u over all directions u, with
    f_d the energy that the walls of axis d leave over c t |u_d| / L_d lengths of the room: linear
    between whole numbers n, where it is that of the images n, mean of both sides. For sources and
    listeners that may be anywhere this is exact; exp(-r(u) t) above is its limit for live walls.
    Where walls are dead it has many decibels less, and a steeper slope.

    Long waves graze walls, which makes low bands decay more slowly, the more in the directions that
    graze (see `grazing`).

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
        band_hz: centres of the bands; by default waves are infinitely short.

    Returns:
        Shape: [bands, times, K, K] with K = (order + 1)^2.
    """
    from scenesynth.room import decay_kernels, grazing

    gains = np.asarray(harmonics, dtype=np.float64)
    first, second = even_pairs(gains.shape[1])
    walls = np.array(absorption, dtype=np.float64, order="C")
    times = np.array(times_s, dtype=np.float64)
    moments = np.empty((walls.shape[1], len(first), len(times)))
    power = np.ones((walls.shape[1], len(gains))) if source_power is None else source_power
    short = np.full(walls.shape[1], np.inf)
    decay_kernels.late_moments(
        np.array(size_m, dtype=np.float64),
        walls,
        np.array(attenuation_per_m, dtype=np.float64),
        float(speed_of_sound_mps),
        short if band_hz is None else np.array(band_hz, dtype=np.float64),
        (*decay_kernels.nodes(decay_kernels.LATE_NODES), grazing.fresnel_table()),
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


def response_length_s(room: Room, air: Air) -> float:
    """Length of a response that shows the room's whole decay.

    The largest predicted T60 over the bands, so the slowest band has fallen by about 60 dB at the
    end (a curved decay by a little less) and T30 is free of truncation; never shorter than the
    room's diagonal takes, so that the direct sound of any pair of places is in it. Images grow
    with the cube of this.
    """
    diagonal_s = math.hypot(*room.size_m) / air.speed_of_sound_mps
    return max(float(room_t60_s(room, air).max()), diagonal_s + MARGIN_S)


@lru_cache(maxsize=16)
def room_t60_s(room: Room, air: Air) -> NDArray[np.float64]:
    """`predicted_t60_s` of a shoebox, read-only. Shape: [bands]."""
    attenuation = energy_attenuation_per_m(np.array(room.band_hz), air)
    t60_s = predicted_t60_s(
        room.size_m, room.absorption, attenuation, air.speed_of_sound_mps, room.band_hz
    )
    t60_s.setflags(write=False)
    return t60_s
