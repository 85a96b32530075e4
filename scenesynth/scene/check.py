"""Try a recipe out: draw some scenes with stand-in clips and say what comes of it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scenesynth.corpus.clips import Clip
from scenesynth.corpus.pools import Pool, split_names
from scenesynth.distributions import Draws
from scenesynth.errors import ContentError
from scenesynth.scene.geometry import to_listener
from scenesynth.scene.motion import Path, angles_rad, lengths
from scenesynth.scene.recipe_records import Layer, Recipe
from scenesynth.scene.sample import sample_scene_with_redraw, scene_count
from scenesynth.scene.spec import Keyframe, SceneSpec
from scenesynth.scene.splits import split_heads
from scenesynth.scene.timeline import most_at_once
from scenesynth.seeds import name_id

STAND_IN_LABELS: Final = tuple(f"class{n:02d}" for n in range(12))
_CLIPS_PER_LABEL: Final = 40
_CLIPS_PER_GROUP: Final = 4
_RATE: Final = 16000


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What drawing scenes of a recipe gave.

    Attributes:
        n_scenes: scenes asked for.
        n_redrawn: those that needed more than one draw.
        dropped, requested: scattered events left out, of those drawn.
        failures: scenes for which no draw worked out, by number, with the reason.
        ranges: smallest, median and largest value of every quantity.
        notes: what else there is to say, a line each.
    """

    n_scenes: int
    n_redrawn: int
    dropped: int
    requested: int
    failures: tuple[tuple[int, str], ...]
    ranges: Mapping[str, tuple[float, float, float]]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every scene could be drawn."""
        return not self.failures

    def __str__(self) -> str:
        lines = [f"{self.n_scenes} scenes drawn, {self.n_redrawn} of them more than once"]
        if self.dropped:
            lines.append(f"{self.dropped} of {self.requested} scattered events found no place")
        width = max([24, *map(len, self.ranges)])
        lines += [
            f"  {name:<{width}} {low:>9.4g}  ..  median {median:.4g}  ..  {high:.4g}"
            for name, (low, median, high) in self.ranges.items()
        ]
        lines += self.notes
        lines += [f"scene {index}: {reason}" for index, reason in self.failures[:5]]
        if len(self.failures) > 5:
            lines.append(f"... and {len(self.failures) - 5} more scenes that cannot be drawn")
        return "\n".join(lines)


class StandIn:
    """A corpus of clips that exist as numbers only."""

    def __init__(self, labels: tuple[str, ...], *, long: bool) -> None:
        self._clips = tuple(_stand_in_clips(labels or STAND_IN_LABELS, long))
        self._pools: dict[tuple[str, tuple[tuple[str, float], ...]], Pool] = {}

    def pool(self, split: str, shares: Mapping[str, float]) -> Pool:
        """Clips of a split."""
        key = (split, tuple(shares.items()))
        if key not in self._pools:
            pairs = zip(self._clips, split_names(self._clips, shares), strict=True)
            self._pools[key] = Pool([clip for clip, name in pairs if name == split])
        return self._pools[key]


def stand_in_corpora(recipe: Recipe) -> dict[str, StandIn]:
    """A stand-in for every corpus that the recipe names, with the labels it asks for."""
    found: dict[str, StandIn] = {}
    for short in (recipe.targets, recipe.interferers):
        if short is not None:
            found.setdefault(short.corpus, StandIn(_labels(recipe, short.corpus), long=False))
    if recipe.noise is not None:
        for layer in (recipe.noise, recipe.noise.diffuse):
            if layer is not None:
                found.setdefault(layer.corpus, StandIn(_labels(recipe, layer.corpus), long=True))
    return found


def check(recipe: Recipe, *, n_scenes: int = 200, seed: int = 0) -> Check:
    """Draw scenes of the recipe's first split with stand-in clips.

    Raises:
        ConfigError: the recipe cannot work at all (a T60 out of reach, say).
    """
    heads = _heads(recipe)
    split = next(iter(recipe.splits.named))
    corpora = stand_in_corpora(recipe)
    limit = scene_count(recipe, corpora, split)
    n_scenes = n_scenes if limit is None else min(n_scenes, limit)
    values: dict[str, list[float]] = {}
    failures: list[tuple[int, str]] = []
    tally: Counter[str] = Counter()
    for index in range(n_scenes):
        try:
            spec, draws = sample_scene_with_redraw(
                recipe, corpora, seed=seed, index=index, split=split
            )
        except ContentError as error:
            failures.append((index, str(error)))
            continue
        tally["redrawn"] += draws > 1
        tally["diffuse"] += bool(spec.diffuse)
        wanted, got = _scattered(recipe, spec)
        tally["requested"] += wanted
        tally["dropped"] += wanted - got
        for name, value in _quantities(spec):
            values.setdefault(name, []).append(value)
    return Check(
        n_scenes=n_scenes,
        n_redrawn=tally["redrawn"],
        dropped=tally["dropped"],
        requested=tally["requested"],
        failures=tuple(failures),
        ranges={
            name: (min(found), statistics.median(found), max(found))
            for name, found in values.items()
        },
        notes=(*_diffuse(recipe, tally["diffuse"]), *heads),
    )


def _diffuse(recipe: Recipe, n_scenes: int) -> Iterator[str]:
    """In how many scenes there is diffuse noise."""
    if recipe.noise is not None and recipe.noise.diffuse is not None:
        yield f"diffuse noise in {n_scenes} of them"


def _heads(recipe: Recipe) -> tuple[str, ...]:
    """Which heads each split has."""
    pools = {split: split_heads(recipe, split) for split in recipe.splits.named}
    return tuple(
        f"heads of {split}: {', '.join(head.id for head in pool)}"
        for split, pool in pools.items()
        if pool
    )


def _labels(recipe: Recipe, corpus: str) -> tuple[str, ...]:
    """All labels that any layer asks of a corpus."""
    diffuse = recipe.noise and recipe.noise.diffuse
    layers = (recipe.targets, recipe.interferers, recipe.noise, diffuse)
    asked = [
        label for layer in layers if layer and layer.corpus == corpus for label in layer.labels
    ]
    return tuple(dict.fromkeys(asked))


def _stand_in_clips(labels: tuple[str, ...], long: bool) -> Iterator[Clip]:
    """Clips of 0.3 to 12 s (evenly in the logarithm), or of 30 s."""
    for label in labels:
        for n in range(_CLIPS_PER_LABEL):
            seconds = 30.0 if long else 0.3 * 40 ** ((n * 17 % _CLIPS_PER_LABEL) / _CLIPS_PER_LABEL)
            clip_id = f"{label}/{n:03d}"
            digest = f"{name_id(clip_id):016x}" * 2
            yield Clip(
                id=clip_id,
                path="",
                labels=(label,),
                split=None,
                group=f"{label}/group{n // _CLIPS_PER_GROUP}",
                fold="",
                licence="",
                attribution="",
                url="",
                caption="",
                sample_rate=_RATE,
                channels=1,
                n_frames=round(seconds * _RATE),
                digest=digest,
                file_digest=digest,
                peak=0.9,
                rms=0.1,
                active_start_s=0.0,
                active_end_s=seconds,
            )


def _scattered(recipe: Recipe, spec: SceneSpec) -> tuple[int, int]:
    """Scattered events that were drawn and those that found a place."""
    wanted = got = 0
    draws = Draws(
        seed=spec.origin.seed,
        split=spec.origin.split,
        index=spec.origin.index,
        attempt=spec.origin.attempt,
    )
    layers: tuple[tuple[str, Layer | None], ...] = (
        ("target", recipe.targets),
        ("interferer", recipe.interferers),
    )
    for role, layer in layers:
        if layer is None or layer.schedule.order != "scattered":
            continue
        n = draws.count(layer.emitters, f"{role}.emitters")
        wanted += sum(draws.count(layer.events, f"{role}.events", k) for k in range(n))
        got += sum(e.role == role for emitter in spec.emitters for e in emitter.events)
    return wanted, got


def _quantities(spec: SceneSpec) -> Iterator[tuple[str, float]]:
    """Names and values of what a scene holds, each emitter's on its own."""
    yield "duration_s", spec.duration_s
    for axis, size in zip(("length", "width", "height"), spec.room.size_m, strict=True):
        yield f"room {axis}_m", size
    if spec.room.rt60_s is not None:
        yield "rt60_s asked, lowest", min(spec.room.rt60_s)
        yield "rt60_s asked, highest", max(spec.room.rt60_s)
    yield "response_s", spec.response_s
    roles = Counter(emitter.events[0].role for emitter in spec.emitters)
    for role in ("target", "interferer", "noise"):
        yield f"{role} emitters", roles[role]
    if spec.snr_db is not None:
        yield "snr_db", spec.snr_db
    for item in spec.diffuse:
        if item.ratio_db is not None:
            yield "diffuse ratio_db", item.ratio_db
    if spec.sir_db is not None:
        yield "sir_db", spec.sir_db
    if len(spec.listener) > 1:
        path = Path.of(spec.listener)
        yield "listener way_m", float(lengths(np.diff(path.position_m, axis=0)).sum())
        fronts = path.rotations(path.time_s)[:, :, 0]
        rates = angles_rad(fronts[:-1], fronts[1:]) / np.diff(path.time_s)
        yield "listener turn, highest deg/s", float(np.degrees(rates.max()))
    spans = []
    for emitter in spec.emitters:
        role = emitter.events[0].role
        azimuth, elevation, distance = to_listener(
            emitter.keyframes[0].position_m, spec.listener[0]
        )
        yield f"{role} azimuth_deg", azimuth
        yield f"{role} elevation_deg", elevation
        yield f"{role} distance_m", distance
        if len(emitter.keyframes) > 1:
            yield from _motion(f"{role} that moves", emitter.keyframes, spec.listener[0])
        for event in emitter.events:
            if role != "noise":
                yield f"{role} event_s", event.duration_s
                spans.append((event.onset_s, event.onset_s + event.duration_s))
    rate = spec.sample_rate
    yield "polyphony", most_at_once([(round(a * rate), round(b * rate)) for a, b in spans])


def _motion(
    what: str, keyframes: Sequence[Keyframe], listener: Keyframe
) -> Iterator[tuple[str, float]]:
    """Length and highest speeds of a path; directions as seen from the listener's first place."""
    path = Path.of(keyframes)
    # Positions are rounded to 1e-6 m, which is no speed to speak of after a millisecond.
    lasts_s = np.maximum(np.diff(path.time_s), 1e-3)
    legs_m = lengths(np.diff(path.position_m, axis=0))
    away = path.position_m - np.array(listener.position_m)
    turned_rad = angles_rad(away[:-1], away[1:])
    yield f"{what}, way_m", float(legs_m.sum())
    yield f"{what}, highest m/s", float((legs_m / lasts_s).max())
    yield f"{what}, highest deg/s", float(np.degrees((turned_rad / lasts_s).max()))
