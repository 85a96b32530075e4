"""Stems: what is heard of each emitter by itself, in parts that add up to the mixture.

    mixture = sum over slots of (direct + early + late) + noise

in every format, each stem at the gain of its role. A slot is an emitter of targets or interferers,
in the order of the spec; all noise together is one stem, with one slot. `dry` is what an emitter
plays, at its place and before propagation, with the gains and fades of its events and the gain of
its role: its convolution with the response is direct + early + late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.parts import Part, parts_of
from scenesynth.acoustics.response import Response
from scenesynth.render.convolve import Grid, Wet, response_spectra
from scenesynth.render.mix import Rendered, Signal, Sound, channel_of
from scenesynth.scene.spec import Event, Role, SceneSpec
from scenesynth.spatial.formats import Layout
from scenesynth.timing import stage

PARTS: Final[tuple[Part, ...]] = get_args(Part)


class Way(Protocol):
    """How the events of an emitter are heard, part by part."""

    def hear_parts(
        self, parts: Sequence[Part], dry: Signal, onset: int
    ) -> Iterator[tuple[Part, Rendered]]:
        """What arrives of a dry signal by each of these parts of the response."""
        ...


class Stems:
    """Collects the stems of a scene while its events are rendered.

    Gains of roles are known only when all has been heard, so signals are kept by role until then.

    Attributes:
        parts: of responses, that are asked for.
        slots: where the stems hold the events put in so far; None for noise, and where there are
            no stems.
    """

    def __init__(self, spec: SceneSpec, layout: Layout, kinds: Sequence[str]) -> None:
        self._spec, self._layout, self._kinds = spec, layout, kinds
        self.parts: tuple[Part, ...] = tuple(part for part in PARTS if part in kinds)
        self.slots: list[int | None] = []
        self._slots = slots_of(spec) if self.parts or "dry" in kinds else {}
        self._kept: dict[tuple[str, int, Role], Signal] = {}

    def spectra(self, grid: Grid, emitter_index: int, response: Response) -> dict[Part, Signal]:
        """Spectra of the parts of an emitter's response. Shape of each: [channels, 2 * n_fft]."""
        if not self.parts or emitter_index not in self._slots:
            return {}
        with stage("stems"):
            parts = parts_of(self._layout, self._spec, response)
            wanted = [getattr(parts, part) for part in self.parts]
            return dict(zip(self.parts, response_spectra(grid, wanted), strict=True))

    def add(self, emitter_index: int, event: Event, way: Way, dry: Wet) -> None:
        """Put in one event."""
        slot = None if event.role == "noise" else self._slots.get(emitter_index)
        self.slots.append(slot)
        if slot is None:
            return
        with stage("stems"):
            for part, heard in way.hear_parts(self.parts, dry.samples, dry.start):
                self._keep((part, slot, event.role), heard.start, heard.channels)
            if "dry" in self._kinds:
                self._keep(("dry", slot, event.role), dry.start, dry.samples[None])

    def at_gains(
        self, grid: Grid, sounds: Sequence[Sound], gains: Mapping[Role, float]
    ) -> dict[str, Signal]:
        """The stems by kind, as they are in the mixture; hands over what was kept.

        Shape: [slots, channels, samples], the dry one with one channel.
        """
        if not self._kinds:
            return {}
        with stage("stems"):
            return self._at_gains(grid, sounds, gains)

    def _at_gains(
        self, grid: Grid, sounds: Sequence[Sound], gains: Mapping[Role, float]
    ) -> dict[str, Signal]:
        n_slots, n_samples = len(self._slots), self._spec.n_samples
        n_channels = self._layout.n_channels
        found = {
            kind: np.zeros((n_slots, 1 if kind == "dry" else n_channels, n_samples), np.float32)
            for kind in self._kinds
            if kind != "noise"
        }
        while self._kept:
            (kind, slot, role), signal = self._kept.popitem()
            signal *= np.float32(gains[role])
            found[kind][slot] += signal
        if "noise" in self._kinds:
            found["noise"] = self._noise(grid, sounds, gains["noise"])
        return found

    def by_format(
        self, found: Mapping[str, Signal]
    ) -> tuple[dict[str, dict[str, Signal]], Signal | None]:
        """The wet stems of every format, and the dry ones [slots, samples]."""
        rows = self._layout.rows.items()
        wet = {kind: signal for kind, signal in found.items() if kind != "dry"}
        dry = found["dry"][:, 0] if "dry" in found else None
        if not wet:
            return {}, dry
        return {name: {kind: wet[kind][:, own] for kind in wet} for name, own in rows}, dry

    def _keep(self, key: tuple[str, int, Role], start: int, channels: Signal) -> None:
        n_samples = self._spec.n_samples
        if key not in self._kept:
            self._kept[key] = np.zeros((len(channels), n_samples), np.float32)
        into = self._kept[key][:, start : start + channels.shape[1]]
        into += channels[:, : into.shape[1]]

    def _noise(self, grid: Grid, sounds: Sequence[Sound], gain: float) -> NDArray[np.float32]:
        out = np.zeros((1, self._layout.n_channels, self._spec.n_samples), np.float32)
        some = [sound for sound in sounds if sound.event.role == "noise"]
        for c, channel in enumerate(out[0] if some else ()):
            start, samples = channel_of(grid, some, c)
            channel[start : start + len(samples)] = samples * np.float32(gain)
        return out


def slots_of(spec: SceneSpec) -> dict[int, int]:
    """Slots of the emitters that play anything but noise, by their number in the spec."""
    sounding = [
        index
        for index, emitter in enumerate(spec.emitters)
        if any(event.role != "noise" for event in emitter.events)
    ]
    return {index: slot for slot, index in enumerate(sounding)}
