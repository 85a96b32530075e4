"""What an emitter plays: the part of a clip that an event uses, with its fades and gain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ClipError
from scenesynth.scene.spec import Event

SLACK_S = 0.001
"""How much shorter than stated a clip may be: times are rounded, and so is resampling."""


def played_span(event: Event, sample_rate: int) -> tuple[int, int]:
    """Samples [start, stop) of the clip that `event` plays."""
    start = round(event.start_s * sample_rate)
    return start, start + round(event.duration_s * sample_rate)


def dry_signal(
    event: Event, part: NDArray[np.float32], sample_rate: int, name: str = "event"
) -> NDArray[np.float32]:
    """What `event` makes of the part of its decoded clip that it plays. Shape: [samples].

    Fades are linear and take at most the part that is played; where they meet they multiply.

    Args:
        part: samples `played_span` of the clip, fewer where the clip ends before. Shape: [samples].
        name: what to call the event in an error.

    Raises:
        ClipError: the clip ends before the part does, or holds values that are not finite.
    """
    start, stop = played_span(event, sample_rate)
    if len(part) < max(stop - start - round(SLACK_S * sample_rate), 1):
        found = (
            f"ends at {(start + len(part)) / sample_rate:.4f} s"
            if len(part)
            else f"ends before {event.start_s:g} s"
        )
        raise ClipError(
            f"{name}: clip {event.clip.id} of corpus {event.clip.corpus} {found}; "
            f"the event plays {event.start_s:g} to "
            f"{event.start_s + event.duration_s:.4f} s of it; shorten the event or restore the clip"
        )
    if not np.isfinite(part).all():
        raise ClipError(
            f"{name}: clip {event.clip.id} of corpus {event.clip.corpus} holds samples that are "
            f"not finite; remove or repair it"
        )
    played = part * np.float32(event.gain)
    fade_in = ramp(event.fade_in_s, len(played), sample_rate)
    fade_out = ramp(event.fade_out_s, len(played), sample_rate)
    played[: len(fade_in)] *= fade_in
    played[len(played) - len(fade_out) :] *= fade_out[::-1]
    return played


def ramp(duration_s: float, longest: int, sample_rate: int) -> NDArray[np.float32]:
    """Rising line through (k + 1/2) / n. Shape: [n], n <= `longest`."""
    n = min(round(duration_s * sample_rate), longest)
    return ((np.arange(n) + 0.5) / max(n, 1)).astype(np.float32)
