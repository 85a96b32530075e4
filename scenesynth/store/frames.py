"""Label frames: which of them an event fills, and where it is heard in each.

Frame k covers [k * hop, (k + 1) * hop) seconds and is active where the direct sound, which lasts
from the wet onset to the arrival of what leaves at the dry offset, occupies at least half of it;
every event has at least one frame.

Directions are those at arrival, in the listener's frame (x front, y left, z up; azimuth
counter-clockwise). Of what moves a frame has the direction at its middle, or at the nearest moment
at which the direct sound is there. Directions between two entries of the column `heard` are those
of the straight line between them, so they never go the long way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_HOP_S = 0.1

# Times are compared as whole nanoseconds: an onset at 0.15 s lies on the middle of a frame, which
# it would miss by a rounding error in float64 seconds.
_TICKS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Dense activity and directions. Shapes: [events, frames].

    Directions are NaN where an event is not active, and of diffuse noise, which has none.
    """

    hop_s: float
    active: NDArray[np.bool_]
    azimuth_deg: NDArray[np.float64]
    elevation_deg: NDArray[np.float64]
    distance_m: NDArray[np.float64]


def n_frames(n_samples: int, sample_rate: int, hop_s: float = FRAME_HOP_S) -> int:
    """Frames that a scene reaches into, the last one perhaps in part."""
    return max(1, -(-n_samples * _TICKS_PER_S // (sample_rate * _ticks(hop_s))))


def frame_range(
    onset_s: float, offset_s: float, frame_count: int, hop_s: float = FRAME_HOP_S
) -> tuple[int, int]:
    """Half-open range of the frames of which [onset_s, offset_s) occupies at least half.

    A sound that occupies no half frame gets the one that it occupies most (the earlier of equals).
    """
    hop, onset, offset = _ticks(hop_s), _ticks(onset_s), _ticks(offset_s)
    reach = range(max(onset // hop, 0), max(-(-offset // hop), onset // hop + 1))
    first, last = reach.start, reach.stop - 1

    def occupied(frame: int) -> int:
        return min(offset, (frame + 1) * hop) - max(onset, frame * hop)

    start = first if 2 * occupied(first) >= hop else first + 1
    stop = last + 1 if 2 * occupied(last) >= hop else last
    if start >= stop:
        start = max((first, last), key=occupied)
        stop = start + 1
    start = min(start, frame_count - 1)
    return start, max(min(stop, frame_count), start + 1)


def frame_table(
    events: Iterable[Mapping[str, Any]],
    n_samples: int,
    sample_rate: int,
    hop_s: float = FRAME_HOP_S,
) -> Frames:
    """Dense table of rows of the events table, at any frame length.

    Args:
        events: rows of one scene, in the order of the result's first axis. Those without the column
            `heard` (datasets from before there was motion) keep the direction of their start.
        n_samples: length of the scene.
        hop_s: length of a frame.
    """
    rows = list(events)
    end_s = n_samples / sample_rate
    count = n_frames(n_samples, sample_rate, hop_s)
    active = np.zeros((len(rows), count), np.bool_)
    where = np.full((3, len(rows), count), np.nan)
    for n, row in enumerate(rows):
        entries: Sequence[Mapping[str, float]] = row.get("heard") or ()
        moves = len(entries) > 1
        delay_s = row["wet_onset_s"] - row["dry_onset_s"]
        still_offset_s = min(row["dry_offset_s"] + delay_s, end_s)
        direct_offset_s = entries[-1]["time_s"] if moves else still_offset_s
        start, stop = frame_range(row["wet_onset_s"], direct_offset_s, count, hop_s)
        active[n, start:stop] = True
        if moves:
            middles_s = (np.arange(start, stop, dtype=np.float64) + 0.5) * hop_s
            where[:, n, start:stop] = np.stack(_directions(entries, middles_s))
            continue
        for axis, column in enumerate(("azimuth", "elevation")):
            where[axis, n, start:stop] = _or_nan(row[f"{column}_start_deg"])
        where[2, n, start:stop] = _or_nan(row["distance_start_m"])
    return Frames(
        hop_s=hop_s,
        active=active,
        azimuth_deg=where[0],
        elevation_deg=where[1],
        distance_m=where[2],
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _directions(
    entries: Sequence[Mapping[str, float]], times_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Azimuth and elevation in degrees and distance, each of shape [times]."""
    at = [entry["time_s"] for entry in entries]
    x, y, z = (np.interp(times_s, at, [entry[axis] for entry in entries]) for axis in "xyz")
    flat = np.hypot(x, y)
    azimuth_deg, elevation_deg = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, flat))
    return np.where(azimuth_deg <= -180.0, 180.0, azimuth_deg), elevation_deg, np.hypot(flat, z)


def _ticks(seconds: float) -> int:
    return round(seconds * _TICKS_PER_S)
