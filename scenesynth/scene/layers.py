"""Emitters and their events: which clip, which part of it, how loud, when, from where."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from scenesynth.corpus.clips import Clip
from scenesynth.corpus.pools import Pool
from scenesynth.distributions import Draws, Number
from scenesynth.errors import ClipError, ConfigError, ContentError, PlacementError
from scenesynth.room.model import Room, Vector
from scenesynth.scene.placement import DrawnTable, place_emitter
from scenesynth.scene.recipe_records import MOST_EVENTS, Layer, Noise
from scenesynth.scene.spec import ClipRef, Emitter, Event, Keyframe, Role
from scenesynth.scene.timeline import Sound, next_turn, scatter

CUT_FADE_S: Final = 0.005
"""Fade where a crop cuts into a clip, against clicks."""

LEAST_LAG_S: Final = 0.5
"""Two segments of one noise clip count as independent if shifted by this much: far beyond the
correlation of a noise bed and the early reflections that an ear would fuse."""

SEGMENT_TRIES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the emitters of one scene have in common."""

    draws: Draws
    room: Room
    listener: Keyframe
    table: DrawnTable | None
    sample_rate: int
    n_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a clip, in samples at the scene's rate."""

    clip: Clip
    start: int
    length: int


def sample_layer(
    role: Role,
    layer: Layer,
    pool: Pool,
    stage: Stage,
    occupied: Sequence[Vector],
    taken: Collection[str],
    given: Clip | None = None,
) -> tuple[Emitter, ...]:
    """Emitters of the targets or interferers.

    Args:
        role: "target" or "interferer"; also the prefix of their streams.
        pool: clips of the split.
        occupied: positions of emitters placed before.
        taken: groups that play already, avoided as long as others are left.
        given: the clip to play, where the recipe does not draw it.

    Raises:
        ContentError: clips or places that do not work out; the scene is to be drawn again.
        ConfigError: the recipe wants an error where the scene is too full.
    """
    n = stage.draws.count(layer.emitters, f"{role}.emitters")
    cast = _Cast(role, layer, pool, stage, taken, given)
    if layer.schedule.order == "turns":
        placed = _turns(layer, cast, n)
    else:
        parts = _parts_of_all(layer, cast, n)
        onsets = _onsets(role, layer, stage, parts)
        placed = [
            (slot, part, onset)
            for (slot, part), onset in zip(parts, onsets, strict=True)
            if onset is not None
        ]
    positions = _place_all(role, n, layer, stage, occupied)
    emitters = []
    for k in range(n):
        mine = [item for item in placed if item[0] // MOST_EVENTS == k]
        if not mine:
            continue
        events = tuple(
            make_event(
                role,
                layer.corpus,
                part,
                onset,
                _level(layer.level_dbfs, role, stage, slot),
                layer.fade_s,
                stage.sample_rate,
            )
            for slot, part, onset in sorted(mine, key=lambda item: item[2])
        )
        emitters.append(_emitter(role, k, positions[k], events))
    if n and not emitters:
        raise PlacementError(f"{role}: none of the events of {n} emitters found a place in time")
    return tuple(emitters)


def sample_noise(
    noise: Noise, pool: Pool, stage: Stage, occupied: Sequence[Vector]
) -> tuple[Emitter, ...]:
    """Noise emitters: independent clips or segments, or one segment on all (`coherent`).

    Raises:
        ContentError: too few or too short clips for independent segments, or no place.
    """
    n = stage.draws.count(noise.emitters, "noise.emitters")
    segments: list[tuple[Part, int]] = []
    emitters: list[Emitter] = []
    for k in range(n):
        if noise.coherent and segments:
            segments.append(segments[0])
        else:
            segments.append(_segment(noise, pool, stage, k, segments))
        part, onset = segments[k]
        level = _level(noise.level_dbfs, "noise", stage, 0 if noise.coherent else k)
        event = make_event(
            "noise", noise.corpus, part, onset, level, noise.fade_s, stage.sample_rate
        )
        position = place_emitter(
            f"noise{k}",
            noise.placement,
            stage.room,
            stage.listener,
            [*occupied, *(emitter.keyframes[0].position_m for emitter in emitters)],
            stage.table,
            stage.draws.rng("noise.position", k),
        )
        emitters.append(_emitter("noise", k, position, (event,)))
    return tuple(emitters)


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
        clip=_reference(corpus, clip),
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


class _Cast:
    """Picks the clips of a layer's emitters, event by event."""

    def __init__(
        self,
        role: Role,
        layer: Layer,
        pool: Pool,
        stage: Stage,
        taken: Collection[str],
        given: Clip | None,
    ) -> None:
        self._role, self._layer, self._pool, self._stage = role, layer, pool, stage
        self._taken = set(taken)
        self._given = given
        self._first: dict[int, Clip] = {}

    def part(self, emitter: int, event: int) -> Part:
        """The part of a clip that an event plays, cropped to the longest event allowed."""
        slot = emitter * MOST_EVENTS + event
        draws, rate = self._stage.draws, self._stage.sample_rate
        clip = self._given or self._clip(emitter, draws.rng(f"{self._role}.clip", slot).word())
        longest = self._stage.n_samples
        if self._layer.event_s is not None:
            event_s = draws.number(self._layer.event_s, f"{self._role}.event", slot)
            longest = min(longest, max(1, round(event_s * rate)))
        return _crop(clip, longest, rate, draws, f"{self._role}.crop", slot)

    def _clip(self, emitter: int, word: int) -> Clip:
        if emitter in self._first:
            return self._again(self._first[emitter], word)
        labels = self._layer.labels or None
        try:
            clip = self._pool.pick(word, labels=labels, exclude_groups=self._taken)
        except ContentError:
            if self._layer.same_group:  # two emitters with one voice are no two talkers
                raise
            clip = self._pool.pick(word, labels=labels)
        self._first[emitter] = clip
        self._taken.add(clip.group)
        return clip

    def _again(self, first: Clip, word: int) -> Clip:
        """Another clip of the same emitter: of its group, or else of its class."""
        if self._layer.same_group:
            return _group_pool(self._pool, first.group).pick(word)
        return self._pool.pick(word, labels=first.labels[:1] or None)


@lru_cache(maxsize=4096)
def _group_pool(pool: Pool, group: str) -> Pool:
    clips = [clip for clip in pool.ordered() if clip.group == group]
    return Pool(clips, name=f"group {group}")


def _parts_of_all(layer: Layer, cast: _Cast, n: int) -> list[tuple[int, Part]]:
    """(slot, part) of all events that do not take turns."""
    draws, role = cast._stage.draws, cast._role
    return [
        (k * MOST_EVENTS + event, cast.part(k, event))
        for k in range(n)
        for event in range(draws.count(layer.events, f"{role}.events", k))
    ]


def _onsets(
    role: Role, layer: Layer, stage: Stage, parts: Sequence[tuple[int, Part]]
) -> Sequence[int | None]:
    """Onsets of the parts by the layer's schedule."""
    schedule = layer.schedule
    if schedule.order == "start":
        return [0] * len(parts)
    sounds = [
        Sound(
            duration=part.length,
            emitter=slot // MOST_EVENTS,
            classes=frozenset(part.clip.labels),
            pause=round(
                stage.draws.number(schedule.gap_s, f"{role}.gap", slot) * stage.sample_rate
            ),
        )
        for slot, part in parts
    ]
    arranged = scatter(
        sounds,
        stage.n_samples,
        stage.draws.rng(f"{role}.onset"),
        polyphony=schedule.polyphony,
        same_class_overlap=schedule.same_class_overlap,
    )
    if arranged.missing and schedule.on_full != "drop":
        kind = PlacementError if schedule.on_full == "redraw" else ConfigError
        raise kind(
            f"{role}: {arranged.reason}. Ask for fewer or shorter events, raise "
            f"schedule.polyphony, or let schedule.on_full: drop leave some out"
        )
    return arranged.onsets


def _turns(layer: Layer, cast: _Cast, n: int) -> list[tuple[int, Part, int]]:
    """(slot, part, onset) of as many turns as end inside the scene; all speak once, then anyone.

    Nobody follows himself where there are others.
    """
    stage, role, schedule = cast._stage, cast._role, layer.schedule
    who_next = stage.draws.rng(f"{role}.turns")
    placed: list[tuple[int, Part, int]] = []
    turns: list[tuple[int, int, int]] = []
    spoken = [0] * n
    for turn in range(MOST_EVENTS if n else 0):
        who = turn if turn < n else 0
        if turn >= n > 1:
            who = (turns[-1][0] + who_next.integer(1, n - 1)) % n
        part = cast.part(who, spoken[who])
        gap_s = stage.draws.number(schedule.gap_s, f"{role}.gap", turn)
        gap = round(gap_s * stage.sample_rate)
        if turns:
            onset = next_turn(turns, who, gap, polyphony=schedule.polyphony)
        else:
            onset = min(max(gap, 0), stage.n_samples - part.length)
        if onset + part.length > stage.n_samples:
            break
        placed.append((who * MOST_EVENTS + spoken[who], part, onset))
        turns.append((who, onset, onset + part.length))
        spoken[who] += 1
    return placed


def _place_all(
    role: Role, n: int, layer: Layer, stage: Stage, occupied: Sequence[Vector]
) -> list[Vector]:
    positions: list[Vector] = []
    for k in range(n):
        position = place_emitter(
            f"{role}{k}",
            layer.placement,
            stage.room,
            stage.listener,
            [*occupied, *positions],
            stage.table,
            stage.draws.rng(f"{role}.position", k),
        )
        positions.append(position)
    return positions


def _segment(
    noise: Noise, pool: Pool, stage: Stage, k: int, before: Sequence[tuple[Part, int]]
) -> tuple[Part, int]:
    """A part of a noise clip and its onset, independent of the segments before it."""
    word = stage.draws.rng("noise.clip", k).word()
    labels = noise.labels or None
    used = {part.clip.group for part, _ in before}
    try:
        clip = pool.pick(word, labels=labels, exclude_groups=used)
    except ContentError:
        if not used:
            raise
        clip = pool.pick(word, labels=labels)
    lags = [onset - part.start for part, onset in before if part.clip.digest == clip.digest]
    least = round(LEAST_LAG_S * stage.sample_rate)
    for attempt in range(SEGMENT_TRIES):
        slot = k * SEGMENT_TRIES + attempt
        part = _crop(clip, stage.n_samples, stage.sample_rate, stage.draws, "noise.crop", slot)
        free = stage.n_samples - part.length
        onset = stage.draws.rng("noise.onset", slot).integer(0, free) if free else 0
        if all(abs(onset - part.start - lag) >= least for lag in lags):
            return part, onset
    raise ContentError(
        f"noise{k}: clip {clip.id} ({clip.duration_s:g} s) holds no further segment that is "
        f"shifted by {LEAST_LAG_S} s from the {len(lags)} in use; give more or longer noise clips, "
        f"or ask for fewer noise emitters"
    )


def _crop(clip: Clip, longest: int, sample_rate: int, draws: Draws, stream: str, slot: int) -> Part:
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


def _level(level_dbfs: Number, role: Role, stage: Stage, slot: int) -> float:
    return stage.draws.number(level_dbfs, f"{role}.level", slot)


def _emitter(role: Role, k: int, position: Vector, events: tuple[Event, ...]) -> Emitter:
    groups = {event.clip.group for event in events}
    return Emitter(
        id=f"{role}{k}",
        group=groups.pop() if len(groups) == 1 else "",
        keyframes=(Keyframe(position_m=position),),
        events=events,
    )


def _reference(corpus: str, clip: Clip) -> ClipRef:
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
