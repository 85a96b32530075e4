"""When and where each event sounds, as the listener hears it.

Dry times follow the clip's active region at both ends, cut at the scene's end. The wet onset is the
arrival of the direct sound. The wet offset is where the backward-integrated energy of the event's
own pressure has fallen by 60 dB, cut at the scene's end. Frames are those of
`scenesynth.store.frames`; the direct sound lasts from the wet onset to the arrival of what leaves
at the dry offset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scenesynth.errors import ContentError
from scenesynth.render.energy import Energies
from scenesynth.scene.spec import Event
from scenesynth.store.frames import frame_range, n_frames

WET_OFFSET_DROP_DB = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Label times of one event, in seconds from the scene's start, and its frames."""

    dry_onset_s: float
    dry_offset_s: float
    wet_onset_s: float
    wet_offset_s: float
    direct_offset_s: float
    frame_start: int
    frame_stop: int


def event_times(
    event: Event,
    wet: Energies,
    *,
    direct_delay_s: float | Callable[[float], float],
    n_samples: int,
    sample_rate: int,
    name: str = "event",
) -> Times:
    """Label times of an event whose pressure at the listener is `wet`.

    Args:
        wet: energy of the event's pressure, with what outlasts the scene.
        direct_delay_s: travel time of the direct sound; where something moves, that of what is
            emitted at a time.
        name: what to call the event in an error.

    Raises:
        ContentError: the event is silent, or over before the listener could hear it.
    """
    end_s = n_samples / sample_rate
    # The clip starts on a whole sample, so its labels count from there.
    start_s = round(event.onset_s * sample_rate) / sample_rate
    onset_s = start_s + event.active_start_s
    wet_onset_s = onset_s + _delay_s(direct_delay_s, onset_s)
    if wet_onset_s >= end_s:
        raise ContentError(
            f"{name} (clip {event.clip.id}): its sound arrives at {wet_onset_s:.4f} s, not before "
            f"the scene's end at {end_s:g} s; place it earlier"
        )
    if not (wet.between(0, n_samples) > 0 and math.isfinite(wet.total)):
        raise ContentError(
            f"{name} (clip {event.clip.id}): energy at the listener is "
            f"{wet.between(0, n_samples):g}; the clip has to sound and be finite"
        )
    offset_s = min(start_s + event.active_end_s, end_s)
    direct_offset_s = min(offset_s + _delay_s(direct_delay_s, offset_s), end_s)
    frame_start, frame_stop = frame_range(
        wet_onset_s, direct_offset_s, n_frames(n_samples, sample_rate)
    )
    return Times(
        dry_onset_s=onset_s,
        dry_offset_s=offset_s,
        wet_onset_s=wet_onset_s,
        wet_offset_s=min(wet.end(WET_OFFSET_DROP_DB) / sample_rate, end_s),
        direct_offset_s=direct_offset_s,
        frame_start=frame_start,
        frame_stop=frame_stop,
    )


def _delay_s(delay_s: float | Callable[[float], float], emitted_s: float) -> float:
    return delay_s(emitted_s) if callable(delay_s) else delay_s
