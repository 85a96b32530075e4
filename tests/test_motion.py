"""Poses over time, and the retarded directions of what moves, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenesynth.scene.geometry import rotation_matrix, to_listener
from scenesynth.scene.motion import Path, angles_rad, heard, refine, track, travel_s
from scenesynth.scene.spec import Keyframe

C = 343.2
STILL = Path.of([Keyframe(position_m=(3.0, 3.0, 1.5))])


def at(time_s: float, *position_m: float, yaw: float = 0, pitch: float = 0) -> Keyframe:
    x, y, z = position_m
    return Keyframe(time_s=time_s, position_m=(x, y, z), yaw_deg=yaw, pitch_deg=pitch)


def test_positions_go_straight_and_stand_before_and_after() -> None:
    path = Path.of([at(1, 0, 0, 1), at(2, 1, 0, 1), at(4, 1, 2, 2)])
    expected = [[0, 0, 1], [0, 0, 1], [0.5, 0, 1], [1, 0, 1], [1, 1, 1.5], [1, 2, 2], [1, 2, 2]]
    np.testing.assert_allclose(path.positions([0, 1, 1.5, 2, 3, 4, 9]), expected, atol=1e-15)


def test_one_keyframe_is_a_pose_for_all_times() -> None:
    path = Path.of([Keyframe(position_m=(1, 2, 3), yaw_deg=30, pitch_deg=10, roll_deg=-5)])
    assert path.still
    np.testing.assert_allclose(path.positions([-1, 0, 7]), [[1, 2, 3]] * 3)
    np.testing.assert_allclose(
        path.rotations([-1, 7]), [rotation_matrix(30, 10, -5)] * 2, atol=1e-12
    )


@pytest.mark.parametrize(
    ("start", "stop", "middle"), [(0, 90, 45), (170, -170, 180), (-100, 150, -155), (20, 20, 20)]
)
def test_a_turn_takes_the_short_way_at_constant_speed(
    start: float, stop: float, middle: float
) -> None:
    path = Path.of([at(0, 1, 1, 1, yaw=start), at(2, 1, 1, 1, yaw=stop)])
    got = path.rotations([-1, 0, 1, 2, 3])
    for matrix, yaw in zip(got, (start, start, middle, stop, stop), strict=True):
        np.testing.assert_allclose(matrix, rotation_matrix(yaw, 0, 0), atol=1e-12)


@given(
    a=st.tuples(st.floats(-180, 180), st.floats(-80, 80)),
    b=st.tuples(st.floats(-180, 180), st.floats(-80, 80)),
    share=st.floats(0, 1),
)
def test_rotations_between_keyframes_turn_about_one_axis(
    a: tuple[float, float], b: tuple[float, float], share: float
) -> None:
    path = Path.of([at(0, 1, 1, 1, yaw=a[0], pitch=a[1]), at(1, 1, 1, 1, yaw=b[0], pitch=b[1])])
    first, between, last = path.rotations([0, share, 1])

    def angle(p: np.ndarray, q: np.ndarray) -> float:
        # |P - Q| of rotations is sqrt 8 times the sine of half the angle between them.
        return 2 * math.asin(min(1.0, float(np.linalg.norm(p - q)) / math.sqrt(8)))

    np.testing.assert_allclose(between @ between.T, np.eye(3), atol=1e-12)
    assert angle(first, between) == pytest.approx(share * angle(first, last), abs=1e-6)
    assert angle(between, last) == pytest.approx((1 - share) * angle(first, last), abs=1e-6)


def test_a_pose_is_what_positions_and_rotations_say() -> None:
    path = Path.of([at(0, 1, 1, 1, yaw=170, pitch=10), at(2, 3, 1, 2, yaw=-150, pitch=-20)])
    pose = path.pose(0.7)
    assert pose.time_s == 0.7
    np.testing.assert_allclose(pose.position_m, path.positions([0.7])[0], atol=1e-12)
    turned = rotation_matrix(pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
    np.testing.assert_allclose(turned, path.rotations([0.7])[0], atol=1e-12)


@pytest.mark.parametrize("speed", [-30.0, -1.5, 2.0, 90.0])
def test_a_source_on_the_axis_is_heard_where_the_closed_form_says(speed: float) -> None:
    """x(s) = x0 + v s ahead of the listener: d = (x0 + v t) / (1 + v / c)."""
    moving = Path.of([at(0, 203, 3, 1.5), at(2, 203 + 2 * speed, 3, 1.5)])
    times = np.linspace(1.0, 1.9, 7)
    got = heard(moving, STILL, times, C)
    d = (200 + speed * times) / (1 + speed / C)
    np.testing.assert_allclose(got.relative_m[:, 0], d, atol=1e-6)
    np.testing.assert_allclose(got.delay_s, d / C, atol=1e-9)


def test_a_moving_listener_hears_from_where_he_is_and_as_he_is_turned() -> None:
    source = Path.of([at(0, 3, 5, 1.5)])
    walking = Path.of([at(0, 1, 3, 1.5, yaw=0), at(2, 3, 3, 1.5, yaw=90)])
    for time_s in (0.0, 0.5, 1.3, 2.0):
        got = heard(source, walking, [time_s], C)
        azimuth, elevation, distance = to_listener((3, 5, 1.5), walking.pose(time_s))
        x, y, z = got.relative_m[0]
        assert math.degrees(math.atan2(y, x)) == pytest.approx(azimuth, abs=1e-9)
        assert math.degrees(math.asin(z / distance)) == pytest.approx(elevation, abs=1e-9)
        assert got.delay_s[0] == pytest.approx(distance / C, abs=1e-12)


FLOATS = st.tuples(st.floats(0.5, 9), st.floats(0.5, 9), st.floats(0.5, 3))


@given(a=FLOATS, b=FLOATS, here=FLOATS, there=FLOATS, emitted=st.floats(-0.5, 3))
def test_what_is_emitted_arrives_after_its_travel(
    a: tuple[float, ...],
    b: tuple[float, ...],
    here: tuple[float, ...],
    there: tuple[float, ...],
    emitted: float,
) -> None:
    """`travel_s` by the time of emission and `heard` by that of arrival are inverse."""
    emitter = Path.of([at(0, *a), at(1, *b), at(2, *a)])
    listener = Path.of([at(0.2, *here), at(1.7, *there)])
    (travelled,) = travel_s(emitter, listener, [emitted], C)
    got = heard(emitter, listener, [emitted + travelled], C)
    assert got.delay_s[0] == pytest.approx(travelled, abs=1e-9)
    distance = np.linalg.norm(
        emitter.positions([emitted]) - listener.positions([emitted + travelled])
    )
    assert travelled == pytest.approx(distance / C, abs=1e-9)


def circle(radius_m: float, turn_deg: float, seconds: float, n: int) -> Path:
    angles = np.radians(np.linspace(0, turn_deg, n) + 150)
    times = np.linspace(0, seconds, n)
    return Path.of(
        [
            at(float(t), 3 + radius_m * math.cos(w), 3 + radius_m * math.sin(w), 1.2)
            for t, w in zip(times, angles, strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("emitter", "listener"),
    [
        (circle(2.0, 400, 10, 60), STILL),
        (Path.of([at(0, 1, 2.4, 1.5), at(3, 6, 2.4, 1.5)]), STILL),
        (Path.of([at(0, 1, 2.95, 1.5), at(1, 6, 2.95, 1.6)]), STILL),
        (
            Path.of([at(0, 1, 2.4, 1.5)]),
            Path.of([at(0, 3, 3, 1.5), at(1, 3, 3, 1.5, yaw=120, pitch=20), at(4, 4, 2, 1.5)]),
        ),
        (circle(1.0, -90, 5, 20), Path.of([at(0, 3, 3, 1.5), at(5, 3, 3, 1.5, yaw=170)])),
    ],
    ids=["circle", "fly-by", "close fly-by", "listener walks and turns", "both"],
)
def test_straight_lines_between_entries_of_a_track_stand_for_the_path(
    emitter: Path, listener: Path
) -> None:
    times, vectors = track(emitter, listener, 0.2, 4.8, C)
    assert (times[0], times[-1]) == (0.2, 4.8)
    assert (np.diff(times) > 0).all()
    fine = np.linspace(0.2, 4.8, 5001)
    exact = heard(emitter, listener, fine, C).relative_m
    lines = np.stack([np.interp(fine, times, axis) for axis in vectors.T], axis=1)
    assert np.degrees(angles_rad(exact, lines)).max() <= 0.1
    away, near = np.linalg.norm(exact, axis=1), np.linalg.norm(lines, axis=1)
    assert np.abs(near / away - 1).max() <= 0.005
    assert len(times) < 130


def test_a_track_of_what_stands_is_one_vector() -> None:
    source = Path.of([at(0, 5, 3, 1.5)])
    times, vectors = track(source, STILL, 0.2, 4.8, C)
    assert times.tolist() == [0.2]
    np.testing.assert_allclose(vectors, [[2, 0, 0]])
    side_by_side = [Path.of([at(0, x, 1, 1), at(3, x, 4, 1)]) for x in (1, 2)]
    assert len(track(*side_by_side, 0.5, 2.5, C)[0]) == 1


def test_cuts_are_made_only_where_a_curve_bends() -> None:
    def bent_after_one(at_s: np.ndarray) -> np.ndarray:
        late = np.maximum(at_s - 1, 0)
        return np.stack([at_s, late**2, 0 * at_s], axis=1)

    def rough(ends: np.ndarray, exact: np.ndarray, chords: np.ndarray) -> np.ndarray:
        return np.asarray((np.linalg.norm(exact - chords, axis=-1) > 0.01).any(axis=0))

    cuts = refine(bent_after_one, np.array([0.0, 1.0, 2.0]), rough)
    assert cuts[:2].tolist() == [0.0, 1.0]
    assert 6 <= len(cuts) <= 12
