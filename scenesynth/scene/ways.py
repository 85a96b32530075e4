"""Curves that things move along, by the distance travelled.

A `Way` is the ideal curve; `scenesynth.scene.trajectories` draws one and turns it into keyframes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenesynth.scene.motion import lengths

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """A curve.

    Attributes:
        curve: points at distances travelled in metres; nowhere faster than its parameter.
            Shape: [n] -> [n, 3].
        breaks_m: where the curve is not smooth, from 0 to its end.
        nearest_m: speed over this is the angular speed seen from the centre, or more than it.
        piece_m: length of the pieces that a curve which bends alike all along is first cut into.
    """

    curve: Callable[[Array], Array]
    breaks_m: Array
    nearest_m: float
    piece_m: float | None = None


def straight(corners: Array, centre: Array) -> Way:
    """From corner to corner at the speed of the parameter. Shape of `corners`: [n, 3]."""
    at_m = np.concatenate([[0.0], np.cumsum(lengths(np.diff(corners, axis=0)))])

    def curve(travelled_m: Array) -> Array:
        return np.stack([np.interp(travelled_m, at_m, axis) for axis in corners.T], axis=1)

    return Way(curve=curve, breaks_m=at_m, nearest_m=nearest_m(corners - centre))


def around(start: Array, centre: Array, sense: int) -> Way:
    """A horizontal circle without end about the vertical through `centre`.

    The azimuth changes at a constant rate: it grows where `sense` is 1 and falls where it is -1.
    """
    x, y = (start - centre)[:2]
    radius_m, first_rad = float(np.hypot(x, y)), float(np.arctan2(y, x))

    def curve(travelled_m: Array) -> Array:
        angle = first_rad + sense * travelled_m / radius_m
        flat = [centre[0] + radius_m * np.cos(angle), centre[1] + radius_m * np.sin(angle)]
        return np.stack([*flat, np.full(len(angle), start[2])], axis=1)

    return Way(
        curve=curve,
        breaks_m=np.array([0.0, np.inf]),
        nearest_m=radius_m,
        piece_m=radius_m * math.pi / 3,
    )


def rounded(corners: Array, step_m: float, centre: Array) -> Way:
    """The quadratic B-spline of corners that are `step_m` apart, from the first to the last.

    A piece about every corner c goes from the middle of the leg before it to that of the leg after,
    (1 - u)^2 before + 2 u (1 - u) c + u^2 after. It lies in the triangle of the three and is
    nowhere faster than the legs are long.
    """
    first, last = 2 * corners[0] - corners[1], 2 * corners[-1] - corners[-2]
    legs = np.concatenate([[first], corners, [last]])
    middles = (legs[:-1] + legs[1:]) / 2
    n = len(corners) - 1

    def curve(travelled_m: Array) -> Array:
        at = np.clip(travelled_m / step_m, 0.0, n) + 0.5
        piece = np.minimum(at.astype(int), n)
        u = (at - piece)[:, None]
        ends = (1 - u) ** 2 * middles[piece] + u**2 * middles[piece + 1]
        return np.asarray(ends + 2 * u * (1 - u) * corners[piece])

    breaks_m = np.concatenate([[0.0], np.arange(n) + 0.5, [n]]) * step_m
    # The curve stays among its corners, but may come nearer than their legs: it cuts them short.
    near_m = min(float(lengths(curve(_fine(breaks_m)) - centre).min()), nearest_m(corners - centre))
    return Way(curve=curve, breaks_m=breaks_m, nearest_m=near_m)


def nearest_m(relative: Array) -> float:
    """Least distance of a polyline from the origin. Shape: [n, 3]."""
    return float(lengths(np.concatenate([relative, closest_points(relative)])).min())


def closest_points(relative: Array) -> Array:
    """The point of every leg of a polyline that is closest to the origin. Shape: [n - 1, 3]."""
    start, along = relative[:-1], np.diff(relative, axis=0)
    square = (along * along).sum(axis=1)
    share = -(start * along).sum(axis=1) / np.where(square > 0, square, 1.0)
    return np.asarray(start + np.clip(share, 0.0, 1.0)[:, None] * along)


def highest_points(relative: Array) -> Array:
    """The point of every leg where its elevation is extreme, or an end. Shape: [n - 1, 3].

    On a line (p + s u) the slope z / hypot(x, y) has one extremum: with A = |p_xy|^2, B = p_xy u_xy
    and C = |u_xy|^2 its derivative is zero at s = (u_z A - p_z B) / (p_z C - u_z B).
    """
    start, along = relative[:-1], np.diff(relative, axis=0)
    a = (start[:, :2] ** 2).sum(axis=1)
    b = (start[:, :2] * along[:, :2]).sum(axis=1)
    c = (along[:, :2] ** 2).sum(axis=1)
    below = start[:, 2] * c - along[:, 2] * b
    share = (along[:, 2] * a - start[:, 2] * b) / np.where(below != 0, below, np.inf)
    return np.asarray(start + np.clip(share, 0.0, 1.0)[:, None] * along)


def _fine(breaks: Array) -> Array:
    """Eight points per piece."""
    shares = np.linspace(0, 1, 9)
    return np.asarray((breaks[:-1, None] + shares * np.diff(breaks)[:, None]).ravel())
