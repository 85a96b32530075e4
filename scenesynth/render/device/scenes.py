"""Scenes on their way through a batch: label times, gains and ratios from energies on a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from scenesynth.acoustics.response import Response
from scenesynth.errors import ClipError, ContentError
from scenesynth.render.device.convolve import Blocks, Played, blocks_for
from scenesynth.render.device.energy import KnownEnergy, SignalEnergies, ask
from scenesynth.render.device.mix import Part, Parts
from scenesynth.render.labels import WET_OFFSET_DROP_DB, Times, event_times
from scenesynth.render.levels import Span, gain_for_ratio, union_span
from scenesynth.render.mix import N_REFERENCE_CHANNELS, Ratio
from scenesynth.scene.spec import ROLES, Emitter, Event, Role, SceneSpec
from scenesynth.spatial.formats import Format, Layout

Failure = ClipError | ContentError

Question = tuple[int, Span]
"""Row of some signals, and the span whose energy is asked for."""


@dataclass(slots=True, kw_only=True, eq=False)
class Sound:
    """One event at the listener; energies and times follow from the convolution."""

    emitter: Emitter
    event: Event
    response: Response
    channels: torch.Tensor
    played: Played
    name: str
    energy: KnownEnergy = field(init=False)
    times: Times = field(init=False)

    def span(self, sample_rate: int) -> Span:
        """Samples from the wet onset to the wet offset."""
        return (
            round(self.times.wet_onset_s * sample_rate),
            round(self.times.wet_offset_s * sample_rate),
        )


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """One scene on its way; a failure ends it."""

    spec: SceneSpec
    layout: Layout
    basis: Format
    sounds: list[Sound] = field(default_factory=list)
    failure: Failure | None = None

    @property
    def blocks(self) -> Blocks:
        """How its time axis is cut."""
        taps = max((sound.channels.shape[1] for sound in self.sounds), default=1)
        return blocks_for(self.spec.n_samples, taps)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """Gains and ratios of a mixture: see `scenesynth.render.mix.Mixture`."""

    gains: Mapping[Role, float]
    noise: KnownEnergy | None = None
    snr: Ratio | None = None
    sir: Ratio | None = None


UNITY = Levels(gains=dict.fromkeys(ROLES, 1.0))
"""Of a scene in which nothing sounds."""


def find_times(works: Sequence[Work], heard: SignalEnergies) -> None:
    """Set the label times of every sound, or the failure of its scene; waits for the device.

    Args:
        heard: of the wet events, in the order of the scenes and their sounds.
    """
    n_samples, rate = works[0].spec.n_samples, works[0].spec.sample_rate
    rows = torch.arange(len(heard.total), device=heard.total.device)
    inside = heard.between(rows, torch.zeros_like(rows), torch.full_like(rows, n_samples))
    found = torch.stack([heard.total, inside, heard.end(WET_OFFSET_DROP_DB).to(inside)], 1)
    numbers = iter(found.tolist())
    for work in works:
        for sound in work.sounds:
            total, within, end = next(numbers)
            sound.energy = KnownEnergy(total, {(0, n_samples): within}, int(end))
        try:
            for sound in work.sounds:
                sound.times = event_times(
                    sound.event,
                    sound.energy,
                    direct_delay_s=sound.response.direct_delay_s,
                    n_samples=n_samples,
                    sample_rate=rate,
                    name=sound.name,
                )
        except ContentError as error:
            work.failure = error


def find_levels(works: Sequence[Work], heard: SignalEnergies, parts: Parts) -> list[Levels]:
    """Gains and ratios of every scene, or its failure; waits for the device."""
    n_channels = parts.roles.shape[1]
    first_row = {part: row * n_channels for row, part in enumerate(parts.names)}
    spans = _spans(works, parts.names)
    of_parts = _part_questions(works, spans, first_row, n_channels)
    of_sounds = _sound_questions(works)
    mixed = SignalEnergies(parts.roles.flatten(0, 1))
    answers = ask([(mixed, of_parts), (heard, of_sounds)])
    energies = dict(zip(of_parts, answers[0], strict=True))
    _set_energies(works, dict(zip(of_sounds, answers[1], strict=True)))
    levels = []
    for w, work in enumerate(works):
        rows = {role: first_row[w, role] for role in ROLES if (w, role) in first_row}
        own = {role: spans[w, role] for role in rows if (w, role) in spans}
        try:
            levels.append(_scene_levels(work, rows, own, n_channels, energies))
        except ContentError as error:
            work.failure = error
            levels.append(UNITY)
    return levels


def _spans(works: Sequence[Work], names: Sequence[Part]) -> dict[Part, Span]:
    """Where each part that is not a target sounds, of the scenes that have not failed."""
    spans: dict[Part, Span] = {}
    for w, role in names:
        work = works[w]
        if role != "target" and work.failure is None:
            ends = [s.span(work.spec.sample_rate) for s in work.sounds if s.event.role == role]
            spans[w, role] = union_span(ends, work.spec.n_samples)
    return spans


def _part_questions(
    works: Sequence[Work],
    spans: Mapping[Part, Span],
    first_row: Mapping[Part, int],
    n_channels: int,
) -> list[Question]:
    """Each part and the targets over its span, channel by channel; noise while others are heard."""
    questions: dict[Question, None] = {}
    for (w, role), span in spans.items():
        for part in ((w, role), (w, "target")):
            if part in first_row:
                questions |= {(first_row[part] + c, span): None for c in range(n_channels)}
        if role == "noise":
            for sound in works[w].sounds:
                questions[first_row[w, role], _row_span(sound, works[w])] = None
    return list(questions)


def _sound_questions(works: Sequence[Work]) -> list[Question]:
    """Each sound while it is heard."""
    sounds = [(work, sound) for work in works for sound in work.sounds]
    return [
        (row, _row_span(sound, work))
        for row, (work, sound) in enumerate(sounds)
        if work.failure is None
    ]


def _row_span(sound: Sound, work: Work) -> Span:
    """The span of the sound's level in its row of the manifest: at least one sample."""
    start, stop = sound.span(work.spec.sample_rate)
    return start, max(stop, start + 1)


def _set_energies(works: Sequence[Work], energies: Mapping[Question, float]) -> None:
    """Let every sound know its energy while it is heard."""
    row = 0
    for work in works:
        for sound in work.sounds:
            if work.failure is None:
                span = _row_span(sound, work)
                sound.energy = KnownEnergy(sound.energy.total, {span: energies[row, span]})
            row += 1


def _scene_levels(
    work: Work,
    rows: Mapping[Role, int],
    spans: Mapping[Role, Span],
    n_channels: int,
    energies: Mapping[Question, float],
) -> Levels:
    """Gains as `scenesynth.render.mix` finds them, and the ratios that they make.

    Args:
        rows: first row of each role's channels.
        spans: of the roles that are not targets.

    Raises:
        ContentError: a ratio is requested of parts of which one is silent.
    """
    if work.failure is not None or not rows:
        return UNITY
    spec = work.spec
    n_reference = N_REFERENCE_CHANNELS[spec.snr_reference]
    requests: dict[Role, float | None] = {"noise": spec.snr_db, "interferer": spec.sir_db}
    gains: dict[Role, float] = dict.fromkeys(ROLES, 1.0)
    ratios: dict[Role, Ratio] = {}
    for role, span in spans.items():
        target, other = (
            [energies[rows[part] + c, span] if part in rows else 0.0 for c in range(n_channels)]
            for part in ("target", role)
        )
        request = requests[role]
        if request is not None and "target" in rows:
            gains[role] = gain_for_ratio(
                request,
                sum(target[:n_reference]),
                sum(other[:n_reference]),
                what="noise" if role == "noise" else "interferers",
                scene=spec.id,
            )
        scaled = [gains[role] ** 2 * energy for energy in other]
        ratios[role] = Ratio(energies=tuple(zip(target, scaled, strict=True)))
    noise = None
    if "noise" in rows:
        known = {span: energies[rows["noise"], span] for span in _heard_spans(work)}
        noise = KnownEnergy(0.0, {s: gains["noise"] ** 2 * e for s, e in known.items()})
    return Levels(gains=gains, noise=noise, snr=ratios.get("noise"), sir=ratios.get("interferer"))


def _heard_spans(work: Work) -> list[Span]:
    return [_row_span(sound, work) for sound in work.sounds]
