"""Motion drawn from recipes: what keyframes stand for, and constraints along whole paths."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path as File
from typing import Any

import numpy as np
import pytest
from scene_helpers import FakeCorpus, fake_corpora, small_recipe

from scenesynth.errors import ConfigError, PlacementError
from scenesynth.records import to_plain
from scenesynth.room import decay
from scenesynth.scene.check import check
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.motion import Path, angles_rad
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.recipe_schema import describe_schema
from scenesynth.scene.sample import sample_scene, sample_scene_with_redraw
from scenesynth.scene.spec import Emitter, Keyframe, SceneSpec
from scenesynth.scene.splits import numbered_room
from scenesynth.scene.trajectories import rough_from, timed
from scenesynth.scene.ways import around, highest_points, nearest_m, rounded, straight

Motion = dict[str, Any]
PLACEMENT = {
    "distance_m": {"uniform": [0.8, 2.2]},
    "height_m": {"uniform": [0.8, 2.0]},
    "lowest_deg": -35,
    "highest_deg": 30,
    "wall_margin_m": 0.3,
    "separation_m": 0.6,
}
FAMILIES = ("linear", "circular", "waypoints", "random_walk")
MARGINS = {"x": (0.3, 5.7), "y": (0.3, 4.7), "z": (0.0, 2.7)}


@pytest.fixture(scope="module", autouse=True)
def quick_rooms() -> Iterator[None]:
    """Rooms without the inversion of T60 and the length of responses, which motion does not ask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decay, "absorption_for_t60", lambda *_, **__: np.full((6, 7), 0.3))
        patch.setattr(decay, "response_length_s", lambda *_: 0.5)
        numbered_room.cache_clear()
        yield
    numbered_room.cache_clear()


@pytest.fixture(scope="module")
def corpora() -> dict[str, FakeCorpus]:
    return fake_corpora()


def specs_of(
    folder: File, corpora: dict[str, FakeCorpus], n: int, **changes: Any
) -> Iterator[SceneSpec]:
    recipe = small_recipe(folder, **changes)
    for index in range(n):
        yield sample_scene_with_redraw(recipe, corpora, index=index)[0]


def layer(motion: Motion, **changes: Any) -> dict[str, Any]:
    return {"motion": motion, "placement": PLACEMENT, "emitters": 2, **changes}


def moved(spec: SceneSpec) -> list[Emitter]:
    return [emitter for emitter in spec.emitters if len(emitter.keyframes) > 1]


def dense(keyframes: tuple[Keyframe, ...], n: int = 4001) -> tuple[np.ndarray, np.ndarray]:
    """Times over the keyframes and positions at them."""
    path = Path.of(keyframes)
    times = np.linspace(path.time_s[0], path.time_s[-1], n)
    return times, path.positions(times)


# Ideal curves.


def test_a_circle_keeps_distance_and_height_and_its_azimuth_rises_evenly() -> None:
    centre, start = np.array([3.0, 2.0, 1.5]), np.array([4.0, 3.0, 0.9])
    for sense in (1, -1):
        way = around(start, centre, sense)
        points = way.curve(np.linspace(0, 12, 50))
        np.testing.assert_allclose(points[0], start, atol=1e-12)
        np.testing.assert_allclose(np.hypot(*(points - centre).T[:2]), math.sqrt(2), rtol=1e-12)
        assert set(points[:, 2]) == {0.9}
        angle = np.unwrap(np.arctan2(*(points - centre).T[1::-1]))
        np.testing.assert_allclose(np.diff(angle), sense * 12 / 49 / math.sqrt(2), rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_rounded_way_is_smooth_stays_among_its_corners_and_below_their_speed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    headings = np.cumsum(rng.uniform(-2, 2, 8))
    legs = 0.7 * np.stack([np.cos(headings), np.sin(headings), 0 * headings], axis=1)
    corners = np.concatenate([np.zeros((1, 3)), np.cumsum(legs, axis=0)])
    way = rounded(corners, 0.7, np.array([9.0, 9.0, 0.0]))
    at = np.linspace(0, way.breaks_m[-1], 5601)
    points = way.curve(at)
    np.testing.assert_allclose(points[[0, -1]], corners[[0, -1]], atol=1e-12)
    speed = np.diff(points, axis=0) / np.diff(at)[:, None]
    assert np.linalg.norm(speed, axis=1).max() <= 1 + 1e-9
    assert np.abs(np.diff(speed, axis=0)).max() < 0.01  # no corner
    assert (points.min(axis=0) >= corners.min(axis=0) - 1e-12).all()
    assert (points.max(axis=0) <= corners.max(axis=0) + 1e-12).all()


def test_the_extremes_of_a_polyline_are_those_of_its_points() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        corners = rng.uniform(-1, 1, (4, 3))
        way = straight(corners, np.zeros(3))
        fine = way.curve(np.linspace(0, way.breaks_m[-1], 20001))
        assert nearest_m(corners) == pytest.approx(np.linalg.norm(fine, axis=1).min(), abs=1e-3)
        assert way.nearest_m == nearest_m(corners)
        points = np.concatenate([corners, highest_points(corners)])

        def slopes(at: np.ndarray) -> np.ndarray:
            return np.degrees(np.arctan2(at[:, 2], np.hypot(at[:, 0], at[:, 1])))

        assert slopes(points).max() == pytest.approx(slopes(fine).max(), abs=0.5)
        assert slopes(points).max() >= slopes(fine).max() - 1e-9
        assert slopes(points).min() <= slopes(fine).min() + 1e-9


# What is drawn.


@pytest.mark.parametrize("family", FAMILIES)
def test_constraints_hold_along_the_whole_way(
    family: str, tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    motion = {"path": family, "speed_mps": {"uniform": [0.5, 1.5]}, "angular_speed_deg_s": 40}
    listener = {"wall_margin_m": 1.5}
    count = 0
    for spec in specs_of(
        tmp_path, corpora, 25, targets=layer(motion), listener=listener, duration_s=6
    ):
        ear = np.array(spec.listener[0].position_m)
        assert len(moved(spec)) == 2
        for emitter in moved(spec):
            count += 1
            times, points = dense(emitter.keyframes)
            for n, axis in enumerate("xyz"):
                low, high = MARGINS[axis]
                assert low < points[:, n].min() <= points[:, n].max() < high
            away = points - ear
            distance = np.linalg.norm(away, axis=1)
            assert distance.min() >= 0.6 - 1e-9
            elevation = np.degrees(np.arcsin(away[:, 2] / distance))
            assert -35 - 1e-6 <= elevation.min() <= elevation.max() <= 30 + 1e-6
            step_s = times[1] - times[0]
            speed = np.linalg.norm(np.diff(points, axis=0), axis=1) / step_s
            assert speed.max() <= 1.5 + 1e-4
            turning = np.degrees(angles_rad(away[:-1], away[1:])) / step_s
            # Along a chord of a circle the direction changes a little faster in the middle.
            assert turning.max() <= 40 * 1.02
    assert count == 50


@pytest.mark.parametrize("rate", [10, 20, 40])
def test_a_circle_turns_at_the_stated_rate_either_way(
    rate: int, tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    motion = {"path": "circular", "speed_mps": None, "angular_speed_deg_s": rate}
    targets = layer(motion, emitters=1, placement={"distance_m": 1.2, "height_m": 1.2})
    listener = {"wall_margin_m": 1.6}
    senses = Counter[bool]()
    for spec in specs_of(tmp_path, corpora, 12, targets=targets, listener=listener):
        (emitter,) = moved(spec)
        times, points = dense(emitter.keyframes)
        x, y = (points - np.array(spec.listener[0].position_m)).T[:2]
        azimuth = np.degrees(np.unwrap(np.arctan2(y, x)))
        ideal = azimuth[0] + math.copysign(rate, azimuth[-1] - azimuth[0]) * times
        assert times[-1] == 4
        assert np.abs(azimuth - ideal).max() <= 0.1
        radius = np.hypot(x, y)
        assert radius.max() - radius.min() <= 0.005
        assert set(points[:, 2]) == {1.2}
        senses[azimuth[-1] > azimuth[0]] += 1
    assert len(senses) == 2


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("family", ["circle", "walk"])
def test_keyframes_stand_for_the_ideal_curve(family: str, seed: int) -> None:
    """By at most 5 mm and, seen from the listener, 0.1 degree, at every time."""
    rng = np.random.default_rng(seed)
    centre = np.array([3.0, 3.0, 1.5])
    if family == "circle":
        start = centre + np.array([rng.uniform(0.3, 3), 0.0, 0.3])
        way, stop_m, speed = around(start, centre, 1), 11.0, 1.1
    else:
        headings = np.cumsum(rng.uniform(-1.5, 1.5, 9))
        legs = 0.9 * np.stack([np.cos(headings), np.sin(headings), 0 * headings], axis=1)
        corners = np.cumsum([centre + np.array([0.4, 0.3, 0.0]), *legs], axis=0)
        way, stop_m, speed = rounded(corners, 0.9, centre), 8.0, 0.9
    times, places = timed(way, speed, stop_m, [(0.5, 4.0), (4.5, 20.0)], rough_from(centre))
    clock = np.linspace(0.0, 14.0, 20001)
    active_s = np.clip(clock - 0.5, 0, 3.5) + np.clip(clock - 4.5, 0, None)
    exact = way.curve(np.minimum(active_s * speed, stop_m))
    lines = np.stack([np.interp(clock, times, axis) for axis in places.T], axis=1)
    assert np.linalg.norm(exact - lines, axis=1).max() <= 0.005
    assert np.degrees(angles_rad(exact - centre, lines - centre)).max() <= 0.1
    assert len(times) < 300


def test_a_line_ends_where_it_was_drawn_to_or_when_time_is_up(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    ends = Counter[bool]()
    for spec in specs_of(tmp_path, corpora, 30, targets=layer({"speed_mps": 0.5}, emitters=1)):
        (emitter,) = moved(spec)
        first, last = emitter.keyframes[0], emitter.keyframes[-1]
        assert first.time_s == 0
        way = math.dist(first.position_m, last.position_m)
        assert way == pytest.approx(0.5 * last.time_s, abs=1e-5)
        assert last.time_s <= 4
        ends[last.time_s < 4] += 1
    assert len(ends) == 2


def test_length_turn_and_corners_bound_a_path(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    def only(motion: Motion) -> tuple[SceneSpec, Path]:
        targets = layer(motion, emitters=1)
        listener = {"wall_margin_m": 2.4}
        (spec,) = specs_of(tmp_path, corpora, 1, targets=targets, listener=listener, duration_s=30)
        return spec, Path.of(spec.emitters[0].keyframes)

    spec, path = only({"path": "circular", "turn_deg": 30})
    x, y = (path.position_m - np.array(spec.listener[0].position_m)).T[:2]
    assert abs(np.ptp(np.degrees(np.unwrap(np.arctan2(y, x)))) - 30) < 1e-3
    for family in FAMILIES:
        _, path = only({"path": family, "length_m": 0.5})
        way = np.linalg.norm(np.diff(path.position_m, axis=0), axis=1).sum()
        assert way == pytest.approx(0.5, abs=0.01) or (family != "circular" and way < 0.5)
    _, path = only({"path": "waypoints", "corners": 3, "speed_mps": 1.5})
    legs = np.diff(path.position_m, axis=0)
    headings = legs / np.linalg.norm(legs, axis=1, keepdims=True)
    assert (angles_rad(headings[:-1], headings[1:]) > 1e-3).sum() == 2


def test_what_moves_during_events_stands_between_them(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    motion = {"path": "random_walk", "when": "events", "speed_mps": 0.8}
    schedule = {"order": "scattered", "gap_s": 0.5, "on_full": "drop"}
    targets = layer(motion, emitters=1, events=3, event_s=2, schedule=schedule)
    for spec in specs_of(tmp_path, corpora, 6, targets=targets, duration_s=12):
        (emitter,) = moved(spec)
        times, points = dense(emitter.keyframes, 12001)
        sounding = np.zeros(len(times), bool)
        for event in emitter.events:
            sounding |= (event.onset_s <= times) & (times <= event.onset_s + event.duration_s)
        assert emitter.keyframes[0].time_s == pytest.approx(emitter.events[0].onset_s, abs=1e-6)
        both = sounding[:-1] & sounding[1:]
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1) / np.diff(times)
        assert steps[~(sounding[:-1] | sounding[1:])].max(initial=0) < 1e-3
        assert np.median(steps[both]) > 0.3


def test_a_share_of_the_emitters_moves(tmp_path: File, corpora: dict[str, FakeCorpus]) -> None:
    motion = {"share": 0.3, "path": {"choice": ["linear", "circular"], "weights": [1, 1]}}
    targets = layer(motion, emitters=3, placement={"separation_m": 0.3})
    moving = [
        len(emitter.keyframes) > 1
        for spec in specs_of(tmp_path, corpora, 80, targets=targets)
        for emitter in spec.emitters
    ]
    assert len(moving) == 240
    assert abs(np.mean(moving) - 0.3) < 4 * math.sqrt(0.21 / 240)


def test_a_share_of_none_leaves_every_scene_as_it_is_without_motion(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    still = list(specs_of(tmp_path, corpora, 5, targets={"placement": PLACEMENT}))
    none = list(
        specs_of(
            tmp_path,
            corpora,
            5,
            targets={"placement": PLACEMENT, "motion": {"share": 0}},
            listener={"motion": {"share": 0, "turn_deg_s": 30}},
        )
    )
    assert still == none


def test_motion_starts_where_the_emitter_would_stand(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    """A new stream for everything that motion adds: the rest of the scene stays as it was."""
    still, moving = (
        list(specs_of(tmp_path, corpora, 5, targets={"placement": PLACEMENT, **more}))
        for more in ({}, {"motion": {"speed_mps": 0.2}})
    )
    for a, b in zip(still, moving, strict=True):
        assert b.emitters[0].keyframes[0] == a.emitters[0].keyframes[0]
        assert len(b.emitters[0].keyframes) > 1
        kept = [dataclasses.replace(e, keyframes=a.emitters[0].keyframes) for e in b.emitters]
        assert dataclasses.replace(b, emitters=tuple(kept)) == a


def test_scenes_with_motion_repeat_and_their_json_round_trips(
    corpora: dict[str, FakeCorpus],
) -> None:
    recipe = load_recipe("moving")
    count = 0
    for index in range(8):
        spec, _ = sample_scene_with_redraw(recipe, corpora, seed=3, index=index)
        again, _ = sample_scene_with_redraw(recipe, fake_corpora(), seed=3, index=index)
        assert again.to_json() == spec.to_json()
        assert SceneSpec.from_json(spec.to_json()) == spec
        count += len(moved(spec))
        for emitter in spec.emitters:
            for keyframe in emitter.keyframes:
                for value in (keyframe.time_s, *keyframe.position_m, keyframe.yaw_deg):
                    assert value == round(value, 6)
    assert count >= 5


def test_half_of_the_sources_of_the_shipped_recipe_move(corpora: dict[str, FakeCorpus]) -> None:
    found = check(load_recipe("moving"), n_scenes=40)
    assert found.ok
    assert found.ranges["target that moves, highest deg/s"][2] <= 40 * 1.02
    assert found.ranges["target that moves, highest m/s"][2] <= 3 + 1e-3
    recipe = load_recipe("moving")
    assert recipe.sample_rate == 24000
    sources = [
        len(emitter.keyframes) > 1
        for index in range(60)
        for emitter in sample_scene_with_redraw(recipe, corpora, index=index)[0].emitters
        if emitter.events[0].role != "noise"
    ]
    assert abs(np.mean(sources) - 0.5) < 4 * 0.5 / math.sqrt(len(sources))


def test_what_faces_the_listener_does_so_all_along(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    for family in FAMILIES:
        targets = layer({"path": family, "speed_mps": 1.0}, directivity="speech", emitters=1)
        for spec in specs_of(
            tmp_path, corpora, 3, targets=targets, listener={"wall_margin_m": 1.8}
        ):
            path = Path.of(spec.emitters[0].keyframes)
            times = np.linspace(0, 4, 2001)
            fronts = path.rotations(times)[:, :, 0]
            ideal = np.array(spec.listener[0].position_m) - path.positions(times)
            assert np.degrees(angles_rad(fronts, ideal)).max() < 0.5


def test_what_faces_the_room_keeps_its_orientation(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    targets = layer({}, facing={"towards": "room", "yaw_deg": 30}, emitters=1)
    (spec,) = specs_of(tmp_path, corpora, 1, targets=targets)
    assert {pose.yaw_deg for pose in spec.emitters[0].keyframes} == {30}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_faces_its_path_looks_where_it_goes(
    family: str, tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    facing = {"towards": "path", "yaw_deg": 0}
    motion = {"path": family, "speed_mps": 0.7}
    targets = layer(motion, facing=facing, emitters=1)
    for spec in specs_of(
        tmp_path, corpora, 4, targets=targets, listener={"wall_margin_m": 1.8}, duration_s=8
    ):
        path = Path.of(spec.emitters[0].keyframes)
        times = np.arange(0.0, path.time_s[-1] - 0.02, 0.02)
        ways = path.positions(times + 0.02) - path.positions(times)
        fronts = path.rotations(times + 0.01)[:, :, 0]
        off = np.degrees(angles_rad(fronts, ways))
        turning = np.degrees(angles_rad(ways[:-1], ways[1:])) > 12
        corners = times[1:][turning]
        clear = np.abs(times[:, None] - corners).min(axis=1, initial=9.0) > 0.25
        assert clear.sum() > 0.5 * len(times)
        assert off[clear].max() < 9


def test_what_faces_its_path_and_stands_looks_at_the_listener(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    faced = [
        list(specs_of(tmp_path, corpora, 3, targets={"facing": {"towards": towards}}))
        for towards in ("path", "listener")
    ]
    assert faced[0] == faced[1]


# The listener.


@pytest.mark.parametrize("family", ["linear", "waypoints", "random_walk"])
def test_a_walking_listener_keeps_height_margin_and_speed_and_everybody_clear(
    family: str, tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    listener = {"motion": {"path": family, "speed_mps": 0.8}, "height_m": 1.6}
    targets = layer({"share": 0.5}, placement={"separation_m": 0.6})
    for spec in specs_of(tmp_path, corpora, 12, listener=listener, targets=targets):
        times, places = dense(spec.listener)
        assert set(places[:, 2]) == {1.6}
        assert 0.5 < places[:, 0].min() <= places[:, 0].max() < 5.5
        assert 0.5 < places[:, 1].min() <= places[:, 1].max() < 4.5
        speed = np.linalg.norm(np.diff(places, axis=0), axis=1) / np.diff(times)
        assert 0.2 < speed.max() <= 0.8 + 1e-3
        assert len({pose.yaw_deg for pose in spec.listener}) == 1
        for emitter in spec.emitters:
            away = Path.of(emitter.keyframes).positions(times) - places
            assert np.linalg.norm(away, axis=1).min() >= 0.6 - 1e-6


@pytest.mark.parametrize("pitch", [0, {"uniform": [-40, 40]}])
def test_a_head_turns_at_its_speed_and_rests_in_between(
    pitch: Any, tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    motion = {"turn_deg_s": 60, "yaw_deg": {"uniform": [-90, 90]}, "pitch_deg": pitch}
    listener = {"motion": motion, "roll_deg": 7}
    for spec in specs_of(tmp_path, corpora, 6, listener=listener, duration_s=12):
        assert len({pose.position_m for pose in spec.listener}) == 1
        assert spec.listener[-1].time_s <= 12
        path = Path.of(spec.listener)
        times = np.linspace(0, spec.listener[-1].time_s, 6001)
        turns = path.rotations(times)
        steps = np.einsum("tji,tjk->tik", turns[:-1], turns[1:])
        cosine = np.clip((np.trace(steps, axis1=1, axis2=2) - 1) / 2, -1, 1)
        rate = np.degrees(np.arccos(cosine)) / np.diff(times)
        assert np.percentile(rate, 95) == pytest.approx(60, rel=0.02)
        assert rate.max() <= 60 * 1.03
        assert (rate < 1).mean() > 0.1
        # The ideal turn has constant rates of yaw and pitch.
        key_s = [pose.time_s for pose in spec.listener]
        yaw = np.interp(times, key_s, [pose.yaw_deg for pose in spec.listener])
        pitches = np.interp(times, key_s, [pose.pitch_deg for pose in spec.listener])
        for n in range(0, 6001, 50):
            ideal = rotation_matrix(yaw[n], pitches[n], 7)
            assert np.degrees(2 * math.asin(np.linalg.norm(ideal - turns[n]) / math.sqrt(8))) <= 0.1


def test_a_listener_can_walk_and_look_around_at_once(
    tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    listener = {"motion": {"path": "linear", "turn_deg_s": 90, "pause_s": 0}}
    (spec,) = specs_of(tmp_path, corpora, 1, listener=listener)
    assert len({pose.yaw_deg for pose in spec.listener}) > 2
    places = np.array([pose.position_m for pose in spec.listener])
    assert np.linalg.norm(np.cross(places - places[0], places[-1] - places[0]), axis=1).max() < 1e-4
    assert all(a.time_s < b.time_s for a, b in pairwise(spec.listener))


@pytest.mark.parametrize("walks", [False, True])
def test_ways_go_around_corners_of_the_room_and_stay_in_sight(
    walks: bool, corpora: dict[str, FakeCorpus]
) -> None:
    overrides = [
        ("targets.motion", "{path: waypoints, speed_mps: 0.8, share: 0.6}"),
        ("noise.emitters", "0"),
    ]
    if walks:
        overrides.append(("listener.motion", "{path: linear, speed_mps: 0.3}"))
    recipe = load_recipe("l-shape", overrides)
    count = 0
    for index in range(8):
        spec, _ = sample_scene_with_redraw(recipe, corpora, index=index)
        listener = Path.of(spec.listener)
        for emitter in spec.emitters:
            count += len(emitter.keyframes) > 1 or walks
            times = np.linspace(0, spec.duration_s, 300)
            places = Path.of(emitter.keyframes).positions(times).tolist()
            for at, ear in zip(places, listener.positions(times).tolist(), strict=True):
                assert spec.room.outside(tuple(at)) is None
                assert spec.room.clearance_m(tuple(at), ceiling=True) >= 0.29
                assert spec.room.blocked(tuple(ear), tuple(at)) is None
    assert count >= 4


# What cannot be.


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            {"motion": {"path": "circular", "speed_mps": 3}, "placement": {"distance_m": 2.2}},
            r"target0: none of 100 ways in room .* keeps .*; broken: \d+ x wall_margin_m = 0\.3",
        ),
        (
            {
                "motion": {"tries": 7},
                "placement": {"lowest_deg": 11, "highest_deg": 11.5, "tries": 20000},
            },
            r"none of 7 ways .*broken: \d x (no way on|elevation)",
        ),
    ],
)
def test_motion_that_does_not_fit_ends_and_says_what_broke(
    targets: dict[str, Any], message: str, tmp_path: File, corpora: dict[str, FakeCorpus]
) -> None:
    recipe = small_recipe(tmp_path, targets=targets, duration_s=30)
    with pytest.raises(PlacementError, match=message):
        sample_scene(recipe, corpora, index=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {"motion": {"path": "spiral"}}}, r"motion: path = 'spiral'; must be one of"),
        ({"targets": {"motion": {"path": "circlar"}}}, "did you mean 'circular'"),
        ({"targets": {"motion": {"speed_mps": None}}}, "are null; give at least one"),
        ({"targets": {"motion": {"speed_mps": 300}}}, r"speed_mps = 300 can leave \[0\.001, 50\]"),
        ({"targets": {"motion": {"share": 1.5}}}, r"share = 1\.5; must lie in \[0, 1\]"),
        ({"targets": {"motion": {"tries": 0}}}, r"tries = 0; must be at least 1"),
        ({"targets": {"motion": {"corners": 0}}}, r"corners = 0 can leave \[1, 256\]"),
        ({"listener": {"motion": {}}}, "path and turn_deg_s are null"),
        ({"listener": {"motion": {"path": "circular"}}}, "path = 'circular'; must be one of lin"),
        (
            {
                "listener": {"place": "table", "motion": {"path": "linear"}},
                "table": {"length_m": 1, "width_m": 1},
            },
            r"motion\.path is given, but a listener on the table stays in its place",
        ),
    ],
)
def test_impossible_motion_is_refused_by_name(
    changes: dict[str, Any], message: str, tmp_path: File
) -> None:
    with pytest.raises(ConfigError, match=message):
        small_recipe(tmp_path, **changes)


def test_measured_rooms_let_the_listener_turn_and_nothing_else_move(tmp_path: File) -> None:
    rooms = [{"name": "hall", "measured": {"rooms": ["hall"]}}]
    same = {"engine": "sofa", "rooms": rooms}
    turning = small_recipe(tmp_path, **same, listener={"motion": {"turn_deg_s": 40}})
    assert turning.listener.motion is not None
    for changes in ({"targets": {"motion": {}}}, {"listener": {"motion": {"path": "linear"}}}):
        with pytest.raises(ConfigError, match=r"motion.*a measured room has responses for places"):
            small_recipe(tmp_path, **same, **changes)


def test_the_schema_tells_of_motion_and_by_default_nothing_moves(tmp_path: File) -> None:
    text = describe_schema()
    assert "angular_speed_deg_s (a number or distribution or null, default null)" in text
    assert "motion (may be left out): how the listener moves" in text
    plain = to_plain(small_recipe(tmp_path, noise={"snr_db": 3}))
    for name in ("targets", "noise", "listener"):
        assert plain[name]["motion"] is None


def test_noise_and_interferers_move_too(tmp_path: File, corpora: dict[str, FakeCorpus]) -> None:
    walk = {"path": "random_walk", "speed_mps": 0.5}
    (spec,) = specs_of(
        tmp_path,
        corpora,
        1,
        interferers={"motion": walk},
        noise={"snr_db": 3, "motion": walk},
    )
    assert [emitter.events[0].role for emitter in moved(spec)] == ["interferer", "noise"]
