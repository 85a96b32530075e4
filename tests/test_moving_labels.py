"""Labels of what moves, frame by frame, against closed forms of the motion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scenesynth.render.energy import Energy
from scenesynth.render.labels import event_times
from scenesynth.render.rows import event_row
from scenesynth.room.model import Air, Room
from scenesynth.scene.geometry import great_circle_deg, rotation_matrix
from scenesynth.scene.motion import Path, travel_s
from scenesynth.scene.spec import ClipRef, Emitter, Event, Keyframe, Origin, SceneSpec
from scenesynth.store.frames import Frames, frame_table
from scenesynth.store.schema import events_schema, table_of

RATE = 24_000
SECONDS = 6.0
EAR = np.array([4.0, 4.0, 1.5])
C = Air().speed_of_sound_mps

Where = Callable[[float], np.ndarray]


def sampled(where: Where, step_s: float = 0.05) -> tuple[Keyframe, ...]:
    """Keyframes of an ideal path over the scene."""
    return tuple(
        Keyframe(time_s=float(t), position_m=tuple(where(float(t))))  # type: ignore[arg-type]
        for t in np.arange(0, SECONDS + step_s / 2, step_s)
    )


def event_at(onset_s: float, length_s: float) -> Event:
    return Event(
        role="target",
        clip=ClipRef(corpus="sources", id="a", digest="d"),
        onset_s=onset_s,
        duration_s=length_s,
        active_start_s=0.0,
        active_end_s=length_s,
    )


def row_of(
    path: Sequence[Keyframe],
    event: Event,
    listener: Sequence[Keyframe] = (Keyframe(position_m=(4.0, 4.0, 1.5)),),
) -> dict[str, Any]:
    """The event's row, as it comes back from the table."""
    emitter = Emitter(id="e", keyframes=tuple(path), events=(event,))
    spec = SceneSpec(
        origin=Origin(),
        sample_rate=RATE,
        n_samples=round(SECONDS * RATE),
        room=Room(id="r", size_m=(8, 8, 3), band_hz=(1000.0,), absorption=((1.0,),) * 6),
        air=Air(),
        listener=tuple(listener),
        emitters=(emitter,),
        response_s=0.1,
    )
    wet = Energy(np.ones(spec.n_samples, np.float32))
    ways = [Path.of(path), Path.of(listener)]
    times = event_times(
        event,
        wet,
        direct_delay_s=lambda at: float(travel_s(*ways, [at], C)[0]),
        n_samples=spec.n_samples,
        sample_rate=RATE,
    )
    measured = SimpleNamespace(
        rt60_s=(), edt_broadband_s=math.nan, drr_db=math.inf, c50_db=math.inf
    )
    sound = SimpleNamespace(
        emitter=emitter,
        event=event,
        energy=wet,
        times=times,
        response=SimpleNamespace(measured=measured),
    )
    mixture = SimpleNamespace(gains={"target": 1.0}, noise=None)
    row: dict[str, Any] = event_row(spec, 0, sound, mixture)  # type: ignore[arg-type]
    return table_of([row], events_schema()).to_pylist()[0]


def dense(row: dict[str, Any], hop_s: float = 0.1) -> Frames:
    return frame_table([row], round(SECONDS * RATE), RATE, hop_s)


def worst_deg(labelled: Frames, relative: Where) -> float:
    """Largest angle between label and truth over the active frames' middles."""
    worst = 0.0
    for k in np.flatnonzero(labelled.active[0]):
        azimuth, elevation = (
            np.radians(column[0, k]) for column in (labelled.azimuth_deg, labelled.elevation_deg)
        )
        flat = math.cos(elevation)
        label = (flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation))
        truth = relative((k + 0.5) * labelled.hop_s)
        worst = max(worst, great_circle_deg(label, tuple(truth)))
    return worst


def around(radius_m: float, first_deg: float, deg_s: float, time_s: float) -> np.ndarray:
    angle = math.radians(first_deg + deg_s * time_s)
    return ear(radius_m * math.cos(angle), radius_m * math.sin(angle), 0.4)


def ear(x: float, y: float, z: float) -> np.ndarray:
    """A place by its way from the listener."""
    return EAR + np.array([x, y, z])


def past(first_m: np.ndarray, speed_mps: np.ndarray, time_s: float) -> np.ndarray:
    return first_m + speed_mps * time_s


def retarded(where: Where, time_s: float) -> np.ndarray:
    """Relative position at emission for a listener at EAR, by bisection of the delay."""
    low, high = 0.0, 0.1
    for _ in range(60):
        delay = (low + high) / 2
        away = where(max(time_s - delay, 0.0)) - EAR
        low, high = (delay, high) if np.linalg.norm(away) / C > delay else (low, delay)
    return away


PATHS: dict[str, Where] = {
    "circle to the left through the back": partial(around, 2.0, 100, 40),
    "circle to the right through the back": partial(around, 1.2, -100, -40),
    "circle through the front": partial(around, 3.0, -60, 20),
    "fly-by behind": partial(past, ear(-1.0, -3.0, 0.2), np.array([0.0, 1.0, 0.0])),
    "fly-by at half a metre": partial(past, ear(-3.0, 0.5, 0.0), np.array([1.0, 0.0, 0.05])),
    "overhead": partial(past, ear(-2.5, 0.1, 1.0), np.array([0.9, 0.0, 0.0])),
}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("hop_s", [0.1, 0.02])
def test_labels_at_the_middle_of_every_frame_are_within_a_degree(name: str, hop_s: float) -> None:
    labelled = dense(row_of(sampled(PATHS[name]), event_at(0.3, 5.2)), hop_s)
    assert labelled.active.sum() == round(5.2 / hop_s)
    assert worst_deg(labelled, partial(retarded, PATHS[name])) < 0.5


def test_distances_follow_too() -> None:
    labelled = dense(row_of(sampled(PATHS["fly-by behind"]), event_at(0.3, 5.2)))
    for k in np.flatnonzero(labelled.active[0]):
        away = np.linalg.norm(retarded(PATHS["fly-by behind"], (k + 0.5) * 0.1))
        assert labelled.distance_m[0, k] == pytest.approx(away, rel=0.006)


def test_a_way_through_the_back_never_shows_at_the_front() -> None:
    """From -90 to +180 degrees, 90 degrees of way; linear azimuths would go through 0."""
    keyframes = sampled(partial(around, 2.0, -90, -90 / SECONDS), step_s=1.0)
    row = row_of(keyframes, event_at(0.0, SECONDS))
    assert row["azimuth_start_deg"] == pytest.approx(-90, abs=1)
    assert abs(row["azimuth_end_deg"]) == pytest.approx(180, abs=1)
    azimuth = dense(row).azimuth_deg[0]
    azimuth = azimuth[np.isfinite(azimuth)]
    assert (np.abs(azimuth) >= 88).all()
    steps = (np.diff(azimuth) + 180) % 360 - 180
    assert (steps < 0).all()
    assert np.abs(steps).max() < 3


def test_azimuths_stay_in_the_half_open_range_behind_the_head() -> None:
    straight_behind = partial(past, ear(-1.0, 0.0, 0.0), np.array([-0.4, 0.0, 0.0]))
    assert set(dense(row_of(sampled(straight_behind), event_at(0, 3))).azimuth_deg[0, :30]) == {180}


@pytest.mark.parametrize("rate_deg_s", [25.0, -60.0])
def test_a_turning_listener_hears_a_still_source_go_round(rate_deg_s: float) -> None:
    turning = [
        Keyframe(time_s=float(t), position_m=(4.0, 4.0, 1.5), yaw_deg=rate_deg_s * float(t))
        for t in range(7)
    ]
    away = np.array([1.5, 1.0, -0.3])

    def relative(time_s: float) -> np.ndarray:
        return np.asarray(rotation_matrix(rate_deg_s * time_s, 0, 0).T @ away)

    source = [Keyframe(position_m=(5.5, 5.0, 1.2))]
    row = row_of(source, event_at(0.2, 5.5), turning)
    assert worst_deg(dense(row), relative) < 0.2
    first = np.array([row["heard"][0][axis] for axis in "xyz"])
    np.testing.assert_allclose(first, relative(row["wet_onset_s"]), atol=1e-9)


def test_a_walking_listener_who_nods_and_turns_is_followed() -> None:
    start, stop = (
        Keyframe(time_s=t, position_m=p, yaw_deg=y, pitch_deg=0.0)
        for t, p, y in ((0.0, (2.0, 2.0, 1.5), 170.0), (6.0, (5.0, 2.0, 1.5), -130.0))
    )

    def relative(time_s: float) -> np.ndarray:
        share = time_s / 6
        here = np.array([2 + 3 * share, 2, 1.5])
        turned = rotation_matrix(170 + 60 * share, 0, 0)
        return np.asarray(turned.T @ (np.array([3.0, 6.0, 1.0]) - here))

    row = row_of([Keyframe(position_m=(3.0, 6.0, 1.0))], event_at(0.2, 5.5), [start, stop])
    assert worst_deg(dense(row), relative) < 0.2


@pytest.mark.parametrize("length_s", [0.002, 0.03, 0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("onset_s", [0.0, 0.97, 1.04])
def test_a_moving_event_has_the_frames_of_a_still_one_and_at_least_one(
    length_s: float, onset_s: float
) -> None:
    """Neither the last frame is lost, nor is there one too many, however short the event."""
    moving = partial(past, ear(2.0, 0.0, 0.0), np.array([0.0, 0.2, 0.0]))
    row = row_of(sampled(moving), event_at(onset_s, length_s))
    still = row_of(
        [Keyframe(position_m=tuple(moving(onset_s)))],
        event_at(onset_s, length_s),
        [Keyframe(position_m=tuple(EAR)), Keyframe(time_s=1, position_m=tuple(EAR))],
    )
    assert len(still["heard"]) == 1
    for hop_s in (0.1, 0.02):
        labelled = dense(row, hop_s)
        assert labelled.active.tolist() == dense(still, hop_s).active.tolist()
        count = labelled.active.sum()
        assert count >= 1
        assert abs(count - length_s / hop_s) <= 1
        assert np.isfinite(labelled.azimuth_deg[labelled.active]).all()
    active = np.flatnonzero(dense(row).active[0])
    assert (active[0], active[-1] + 1) == (row["frame_start"], row["frame_stop"])


def test_wet_onset_and_direct_offset_have_the_delays_of_their_own_places() -> None:
    away = partial(past, ear(0.5, 0.0, 0.0), np.array([0.5, 0.0, 0.0]))
    row = row_of(sampled(away), event_at(1.0, 4.0))
    assert row["wet_onset_s"] == pytest.approx(1.0 + 1.0 / C, abs=1e-6)
    assert row["direct_delay_s"] == pytest.approx(1.0 / C, abs=1e-6)
    assert row["heard"][0]["time_s"] == row["wet_onset_s"]
    assert row["heard"][-1]["time_s"] == pytest.approx(5.0 + 3.0 / C, abs=1e-6)
    assert row["distance_start_m"] == pytest.approx(1.0, abs=1e-6)
    assert row["distance_end_m"] == pytest.approx(3.0, abs=1e-6)
    times = [entry["time_s"] for entry in row["heard"]]
    assert all(a < b for a, b in pairwise(times))


def test_rows_without_the_column_keep_the_direction_of_their_start() -> None:
    row = row_of(sampled(PATHS["fly-by behind"]), event_at(0.3, 2.0))
    for old in ({**row, "heard": None}, {k: v for k, v in row.items() if k != "heard"}):
        labelled = dense(old)
        assert set(labelled.azimuth_deg[labelled.active]) == {row["azimuth_start_deg"]}
