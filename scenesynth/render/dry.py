"""What an emitter plays: the part of a clip that an event uses, with its fades and gain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ClipError
from scenesynth.scene.spec import Event

SLACK_S = 0.001
"""How much shorter than stated a clip may be: times are rounded, and so is resampling."""


def dry_signal(
    event: Event, clip: NDArray[np.float32], sample_rate: int, name: str = "event"
) -> NDArray[np.float32]:
    """Samples that `event` plays from its decoded clip. Shape: [clip samples] to [samples].

    Fades are linear and take at most the part that is played; where they meet they multiply.

    Args:
        name: what to call the event in an error.

    Raises:
        ClipError: the clip ends before the part does, or holds values that are not finite.
    """
    start = round(event.start_s * sample_rate)
    wanted = round(event.duration_s * sample_rate)
    part = clip[start : start + wanted]
    if len(part) < max(wanted - round(SLACK_S * sample_rate), 1):
        raise ClipError(
            f"{name}: clip {event.clip.id} of corpus {event.clip.corpus} lasts "
            f"{len(clip) / sample_rate:.4f} s; the event plays {event.start_s:g} to "
            f"{event.start_s + event.duration_s:.4f} s of it; shorten the event or restore the clip"
        )
    if not np.isfinite(part).all():
        raise ClipError(
            f"{name}: clip {event.clip.id} of corpus {event.clip.corpus} holds samples that are "
            f"not finite; remove or repair it"
        )
    played = part * np.float32(event.gain)
    fade_in = _ramp(event.fade_in_s, len(played), sample_rate)
    fade_out = _ramp(event.fade_out_s, len(played), sample_rate)
    played[: len(fade_in)] *= fade_in
    played[len(played) - len(fade_out) :] *= fade_out[::-1]
    return played


def _ramp(duration_s: float, longest: int, sample_rate: int) -> NDArray[np.float32]:
    """Rising line through (k + 1/2) / n. Shape: [n], n <= `longest`."""
    n = min(round(duration_s * sample_rate), longest)
    return ((np.arange(n) + 0.5) / max(n, 1)).astype(np.float32)
