"""Poses over time, and what a listener hears of what moves.

Between keyframes positions go along straight lines at constant speed and orientations along the
shortest rotation (quaternion slerp: Shoemake, SIGGRAPH 1985); before the first and after the last
keyframe everything stands.

Sound takes time: what arrives at t left at t - d / c, and so the direction at t is that of the
emitter's position then, seen by the listener where he is and as he is turned at t. d is on both
sides of that equation. Repeated substitution solves it, each step shrinking the error by speed / c.

Deliberately absent: where motion comes from (`scenesynth.scene.trajectories`) and what it sounds
like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenesynth.scene.geometry import euler_from_quaternion, quaternion
from scenesynth.scene.spec import Keyframe

Array = NDArray[np.float64]

TRAVEL_TOLERANCE_S: Final = 1e-10
"""Where the substitution stops; the true delay is then within 1e-9 s."""

ANGLE_TOLERANCE_RAD: Final = float(np.deg2rad(0.1))
DISTANCE_TOLERANCE: Final = 0.005
"""Straight lines between the entries of a track keep this close to what they stand for: the
direction by angle, the distance as a share of itself."""

Rough = Callable[[Array, Array, Array], NDArray[np.bool_]]
"""Which of n chords are too far from their curve, from their ends [n + 1, 3], and the curve's and
their own points at a quarter, half and three quarters of each [3, n, 3]."""

_LONGEST_CHORD_RAD: Final = float(np.deg2rad(30.0))
_QUARTERS: Final = np.array([[0.25], [0.5], [0.75]])
_MOST_HALVINGS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Path:
    """Keyframes as arrays.

    Attributes:
        time_s: strictly rising. Shape: [keyframes].
        position_m: in the room. Shape: [keyframes, 3].
        quaternion: w, x, y, z from the own frame to the room. Shape: [keyframes, 4].
    """

    time_s: Array
    position_m: Array
    quaternion: Array

    @classmethod
    def of(cls, keyframes: Sequence[Keyframe]) -> Self:
        """The path through keyframes."""
        turns = [quaternion(k.yaw_deg, k.pitch_deg, k.roll_deg) for k in keyframes]
        return cls(
            time_s=np.array([k.time_s for k in keyframes]),
            position_m=np.array([k.position_m for k in keyframes], dtype=np.float64),
            quaternion=np.array(turns),
        )

    @property
    def still(self) -> bool:
        """Whether there is one keyframe only."""
        return len(self.time_s) == 1

    @property
    def stands(self) -> bool:
        """Whether neither position nor orientation ever changes."""
        same = (self.position_m == self.position_m[0]).all()
        return bool(same and (self.quaternion == self.quaternion[0]).all())

    def positions(self, times_s: ArrayLike) -> Array:
        """Positions in the room. Shape: [times] -> [times, 3]."""
        times = np.asarray(times_s, dtype=np.float64)
        return np.stack([np.interp(times, self.time_s, axis) for axis in self.position_m.T], axis=1)

    def rotations(self, times_s: ArrayLike) -> Array:
        """Matrices from the own frame to the room. Shape: [times] -> [times, 3, 3]."""
        return _matrices(self._quaternions(np.asarray(times_s, dtype=np.float64)))

    def pose(self, time_s: float) -> Keyframe:
        """The pose at one time."""
        w, qx, qy, qz = (float(part) for part in self._quaternions(np.array([time_s]))[0])
        yaw_deg, pitch_deg, roll_deg = euler_from_quaternion((w, qx, qy, qz))
        x, y, z = (float(part) for part in self.positions([time_s])[0])
        return Keyframe(
            time_s=time_s,
            position_m=(x, y, z),
            yaw_deg=yaw_deg,
            pitch_deg=pitch_deg,
            roll_deg=roll_deg,
        )

    def _quaternions(self, times: Array) -> Array:
        """Shape: [times] -> [times, 4]."""
        if self.still:
            return np.repeat(self.quaternion, len(times), axis=0)
        last = len(self.time_s) - 2
        before = np.clip(np.searchsorted(self.time_s, times, side="right") - 1, 0, last)
        start_s, stop_s = self.time_s[before], self.time_s[before + 1]
        share = np.clip((times - start_s) / (stop_s - start_s), 0.0, 1.0)
        return _slerp(self.quaternion[before], self.quaternion[before + 1], share[:, None])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """What arrives at some times.

    Attributes:
        relative_m: from the listener to where the emitter was, in the listener's frame.
            Shape: [times, 3].
        delay_s: how long it has travelled. Shape: [times].
    """

    relative_m: Array
    delay_s: Array


def heard(emitter: Path, listener: Path, times_s: ArrayLike, speed_of_sound_mps: float) -> Heard:
    """What a listener hears of an emitter at times of arrival. Shape of `times_s`: [times]."""
    times = np.asarray(times_s, dtype=np.float64)
    here = listener.positions(times)

    def travelled(delay_s: Array) -> Array:
        return lengths(emitter.positions(times - delay_s) - here)

    delay_s = _settled(travelled, len(times), speed_of_sound_mps)
    away = emitter.positions(times - delay_s) - here
    relative = np.einsum("tij,ti->tj", listener.rotations(times), away)
    return Heard(relative_m=relative, delay_s=delay_s)


def travel_s(emitter: Path, listener: Path, times_s: ArrayLike, speed_of_sound_mps: float) -> Array:
    """How long what is emitted at these times travels to the listener. Shape: [times]."""
    times = np.asarray(times_s, dtype=np.float64)
    there = emitter.positions(times)

    def travelled(delay_s: Array) -> Array:
        return lengths(listener.positions(times + delay_s) - there)

    return _settled(travelled, len(times), speed_of_sound_mps)


def track(
    emitter: Path, listener: Path, start_s: float, stop_s: float, speed_of_sound_mps: float
) -> tuple[Array, Array]:
    """What is heard in a span of arrival times, as few vectors with straight lines between them.

    The lines leave the true direction by 0.1 degree at most and the distance by 0.5 %. Where
    nothing changes there is one vector.

    Returns:
        times [entries] from `start_s` to `stop_s`, and vectors [entries, 3] in the listener's
        frame.
    """
    left = emitter.time_s
    bends = [left + travel_s(emitter, listener, left, speed_of_sound_mps), listener.time_s]
    inside = np.concatenate(bends)
    inside = inside[(inside > start_s) & (inside < stop_s)]

    def vectors(times: Array) -> Array:
        return heard(emitter, listener, times, speed_of_sound_mps).relative_m

    times = refine(vectors, np.array([start_s, *inside, stop_s]), _rough)
    found = vectors(times)
    if (np.abs(found - found[0]).max(initial=0.0)) < 1e-9:
        return times[:1], found[:1]
    return times, found


def refine(curve: Callable[[Array], Array], breaks: Array, rough: Rough) -> Array:
    """Where to cut a curve so that the chords between the cuts stand for it.

    Args:
        curve: points at parameters, smooth between `breaks`. Shape: [n] -> [n, 3].
        breaks: where to cut anyway; both ends among them.
        rough: which chords have to be halved.
    """
    cuts = np.unique(breaks)
    for _ in range(_MOST_HALVINGS):
        inside = cuts[:-1] + _QUARTERS * np.diff(cuts)
        ends = curve(cuts)
        chords = ends[:-1] + _QUARTERS[:, :, None] * np.diff(ends, axis=0)
        halved = rough(ends, curve(inside.ravel()).reshape(chords.shape), chords)
        if not halved.any():
            break
        cuts = np.sort(np.concatenate([cuts, inside[1, halved]]))
    return cuts


def angles_rad(a: Array, b: Array) -> Array:
    """Angles between vectors, exact near 0 too. Shapes: [..., 3], [..., 3] -> [...]."""
    return np.asarray(np.arctan2(lengths(np.cross(a, b)), (a * b).sum(axis=-1)))


def lengths(vectors: Array) -> Array:
    """Shape: [..., 3] -> [...]."""
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=-1)))


def _rough(ends: Array, exact: Array, chords: Array) -> NDArray[np.bool_]:
    """Chords of a track that leave it; a tenth of the tolerance is for what lies between."""
    away_m = lengths(exact)
    turned = angles_rad(exact, chords) > 0.9 * ANGLE_TOLERANCE_RAD
    moved = np.abs(lengths(chords) - away_m) > 0.9 * DISTANCE_TOLERANCE * away_m
    # A longer chord could pass the listener between the points that are looked at.
    long = angles_rad(ends[:-1], ends[1:]) > _LONGEST_CHORD_RAD
    return np.asarray((turned | moved).any(axis=0) | long)


def _settled(travelled: Callable[[Array], Array], n: int, speed_of_sound_mps: float) -> Array:
    """Delays d / c that reproduce themselves. Speeds are far below c, so a few steps do."""
    delay_s = np.zeros(n)
    change_s = np.inf
    while change_s > TRAVEL_TOLERANCE_S:
        after = travelled(delay_s) / speed_of_sound_mps
        change_s = float(np.abs(after - delay_s).max(initial=0.0))
        delay_s = after
    return delay_s


def _slerp(a: Array, b: Array, share: Array) -> Array:
    """sin((1 - s) w) a + sin(s w) b over sin(w), w the angle between them. Shape: [n, 4]."""
    b = np.where((a * b).sum(axis=1, keepdims=True) < 0, -b, b)
    # atan2 of |b - a| and |b + a| is exact for small angles, where the arc cosine is not.
    gap, total = (np.linalg.norm(v, axis=1, keepdims=True) for v in (b - a, b + a))
    angle = 2 * np.arctan2(gap, total)
    sine = np.sin(angle)
    small = sine < 1e-9
    divisor = np.where(small, 1.0, sine)
    first = np.where(small, 1 - share, np.sin((1 - share) * angle) / divisor)
    second = np.where(small, share, np.sin(share * angle) / divisor)
    return np.asarray(first * a + second * b)


def _matrices(q: Array) -> Array:
    """Rotation matrices of unit quaternions, as `geometry.quaternion_matrix`. Shape: [n, 3, 3]."""
    w, x, y, z = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
