"""Positions in a room, by bounded rejection that says what could not be satisfied."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from scenesynth.distributions import Draws
from scenesynth.errors import PlacementError
from scenesynth.room.model import Room, Vector
from scenesynth.room.recorded import MIN_DISTANCE_M
from scenesynth.scene.geometry import great_circle_deg, to_listener
from scenesynth.scene.grid import Grid
from scenesynth.scene.recipe_records import Listener, Placement, Table
from scenesynth.scene.spec import Keyframe
from scenesynth.seeds import Rng

TRIES_PER_DISTANCE: Final = 25
"""Directions tried before another distance is drawn.

A new distance at every try would prefer short ones, of which more directions stay in the room.
"""

RIM_POINTS: Final = 50

TRIES_IN_SHAPE: Final = 200
"""Places tried for a table or the listener in a room that does not fill its box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTable:
    """A table that stands: centre of its top and its turn against the room's x axis."""

    centre_m: Vector
    length_m: float
    width_m: float
    yaw_rad: float

    def rim(self, at: float, outwards_m: float) -> tuple[float, float]:
        """Room x, y of the point `at` in [0, 1) along the rim, moved outwards."""
        half_l, half_w = self.length_m / 2, self.width_m / 2
        along = at * 2 * (self.length_m + self.width_m)
        if along < self.length_m:
            x, y = along - half_l, -half_w - outwards_m
        elif (along := along - self.length_m) < self.width_m:
            x, y = half_l + outwards_m, along - half_w
        elif (along := along - self.width_m) < self.length_m:
            x, y = half_l - along, half_w + outwards_m
        else:
            x, y = -half_l - outwards_m, half_w - (along - self.length_m)
        return self.point(x, y)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Room x, y of a point given along the table's own axes from its centre."""
        c, s = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return self.centre_m[0] + c * x - s * y, self.centre_m[1] + s * x + c * y


def place_table(table: Table, room: Room, draws: Draws) -> DrawnTable:
    """Draw a table that keeps its clearance from the walls.

    Raises:
        PlacementError: the room is too small for it.
    """
    length_m = draws.number(table.length_m, "table.length")
    width_m = draws.number(table.width_m, "table.width")
    yaw_rad = math.radians(draws.number(table.yaw_deg, "table.yaw"))
    c, s = abs(math.cos(yaw_rad)), abs(math.sin(yaw_rad))
    extents = (c * length_m + s * width_m, s * length_m + c * width_m)
    margins = tuple(extent / 2 + table.clearance_m for extent in extents)
    for axis, size, margin in zip("xy", room.size_m, margins, strict=False):
        if size < 2 * margin:
            raise PlacementError(
                f"table: {length_m:g} x {width_m:g} m with table.clearance_m = {table.clearance_m} "
                f"needs {2 * margin:.2f} m along {axis}; room {room.id} has {size:g} m"
            )
    rng = draws.rng("table.position")
    height_m = draws.number(table.height_m, "table.height")
    for _ in range(TRIES_IN_SHAPE):
        x, y = (
            rng.uniform(margin, size - margin)
            for size, margin in zip(room.size_m, margins, strict=False)
        )
        drawn = DrawnTable(
            centre_m=(x, y, height_m), length_m=length_m, width_m=width_m, yaw_rad=yaw_rad
        )
        if _stands_clear(drawn, room, table.clearance_m):
            return drawn
    raise PlacementError(
        f"table: none of {TRIES_IN_SHAPE} places for {length_m:g} x {width_m:g} m in room "
        f"{room.id} keeps table.clearance_m = {table.clearance_m}"
    )


def _stands_clear(table: DrawnTable, room: Room, clearance_m: float) -> bool:
    """Whether the whole rim lies inside and clear of the walls, at every 2 % of its length."""
    if room.shape == "shoebox":  # the range of its centre sees to that
        return True
    rim = [table.rim(n / RIM_POINTS, 0.0) for n in range(RIM_POINTS)]
    height_m = table.centre_m[2]
    return all(clear(room, (x, y, height_m), clearance_m, ceiling=False) for x, y in rim)


def clear(room: Room, position: Vector, margin: float, *, ceiling: bool) -> bool:
    """Whether a position lies inside a room of any shape, and `margin` from its walls."""
    return room.outside(position) is None and room.clearance_m(position, ceiling=ceiling) >= margin


def place_listener(
    listener: Listener, room: Room, table: DrawnTable | None, draws: Draws
) -> Keyframe:
    """Draw the listener's pose.

    Raises:
        PlacementError: the room is too small for the margin or the height.
    """
    z = draws.number(listener.height_m, "listener.height")
    margin = listener.wall_margin_m
    _check_room("listener", room, margin, z)
    if table is not None and listener.place == "table":
        angle = 2 * math.pi * draws.rng("listener.position").unit()
        away = draws.number(listener.off_centre_m, "listener.off_centre")
        x, y = table.point(
            _clip(away * math.cos(angle), table.length_m / 2),
            _clip(away * math.sin(angle), table.width_m / 2),
        )
    else:
        x, y = somewhere(room, margin, z, draws.rng("listener.position"))
    return Keyframe(
        position_m=_rounded(x, y, z),
        yaw_deg=draws.number(listener.yaw_deg, "listener.yaw"),
        pitch_deg=draws.number(listener.pitch_deg, "listener.pitch"),
        roll_deg=draws.number(listener.roll_deg, "listener.roll"),
    )


def somewhere(room: Room, margin: float, z: float, rng: Rng) -> tuple[float, float]:
    """A place for the listener at height `z`; `margin` from the walls.

    Raises:
        PlacementError: the room hardly has one.
    """
    for _ in range(TRIES_IN_SHAPE):
        x = rng.uniform(margin, room.size_m[0] - margin)
        y = rng.uniform(margin, room.size_m[1] - margin)
        if room.shape == "shoebox" or clear(room, _rounded(x, y, z), margin, ceiling=False):
            return x, y
    raise PlacementError(
        f"listener: none of {TRIES_IN_SHAPE} places at a height of {z:g} m in room {room.id} "
        f"({room.shape}) keeps wall_margin_m = {margin:g}"
    )


def place_emitter(
    what: str,
    placement: Placement,
    room: Room,
    listener: Keyframe,
    others: Sequence[Vector],
    table: DrawnTable | None,
    rng: Rng,
    grid: Grid | None = None,
) -> Vector:
    """Draw a position that keeps all constraints of `placement`.

    Args:
        what: name of the emitter in errors.
        others: positions of the emitters placed before.
        grid: the positions that a measured room offers: of distance and azimuth the range counts
            there, and heights and walls are as they are.

    Raises:
        PlacementError: none of `placement.tries` positions did; names how many failed at what.
    """
    failures: Counter[str] = Counter()
    distance = 0.0
    limits = placement if grid is None else replace(placement, wall_margin_m=1e-6)
    for n in range(placement.tries):
        if placement.distance_m is not None and n % TRIES_PER_DISTANCE == 0:
            distance = placement.distance_m.draw(rng)
        if grid is None:
            position = _propose(placement, room, listener, table, distance, rng)
        else:
            position = grid.propose(rng)
        if position is None:
            failures["distance_m (less than the difference in height)"] += 1
            continue
        failure = _violated(limits, room, listener, others, position)
        if grid is not None and not failure:
            failure = _out_of_range(placement, listener, position)
        if not failure:
            return position
        failures[failure] += 1
    counts = ", ".join(f"{count} x {name}" for name, count in failures.most_common())
    raise PlacementError(
        f"{what}: none of {placement.tries} positions in room {room.id} "
        f"({' x '.join(f'{size:g}' for size in room.size_m)} m) keeps its constraints; broken: "
        f"{counts}. Allow other distances, lower the margins and separations, or use larger rooms"
    )


def propose_place(
    placement: Placement, room: Room, listener: Keyframe, table: DrawnTable | None, rng: Rng
) -> Vector | None:
    """Somewhere that `placement` could mean, its constraints yet to be checked."""
    distance = placement.distance_m.draw(rng) if placement.distance_m is not None else 0.0
    return _propose(placement, room, listener, table, distance, rng)


def _propose(
    placement: Placement,
    room: Room,
    listener: Keyframe,
    table: DrawnTable | None,
    distance: float,
    rng: Rng,
) -> Vector | None:
    """A position that has yet to be checked; None where the distance cannot span the heights."""
    z = placement.height_m.draw(rng)
    if placement.from_table_m is not None and table is not None:
        x, y = table.rim(rng.unit(), placement.from_table_m.draw(rng))
        return _rounded(x, y, z)
    if placement.distance_m is None:
        margin = placement.wall_margin_m
        x = margin + (room.size_m[0] - 2 * margin) * rng.unit()
        y = margin + (room.size_m[1] - 2 * margin) * rng.unit()
        return _rounded(x, y, z)
    up = z - listener.position_m[2]
    if distance <= abs(up):
        return None
    flat = math.sqrt(distance * distance - up * up)
    if placement.azimuth_deg is None:
        angle = 2 * math.pi * rng.unit()
    else:
        angle = math.radians(listener.yaw_deg + placement.azimuth_deg.draw(rng))
    x0, y0, _ = listener.position_m
    return _rounded(x0 + flat * math.cos(angle), y0 + flat * math.sin(angle), z)


def _violated(
    placement: Placement,
    room: Room,
    listener: Keyframe,
    others: Sequence[Vector],
    position: Vector,
) -> str | None:
    """Name and value of the first constraint that a position breaks, or None."""
    margin = placement.wall_margin_m
    for axis, at, size in zip("xyz", position, room.size_m, strict=True):
        # The floor is no wall to things on it: only the ceiling keeps its margin.
        low = 0.0 if axis == "z" else margin
        if not low < at < size - margin:
            return f"wall_margin_m = {margin:g} along {axis}"
    if room.shape in ("outline", "mesh"):
        if not clear(room, position, margin, ceiling=True):
            return f"wall_margin_m = {margin:g}"
        if room.blocked(listener.position_m, position):
            return "in sight of the listener"
    away = _between(listener.position_m, position)
    nearest_m = max(placement.separation_m, MIN_DISTANCE_M)
    if math.hypot(*away) < nearest_m:
        return f"separation_m = {nearest_m:g} from the listener"
    elevation = math.degrees(math.atan2(away[2], math.hypot(away[0], away[1])))
    if not placement.lowest_deg <= elevation <= placement.highest_deg:
        return f"elevation in [{placement.lowest_deg:g}, {placement.highest_deg:g}] degrees"
    for other in others:
        if math.dist(other, position) < placement.separation_m:
            return f"separation_m = {placement.separation_m:g} from another emitter"
        if placement.separation_deg > 0:
            angle = great_circle_deg(away, _between(listener.position_m, other))
            if angle < placement.separation_deg:
                return f"separation_deg = {placement.separation_deg:g} from another emitter"
    return None


def _out_of_range(placement: Placement, listener: Keyframe, position: Vector) -> str | None:
    """Name of the distribution that could not have given a position, or None."""
    azimuth, _, distance = to_listener(position, listener)
    allowed = placement.distance_m
    if allowed is not None and not allowed.low <= distance <= allowed.high:
        return f"distance_m in [{allowed.low:g}, {allowed.high:g}]"
    allowed = placement.azimuth_deg
    if allowed is not None and (azimuth - allowed.low) % 360 > allowed.high - allowed.low:
        return f"azimuth_deg in [{allowed.low:g}, {allowed.high:g}]"
    return None


def _check_room(what: str, room: Room, margin: float, z: float) -> None:
    for axis, size in zip("xy", room.size_m, strict=False):
        if size <= 2 * margin:
            raise PlacementError(
                f"{what}: wall_margin_m = {margin:g} leaves nothing of {size:g} m along {axis} in "
                f"room {room.id}"
            )
    if not 0 < z < room.size_m[2]:
        raise PlacementError(
            f"{what}: height {z:g} m is not inside room {room.id}, {room.size_m[2]:g} m high"
        )


def _between(start: Vector, stop: Vector) -> Vector:
    return (stop[0] - start[0], stop[1] - start[1], stop[2] - start[2])


def _clip(value: float, limit: float) -> float:
    return min(limit, max(-limit, value))


def _rounded(x: float, y: float, z: float) -> Vector:
    return (round(x, 6), round(y, 6), round(z, 6))
