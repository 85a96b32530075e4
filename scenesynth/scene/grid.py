"""Positions in a measured room: those of its responses, or between them.

The listener stands where one was measured, turned as the recipe says. Emitters stand where a source
was measured for that listener; or, between, anywhere in a triangle of a measured place and two of
the three nearest to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.distributions import Draws
from scenesynth.room.family import DrawnRoom
from scenesynth.room.measured import MeasuredRoom
from scenesynth.room.model import Vector
from scenesynth.scene.recipe_records import Listener
from scenesynth.scene.spec import Keyframe
from scenesynth.seeds import Rng

NEAR_M: Final = 0.9
"""Places farther apart than this are not neighbours; the engine's own limit is a little wider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where the emitters of a scene in a measured room may stand.

    Attributes:
        sources_m: measured places.
        neighbours: up to three nearest places of each, by number; empty where emitters stand at
            the places alone.
    """

    sources_m: tuple[Vector, ...]
    neighbours: tuple[tuple[int, ...], ...] = field(default=())

    def propose(self, rng: Rng) -> Vector:
        """A position, before any constraint."""
        first = rng.integer(0, len(self.sources_m) - 1)
        if not self.neighbours or not self.neighbours[first]:
            return self.sources_m[first]
        near = self.neighbours[first]
        corners = [first, near[rng.integer(0, len(near) - 1)], near[rng.integer(0, len(near) - 1)]]
        low, high = sorted((rng.unit(), rng.unit()))  # even over the triangle
        shares = (low, high - low, 1 - high)
        x, y, z = (
            round(sum(s * self.sources_m[c][d] for s, c in zip(shares, corners, strict=True)), 6)
            for d in range(3)
        )
        return (x, y, z)


def place_measured(listener: Listener, drawn: DrawnRoom, draws: Draws) -> tuple[Keyframe, Grid]:
    """The listener of a measured room, and where the emitters may stand around it."""
    assert drawn.measured is not None
    places = _listeners(drawn.measured)
    chosen = draws.rng("listener.position").integer(0, len(places) - 1)
    pose = Keyframe(
        position_m=places[chosen],
        yaw_deg=draws.number(listener.yaw_deg, "listener.yaw"),
        pitch_deg=draws.number(listener.pitch_deg, "listener.pitch"),
        roll_deg=draws.number(listener.roll_deg, "listener.roll"),
    )
    return pose, _grid(drawn.measured, chosen, drawn.between)


@lru_cache(maxsize=64)
def _listeners(room: MeasuredRoom) -> tuple[Vector, ...]:
    return _unique(room.pairs.listener_m)


@lru_cache(maxsize=256)
def _grid(room: MeasuredRoom, listener: int, between: bool) -> Grid:
    """The sources that were measured for a listener."""
    here = np.array(_listeners(room)[listener])
    sources = _unique(room.pairs.source_m[(room.pairs.listener_m == here).all(axis=1)])
    near = tuple(_nearest(np.array(sources), n) for n in range(len(sources))) if between else ()
    return Grid(sources_m=sources, neighbours=near)


def _nearest(places: NDArray[np.float64], n: int) -> tuple[int, ...]:
    away = np.linalg.norm(places - places[n], axis=1)
    order = np.argsort(away, kind="stable")[1:4]
    return tuple(int(k) for k in order if away[k] <= NEAR_M)


def _unique(places: NDArray[np.float64]) -> tuple[Vector, ...]:
    return tuple((float(x), float(y), float(z)) for x, y, z in np.unique(places, axis=0))
