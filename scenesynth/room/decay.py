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
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenesynth.errors import UnreachableT60Error
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import WALLS, Air, Room, Vector

MAX_ABSORPTION = 0.99
"""The inversion goes no further: beyond it lies hardly a wall."""

MIN_ABSORPTION = 0.005
"""Least mean absorption of the inversion: below that no real room is."""

FULL_ABSORPTION = 0.9999
"""Stands for 1 in the logarithm, so that an anechoic wall has a large but finite decay rate."""

MARGIN_S = 0.01
TOP_DB, BOTTOM_DB = -5.0, -35.0
_NODES = 12
_FIT_NODES = 8


@lru_cache(maxsize=1)
def _directions() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions over one octant and their weights (Gauss-Legendre in z and azimuth).

    Shapes: [n, 3] and [n]; weights sum to 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes, weights = (nodes + 1) / 2, weights / 2
    z, azimuth = np.meshgrid(nodes, nodes * np.pi / 2, indexing="ij")
    flat = np.sqrt(1 - z**2)
    u = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), z], axis=-1)
    return u.reshape(-1, 3), np.outer(weights, weights).ravel()


@lru_cache(maxsize=1)
def _fit_nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes on [-1, 1] and weights of the regression's integral. numpy solves for them anew."""
    return np.polynomial.legendre.leggauss(_FIT_NODES)


def decay_rates(
    size_m: Vector,
    absorption: ArrayLike,
    attenuation_per_m: ArrayLike,
    speed_of_sound_mps: float,
) -> NDArray[np.float64]:
    """Energy decay rate r(u) in 1/s of every direction of the octant grid, per band.

    Args:
        absorption: six walls (order of `WALLS`) by bands. Shape: [6, bands].
        attenuation_per_m: energy attenuation of air. Shape: [bands].

    Returns:
        Shape: [bands, directions].
    """
    directions, _ = _directions()
    walls = np.asarray(absorption, dtype=np.float64).reshape(3, 2, -1)
    loss = -0.5 * np.log1p(-np.minimum(walls, FULL_ABSORPTION)).sum(axis=1)
    per_metre = (directions / np.array(size_m)) @ loss + np.asarray(attenuation_per_m)
    rates: NDArray[np.float64] = speed_of_sound_mps * per_metre.T
    return rates


def t30_s(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """T60 by the T30 regression of decays with the given rates per direction.

    The decay curve is a mean of exponentials, so it is solved for -5 and -35 dB by Newton's method
    and its regression slope between them is integrated with Gauss-Legendre nodes.

    Args:
        rates: Shape: [bands, directions].

    Returns:
        Shape: [bands].
    """
    _, weights = _directions()
    share = weights / rates
    share /= share.sum(axis=1, keepdims=True)

    def level_db(t: NDArray[np.float64]) -> NDArray[np.float64]:
        """Decay curve at one time per band and column. Shape of `t`: [bands, n]."""
        return np.asarray(
            10 * np.log10(np.einsum("bd,bnd->bn", share, np.exp(-t[:, :, None] * rates[:, None])))
        )

    first, last = _time_of(share, rates, TOP_DB), _time_of(share, rates, BOTTOM_DB)
    nodes, node_weights = _fit_nodes()
    t = (first + last)[:, None] / 2 + np.outer(last - first, nodes) / 2
    # Least squares over a span s: slope = 12 / s^3 times the integral of (t - centre) L(t).
    slope = 3 / (last - first) * (level_db(t) @ (nodes * node_weights))
    return np.asarray(-60 / slope)


def _time_of(
    share: NDArray[np.float64], rates: NDArray[np.float64], level_db: float
) -> NDArray[np.float64]:
    """Time at which each decay has fallen to `level_db`. Shape: [bands].

    The log of a mean of exponentials is convex and falls, so Newton from 0 never overshoots.
    """
    target = level_db * math.log(10) / 10
    t = np.zeros(len(rates))
    for _ in range(20):
        part = share * np.exp(-t[:, None] * rates)
        total = part.sum(axis=1)
        step = (np.log(total) - target) * total / (part * rates).sum(axis=1)
        t = t + step
        if np.all(np.abs(step) < 1e-9 * t):
            break
    return t


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
    return t30_s(decay_rates(size_m, absorption, attenuation_per_m, speed_of_sound_mps))


def absorption_for_t60(
    size_m: Vector,
    t60_s: Sequence[float],
    band_hz: Sequence[float],
    air: Air,
    wall_weights: Sequence[float] | None = None,
) -> tuple[tuple[float, ...], ...]:
    """Absorption of six walls per band that gives the wanted T60s; air takes its share.

    Each wall's absorption is a common scale times its weight, at most 0.99; the scale is found by
    bracketed search on `predicted_t60_s`. It takes some 15 ms: compute it once per room.

    Args:
        t60_s: one per band.
        wall_weights: relative absorption of the walls, order of `WALLS`; all equal by default.

    Returns:
        Absorption [6][bands].

    Raises:
        UnreachableT60Error: a T60 that no scale gives, with the band and the reachable range.
        ValueError: wrong lengths or values that are not positive.
    """
    weights = np.ones(len(WALLS)) if wall_weights is None else np.array(wall_weights, dtype=float)
    target = np.array(t60_s, dtype=float)
    if weights.shape != (len(WALLS),) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"wall_weights = {wall_weights}; must be six positive numbers")
    if target.shape != (len(band_hz),) or not (np.isfinite(target) & (target > 0)).all():
        raise ValueError(f"rt60_s = {t60_s}; must be {len(band_hz)} positive numbers, one per band")
    attenuation = energy_attenuation_per_m(np.array(band_hz), air)

    def walls(scale: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.minimum(np.outer(weights, scale), MAX_ABSORPTION)

    def predicted(scale: NDArray[np.float64]) -> NDArray[np.float64]:
        return predicted_t60_s(size_m, walls(scale), attenuation, air.speed_of_sound_mps)

    least = np.full(len(target), MIN_ABSORPTION / weights.mean())
    most = np.full(len(target), MAX_ABSORPTION / weights.min())
    shortest, longest = predicted(most), predicted(least)
    _check_reachable(size_m, target, band_hz, shortest, longest)
    scale = _solve(predicted, target, (least, longest), (most, shortest))
    return tuple(tuple(float(a) for a in wall) for wall in walls(scale))


def _solve(
    predicted: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    target: NDArray[np.float64],
    low: tuple[NDArray[np.float64], NDArray[np.float64]],
    high: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Scales whose predicted T60 is `target`; `low` and `high` are (scale, T60) to either side.

    False position in log scale and log T60, where the curve is nearly straight; every third step
    halves the bracket instead, so that it cannot creep.
    """
    x0, y0 = np.log(low[0]), np.log(low[1] / target)
    x1, y1 = np.log(high[0]), np.log(high[1] / target)
    x = x0
    for n in range(40):
        x = (x0 + x1) / 2 if n % 3 == 2 else x0 + (x1 - x0) * y0 / np.maximum(y0 - y1, 1e-300)
        y = np.log(predicted(np.exp(x)) / target)
        if np.all(np.abs(y) < 1e-7):
            break
        above = y > 0
        x0, y0 = np.where(above, x, x0), np.where(above, y, y0)
        x1, y1 = np.where(above, x1, x), np.where(above, y1, y)
    return np.exp(x)


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
