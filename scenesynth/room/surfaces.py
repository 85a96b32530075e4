"""What the surfaces of a drawn room are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scenesynth.distributions import Draws, Name, Number, constant, within
from scenesynth.room import materials as wall_materials

Kind = Literal["wall", "floor", "ceiling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceMaterial:
    """The material of one surface."""

    surface: str = field(
        metadata={
            "doc": "x0, x1, y0, y1, z0 or z1 of a box; e0, e1, ..., floor or ceiling of an "
            "outline; a group of a mesh"
        }
    )
    material: Name = field(metadata={"doc": "its material"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Surfaces:
    """Materials by name (`room_specs/materials.yaml`)."""

    walls: Name = field(metadata={"doc": "material of the side walls"})
    floor: Name = field(metadata={"doc": "material of the floor"})
    ceiling: Name = field(metadata={"doc": "material of the ceiling"})
    feature_wall: Name | None = field(
        default=None,
        metadata={"doc": "material of one side wall, drawn which (a window front, curtains)"},
    )
    named: tuple[SurfaceMaterial, ...] = field(
        default=(), metadata={"doc": "single surfaces that are made of something else"}
    )
    furnishing: Name | None = field(
        default=None,
        metadata={
            "doc": "material before each side wall and on the floor: shelves, curtains, people"
        },
    )
    furnished_share: Number = field(
        default=constant(0),
        metadata={"doc": "share of each side wall and of the floor that its furnishing covers"},
    )
    evened_share: Number = field(
        default=constant(0),
        metadata={
            "doc": "share of every surface's absorption that is the mean over all of them: "
            "furniture scatters, so that sound of any direction meets any surface"
        },
    )
    longest_rt60_s: float | None = field(
        default=None,
        metadata={"doc": "rooms with a longer predicted T60 in any band are drawn again"},
    )
    longest_rt60_ratio: float | None = field(
        default=None,
        metadata={
            "doc": "rooms where the predicted T60 of a band is more than this times the mean of "
            "500 Hz to 2 kHz are drawn again"
        },
    )

    def __post_init__(self) -> None:
        within("furnished_share", self.furnished_share, 0, 1)
        within("evened_share", self.evened_share, 0, 1)
        if self.furnishing is None and self.furnished_share.high > 0:
            raise ValueError("furnished_share is given, but there is no furnishing")
        names = [item.surface for item in self.named]
        if len(set(names)) < len(names):
            raise ValueError(f"named: got surfaces {', '.join(names)}; none may come twice")


def kind_of(surface: str) -> Kind:
    """What a surface is, by its name; whatever is not known to lie flat is a wall."""
    name = surface.lower()
    if name in ("z0", "floor"):
        return "floor"
    return "ceiling" if name in ("z1", "ceiling") else "wall"


def draw_materials(
    of: Surfaces, surfaces: Sequence[str], draws: Draws, attempt: int
) -> tuple[str, ...]:
    """Material of each of a room's surfaces."""
    drawn: dict[Kind, str] = {
        "wall": draws.name(of.walls, "room.walls", attempt),
        "floor": draws.name(of.floor, "room.floor", attempt),
        "ceiling": draws.name(of.ceiling, "room.ceiling", attempt),
    }
    names = [drawn[kind_of(surface)] for surface in surfaces]
    walls = [n for n, surface in enumerate(surfaces) if kind_of(surface) == "wall"]
    if of.feature_wall is not None and walls:
        which = draws.rng("room.feature_wall.which", attempt).integer(0, len(walls) - 1)
        names[walls[which]] = draws.name(of.feature_wall, "room.feature_wall", attempt)
    for item in of.named:
        at = surfaces.index(item.surface)
        names[at] = draws.name(item.material, "room.surface", attempt * len(surfaces) + at)
    return tuple(names)


def furnished_absorption(
    of: Surfaces, surfaces: Sequence[str], names: Sequence[str], draws: Draws, attempt: int
) -> NDArray[np.float64]:
    """Absorption of surfaces with part of their area covered. Shape: [surfaces, bands]."""
    bare = np.array(wall_materials.material_absorption(names, surfaces))
    if of.furnishing is None:
        return bare
    known = wall_materials.load_materials()
    furnished = bare.copy()
    for n, surface in enumerate(surfaces):
        if kind_of(surface) == "ceiling":
            continue  # it stays bare
        which = attempt * len(surfaces) + n
        share = draws.number(of.furnished_share, "room.furnished_share", which)
        cover = known[draws.name(of.furnishing, "room.furnishing", which)]
        furnished[n] += share * (np.array(cover.coefficients) - bare[n])
    return furnished


def evened_absorption(
    absorption: NDArray[np.float64], areas_m2: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Absorption of surfaces that have a share of their mean, by area. Shape: [surfaces, bands]."""
    mean = np.average(absorption, axis=0, weights=areas_m2)
    evened: NDArray[np.float64] = (1 - share) * absorption + share * mean
    return evened
