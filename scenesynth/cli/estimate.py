"""`render --dry-run`: what a plan will cost, from a few scenes rendered in memory."""

from __future__ import annotations

import json
import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scenesynth.cli.app import counted, plural, span, table
from scenesynth.pipeline.plan import Plan
from scenesynth.pipeline.progress import format_bytes

if TYPE_CHECKING:
    from scenesynth.store.schema import Scene

CALIBRATION_S = 10.0
"""Longest time that scenes are rendered for an estimate, after the first one."""
CALIBRATION_SCENES = 24


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What was found by rendering a few scenes.

    Attributes:
        n_scenes: how many were rendered.
        scene_s: mean time for one of them on one core, encoding included.
        spread: standard error of that mean, relative to it.
        scene_bytes: compressed audio of one of them.
        pack_bytes: size of the clips that would be packed first.
        workers: processes that the time of the whole is for.
    """

    n_scenes: int
    scene_s: float
    spread: float
    scene_bytes: float
    pack_bytes: int
    workers: int


@dataclass(frozen=True, kw_only=True)
class NodePrice:
    """What a machine of so many cores costs per hour."""

    per_hour: float
    cores: int


def parse_price(text: str) -> NodePrice:
    """A price such as "1.43" or "1.43/32".

    Raises:
        UsageError: it is none.
    """
    from scenesynth.corpus.threads import available_cores

    match = re.fullmatch(r"([0-9]*\.?[0-9]+)(?:/([1-9][0-9]*))?", text.strip())
    if match is None:
        raise click.UsageError(
            f"--node-price {text}: must be a price per hour, or PRICE/CORES, such as 1.43/32"
        )
    return NodePrice(per_hour=float(match[1]), cores=int(match[2] or available_cores()))


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
        scene_s=statistics.fmean(steady),
        spread=_standard_error(steady) / statistics.fmean(steady),
        scene_bytes=sum(sizes) / len(sizes),
        pack_bytes=_pack_bytes(plan),
        workers=workers,
    )


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


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


def report(plan: Plan, found: Estimate, as_json: bool, price: NodePrice | None = None) -> str:
    """The plan in words, or as one JSON object."""
    plain = _plain(plan, found, price)
    return json.dumps(plain) if as_json else _words(plan, found, plain, price)


def _plain(plan: Plan, found: Estimate, price: NodePrice | None) -> dict[str, Any]:
    # The last worker to end renders whole shards.
    busiest = min(-(-plan.n_shards // found.workers) * plan.info.shard_scenes, plan.stop)
    core_hours = plan.stop * found.scene_s / 3600
    node_hours = core_hours / price.cores if price else 0.0
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
        "seconds": round(busiest * found.scene_s, 1),
        "spread": round(found.spread, 3),
        "core_hours": round(core_hours, 4),
        **({"node_hours": node_hours, "cost": node_hours * price.per_hour} if price else {}),
        "workers": found.workers,
        "calibration_scenes": found.n_scenes,
        "classes": list(plan.info.classes),
        "licences": {name: dict(corpus.licences) for name, corpus in sorted(plan.corpora.items())},
    }


def _stems(plan: Plan) -> str:
    stems = plan.info.stems
    return f"{', '.join(stems.kinds)} of up to {plural(stems.slots, 'emitter')}" if stems else ""


def _hours(hours: float) -> str:
    return f"{hours:,.0f} h" if hours >= 100 else f"{hours:.3g} h"


def _words(plan: Plan, found: Estimate, plain: dict[str, Any], price: NodePrice | None) -> str:
    splits = ", ".join(f"{name} {n:,}" for name, n in plain["scenes_by_split"].items())
    speed = plan.hours * 3600 / max(plain["seconds"], 1e-9)
    low, high = (span(plain["seconds"] * max(1 + k * found.spread, 0.1)) for k in (-2, 2))
    measured = f"measured on {plural(found.n_scenes, 'scene')} rendered in memory just now"
    rows = [
        ("output", f"{plan.root} (not touched by --dry-run)"),
        ("recipe", f"{plan.recipe.name}, seed {plan.info.seed}"),
        ("formats", f"{', '.join(plan.info.format_names)} at {plan.info.sample_rate} Hz"),
        ("stems", _stems(plan)),
        ("scenes", f"{plan.stop:,} ({splits}), {_hours(plan.hours)} of audio"),
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
            f"about {span(plain['seconds'])} ({low} to {high}) with "
            f"{plural(found.workers, 'worker')}, {speed:.0f}x real time ({measured}, of one core "
            f"each while others are idle); starting and packing come on top",
        ),
        (
            "cost",
            f"about {plain['cost']:.3g}: {plain['node_hours']:.3g} hours of a machine of "
            f"{plural(price.cores, 'core')}, if they are as fast as here"
            if price
            else "",
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
