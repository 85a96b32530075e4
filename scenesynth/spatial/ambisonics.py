"""Real spherical harmonics: ACN order, SN3D, no Condon-Shortley phase (AmbiX).

x front, y left, z up. Channel n = l (l + 1) + m of a plane wave from the unit vector u is
N_l^|m| P_l^|m|(u_z) times cos(m az) for m >= 0 and sin(|m| az) for m < 0, with
N = sqrt((2 - delta_m) (l - |m|)! / (l + |m|)!). All of it is a polynomial in u: with
C_m + i S_m = (u_x + i u_y)^m and P_l^m = (1 - u_z^2)^(m/2) Q_l^m(u_z), no angle is ever taken.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenesynth.jit import kernel

_YZX = [1, 2, 0]


@cache
def recursion_table(order: int) -> NDArray[np.float64]:
    """Factors a and b of `harmonics_into` for degree l and m, and the start value of m at [m, m].

    The Legendre recursion (Abramowitz and Stegun 8.5.3) Q_l^m = ((2l - 1) z Q_{l-1}^m -
    (l + m - 1) Q_{l-2}^m) / (l - m) with the norms N carried along, so that all values stay of
    order one. Shape: [2, order + 1, order + 1].
    """
    table = np.zeros((2, order + 1, order + 1))
    start = 1.0  # (2m - 1)!! N_m^m
    for m in range(order + 1):
        if m > 0:
            start *= (2 * m - 1) / math.sqrt((2 * m - 1) * 2 * m) * (math.sqrt(2) if m == 1 else 1)
        table[0, m, m] = start
        for degree in range(m + 1, order + 1):
            both = (degree - m) * (degree + m)
            table[0, degree, m] = (2 * degree - 1) / math.sqrt(both)
            table[1, degree, m] = math.sqrt((degree + m - 1) * (degree - m - 1) / both)
    return table


@kernel
def harmonics_into(x, y, z, order, table, out):  # type: ignore[no-untyped-def]
    """Write the (order + 1)^2 harmonics of the unit vector (x, y, z) to `out`, by recursion."""
    cos_m = 1.0
    sin_m = 0.0
    for m in range(order + 1):
        if m > 0:
            cos_m, sin_m = x * cos_m - y * sin_m, x * sin_m + y * cos_m
        before = 0.0
        value = table[0, m, m]
        for degree in range(m, order + 1):
            if degree > m:
                a, b = table[0, degree, m], table[1, degree, m]
                before, value = value, a * z * value - b * before
            centre = degree * (degree + 1)
            out[centre + m] = value * cos_m
            if m > 0:
                out[centre - m] = value * sin_m


@kernel
def _harmonics_rows(vectors, order, table, out):  # type: ignore[no-untyped-def]
    for n in range(len(vectors)):
        harmonics_into(vectors[n, 0], vectors[n, 1], vectors[n, 2], order, table, out[n])


def spherical_harmonics(unit_vectors: ArrayLike, order: int) -> NDArray[np.float64]:
    """Gains of plane waves from `unit_vectors`, ACN SN3D.

    Args:
        unit_vectors: directions the sound comes from. Shape: [..., 3].
        order: Ambisonic order, >= 0.

    Returns:
        Shape: [..., (order + 1)^2].

    >>> spherical_harmonics([0.0, 1.0, 0.0], 1).tolist()  # from the left: W, Y, Z, X
    [1.0, 1.0, 0.0, 0.0]
    """
    vectors = np.array(unit_vectors, dtype=np.float64, order="C")
    if vectors.shape[-1:] != (3,):
        raise ValueError(f"unit_vectors has shape {vectors.shape}; must be [..., 3]")
    if order < 0:
        raise ValueError(f"order = {order}; must be 0 or more")
    flat = vectors.reshape(-1, 3)
    lengths = np.linalg.norm(flat, axis=1)
    if not np.allclose(lengths, 1.0, rtol=0, atol=1e-6):
        raise ValueError(f"unit_vectors has a length of {lengths[np.argmax(abs(lengths - 1))]}")
    out = np.empty((len(flat), (order + 1) ** 2))
    _harmonics_rows(flat, order, recursion_table(order), out)
    return out.reshape(*vectors.shape[:-1], -1)


def harmonics_rotation(rotation: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """How Ambisonic channels change when the listener turns: channels = D @ channels of the room.

    A plane wave from u in the room comes from rotation.T @ u to the listener, so D Y(u) =
    Y(rotation.T u) for every u: solved, degree by degree, for more directions than unknowns.

    Args:
        rotation: listener-to-room matrix. Shape: [3, 3].

    Returns:
        Block diagonal, one block per degree. Shape: [(order + 1)^2, (order + 1)^2].
    """
    turned = np.zeros(((order + 1) ** 2,) * 2)
    turned[0, 0] = 1.0
    if order > 0:  # Y, Z, X are the components themselves
        turned[1:4, 1:4] = rotation.T[_YZX][:, _YZX]
    for degree in range(2, order + 1):
        block = slice(degree**2, (degree + 1) ** 2)
        directions, inverse = _solver(degree)
        after = spherical_harmonics(directions @ rotation, degree)[:, block]
        turned[block, block] = after.T @ inverse
    return turned


@cache
def _solver(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions [n, 3] and what turns the values of one degree there into it. Shape: [n, 2l+1].

    A Fibonacci lattice of enough points to be well conditioned (below 2).
    """
    n = 4 * (degree + 1) ** 2
    z = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    azimuth = np.pi * (1.0 + math.sqrt(5.0)) * np.arange(n)
    flat = np.sqrt(1.0 - z * z)
    directions = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), z], axis=1)
    values = spherical_harmonics(directions, degree)[:, degree**2 :]
    return directions, np.ascontiguousarray(np.linalg.pinv(values).T)
