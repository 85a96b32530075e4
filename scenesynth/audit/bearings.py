"""Labels against the directions that the audio tells, and against what they may have been mistaken
for.

Single estimates may be wrong: the nearest reflection can be taken for the direct sound. So a shard
needs several votes that agree (`votes`), and a scene by itself an estimate that nothing speaks
against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scenesynth.audit.findings import counted
from scenesynth.audit.hypotheses import Hypothesis, hypotheses
from scenesynth.audit.records import Check, Finding
from scenesynth.audit.signals import scene_finding, unheard
from scenesynth.audit.votes import Votes, votes_of
from scenesynth.localization.agreement import Estimate
from scenesynth.localization.reach import reach_of
from scenesynth.spatial.formats import Format

CONFIDENT: Final = 0.6
"""Least confidence of an estimate that has a vote."""

POOR_MEDIAN_DEG: Final = 25.0
"""Median error as labelled above which estimates, or labels, cannot be trusted."""

SURE: Final = 0.9
SURE_IN_DOUBT: Final = 0.95
OFF_DEG: Final = 35.0
FIT_DEG: Final = 4.0
"""A scene by itself: how sure its estimates have to be, without a doubt and with one, how far off
the label, and how near what another hypothesis says. Of 700 estimates of clean scenes as sure as
that none was off by more than 20 degrees."""

NORMAL_WITHIN: Final = 1.5
"""Factor by which energies of first-order channels may be off before it is worth a note."""

BEARING: Final = pa.struct(
    [
        ("event", pa.int64()),
        ("format", pa.string()),
        ("label_azimuth_deg", pa.float64()),
        ("label_elevation_deg", pa.float64()),
        ("estimated_azimuth_deg", pa.float64()),
        ("estimated_elevation_deg", pa.float64()),
        ("error_deg", pa.float64()),
        ("confidence", pa.float64()),
        ("reach", pa.string()),
        ("alone", pa.bool_()),
        ("doubt", pa.string()),
    ]
)
"""An event's direction by label and by ear. The error is that of what the format tells of it."""

Array = NDArray[np.float64]
TITLE: Final = "Do labels point where the sound comes from?"


def bearing_of(event: int, item: Format, estimate: Estimate) -> dict[str, Any]:
    """A row of `BEARING`."""
    return {
        "event": event,
        "format": item.name,
        "label_azimuth_deg": estimate.label_deg[0],
        "label_elevation_deg": estimate.label_deg[1],
        "estimated_azimuth_deg": estimate.estimated_deg[0],
        "estimated_elevation_deg": estimate.estimated_deg[1],
        "error_deg": estimate.error_deg,
        "confidence": estimate.confidence,
        "reach": estimate.reach,
        "alone": estimate.alone,
        "doubt": estimate.doubt,
    }


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What the estimates of one format came to."""

    format: str
    findings: tuple[Finding, ...]
    n_votes: int = 0
    n_scenes: int = 0
    median_deg: float = float("nan")


def direction_check(
    heard: Sequence[Mapping[str, Any]],
    formats: Mapping[str, Format],
    of: int,
    known: Sequence[Finding] = (),
) -> Check:
    """Whether labels point where the sound comes from.

    Args:
        heard: rows of what was listened to.
        formats: of the dataset.
        of: scenes that there are.
        known: what rendering scenes again has found wrong with directions.
    """
    looked = [row for row in heard if not row["why"]]
    if not looked:
        return unheard("directions", TITLE, of)
    judged = [_judge(item, looked) for item in formats.values() if reach_of(item) != "none"]
    told = [item for item in judged if item.n_votes]
    findings = [finding for item in told for finding in item.findings]
    findings += unaccused(known, findings)
    figures = {
        item.format: {
            "events": item.n_votes,
            "scenes": item.n_scenes,
            "median_error_deg": round(item.median_deg, 2),
        }
        for item in told
    }
    status, summary = _concluded(judged, told, findings)
    return Check(
        name="directions",
        title=TITLE,
        status=status,  # type: ignore[arg-type]
        summary=summary,
        looked=len({row["index"] for row in looked if row["bearings"]}),
        of=of,
        findings=tuple(findings),
        figures=figures,
    )


def unaccused(more: Sequence[Finding], findings: Sequence[Finding]) -> list[Finding]:
    """Findings about scenes that no finding, nor one about their shard, is about yet."""
    if any(f.shard is None and f.index is None for f in findings):
        return []
    shards = {f.shard for f in findings if f.index is None}
    scenes = {f.index for f in findings if f.index is not None}
    return [f for f in more if f.shard not in shards and f.index not in scenes]


def _concluded(
    judged: Sequence[_Judged], told: Sequence[_Judged], findings: Sequence[Finding]
) -> tuple[str, str]:
    medians = ", ".join(
        f"{item.format} {item.median_deg:.1f}° over {item.n_votes:,} events of "
        f"{item.n_scenes:,} scenes"
        for item in told
    )
    if findings:
        first = findings[0]
        where = f"{first.scene}: " if first.scene else ""
        more = f", and {counted(len(findings) - 1, 'more finding')}" if len(findings) > 1 else ""
        return "failed", f"{where}{first.what}{more}"
    if not judged:
        return "skipped", "no format of this dataset tells directions"
    if not told:
        return "skipped", "no onset is clear enough to tell a direction"
    if all(item.median_deg > POOR_MEDIAN_DEG for item in told):
        return "noted", f"the audio is too diffuse to tell: median error {medians}"
    return "passed", f"median error {medians}"


def _judge(item: Format, looked: Sequence[Mapping[str, Any]]) -> _Judged:
    rows = [
        (row, bearing)
        for row in looked
        for bearing in row["bearings"]
        if bearing["format"] == item.name and bearing["confidence"] >= CONFIDENT
    ]
    if not rows:
        return _Judged(format=item.name, findings=())
    votes = votes_of(item, [bearing for _, bearing in rows])
    shards = np.array([row["shard"] for row, _ in rows])
    findings = _by_shard(votes, shards) + _by_scene(votes, rows)
    return _Judged(
        format=item.name,
        findings=tuple(_reduced(findings)),
        n_votes=len(rows),
        n_scenes=len({row["index"] for row, _ in rows}),
        median_deg=votes.median_deg(),
    )


def _by_shard(votes: Votes, shards: NDArray[np.int64]) -> list[Finding]:
    """Shards whose labels another hypothesis explains; the whole dataset, where it explains all."""
    whole = votes.best
    accused = {int(n): votes.of(shards == n) for n in np.unique(shards)}
    guilty = {n: (own, best) for n, own in accused.items() if (best := own.best) is not None}
    if whole is not None and all(
        n in guilty or own.median_deg(whole) <= own.median_deg() + 1.0 for n, own in accused.items()
    ):
        return [Finding(what=_accusation(votes, whole, "in all shards"))]
    return [
        Finding(what=_accusation(own, best, f"in shard {n}"), shard=n)
        for n, (own, best) in guilty.items()
    ]


def _accusation(votes: Votes, best: Hypothesis, where: str) -> str:
    return (
        f"{votes.item.name} {where}: {best.name} (median error {votes.median_deg():.0f}° as "
        f"labelled, {votes.median_deg(best):.0f}° so, over {votes.errors_deg.shape[1]:,} events)"
    )


def _by_scene(
    votes: Votes, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> list[Finding]:
    """Scenes whose estimates are sure, far off the label, and right under another hypothesis."""
    simple = [n for n, h in enumerate(hypotheses(votes.item)) if n and h.simple]
    findings = []
    for index in dict.fromkeys(row["index"] for row, _ in rows):
        own = [
            n
            for n, (row, bearing) in enumerate(rows)
            if row["index"] == index and _is_sure(bearing)
        ]
        if not own:
            continue
        errors = votes.errors_deg[:, own]
        fits = [n for n in simple if errors[n].max() <= FIT_DEG]
        if not fits or np.median(errors[0]) < OFF_DEG:
            continue
        best = hypotheses(votes.item)[min(fits, key=lambda n: float(errors[n].max()))]
        what = (
            f"{votes.item.name}: {best.name} ({np.median(errors[0]):.0f}° off as labelled, "
            f"{errors[fits].max(axis=1).min():.0f}° so)"
        )
        findings.append(scene_finding(rows[own[0]][0], what))
    return findings


def _is_sure(bearing: Mapping[str, Any]) -> bool:
    least = SURE_IN_DOUBT if bearing["doubt"] else SURE
    return bool(bearing["alone"] and bearing["confidence"] >= least)


def _reduced(findings: Sequence[Finding]) -> list[Finding]:
    """Without the scenes of what is accused as a whole."""
    whole = [finding for finding in findings if finding.index is None]
    return whole + unaccused([f for f in findings if f.index is not None], whole)


def ambisonic_check(
    heard: Sequence[Mapping[str, Any]], formats: Mapping[str, Format], of: int
) -> Check:
    """A hint at the normalisation of Ambisonics, whatever the labels say.

    In SN3D the energies of Y, Z and X add up to that of W, of a plane wave as of a diffuse field.
    In N3D they are 3 times as much; with W 3 dB lower (FuMa) twice as much.
    """
    title = "Are Ambisonics normalised as they should be?"
    ambisonic = [item.name for item in formats.values() if item.kind == "ambisonics"]
    medians = {}
    for name in ambisonic:
        signals = [s for row in heard if not row["why"] for s in row["signals"]]
        ratios = [s["first_order"] for s in signals if s["format"] == name]
        known = [ratio for ratio in ratios if ratio is not None]
        if known:
            medians[name] = float(np.median(known))
    looked = sum(not row["why"] for row in heard)
    odd = {
        name: ratio
        for name, ratio in medians.items()
        if not 1 / NORMAL_WITHIN < ratio < NORMAL_WITHIN
    }
    told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in medians.items())
    return Check(
        name="normalisation",
        title=title,
        status="noted" if odd else "passed" if medians else "skipped",
        summary=f"energy of Y, Z and X over that of W: {told}; "
        + (f"expected about 1{_normalised_as(odd)}" if odd else "about 1, as of SN3D")
        if medians
        else "no format is first-order Ambisonics or more",
        looked=looked if medians else 0,
        of=of,
        figures=medians,
    )


def _normalised_as(odd: Mapping[str, float]) -> str:
    (ratio, *_) = odd.values()
    for name, expected in (("N3D", 3.0), ("FuMa (W 3 dB lower)", 2.0)):
        if expected / 1.2 < ratio < expected * 1.2:
            return f"; {name} has {expected:g}"
    return ""
