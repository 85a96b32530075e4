"""Labels beside what the audio tells: for each event the direction of its direct path.

An estimate hears a stored scene as anyone could who has its audio and knows the receiver. Where it
may be off for reasons of acoustics (noise, reverberation, others that sound along), it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.receivers import DEFAULT_HEAD
from scenesynth.errors import ConfigError
from scenesynth.localization.directions import (
    Directions,
    estimate_directions,
    to_angles,
    to_vectors,
)
from scenesynth.localization.onsets import Array
from scenesynth.localization.reach import ORDER, Reach, as_told, reach_of
from scenesynth.plots.text import number
from scenesynth.scene.geometry import great_circle_deg
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import Format, parse_format
from scenesynth.store.frames import FRAME_HOP_S, Frames
from scenesynth.store.schema import Scene

NOISY_BELOW_DB = 6.0
REVERBERANT_BELOW_DB = 0.0
DIFFUSE_BELOW = 0.6
FIRST_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The direct path's direction over an event, from the audio, beside its label.

    Attributes:
        label_deg: azimuth and elevation, weighted over the event as the estimate is.
        told_deg: what the format can tell of them (`reach.as_told`).
        estimated_deg: azimuth and elevation of the same kind, from the audio.
        error_deg: great-circle angle between the last two.
        confidence: 1 where all onsets agree, 0 in a diffuse field.
        alone: whether it is from onsets during which no other emitter sounds.
        doubt: why the estimate may be off ("" where nothing speaks against it).
    """

    reach: Reach
    label_deg: tuple[float, float]
    told_deg: tuple[float, float]
    estimated_deg: tuple[float, float]
    error_deg: float
    confidence: float
    alone: bool = True
    doubt: str


def formats_of(
    scene: Scene, known: Mapping[str, Format] = MappingProxyType({})
) -> Mapping[str, Format]:
    """The formats of a scene's audio: those of its dataset, and what their names say of others."""
    return {name: known.get(name) or parse_format(name) for name in scene.audio_by_format}


def best_told(formats: Mapping[str, Format]) -> Format:
    """The format that tells most of directions; among equals Ambisonics, then microphones."""
    return min(formats.values(), key=_directional)


def _directional(item: Format) -> tuple[int, int, int]:
    """Sorts formats that tell more of directions first; among equals Ambisonics, then arrays."""
    kinds = ("ambisonics", "array", "binaural")
    return ORDER.index(reach_of(item)), kinds.index(item.kind), -item.n_channels


def scene_directions(
    audio: NDArray[np.float32], item: Format, spec: SceneSpec
) -> tuple[Directions | None, str]:
    """Directions in frames of the store's hop, or why there are none.

    Args:
        audio: of the format `item`. Shape: [channels, samples].
    """
    if reach_of(item) == "none":
        return None, f"{item.name} {'tells' if item.array else 'holds'} no direction"
    try:
        found = estimate_directions(
            audio, spec.sample_rate, FRAME_HOP_S, item, head=spec.head, air=spec.air
        )
    except ConfigError:  # a user's head stays on his machine; what is drawn needs no head
        return None, f"head {spec.head.id if spec.head else DEFAULT_HEAD} is not at hand"
    return found, ""


def event_estimates(
    events: Sequence[Mapping[str, Any]], labelled: Frames, directions: Directions | None
) -> list[Estimate | None]:
    """An estimate per event; none of noise, and none where no onset is clear.

    Args:
        labelled: the frames of `events`, as of `store.frames.frame_table`.
    """
    return [
        _estimate(n, events, labelled, directions)
        if directions is not None and event["role"] != "noise"
        else None
        for n, event in enumerate(events)
    ]


def _estimate(
    n: int, events: Sequence[Mapping[str, Any]], labelled: Frames, directions: Directions
) -> Estimate | None:
    """Estimate over the frames where event `n` sounds alone.

    Where those hold no onset, over its first frames, whose onsets are its own if any are. The frame
    in which an event begins counts, even where it sounds for less than half of it.
    """
    own = _with_onset(n, events, labelled)
    alone = own & ~_others_active(n, events, labelled)
    first = own & (np.cumsum(own) <= FIRST_FRAMES)
    mask = alone if directions.weight[alone].sum() > 0 else first
    weight, reach = directions.weight[mask], directions.reach
    active = np.flatnonzero(labelled.active[n])
    at = np.clip(np.flatnonzero(mask), active[0], active[-1])
    label_vectors = to_vectors(labelled.azimuth_deg[n, at], labelled.elevation_deg[n, at])
    seen = directions.vectors[mask].sum(axis=0)
    if not seen.any() or not np.isfinite(label_vectors).all():
        return None
    told = weight @ as_told(label_vectors, reach)
    confidence = float(np.linalg.norm(seen) / weight.sum())
    return Estimate(
        reach=reach,
        label_deg=_pair(weight @ label_vectors),
        told_deg=_pair(told),
        estimated_deg=_pair(seen),
        error_deg=great_circle_deg(tuple(told), tuple(seen)),
        confidence=confidence,
        alone=mask is not first,
        doubt=_doubt(events[n], mask is first, confidence),
    )


def _pair(vector: Array) -> tuple[float, float]:
    azimuth, elevation = to_angles(vector)
    return float(azimuth), float(elevation)


def _others_active(
    n: int, events: Sequence[Mapping[str, Any]], labelled: Frames
) -> NDArray[np.bool_]:
    """Frames in which another emitter's event sounds; noise is always there and not counted."""
    others = [
        m
        for m, event in enumerate(events)
        if event["role"] != "noise" and event["emitter"] != events[n]["emitter"]
    ]
    sounding = np.zeros(labelled.active.shape[1], np.bool_)
    for m in others:
        sounding |= _with_onset(m, events, labelled)
    return sounding


def _with_onset(n: int, events: Sequence[Mapping[str, Any]], labelled: Frames) -> NDArray[np.bool_]:
    """Frames in which event `n` is active, and the one in which it begins."""
    sounding: NDArray[np.bool_] = labelled.active[n].copy()
    sounding[min(int(events[n]["wet_onset_s"] / labelled.hop_s), len(sounding) - 1)] = True
    return sounding


def _doubt(event: Mapping[str, Any], overlapped: bool, confidence: float) -> str:
    snr, drr = event.get("local_snr_db"), event.get("drr_db")
    if overlapped:
        return f"others sound along; from its first {FIRST_FRAMES * FRAME_HOP_S:g} s"
    if snr is not None and snr < NOISY_BELOW_DB:
        return f"noise is strong (local SNR {number(snr, 'dB', 0)})"
    if drr is not None and drr < REVERBERANT_BELOW_DB:
        return f"reverberation is strong (DRR {number(drr, 'dB', 0)})"
    if confidence < DIFFUSE_BELOW:
        return f"onsets disagree (confidence {confidence:.2f})"
    return ""
