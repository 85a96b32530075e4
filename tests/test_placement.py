"""Positions keep their constraints, or the search says which it could not keep."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from scenesynth.distributions import Draws, Number, constant
from scenesynth.errors import PlacementError
from scenesynth.room.model import Room, Vector
from scenesynth.scene.geometry import great_circle_deg, to_listener
from scenesynth.scene.placement import (
    DrawnTable,
    place_emitter,
    place_listener,
    place_table,
)
from scenesynth.scene.recipe_records import Listener, Placement, Table
from scenesynth.scene.spec import Keyframe
from scenesynth.seeds import rng

LISTENER = Keyframe(position_m=(3.0, 2.0, 1.5), yaw_deg=40.0)


def box(*size_m: float) -> Room:
    return Room(
        id="box",
        size_m=(size_m[0], size_m[1], size_m[2]),
        band_hz=(1000.0,),
        absorption=((0.3,),) * 6,
    )


ROOM = box(6.0, 5.0, 3.0)


def place(
    placement: Placement,
    seed: int = 0,
    room: Room = ROOM,
    others: tuple[Vector, ...] = (),
    table: DrawnTable | None = None,
) -> Vector:
    return place_emitter(
        "target0", placement, room, LISTENER, others, table, rng(seed, "", "place")
    )


def between(low: float, high: float) -> Number:
    return Number("uniform", (low, high))


def test_all_constraints_hold_together() -> None:
    placement = Placement(
        distance_m=between(1.0, 2.5),
        height_m=between(0.5, 2.0),
        lowest_deg=-20.0,
        highest_deg=15.0,
        wall_margin_m=0.4,
        separation_m=0.8,
        separation_deg=25.0,
    )
    for seed in range(100):
        others: list[Vector] = []
        for k in range(3):
            draw = rng(seed, "", "place", 0, k)
            at = place_emitter("t", placement, ROOM, LISTENER, others, None, draw)
            _, elevation, distance = to_listener(at, LISTENER)
            assert 1.0 - 1e-5 <= distance <= 2.5 + 1e-5
            assert -20 <= elevation <= 15
            assert all(0.4 <= x <= size - 0.4 for x, size in zip(at[:2], (6, 5), strict=True))
            assert 0.5 <= at[2] <= 2.0
            for other in others:
                assert math.dist(at, other) >= 0.8
                seen = [
                    tuple(a - b for a, b in zip(p, LISTENER.position_m, strict=True))
                    for p in (at, other)
                ]
                assert great_circle_deg(seen[0], seen[1]) >= 25
            others.append(at)


def test_a_stated_azimuth_counts_from_the_listeners_front() -> None:
    placement = Placement(
        distance_m=constant(1.0), height_m=constant(1.5), azimuth_deg=between(80.0, 100.0)
    )
    for seed in range(20):
        azimuth, elevation, distance = to_listener(place(placement, seed), LISTENER)
        assert 80 <= azimuth <= 100
        assert elevation == pytest.approx(0, abs=1e-3)
        assert distance == pytest.approx(1.0, abs=1e-5)


def test_without_an_azimuth_the_place_does_not_depend_on_the_way_one_faces() -> None:
    placement = Placement(distance_m=between(1.0, 2.0))
    turned = dataclasses.replace(LISTENER, yaw_deg=-100.0)
    draws = [
        place_emitter("t", placement, ROOM, who, (), None, rng(3, "", "p"))
        for who in (LISTENER, turned)
    ]
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"distance_m": constant(9.0)}, r"\d+ x wall_margin_m = 0\.3 along [xy]"),
        ({"distance_m": constant(0.6), "height_m": constant(0.3)}, r"200 x distance_m \(less than"),
        ({"height_m": constant(2.9)}, r"200 x wall_margin_m = 0\.3 along z"),
        ({"separation_m": 8.0}, r"200 x separation_m = 8 from the listener"),
        ({"lowest_deg": 80.0, "height_m": constant(1.0)}, r"200 x elevation in \[80, 90\] degrees"),
        ({"separation_deg": 180.0}, r"\d+ x separation_deg = 180 from another emitter"),
        ({"separation_deg": 180.0, "tries": 7}, r"none of 7 positions in room box \(6 x 5 x 3 m\)"),
    ],
)
def test_an_impossible_placement_names_constraint_and_numbers(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlacementError, match=message) as caught:
        place(Placement(**fields), others=((3.5, 2.5, 1.5),))
    assert str(caught.value).startswith("target0: ")


@pytest.mark.parametrize("distance_m", [constant(0.05), between(0.05, 0.2)])
def test_nothing_is_placed_so_near_that_no_direction_is_known(distance_m: Number) -> None:
    height_m = constant(LISTENER.position_m[2])
    placement = Placement(distance_m=distance_m, height_m=height_m, separation_m=0.0)
    places = [place(placement, seed) for seed in range(50)]
    assert min(math.dist(at, LISTENER.position_m) for at in places) >= 0.05
    with pytest.raises(ValueError, match=r"distance_m = 0\.04 can leave \[0\.05, 500\]"):
        Placement(distance_m=constant(0.04), separation_m=0.0)


def test_distances_keep_their_distribution_where_some_directions_leave_the_room() -> None:
    placement = Placement(distance_m=between(1.0, 3.0), height_m=constant(1.5), separation_m=0.0)
    distances = [to_listener(place(placement, seed), LISTENER)[2] for seed in range(1500)]
    mean = sum(distances) / len(distances)
    assert abs(mean - 2.0) < 4 * (2 / math.sqrt(12)) / math.sqrt(1500)


@pytest.mark.parametrize("yaw", [0.0, 30.0, 90.0])
def test_seats_stand_off_the_rim_on_all_sides(yaw: float) -> None:
    table = DrawnTable(
        centre_m=(3.0, 2.5, 0.7), length_m=1.6, width_m=0.8, yaw_rad=math.radians(yaw)
    )
    placement = Placement(
        from_table_m=constant(0.4), height_m=constant(1.2), wall_margin_m=0.1, separation_m=0.0
    )
    sides = set()
    c, s = math.cos(table.yaw_rad), math.sin(table.yaw_rad)
    for seed in range(100):
        x, y, z = place(placement, seed, table=table)
        along = c * (x - 3.0) + s * (y - 2.5)
        across = -s * (x - 3.0) + c * (y - 2.5)
        outside = (max(abs(along) - 0.8, 0), max(abs(across) - 0.4, 0))
        assert math.hypot(*outside) == pytest.approx(0.4, abs=1e-5)
        sides.add((outside[0] > 0.1, along > 0, across > 0))
        assert z == 1.2
    assert len(sides) >= 6


def test_a_table_keeps_its_clearance() -> None:
    table = Table(length_m=constant(2.0), width_m=constant(1.0), clearance_m=1.0)
    for index in range(100):
        drawn = place_table(table, ROOM, Draws(seed=0, split="", index=index))
        for at in range(20):
            x, y = drawn.rim(at / 20, 0.0)
            assert 1.0 - 1e-9 <= x <= 5.0 + 1e-9
            assert 1.0 - 1e-9 <= y <= 4.0 + 1e-9


def test_a_room_too_small_for_the_table_says_so() -> None:
    table = Table(length_m=constant(4.0), width_m=constant(1.0), yaw_deg=constant(90.0))
    with pytest.raises(
        PlacementError, match=r"table: 4 x 1 m .* needs 6\.40 m along y; .* has 5 m"
    ):
        place_table(table, ROOM, Draws(seed=0, split="", index=0))


def test_a_listener_on_the_table_stands_on_it() -> None:
    table = Table(length_m=constant(1.2), width_m=constant(0.6))
    listener = Listener(place="table", height_m=constant(0.8), off_centre_m=constant(0.5))
    for index in range(50):
        draws = Draws(seed=0, split="", index=index)
        drawn = place_table(table, ROOM, draws)
        pose = place_listener(listener, ROOM, drawn, draws)
        away = math.dist(pose.position_m[:2], drawn.centre_m[:2])
        assert away <= 0.5 + 1e-6
        assert pose.position_m[2] == 0.8


def test_a_listener_that_does_not_fit_says_so() -> None:
    draws = Draws(seed=0, split="", index=0)
    with pytest.raises(
        PlacementError, match=r"listener: wall_margin_m = 2\.6 leaves nothing of 5 m"
    ):
        place_listener(Listener(wall_margin_m=2.6), ROOM, None, draws)
    with pytest.raises(PlacementError, match=r"height 3\.5 m is not inside room box, 3 m high"):
        place_listener(Listener(height_m=constant(3.5)), ROOM, None, draws)
