"""Parts of clips, and the events that play them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scenesynth.corpus.clips import Clip
from scenesynth.distributions import Draws
from scenesynth.errors import ClipError
from scenesynth.scene.spec import ClipRef, Event, Role

CUT_FADE_S: Final = 0.005
"""Fade where a crop cuts into a clip, against clicks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a clip, in samples at the scene's rate."""

    clip: Clip
    start: int
    length: int


def crop(clip: Clip, longest: int, sample_rate: int, draws: Draws, stream: str, slot: int) -> Part:
    """The whole clip, or a random part of `longest` samples.

    The part lies inside the active region, or holds all of it where that is shorter.
    """
    length = clip_samples(clip, sample_rate)
    if length < 1:
        raise ClipError(f"clip {clip.id}: shorter than one sample at {sample_rate} Hz")
    if length <= longest:
        return Part(clip=clip, start=0, length=length)
    ends = (
        round(clip.active_start_s * sample_rate),
        round(clip.active_end_s * sample_rate) - longest,
    )
    latest = length - longest
    low, high = (min(max(0, at), latest) for at in sorted(ends))
    return Part(clip=clip, start=draws.rng(stream, slot).integer(low, high), length=longest)


def make_event(
    role: Role,
    corpus: str,
    part: Part,
    onset: int,
    level_dbfs: float,
    fade_s: float,
    sample_rate: int,
) -> Event:
    """The event that plays a part of a clip at `onset` (samples) with its RMS at `level_dbfs`."""
    clip = part.clip
    start_s, duration_s = part.start / sample_rate, part.length / sample_rate
    active_start_s = round(max(0.0, clip.active_start_s - start_s), 6)
    active_end_s = min(duration_s, round(clip.active_end_s - start_s, 6))
    if active_end_s <= active_start_s:
        raise ClipError(
            f"clip {clip.id}: nothing active in its part from {start_s:g} s, {duration_s:g} s long"
        )
    end_s = (part.start + part.length + 1) / sample_rate
    fade_in_s = max(fade_s, CUT_FADE_S if part.start else 0.0)
    fade_out_s = max(fade_s, CUT_FADE_S if end_s < clip.duration_s else 0.0)
    return Event(
        role=role,
        clip=clip_reference(corpus, clip),
        onset_s=onset / sample_rate,
        start_s=start_s,
        duration_s=duration_s,
        active_start_s=active_start_s,
        active_end_s=active_end_s,
        gain=float(f"{10 ** (level_dbfs / 20) / clip.rms:.7g}"),
        fade_in_s=min(fade_in_s, duration_s / 2),
        fade_out_s=min(fade_out_s, duration_s / 2),
    )


def clip_samples(clip: Clip, sample_rate: int) -> int:
    """Whole samples that the clip fills at another rate."""
    return clip.n_frames * sample_rate // clip.sample_rate


def clip_reference(corpus: str, clip: Clip) -> ClipRef:
    """How specs refer to a clip of a corpus."""
    return ClipRef(
        corpus=corpus,
        id=clip.id,
        digest=clip.digest,
        file_digest=clip.file_digest,
        labels=clip.labels,
        group=clip.group,
        fold=clip.fold,
        licence=clip.licence,
        caption=clip.caption,
    )
