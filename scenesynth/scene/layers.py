"""Emitters of a scene and their events: which clip, how loud, when, from where."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from scenesynth.corpus.clips import Clip
from scenesynth.corpus.pools import Pool
from scenesynth.distributions import Draws, Number
from scenesynth.errors import ConfigError, ContentError, PlacementError
from scenesynth.room.model import Room, Vector
from scenesynth.scene.geometry import azimuth_elevation, wrap_azimuth
from scenesynth.scene.grid import Grid
from scenesynth.scene.parts import Part, crop, make_event
from scenesynth.scene.placement import DrawnTable
from scenesynth.scene.recipe_records import MOST_EVENTS, Facing, Layer, Noise
from scenesynth.scene.spec import Directivity, Emitter, Event, Keyframe, Role
from scenesynth.scene.timeline import Sound, merged, next_turn, scatter
from scenesynth.scene.trajectories import Look, Scenery, draw_pace, settle

LEAST_LAG_S: Final = 0.5
"""Two segments of one noise clip count as independent if shifted by this much: far beyond the
correlation of a noise bed and the early reflections that an ear would fuse."""

SEGMENT_TRIES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the emitters of one scene have in common.

    Attributes:
        listener: keyframes; emitters are placed about the first.
    """

    draws: Draws
    room: Room
    listener: tuple[Keyframe, ...]
    table: DrawnTable | None
    sample_rate: int
    n_samples: int
    grid: Grid | None = None


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
    each = [[item for item in placed if item[0] // MOST_EVENTS == k] for k in range(n)]
    sounding = [[(onset, onset + part.length) for _, part, onset in mine] for mine in each]
    paths = _place_all(role, layer, stage, occupied, sounding)
    emitters = []
    for k, mine in enumerate(each):
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
        emitters.append(_emitter(role, k, layer, paths[k], events, stage))
    if n and not emitters:
        raise PlacementError(f"{role}: none of the events of {n} emitters found a place in time")
    return tuple(emitters)


def sample_noise(
    noise: Noise, pool: Pool, stage: Stage, others: Sequence[Emitter]
) -> tuple[Emitter, ...]:
    """Noise emitters: independent clips or segments, or one segment on all (`coherent`).

    Args:
        others: the targets and interferers, whose places and clips are avoided.

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
            segments.append(_segment(noise, pool, stage, k, segments, others))
        part, onset = segments[k]
        level = _level(noise.level_dbfs, "noise", stage, 0 if noise.coherent else k)
        event = make_event(
            "noise", noise.corpus, part, onset, level, noise.fade_s, stage.sample_rate
        )
        taken = [emitter.keyframes[0].position_m for emitter in (*others, *emitters)]
        path = _place("noise", k, noise, stage, taken, [(onset, onset + part.length)])
        emitters.append(_emitter("noise", k, noise, path, (event,), stage))
    return tuple(emitters)


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
        self.role, self.layer, self.pool, self.stage = role, layer, pool, stage
        self._taken = set(taken)
        self._given = given
        self._first: dict[int, Clip] = {}

    def part(self, emitter: int, event: int) -> Part:
        """The part of a clip that an event plays, cropped to the longest event allowed."""
        slot = emitter * MOST_EVENTS + event
        draws, rate = self.stage.draws, self.stage.sample_rate
        clip = self._given or self._clip(emitter, draws.rng(f"{self.role}.clip", slot).word())
        longest = self.stage.n_samples
        if self.layer.event_s is not None:
            event_s = draws.number(self.layer.event_s, f"{self.role}.event", slot)
            longest = min(longest, max(1, round(event_s * rate)))
        return crop(clip, longest, rate, draws, f"{self.role}.crop", slot)

    def _clip(self, emitter: int, word: int) -> Clip:
        if emitter in self._first:
            return self._again(self._first[emitter], word)
        labels = self.layer.labels or None
        try:
            clip = self.pool.pick(word, labels=labels, exclude_groups=self._taken)
        except ContentError:
            if self.layer.same_group:  # two emitters with one voice are no two talkers
                raise
            clip = self.pool.pick(word, labels=labels)
        self._first[emitter] = clip
        self._taken.add(clip.group)
        return clip

    def _again(self, first: Clip, word: int) -> Clip:
        """Another clip of the same emitter: of its group, or else of its class."""
        if self.layer.same_group:
            return _group_pool(self.pool, first.group).pick(word)
        return self.pool.pick(word, labels=first.labels[:1] or None)


@lru_cache(maxsize=4096)
def _group_pool(pool: Pool, group: str) -> Pool:
    clips = [clip for clip in pool.ordered() if clip.group == group]
    return Pool(clips, name=f"group {group}")


def _parts_of_all(layer: Layer, cast: _Cast, n: int) -> list[tuple[int, Part]]:
    """(slot, part) of all events that do not take turns."""
    draws, role = cast.stage.draws, cast.role
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
    stage, role, schedule = cast.stage, cast.role, layer.schedule
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
    role: Role,
    layer: Layer,
    stage: Stage,
    occupied: Sequence[Vector],
    sounding: Sequence[Sequence[tuple[int, int]]],
) -> list[tuple[Keyframe, ...]]:
    """Keyframes of every emitter; `sounding` are the samples between which its events last."""
    paths: list[tuple[Keyframe, ...]] = []
    for k, spans in enumerate(sounding):
        taken = [*occupied, *(path[0].position_m for path in paths)]
        paths.append(_place(role, k, layer, stage, taken, spans))
    return paths


def _place(
    role: Role,
    k: int,
    layer: Layer | Noise,
    stage: Stage,
    taken: Sequence[Vector],
    sounding: Sequence[tuple[int, int]],
) -> tuple[Keyframe, ...]:
    motion = layer.motion
    pace = draw_pace(motion, stage.draws, role, k) if motion is not None and sounding else None
    spans = [(0, stage.n_samples)]
    if motion is not None and motion.when == "events":
        spans = merged(sounding)
    scenery = Scenery(
        room=stage.room,
        listener=stage.listener,
        spans=tuple((a / stage.sample_rate, b / stage.sample_rate) for a, b in spans),
        table=stage.table,
        grid=stage.grid,
    )
    return settle(
        f"{role}{k}",
        layer.placement,
        pace,
        motion.tries if motion is not None and pace is not None else layer.placement.tries,
        scenery,
        taken,
        _look(role, k, layer.facing, stage),
        layer.facing.towards == "path",
        stage.draws.rng(f"{role}.position", k),
    )


def _segment(
    noise: Noise,
    pool: Pool,
    stage: Stage,
    k: int,
    before: Sequence[tuple[Part, int]],
    others: Sequence[Emitter],
) -> tuple[Part, int]:
    """A part of a noise clip and its onset, independent of the segments before it and of `others`.

    Another part of a noise clip in use comes before a clip that a target plays.
    """
    rate = stage.sample_rate
    heard = [event for emitter in others for event in emitter.events]
    clip = noise_clip(
        pool,
        stage.draws.rng("noise.clip", k).word(),
        noise.labels or None,
        used={part.clip.group for part, _ in before},
        heard={event.clip.group for event in heard},
    )
    lags = [onset - part.start for part, onset in before if part.clip.digest == clip.digest]
    lags += [round((e.onset_s - e.start_s) * rate) for e in heard if e.clip.digest == clip.digest]
    least = round(LEAST_LAG_S * stage.sample_rate)
    for attempt in range(SEGMENT_TRIES):
        slot = k * SEGMENT_TRIES + attempt
        part = crop(clip, stage.n_samples, stage.sample_rate, stage.draws, "noise.crop", slot)
        free = stage.n_samples - part.length
        onset = stage.draws.rng("noise.onset", slot).integer(0, free) if free else 0
        if all(abs(onset - part.start - lag) >= least for lag in lags):
            return part, onset
    raise ContentError(
        f"noise{k}: clip {clip.id} ({clip.duration_s:g} s) holds no further segment that is "
        f"shifted by {LEAST_LAG_S} s from the {len(lags)} in use; give more or longer noise clips, "
        f"or ask for fewer noise emitters"
    )


def noise_clip(
    pool: Pool, word: int, labels: tuple[str, ...] | None, *, used: set[str], heard: set[str]
) -> Clip:
    """A clip of a group that is neither in use as noise nor heard as a target, if there is one."""
    for avoided in (used | heard, heard):
        try:
            return pool.pick(word, labels=labels, exclude_groups=avoided)
        except ContentError:
            if not avoided:
                raise
    return pool.pick(word, labels=labels)


def _level(level_dbfs: Number, role: Role, stage: Stage, slot: int) -> float:
    return stage.draws.number(level_dbfs, f"{role}.level", slot)


def _emitter(
    role: Role,
    k: int,
    layer: Layer | Noise,
    path: tuple[Keyframe, ...],
    events: tuple[Event, ...],
    stage: Stage,
) -> Emitter:
    groups = {event.clip.group for event in events}
    name = stage.draws.name(layer.directivity, f"{role}.directivity", k)
    return Emitter(
        id=f"{role}{k}",
        group=groups.pop() if len(groups) == 1 else "",
        directivity=cast(Directivity, name),
        keyframes=path,
        events=events,
    )


def _look(role: Role, k: int, facing: Facing, stage: Stage) -> Look:
    """Yaw and pitch of an emitter in degrees, where it is and goes."""
    off_deg = stage.draws.number(facing.yaw_deg, f"{role}.yaw", k)
    up_deg = stage.draws.number(facing.pitch_deg, f"{role}.pitch", k)

    def look(position: Vector, heading: Vector | None) -> tuple[float, float]:
        yaw_deg, pitch_deg = off_deg, up_deg
        if facing.towards != "room":
            ear = stage.listener[0].position_m
            x, y, z = heading or (a - b for a, b in zip(ear, position, strict=True))
            azimuth_deg, elevation_deg = azimuth_elevation((x, y, z))
            yaw_deg, pitch_deg = azimuth_deg + yaw_deg, elevation_deg + pitch_deg
        return round(wrap_azimuth(yaw_deg), 6), round(pitch_deg, 6)

    return look
