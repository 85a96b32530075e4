"""Which engine makes a response, and all formats of a scene from the same arrivals.

An engine is a module with one function,

    respond(spec, emitter, emitter_index, format, emitter_at, listener_at) -> Response

that renders one emitter for one listener at two poses, in Ambisonics. It is imported when a spec
first names it, so an engine may need packages that others do not. What ears and microphones make of
it is the same for all (`scenesynth.acoustics.project`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import groupby
from typing import Any, Protocol, cast

from scenesynth.acoustics.project import project, turned
from scenesynth.acoustics.receivers import Receiver, receiver_of
from scenesynth.acoustics.response import Response
from scenesynth.errors import ConfigError
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import Emitter, Engine, Keyframe, SceneSpec
from scenesynth.seeds import sequence
from scenesynth.spatial.formats import MAX_ORDER, Format, Layout, ambisonic_format, layout_of
from scenesynth.timing import stage

ENGINE_MODULES: Mapping[Engine, str] = {
    "shoebox": "scenesynth.acoustics.shoebox",
    "pyroomacoustics": "scenesynth.acoustics.pyroom",
    "gpurir": "scenesynth.acoustics.gpurir",
    "sofa": "scenesynth.acoustics.measured",
}
"""Home of each engine."""


class Respond(Protocol):
    """What an engine's module calls `respond`."""

    def __call__(
        self,
        spec: SceneSpec,
        emitter: Emitter,
        emitter_index: int,
        format: Format,
        emitter_at: Keyframe,
        listener_at: Keyframe,
    ) -> Response:
        """Response of `spec.emitters[emitter_index]` between the two poses, in `format`."""
        ...


def respond(
    spec: SceneSpec,
    emitter_index: int,
    formats: Sequence[Format],
    *,
    emitter_at: Keyframe | None = None,
    listener_at: Keyframe | None = None,
) -> dict[str, Response]:
    """Responses of one emitter in each format, by the engine that the spec names.

    All formats are projections of one rendering, with the same samples as if each were rendered
    alone.

    Args:
        emitter_index: which of the spec's emitters.
        emitter_at, listener_at: poses; the first keyframes by default.

    Returns:
        Response per format name.

    Raises:
        ConfigError: an engine that is not there.
    """
    layout = layout_of(formats)
    response = respond_in(
        layout, spec, emitter_index, emitter_at=emitter_at, listener_at=listener_at
    )
    return {name: replace(response, ir=response.ir[rows]) for name, rows in layout.rows.items()}


def respond_in(
    layout: Layout,
    spec: SceneSpec,
    emitter_index: int,
    *,
    emitter_at: Keyframe | None = None,
    listener_at: Keyframe | None = None,
) -> Response:
    """Response of one emitter in all channels of a layout; see `respond`."""
    return _projected(layout, spec, _rendered(layout, spec, emitter_index, emitter_at, listener_at))


def respond_along(
    layout: Layout, spec: SceneSpec, emitter_index: int, poses: Sequence[tuple[Keyframe, Keyframe]]
) -> Iterator[Response]:
    """Responses between many poses of an emitter and the listener, made as they are asked for.

    A listener who only turns hears one response that is turned for him.
    """
    for _, group in groupby(poses, key=lambda pair: (_untimed(pair[0]), pair[1].position_m)):
        same = list(group)
        if len(same) == 1:
            yield respond_in(
                layout, spec, emitter_index, emitter_at=same[0][0], listener_at=same[0][1]
            )
            continue
        facing = Keyframe(position_m=same[0][1].position_m)
        unturned = _rendered(layout, spec, emitter_index, same[0][0], facing)
        for _, pose in same:
            turn = rotation_matrix(pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
            yield _projected(layout, spec, turned(unturned, turn))


def _untimed(pose: Keyframe) -> Keyframe:
    return replace(pose, time_s=0.0)


def _rendered(
    layout: Layout,
    spec: SceneSpec,
    emitter_index: int,
    emitter_at: Keyframe | None,
    listener_at: Keyframe | None,
) -> Response:
    """The Ambisonic response that a layout is made of."""
    emitter = spec.emitters[emitter_index]
    return _engine(spec.engine)(
        spec,
        emitter,
        emitter_index,
        ambisonic_format(source_order(layout, spec)),
        emitter_at or emitter.keyframes[0],
        listener_at or spec.listener[0],
    )


def _projected(layout: Layout, spec: SceneSpec, response: Response) -> Response:
    """A response in all channels of a layout."""
    if not layout.receivers:
        return response
    with stage("project"):
        ir = project(
            response.ir,
            response.early() if response.early is not None else None,
            receivers_of(layout, spec),
            n_ambisonic=layout.n_ambisonic,
            sample_rate=spec.sample_rate,
            highpass_hz=spec.highpass_hz,
        )
    return replace(response, ir=ir)


def source_order(layout: Layout, spec: SceneSpec) -> int:
    """Order of the Ambisonic response that a layout is made of, within what the engine can do.

    Receivers make do with a lower order than they would like; Ambisonic channels do not.
    """
    if not layout.receivers:
        return layout.order
    highest = MAX_ORDER
    if spec.engine == "gpurir":
        highest = 1
    elif spec.room.measured is not None:
        highest = _module("sofa").highest_order(spec)
        if highest < 1:
            raise ConfigError(
                f"room {spec.room.id}: its responses tell no directions, which format "
                f"{layout.receivers[0].name} is made of; ask for mono, or for another room"
            )
    return max(layout.order, min(layout.source_order, highest))


def receivers_of(layout: Layout, spec: SceneSpec) -> tuple[Receiver, ...]:
    """The ears and microphones of a layout, in a scene."""
    order = source_order(layout, spec)
    return tuple(
        receiver_of(item, spec.head, min(item.order, order), spec.sample_rate, spec.air)
        for item in layout.receivers
    )


def emitter_seed(acoustic_seed: int, emitter_index: int) -> int:
    """32-bit seed of what is random in the responses of one emitter of a scene.

    The same for every pose and format, so that a moving emitter keeps its displacements and noise.
    """
    state = sequence(acoustic_seed, "", "acoustics", slot=emitter_index).generate_state(1)
    return int(state[0])


def _engine(name: Engine) -> Respond:
    return cast(Respond, _module(name).respond)


def _module(name: Engine) -> Any:
    if name not in ENGINE_MODULES:
        raise ConfigError(
            f"engine = {name!r} is not available; must be {', '.join(ENGINE_MODULES)}"
        )
    return import_module(ENGINE_MODULES[name])
