"""Which engine makes a response, and all formats of a scene from the same arrivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scenesynth.acoustics.response import Response, shoebox_response
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import Emitter, Keyframe, SceneSpec
from scenesynth.spatial.formats import Format


def respond(
    spec: SceneSpec,
    emitter: Emitter,
    formats: Sequence[Format],
    *,
    emitter_at: Keyframe | None = None,
    listener_at: Keyframe | None = None,
) -> dict[str, Response]:
    """Responses of one emitter in each format, by the engine that the spec names.

    All formats are projections of one rendering at the highest order, with the same samples as if
    each were rendered alone (a lower Ambisonic order is the first channels of a higher one).

    Args:
        emitter_at, listener_at: poses; the first keyframes by default.

    Returns:
        Response per format name.
    """
    source = emitter_at or emitter.keyframes[0]
    listener = listener_at or spec.listener[0]
    highest = max(formats, key=lambda item: item.order)
    response = shoebox_response(
        room=spec.room,
        air=spec.air,
        source_m=source.position_m,
        listener_m=listener.position_m,
        rotation=rotation_matrix(listener.yaw_deg, listener.pitch_deg, listener.roll_deg),
        format=highest,
        sample_rate=spec.sample_rate,
        length_s=spec.response_s,
        highpass_hz=spec.highpass_hz,
    )
    return {item.name: replace(response, ir=response.ir[: item.n_channels]) for item in formats}
