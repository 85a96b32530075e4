"""Audits of datasets that were never rendered, for reports and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from scenesynth.audit.records import Audit, Check, Finding
from scenesynth.audit.sound import HEARD
from scenesynth.store.schema import events_schema, scenes_schema, table_of

EVIL = "<script>alert('x')</script>"
BANDS = 7

IDENTITY: Mapping[str, Any] = {
    "recipe": {
        "name": "small",
        "description": "one target in a box",
        "rooms": [{"name": "box", "length_m": 4.0}, {"name": "hall", "length_m": 12.0}],
        "noise": {"snr_db": {"uniform": [5.0, 20.0]}},
    },
    "seed": 3,
    "split": "all",
    "sample_rate": 16000,
    "formats": [{"name": "foa", "channels": ["W", "Y", "Z", "X"], "convention": "AmbiX"}],
    "shard_scenes": 4,
    "render": "3.1",
    "packages": {"numpy": "2.0"},
    "corpora": {"sources": {"digest": "ab12", "clips": 40, "licences": {"CC0-1.0": 40}}},
    "classes": ["bell", "dog", "drum"],
}


def make_audit(
    n: int = 60,
    *,
    seed: int = 0,
    rooms: int = 6,
    labels: Sequence[str] = ("bell", "dog"),
    snr_db: tuple[float, float] = (5.0, 20.0),
    splits: Sequence[str] = ("train", "test"),
    tag: str = "",
    **changes: Any,
) -> Audit:
    """Scenes with a target and a noise each, in rooms that have one T60 each.

    Args:
        tag: part of the names of rooms, clips and scenes: others share none with these.
        changes: fields of the audit.
    """
    random = np.random.default_rng(seed)
    scenes, events = rows(n, random, rooms, labels, snr_db, splits, tag)
    drawn_scenes, drawn_events = rows(n, random, rooms, labels, snr_db, splits, tag)
    fields: dict[str, Any] = {
        "uri": "out/mine",
        "seed": 0,
        "n_scenes": 1000,
        "n_promised": 2000,
        "running": False,
        "identity": IDENTITY,
        "checks": CHECKS,
        "scenes": scene_table(scenes),
        "events": table_of(events, events_schema()),
        "heard": heard_of(scenes, events, random),
        "drawn": scene_table(drawn_scenes),
        "drawn_events": table_of(drawn_events, events_schema()),
        "drawn_clips": True,
    }
    return Audit(**{**fields, **changes})


CHECKS = (
    Check(name="files", title="Are the files whole?", status="passed", summary="all of 3 shards"),
    Check(
        name="snr",
        title="Is the SNR as asked?",
        status="failed",
        summary="3 dB off in 50 scenes",
        looked=60,
        of=1000,
        findings=tuple(
            Finding(what=f"3.0 dB off, not 0 ({k})", scene=f"train-{k:08d}", index=k, shard=k // 4)
            for k in range(50)
        ),
    ),
    Check(
        name="licences",
        title="Which licences?",
        status="noted",
        summary="CC0",
        findings=(Finding(what="no licence", clip=f"sources:{EVIL}", key="tables/x"),),
    ),
    Check(name="heads", title="Heads?", status="skipped", summary="no binaural format"),
)


def scene_table(scenes: Sequence[Mapping[str, Any]]) -> pa.Table:
    return table_of(scenes, scenes_schema(["foa"])).drop_columns(["spec"])


def rows(
    n: int,
    random: np.random.Generator,
    rooms: int,
    labels: Sequence[str],
    snr_db: tuple[float, float],
    splits: Sequence[str],
    tag: str,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the tables "scenes" and "events"."""
    t60_s = random.uniform(0.2, 0.6, rooms)
    sizes_m = random.uniform([3, 3, 2.5], [8, 6, 3.5], (rooms, 3))
    scenes, events = [], []
    for index in range(n):
        room = int(random.integers(rooms))
        split = splits[room % len(splits)]
        snr = float(random.uniform(*snr_db))
        measured = t60_s[room] * random.normal(1, 0.05, BANDS)
        scenes.append(
            {
                "id": f"{split}-{index:08d}",
                "index": index,
                "split": split,
                "status": "ok",
                "n_samples": int(random.integers(8000, 32000)),
                "sample_rate": 16000,
                "room": f"{tag}{split}/{room}",
                "room_size_m": sizes_m[room].tolist(),
                "rt60_requested_s": [float(t60_s[room])] * BANDS,
                "rt60_measured_s": measured.tolist(),
                "edt_s": float(measured.mean()),
                "drr_db": float(random.normal(0, 3)),
                "c50_db": float(random.normal(10, 3)),
                "snr_requested_db": snr,
                "snr_achieved_db": snr,
                "n_targets": 1,
                "n_interferers": 0,
                "n_noise": int(random.integers(1, 4)),
                "max_polyphony": int(random.integers(1, 3)),
                "head": "kemar",
                "render_key_foa": f"{tag}{index}",
                "snr_foa_db": snr + 1,
                "peak_foa": float(random.uniform(0.1, 1)),
            }
        )
        for role, corpus in (("target", "sources"), ("noise", "noise")):
            height = float(random.uniform(-1, 1))
            events.append(
                {
                    "scene": f"{split}-{index:08d}",
                    "index": index,
                    "event": len(events) % 2,
                    "role": role,
                    "labels": [labels[index % len(labels)]],
                    "corpus": corpus,
                    "clip": f"{tag}{split}/{int(random.integers(20))}",
                    "licence": "CC0-1.0" if index % 3 else "CC-BY-4.0",
                    "dry_onset_s": 0.0,
                    "dry_offset_s": float(random.uniform(0.2, 2)),
                    "azimuth_start_deg": float(random.uniform(-180, 180)),
                    "elevation_start_deg": float(np.degrees(np.arcsin(height))),
                    "distance_start_m": float(random.uniform(1, 5)),
                    "level_db": float(random.normal(-20, 3)),
                    "local_snr_db": snr,
                }
            )
    return scenes, events


def heard_of(
    scenes: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    random: np.random.Generator,
) -> pa.Table:
    """What was heard of the first half of the scenes."""
    found = [
        {
            "number": row["index"],
            "index": row["index"],
            "scene": row["id"],
            "why": "",
            "signals": [{"format": "foa", "peak": 0.5, "rms": float(random.uniform(0.01, 0.1))}],
            "bearings": [
                {
                    "event": 0,
                    "format": "foa",
                    "error_deg": float(random.gamma(2, 2)),
                    "doubt": ("", "noise is strong (local SNR 3 dB)")[row["index"] % 2],
                }
            ],
            "rerendered": [{"format": "foa", "difference_db": -120.0, "noise_db": 0.0}],
        }
        for row in scenes[: len(scenes) // 2]
    ]
    return pa.Table.from_pylist(found, schema=HEARD)


def without(audit: Audit, *columns: str) -> Audit:
    """An audit whose tables lack some columns."""
    return replace(
        audit,
        **{
            name: table.drop_columns([each for each in columns if each in table.column_names])
            for name in ("scenes", "events", "heard", "drawn", "drawn_events")
            if (table := getattr(audit, name)) is not None
        },
    )
