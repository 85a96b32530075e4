"""`render --dry-run`: what a plan will cost, from a few scenes rendered in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scenesynth.cli.app import counted, plural, span, table
from scenesynth.pipeline.plan import Plan
from scenesynth.pipeline.progress import format_bytes

if TYPE_CHECKING:
    from scenesynth.store.schema import Scene

CALIBRATION_S = 10.0
"""Longest time that scenes are rendered for an estimate, after the first one."""
CALIBRATION_SCENES = 8


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What was found by rendering a few scenes.

    Attributes:
        n_scenes: how many were rendered.
        scene_s: time for one of them on one core, encoding included.
        scene_bytes: compressed audio of one of them.
        pack_bytes: size of the clips that would be packed first.
        workers: processes that the time of the whole is for.
    """

    n_scenes: int
    scene_s: float
    scene_bytes: float
    pack_bytes: int
    workers: int


def estimate(plan: Plan, workers: int, announce: Callable[[str], None]) -> Estimate:
    """Render and encode a few scenes of `plan` in memory; nothing is written to its output."""
    from scenesynth.render.compile import ensure_compiled

    ensure_compiled(announce)
    seconds, sizes = [], []
    began = time.perf_counter()
    for index in range(min(CALIBRATION_SCENES + 1, plan.stop)):
        start = time.perf_counter()
        sizes.append(_render_one(plan, index))
        seconds.append(time.perf_counter() - start)
        if index and time.perf_counter() - began > CALIBRATION_S:
            break
    # The first scene loads kernels and fills caches.
    steady = seconds[1:] or seconds
    return Estimate(
        n_scenes=len(sizes),
        scene_s=sum(steady) / len(steady),
        scene_bytes=sum(sizes) / len(sizes),
        pack_bytes=_pack_bytes(plan),
        workers=workers,
    )


def _render_one(plan: Plan, index: int) -> int:
    """Compressed bytes of a scene."""
    from scenesynth.store.arrays import encode_scene, rows_of

    scene = _scene(plan, index)
    return sum(
        len(chunk)
        for array in plan.info.arrays
        for chunk in encode_scene(rows_of(scene, array), array, plan.info).chunks
    )


def _scene(plan: Plan, index: int) -> Scene:
    """Scene `index`, of the split of its shard, drawn again where a draw cannot be used."""
    from scenesynth.errors import ContentError
    from scenesynth.pipeline.formats import format_of
    from scenesynth.render.renderer import render_scene
    from scenesynth.scene.sample import ATTEMPTS, sample_scene

    for attempt in range(ATTEMPTS):
        try:
            spec = sample_scene(
                plan.recipe,
                plan.corpora,
                seed=plan.info.seed,
                index=index,
                split=plan.split_of(index // plan.info.shard_scenes),
                attempt=attempt,
            )
            formats = [format_of(stored) for stored in plan.info.formats]
            return render_scene(spec, plan.corpora, formats=formats, stems=plan.info.stem_kinds)
        except ContentError as error:
            last = error
    raise last


def _pack_bytes(plan: Plan) -> int:
    from scenesynth.corpus.packed import packed_bytes

    rate = plan.info.sample_rate
    places = {
        id(place): place for corpus in plan.corpora.values() for place in corpus.places.values()
    }
    return sum(packed_bytes(p.clips, rate) for p in places.values() if rate not in p.packs)


def report(plan: Plan, found: Estimate, as_json: bool) -> str:
    """The plan in words, or as one JSON object."""
    plain = _plain(plan, found)
    return json.dumps(plain) if as_json else _words(plan, found, plain)


def _plain(plan: Plan, found: Estimate) -> dict[str, Any]:
    return {
        "out": str(plan.root),
        "recipe": plan.recipe.name,
        "formats": list(plan.info.format_names),
        "stems": list(plan.info.stem_kinds),
        "scenes": plan.stop,
        "scenes_by_split": plan.scenes_by_split,
        "shards": plan.n_shards,
        "shard_scenes": plan.info.shard_scenes,
        "hours": round(plan.hours, 4),
        "sample_rate": plan.info.sample_rate,
        "bytes": round(plan.stop * found.scene_bytes),
        "bytes_at_most": plan.raw_bytes,
        "pack_bytes": found.pack_bytes,
        "seconds": round(plan.stop * found.scene_s / found.workers, 1),
        "workers": found.workers,
        "calibration_scenes": found.n_scenes,
        "classes": list(plan.info.classes),
        "licences": {name: dict(corpus.licences) for name, corpus in sorted(plan.corpora.items())},
    }


def _stems(plan: Plan) -> str:
    stems = plan.info.stems
    return f"{', '.join(stems.kinds)} of up to {plural(stems.slots, 'emitter')}" if stems else ""


def _words(plan: Plan, found: Estimate, plain: dict[str, Any]) -> str:
    splits = ", ".join(f"{name} {n:,}" for name, n in plain["scenes_by_split"].items())
    speed = plan.hours * 3600 / max(plain["seconds"], 1e-9)
    measured = f"measured on {plural(found.n_scenes, 'scene')} rendered in memory just now"
    rows = [
        ("output", f"{plan.root} (not touched by --dry-run)"),
        ("recipe", f"{plan.recipe.name}, seed {plan.info.seed}"),
        ("formats", f"{', '.join(plan.info.format_names)} at {plan.info.sample_rate} Hz"),
        ("stems", _stems(plan)),
        ("scenes", f"{plan.stop:,} ({splits}), {plan.hours:.3g} h of audio"),
        ("shards", f"{plain['shards']:,} of up to {plan.info.shard_scenes} scenes"),
        (
            "disk",
            f"about {format_bytes(plain['bytes'])} ({measured}); "
            f"at most {format_bytes(plan.raw_bytes)}",
        ),
        (
            "packing",
            f"up to {format_bytes(found.pack_bytes)} of clips in the cache, once"
            if found.pack_bytes
            else "nothing left to pack",
        ),
        (
            "time",
            f"about {span(plain['seconds'])} with {plural(found.workers, 'worker')}, "
            f"{speed:.0f}x real time ({measured})",
        ),
        (
            "classes",
            f"{len(plan.info.classes)}: {', '.join(plan.info.classes[:12])}"
            + (" ..." if len(plan.info.classes) > 12 else ""),
        ),
    ]
    rows += [
        (
            f"{name}",
            f"{plural(len(corpus.clips), 'clip')}; licences: {counted(dict(corpus.licences))}",
        )
        for name, corpus in sorted(plan.corpora.items())
    ]
    return table(rows)
