"""Rendering: from a spec and its clips to audio and labels.

`render_scene` is a pure function of the spec and the clips that it names: the same samples in any
order, thread or process, and for any choice of formats next to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.engines import respond_in
from scenesynth.acoustics.gpu.device import torch_device
from scenesynth.acoustics.parts import Part
from scenesynth.acoustics.response import Response
from scenesynth.render.convolve import (
    Grid,
    Term,
    Wet,
    block_spectra,
    convolve,
    convolve_sum,
    plan,
    response_spectra,
)
from scenesynth.render.diffuse import diffuse_sounds
from scenesynth.render.dry import dry_signal, played_span
from scenesynth.render.energy import Energy
from scenesynth.render.labels import event_times
from scenesynth.render.mix import Convolved, Rendered, Sound, mix
from scenesynth.render.motion import Moving, moves
from scenesynth.render.rows import event_row, scene_row
from scenesynth.render.stems import Stems
from scenesynth.scene.spec import Event, SceneSpec
from scenesynth.spatial.formats import Format, Layout, layout_of, parse_formats
from scenesynth.store.schema import Scene, parse_stems
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
    formats: Sequence[str | Format] | None = None,
    device: str = "cpu",
    stems: Sequence[str] = (),
) -> Scene:
    """Audio, labels and measurements of a scene.

    Args:
        spec: the scene.
        corpora: holds the clips that the spec names.
        format: name of one output format.
        formats: several, in place of `format`; responses are rendered once for all.
        device: where to render: "cpu", or "cuda" (within -80 dB of the former).
        stems: kinds of stems beside the mixture: "direct", "early", "late", "noise", "dry"; see
            `scenesynth.render.stems`.

    Returns:
        The scene, audio float32 [channels, samples] per format, never peak-limited: a dry clip at
        full scale at 1 m gives 1.0 in W.

    Raises:
        ConfigError: an unknown format, kind of stem or device, or something that moves, or stems,
            on a device.
        ClipError: a clip that is missing samples, changed, or not finite.
        ContentError: an event that cannot be heard, or a ratio that no gain gives.
    """
    names = [format] if formats is None else formats
    kinds = parse_stems(stems)
    if device != "cpu":
        torch_device(device)
        from scenesynth.render.batch import render_scenes

        (scene,) = render_scenes([spec], corpora, formats=names, device=device, stems=kinds)
        if isinstance(scene, Exception):
            raise scene
        return scene
    layout = layout_for(spec, parse_formats(names))
    apart = Stems(spec, layout, kinds)
    still = [n for n, emitter in enumerate(spec.emitters) if not moves(emitter, spec)]
    with stage("responses"):
        responses = [respond_in(layout, spec, index) for index in still]
    n_taps = max((response.ir.shape[1] for response in responses), default=1)
    grid = plan(spec.n_samples, n_taps)
    with stage("convolve"):
        spectra = response_spectra(grid, [response.ir for response in responses])
    ways = {
        index: Still(grid, response, channels, apart.spectra(grid, index, response))
        for index, response, channels in zip(still, responses, spectra, strict=True)
    }
    sounds = [
        sound
        for index in range(len(spec.emitters))
        for sound in _sounds(
            spec, corpora, index, ways.get(index) or Moving.of(layout, spec, index), apart
        )
    ]
    with stage("diffuse"):
        sounds += diffuse_sounds(spec, layout, corpora.load, grid, sounds)
    with stage("mix"):
        mixture = mix(spec, grid, sounds, layout.n_channels)
    stems_by_format, dry = apart.by_format(apart.at_gains(grid, sounds, mixture.gains))
    with stage("labels"):
        spec_json = spec.to_json()
        row = scene_row(spec, spec_json, layout, mixture.audio, sounds, mixture)
        slots = [*apart.slots, *(None for _ in spec.diffuse)]
        events = tuple(
            event_row(spec, n, sound, mixture) | {"stem": slot}
            for n, (sound, slot) in enumerate(zip(sounds, slots, strict=True))
        )
    return Scene(
        spec_json=spec_json,
        sample_rate=spec.sample_rate,
        audio_by_format={name: mixture.audio[rows] for name, rows in layout.rows.items()},
        row=row,
        events=events,
        stems_by_format=stems_by_format,
        dry=dry,
    )


def layout_for(spec: SceneSpec, outputs: Sequence[Format]) -> Layout:
    """The channels that a scene is rendered in."""
    # GRAM's reference is first order whatever is rendered, so that gains follow the spec alone.
    return layout_of(outputs, 1 if spec.snr_reference == "all_channels" else 0)


class Still(NamedTuple):
    """How the events of an emitter are heard between which and the listener nothing moves.

    Attributes:
        channels: spectra of the response's channels.
        parts: those of its parts, where stems are asked for.
    """

    grid: Grid
    response: Response
    channels: NDArray[np.float32]
    parts: Mapping[Part, NDArray[np.float32]]

    def hear(self, dry: NDArray[np.float32], onset: int) -> tuple[Convolved, Wet]:
        """What arrives, and its pressure."""
        heard = Convolved(spectra=block_spectra(self.grid, dry, onset), response=self.channels)
        return heard, convolve(self.grid, heard.term(0))

    def hear_parts(
        self, parts: Sequence[Part], dry: NDArray[np.float32], onset: int
    ) -> Iterator[tuple[Part, Rendered]]:
        """What arrives by each of these parts of the response."""
        spectra = block_spectra(self.grid, dry, onset)
        for part in parts:
            wet = [convolve_sum(self.grid, [Term(spectra, row)]) for row in self.parts[part]]
            channels = np.stack([samples for _, samples in wet])
            yield part, Rendered(start=wet[0].start, channels=channels)

    def response_at(self, _: float) -> Response:
        """The response to what is emitted at a time."""
        return self.response

    def travel(self, _: Event) -> Callable[[float], float]:
        """How long the direct sound of an event travels that leaves at a time."""
        return lambda emitted_s: self.response.direct_delay_s


def _sounds(
    spec: SceneSpec, corpora: Clips, index: int, way: Still | Moving, apart: Stems
) -> Iterator[Sound]:
    """The events of one emitter at the listener, with the label times measured there."""
    rate, emitter = spec.sample_rate, spec.emitters[index]
    for n, event in enumerate(emitter.events):
        name = f"scene {spec.id}, emitter {emitter.id}, event {n}"
        with stage("clips"):
            start, stop = played_span(event, rate)
            dry = dry_signal(event, corpora.load(event.clip, rate, start, stop), rate, name)
        with stage("convolve"):
            onset = min(round(event.onset_s * rate), spec.n_samples - 1)
            heard, wet = way.hear(dry, onset)
        with stage("labels"):
            energy = Energy(wet.samples, wet.start)
            times = event_times(
                event,
                energy,
                direct_delay_s=way.travel(event),
                n_samples=spec.n_samples,
                sample_rate=rate,
                name=name,
            )
        apart.add(index, event, way, Wet(onset, dry))
        yield Sound(
            emitter=emitter,
            event=event,
            response=way.response_at(event.onset_s),
            heard=heard,
            wet=wet,
            energy=energy,
            times=times,
        )
