"""What a page plays: the mixture and its stems as two channels for headphones, compressed.

MP3 at a variable bit rate is what every browser plays from disk, and exact to the sample: its
header tells the encoder's delay, which a low constant rate has no room for. FLAC takes its place
where libsndfile was built without it.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.localization.agreement import formats_of
from scenesynth.plots.text import number
from scenesynth.preview.listen import best_to_hear, listening
from scenesynth.spatial.formats import Format
from scenesynth.store.schema import Scene

Stereo = NDArray[np.float32]

PEAK: Final = 0.7
"""Of the loudest track, -3 dB re full scale: lossy coding overshoots."""

MP3_RATES: Final = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_WHOLE, _PART = 0.5, 0.7
"""How much the mixture and its parts are compressed, of 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """Something to listen to.

    Attributes:
        key: its place among the tracks of the scene.
        group: what it is a part of, under which it is listed.
        data: of the type `mime`, in base64.
    """

    key: int
    name: str
    group: str
    mime: str
    data: str


@dataclass(frozen=True, kw_only=True)
class Player:
    """The tracks of a scene, on one scale.

    Attributes:
        notes: what they were made of and how, each a phrase.
        unheard: why there are none; "" where there are.
    """

    tracks: tuple[Track, ...] = ()
    notes: tuple[str, ...] = ()
    unheard: str = ""


def player_of(
    scene: Scene,
    known: Mapping[str, Format],
    speed_of_sound_mps: float,
    limit_bytes: float = math.inf,
) -> Player:
    """All tracks of a scene.

    Args:
        known: the dataset's formats by name; microphones are known by them alone.
        limit_bytes: of all together; stems that matter least are left out.
    """
    formats = formats_of(scene, known)
    item = best_to_hear(formats)
    rate = scene.sample_rate

    def ears(audio: Stereo) -> Stereo:
        return listening(audio, item, rate, speed_of_sound_mps)

    try:
        mixture = ears(scene.audio_by_format[item.name])
    except (ConfigError, ValueError) as error:
        return Player(unheard=f"{item.name} cannot be made audible here: {error}")
    parts = list(_parts(scene, item.name, ears))
    loudest = max([_peak(mixture), *(_peak(part.audio) for part in parts)])
    gain = PEAK / loudest if loudest > 0 else 1.0
    whole = _track("mixture", "", mixture * np.float32(gain), rate, _WHOLE)
    stems, n_left_out = _within_limit(
        [*parts, *_dry(scene)], gain, rate, limit_bytes - len(whole.data)
    )
    return Player(tracks=_keyed([whole, *stems]), notes=tuple(_notes(item, gain, rate, n_left_out)))


def listening_rate(sample_rate: int) -> int:
    """The rate at which tracks are coded: the scene's, or the next one that MP3 has."""
    if not _has_mp3():
        return sample_rate
    return next((rate for rate in MP3_RATES if rate >= sample_rate), MP3_RATES[-1])


def encoded(audio: Stereo, sample_rate: int, compression: float) -> tuple[str, bytes]:
    """Type and bytes of `audio`, which lasts as long as before to the sample.

    Args:
        audio: Shape: [channels, samples].
    """
    file = io.BytesIO()
    if not _has_mp3():
        soundfile.write(file, audio.T, sample_rate, format="FLAC", subtype="PCM_16")
        return "audio/flac", file.getvalue()
    rate = listening_rate(sample_rate)
    samples = audio.T if rate == sample_rate else soxr.resample(audio.T, sample_rate, rate)
    how = {"compression_level": compression, "bitrate_mode": "VARIABLE"}
    soundfile.write(file, samples, rate, format="MP3", subtype="MPEG_LAYER_III", **how)
    return "audio/mpeg", file.getvalue()


@cache
def _has_mp3() -> bool:
    return "MP3" in soundfile.available_formats()


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A stem before it is coded; `rank` says which are left out last."""

    group: str
    name: str
    audio: Stereo
    rank: int


def _parts(scene: Scene, format_name: str, ears: Callable[[Stereo], Stereo]) -> Iterator[_Part]:
    """Wet stems by emitter, and their sum where there are several of one."""
    stems = scene.stems_by_format.get(format_name, {})
    for slot, name in _emitters(scene).items():
        heard = {
            kind: ears(stems[kind][slot]) for kind in ("direct", "early", "late") if kind in stems
        }
        if len(heard) > 1:
            total = np.sum(list(heard.values()), axis=0)
            yield _Part(group=name, name=" + ".join(heard), audio=total, rank=0)
        for kind, audio in heard.items():
            yield _Part(group=name, name=kind, audio=audio, rank=2)
    if "noise" in stems and np.any(stems["noise"]):
        yield _Part(group="noise", name="all noise", audio=ears(stems["noise"][0]), rank=0)


def _dry(scene: Scene) -> Iterator[_Part]:
    if scene.dry is not None:
        for slot, name in _emitters(scene).items():
            yield _Part(group=name, name="dry", audio=scene.dry[slot : slot + 1], rank=1)


def _emitters(scene: Scene) -> dict[int, str]:
    """What the emitters that have a slot are called, by slot."""
    names: dict[int, list[str]] = {}
    roles = {}
    for event in scene.events:
        if event["role"] != "noise" and event.get("stem") is not None:
            label = ", ".join(event["labels"] or ()) or event["clip"] or event["emitter"]
            names.setdefault(event["stem"], []).append(label)
            roles[event["stem"]] = event["role"]
    return {
        slot: f"{slot + 1}: {', '.join(dict.fromkeys(labels))} ({roles[slot]})"
        for slot, labels in sorted(names.items())
    }


def _within_limit(
    parts: Sequence[_Part], gain: float, sample_rate: int, limit_bytes: float
) -> tuple[list[Track], int]:
    """Tracks of the parts that matter most, by emitter, and how many were left out."""

    def coded(part: _Part) -> Track:
        audio, note = _scaled(part.audio, gain)
        return _track(part.name + note, part.group, audio, sample_rate, _PART)

    used, tracks = 0, {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rank in sorted({part.rank for part in parts}):
            alike = [n for n, part in enumerate(parts) if part.rank == rank]
            if used >= limit_bytes:
                break
            for n, track in zip(alike, pool.map(coded, [parts[n] for n in alike]), strict=True):
                used += len(track.data)
                if used <= limit_bytes:
                    tracks[n] = track
    order = list(dict.fromkeys(part.group for part in parts))
    kept = sorted(tracks, key=lambda n: (order.index(parts[n].group), n))
    return [tracks[n] for n in kept], len(parts) - len(kept)


def _scaled(audio: Stereo, gain: float) -> tuple[Stereo, str]:
    """Audio at the scene's gain, or at less and so said, where a dry signal would clip."""
    less = min(1.0, PEAK / max(gain * _peak(audio), 1e-9))
    note = "" if less == 1.0 else f" ({number(20 * float(np.log10(less)), 'dB', 0)})"
    return audio * np.float32(gain * less), note


def _track(name: str, group: str, audio: Stereo, sample_rate: int, compression: float) -> Track:
    mime, data = encoded(audio, sample_rate, compression)
    return Track(key=0, name=name, group=group, mime=mime, data=base64.b64encode(data).decode())


def _keyed(tracks: Sequence[Track]) -> tuple[Track, ...]:
    return tuple(replace(track, key=n) for n, track in enumerate(tracks))


def _peak(audio: Stereo) -> float:
    return float(np.max(np.abs(audio), initial=0.0))


def _notes(item: Format, gain: float, sample_rate: int, n_left_out: int) -> Iterator[str]:
    own = item.kind == "binaural"
    yield f"{item.name} as rendered" if own else f"{item.name} mixed for headphones"
    yield f"all tracks {number(20 * float(np.log10(gain)), 'dB', sign=True)}"
    if (rate := listening_rate(sample_rate)) != sample_rate:
        yield f"resampled to {rate / 1000:g} kHz for listening"
    if n_left_out:
        yield f"{n_left_out} stems left out for the size of the page: show fewer scenes, or --serve"
