"""Room families: distributions of rooms, and rooms drawn from them.

Rooms are shoeboxes, unless a family has an `outline`, the corners of a floor plan, or names a
`mesh`, a file with a closed surface.

A family states either reverberation times (`decay`; the absorption that produces them is found by
inverting the decay) or what its surfaces are made of (`surfaces`), or it names rooms that were
measured (`measured`), which have neither size nor absorption to draw.

A drawn room depends on its family and the key of its draws only. A reverberation time that the
drawn box cannot have (the air alone absorbs more, or no wall absorbs enough) is drawn again with
its box, a bounded number of times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from scenesynth.distributions import Draws, Number, constant, within
from scenesynth.errors import ConfigError, UnreachableT60Error
from scenesynth.records import did_you_mean
from scenesynth.room import air as air_physics
from scenesynth.room import decay as decay_physics
from scenesynth.room import materials as wall_materials
from scenesynth.room import outline as plan
from scenesynth.room.eyring import eyring_length_s, eyring_t60_s, surface_areas_m2
from scenesynth.room.measured import MeasuredRoom, find_room
from scenesynth.room.model import OCTAVE_BANDS_HZ, WALLS, Air, AssetRef, Room, Shape, Vector
from scenesynth.room.surfaces import (
    Surfaces,
    draw_materials,
    evened_absorption,
    furnished_absorption,
)

if TYPE_CHECKING:
    from scenesynth.room.mesh import Mesh

TRIES: Final = 20
"""Boxes drawn for one room before its family is called impossible."""

MIDDLE_BANDS_HZ: Final = (500.0, 1000.0, 2000.0)
"""Whose mean T60 the bands of a room are compared with."""

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
    outline: tuple[tuple[float, float], ...] | None = field(
        default=None,
        metadata={
            "doc": "floor plan instead of a rectangle: corners counter-clockwise, as shares of "
            "length and width; wall ek goes from corner k to the next"
        },
    )
    mesh: AssetRef | None = field(
        default=None,
        metadata={
            "doc": "file of a closed surface (.obj, .stl; metres, z up), instead of sizes; the "
            "path counts from the recipe's folder"
        },
    )
    scattering: Number = field(
        default=constant(0),
        metadata={"doc": "share of the reflected energy that surfaces scatter; needs rays"},
    )
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
        self._check_shape()
        if self.weight < 0:
            raise ValueError(f"weight = {self.weight}; must be 0 or more")
        for name in ("length_m", "width_m", "height_m"):
            within(name, getattr(self, name), 0.5, 500)
        within("scattering", self.scattering, 0, 1)
        within("temperature_c", self.temperature_c, -40, 60)
        within("humidity_pct", self.humidity_pct, 1, 100)

    def _check_shape(self) -> None:
        given = [name for name in ("outline", "mesh", "measured") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; a family has one shape")
        fixed = self.shape in ("mesh", "measured")
        for name in ("length_m", "width_m", "height_m"):
            if fixed and getattr(self, name) is not None:
                raise ValueError(f"{name}: a room of shape {self.shape!r} has its own size")
            if not fixed and getattr(self, name) is None:
                raise ValueError(f"{name}: missing; only mesh and measured rooms have no size")
        if self.outline is not None:
            try:
                plan.check_outline(self.outline, (1.0, 1.0))
            except ValueError as error:
                raise ValueError(f"outline, in shares of length and width: {error}") from None
        if self.decay is not None and self.shape != "shoebox":
            raise ValueError(
                f"decay: absorption for a T60 is known for shoeboxes only; give surfaces to a room "
                f"of shape {self.shape!r}"
            )

    @property
    def shape(self) -> Shape:
        """What kind of rooms these are, which decides what engines can render them."""
        if self.outline is not None:
            return "outline"
        if self.mesh is not None:
            return "mesh"
        return "shoebox" if self.measured is None else "measured"


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


def draw_room(
    families: tuple[RoomFamily, ...],
    room_id: str,
    draws: Draws,
    band_hz: tuple[float, ...] = OCTAVE_BANDS_HZ,
) -> DrawnRoom:
    """Draw a room of one of the families (by weight).

    Args:
        band_hz: the octave bands that it has.

    Raises:
        ConfigError: in `TRIES` boxes of the family no drawn reverberation time could be reached.
    """
    family = families[0]
    if len(families) > 1:
        family = draws.rng("room.family").choice(families, [f.weight for f in families])
    air = _draw_air(family, draws)
    if family.measured is not None:
        return _draw_measured(family.measured, air, draws, band_hz)
    why = ""
    for attempt in range(TRIES):
        try:
            room = _draw_box(family, room_id, air, draws, attempt, band_hz)
        except UnreachableT60Error as error:
            why = str(error)
            continue
        drawn = DrawnRoom(room=room, air=air, response_s=_response_s(room, air))
        why = _too_long(family.surfaces, drawn)
        if not why:
            return drawn
    raise ConfigError(
        f"room family {family.name}: none of {TRIES} drawn boxes can have the T60 asked for; the "
        f"last: {why}. Change the T60, the surfaces or the size"
    )


def _too_long(of: Surfaces | None, drawn: DrawnRoom) -> str:
    """What a room of materials reverberates beyond, or nothing."""
    if of is None:
        return ""
    if of.longest_rt60_s and drawn.response_s > of.longest_rt60_s:
        return f"surfaces.longest_rt60_s = {of.longest_rt60_s}, but its T60 is {drawn.response_s} s"
    if of.longest_rt60_ratio:
        estimate = decay_physics.room_t60_s if drawn.room.shape == "shoebox" else eyring_t60_s
        t60_s = estimate(drawn.room, drawn.air)
        middle = [n for n, band in enumerate(drawn.room.band_hz) if band in MIDDLE_BANDS_HZ]
        ratio = float(t60_s.max() / t60_s[middle].mean()) if middle else 1.0
        if ratio > of.longest_rt60_ratio:
            return (
                f"surfaces.longest_rt60_ratio = {of.longest_rt60_ratio}, but the T60 of its "
                f"slowest band is {ratio:.2f} times that of the middle ones"
            )
    return ""


@lru_cache(maxsize=4096)
def anechoic(drawn: DrawnRoom) -> DrawnRoom:
    """The same room with walls that absorb everything; responses hold the direct sound alone."""
    room = drawn.room
    full = replace(
        room,
        id=f"{room.id}/anechoic",
        absorption=tuple((1.0,) * len(room.band_hz) for _ in room.surfaces),
        rt60_s=None,
        materials=None,
        scattering=0.0,
    )
    return replace(drawn, room=full, response_s=_response_s(full, drawn.air))


def check_materials(family: RoomFamily) -> None:
    """Raise ConfigError where the family names a material or surface that does not exist."""
    of = family.surfaces
    if of is None:
        return
    names = {part: getattr(of, part) for part in ("walls", "floor", "ceiling")}
    names |= {"feature_wall": of.feature_wall, "furnishing": of.furnishing}
    names |= {f"named.{item.surface}": item.material for item in of.named}
    known = wall_materials.load_materials()
    for part, name in names.items():
        for option in name.options if name else ():
            if option not in known:
                raise ConfigError(
                    f"rooms.{family.name}.surfaces.{part}: unknown material {option!r}"
                    f"{did_you_mean(option, known)}; known: {', '.join(sorted(known))}"
                )
    surfaces = _surfaces(family)
    for item in of.named:
        if item.surface not in surfaces:
            raise ConfigError(
                f"rooms.{family.name}.surfaces.named: no surface {item.surface!r}"
                f"{did_you_mean(item.surface, surfaces)}; it has {', '.join(surfaces)}"
            )


def _surfaces(family: RoomFamily) -> tuple[str, ...]:
    """Names of the surfaces that rooms of a family have."""
    if family.mesh is not None:
        return _mesh(family.mesh).groups
    if family.outline is not None:
        return (*(f"e{k}" for k in range(len(family.outline))), "floor", "ceiling")
    return WALLS


def _mesh(ref: AssetRef) -> Mesh:
    from scenesynth.room.mesh import load_mesh  # reading other recipes needs none of it

    return load_mesh(ref)


def _draw_measured(
    family: Measured, air: Air, draws: Draws, band_hz: tuple[float, ...]
) -> DrawnRoom:
    """One of the rooms; it keeps its name, as it is of one split anyway."""
    found = find_room(draws.rng("room.measured").choice(family.rooms))
    room = Room(
        id=found.card.name,
        size_m=found.card.size_m,
        band_hz=tuple(band for band in band_hz if band < found.card.sample_rate / 2),
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
    estimate = decay_physics.response_length_s if room.shape == "shoebox" else eyring_length_s
    return math.ceil(float(estimate(room, air)) * 1e3) / 1e3


def _draw_air(family: RoomFamily, draws: Draws) -> Air:
    temperature_c = draws.number(family.temperature_c, "room.temperature")
    return Air(
        temperature_c=temperature_c,
        humidity_pct=draws.number(family.humidity_pct, "room.humidity"),
        speed_of_sound_mps=round(float(air_physics.speed_of_sound_mps(temperature_c)), 6),
    )


def _draw_box(
    family: RoomFamily,
    room_id: str,
    air: Air,
    draws: Draws,
    attempt: int,
    band_hz: tuple[float, ...],
) -> Room:
    bands = [OCTAVE_BANDS_HZ.index(band) for band in band_hz]
    size_m = _draw_size(family, draws, attempt)
    if family.surfaces is not None:
        surfaces = _surfaces(family)
        names = draw_materials(family.surfaces, surfaces, draws, attempt)
        furnished = furnished_absorption(family.surfaces, surfaces, names, draws, attempt)
        share = draws.number(family.surfaces.evened_share, "room.evened_share", attempt)
        room = Room(
            id=room_id,
            size_m=size_m,
            band_hz=band_hz,
            absorption=_rounded(furnished[:, bands]),
            materials=names,
            outline_m=_scaled(family.outline, size_m),
            mesh=family.mesh,
            groups=None if family.mesh is None else surfaces,
            scattering=draws.number(family.scattering, "room.scattering", attempt),
        )
        if share == 0:
            return room
        evened = evened_absorption(furnished[:, bands], surface_areas_m2(room), share)
        return replace(room, absorption=_rounded(evened))
    assert family.decay is not None
    drawn_s = _draw_rt60(family.decay, draws, attempt)
    rt60_s = tuple(drawn_s[band] for band in bands)
    absorption = decay_physics.absorption_for_t60(
        size_m, rt60_s, band_hz, air, wall_weights=_draw_weights(family.decay, draws)
    )
    return Room(
        id=room_id,
        size_m=size_m,
        band_hz=band_hz,
        absorption=_rounded(absorption),
        rt60_s=rt60_s,
        scattering=draws.number(family.scattering, "room.scattering", attempt),
    )


def _draw_size(family: RoomFamily, draws: Draws, attempt: int) -> Vector:
    if family.mesh is not None:
        return _mesh(family.mesh).size_m
    length_m, width_m, height_m = family.length_m, family.width_m, family.height_m
    assert length_m
    assert width_m
    assert height_m
    return (
        draws.number(length_m, "room.length", attempt),
        draws.number(width_m, "room.width", attempt),
        draws.number(height_m, "room.height", attempt),
    )


def _scaled(
    outline: tuple[tuple[float, float], ...] | None, size_m: Vector
) -> tuple[tuple[float, float], ...] | None:
    """Corners in metres, whose box is exactly the room's size."""
    if outline is None:
        return None
    return tuple((round(x * size_m[0], 6), round(y * size_m[1], 6)) for x, y in outline)


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


def _rounded(absorption: object) -> tuple[tuple[float, ...], ...]:
    """Rows of coefficients rounded to 1e-6, where libraries agree."""
    return tuple(tuple(round(float(value), 6) for value in row) for row in np.asarray(absorption))
