"""Where ways may go: what a placement asks for, along polylines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.room.model import Room, Vector
from scenesynth.scene.motion import lengths
from scenesynth.scene.placement import clear
from scenesynth.scene.ways import closest_points, highest_points
from scenesynth.seeds import Rng

Array = NDArray[np.float64]

LOOK_STEP_M: Final = 0.1
"""Rooms that are no boxes are looked at this often along a way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where a way may go, and where its corners come from.

    Attributes:
        centre_m: the listener's first place.
        propose: a corner, its constraints yet to be checked.
        ceiling: whether the wall margin holds for the ceiling, too.
        separation_m: from the listener; None on the listener's own way.
    """

    room: Room
    centre_m: Vector
    propose: Callable[[Rng], Vector | None]
    wall_margin_m: float
    ceiling: bool
    separation_m: float | None
    lowest_deg: float = -90.0
    highest_deg: float = 90.0

    def broken(self, points: Array, listener: Array) -> str | None:
        """Name and value of a constraint that a polyline breaks, or None.

        Args:
            points: of the polyline. Shape: [n, 3].
            listener: where the listener is at the same times. Shape: [n, 3].
        """
        return self._hit(points) or self._seen(points, listener)

    def _hit(self, points: Array) -> str | None:
        margin = self.wall_margin_m
        for n, axis in enumerate("xyz"):
            # As in placing: the floor is no wall to things on it.
            low = 0.0 if axis == "z" else margin
            high = self.room.size_m[n] - (margin if axis != "z" or self.ceiling else 0.0)
            if not ((low < points[:, n]) & (points[:, n] < high)).all():
                return f"wall_margin_m = {margin:g} along {axis}"
        if self.room.shape not in ("outline", "mesh"):
            return None
        looked = [vector(point) for point in _every(points, LOOK_STEP_M)]
        if not all(clear(self.room, at, margin, ceiling=self.ceiling) for at in looked):
            return f"wall_margin_m = {margin:g}"
        corners = [vector(point) for point in points]
        for start, stop in pairwise(corners):
            if start != stop and self.room.blocked(start, stop):
                return "no wall in the way"
        return None

    def _seen(self, points: Array, listener: Array) -> str | None:
        if self.separation_m is None:
            return None
        relative = points - listener
        if len(relative) > 1:
            extremes = [closest_points(relative), highest_points(relative)]
            relative = np.concatenate([relative, *extremes])
        if lengths(relative).min() < self.separation_m - 1e-9:
            return f"separation_m = {self.separation_m:g} from the listener"
        flat = np.hypot(relative[:, 0], relative[:, 1])
        elevation = np.degrees(np.arctan2(relative[:, 2], flat))
        if elevation.min() < self.lowest_deg - 1e-9 or elevation.max() > self.highest_deg + 1e-9:
            return f"elevation in [{self.lowest_deg:g}, {self.highest_deg:g}] degrees"
        if self.room.shape in ("outline", "mesh"):
            pairs = _every(np.concatenate([points, listener], axis=1), LOOK_STEP_M)
            ways = [(vector(pair[3:]), vector(pair[:3])) for pair in pairs]
            if any(self.room.blocked(ear, at) for ear, at in ways):
                return "in sight of the listener"
        return None


def vector(point: Array) -> Vector:
    """A point as a spec has it."""
    x, y, z = point.tolist()
    return (x, y, z)


def _every(points: Array, step_m: float) -> Array:
    """Points of a polyline, corners included, between which no triple of columns goes farther."""
    parts = [points[:1]]
    for start, stop in pairwise(points):
        far_m = float(lengths((stop - start).reshape(-1, 3)).max())
        n = max(1, math.ceil(far_m / step_m))
        parts.append(start + np.linspace(0, 1, n + 1)[1:, None] * (stop - start))
    return np.concatenate(parts)
