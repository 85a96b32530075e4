"""A preview on disk: one picture, one wav per format and one to listen to, and a few lines of text,
for a scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from scenesynth.localization.agreement import formats_of
from scenesynth.plots.text import direction, number
from scenesynth.preview.export import write_wav
from scenesynth.preview.figure import write_picture
from scenesynth.preview.listen import best_to_hear, listening
from scenesynth.preview.told import told
from scenesynth.preview.view import Sounding, View, view_of
from scenesynth.spatial.formats import Format
from scenesynth.store.schema import Scene


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What was written for a scene.

    Attributes:
        picture: PNG.
        wavs: one per format.
        listen: two channels for headphones.
        lines: label against estimate for each event, and what was done to a wav.
    """

    picture: Path
    wavs: tuple[Path, ...]
    listen: Path
    lines: tuple[str, ...]


def write_preview(
    scene: Scene, folder: Path, known: Mapping[str, Format] = MappingProxyType({})
) -> Preview:
    """Write picture and wavs of `scene` into `folder`, which is made if need be.

    Args:
        known: the dataset's formats by name; microphones are known by them alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    view = view_of(scene, known)
    listen = folder / f"{scene.id}.listen.wav"
    heard, notes = _write_listening(listen, scene, formats_of(scene, known), view), {}
    wavs = []
    for name, audio in scene.audio_by_format.items():
        wavs.append(folder / f"{scene.id}.{name}.wav")
        notes[name] = _gain_note(write_wav(wavs[-1], audio, scene.sample_rate))
    picture = folder / f"{scene.id}.png"
    write_picture(picture, view, (f"{view.format.name}.wav: {notes[view.format.name]}", heard))
    lines = [direction_line(sounding) for sounding in view.soundings if sounding.role != "noise"]
    lines += [f"wav ({name}): {note}" for name, note in notes.items() if note != _AS_RENDERED]
    return Preview(picture=picture, wavs=tuple(wavs), listen=listen, lines=tuple(lines))


def _write_listening(path: Path, scene: Scene, formats: Mapping[str, Format], view: View) -> str:
    """Write the wav for headphones; what it was made of, in words."""
    item = best_to_hear(formats)
    speed_mps = view.spec.air.speed_of_sound_mps
    ears = listening(scene.audio_by_format[item.name], item, scene.sample_rate, speed_mps)
    note = _gain_note(write_wav(path, ears, scene.sample_rate))
    return f"listen.wav: {item.name} for headphones" + ("" if note == _AS_RENDERED else f", {note}")


_AS_RENDERED = "as rendered"


def _gain_note(gain: float) -> str:
    if gain == 1.0:
        return _AS_RENDERED
    return f"peak above full scale, all channels times {gain:.3f}"


def direction_line(sounding: Sounding) -> str:
    """Label against audio of an event, in words."""
    columns = sounding.columns
    name = f"{sounding.name} ({sounding.role})"
    estimate = sounding.estimate
    if estimate is None:
        label = direction(columns["azimuth_start_deg"], columns["elevation_start_deg"])
        return f"{name}: label {label}, no estimate: {sounding.no_estimate}"
    label = direction(*estimate.label_deg)
    if estimate.reach == "side":
        label += f" ({told(estimate.told_deg, estimate.reach)})"
    text = (
        f"{name}: label {label}, "
        f"from the audio {told(estimate.estimated_deg, estimate.reach)}, "
        f"error {number(estimate.error_deg, '°')}"
    )
    return f"{text}; {estimate.doubt}" if estimate.doubt else text
