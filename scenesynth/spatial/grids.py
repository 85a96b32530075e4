"""Directions and weights with which integrals over the sphere are exact sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sphere_grid(order: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A grid on which the harmonics up to `order` are orthogonal.

    Gauss-Legendre nodes in z times even steps of azimuth, so the mean of any polynomial of degree
    2 `order` + 1 is exact. The grid is its own mirror image left and right, front and back, up
    and down.

    Args:
        order: of the harmonics, >= 0.

    Returns:
        Unit vectors, (order + 1) (2 order + 2) of them, and their weights, which sum to 1: with
        them the mean of Y_i Y_j (SN3D) is 1 / (2 l + 1) for i = j and else 0. Shapes: [n, 3], [n].
    """
    if order < 0:
        raise ValueError(f"order = {order}; must be 0 or more")
    z, weights = np.polynomial.legendre.leggauss(order + 1)
    n_azimuths = 2 * order + 2
    azimuth = 2 * np.pi * np.arange(n_azimuths) / n_azimuths
    flat = np.sqrt(1 - z * z)[:, None]
    directions = np.stack(
        np.broadcast_arrays(flat * np.cos(azimuth), flat * np.sin(azimuth), z[:, None]), axis=-1
    )
    return directions.reshape(-1, 3), np.repeat(weights / (2 * n_azimuths), n_azimuths)
