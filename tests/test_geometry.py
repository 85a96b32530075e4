"""Directions and rotations, checked with vectors whose place one can see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenesynth.scene.geometry import (
    azimuth_elevation,
    direction,
    euler_from_quaternion,
    from_dcase,
    from_gram_azimuth,
    from_listener,
    great_circle_deg,
    quaternion,
    quaternion_matrix,
    rotation_matrix,
    to_dcase,
    to_gram_azimuth,
    to_listener,
    wrap_azimuth,
)
from scenesynth.scene.spec import Keyframe

FRONT, LEFT, UP = np.eye(3)
ANGLE = st.floats(-360, 360)


@pytest.mark.parametrize(
    ("angles", "front", "left", "up"),
    [
        ((0, 0, 0), FRONT, LEFT, UP),
        ((90, 0, 0), LEFT, -FRONT, UP),  # facing left
        ((0, 90, 0), UP, LEFT, -FRONT),  # nose up, crown to the back
        ((0, 0, 90), FRONT, UP, -LEFT),  # left ear up, crown to the right
        ((90, 90, 0), UP, -FRONT, -LEFT),  # first turned left, then nose up
        ((90, 0, 90), LEFT, UP, FRONT),  # first turned left, then left ear up
        ((0, 90, 90), UP, -FRONT, -LEFT),  # nose up, then left ear to the back
        ((180, 0, 0), -FRONT, -LEFT, UP),
    ],
)
def test_columns_are_where_nose_left_ear_and_crown_point(
    angles: tuple[float, float, float],
    front: np.ndarray,
    left: np.ndarray,
    up: np.ndarray,
) -> None:
    expected = np.stack([front, left, up], axis=1)
    np.testing.assert_allclose(rotation_matrix(*angles), expected, atol=1e-15)


def test_small_turns_have_the_stated_signs() -> None:
    assert rotation_matrix(5, 0, 0)[1, 0] > 0  # the nose goes left
    assert rotation_matrix(0, 5, 0)[2, 0] > 0  # the nose goes up
    assert rotation_matrix(0, 0, 5)[2, 1] > 0  # the left ear goes up


@given(yaw=ANGLE, pitch=ANGLE, roll=ANGLE)
def test_the_matrix_is_the_product_of_the_tabulated_ones(
    yaw: float, pitch: float, roll: float
) -> None:
    def turn(angle: float) -> tuple[float, float]:
        return math.cos(math.radians(angle)), math.sin(math.radians(angle))

    c, s = turn(yaw)
    z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    c, s = turn(pitch)
    y = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    c, s = turn(roll)
    x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    matrix = rotation_matrix(yaw, pitch, roll)
    np.testing.assert_allclose(matrix, z @ y @ x, atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


@given(yaw=ANGLE, pitch=ANGLE, roll=ANGLE)
def test_quaternions_and_angles_say_the_same_as_the_matrix(
    yaw: float, pitch: float, roll: float
) -> None:
    q = quaternion(yaw, pitch, roll)
    assert math.hypot(*q) == pytest.approx(1)
    assert q[0] >= 0
    matrix = rotation_matrix(yaw, pitch, roll)
    np.testing.assert_allclose(quaternion_matrix(q), matrix, atol=1e-12)
    back = euler_from_quaternion(q)
    assert -90 <= back[1] <= 90
    np.testing.assert_allclose(rotation_matrix(*back), matrix, atol=2e-6)


@pytest.mark.parametrize("pitch", [90.0, -90.0])
@pytest.mark.parametrize(("yaw", "roll"), [(0, 0), (40, 0), (40, 25), (-170, 100)])
def test_looking_straight_up_or_down_keeps_its_orientation(
    yaw: float, pitch: float, roll: float
) -> None:
    q = quaternion(yaw, pitch, roll)
    np.testing.assert_allclose(
        rotation_matrix(*euler_from_quaternion(q)), rotation_matrix(yaw, pitch, roll), atol=2e-6
    )


def test_a_quarter_turn_left_is_the_textbook_quaternion() -> None:
    half = math.sqrt(0.5)
    assert quaternion(90, 0, 0) == pytest.approx((half, 0, 0, half))
    assert quaternion(0, 90, 0) == pytest.approx((half, 0, -half, 0))
    assert quaternion(0, 0, 90) == pytest.approx((half, half, 0, 0))


@pytest.mark.parametrize(
    ("vector", "azimuth", "elevation"),
    [
        ((1, 0, 0), 0, 0),
        ((0, 1, 0), 90, 0),
        ((0, -1, 0), -90, 0),
        ((-1, 0, 0), 180, 0),
        ((-1, -0.0, 0), 180, 0),
        ((0, 0, 2), 0, 90),
        ((1, 0, -1), 0, -45),
    ],
)
def test_azimuth_counts_counter_clockwise_and_elevation_up(
    vector: tuple[float, float, float], azimuth: float, elevation: float
) -> None:
    assert azimuth_elevation(vector) == pytest.approx((azimuth, elevation))


@given(azimuth=st.floats(-179.9, 180), elevation=st.floats(-89.9, 89.9))
def test_a_direction_round_trips(azimuth: float, elevation: float) -> None:
    assert azimuth_elevation(direction(azimuth, elevation)) == pytest.approx(
        (azimuth, elevation), abs=1e-9
    )


def test_the_zero_vector_has_no_direction() -> None:
    with pytest.raises(ValueError, match="no direction"):
        azimuth_elevation((0, 0, 0))


@pytest.mark.parametrize(
    ("pose", "expected"),
    [
        ({}, (0, 0)),
        ({"yaw_deg": 90}, (-90, 0)),  # turned left, what was in front is on the right
        ({"yaw_deg": -30}, (30, 0)),
        ({"pitch_deg": 20}, (0, -20)),  # nose up, what was in front is below
        ({"roll_deg": 45}, (0, 0)),
    ],
)
def test_the_listener_hears_what_was_in_front(
    pose: dict[str, float], expected: tuple[float, float]
) -> None:
    listener = Keyframe(position_m=(2, 3, 1), **pose)
    azimuth, elevation, distance = to_listener((4.5, 3, 1), listener)
    assert (azimuth, elevation) == pytest.approx(expected, abs=1e-12)
    assert distance == pytest.approx(2.5)


def test_with_the_left_ear_up_a_source_at_the_left_is_below() -> None:
    listener = Keyframe(position_m=(0, 0, 0), roll_deg=90)
    _, elevation, _ = to_listener((0, 1, 0), listener)
    assert elevation == pytest.approx(-90)


@given(
    azimuth=st.floats(-179, 179),
    elevation=st.floats(-85, 85),
    distance=st.floats(0.1, 50),
    yaw=ANGLE,
    pitch=ANGLE,
    roll=ANGLE,
)
def test_from_listener_is_the_inverse_of_to_listener(
    azimuth: float, elevation: float, distance: float, yaw: float, pitch: float, roll: float
) -> None:
    listener = Keyframe(position_m=(3, 2, 1), yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)
    position = from_listener(azimuth, elevation, distance, listener)
    got = to_listener(position, listener)
    assert great_circle_deg(direction(*got[:2]), direction(azimuth, elevation)) < 1e-6
    assert got[2] == pytest.approx(distance)


@given(
    a=st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
    b=st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
    turn=st.tuples(ANGLE, ANGLE, ANGLE),
)
def test_great_circle_distance_is_symmetric_and_turns_with_the_world(
    a: tuple[float, float], b: tuple[float, float], turn: tuple[float, float, float]
) -> None:
    u, v = direction(*a), direction(*b)
    angle = great_circle_deg(u, v)
    assert angle == pytest.approx(great_circle_deg(v, u))
    matrix = rotation_matrix(*turn)
    turned = great_circle_deg(tuple(matrix @ u), tuple(matrix @ v))
    assert turned == pytest.approx(angle, abs=1e-6)
    assert angle == pytest.approx(
        math.degrees(math.acos(max(-1, min(1, float(np.dot(u, v)))))), abs=1e-5
    )


def test_great_circle_distance_is_exact_for_tiny_angles() -> None:
    assert great_circle_deg(direction(0, 0), direction(1e-7, 0)) == pytest.approx(1e-7)
    assert great_circle_deg((1, 0, 0), (-1, 0, 0)) == 180


def test_gram_counts_clockwise_with_plus_90_at_the_right() -> None:
    assert from_gram_azimuth(90) == -90
    assert from_gram_azimuth(350) == 10
    assert from_gram_azimuth(180) == 180
    assert to_gram_azimuth(90) == 270
    assert to_gram_azimuth(0) == 0
    assert wrap_azimuth(-180) == 180


@given(st.floats(-180, 180, exclude_min=True))
def test_gram_azimuths_round_trip(azimuth: float) -> None:
    assert 0 <= to_gram_azimuth(azimuth) <= 360
    turn = wrap_azimuth(from_gram_azimuth(to_gram_azimuth(azimuth)) - azimuth)
    assert turn == pytest.approx(0, abs=1e-9)


def test_dcase_rounds_to_nearest_and_counts_centimetres() -> None:
    assert to_dcase(-29.6, 10.4, 1.996) == (-30, 10, 200)
    assert to_dcase(179.7, -0.6, 0.504) == (180, -1, 50)
    assert from_dcase(-30, 10, 200) == (-30.0, 10.0, 2.0)
