"""A stored scene as what a reader of its picture wants to know: labels beside estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.localization.agreement import (
    Estimate,
    best_told,
    event_estimates,
    formats_of,
    scene_directions,
)
from scenesynth.localization.directions import Directions
from scenesynth.localization.onsets import Array
from scenesynth.plots.style import COLOURS, NOISE_COLOUR
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import Format
from scenesynth.store.frames import frame_table
from scenesynth.store.schema import Scene


@dataclass(frozen=True, kw_only=True)
class Sounding:
    """One event of a scene as drawn.

    Attributes:
        azimuth_deg, elevation_deg: labelled direction per frame, NaN where it is not active.
            Shape: [frames].
        estimate: None where there is none, for the reason `no_estimate`.
    """

    number: int
    name: str
    role: str
    emitter: str
    colour: str
    dry_s: tuple[float, float]
    wet_s: tuple[float, float]
    azimuth_deg: Array
    elevation_deg: Array
    columns: Mapping[str, Any]
    estimate: Estimate | None
    no_estimate: str


@dataclass(frozen=True, kw_only=True)
class View:
    """All that a picture and a line of text say about a scene.

    Attributes:
        format: the format whose audio is shown, the one that tells most of directions.
        others: names of the formats that are not shown.
        audio: float32 [channels, samples].
        directions: None where there are none to be had, for the reason `no_directions`.
    """

    spec: SceneSpec
    row: Mapping[str, Any]
    format: Format
    others: tuple[str, ...]
    audio: NDArray[np.float32]
    soundings: tuple[Sounding, ...]
    directions: Directions | None
    no_directions: str

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def sample_rate(self) -> int:
        return self.spec.sample_rate

    @property
    def duration_s(self) -> float:
        return self.spec.duration_s


def view_of(scene: Scene, known: Mapping[str, Format] = MappingProxyType({})) -> View:
    """What a picture shows of `scene`; directions are estimated from its audio here.

    Args:
        known: the dataset's formats by name; microphones are known by them alone.
    """
    spec = SceneSpec.from_json(scene.spec_json)
    formats = formats_of(scene, known)
    shown = best_told(formats)
    audio = scene.audio_by_format[shown.name]
    directions, why_not = scene_directions(audio, shown, spec)
    return View(
        spec=spec,
        row=scene.row,
        format=shown,
        others=tuple(name for name in formats if name != shown.name),
        audio=audio,
        soundings=_soundings(scene.events, spec, directions, why_not),
        directions=directions,
        no_directions=why_not,
    )


def _soundings(
    events: Sequence[Mapping[str, Any]],
    spec: SceneSpec,
    directions: Directions | None,
    why_not: str,
) -> tuple[Sounding, ...]:
    colours = _colours(events)
    labelled = frame_table(events, spec.n_samples, spec.sample_rate)
    estimates = event_estimates(events, labelled, directions)
    return tuple(
        Sounding(
            number=event["event"],
            name=", ".join(event["labels"] or ()) or event["clip"] or event["emitter"],
            role=event["role"],
            emitter=event["emitter"],
            colour=colours[event["emitter"]],
            dry_s=(event["dry_onset_s"], event["dry_offset_s"]),
            wet_s=(event["wet_onset_s"], event["wet_offset_s"]),
            azimuth_deg=labelled.azimuth_deg[n],
            elevation_deg=labelled.elevation_deg[n],
            columns=event,
            estimate=estimates[n],
            no_estimate=why_not or "no clear onset",
        )
        for n, event in enumerate(events)
    )


def _colours(events: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A colour per emitter; noise is grey, so that it does not use one up."""
    named = dict.fromkeys(e["emitter"] for e in events if e["role"] != "noise")
    colours = {e["emitter"]: NOISE_COLOUR for e in events}
    return colours | {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(named)}
