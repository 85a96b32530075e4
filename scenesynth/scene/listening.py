"""Drawing how the listener walks and turns the head, as keyframes."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.distributions import Draws
from scenesynth.room.model import Room
from scenesynth.scene.ground import Ground
from scenesynth.scene.motion import ANGLE_TOLERANCE_RAD
from scenesynth.scene.motion_records import ListenerMotion
from scenesynth.scene.placement import somewhere
from scenesynth.scene.recipe_records import Listener
from scenesynth.scene.spec import Keyframe
from scenesynth.scene.trajectories import NO_WAY_ON, Pace, Timed, draw_way, none_found

Array = NDArray[np.float64]

MOST_TURNS: Final = 4096


def listener_path(
    listener: Listener, first: Keyframe, room: Room, duration_s: float, draws: Draws
) -> tuple[Keyframe, ...]:
    """The listener's keyframes, from the pose `first` on.

    Raises:
        PlacementError: no way keeps the wall margin.
    """
    motion = listener.motion
    if motion is None:
        return (first,)
    if motion.share < 1 and draws.rng("listener.moves").unit() >= motion.share:
        return (first,)
    times_s, places = np.zeros(1), np.array([first.position_m])
    if motion.path is not None:
        times_s, places = _listener_way(listener, motion, first, room, duration_s, draws)
    turn_s, yaw_deg, pitch_deg = _turns(motion, duration_s, draws)
    every_s = np.unique(np.concatenate([times_s, turn_s]))
    at = [np.interp(every_s, times_s, axis) for axis in places.T]
    yaw, pitch = (np.interp(every_s, turn_s, offset) for offset in (yaw_deg, pitch_deg))
    return tuple(
        Keyframe(
            time_s=float(time_s),
            position_m=(round(float(x), 6), round(float(y), 6), first.position_m[2]),
            yaw_deg=round(first.yaw_deg + float(left), 6),
            pitch_deg=round(first.pitch_deg + float(up), 6),
            roll_deg=first.roll_deg,
        )
        for time_s, x, y, left, up in zip(every_s, *at[:2], yaw, pitch, strict=True)
    )


def _listener_way(
    listener: Listener,
    motion: ListenerMotion,
    first: Keyframe,
    room: Room,
    duration_s: float,
    draws: Draws,
) -> Timed:
    """Times and places of a walking listener."""
    assert motion.path is not None
    height_m = first.position_m[2]
    ground = Ground(
        room=room,
        centre_m=first.position_m,
        propose=lambda rng: (*somewhere(room, listener.wall_margin_m, height_m, rng), height_m),
        wall_margin_m=listener.wall_margin_m,
        ceiling=False,
        separation_m=None,
    )
    length = motion.length_m
    pace = Pace(
        family=draws.name(motion.path, "listener.path"),
        speed_mps=draws.number(motion.speed_mps, "listener.speed_mps"),
        length_m=math.inf if length is None else draws.number(length, "listener.length_m"),
        corners=draws.count(motion.corners, "listener.corners"),
    )
    rng = draws.rng("listener.trajectory")
    failures: Counter[str] = Counter()
    for _ in range(motion.tries):
        drawn = draw_way(pace, first.position_m, ground, ((0.0, duration_s),), rng)
        failure = ground.broken(drawn[1], drawn[1]) if drawn else NO_WAY_ON
        if drawn and not failure:
            return drawn
        failures[str(failure)] += 1
    raise none_found("listener", "ways", motion.tries, room, failures)


def _turns(motion: ListenerMotion, duration_s: float, draws: Draws) -> tuple[Array, Array, Array]:
    """Times of head turns, and yaw and pitch off the first orientation in degrees, until the end.

    Yaw turns about the vertical and pitch about the ear axis, which is level, so a turn by both
    goes at the hypotenuse of their rates.
    """
    corners = [(0.0, 0.0, 0.0)]
    if motion.turn_deg_s is not None:
        speed_deg_s = draws.number(motion.turn_deg_s, "listener.turn_deg_s")
        for n in range(MOST_TURNS):
            time_s, yaw, pitch = corners[-1]
            if time_s >= duration_s:
                break
            time_s += draws.number(motion.pause_s, "listener.pause_s", n)
            corners.append((time_s, yaw, pitch))
            to_yaw = draws.number(motion.yaw_deg, "listener.turn_yaw", n)
            to_pitch = draws.number(motion.pitch_deg, "listener.turn_pitch", n)
            time_s += math.hypot(to_yaw - yaw, to_pitch - pitch) / speed_deg_s
            corners.append((time_s, to_yaw, to_pitch))
    at_s, yaws, pitches = np.array(corners).T
    shares = [
        at_s[n] + np.arange(k) / k * (at_s[n + 1] - at_s[n])
        for n, k in enumerate(_cuts(np.diff(yaws), np.diff(pitches)))
    ]
    every_s = np.concatenate([*shares, at_s[-1:]])
    times = np.unique(np.round(np.append(every_s[every_s < duration_s], at_s[-1:]), 6))
    times = np.unique(np.minimum(times, round(duration_s, 6)))
    return times, np.interp(times, at_s, yaws), np.interp(times, at_s, pitches)


def _cuts(yaw_deg: Array, pitch_deg: Array) -> list[int]:
    """Keyframes per turn, so that slerp between them leaves constant rates by 0.1 degree at most.

    The ear axis turns with the yaw: off the middle of a step by up to half of it. That makes the
    two differ by yaw * pitch / 8 in the middle. Half a turn has no shortest way.
    """
    bent = np.radians(np.abs(yaw_deg)) * np.radians(np.abs(pitch_deg)) / 8
    cuts = np.maximum(np.ceil(np.sqrt(bent / ANGLE_TOLERANCE_RAD)), np.ceil(np.abs(yaw_deg) / 90))
    return [max(1, int(n)) for n in cuts]
