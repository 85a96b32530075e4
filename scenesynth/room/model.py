"""A room and its air as numbers.

Walls of a shoebox come in the order x0, x1, y0, y1, z0, z1: the wall at coordinate 0 of an axis,
then the one at its far end (z0 is the floor, z1 the ceiling). The origin lies in a floor corner: of
the room, or of the box around a room of another shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scenesynth.room import outline as plan

if TYPE_CHECKING:
    from scenesynth.room.mesh import Mesh

WALLS = ("x0", "x1", "y0", "y1", "z0", "z1")
OCTAVE_BANDS_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)

Vector = tuple[float, float, float]
Shape = Literal["shoebox", "outline", "mesh", "measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Air:
    """The medium: what sets delay and air absorption (ISO 9613-1).

    Attributes:
        speed_of_sound_mps: that of the temperature where not given. A copy with another temperature
            (`dataclasses.replace`) keeps the speed unless that is replaced too.
    """

    temperature_c: float = 20.0
    humidity_pct: float = 50.0
    pressure_kpa: float = 101.325
    speed_of_sound_mps: float = math.nan

    def __post_init__(self) -> None:
        if not -40 <= self.temperature_c <= 60:
            raise ValueError(f"temperature_c = {self.temperature_c}; must lie in [-40, 60]")
        if math.isnan(self.speed_of_sound_mps):
            # Only here: that module describes air by this one's records.
            from scenesynth.room.air import speed_of_sound_mps

            object.__setattr__(self, "speed_of_sound_mps", speed_of_sound_mps(self.temperature_c))
        if not 0 < self.humidity_pct <= 100:
            raise ValueError(f"humidity_pct = {self.humidity_pct}; must lie in (0, 100]")
        if not 50 <= self.pressure_kpa <= 120:
            raise ValueError(f"pressure_kpa = {self.pressure_kpa}; must lie in [50, 120]")
        if not 250 <= self.speed_of_sound_mps <= 450:
            raise ValueError(
                f"speed_of_sound_mps = {self.speed_of_sound_mps}; must lie in [250, 450]"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRef:
    """A file that a scene needs, by name and content.

    Attributes:
        id: name in the library of assets, no path.
        digest: digest of its content; another content is another asset.
    """

    id: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A shoebox with an energy absorption coefficient per wall and octave band.

    Or a room of another shape: with vertical walls over a floor plan (`outline_m`), or any closed
    surface (`mesh`). `size_m` is then the box around it, and `surfaces` names what it has instead
    of six walls.

    Or a room that was measured, or simulated elsewhere: then it is its responses, `size_m` is the
    box that holds their positions, and nothing is known of its walls.

    Attributes:
        id: name; rooms of different splits have different names.
        size_m: lengths along x, y, z.
        band_hz: octave-band centres of the columns of `absorption`, rising.
        absorption: one row per surface (order of `surfaces`) by bands, each in [0, 1]; none where
            measured.
        rt60_s: requested reverberation time per band, or None where materials rule.
        materials: name per surface, for people; None where the T60 was asked for.
        measured: the responses of a measured room.
        outline_m: corners (x, y) of the floor plan, counter-clockwise seen from above.
        mesh: file of a closed surface.
        groups: names of the mesh's groups of triangles, its surfaces.
        scattering: share of the reflected energy that leaves in other directions than a mirror's:
            one number, or surfaces by bands.
    """

    id: str
    size_m: Vector
    band_hz: tuple[float, ...]
    absorption: tuple[tuple[float, ...], ...]
    rt60_s: tuple[float, ...] | None = None
    materials: tuple[str, ...] | None = None
    measured: AssetRef | None = None
    outline_m: tuple[tuple[float, float], ...] | None = None
    mesh: AssetRef | None = None
    groups: tuple[str, ...] | None = None
    scattering: tuple[tuple[float, ...], ...] | float = 0.0

    def __post_init__(self) -> None:
        if min(self.size_m) <= 0:
            raise ValueError(f"size_m = {self.size_m}; every length must be positive")
        if not self.band_hz or list(self.band_hz) != sorted(set(self.band_hz)):
            raise ValueError(f"band_hz = {self.band_hz}; must be rising band centres")
        self._check_shape()
        if self.measured is not None:
            if self.absorption:
                raise ValueError("absorption is given for a measured room; must be empty")
            return
        self._check_rows("absorption", self.absorption)
        if isinstance(self.scattering, tuple):
            self._check_rows("scattering", self.scattering)
        elif not 0 <= self.scattering <= 1:
            raise ValueError(f"scattering = {self.scattering}; must lie in [0, 1]")
        if self.materials is not None and len(self.materials) != len(self.surfaces):
            raise ValueError(
                f"materials has {len(self.materials)} names; must have {len(self.surfaces)}, for "
                f"{', '.join(self.surfaces)}"
            )
        if self.rt60_s is not None and len(self.rt60_s) != len(self.band_hz):
            raise ValueError(f"rt60_s has {len(self.rt60_s)} bands; must have {len(self.band_hz)}")

    def _check_shape(self) -> None:
        given = [name for name in ("outline_m", "mesh", "measured") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; a room has one shape")
        if (self.groups is None) != (self.mesh is None) or self.groups == ():
            raise ValueError(f"groups = {self.groups}; must name the surfaces of a mesh, if any")
        if self.outline_m is not None:
            plan.check_outline(self.outline_m, self.size_m)

    def _check_rows(self, name: str, rows: tuple[tuple[float, ...], ...]) -> None:
        """Check a coefficient of every surface and band."""
        if len(rows) != len(self.surfaces):
            raise ValueError(
                f"{name} has {len(rows)} rows; must have {len(self.surfaces)}, one for each of "
                f"{', '.join(self.surfaces)}"
            )
        for surface, row in zip(self.surfaces, rows, strict=True):
            if len(row) != len(self.band_hz):
                raise ValueError(
                    f"{name} of {surface} has {len(row)} bands; must have {len(self.band_hz)}"
                )
            for band, value in zip(self.band_hz, row, strict=True):
                if not 0 <= value <= 1:
                    raise ValueError(
                        f"{name} of {surface} at {band:g} Hz = {value}; must lie in [0, 1]"
                    )

    @property
    def shape(self) -> Shape:
        """What kind of room it is, which decides what engines can render it."""
        if self.outline_m is not None:
            return "outline"
        if self.mesh is not None:
            return "mesh"
        return "shoebox" if self.measured is None else "measured"

    @property
    def surfaces(self) -> tuple[str, ...]:
        """Names of the surfaces, in the order of the rows of `absorption`.

        Edge k of a floor plan, from corner k to the next, is the wall ek.
        """
        if self.outline_m is not None:
            return (*(f"e{k}" for k in range(len(self.outline_m))), "floor", "ceiling")
        if self.measured is not None:
            return ()
        return self.groups or WALLS

    @property
    def scatters(self) -> bool:
        """Whether any surface scatters."""
        if isinstance(self.scattering, tuple):
            return any(map(any, self.scattering))
        return self.scattering > 0

    def outside(self, position_m: Vector) -> str | None:
        """Say how a position fails to lie strictly inside the room, or None.

        Raises:
            ConfigError: the room's mesh is not to be found.
        """
        for axis, at, length in zip("xyz", position_m, self.size_m, strict=True):
            if not 0 < at < length:
                return f"{axis} = {at:g} m is not inside (0, {length:g}) m"
        if self.shape not in ("outline", "mesh"):
            return None
        x, y, z = position_m
        distance_m, surface = self._nearest_wall(position_m)
        if distance_m < plan.TOUCHING_M:
            return f"({x:g}, {y:g}, {z:g}) m lies on {surface}"
        if self.outline_m is not None:
            inside = plan.contains(self.outline_m, x, y)
        else:
            inside = self._load_mesh().contains(position_m)
        if inside:
            return None
        return f"({x:g}, {y:g}, {z:g}) m lies {distance_m:.3g} m behind {surface}"

    def wall_distance_m(self, position_m: Vector) -> float:
        """Distance from a position inside to the nearest surface, floor and ceiling included."""
        low = min(position_m[2], self.size_m[2] - position_m[2])
        return min(low, self._nearest_wall(position_m)[0])

    def clearance_m(self, position_m: Vector, *, ceiling: bool) -> float:
        """Distance from a position inside to the walls; the floor is no wall to things on it.

        Args:
            ceiling: whether the ceiling counts as a wall.
        """
        if self.mesh is not None:
            return self._load_mesh().nearest(position_m, floor=False, ceiling=ceiling)[0]
        walls_m = self._nearest_wall(position_m)[0]
        return min(self.size_m[2] - position_m[2], walls_m) if ceiling else walls_m

    def blocked(self, start_m: Vector, stop_m: Vector) -> str | None:
        """Surface that stands between two positions inside; None where they see each other."""
        if self.outline_m is not None:
            edge = plan.blocking_edge(self.outline_m, start_m[:2], stop_m[:2])
            return None if edge is None else f"e{edge}"
        if self.mesh is not None:
            mesh = self._load_mesh()
            triangle = mesh.blocking(start_m, stop_m)
            return None if triangle is None else mesh.groups[mesh.group[triangle]]
        return None

    def _nearest_wall(self, position_m: Vector) -> tuple[float, str]:
        """Distance to the nearest wall, and its name; floor and ceiling count in a mesh only."""
        if self.outline_m is not None:
            distance_m, edge = plan.nearest_edge(self.outline_m, *position_m[:2])
            return distance_m, f"e{edge}"
        if self.mesh is not None:
            mesh = self._load_mesh()
            distance_m, triangle = mesh.nearest(position_m)
            return distance_m, mesh.groups[mesh.group[triangle]]
        return min(self._box_distances(position_m))

    def _box_distances(self, position_m: Vector) -> Iterator[tuple[float, str]]:
        for axis in range(2):
            at, length = position_m[axis], self.size_m[axis]
            yield from ((at, WALLS[2 * axis]), (length - at, WALLS[2 * axis + 1]))

    def _load_mesh(self) -> Mesh:
        # Only here: that module describes its files by this one's records, and needs NumPy.
        from scenesynth.room.mesh import load_mesh

        assert self.mesh is not None
        return load_mesh(self.mesh)
