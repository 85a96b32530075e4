"""Room families: distributions of shoeboxes, and rooms drawn from them.

A family states either reverberation times (`decay`; the absorption that produces them is found by
inverting the decay) or what its surfaces are made of (`surfaces`), or it names rooms that were
measured (`measured`), which have neither size nor absorption to draw.

A drawn room depends on its family and the key of its draws only. A reverberation time that the
drawn box cannot have (the air alone absorbs more, or no wall absorbs enough) is drawn again with
its box, a bounded number of times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from scenesynth.distributions import Draws, Name, Number, constant, within
from scenesynth.errors import ConfigError, UnreachableT60Error
from scenesynth.records import did_you_mean
from scenesynth.room import air as air_physics
from scenesynth.room import decay as decay_physics
from scenesynth.room import materials as wall_materials
from scenesynth.room.measured import MeasuredRoom, find_room
from scenesynth.room.model import OCTAVE_BANDS_HZ, WALLS, Air, Room

TRIES: Final = 20
"""Boxes drawn for one room before its family is called impossible."""

_SIDE_WALLS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """Reverberation times asked for, and how the absorption is shared among the walls."""

    rt60_s: Number = field(metadata={"doc": "reverberation time at 1 kHz"})
    octave_ratio: Number = field(
        default=constant(1),
        metadata={"doc": "T60 of an octave band over that of the band below; 1: all bands equal"},
    )
    walls_weight: Number = field(
        default=constant(1), metadata={"doc": "relative absorption of the four side walls"}
    )
    floor_weight: Number = field(
        default=constant(1), metadata={"doc": "relative absorption of the floor"}
    )
    ceiling_weight: Number = field(
        default=constant(1), metadata={"doc": "relative absorption of the ceiling"}
    )

    def __post_init__(self) -> None:
        within("rt60_s", self.rt60_s, 0.02, 20)
        within("octave_ratio", self.octave_ratio, 0.5, 2)
        for name in ("walls_weight", "floor_weight", "ceiling_weight"):
            within(name, getattr(self, name), 0.01, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surfaces:
    """Materials by name (`room_specs/materials.yaml`)."""

    walls: Name = field(metadata={"doc": "material of the four side walls"})
    floor: Name = field(metadata={"doc": "material of the floor"})
    ceiling: Name = field(metadata={"doc": "material of the ceiling"})
    feature_wall: Name | None = field(
        default=None,
        metadata={"doc": "material of one side wall, drawn which (a window front, curtains)"},
    )
    furnishing: Name | None = field(
        default=None, metadata={"doc": "material that stands for shelves, curtains, people"}
    )
    furnished_share: Number = field(
        default=constant(0),
        metadata={"doc": "share of each side wall and of the floor that the furnishing covers"},
    )
    longest_rt60_s: float | None = field(
        default=None,
        metadata={"doc": "rooms with a longer predicted T60 in any band are drawn again"},
    )

    def __post_init__(self) -> None:
        within("furnished_share", self.furnished_share, 0, 1)
        if self.furnishing is None and self.furnished_share.high > 0:
            raise ValueError("furnished_share is given, but there is no furnishing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Measured rooms of the library (`scenesynth rooms list`)."""

    rooms: tuple[str, ...] = field(
        metadata={
            "doc": "names, name@digest or folders; each is of one split only, shared out among "
            "the splits by their shares"
        }
    )
    pick: Literal["nearest", "interpolate"] = field(
        default="nearest",
        metadata={
            "doc": "nearest: emitters stand where responses were measured; interpolate: between "
            "up to three neighbouring places, too"
        },
    )

    def __post_init__(self) -> None:
        if not self.rooms or len(set(self.rooms)) < len(self.rooms):
            raise ValueError(f"rooms = {list(self.rooms)}; must name at least one, none twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFamily:
    """A kind of room."""

    name: str = field(metadata={"doc": "name of the family, for people and for --set"})
    weight: float = field(default=1.0, metadata={"doc": "how often, relative to other families"})
    length_m: Number | None = field(default=None, metadata={"doc": "size along x"})
    width_m: Number | None = field(default=None, metadata={"doc": "size along y"})
    height_m: Number | None = field(default=None, metadata={"doc": "size along z"})
    decay: Decay | None = field(default=None, metadata={"doc": "reverberation times asked for"})
    surfaces: Surfaces | None = field(default=None, metadata={"doc": "materials, instead of decay"})
    measured: Measured | None = field(
        default=None, metadata={"doc": "measured rooms, instead of sizes and decay or surfaces"}
    )
    temperature_c: Number = field(default=constant(20), metadata={"doc": "air temperature"})
    humidity_pct: Number = field(default=constant(50), metadata={"doc": "relative humidity"})

    def __post_init__(self) -> None:
        given = [name for name in ("decay", "surfaces", "measured") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"give either decay or surfaces, or measured rooms; got "
                f"{' and '.join(given) or 'none of them'}"
            )
        for name in ("length_m", "width_m", "height_m"):
            if (getattr(self, name) is None) != (self.measured is not None):
                raise ValueError(f"{name}: every room but a measured one has a size to be drawn")
        if self.weight < 0:
            raise ValueError(f"weight = {self.weight}; must be 0 or more")
        for name in ("length_m", "width_m", "height_m"):
            within(name, getattr(self, name), 0.5, 500)
        within("temperature_c", self.temperature_c, -40, 60)
        within("humidity_pct", self.humidity_pct, 1, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRoom:
    """A room, its air, and how long its responses are.

    Attributes:
        measured: the positions and responses of a measured room.
        between: whether emitters may stand between its positions.
    """

    room: Room
    air: Air
    response_s: float
    measured: MeasuredRoom | None = None
    between: bool = False


def draw_room(families: tuple[RoomFamily, ...], room_id: str, draws: Draws) -> DrawnRoom:
    """Draw a room of one of the families (by weight).

    Raises:
        ConfigError: in `TRIES` boxes of the family no drawn reverberation time could be reached.
    """
    family = families[0]
    if len(families) > 1:
        family = draws.rng("room.family").choice(families, [f.weight for f in families])
    air = _draw_air(family, draws)
    if family.measured is not None:
        return _draw_measured(family.measured, air, draws)
    why = ""
    for attempt in range(TRIES):
        try:
            room = _draw_box(family, room_id, air, draws, attempt)
        except UnreachableT60Error as error:
            why = str(error)
            continue
        drawn = DrawnRoom(room=room, air=air, response_s=_response_s(room, air))
        limit_s = family.surfaces and family.surfaces.longest_rt60_s
        if not limit_s or drawn.response_s <= limit_s:
            return drawn
        why = f"surfaces.longest_rt60_s = {limit_s}, but its T60 is {drawn.response_s} s"
    raise ConfigError(
        f"room family {family.name}: none of {TRIES} drawn boxes can have the T60 asked for; the "
        f"last: {why}. Change the T60, the surfaces or the size"
    )


@lru_cache(maxsize=4096)
def anechoic(drawn: DrawnRoom) -> DrawnRoom:
    """The same box with walls that absorb everything; responses hold the direct sound alone."""
    room = drawn.room
    full = Room(
        id=f"{room.id}/anechoic",
        size_m=room.size_m,
        band_hz=room.band_hz,
        absorption=tuple((1.0,) * len(room.band_hz) for _ in WALLS),
    )
    return DrawnRoom(room=full, air=drawn.air, response_s=_response_s(full, drawn.air))


def check_materials(family: RoomFamily) -> None:
    """Raise ConfigError where the family names a material that does not exist."""
    if family.surfaces is None:
        return
    known = wall_materials.load_materials()
    for part in ("walls", "floor", "ceiling", "feature_wall", "furnishing"):
        name: Name | None = getattr(family.surfaces, part)
        for option in name.options if name else ():
            if option not in known:
                raise ConfigError(
                    f"rooms.{family.name}.surfaces.{part}: unknown material {option!r}"
                    f"{did_you_mean(option, known)}; known: {', '.join(sorted(known))}"
                )


def _draw_measured(family: Measured, air: Air, draws: Draws) -> DrawnRoom:
    """One of the rooms; it keeps its name, as it is of one split anyway."""
    found = find_room(draws.rng("room.measured").choice(family.rooms))
    room = Room(
        id=found.card.name,
        size_m=found.card.size_m,
        band_hz=OCTAVE_BANDS_HZ,
        absorption=(),
        measured=found.ref,
    )
    return DrawnRoom(
        room=room,
        air=air,
        response_s=found.length_s,
        measured=found,
        between=family.pick == "interpolate",
    )


def _response_s(room: Room, air: Air) -> float:
    """Length of the responses, to whole milliseconds."""
    return math.ceil(float(decay_physics.response_length_s(room, air)) * 1e3) / 1e3


def _draw_air(family: RoomFamily, draws: Draws) -> Air:
    temperature_c = draws.number(family.temperature_c, "room.temperature")
    return Air(
        temperature_c=temperature_c,
        humidity_pct=draws.number(family.humidity_pct, "room.humidity"),
        speed_of_sound_mps=round(float(air_physics.speed_of_sound_mps(temperature_c)), 6),
    )


def _draw_box(family: RoomFamily, room_id: str, air: Air, draws: Draws, attempt: int) -> Room:
    sizes = (family.length_m, family.width_m, family.height_m)
    streams = ("room.length", "room.width", "room.height")
    length_m, width_m, height_m = (
        draws.number(size, stream, attempt)
        for size, stream in zip(sizes, streams, strict=True)
        if size is not None
    )
    size_m = (length_m, width_m, height_m)
    if family.surfaces is not None:
        names = _draw_materials(family.surfaces, draws, attempt)
        return Room(
            id=room_id,
            size_m=size_m,
            band_hz=OCTAVE_BANDS_HZ,
            absorption=_rounded(_furnished(names, family.surfaces, draws, attempt)),
            materials=names,
        )
    assert family.decay is not None
    rt60_s = _draw_rt60(family.decay, draws, attempt)
    absorption = decay_physics.absorption_for_t60(
        size_m, rt60_s, OCTAVE_BANDS_HZ, air, wall_weights=_draw_weights(family.decay, draws)
    )
    return Room(
        id=room_id,
        size_m=size_m,
        band_hz=OCTAVE_BANDS_HZ,
        absorption=_rounded(absorption),
        rt60_s=rt60_s,
    )


def _draw_rt60(decay: Decay, draws: Draws, attempt: int) -> tuple[float, ...]:
    """Requested T60 per octave band: a power law through the drawn value at 1 kHz."""
    rt60_s = draws.number(decay.rt60_s, "room.rt60", attempt)
    ratio = draws.number(decay.octave_ratio, "room.octave_ratio", attempt)
    pivot = OCTAVE_BANDS_HZ.index(1000.0)
    return tuple(round(rt60_s * ratio ** (n - pivot), 6) for n in range(len(OCTAVE_BANDS_HZ)))


def _draw_weights(decay: Decay, draws: Draws) -> tuple[float, ...]:
    walls = tuple(
        draws.number(decay.walls_weight, "room.walls_weight", wall) for wall in range(_SIDE_WALLS)
    )
    floor = draws.number(decay.floor_weight, "room.floor_weight")
    ceiling = draws.number(decay.ceiling_weight, "room.ceiling_weight")
    return (*walls, floor, ceiling)


def _draw_materials(surfaces: Surfaces, draws: Draws, attempt: int) -> tuple[str, ...]:
    walls = [draws.name(surfaces.walls, "room.walls", attempt)] * _SIDE_WALLS
    if surfaces.feature_wall is not None:
        which = draws.rng("room.feature_wall.which", attempt).integer(0, _SIDE_WALLS - 1)
        walls[which] = draws.name(surfaces.feature_wall, "room.feature_wall", attempt)
    floor = draws.name(surfaces.floor, "room.floor", attempt)
    return (*walls, floor, draws.name(surfaces.ceiling, "room.ceiling", attempt))


def _furnished(
    names: tuple[str, ...], surfaces: Surfaces, draws: Draws, attempt: int
) -> NDArray[np.float64]:
    """Absorption of the walls with part of their area covered. Shape: [6, bands]."""
    bare = np.asarray(wall_materials.material_absorption(names), dtype=np.float64)
    if surfaces.furnishing is None:
        return bare
    cover = draws.name(surfaces.furnishing, "room.furnishing", attempt)
    share = np.array(
        [
            draws.number(
                surfaces.furnished_share, "room.furnished_share", attempt * len(WALLS) + wall
            )
            for wall in range(_SIDE_WALLS + 1)
        ]
        + [0.0]  # the ceiling stays bare
    )[:, None]
    covered = np.asarray(wall_materials.material_absorption((cover,) * len(WALLS)))
    furnished: NDArray[np.float64] = (1 - share) * bare + share * covered
    return furnished


def _rounded(absorption: object) -> tuple[tuple[float, ...], ...]:
    """Six rows of coefficients rounded to 1e-6, where libraries agree."""
    return tuple(tuple(round(float(value), 6) for value in row) for row in np.asarray(absorption))
