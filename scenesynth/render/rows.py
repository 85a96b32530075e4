"""A rendered scene as rows of the manifest: one for the scene, one for each event."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.receivers import DEFAULT_HEAD
from scenesynth.acoustics.response import Response
from scenesynth.errors import ContentError
from scenesynth.render.energy import Energies
from scenesynth.render.labels import Times
from scenesynth.render.levels import max_polyphony, ratio_db
from scenesynth.render.mix import N_REFERENCE_CHANNELS, Ratio, Signal
from scenesynth.scene.geometry import azimuth_elevation, quaternion
from scenesynth.scene.motion import Path, track
from scenesynth.scene.spec import (
    DiffuseField,
    Emitter,
    Event,
    Keyframe,
    Role,
    SceneSpec,
    render_key,
)
from scenesynth.spatial.formats import Format, Layout

Row = dict[str, Any]

LABEL_VERSION: Final = "1"
"""Version of the rows; another one whenever the same samples would get other values."""

_PLACES = (
    "azimuth_start_deg",
    "elevation_start_deg",
    "distance_start_m",
    "azimuth_end_deg",
    "elevation_end_deg",
    "distance_end_m",
    "heard",
    "trajectory",
    "direct_delay_s",
)
"""Columns about where an event is."""


class Heard(Protocol):
    """What the rows say of one event at the listener, before the gain of its role."""

    @property
    def emitter(self) -> Emitter | DiffuseField: ...
    @property
    def event(self) -> Event | DiffuseField: ...
    @property
    def response(self) -> Response | None: ...
    @property
    def energy(self) -> Energies: ...
    @property
    def times(self) -> Times: ...


class Mixed(Protocol):
    """What the rows say of a mixture: see `scenesynth.render.mix.Mixture`."""

    @property
    def gains(self) -> Mapping[Role, float]: ...
    @property
    def noise(self) -> Energies | None: ...
    @property
    def snr(self) -> Ratio | None: ...
    @property
    def sir(self) -> Ratio | None: ...


def scene_row(
    spec: SceneSpec,
    spec_json: str,
    layout: Layout,
    audio: Signal,
    sounds: Sequence[Heard],
    mixture: Mixed,
) -> Row:
    """The scene's columns, without those that the store adds.

    The acoustics are those of the first target's response (the first event's where there is no
    target). Polyphony counts targets and interferers by their direct sound.

    Args:
        audio: all channels of the layout. Shape: [channels, samples].

    Raises:
        ContentError: a format's audio is not finite.
    """
    roles = [sound.event.role for sound in sounds]
    heard = [s.times for s in sounds if s.event.role != "noise"]
    row = {
        "id": spec.id,
        "index": spec.origin.index,
        "split": spec.origin.split,
        "attempt": spec.origin.attempt,
        "n_samples": spec.n_samples,
        "sample_rate": spec.sample_rate,
        "spec": spec_json,
        "recipe": spec.origin.recipe,
        "room": spec.room.id,
        "room_size_m": list(spec.room.size_m),
        "rt60_requested_s": None if spec.room.rt60_s is None else list(spec.room.rt60_s),
        **_room_acoustics(sounds),
        "snr_requested_db": spec.snr_db,
        "snr_achieved_db": _reference_db(spec, mixture.snr),
        "sir_requested_db": spec.sir_db,
        "sir_achieved_db": _reference_db(spec, mixture.sir),
        "n_targets": roles.count("target"),
        "n_interferers": roles.count("interferer"),
        "n_noise": roles.count("noise"),
        "n_events": len(roles),
        "max_polyphony": max_polyphony([(t.wet_onset_s, t.direct_offset_s) for t in heard]),
        "listener_position_m": list(spec.listener[0].position_m),
        "listener_quaternion": list(_orientation(spec.listener[0])),
        "listener_trajectory": _trajectory(spec.listener),
        "head": head_name(spec, layout.formats),
    }
    for item in layout.formats:
        rows = layout.rows[item.name]
        row[f"render_key_{item.name}"] = render_key(spec, item)
        row[f"snr_{item.name}_db"] = mixture.snr.db(rows) if mixture.snr else None
        row[f"peak_{item.name}"] = _peak(spec, item, audio[rows])
    return row


def event_row(spec: SceneSpec, number: int, sound: Heard, mixture: Mixed) -> Row:
    """The columns of event `number` of the scene, without those that the store adds."""
    event, times = sound.event, sound.times
    gain = mixture.gains[event.role]
    start = round(times.wet_onset_s * spec.sample_rate)
    stop = max(round(times.wet_offset_s * spec.sample_rate), start + 1)
    energy = gain**2 * sound.energy.between(start, stop)
    return {
        "scene": spec.id,
        "index": spec.origin.index,
        "event": number,
        "emitter": sound.emitter.id,
        "role": event.role,
        **_played(sound),
        "dry_onset_s": times.dry_onset_s,
        "dry_offset_s": times.dry_offset_s,
        "wet_onset_s": times.wet_onset_s,
        "wet_offset_s": times.wet_offset_s,
        "frame_start": times.frame_start,
        "frame_stop": times.frame_stop,
        **_directions(spec, sound),
        "level_db": 10 * math.log10(energy / (stop - start)) if energy > 0 else None,
        "local_snr_db": _local_snr_db(sound, energy, (start, stop), mixture),
        "stem": None,
        "gain": event.gain * gain,
        **_event_acoustics(sound.response),
    }


def _played(sound: Heard) -> Row:
    """What an event plays: a clip, or noise of a colour."""
    event, clip = sound.event, sound.event.clip
    if clip is None:
        assert isinstance(event, DiffuseField)
        none = dict.fromkeys(("corpus", "clip", "clip_digest", "fold", "licence"))
        return {"group": "", "labels": [], "caption": f"{event.colour} noise", **none}
    own = sound.emitter.group if isinstance(sound.emitter, Emitter) else ""
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


def _directions(spec: SceneSpec, sound: Heard) -> Row:
    """Where an event is heard at the wet onset, at the end of its direct sound, and between.

    The delay is that of the onset. A diffuse field has none of it.
    """
    emitter, response, times = sound.emitter, sound.response, sound.times
    if isinstance(emitter, DiffuseField) or response is None:
        return dict.fromkeys(_PLACES)
    if len(emitter.keyframes) == len(spec.listener) == 1:
        azimuth_deg, elevation_deg = azimuth_elevation(response.direction)
        start = stop = (azimuth_deg, elevation_deg, response.distance_m)
        x, y, z = (response.distance_m * part for part in response.direction)
        entries = [{"time_s": times.wet_onset_s, "x": x, "y": y, "z": z}]
        delay_s = response.direct_delay_s
    else:
        at_s, vectors = track(
            Path.of(emitter.keyframes),
            Path.of(spec.listener),
            times.wet_onset_s,
            times.direct_offset_s,
            spec.air.speed_of_sound_mps,
        )
        start, stop = _seen(vectors[0]), _seen(vectors[-1])
        delay_s = times.wet_onset_s - times.dry_onset_s
        entries = [
            {"time_s": time_s, "x": x, "y": y, "z": z}
            for time_s, (x, y, z) in zip(at_s.tolist(), vectors.tolist(), strict=True)
        ]
    return {
        "azimuth_start_deg": start[0],
        "elevation_start_deg": start[1],
        "distance_start_m": start[2],
        "azimuth_end_deg": stop[0],
        "elevation_end_deg": stop[1],
        "distance_end_m": stop[2],
        "heard": entries,
        "trajectory": _trajectory(emitter.keyframes),
        "direct_delay_s": delay_s,
    }


def _seen(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    """Azimuth, elevation and distance of a vector from the listener."""
    x, y, z = vector.tolist()
    return *azimuth_elevation((x, y, z)), math.hypot(x, y, z)


def head_name(spec: SceneSpec, formats: Sequence[Format]) -> str | None:
    """Whose ears a scene is heard with, where it is heard with ears."""
    if all(item.kind != "binaural" for item in formats):
        return None
    return DEFAULT_HEAD if spec.head is None else spec.head.id


def _room_acoustics(sounds: Sequence[Heard]) -> Row:
    responses = [(s.event.role, s.response) for s in sounds if s.response is not None]
    targets = [pair for pair in responses if pair[0] == "target"]
    if not responses:
        return {}
    measured = (targets or responses)[0][1].measured
    return {
        "rt60_measured_s": [_measured(value) for value in measured.rt60_s],
        "rt60_broadband_s": _measured(measured.rt60_broadband_s),
        "edt_s": _measured(measured.edt_broadband_s),
        "drr_db": _measured(measured.drr_db),
        "c50_db": _measured(measured.c50_db),
    }


def _event_acoustics(response: Response | None) -> Row:
    if response is None:
        return dict.fromkeys(("rt60_s", "edt_s", "drr_db", "c50_db"))
    measured = response.measured
    return {
        "rt60_s": [_measured(value) for value in measured.rt60_s],
        "edt_s": _measured(measured.edt_broadband_s),
        "drr_db": _measured(measured.drr_db),
        "c50_db": _measured(measured.c50_db),
    }


def _measured(value: float) -> float | None:
    """A measurement, or None where the response did not allow it."""
    return None if math.isnan(value) else value


def _reference_db(spec: SceneSpec, ratio: Ratio | None) -> float | None:
    """A ratio as the spec refers to it."""
    return None if ratio is None else ratio.db(slice(N_REFERENCE_CHANNELS[spec.snr_reference]))


def _local_snr_db(
    sound: Heard, energy: float, span: tuple[int, int], mixture: Mixed
) -> float | None:
    """Ratio of an event to all noise while the event is heard; None for noise itself."""
    if sound.event.role == "noise" or mixture.noise is None:
        return None
    return ratio_db(energy, mixture.noise.between(*span))


def _peak(spec: SceneSpec, item: Format, samples: Signal) -> float:
    peak = max(float(samples.max()), -float(samples.min()))
    if not math.isfinite(peak):
        raise ContentError(
            f"scene {spec.id}: {item.name} audio reaches {peak}; all samples must be finite; "
            f"look for an extreme gain in its events"
        )
    return peak


def _trajectory(path: Sequence[Keyframe]) -> list[dict[str, float]]:
    keyframes = []
    for pose in path:
        w, qx, qy, qz = _orientation(pose)
        x, y, z = pose.position_m
        at = {"time_s": pose.time_s, "x": x, "y": y, "z": z}
        keyframes.append(at | {"qw": w, "qx": qx, "qy": qy, "qz": qz})
    return keyframes


def _orientation(pose: Keyframe) -> tuple[float, float, float, float]:
    return quaternion(pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
