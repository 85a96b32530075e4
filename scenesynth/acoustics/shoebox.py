"""The package's own engine, for rooms that are boxes: image sources, in full or with a tail."""

from __future__ import annotations

from scenesynth.acoustics.engines import emitter_seed
from scenesynth.acoustics.response import Request, Response, shoebox_responses
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import Emitter, Keyframe, SceneSpec
from scenesynth.spatial.formats import Format


def respond(
    spec: SceneSpec,
    emitter: Emitter,
    emitter_index: int,
    format: Format,
    emitter_at: Keyframe,
    listener_at: Keyframe,
) -> Response:
    """Response of one emitter of a scene; see `scenesynth.acoustics.engines`."""
    request = emitter_request(spec, emitter, emitter_index, format, emitter_at, listener_at)
    return shoebox_responses([request])[0]


def emitter_request(
    spec: SceneSpec,
    emitter: Emitter,
    emitter_index: int,
    format: Format,
    emitter_at: Keyframe,
    listener_at: Keyframe,
) -> Request:
    """What is asked of a renderer of shoebox responses for one emitter of a scene."""
    turned = rotation_matrix(emitter_at.yaw_deg, emitter_at.pitch_deg, emitter_at.roll_deg)
    x, y, z = turned[:, 0].tolist()
    return Request(
        room=spec.room,
        air=spec.air,
        source_m=emitter_at.position_m,
        listener_m=listener_at.position_m,
        rotation=rotation_matrix(listener_at.yaw_deg, listener_at.pitch_deg, listener_at.roll_deg),
        format=format,
        sample_rate=spec.sample_rate,
        length_s=spec.response_s,
        highpass_hz=spec.highpass_hz,
        mode=spec.mode,
        mixing_time_s=spec.mixing_time_s,
        scattering=spec.scattering,
        directivity=emitter.directivity,
        front=(x, y, z),
        displacement_m=spec.displacement_m,
        seed=emitter_seed(spec.acoustic_seed, emitter_index),
    )
