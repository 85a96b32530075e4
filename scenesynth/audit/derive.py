"""What a spec alone says about the rows of a scene, found apart from the renderer's own code.

The tables hold what the renderer wrote. Most of that follows from the spec, which is in the tables
too: where everything is, when it is heard, what is asked for. Here it is found again from the spec
by `scenesynth.scene.geometry` and `scenesynth.scene.motion`. What needs the audio (wet offsets,
levels, acoustics) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from scenesynth.render.levels import max_polyphony
from scenesynth.render.rows import head_name
from scenesynth.scene.geometry import azimuth_elevation, quaternion, to_listener
from scenesynth.scene.motion import Path, heard, travel_s
from scenesynth.scene.spec import DiffuseField, Emitter, Event, Keyframe, SceneSpec, render_key
from scenesynth.spatial.formats import Format
from scenesynth.store.frames import frame_range, n_frames

Row = dict[str, Any]

OF_CLIPS: Final = (
    *("dry_onset_s", "dry_offset_s", "wet_onset_s", "frame_start", "frame_stop"),
    *("group", "labels", "caption", "corpus", "clip", "clip_digest", "fold", "licence"),
)
"""Columns of an event that depend on the clips at hand, beside the spec's own draws."""

PLACES: Final = tuple(
    f"{what}_{end}_{unit}"
    for end in ("start", "end")
    for what, unit in (("azimuth", "deg"), ("elevation", "deg"), ("distance", "m"))
)
"""Columns of an event about where it is heard."""


def scene_columns(spec: SceneSpec, formats: Sequence[Format]) -> Row:
    """Columns of the scenes table that follow from a spec."""
    roles = [emitted.role for _, emitted in sounding(spec)]
    first = spec.listener[0]
    return {
        "split": spec.origin.split,
        "n_samples": spec.n_samples,
        "sample_rate": spec.sample_rate,
        "recipe": spec.origin.recipe,
        "room": spec.room.id,
        "room_size_m": list(spec.room.size_m),
        "rt60_requested_s": None if spec.room.rt60_s is None else list(spec.room.rt60_s),
        "snr_requested_db": spec.snr_db,
        "sir_requested_db": spec.sir_db,
        "n_targets": roles.count("target"),
        "n_interferers": roles.count("interferer"),
        "n_noise": roles.count("noise"),
        "n_events": len(roles),
        "max_polyphony": _polyphony(spec),
        "listener_position_m": list(first.position_m),
        "listener_quaternion": _turn(first),
        "listener_trajectory": _keyframes(spec.listener),
        "head": head_name(spec, formats),
        **{f"render_key_{item.name}": render_key(spec, item) for item in formats},
    }


def sounding(spec: SceneSpec) -> list[tuple[Emitter | DiffuseField, Event | DiffuseField]]:
    """Events with what emits them, in the order of the events table."""
    return [
        *((emitter, event) for emitter in spec.emitters for event in emitter.events),
        *((field, field) for field in spec.diffuse),
    ]


def event_columns(spec: SceneSpec) -> list[Row]:
    """Columns of the events table that follow from a spec, a row an event."""
    return [
        {"emitter": emitter.id, "role": event.role, **_played(emitter, event)}
        | (_heard(spec, emitter, event) if isinstance(emitter, Emitter) else {})
        for emitter, event in sounding(spec)
    ]


def _played(emitter: Emitter | DiffuseField, event: Event | DiffuseField) -> Row:
    clip = event.clip
    if clip is None:
        return {"labels": [], "clip": None, "clip_digest": None}
    own = emitter.group if isinstance(emitter, Emitter) else ""
    return {
        "group": own or clip.group,
        "labels": list(clip.labels),
        "caption": clip.caption,
        "corpus": clip.corpus,
        "clip": clip.id,
        "clip_digest": clip.digest,
        "fold": clip.fold,
        "licence": clip.licence,
    }


def _heard(spec: SceneSpec, emitter: Emitter, event: Event | DiffuseField) -> Row:
    """When and where an event of an emitter is heard."""
    assert isinstance(event, Event)
    dry_s = _dry_span_s(spec, event)
    wet_s = _wet_span_s(spec, emitter, event)
    start, stop = (_where(spec, emitter, time_s) for time_s in wet_s)
    frames = frame_range(*wet_s, n_frames(spec.n_samples, spec.sample_rate))
    return {
        "dry_onset_s": dry_s[0],
        "dry_offset_s": dry_s[1],
        "wet_onset_s": wet_s[0],
        "frame_start": frames[0],
        "frame_stop": frames[1],
        **dict(zip(PLACES, (*start, *stop), strict=True)),
        "trajectory": _keyframes(emitter.keyframes),
        "direct_delay_s": wet_s[0] - dry_s[0],
    }


def _dry_span_s(spec: SceneSpec, event: Event) -> tuple[float, float]:
    # The clip starts on a whole sample, so its labels count from there.
    start_s = round(event.onset_s * spec.sample_rate) / spec.sample_rate
    offset_s = min(start_s + event.active_end_s, spec.duration_s)
    return start_s + event.active_start_s, offset_s


def _wet_span_s(spec: SceneSpec, emitter: Emitter, event: Event) -> tuple[float, float]:
    """From the arrival of the direct sound's beginning to that of its end, or the scene's."""
    leaves_s = _dry_span_s(spec, event)
    kept_s = round(event.onset_s * spec.sample_rate) / spec.sample_rate
    asked_s = leaves_s if spec.doppler else (kept_s, kept_s)
    speed_mps = spec.air.speed_of_sound_mps
    paths = Path.of(emitter.keyframes), Path.of(spec.listener)
    first_s, last_s = travel_s(*paths, asked_s, speed_mps).tolist()
    return leaves_s[0] + first_s, min(leaves_s[1] + last_s, spec.duration_s)


def _where(spec: SceneSpec, emitter: Emitter, time_s: float) -> tuple[float, float, float]:
    """Azimuth and elevation in degrees and distance in metres of what arrives at a time."""
    if len(emitter.keyframes) == len(spec.listener) == 1:
        return to_listener(emitter.keyframes[0].position_m, spec.listener[0])
    paths = Path.of(emitter.keyframes), Path.of(spec.listener)
    (vector,) = heard(*paths, [time_s], spec.air.speed_of_sound_mps).relative_m.tolist()
    x, y, z = vector
    return *azimuth_elevation((x, y, z)), math.hypot(x, y, z)


def _polyphony(spec: SceneSpec) -> int:
    return max_polyphony(
        [
            _wet_span_s(spec, emitter, event)
            for emitter in spec.emitters
            for event in emitter.events
            if event.role != "noise"
        ]
    )


def _turn(pose: Keyframe) -> list[float]:
    return list(quaternion(pose.yaw_deg, pose.pitch_deg, pose.roll_deg))


def _keyframes(path: Sequence[Keyframe]) -> list[Mapping[str, float]]:
    names = ("time_s", "x", "y", "z", "qw", "qx", "qy", "qz")
    return [
        dict(zip(names, (pose.time_s, *pose.position_m, *_turn(pose)), strict=True))
        for pose in path
    ]


def nearly_equal(found: Any, expected: Any, tolerance: float) -> bool:
    """Whether two values of a table are the same at any depth, numbers within a tolerance."""
    if isinstance(found, bool | str) or isinstance(expected, bool | str):
        return bool(found == expected)
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return set(found) == set(expected) and all(
            nearly_equal(found[name], value, tolerance) for name, value in expected.items()
        )
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        return len(found) == len(expected) and all(
            nearly_equal(one, other, tolerance) for one, other in zip(found, expected, strict=True)
        )
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
    return found is None and expected is None
