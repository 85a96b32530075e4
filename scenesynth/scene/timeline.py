"""When events sound: interval scheduling that always ends.

`scatter` spreads events over the scene under a polyphony limit, optional exclusion of overlap
within a class, and a pause between events of one emitter. For every event the set of all allowed
onsets is computed from the events already placed, and one is drawn from it: nothing is found by
trial, so a dense scene ends as fast as a sparse one. An event with no allowed onset is reported,
not retried for ever; a few whole arrangements are tried (longest first, in the end packed to the
left) before that.

`next_turn` lets talkers follow one another with pauses or overlaps.

Times are samples from the start of the scene, intervals half-open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from scenesynth.seeds import Rng

ARRANGEMENTS: Final = 6
"""Whole arrangements tried before events are given up."""

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """An event to be placed.

    Attributes:
        emitter: number of the emitter; its events never overlap.
        classes: labels, for `same_class_overlap`.
        pause: least samples between this event and others of its emitter.
    """

    duration: int
    emitter: int
    classes: frozenset[str] = frozenset()
    pause: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """Onsets of the sounds in their order, None where one found no room, and why."""

    onsets: tuple[int | None, ...]
    reason: str = ""

    @property
    def missing(self) -> int:
        """Number of sounds without an onset."""
        return sum(onset is None for onset in self.onsets)


def scatter(
    sounds: Sequence[Sound],
    length: int,
    rng: Rng,
    *,
    polyphony: int,
    same_class_overlap: bool = True,
) -> Arrangement:
    """Onsets at random under the limits; the arrangement that misses fewest of those tried.

    Args:
        sounds: what to place.
        length: samples of the scene; every event ends inside it.
        rng: where onsets come from.
        polyphony: most events sounding at once.
        same_class_overlap: whether events that share a class may overlap.
    """
    order = list(range(len(sounds)))
    best: list[int | None] = [None] * len(sounds)
    for attempt in range(ARRANGEMENTS):
        if attempt == 1:
            order.sort(key=lambda n: -sounds[n].duration)
        packed = attempt == ARRANGEMENTS - 1
        onsets = _arrange(
            sounds, order, length, None if packed else rng, polyphony, same_class_overlap
        )
        if onsets.count(None) < best.count(None) or attempt == 0:
            best = onsets
        if None not in best:
            return Arrangement(onsets=tuple(best))
    return Arrangement(
        onsets=tuple(best),
        reason=_describe(sounds, best, length, polyphony, same_class_overlap),
    )


def next_turn(
    turns: Sequence[tuple[int, int, int]], emitter: int, gap: int, *, polyphony: int
) -> int:
    """Onset of an emitter's turn after the turns so far.

    Args:
        turns: (emitter, onset, end) of the turns so far, at least one.
        emitter: who speaks next; it waits for the end of its own last turn.
        gap: from the end of the latest turn so far to the onset; negative overlaps.
        polyphony: most turns at once; the turn waits until it may sound.
    """
    ends = sorted(end for _, _, end in turns)
    onset = max(turns[-1][1], ends[-1] + gap)
    if len(ends) >= polyphony:
        onset = max(onset, ends[-polyphony])
    return max([onset, *(end for who, _, end in turns if who == emitter)])


def most_at_once(intervals: Sequence[Interval]) -> int:
    """Largest number of half-open intervals that hold one instant."""
    steps = sorted([(stop, -1) for _, stop in intervals] + [(start, 1) for start, _ in intervals])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def _arrange(
    sounds: Sequence[Sound],
    order: Sequence[int],
    length: int,
    rng: Rng | None,
    polyphony: int,
    same_class_overlap: bool,
) -> list[int | None]:
    """Place one after the other; without `rng` at the earliest allowed onset."""
    onsets: list[int | None] = [None] * len(sounds)
    placed: list[tuple[Sound, int]] = []
    for n in order:
        allowed = _allowed(sounds[n], placed, length, polyphony, same_class_overlap)
        if not allowed:
            continue
        onset = allowed[0][0] if rng is None else _draw(allowed, rng)
        onsets[n] = onset
        placed.append((sounds[n], onset))
    return onsets


def _allowed(
    sound: Sound,
    placed: Sequence[tuple[Sound, int]],
    length: int,
    polyphony: int,
    same_class_overlap: bool,
) -> list[Interval]:
    """All onsets that keep the limits, as half-open intervals."""
    blocked = _full(placed, polyphony)
    for other, onset in placed:
        end = onset + other.duration
        if other.emitter == sound.emitter:
            pause = max(sound.pause, other.pause)
            blocked.append((onset - pause, end + pause))
        elif not same_class_overlap and sound.classes & other.classes:
            blocked.append((onset, end))
    allowed = []
    at, last = 0, length - sound.duration
    for start, stop in sorted(blocked):
        # An onset s touches [start, stop) if start - duration < s < stop.
        if start - sound.duration + 1 > at:
            allowed.append((at, min(start - sound.duration, last) + 1))
        at = max(at, stop)
        if at > last:
            break
    if at <= last:
        allowed.append((at, last + 1))
    return [(start, stop) for start, stop in allowed if stop > start]


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The union of intervals, as intervals that do not touch, in order."""
    union: list[Interval] = []
    for start, stop in sorted(intervals):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(stop, union[-1][1]))
        else:
            union.append((start, stop))
    return union


def _full(placed: Sequence[tuple[Sound, int]], polyphony: int) -> list[Interval]:
    """Intervals in which `polyphony` events sound already."""
    steps = sorted(
        [(onset + sound.duration, -1) for sound, onset in placed]
        + [(onset, 1) for sound, onset in placed]
    )
    full: list[Interval] = []
    now, since = 0, 0
    for at, step in steps:
        if now >= polyphony and at > since:
            full.append((since, at))
        now += step
        since = at
    return full


def _draw(allowed: Sequence[Interval], rng: Rng) -> int:
    """A whole number from the union of intervals, each equally likely."""
    at = rng.integer(0, sum(stop - start for start, stop in allowed) - 1)
    for start, stop in allowed:
        if at < stop - start:
            return start + at
        at -= stop - start
    raise AssertionError("drawn beyond the total length")


def _describe(
    sounds: Sequence[Sound],
    onsets: Sequence[int | None],
    length: int,
    polyphony: int,
    same_class_overlap: bool,
) -> str:
    missing = [sound for sound, onset in zip(sounds, onsets, strict=True) if onset is None]
    total = sum(sound.duration for sound in sounds)
    return (
        f"{len(missing)} of {len(sounds)} events found no place: they last {total} samples in all, "
        f"the scene {length} samples at polyphony {polyphony}"
        + ("" if same_class_overlap else ", without overlap inside a class")
        + f"; the shortest left out lasts {min(sound.duration for sound in missing)} samples"
    )
