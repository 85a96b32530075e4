"""Drawing how emitters move, as keyframes; `scenesynth.scene.listening` does so for the listener.

An ideal curve (`scenesynth.scene.ways`) is drawn, travelled at constant speed, and cut into
keyframes, close enough that straight lines between them leave it by at most 5 mm and, seen from the
listener, 0.1 degree. All constraints of the placement hold along the whole way: of walls, the
separation from the listener, and elevation. A search is bounded and says what could not be kept.

Paths are laid out about the listener's first place. Another emitter is kept clear of at the start
only: ways may cross.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.distributions import Draws
from scenesynth.errors import PlacementError
from scenesynth.room.model import Room, Vector
from scenesynth.scene.grid import Grid
from scenesynth.scene.ground import Ground, vector
from scenesynth.scene.motion import ANGLE_TOLERANCE_RAD, Path, Rough, angles_rad, lengths, refine
from scenesynth.scene.motion_records import Motion
from scenesynth.scene.placement import DrawnTable, place_emitter, propose_place
from scenesynth.scene.recipe_records import Placement
from scenesynth.scene.spec import Keyframe
from scenesynth.scene.ways import Way, around, rounded, straight
from scenesynth.seeds import Rng

Array = NDArray[np.float64]
Look = Callable[[Vector, Vector | None], tuple[float, float]]
"""Yaw and pitch in degrees of an emitter at a place that goes in a direction, if it does."""

Span = tuple[float, float]
Timed = tuple[Array, Array]
"""Times and places of keyframes. Shapes: [keyframes], [keyframes, 3]."""

PATH_TOLERANCE_M: Final = 0.005
"""Straight lines between keyframes keep this close to the ideal curve, and as close in angle as
`ANGLE_TOLERANCE_RAD`."""

FACING_STEP_RAD: Final = math.radians(8.0)
"""The direction from the listener changes by no more between keyframes, so that what faces him
does so in between, too: within half a degree."""

CORNER_S: Final = 0.4
"""What looks where it goes turns around a corner in this time."""

PATHS_PER_START: Final = 5
LEG_TRIES: Final = 12
LEAST_M: Final = 0.1
"""Nothing passes the listener closer than this, whatever the separation."""

STEP_S: Final = 1.0
"""Time between the corners of a random walk."""

WALK_TURN_RAD: Final = math.radians(60.0)
"""A random walk changes its heading by no more per step, unless it would hit something."""

MOST_LEGS: Final = 4096
NO_WAY_ON: Final = "no way on from a corner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How something moves: what is drawn once, before its way. Infinite is no limit."""

    family: str
    speed_mps: float
    turn_rad_s: float = math.inf
    length_m: float = math.inf
    turn_rad: float = math.inf
    corners: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenery:
    """What an emitter is placed in.

    Attributes:
        listener: keyframes.
        spans: start and stop of the times at which the emitter moves, if it does, in order.
    """

    room: Room
    listener: tuple[Keyframe, ...]
    spans: tuple[Span, ...]
    table: DrawnTable | None = None
    grid: Grid | None = None


def draw_pace(motion: Motion, draws: Draws, role: str, k: int) -> Pace | None:
    """How emitter `k` of a role moves; None where it is one of those that stand."""
    if motion.share < 1 and draws.rng(f"{role}.moves", k).unit() >= motion.share:
        return None

    def drawn(name: str) -> float:
        of = getattr(motion, name)
        return math.inf if of is None else draws.number(of, f"{role}.{name}", k)

    return Pace(
        family=draws.name(motion.path, f"{role}.path", k),
        speed_mps=drawn("speed_mps"),
        turn_rad_s=math.radians(drawn("angular_speed_deg_s")),
        length_m=drawn("length_m"),
        turn_rad=math.radians(drawn("turn_deg")),
        corners=draws.count(motion.corners, f"{role}.corners", k),
    )


def settle(
    what: str,
    placement: Placement,
    pace: Pace | None,
    tries: int,
    scenery: Scenery,
    others: Sequence[Vector],
    look: Look,
    ahead: bool,
    rng: Rng,
) -> tuple[Keyframe, ...]:
    """Draw where an emitter is and, with a `pace`, how it moves from there.

    Args:
        what: name of the emitter in errors.
        tries: ways (or places, where the listener walks) that are tried.
        others: first positions of the emitters placed before.
        ahead: whether it looks where it goes.

    Raises:
        PlacementError: none of them keeps the constraints; names how many failed at what.
    """
    first, room, table, grid = scenery.listener[0], scenery.room, scenery.table, scenery.grid

    def place() -> Vector:
        return place_emitter(what, placement, room, first, others, table, rng, grid)

    walks = len({pose.position_m for pose in scenery.listener}) > 1
    if pace is None and not walks:
        return (_pose(0.0, place(), None, look),)
    ground, listener = _ground_of(placement, scenery), Path.of(scenery.listener)
    failures: Counter[str] = Counter()
    for n in range(tries):
        if pace is None or n % PATHS_PER_START == 0:
            start = place()
        if pace is None:
            drawn: Timed | None = np.zeros(1), np.array([start])
        else:
            drawn = draw_way(pace, start, ground, scenery.spans, rng)
        failure = _broken_on_the_way(ground, drawn, listener) if drawn else NO_WAY_ON
        if drawn and not failure:
            if ahead and pace is not None:
                return tuple(
                    _pose(float(t), vector(at), vector(heading), look)
                    for t, at, heading in zip(*_headed(*drawn), strict=True)
                )
            return tuple(
                _pose(float(t), vector(at), None, look) for t, at in zip(*drawn, strict=True)
            )
        failures[str(failure)] += 1
    raise none_found(what, "ways" if pace else "places", tries, room, failures)


def _ground_of(placement: Placement, scenery: Scenery) -> Ground:
    room, first, table = scenery.room, scenery.listener[0], scenery.table
    return Ground(
        room=room,
        centre_m=first.position_m,
        propose=lambda rng: propose_place(placement, room, first, table, rng),
        wall_margin_m=placement.wall_margin_m,
        ceiling=True,
        separation_m=max(placement.separation_m, LEAST_M),
        lowest_deg=placement.lowest_deg,
        highest_deg=placement.highest_deg,
    )


def draw_way(
    pace: Pace, start: Vector, ground: Ground, spans: Sequence[Span], rng: Rng
) -> Timed | None:
    """Times and places of one way from `start`; None where there is no way on.

    As fast as both speeds of the pace allow, in the spans, until it is travelled.
    """
    moving_s = sum(stop - start for start, stop in spans)
    way = _way(pace, start, ground, moving_s, rng)
    if way is None:
        return None
    speed_mps, centre = pace.speed_mps, None
    if ground.separation_m is not None:
        if way.nearest_m < LEAST_M:
            return None
        speed_mps = min(speed_mps, pace.turn_rad_s * way.nearest_m)
        centre = np.array(ground.centre_m)
    stop_m = min(float(way.breaks_m[-1]), pace.length_m, speed_mps * moving_s)
    if pace.family == "circular":
        stop_m = min(stop_m, pace.turn_rad * way.nearest_m)
    return timed(way, speed_mps, stop_m, spans, rough_from(centre))


def _way(pace: Pace, start: Vector, ground: Ground, moving_s: float, rng: Rng) -> Way | None:
    first, centre = np.array(start), np.array(ground.centre_m)
    if pace.family == "circular":
        return around(first, centre, 1 if rng.unit() < 0.5 else -1)
    if pace.family == "random_walk":
        return _random_walk(pace, first, ground, moving_s, rng)
    corners = [first]
    for _ in range(1 if pace.family == "linear" else pace.corners):
        for _ in range(LEG_TRIES):
            place = ground.propose(rng)
            if place is not None and _open(ground, corners[-1], np.array(place)):
                corners.append(np.array(place))
                break
        else:
            return None
    return straight(np.array(corners), centre)


def _random_walk(pace: Pace, start: Array, ground: Ground, moving_s: float, rng: Rng) -> Way | None:
    centre = np.array(ground.centre_m)
    speed_mps = min(pace.speed_mps, pace.turn_rad_s * math.dist(start, ground.centre_m))
    step_m = speed_mps * STEP_S
    legs = min(math.ceil(min(speed_mps * moving_s, pace.length_m) / step_m), MOST_LEGS)
    corners, heading = [start], rng.uniform(0, 2 * math.pi)
    for _ in range(max(legs, 1)):
        for attempt in range(LEG_TRIES):
            most = WALK_TURN_RAD if attempt < LEG_TRIES // 2 else math.pi
            turned = heading + rng.uniform(-most, most)
            leg = step_m * np.array([math.cos(turned), math.sin(turned), 0.0])
            if _open(ground, corners[-1], corners[-1] + leg):
                corners.append(corners[-1] + leg)
                heading = turned
                break
        else:
            return None
    return rounded(np.array(corners), step_m, centre)


def _open(ground: Ground, start: Array, stop: Array) -> bool:
    """Whether a straight leg keeps all constraints about the listener's first place."""
    return ground.broken(np.stack([start, stop]), np.array([ground.centre_m] * 2)) is None


def timed(way: Way, speed_mps: float, stop_m: float, spans: Sequence[Span], rough: Rough) -> Timed:
    """Keyframes of a way, their numbers rounded as those of a spec are."""
    breaks = way.breaks_m[way.breaks_m < stop_m]
    if way.piece_m is not None:
        breaks = np.append(breaks, np.arange(0.0, stop_m, way.piece_m))
    cuts_m = refine(way.curve, np.array([*breaks, stop_m]), rough)
    times: list[Array] = []
    travelled: list[Array] = []
    before_s = 0.0
    for start_s, end_s in spans:
        low, high = (min(speed_mps * at, stop_m) for at in (before_s, before_s + end_s - start_s))
        here = np.array([low, *cuts_m[(cuts_m > low) & (cuts_m < high)], high])
        times.append(start_s + here / speed_mps - before_s)
        travelled.append(here)
        before_s += end_s - start_s
        if high == stop_m:
            break
    every_s: Array = np.concatenate(times).round(6)
    _, once = np.unique(every_s, return_index=True)
    return every_s[once], np.round(way.curve(np.concatenate(travelled)[once]), 6)


def rough_from(centre: Array | None) -> Rough:
    """Chords that leave an ideal curve, seen from `centre` if there is one."""

    def rough(ends: Array, exact: Array, chords: Array) -> NDArray[np.bool_]:
        off = lengths(exact - chords) > 0.9 * PATH_TOLERANCE_M
        if centre is None:
            return np.asarray(off.any(axis=0))
        turned = angles_rad(exact - centre, chords - centre) > 0.9 * ANGLE_TOLERANCE_RAD
        swept = angles_rad(ends[:-1] - centre, ends[1:] - centre) > FACING_STEP_RAD
        return np.asarray((off | turned).any(axis=0) | swept)

    return rough


def _headed(times: Array, places: Array) -> tuple[Array, Array, Array]:
    """Keyframes with further ones around corners, and the headings at all of them.

    Shapes: [keyframes], [keyframes, 3], [keyframes, 3].
    """
    lasts_s, legs = np.diff(times), np.diff(places, axis=0)
    far_m = lengths(legs)
    # While it rests it looks where it went.
    leg = np.maximum.accumulate(np.where(far_m > 1e-6, np.arange(len(legs)), 0))
    along = legs[leg] / far_m[leg, None]
    before, after = along[:-1], along[1:]
    between = before + after
    back = lengths(between) < 1e-6  # turns on the spot, to the left
    between[back] = np.stack([-before[back, 1], before[back, 0], 0 * before[back, 0]], axis=1)
    sharp = np.flatnonzero(angles_rad(before, after) > FACING_STEP_RAD)
    margin_s = np.minimum(CORNER_S / 2, lasts_s / 3)
    corner_s = times[1:-1][sharp]
    every_s: Array = np.concatenate(
        [times, corner_s - margin_s[sharp], corner_s + margin_s[sharp + 1]]
    ).round(6)
    headings = np.concatenate([along[:1], between, along[-1:], before[sharp], after[sharp]])
    every_s, once = np.unique(every_s, return_index=True)
    at = np.stack([np.interp(every_s, times, axis) for axis in places.T], axis=1)
    return every_s, np.round(at, 6), headings[once]


def _pose(time_s: float, position_m: Vector, heading: Vector | None, look: Look) -> Keyframe:
    yaw_deg, pitch_deg = look(position_m, heading)
    return Keyframe(time_s=time_s, position_m=position_m, yaw_deg=yaw_deg, pitch_deg=pitch_deg)


def _broken_on_the_way(ground: Ground, drawn: Timed, listener: Path) -> str | None:
    """What an emitter breaks while both move: their keyframes together cut straight legs."""
    times, places = drawn
    every_s = np.union1d(times, listener.time_s)
    points = np.stack([np.interp(every_s, times, axis) for axis in places.T], axis=1)
    return ground.broken(points, listener.positions(every_s))


def none_found(
    what: str, things: str, tries: int, room: Room, failures: Counter[str]
) -> PlacementError:
    counts = ", ".join(f"{count} x {name}" for name, count in failures.most_common())
    return PlacementError(
        f"{what}: none of {tries} {things} in room {room.id} "
        f"({' x '.join(f'{size:g}' for size in room.size_m)} m) keeps its constraints while "
        f"something moves; broken: {counts}. Allow slower or shorter motion, lower the margins and "
        f"separations, or use larger rooms"
    )
