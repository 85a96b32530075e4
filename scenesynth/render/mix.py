"""The mixture: every event through its response, at the levels that the spec asks for.

The parts of a scene are its roles: targets, interferers, noise. Each part is summed by itself in
each channel, so that the ratios are measured on what was mixed and not copied from the request;
then the parts, times one scalar each, are added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.response import Response
from scenesynth.render.convolve import (
    BlockSpectra,
    Grid,
    Term,
    Wet,
    convolve_sum,
)
from scenesynth.render.energy import Energy
from scenesynth.render.labels import Times
from scenesynth.render.levels import Span, gain_for_ratio, ratio_db, union_span
from scenesynth.scene.spec import ROLES, DiffuseField, Emitter, Event, Role, SceneSpec

N_REFERENCE_CHANNELS = {"omni": 1, "all_channels": 4}
"""Channels whose energies make the requested ratio. GRAM sums over first-order Ambisonics."""

Signal = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sound:
    """One event at the listener, before the gain of its role.

    Attributes:
        emitter, event: both the field itself, where noise is diffuse; there is no response then.
        heard: its channels.
        wet: pressure at the listener (W), with what outlasts the scene.
        energy: of `wet`.
    """

    emitter: Emitter | DiffuseField
    event: Event | DiffuseField
    response: Response | None
    heard: Convolved | Rendered
    wet: Wet
    energy: Energy
    times: Times


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Convolved:
    """An event through one response, by channel when asked for.

    Attributes:
        spectra: of the dry signal.
        response: spectra of the response's channels.
    """

    spectra: BlockSpectra
    response: Signal

    def term(self, c: int) -> Term:
        """What channel `c` is the inverse transform of."""
        return Term(self.spectra, self.response[c])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """An event that is no single convolution, in all channels.

    Attributes:
        channels: Shape: [channels, samples], from scene sample `start` on.
    """

    start: int
    channels: Signal

    def wet(self, c: int) -> Wet:
        """One channel."""
        return Wet(self.start, self.channels[c])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ratio:
    """Energies, per channel, of the targets and of another role while that one sounds."""

    energies: tuple[tuple[float, float], ...]

    def db(self, channels: slice) -> float | None:
        """Ratio over some channels; None where one of the two is silent."""
        targets, others = zip(*self.energies[channels], strict=True)
        return ratio_db(math.fsum(targets), math.fsum(others))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixture:
    """A mixed scene.

    Attributes:
        audio: float32. Shape: [channels, samples].
        gains: linear gain per role.
        noise: energy of all noise in the pressure, at its gain; None without noise.
        snr, sir: measured on the mixed parts; None without that role.
    """

    audio: Signal
    gains: Mapping[Role, float]
    noise: Energy | None
    snr: Ratio | None
    sir: Ratio | None


def mix(spec: SceneSpec, grid: Grid, sounds: Sequence[Sound], n_channels: int) -> Mixture:
    """Sum the sounds of a scene.

    Args:
        n_channels: of the responses; the first are Ambisonic, at least those of the spec's
            reference for ratios.

    Raises:
        ContentError: a ratio is requested of parts of which one is silent.
    """
    parts = _Parts(grid, sounds)
    spans: dict[Role, Span] = {
        role: _span(parts.sounds[role], spec) for role in parts.roles if role != "target"
    }
    n_reference = N_REFERENCE_CHANNELS[spec.snr_reference]
    requests: dict[Role, float | None] = {"noise": spec.snr_db, "interferer": spec.sir_db}
    gains: dict[Role, float] = dict.fromkeys(ROLES, 1.0)
    for role, span in spans.items():
        request = requests[role]
        if request is not None and "target" in parts.roles:
            energies = [
                sum(_energy(parts.channel(part, c)).between(*span) for c in range(n_reference))
                for part in ("target", role)
            ]
            what = "noise" if role == "noise" else "interferers"
            gains[role] = gain_for_ratio(request, *energies, what=what, scene=spec.id)
    return _add_up(parts, gains, spans, n_channels)


def _add_up(
    parts: _Parts, gains: Mapping[Role, float], spans: Mapping[Role, Span], n_channels: int
) -> Mixture:
    """Add the parts at their gains, measuring each channel of each while it is at hand."""
    audio = np.zeros((n_channels, parts.grid.n_samples), np.float32)
    measured: dict[Role, list[tuple[float, float]]] = {role: [] for role in spans}
    noise = None
    for c, out in enumerate(audio):
        signals = {role: parts.take(role, c, gains[role]) for role in parts.roles}
        for start, samples in signals.values():
            out[start : start + len(samples)] += samples
        if not spans:
            continue
        energies = {role: _energy(signal) for role, signal in signals.items()}
        for role, span in spans.items():
            target = energies["target"].between(*span) if "target" in energies else 0.0
            measured[role].append((target, energies[role].between(*span)))
        if c == 0:
            noise = energies.get("noise")
    ratios = {role: Ratio(energies=tuple(pairs)) for role, pairs in measured.items()}
    return Mixture(
        audio=audio,
        gains=gains,
        noise=noise,
        snr=ratios.get("noise"),
        sir=ratios.get("interferer"),
    )


class _Parts:
    """Channels of the sum of each role's sounds at unit gain, made when first asked for."""

    def __init__(self, grid: Grid, sounds: Sequence[Sound]) -> None:
        self.grid = grid
        by_role = {role: [s for s in sounds if s.event.role == role] for role in ROLES}
        self.sounds = {role: some for role, some in by_role.items() if some}
        self.roles = tuple(self.sounds)
        self._made: dict[tuple[Role, int], Wet] = {}

    def channel(self, role: Role, c: int) -> Wet:
        """One channel of the role's sum, within the scene."""
        if (role, c) not in self._made:
            self._made[role, c] = channel_of(self.grid, self.sounds[role], c)
        return self._made[role, c]

    def take(self, role: Role, c: int, gain: float) -> Wet:
        """That channel at a gain; it is handed over and not kept."""
        signal = self.channel(role, c)
        del self._made[role, c]
        if gain != 1.0:
            np.multiply(signal.samples, np.float32(gain), out=signal.samples)
        return signal


def channel_of(grid: Grid, sounds: Sequence[Sound], c: int) -> Wet:
    """One channel of the sum of some sounds, within the scene."""
    if c == 0:
        return _sum_wet([sound.wet for sound in sounds], grid.n_samples)
    terms = [s.heard.term(c) for s in sounds if isinstance(s.heard, Convolved)]
    signals = [s.heard.wet(c) for s in sounds if isinstance(s.heard, Rendered)]
    if terms:
        signals.append(convolve_sum(grid, terms))
    return signals[0] if terms and len(signals) == 1 else _sum_wet(signals, grid.n_samples)


def _sum_wet(signals: Sequence[Wet], n_samples: int) -> Wet:
    """Sum of signals, cut at the scene's end."""
    first = min(signal.start for signal in signals)
    last = min(max(signal.start + len(signal.samples) for signal in signals), n_samples)
    total = np.zeros(last - first, np.float32)
    for start, samples in signals:
        into = total[start - first : start - first + len(samples)]
        into += samples[: len(into)]
    return Wet(first, total)


def _energy(signal: Wet) -> Energy:
    return Energy(signal.samples, signal.start)


def _span(sounds: Sequence[Sound], spec: SceneSpec) -> Span:
    """Samples from the first wet onset to the last wet offset of some sounds."""
    ends_s = [(sound.times.wet_onset_s, sound.times.wet_offset_s) for sound in sounds]
    spans = [(round(a * spec.sample_rate), round(b * spec.sample_rate)) for a, b in ends_s]
    return union_span(spans, spec.n_samples)
