"""Whether what was asked for was achieved, by what the tables measured: `snr`, `sir`, `t60`.

Ratios are exact by construction: the gain that gives them is computed from what is mixed.
Reverberation times are not. A measurement scatters, by more where the sound dies away sooner; so
single scenes are allowed a fifth, and the median of many a tenth. They are compared with what a
measurement in the spec's room will find (`scenesynth.room.decay`), which is the recipe's request
where there is one, and holds for rooms made of materials, too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scenesynth.audit.columns import numbers
from scenesynth.audit.findings import counted, shards_told, with_shards
from scenesynth.audit.records import Check, Finding
from scenesynth.room import decay
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import Air, Room
from scenesynth.scene.spec import SceneSpec

RATIO_TOLERANCE_DB: Final = 0.05
T60_OF_A_SCENE: Final = 0.2
T60_OF_MANY: Final = 0.1
SCATTERS_BELOW_S: Final = 0.25
"""Shorter reverberation times may be off by more, as the root of the bandwidth-time product."""
MANY: Final = 8
LOWEST_BAND_HZ: Final = 900.0
"""Below it the modes of small rooms, few in a band, make a room's T60 its own."""

Array = NDArray[np.float64]


def ratio_check(
    scenes: pa.Table, name: str, of: int, doubtful: Collection[int], shard_scenes: int
) -> Check:
    """Whether the ratio `snr` or `sir` is what was requested.

    Args:
        scenes: the columns that were read of many scenes.
        of: scenes that there are.
        doubtful: numbers of scenes whose request is wrong in the table, which is another finding.
    """
    title = {"snr": "Is the SNR what was requested?", "sir": "Is the SIR what was requested?"}
    asked, got = (numbers(scenes, f"{name}_{what}_db") for what in ("requested", "achieved"))
    index = scenes["index"].to_numpy()
    with_request = ~np.isnan(asked) & ~np.isin(index, list(doubtful))
    n = int(with_request.sum())
    if not n:
        return Check(
            name=name,
            title=title[name],
            status="skipped",
            summary=f"no scene asks for a {name.upper()}",
            of=of,
        )
    error_db = got - asked
    wrong = np.flatnonzero(with_request & ~(np.abs(error_db) <= RATIO_TOLERANCE_DB))
    ids = scenes["id"].take(pa.array(wrong)).to_pylist()
    findings = with_shards(
        [
            Finding(
                what=f"{name.upper()} {_db(got[place])} achieved, {_db(asked[place])} requested",
                scene=scene,
                index=int(index[place]),
            )
            for place, scene in zip(wrong.tolist(), ids, strict=True)
        ],
        index.tolist(),
        shard_scenes,
    )
    off = error_db[with_request & ~np.isnan(error_db)]
    worst = float(np.abs(off).max()) if len(off) else math.nan
    median = float(np.median(off)) if len(off) else math.nan
    told = f"within {max(worst, 0.001):.3f} dB of the request in {counted(n, 'scene')}"
    if findings:
        told = (
            f"{counted(len(findings), 'scene')} of {n:,} off by more than "
            f"{RATIO_TOLERANCE_DB} dB (median of all {median:+.2f} dB, at most {worst:.2f} dB)"
            f"{shards_told(findings)}"
        )
    return Check(
        name=name,
        title=title[name],
        status="failed" if findings else "passed",
        summary=told,
        looked=n,
        of=of,
        findings=findings,
        figures={"median_error_db": _plain(median), "largest_error_db": _plain(worst)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """Measured over expected T60 of a scene.

    Attributes:
        by_row: of the scene's own row.
        by_events: median over the scene's events.
        expected_s: mean of the bands that are compared.
    """

    index: int
    scene: str
    by_row: float
    by_events: float
    expected_s: float


def decay_of(
    row: Mapping[str, Any], events: Sequence[Mapping[str, Any]], spec: SceneSpec
) -> Decay | None:
    """Measured over expected T60 of a scene; None where one of the two is not to be had."""
    if spec.room.shape != "shoebox" or spec.engine != "shoebox":
        return None
    if min(min(wall) for wall in spec.room.absorption) >= 1:  # anechoic
        return None
    expected = np.array(expected_t60_s(spec.room, spec.air))
    high = np.array(spec.room.band_hz) > LOWEST_BAND_HZ
    ratios = [
        _ratio(measured, expected, high)
        for measured in (row.get("rt60_measured_s"), *(event.get("rt60_s") for event in events))
    ]
    of_events = [ratio for ratio in ratios[1:] if not math.isnan(ratio)]
    if math.isnan(ratios[0]) and not of_events:
        return None
    return Decay(
        index=row["index"],
        scene=str(row["id"]),
        by_row=ratios[0],
        by_events=float(np.median(of_events)) if of_events else math.nan,
        expected_s=float(expected[high].mean()),
    )


@lru_cache(maxsize=4096)
def expected_t60_s(room: Room, air: Air) -> tuple[float, ...]:
    """T60 per band that a measurement in a shoebox will find on average."""
    attenuation = energy_attenuation_per_m(np.array(room.band_hz), air)
    found = decay.predicted_t60_s(
        room.size_m, room.absorption, attenuation, air.speed_of_sound_mps, room.band_hz
    )
    return tuple(found.tolist())


def t60_check(
    decays: Sequence[Decay], looked: int, of: int, doubtful: Collection[int], shard_scenes: int
) -> Check:
    """Whether reverberation times are those of the rooms.

    Args:
        looked: scenes whose rows were read.
        doubtful: numbers of scenes whose rows are wrong already.
    """
    title = "Are reverberation times what the rooms should have?"
    sound = [item for item in decays if item.index not in doubtful]
    if not sound:
        return Check(
            name="t60",
            title=title,
            status="skipped",
            summary="no scene has a shoebox with reverberation by the engine shoebox",
            of=of,
        )
    findings = with_shards(
        [
            Finding(what=what, scene=item.scene, index=item.index)
            for item in sound
            if (what := _far_off(item))
        ],
        [item.index for item in sound],
        shard_scenes,
    )
    ratios = np.array([item.by_row for item in sound])
    ratios = ratios[~np.isnan(ratios)]
    median = float(np.median(ratios)) if len(ratios) else math.nan
    biased = len(ratios) >= MANY and not abs(median - 1) <= T60_OF_MANY
    p95 = float(np.percentile(np.abs(ratios - 1), 95)) if len(ratios) else math.nan
    told = (
        f"median {100 * (median - 1):+.1f} % of what {counted(len(sound), 'room')} should have "
        f"from 1 kHz up, 95 % within {100 * p95:.0f} %"
    )
    if findings:
        told += (
            f"; {counted(len(findings), 'scene')} off by more than {100 * T60_OF_A_SCENE:.0f} %"
            f"{shards_told(findings)}"
        )
    if biased:
        told += f"; a bias of the whole dataset (at most {100 * T60_OF_MANY:.0f} % are usual)"
    return Check(
        name="t60",
        title=title,
        status="failed" if findings or biased else "passed",
        summary=told,
        looked=len(sound),
        of=of,
        findings=findings,
        figures={
            "median_ratio": _plain(median),
            "p95_deviation": _plain(p95),
            "biased": biased,
            "without_reverberation": looked - len(decays),
        },
    )


def _far_off(item: Decay) -> str:
    """Why a scene's T60 is wrong, in words; "" where it is not."""
    limit = T60_OF_A_SCENE * max(1.0, math.sqrt(SCATTERS_BELOW_S / item.expected_s))
    for ratio, of in ((item.by_row, ""), (item.by_events, " in the median of its events")):
        if not math.isnan(ratio) and not 1 - limit <= ratio <= 1 + limit:
            return (
                f"T60 from 1 kHz up{of} is {100 * (ratio - 1):+.0f} % off: measured "
                f"{ratio * item.expected_s:.2f} s, its room should have {item.expected_s:.2f} s"
            )
    return ""


def _ratio(
    measured: Sequence[float | None] | None, expected: Array, high: NDArray[np.bool_]
) -> float:
    """Mean over the high bands of measured over expected; NaN where nothing was measured."""
    if measured is None:
        return math.nan
    found = np.array([math.nan if value is None else value for value in measured], dtype=float)
    n = min(len(found), len(expected))
    chosen = high[:n] & np.isfinite(found[:n])
    return float((found[:n] / expected[:n])[chosen].mean()) if chosen.any() else math.nan


def _db(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.2f} dB"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
