"""What a dataset is made of: clips and how often they are played, durations, licences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenesynth.audit.findings import counted, some
from scenesynth.audit.reading import Columns
from scenesynth.audit.records import Check


def licence_check(columns: Columns, corpora: Mapping[str, Any], of: int) -> Check:
    """The licences of what is played, by share of the events."""
    events = columns.events
    played = events.filter(pc.is_valid(events["clip"]))
    names = pc.fill_null(pc.cast(played["licence"], pa.string()), "")
    counts = {
        pair["values"] or "": int(pair["counts"]) for pair in pc.value_counts(names).to_pylist()
    }
    total = sum(counts.values())
    unknown = counts.pop("", 0)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = some(f"{name} {_percent(n, total)}" for name, n in ordered)
    if unknown:
        told += ("; " if told else "") + f"not stated {_percent(unknown, total)}"
    return Check(
        name="licences",
        title="Which licences do the clips have?",
        status="noted" if total else "skipped",
        summary=told if total else "no clip is played",
        looked=len(columns.scenes),
        of=of,
        figures={
            "events": dict(ordered) | ({"": unknown} if unknown else {}),
            "corpora": {
                name: dict(item.get("licences", {})) if isinstance(item, Mapping) else {}
                for name, item in corpora.items()
                if isinstance(item, Mapping) and isinstance(item.get("licences", {}), Mapping)
            },
        },
    )


def clips_check(columns: Columns, of: int) -> Check:
    """How many clips there are by role, and how often each is played."""
    figures: dict[str, Any] = {}
    told = []
    for role in ("target", "interferer", "noise"):
        events = columns.events
        mine = events.filter(
            pc.and_(
                pc.equal(pc.cast(events["role"], pa.string()), role), pc.is_valid(events["clip"])
            )
        )
        if not len(mine):
            continue
        counts = _plays(mine)
        figures[role] = {
            "clips": len(counts),
            "events": int(counts.sum()),
            "median": float(np.median(counts)),
            "most": int(counts.max()),
        }
        told.append(
            f"{counted(len(counts), 'clip')} as {role}, each {np.median(counts):.0f} times in the "
            f"median, at most {counts.max():,}"
        )
    return Check(
        name="clips",
        title="How often is each clip played?",
        status="noted" if told else "skipped",
        summary="; ".join(told) or "no clip is played",
        looked=len(columns.scenes),
        of=of,
        figures=figures,
    )


def durations_check(columns: Columns, of: int) -> Check:
    """How long scenes are, by split."""
    scenes = columns.scenes
    seconds = (
        pc.cast(scenes["n_samples"], pa.float64()).to_numpy()
        / pc.cast(scenes["sample_rate"], pa.float64()).to_numpy()
    )
    splits = np.array([str(name) for name in pc.cast(scenes["split"], pa.string()).to_pylist()])
    figures = {}
    told = []
    for split in sorted(set(splits.tolist())):
        own = seconds[splits == split]
        figures[split] = {
            "scenes": len(own),
            "hours": float(own.sum()) / 3600,
            "shortest_s": float(own.min()),
            "longest_s": float(own.max()),
        }
        told.append(
            f"{split}: {counted(len(own), 'scene')}, {_span(own)}, {own.sum() / 3600:.2f} h"
        )
    return Check(
        name="durations",
        title="How long are the scenes?",
        status="noted",
        summary="; ".join(told),
        looked=len(scenes),
        of=of,
        figures=figures,
    )


def _plays(events: pa.Table) -> Any:
    grouped = events.group_by(["corpus", "clip"]).aggregate([("index", "count")])
    return grouped["index_count"].to_numpy()


def _span(seconds: Any) -> str:
    low, high = float(seconds.min()), float(seconds.max())
    return f"{low:g} s each" if low == high else f"{low:.3g} to {high:.3g} s"


def _percent(n: int, total: int) -> str:
    return f"{100 * n / total:.0f} %" if n * 100 >= total else "< 1 %"
