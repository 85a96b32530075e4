"""How long rooms without a closed-form decay reverberate: Eyring's estimate.

It takes the sound field for diffuse, which it is the more the more irregular a room is and the more
its surfaces scatter. A box with mirror-like walls reverberates up to 40 % longer, which is why
`scenesynth.room.decay` exists; nothing like it is known for other shapes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scenesynth.room import outline as plan
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.decay import MARGIN_S
from scenesynth.room.model import Air, Room

if TYPE_CHECKING:
    from scenesynth.room.mesh import Mesh

LONGER = 1.25
"""Responses are this much longer than the estimate, which is the least that a room reverberates."""

MOST_ABSORPTION = 0.99
"""Of the mean over all surfaces, whose logarithm the estimate holds."""


def volume_m3(room: Room) -> float:
    """Volume of a room of any shape but a measured one."""
    if room.mesh is not None:
        return _mesh(room).volume_m3
    x, y, height = room.size_m
    return (x * y if room.outline_m is None else plan.area_m2(room.outline_m)) * height


def surface_areas_m2(room: Room) -> NDArray[np.float64]:
    """Area of every surface, in the order of `Room.surfaces`. Shape: [surfaces]."""
    if room.mesh is not None:
        return _mesh(room).areas_m2
    x, y, height = room.size_m
    if room.outline_m is None:
        return np.array([y * height] * 2 + [x * height] * 2 + [x * y] * 2)
    sides = [math.dist(start, stop) * height for start, stop in plan.edges(room.outline_m)]
    return np.array(sides + [plan.area_m2(room.outline_m)] * 2)


def eyring_t60_s(room: Room, air: Air) -> NDArray[np.float64]:
    """Reverberation time per band (Eyring 1930, with air). Shape: [bands]."""
    areas = surface_areas_m2(room)
    mean = np.average(np.array(room.absorption), axis=0, weights=areas)
    taken = -areas.sum() * np.log(1 - np.minimum(mean, MOST_ABSORPTION))
    taken += 4 * volume_m3(room) * energy_attenuation_per_m(np.array(room.band_hz), air)
    t60_s: NDArray[np.float64] = (
        24 * math.log(10) * volume_m3(room) / (air.speed_of_sound_mps * taken)
    )
    return t60_s


def eyring_length_s(room: Room, air: Air) -> float:
    """Length of a response that shows the decay, and the direct sound across the whole room."""
    diagonal_s = math.hypot(*room.size_m) / air.speed_of_sound_mps
    return max(LONGER * float(eyring_t60_s(room, air).max()), diagonal_s + MARGIN_S)


def _mesh(room: Room) -> Mesh:
    from scenesynth.room.mesh import load_mesh  # a room without a mesh needs none of it

    assert room.mesh is not None
    return load_mesh(room.mesh)
