"""Which engine makes a response, and all formats of a scene from the same arrivals.

An engine is a module with one function,

    respond(spec, emitter, emitter_index, format, emitter_at, listener_at) -> Response

that renders one emitter for one listener at two poses. It is imported when a spec first names it,
so an engine may need packages that others do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Protocol, cast

from scenesynth.acoustics.response import Response
from scenesynth.errors import ConfigError
from scenesynth.scene.spec import Emitter, Engine, Keyframe, SceneSpec
from scenesynth.seeds import sequence
from scenesynth.spatial.formats import Format

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

    All formats are projections of one rendering at the highest order, with the same samples as if
    each were rendered alone (a lower Ambisonic order is the first channels of a higher one).

    Args:
        emitter_index: which of the spec's emitters.
        emitter_at, listener_at: poses; the first keyframes by default.

    Returns:
        Response per format name.

    Raises:
        ConfigError: an engine that is not there.
    """
    emitter = spec.emitters[emitter_index]
    response = _engine(spec.engine)(
        spec,
        emitter,
        emitter_index,
        max(formats, key=lambda item: item.order),
        emitter_at or emitter.keyframes[0],
        listener_at or spec.listener[0],
    )
    return {item.name: replace(response, ir=response.ir[: item.n_channels]) for item in formats}


def emitter_seed(acoustic_seed: int, emitter_index: int) -> int:
    """32-bit seed of what is random in the responses of one emitter of a scene.

    The same for every pose and format, so that a moving emitter keeps its displacements and noise.
    """
    state = sequence(acoustic_seed, "", "acoustics", slot=emitter_index).generate_state(1)
    return int(state[0])


def _engine(name: Engine) -> Respond:
    if name not in ENGINE_MODULES:
        raise ConfigError(
            f"engine = {name!r} is not available; must be {', '.join(ENGINE_MODULES)}"
        )
    return cast(Respond, import_module(ENGINE_MODULES[name]).respond)
