"""Rendering: from a spec and its clips to audio and labels.

`render_scene` is a pure function of the spec and the clips that it names: the same samples in any
order, thread or process, and for any choice of formats next to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.engines import respond
from scenesynth.acoustics.gpu.device import torch_device
from scenesynth.acoustics.response import Response
from scenesynth.errors import ConfigError
from scenesynth.render.convolve import Grid, Term, block_spectra, convolve, plan, response_spectra
from scenesynth.render.dry import dry_signal, played_span
from scenesynth.render.energy import Energy
from scenesynth.render.labels import event_times
from scenesynth.render.mix import Sound, mix
from scenesynth.render.rows import event_row, scene_row
from scenesynth.scene.spec import Emitter, SceneSpec
from scenesynth.spatial.formats import Format, parse_format
from scenesynth.store.schema import Scene
from scenesynth.timing import stage


class Clips(Protocol):
    """Where decoded clips come from: `scenesynth.corpus.corpora.Corpora`."""

    def load(
        self, ref: Any, sample_rate: int, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        """Mono samples [start, stop) of a referenced clip at a rate. Shape: [samples]."""
        ...


def render_scene(
    spec: SceneSpec,
    corpora: Clips,
    format: str = "foa",
    formats: Sequence[str] | None = None,
    device: str = "cpu",
) -> Scene:
    """Audio, labels and measurements of a scene.

    Args:
        spec: the scene.
        corpora: holds the clips that the spec names.
        format: name of one output format.
        formats: names of several, in place of `format`; responses are rendered once for all.
        device: where to render: "cpu", or "cuda" (within -80 dB of the former).

    Returns:
        The scene, audio float32 [channels, samples] per format, never peak-limited: a dry clip at
        full scale at 1 m gives 1.0 in W.

    Raises:
        ConfigError: an unknown format or device, or something that moves.
        ClipError: a clip that is missing samples, changed, or not finite.
        ContentError: an event that cannot be heard, or a ratio that no gain gives.
    """
    names = [format] if formats is None else formats
    if device != "cpu":
        torch_device(device)
        from scenesynth.render.batch import render_scenes

        (scene,) = render_scenes([spec], corpora, formats=names, device=device)
        if isinstance(scene, Exception):
            raise scene
        return scene
    outputs = parse_formats(names)
    check_still(spec)
    basis = basis_of(spec, outputs)
    with stage("responses"):
        responses = [
            respond(spec, index, [basis])[basis.name] for index in range(len(spec.emitters))
        ]
    n_taps = max((response.ir.shape[1] for response in responses), default=1)
    grid = plan(spec.n_samples, n_taps)
    with stage("convolve"):
        spectra = response_spectra(grid, [response.ir for response in responses])
    sounds = [
        sound
        for emitter, response, channels in zip(spec.emitters, responses, spectra, strict=True)
        for sound in _sounds(spec, corpora, grid, emitter, response, channels)
    ]
    with stage("mix"):
        mixture = mix(spec, grid, sounds, basis.n_channels)
    audio = {item: mixture.audio[: item.n_channels] for item in outputs}
    with stage("labels"):
        spec_json = spec.to_json()
        row = scene_row(spec, spec_json, audio, sounds, mixture)
        events = tuple(event_row(spec, n, sound, mixture) for n, sound in enumerate(sounds))
    return Scene(
        spec_json=spec_json,
        sample_rate=spec.sample_rate,
        audio_by_format={item.name: samples for item, samples in audio.items()},
        row=row,
        events=events,
    )


def parse_formats(names: Sequence[str]) -> list[Format]:
    """The formats of these names.

    Raises:
        ConfigError: none, or an unknown one.
    """
    if not names:
        raise ConfigError("formats is empty; name at least one, such as 'foa'")
    return [parse_format(name) for name in names]


def basis_of(spec: SceneSpec, outputs: Sequence[Format]) -> Format:
    """The format that responses are rendered in, of which all others are the first channels."""
    # GRAM's reference is first order whatever is rendered, so that gains follow the spec alone.
    needed = [*outputs, parse_format("foa")] if spec.snr_reference == "all_channels" else outputs
    return max(needed, key=lambda item: item.order)


def _sounds(
    spec: SceneSpec,
    corpora: Clips,
    grid: Grid,
    emitter: Emitter,
    response: Response,
    channels: NDArray[np.float32],
) -> Iterator[Sound]:
    """The events of one emitter at the listener, with the label times measured there.

    Args:
        channels: spectra of the response's channels.
    """
    rate = spec.sample_rate
    for n, event in enumerate(emitter.events):
        name = f"scene {spec.id}, emitter {emitter.id}, event {n}"
        with stage("clips"):
            start, stop = played_span(event, rate)
            dry = dry_signal(event, corpora.load(event.clip, rate, start, stop), rate, name)
        with stage("convolve"):
            onset = min(round(event.onset_s * rate), spec.n_samples - 1)
            spectra = block_spectra(grid, dry, onset)
            wet = convolve(grid, Term(spectra, channels[0]))
        with stage("labels"):
            energy = Energy(wet.samples, wet.start)
            times = event_times(
                event,
                energy,
                direct_delay_s=response.direct_delay_s,
                n_samples=spec.n_samples,
                sample_rate=rate,
                name=name,
            )
        yield Sound(
            emitter=emitter,
            event=event,
            response=response,
            spectra=spectra,
            response_spectra=channels,
            wet=wet,
            energy=energy,
            times=times,
        )


def check_still(spec: SceneSpec) -> None:
    """A spec can hold motion; rendering it comes with moving responses.

    Raises:
        ConfigError: something moves.
    """
    moving = [("the listener", spec.listener)]
    moving += [(f"emitter {emitter.id}", emitter.keyframes) for emitter in spec.emitters]
    for name, keyframes in moving:
        if len(keyframes) > 1:
            raise ConfigError(
                f"scene {spec.id}: {name} moves ({len(keyframes)} keyframes); motion is not "
                f"rendered yet; give it one keyframe"
            )
