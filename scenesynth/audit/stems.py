"""Whether the stems of a scene add up to its audio, and what ratio they give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scenesynth.audit.explain import SAME_DB, Parts, explained
from scenesynth.audit.records import Check
from scenesynth.audit.signals import scene_finding, unheard
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.recheck import difference_db
from scenesynth.render.levels import ratio_db, union_span
from scenesynth.store.layout import DatasetInfo
from scenesynth.store.reader import Dataset
from scenesynth.store.schema import Scene

TITLE: Final = "Do stems add up to the audio, at the ratio that is stated?"
PARTS: Final = ("direct", "early", "late", "noise")
RATIO_DB: Final = 0.1
"""Largest difference between the ratio of stored stems and the one of the tables."""

STEMS: Final = pa.list_(
    pa.struct(
        [
            ("format", pa.string()),
            ("difference_db", pa.float64()),
            ("snr_db", pa.float64()),
            ("snr_table_db", pa.float64()),
            ("faults", pa.list_(pa.string())),
        ]
    )
)
"""Per format: the sum of the stems against the audio, and the ratio of targets to noise by them."""


def stems_of(dataset: Dataset, scene: Scene, number: int) -> list[dict[str, Any]] | None:
    """What the stored stems of a scene tell; None where not all that make the audio are stored."""
    info = dataset.info
    if not {*PARTS} <= {*info.stem_kinds}:
        return None
    stored, rows = dataset.stems(number), []
    for item in info.formats:
        kinds, audio = stored[item.name], scene.audio_by_format[item.name]
        parts = Parts(
            near=(kinds["direct"] + kinds["early"]).sum(axis=0),
            late=kinds["late"].sum(axis=0),
            noise=kinds["noise"].sum(axis=0),
        )
        off_db = difference_db(parts.mixture, audio, info)
        faults = []
        if off_db > SAME_DB:
            named = explained(audio, parts, format_of(item), info.sample_rate).faults
            faults = [fault.what for fault in named] or [
                f"its stems add up to something else (difference {off_db:.0f} dB)"
            ]
        wet = kinds["direct"] + kinds["early"] + kinds["late"]
        rows.append(
            {
                "format": item.name,
                "difference_db": off_db,
                "snr_db": _snr_db(scene, wet, parts.noise),
                "snr_table_db": scene.row.get(f"snr_{item.name}_db"),
                "faults": faults,
            }
        )
    return rows


def _snr_db(scene: Scene, wet: NDArray[np.float32], noise: NDArray[np.float32]) -> float | None:
    """Energy of targets over that of noise while noise sounds; None where there is none to tell.

    Args:
        wet: what is heard of each slot. Shape: [slots, channels, samples].
    """
    roles: dict[int, set[str]] = {}
    for event in scene.events:
        if event["stem"] is not None:
            roles.setdefault(event["stem"], set()).add(event["role"])
    if any(len(some) > 1 for some in roles.values()):
        return None  # an emitter of both, whose stem holds both
    rate, length = scene.sample_rate, noise.shape[1]
    spans = [
        (round(event["wet_onset_s"] * rate), round(event["wet_offset_s"] * rate))
        for event in scene.events
        if event["role"] == "noise"
    ]
    targets = [slot for slot, some in roles.items() if some == {"target"}]
    if not spans or not targets:
        return None
    start, stop = union_span(spans, length)
    mixed = wet[targets].sum(axis=0)[:, start:stop]
    energies = [
        float(np.sum(np.square(signal, dtype=np.float64)))
        for signal in (mixed, noise[:, start:stop])
    ]
    return ratio_db(*energies)


def stem_check(rows: Sequence[Mapping[str, Any]], of: int, info: DatasetInfo) -> Check:
    """Whether stems are those of the audio."""
    if not {*PARTS} <= {*info.stem_kinds}:
        held = ", ".join(info.stem_kinds) or "no stems"
        return Check(
            name="stems",
            title=TITLE,
            status="skipped",
            summary=f"the dataset holds {held}; all of {', '.join(PARTS)} are needed "
            f"(`scenesynth render --stems all`)",
            of=of,
        )
    looked = [row for row in rows if not row["why"]]
    if not looked:
        return unheard("stems", TITLE, of)
    findings = []
    for row in looked:
        for item in row["stems"]:
            what = list(item["faults"])
            snr, table = item["snr_db"], item["snr_table_db"]
            if snr is not None and table is not None and abs(snr - table) > RATIO_DB:
                what.append(f"its stems have an SNR of {snr:.1f} dB, its row says {table:.1f} dB")
            findings += [scene_finding(row, f"{item['format']}: {text}") for text in what]
    worst = max(item["difference_db"] for row in looked for item in row["stems"])
    n_bad = len({finding.index for finding in findings})
    return Check(
        name="stems",
        title=TITLE,
        status="failed" if findings else "passed",
        summary=f"{n_bad:,} of {len(looked):,} scenes have stems that are not those of their audio"
        if findings
        else f"stems of {len(looked):,} scenes add up to their audio",
        looked=len(looked),
        of=of,
        findings=tuple(findings),
        figures={"worst_difference_db": worst if math.isfinite(worst) else None},
    )
