"""Many scenes at once on a device, as `render_scene` would render each.

What takes few numbers stays on the host: requests, clips, label times, gains, rows. The device
makes the responses, convolves, sums each role, finds energies and mixes. It is waited for four
times per batch: for the pressures that are measured, for where the wet events end (label times),
for energies of spans (gains, levels), and for the audio.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from scenesynth.acoustics.engines import respond
from scenesynth.acoustics.gpu.batch import fetched, mapped, render
from scenesynth.acoustics.gpu.device import torch_device
from scenesynth.acoustics.response import Request, Response, measured_response
from scenesynth.acoustics.shoebox import emitter_request
from scenesynth.errors import ClipError, ConfigError, ContentError
from scenesynth.render.device.convolve import Blocks, Played, upload
from scenesynth.render.device.energy import SignalEnergies
from scenesynth.render.device.mix import Part, convolve_parts, mix_parts
from scenesynth.render.device.scenes import (
    UNITY,
    Failure,
    Levels,
    Sound,
    Work,
    find_levels,
    find_times,
)
from scenesynth.render.dry import dry_signal, played_span
from scenesynth.render.motion import moves
from scenesynth.render.renderer import Clips, layout_for
from scenesynth.render.rows import event_row, scene_row
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import Format, ambisonic_format, parse_formats
from scenesynth.store.schema import Scene
from scenesynth.timing import stage


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Response of an emitter: measured on the host, its audio on the device."""

    response: Response
    channels: torch.Tensor


def render_scenes(
    specs: Sequence[SceneSpec],
    corpora: Clips,
    format: str = "foa",
    formats: Sequence[str | Format] | None = None,
    device: str = "cuda",
    threads: int = 1,
    stems: Sequence[str] = (),
) -> list[Scene | Failure]:
    """Scenes with their labels, each as if it were rendered alone; see `render_scene`.

    Args:
        device: "cuda", "cuda:N", or "cpu" for the same code without a GPU (slow).
        threads: on the host, for clips and measurements.
        stems: none; they are rendered on the CPU alone.

    Returns:
        One per spec; where the content of a scene is at fault, the error in its place.

    Raises:
        ConfigError: an unknown format, a device that is not there, something that moves, diffuse
            noise, or stems.
    """
    if stems:
        raise ConfigError(
            f"stems {', '.join(stems)} are rendered on the CPU alone; use device='cpu', or ask for "
            f"none"
        )
    outputs = parse_formats([format] if formats is None else formats)
    where = torch_device(device)
    works = works_of(specs, outputs)
    with stage("responses"):
        answers = answered(works, where, threads)
    with stage("clips"):
        mapped(lambda n: load(works[n], corpora, answers[n]), range(len(works)), threads)
    scenes: dict[int, Scene | Failure] = {
        n: work.failure for n, work in enumerate(works) if work.failure
    }
    for numbers in alike(works):
        group = [works[n] for n in numbers]
        levels, audio = mixed(group, where)
        with stage("mix"):
            samples = audio.cpu().numpy()
        with stage("labels"):
            for n, work, level, channels in zip(numbers, group, levels, samples, strict=True):
                scenes[n] = _scene(work, level, channels)
    return [scenes[n] for n in range(len(specs))]


def works_of(specs: Sequence[SceneSpec], outputs: Sequence[Format]) -> list[Work]:
    """Scenes to begin with.

    Raises:
        ConfigError: a format that no device renders, something that moves, or diffuse noise.
    """
    for spec in specs:
        if spec.diffuse:
            raise ConfigError(
                f"scene {spec.id}: diffuse noise is rendered on the CPU alone; use device='cpu'"
            )
        for emitter in spec.emitters:
            if moves(emitter, spec):
                raise ConfigError(
                    f"scene {spec.id}: emitter {emitter.id} or the listener moves, which is "
                    f"rendered on the CPU alone; use device='cpu'"
                )
    if odd := [item.name for item in outputs if item.kind != "ambisonics"]:
        raise ConfigError(
            f"format {odd[0]!r} is rendered on the CPU alone; use device='cpu', or mono, foa, hoaN"
        )
    layouts = [layout_for(spec, outputs) for spec in specs]
    return [
        Work(spec=spec, layout=layout, basis=ambisonic_format(layout.order))
        for spec, layout in zip(specs, layouts, strict=True)
    ]


def requests_of(works: Sequence[Work]) -> list[Request]:
    """What is asked of the device, scene by scene: the responses of the package's own engine."""
    return [
        emitter_request(
            work.spec, emitter, n, work.basis, emitter.keyframes[0], work.spec.listener[0]
        )
        for work in works
        if work.spec.engine == "shoebox"
        for n, emitter in enumerate(work.spec.emitters)
    ]


def answered(works: Sequence[Work], device: torch.device, threads: int = 1) -> list[list[Answer]]:
    """Responses of the emitters of each scene."""
    requests = requests_of(works)
    rendered = render(requests, device, threads)
    pressures = fetched([item.channels[:1] for item in rendered])

    def answer(k: int) -> Answer:
        settled, channels = rendered[k]
        return Answer(measured_response(requests[k], settled, pressures[k]), channels)

    rest = iter(mapped(answer, range(len(requests)), threads))
    return [
        [
            next(rest) if work.spec.engine == "shoebox" else _elsewhere(work, n, device)
            for n in range(len(work.spec.emitters))
        ]
        for work in works
    ]


def _elsewhere(work: Work, n: int, device: torch.device) -> Answer:
    """An answer by an engine that renders on the host."""
    response = respond(work.spec, n, [work.basis])[work.basis.name]
    return Answer(response, torch.from_numpy(np.ascontiguousarray(response.ir)).to(device))


def load(work: Work, corpora: Clips, answers: Sequence[Answer]) -> None:
    """Give a scene its sounds, or its failure."""
    spec, rate = work.spec, work.spec.sample_rate
    try:
        for emitter, answer in zip(spec.emitters, answers, strict=True):
            for m, event in enumerate(emitter.events):
                name = f"scene {spec.id}, emitter {emitter.id}, event {m}"
                part = corpora.load(event.clip, rate, *played_span(event, rate))
                onset = min(round(event.onset_s * rate), spec.n_samples - 1)
                sound = Sound(
                    emitter=emitter,
                    event=event,
                    response=answer.response,
                    channels=answer.channels,
                    played=Played(dry_signal(event, part, rate, name), onset),
                    name=name,
                )
                work.sounds.append(sound)
    except (ClipError, ContentError) as error:
        work.failure = error


def alike(works: Sequence[Work]) -> Iterator[list[int]]:
    """Numbers of the scenes that are convolved together: cut the same way, of one order and rate.

    Scenes that have failed are left out.
    """
    groups: dict[tuple[Blocks, int, int, bool], list[int]] = defaultdict(list)
    for n, work in enumerate(works):
        if work.failure is None:
            key = (work.blocks, work.basis.order, work.spec.sample_rate, bool(work.sounds))
            groups[key].append(n)
    yield from groups.values()


def mixed(
    works: Sequence[Work], device: torch.device, flat: torch.Tensor | None = None
) -> tuple[list[Levels], torch.Tensor]:
    """Levels and mixtures of scenes that are alike; some may fail on the way.

    Args:
        flat: the dry signals of all sounds, if they are on the device already.

    Returns:
        Levels, and the audio on the device. Shape: [scenes, channels, samples].
    """
    sounds = [sound for work in works for sound in work.sounds]
    if not sounds:
        shape = (len(works), works[0].basis.n_channels, works[0].spec.n_samples)
        return [UNITY] * len(works), torch.zeros(shape, device=device)
    with stage("convolve"):
        played = [sound.played for sound in sounds]
        parts = convolve_parts(
            works[0].blocks,
            played,
            upload(played, device) if flat is None else flat,
            *_responses(sounds),
            _members(works),
        )
        heard = SignalEnergies(parts.wet)
    with stage("labels"):
        find_times(works, heard)
    with stage("mix"):
        levels = find_levels(works, heard, parts)
        gains = {(w, role): levels[w].gains[role] for w, role in parts.names}
        return levels, mix_parts(parts, gains, len(works))


def _responses(sounds: Sequence[Sound]) -> tuple[list[torch.Tensor], list[int]]:
    """The emitters' responses, and which of them each sound goes through."""
    unique = {id(sound.channels): sound.channels for sound in sounds}
    place = {key: n for n, key in enumerate(unique)}
    return list(unique.values()), [place[id(sound.channels)] for sound in sounds]


def _members(works: Sequence[Work]) -> dict[Part, list[int]]:
    """Sounds of each role of each scene, by their number in the batch."""
    members: dict[Part, list[int]] = defaultdict(list)
    number = 0
    for w, work in enumerate(works):
        for sound in work.sounds:
            members[w, sound.event.role].append(number)
            number += 1
    return members


def _scene(work: Work, levels: Levels, channels: NDArray[np.float32]) -> Scene | Failure:
    """The scene with its rows; `channels` is the mixture, [channels, samples]."""
    if work.failure is not None:
        return work.failure
    spec = work.spec
    spec_json = spec.to_json()
    try:
        row = scene_row(spec, spec_json, work.layout, channels, work.sounds, levels)
    except ContentError as error:
        return error
    return Scene(
        spec_json=spec_json,
        sample_rate=spec.sample_rate,
        audio_by_format={name: channels[rows] for name, rows in work.layout.rows.items()},
        row=row,
        events=tuple(event_row(spec, n, sound, levels) for n, sound in enumerate(work.sounds)),
    )
