"""A preview on disk: one picture and one wav per format, and a few lines of text, for a scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scenesynth.preview.export import write_wav
from scenesynth.preview.figure import write_picture
from scenesynth.preview.text import direction, number
from scenesynth.preview.view import Sounding, view_of
from scenesynth.store.schema import Scene


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What was written for a scene.

    Attributes:
        picture: PNG.
        wavs: one per format.
        lines: label against estimate for each event, and what was done to a wav.
    """

    picture: Path
    wavs: tuple[Path, ...]
    lines: tuple[str, ...]


def write_preview(scene: Scene, folder: Path) -> Preview:
    """Write picture and wavs of `scene` into `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    view = view_of(scene)
    wavs, notes = [], {}
    for name, audio in scene.audio_by_format.items():
        wavs.append(folder / f"{scene.id}.{name}.wav")
        gain = write_wav(wavs[-1], audio, scene.sample_rate)
        notes[name] = _gain_note(gain)
    picture = folder / f"{scene.id}.png"
    write_picture(picture, view, notes[view.format])
    lines = [_direction_line(sounding) for sounding in view.soundings if sounding.role != "noise"]
    lines += [f"wav ({name}): {note}" for name, note in notes.items() if note != _AS_RENDERED]
    return Preview(picture=picture, wavs=tuple(wavs), lines=tuple(lines))


_AS_RENDERED = "as rendered"


def _gain_note(gain: float) -> str:
    if gain == 1.0:
        return _AS_RENDERED
    return f"peak above full scale, all channels times {gain:.3f}"


def _direction_line(sounding: Sounding) -> str:
    columns = sounding.columns
    name = f"{sounding.name} ({sounding.role})"
    estimate = sounding.estimate
    if estimate is None:
        label = direction(columns["azimuth_start_deg"], columns["elevation_start_deg"])
        return f"{name}: label {label}, no estimate: {sounding.no_estimate}"
    text = (
        f"{name}: label {direction(*estimate.label_deg)}, "
        f"from the audio {direction(*estimate.estimated_deg)}, "
        f"error {number(estimate.error_deg, '°')}"
    )
    return f"{text}; {estimate.doubt}" if estimate.doubt else text
