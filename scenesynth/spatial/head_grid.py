"""The directions of a head as a mesh on the sphere: which three surround a direction, and how near.

The mesh is the convex hull of the directions. A pole without a direction near it (most sets end at
some elevation below the horizon) becomes a vertex of its own, a mean of the directions around it,
so that responses change evenly across the hole; what lies in such holes is known as missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import scipy.spatial
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.spatial.head_kernels import locate

POLE_GAP_DEG: Final = 10.0
"""A pole that is farther than this from every direction is filled in."""

GAP_DEG: Final = 15.0
"""Inside a triangle whose circle on the sphere is larger, nothing was measured."""

_JOG = 1e-3
"""Directions of one ring lie in a plane, where a hull has no unique triangles. Moving them by this,
evenly and alike on the left and the right, makes triangles unique and mirror images."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Grid:
    """A closed mesh of triangles over measured directions and filled poles.

    Attributes:
        vertices: unit vectors, the measured ones first. Shape: [vertices, 3].
        fill: how responses at filled poles follow from measured ones. Shape: [filled, measured].
        triangles: Shape: [triangles, 3].
        neighbours: triangle opposite to each corner. Shape: [triangles, 3].
        missing: triangles inside which nothing was measured. Shape: [triangles].
    """

    vertices: NDArray[np.float64]
    fill: NDArray[np.float64]
    triangles: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    missing: NDArray[np.bool_]

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.linalg.inv(self.vertices[self.triangles]))

    def surround(
        self, directions: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Three vertices around each direction, their weights, and whether it lies in a hole.

        Shapes: [n, 3], [n, 3], [n].
        """
        triangle = np.empty(len(directions), dtype=np.int64)
        weights = np.empty((len(directions), 3))
        points = np.array(directions, dtype=np.float64, order="C")
        locate(points, self._inverse, self.neighbours, triangle, weights)
        return self.triangles[triangle], weights, self.missing[triangle]

    @cached_property
    def solid_angles(self) -> NDArray[np.float64]:
        """Solid angle of each triangle (Van Oosterom and Strackee 1983). Shape: [triangles]."""
        a, b, c = np.moveaxis(self.vertices[self.triangles], 1, 0)
        volume = np.abs(np.einsum("ij,ij->i", a, np.cross(b, c)))
        dots = sum(np.einsum("ij,ij->i", p, q) for p, q in ((a, b), (b, c), (c, a)))
        return np.asarray(2.0 * np.arctan2(volume, 1.0 + dots))

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """Solid angle that each measured direction stands for; they sum to 4 pi. Shape: [n]."""
        shares = np.bincount(
            self.triangles.ravel(), np.repeat(self.solid_angles / 3.0, 3), len(self.vertices)
        )
        n = len(self.vertices) - len(self.fill)
        return np.asarray(shares[:n] + shares[n:] @ self.fill)

    @property
    def missing_share(self) -> float:
        """Share of the sphere in which nothing was measured, 0 to 1."""
        return float(self.solid_angles[self.missing].sum() / (4.0 * np.pi))


def build_grid(directions: NDArray[np.float64]) -> Grid:
    """Mesh of directions.

    Args:
        directions: unit vectors, all different. Shape: [n, 3].

    Raises:
        ConfigError: directions that do not surround the head.
    """
    spread = np.linalg.svd(directions - directions.mean(axis=0), compute_uv=False)
    if len(directions) < 4 or spread[2] < 1e-2 * spread[0]:
        raise ConfigError(
            f"{len(directions)} directions that lie in a plane; a head needs directions all around "
            f"it, above and below"
        )
    edge = np.cos(np.radians(POLE_GAP_DEG))
    poles = [(0.0, 0.0, s) for s in (1.0, -1.0) if (s * directions[:, 2]).max() < edge]
    vertices = np.concatenate([directions, np.array(poles).reshape(-1, 3)])
    triangles, neighbours = _hull(vertices)
    n = len(directions)
    fill = np.array([_ring_weights(vertices, triangles, n + k, n) for k in range(len(poles))])
    missing = (triangles >= n).any(axis=1) | (_circle_deg(vertices[triangles]) > GAP_DEG)
    return Grid(
        vertices=vertices,
        fill=fill.reshape(-1, n),
        triangles=triangles,
        neighbours=neighbours,
        missing=missing,
    )


def _hull(vertices: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Triangles of the convex hull and their neighbours, in an order that is the hull's alone."""
    x, z = vertices[:, 0], vertices[:, 2]
    jogged = vertices * (1.0 + _JOG * (x * x + x * z))[:, None]
    hull = scipy.spatial.ConvexHull(jogged)
    if not (hull.equations[:, 3] < -1e-6).all() or len(hull.vertices) < len(vertices):
        raise ConfigError(
            f"{len(vertices)} directions that leave one half of the sphere open; a head needs "
            f"directions all around it"
        )
    corner_order = np.argsort(hull.simplices, axis=1)
    triangles = np.take_along_axis(hull.simplices, corner_order, axis=1).astype(np.int64)
    neighbours = np.take_along_axis(hull.neighbors, corner_order, axis=1)
    order = np.lexsort(triangles.T[::-1])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return triangles[order], place[neighbours[order]]


def _ring_weights(
    vertices: NDArray[np.float64], triangles: NDArray[np.int64], pole: int, n: int
) -> NDArray[np.float64]:
    """Weights of the measured directions around a pole, by the angle that each takes. Shape: [n]"""
    weights = np.zeros(n)
    azimuth = np.arctan2(vertices[:, 1], vertices[:, 0])
    for corners in triangles[(triangles == pole).any(axis=1)]:
        ends = corners[corners != pole]
        turn = abs(np.angle(np.exp(1j * (azimuth[ends[1]] - azimuth[ends[0]]))))
        weights[ends[ends < n]] += turn
    return np.asarray(weights / weights.sum())


def _circle_deg(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radius of the circle on the sphere through three corners. Shape: [triangles]."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    height = np.abs(np.einsum("ij,ij->i", normal, corners[:, 0]))
    return np.asarray(np.degrees(np.arccos(np.minimum(height, 1.0))))
