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
