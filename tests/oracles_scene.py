"""A scene made by hand from plane waves, whose directions are known without the renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scenesynth.room.model import Air, Room
from scenesynth.scene.geometry import direction, from_listener, quaternion
from scenesynth.scene.spec import ClipRef, Emitter, Event, Keyframe, Origin, SceneSpec
from scenesynth.store.schema import Scene

RATE = 16000
BANDS = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)


def plane_wave_scene(
    directions: Sequence[tuple[str, float, float]] = (("dog bark", 60.0, 10.0),),
    *,
    noise: Sequence[tuple[str, float, float]] = (("rain", -130.0, -5.0),),
    seconds: float = 2.0,
    noise_gain: float = 0.02,
    tail_gain: float = 0.0,
    formats: Sequence[str] = ("foa",),
) -> Scene:
    """Bursts from (label, azimuth, elevation), one after another, over steady noise.

    Args:
        tail_gain: of a diffuse exponential tail after each burst.
    """
    rng = np.random.default_rng(7)
    n = round(seconds * RATE)
    listener = Keyframe(position_m=(3.0, 2.2, 1.5), yaw_deg=35.0)
    slot_s = seconds / len(directions)
    foa = np.zeros((4, n))
    emitters, rows = [], []
    everything = [("target", d) for d in directions] + [("noise", d) for d in noise]
    for number, (role, (label, azimuth, elevation)) in enumerate(everything):
        onset_s, length_s = (number * slot_s, 0.8 * slot_s) if role == "target" else (0.0, seconds)
        start, stop = round(onset_s * RATE), round((onset_s + length_s) * RATE)
        x, y, z = direction(azimuth, elevation)
        signal = rng.standard_normal(stop - start)
        signal *= _bursts(stop - start) if role == "target" else noise_gain
        foa[:, start:stop] += np.outer([1.0, y, z, x], signal) * 0.1
        if role == "target":
            foa += tail_gain * _tail(signal, start, n, rng)
        emitters.append(_emitter(number, role, label, azimuth, elevation, listener, length_s))
        rows.append(_event_row(number, role, label, azimuth, elevation, onset_s, length_s, seconds))
    spec = SceneSpec(
        origin=Origin(recipe="by hand", index=17),
        sample_rate=RATE,
        n_samples=n,
        room=Room(
            id="den",
            size_m=(6.2, 4.1, 2.8),
            band_hz=BANDS,
            absorption=((0.3,) * len(BANDS),) * 6,
            rt60_s=(0.4,) * len(BANDS),
        ),
        air=Air(),
        listener=(listener,),
        emitters=tuple(emitters),
        snr_db=20.0,
        response_s=0.6,
    )
    audio = foa.astype(np.float32)
    all_formats = {"foa": audio, "mono": audio[:1]}
    return Scene(
        spec_json=spec.to_json(),
        sample_rate=RATE,
        audio_by_format={name: all_formats[name] for name in formats},
        row=_scene_row(spec),
        events=tuple(rows),
    )


def _bursts(n: int) -> np.ndarray:
    time_s = np.arange(n) / RATE
    return np.exp(-40 * (time_s % 0.2)) * (time_s % 0.2 < 0.15)


def _tail(signal: np.ndarray, start: int, n: int, rng: np.random.Generator) -> np.ndarray:
    length = round(0.4 * RATE)
    decay = np.exp(-6.9 * np.arange(length) / length)
    responses = rng.standard_normal((4, length)) * decay / np.sqrt([[1], [3], [3], [3]])
    wet = np.stack([np.convolve(signal, response) for response in responses])
    out = np.zeros((4, n))
    stop = min(n, start + wet.shape[1])
    out[:, start:stop] = wet[:, : stop - start]
    return out * 0.01


def _emitter(
    number: int,
    role: str,
    label: str,
    azimuth: float,
    elevation: float,
    listener: Keyframe,
    length_s: float,
) -> Emitter:
    clip = ClipRef(corpus="sources", id=f"{number}.wav", digest="0" * 16, labels=(label,))
    event = Event(
        role=role,  # type: ignore[arg-type]
        clip=clip,
        onset_s=0.0,
        duration_s=length_s,
        active_start_s=0.0,
        active_end_s=length_s,
    )
    position = from_listener(azimuth, elevation, 1.4 + 0.05 * number, listener)
    return Emitter(id=f"e{number}", keyframes=(Keyframe(position_m=position),), events=(event,))


def _event_row(
    number: int,
    role: str,
    label: str,
    azimuth: float,
    elevation: float,
    onset_s: float,
    length_s: float,
    seconds: float,
) -> dict[str, object]:
    return {
        "scene": "train-00000017",
        "index": 17,
        "event": number,
        "emitter": f"e{number}",
        "role": role,
        "labels": [label],
        "clip": f"{number}.wav",
        "dry_onset_s": onset_s,
        "dry_offset_s": onset_s + length_s,
        "wet_onset_s": onset_s,
        "wet_offset_s": min(onset_s + length_s + 0.3, seconds),
        "frame_start": round(onset_s * 10),
        "frame_stop": round((onset_s + length_s) * 10),
        "azimuth_start_deg": azimuth,
        "elevation_start_deg": elevation,
        "distance_start_m": 1.4 + 0.05 * number,
        "azimuth_end_deg": azimuth,
        "elevation_end_deg": elevation,
        "distance_end_m": 1.4 + 0.05 * number,
        "local_snr_db": 20.0 if role == "target" else None,
        "drr_db": 3.0,
    }


def _scene_row(spec: SceneSpec) -> dict[str, object]:
    key = spec.listener[0]
    return {
        "id": spec.id,
        "index": 17,
        "split": "train",
        "snr_requested_db": 20.0,
        "snr_achieved_db": 20.01,
        "sir_requested_db": None,
        "sir_achieved_db": None,
        "rt60_requested_s": [0.4] * len(BANDS),
        "rt60_measured_s": [None, 0.38, 0.41, 0.4, 0.4, 0.39],
        "rt60_broadband_s": 0.4,
        "edt_s": 0.35,
        "drr_db": 3.0,
        "c50_db": 12.0,
        "listener_quaternion": list(quaternion(key.yaw_deg, key.pitch_deg, key.roll_deg)),
    }


def with_motion(scene: Scene) -> Scene:
    """The scene with its first event on a way from +150 to -150 degrees, behind the listener.

    Labels alone: the audio stays what it was.
    """
    spec = SceneSpec.from_json(scene.spec_json)
    row = scene.events[0]
    times = np.linspace(row["wet_onset_s"], row["dry_offset_s"], 13)
    azimuths = np.linspace(150.0, 210.0, 13)
    ear = spec.listener[0]
    path = tuple(
        Keyframe(time_s=float(time_s), position_m=from_listener(azimuth, 0.0, 1.4, ear))
        for time_s, azimuth in zip(times, azimuths, strict=True)
    )
    heard = [
        dict(zip(("time_s", "x", "y", "z"), (float(time_s), *direction(azimuth, 0.0)), strict=True))
        for time_s, azimuth in zip(times, azimuths, strict=True)
    ]
    walk = (ear, replace(ear, time_s=1.0, position_m=(3.4, 2.0, 1.5)))
    emitters = (replace(spec.emitters[0], keyframes=path), *spec.emitters[1:])
    return replace(
        scene,
        spec_json=replace(spec, listener=walk, emitters=emitters).to_json(),
        events=({**row, "heard": heard}, *scene.events[1:]),
    )
