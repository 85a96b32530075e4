"""Directions, rotations and distances, in one convention, and converters from others at the edge.

Frames are right-handed, x front, y left, z up. Azimuth is counter-clockwise from the front
(+90 = left) and elevation is up from the horizontal plane, in degrees at the surface.

An orientation is yaw, pitch, roll, intrinsic z-y-x: first turn about the vertical, then tilt about
the new left axis, then about the new front axis. +yaw turns left, +pitch lifts the nose, +roll
lifts the left ear. A right-hand rotation about +y (left) takes z (up) to x (front), so it *drops*
the nose; hence pitch enters with the opposite sign of the textbook matrix, while yaw and roll have
the textbook sign. The listener-to-room matrix is R = Z Y X with (c, s the cosine, sine of the
angle)

    Z(yaw) = | c -s  0 |    Y(pitch) = | c  0 -s |    X(roll) = | 1  0  0 |
             | s  c  0 |               | 0  1  0 |              | 0  c -s |
             | 0  0  1 |               | s  0  c |              | 0  s  c |

so that a vector v in the listener's frame is R v in the room, and its columns are the listener's
front, left and up in room coordinates.

Deliberately absent: poses over time (`scenesynth.scene.motion`).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.room.model import Vector
from scenesynth.scene.spec import Keyframe

Quaternion = tuple[float, float, float, float]
"""Unit quaternion w, x, y, z of the rotation from the listener's frame to the room."""

DCASE_CM_PER_M: Final = 100


def rotation_matrix(yaw_deg: float, pitch_deg: float, roll_deg: float) -> NDArray[np.float64]:
    """Listener-to-room matrix. Shape: [3, 3]; columns are front, left and up."""
    return np.array(_rows(yaw_deg, pitch_deg, roll_deg))


def quaternion(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Quaternion:
    """Quaternion of `rotation_matrix`, with w >= 0.

    The product of the three half-angle quaternions about +z, -y and +x.
    """
    cz, sz = _half(yaw_deg)
    cy, sy = _half(-pitch_deg)
    cx, sx = _half(roll_deg)
    q = (
        cz * cy * cx + sz * sy * sx,
        cz * cy * sx - sz * sy * cx,
        cz * sy * cx + sz * cy * sx,
        sz * cy * cx - cz * sy * sx,
    )
    return q if q[0] >= 0 else (-q[0], -q[1], -q[2], -q[3])


def quaternion_matrix(q: Quaternion) -> NDArray[np.float64]:
    """Rotation matrix of a unit quaternion. Shape: [3, 3]."""
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def euler_from_quaternion(q: Quaternion) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees of a unit quaternion.

    At pitch +-90 degrees yaw and roll turn about the same axis; roll is then given as 0.
    """
    m = quaternion_matrix(q)
    sin_pitch = min(1.0, max(-1.0, float(m[2, 0])))
    if abs(sin_pitch) > 1 - 1e-12:
        yaw = math.atan2(-float(m[0, 1]), float(m[1, 1]))
        return math.degrees(yaw), math.copysign(90.0, sin_pitch), 0.0
    yaw = math.atan2(float(m[1, 0]), float(m[0, 0]))
    roll = math.atan2(float(m[2, 1]), float(m[2, 2]))
    return math.degrees(yaw), math.degrees(math.asin(sin_pitch)), math.degrees(roll)


def direction(azimuth_deg: float, elevation_deg: float) -> Vector:
    """Unit vector of a direction.

    >>> tuple(round(x, 9) + 0.0 for x in direction(90, 0))
    (0.0, 1.0, 0.0)
    """
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    return (flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation))


def azimuth_elevation(vector: Vector) -> tuple[float, float]:
    """Azimuth in (-180, 180] and elevation in [-90, 90] of a vector that is not zero."""
    x, y, z = vector
    if x == 0 and y == 0 and z == 0:
        raise ValueError("the zero vector has no direction")
    azimuth = math.degrees(math.atan2(y, x))
    elevation = math.degrees(math.atan2(z, math.hypot(x, y)))
    return (180.0 if azimuth <= -180.0 else azimuth), elevation


def to_listener(position_m: Vector, listener: Keyframe) -> tuple[float, float, float]:
    """Azimuth and elevation in degrees and distance in metres, as the listener hears a position."""
    away = tuple(p - o for p, o in zip(position_m, listener.position_m, strict=True))
    rows = _rows(listener.yaw_deg, listener.pitch_deg, listener.roll_deg)
    seen = tuple(sum(rows[i][k] * away[i] for i in range(3)) for k in range(3))
    azimuth, elevation = azimuth_elevation((seen[0], seen[1], seen[2]))
    return azimuth, elevation, math.dist(position_m, listener.position_m)


def from_listener(
    azimuth_deg: float, elevation_deg: float, distance_m: float, listener: Keyframe
) -> Vector:
    """Room position of a direction and distance from the listener: inverse of `to_listener`."""
    seen = direction(azimuth_deg, elevation_deg)
    rows = _rows(listener.yaw_deg, listener.pitch_deg, listener.roll_deg)
    x, y, z = (
        origin + distance_m * sum(row[k] * seen[k] for k in range(3))
        for origin, row in zip(listener.position_m, rows, strict=True)
    )
    return (x, y, z)


def great_circle_deg(a: Vector, b: Vector) -> float:
    """Angle between two vectors in degrees, exact near 0 and 180 too (atan2 form)."""
    cross = (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return math.degrees(math.atan2(math.hypot(*cross), dot))


def wrap_azimuth(azimuth_deg: float) -> float:
    """The same azimuth in (-180, 180]."""
    wrapped = math.fmod(azimuth_deg, 360.0)
    if wrapped > 180.0:
        return wrapped - 360.0
    return wrapped + 360.0 if wrapped <= -180.0 else wrapped


def from_gram_azimuth(azimuth_deg: float) -> float:
    """Azimuth from GRAM's (clockwise: +90 = right, 0 to 360), in (-180, 180]."""
    return wrap_azimuth(-azimuth_deg)


def to_gram_azimuth(azimuth_deg: float) -> float:
    """Azimuth as GRAM counts it: clockwise from the front in [0, 360), +90 = right."""
    return (-azimuth_deg) % 360.0


def to_dcase(azimuth_deg: float, elevation_deg: float, distance_m: float) -> tuple[int, int, int]:
    """Whole degrees in [-180, 180] and [-90, 90] and whole centimetres, as in DCASE 2024 csv.

    Rounded to nearest, never cut towards zero.
    """
    azimuth = round(wrap_azimuth(azimuth_deg))
    return azimuth, round(elevation_deg), round(distance_m * DCASE_CM_PER_M)


def from_dcase(
    azimuth_deg: float, elevation_deg: float, distance_cm: float
) -> tuple[float, float, float]:
    """Azimuth, elevation and distance in metres from a DCASE 2024 row."""
    return wrap_azimuth(azimuth_deg), float(elevation_deg), distance_cm / DCASE_CM_PER_M


def _half(angle_deg: float) -> tuple[float, float]:
    half = math.radians(angle_deg) / 2
    return math.cos(half), math.sin(half)


def _rows(yaw_deg: float, pitch_deg: float, roll_deg: float) -> tuple[Vector, Vector, Vector]:
    """Z Y X of the module docstring multiplied out, row by row."""
    yaw, pitch, roll = math.radians(yaw_deg), math.radians(pitch_deg), math.radians(roll_deg)
    cz, sz = math.cos(yaw), math.sin(yaw)
    cy, sy = math.cos(pitch), math.sin(pitch)
    cx, sx = math.cos(roll), math.sin(roll)
    return (
        (cz * cy, -sz * cx - cz * sy * sx, sz * sx - cz * sy * cx),
        (sz * cy, cz * cx - sz * sy * sx, -cz * sx - sz * sy * cx),
        (sy, cy * sx, cy * cx),
    )
