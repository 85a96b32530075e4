"""Whether scenes are distributed as their recipe says: checks `recipe` and `distributions`.

`recipe` draws some of the very scenes again and compares their specs. `distributions` compares all
chosen scenes with as many others of the same recipe (`audit.anew`), quantity by quantity: numbers
by the two-sample test of Kolmogorov and Smirnov, classes by chi square. One value a scene is taken,
for events of a scene have their room in common. Each test may be wrong once in a million, so that
what is as it should be raises no alarm; small samples tell little in turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scenesynth.audit.anew import Source, differing
from scenesynth.audit.columns import lists, numbers
from scenesynth.audit.distances import chance_of, ks_distance
from scenesynth.audit.findings import counted, some
from scenesynth.audit.records import Check, Finding, Status
from scenesynth.errors import ConfigError, ContentError
from scenesynth.scene.spec import SceneSpec
from scenesynth.store.layout import DatasetInfo

WRONG_ONCE_IN: Final = 1e6
MOST_REDRAWN: Final = 64
"""Scenes whose specs are drawn again."""
_FEW: Final = 5.0
"""Classes of which fewer than that are expected are taken together, as chi square needs."""

Values = NDArray[np.float64]
"""A number a scene, NaN for none."""


def recipe_check(
    info: DatasetInfo,
    source: Source,
    specs: Sequence[SceneSpec],
    of: int,
    *,
    same_version: bool,
) -> Check:
    """Whether specs are those that recipe, seed and number give.

    Args:
        same_version: whether this version of the package has drawn them; another one may draw
            others.
    """
    name, title = "recipe", "Are scenes what recipe, seed and number give?"
    if source.recipe is None:
        return Check(name=name, title=title, status="skipped", summary=source.why_not, of=of)
    findings, failed = [], 0
    for spec in specs:
        try:
            what = differing(info, source, spec)
        except (ConfigError, ContentError) as error:
            what = f"cannot be drawn ({error})" if source.own_clips else ""
            failed += not source.own_clips
        else:
            what = f"other {what} than the recipe gives" if what else ""
        if what:
            index = _index(info, spec)
            findings.append(Finding(what=what, scene=spec.id, index=index))
    compared = len(specs) - failed
    parts = "" if source.own_clips else " (rooms, listeners and SNR; the clips are not at hand)"
    told = f"{counted(compared, 'spec')} drawn again{parts}"
    if findings:
        told += f": {len(findings)} differ{'s' if len(findings) == 1 else ''}" + (
            "" if same_version else ", which another version of scenesynth may have drawn"
        )
    elif compared:
        told += ", all the same"
    status: Status = "failed" if same_version else "noted"
    return Check(
        name=name,
        title=title,
        status=status if findings else "passed" if compared else "skipped",
        summary=told,
        looked=compared,
        of=of,
        findings=tuple(findings) if same_version else (),
        figures={"own_clips": source.own_clips},
    )


def distributions_check(
    scenes: pa.Table,
    events: pa.Table,
    drawn: tuple[pa.Table, pa.Table] | str,
    of: int,
    *,
    own_clips: bool,
) -> Check:
    """Whether quantities are distributed as in scenes drawn anew.

    Args:
        scenes, events: of those scenes whose rows are those of their specs.
        drawn: those anew, or why there are none.
    """
    name, title = "distributions", "Are scenes distributed as the recipe says?"
    if not isinstance(drawn, str) and not len(scenes):
        drawn = (
            "the rows of all scenes looked at are wrong (see `spec` and `labels`), so there is "
            "nothing to compare with the recipe"
        )
    if isinstance(drawn, str):
        return Check(name=name, title=title, status="skipped", summary=drawn, of=of)
    found, expected = quantities(scenes, events), quantities(*drawn)
    skipped = () if own_clips else _OF_CLIPS
    results: dict[str, Any] = {}
    findings = []
    for key in found:
        if key in skipped:
            continue
        p, told = compare(found[key], expected[key])
        results[key] = {"p": p, "median": _median(found[key]), "expected": _median(expected[key])}
        if p * WRONG_ONCE_IN < 1:
            findings.append(Finding(what=f"{key}: {told}"))
    if own_clips:
        p = compare_classes(_first_labels(events), _first_labels(drawn[1]))
        results["class of the first target"] = {"p": p}
        if p * WRONG_ONCE_IN < 1:
            findings.append(Finding(what="classes of the targets are drawn otherwise"))
    told = (
        f"{counted(len(scenes), 'scene')} against {len(drawn[0]):,} drawn anew, in "
        f"{len(results)} quantities"
    )
    if findings:
        told += f"; otherwise distributed: {some(f.what for f in findings)}"
    if not own_clips:
        told += "; without what depends on clips, which are not at hand"
    return Check(
        name=name,
        title=title,
        status="failed" if findings else "passed",
        summary=told,
        looked=len(scenes),
        of=of,
        findings=tuple(findings),
        figures={"quantities": results},
    )


_OF_CLIPS: Final = ("targets", "interferers", "polyphony", "duration in s")
"""Quantities that depend on how long clips are."""


def quantities(scenes: pa.Table, events: pa.Table) -> dict[str, Values]:
    """What is compared, by name for people: a value for each scene."""
    sizes = lists(scenes, "room_size_m", 3)
    listener = lists(scenes, "listener_position_m", 3)
    requested = lists(scenes, "rt60_requested_s")
    with_t60 = np.isfinite(requested).any(axis=1)
    mean_s = np.full(len(requested), np.nan)
    mean_s[with_t60] = np.nanmean(requested[with_t60], axis=1)
    return {
        "room length in m": sizes[:, 0],
        "room width in m": sizes[:, 1],
        "room height in m": sizes[:, 2],
        "T60 requested in s": mean_s,
        "listener's height in m": listener[:, 2],
        "SNR requested in dB": numbers(scenes, "snr_requested_db"),
        "SIR requested in dB": numbers(scenes, "sir_requested_db"),
        "duration in s": numbers(scenes, "n_samples") / numbers(scenes, "sample_rate"),
        "targets": numbers(scenes, "n_targets"),
        "interferers": numbers(scenes, "n_interferers"),
        "noise events": numbers(scenes, "n_noise"),
        "polyphony": numbers(scenes, "max_polyphony"),
        **{
            f"{what} of the first {role}": values
            for role in ("target", "noise")
            for what, values in _places(scenes, events, role).items()
        },
    }


def compare(found: Values, expected: Values) -> tuple[float, str]:
    """Probability that both are draws of one distribution, and how they differ in words."""
    from scipy import stats

    there, here = (values[np.isfinite(values)] for values in (expected, found))
    table = [[len(here), len(found) - len(here)], [len(there), len(expected) - len(there)]]
    p_absent = float(stats.fisher_exact(table)[1])
    p = (
        chance_of(ks_distance(here, there), len(here), len(there))
        if len(here) and len(there)
        else 1.0
    )
    if p_absent < p:
        shares = (len(here) / max(len(found), 1), len(there) / max(len(expected), 1))
        return p_absent, f"in {shares[0]:.0%} of the scenes, {shares[1]:.0%} by the recipe"
    ends = [
        np.percentile(values, (10, 50, 90)) if len(values) else [math.nan] * 3
        for values in (here, there)
    ]
    told = " / ".join(f"{value:.3g}" for value in ends[0])
    recipe = " / ".join(f"{value:.3g}" for value in ends[1])
    return p, f"10, 50 and 90 % below {told}; by the recipe {recipe}"


def compare_classes(found: Sequence[str], expected: Sequence[str]) -> float:
    """Probability that both are draws of the same classes."""
    from scipy import stats

    names = sorted({*found, *expected})
    if not (found and expected) or len(names) < 2:
        return 1.0
    counts = np.array([[some_of.count(name) for name in names] for some_of in (found, expected)])
    rare = counts.sum(axis=0) < 2 * _FEW
    table = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    table = table[:, table.sum(axis=0) > 0]
    return float(stats.chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


def _places(scenes: pa.Table, events: pa.Table, role: str) -> dict[str, Values]:
    """Where the first event of a role is heard, a value for each scene."""
    mine = events.filter(pc.equal(events["role"], role))
    first = mine.group_by("index", use_threads=False).aggregate([("event", "min")])
    place = {index: n for n, index in enumerate(scenes["index"].to_pylist())}
    names = {
        "azimuth in degrees": "azimuth_start_deg",
        "elevation in degrees": "elevation_start_deg",
        "distance in m": "distance_start_m",
    }
    values = {what: np.full(len(scenes), np.nan) for what in names}
    if not len(first):
        return values
    joined = mine.select(["index", "event", *names.values()]).join(
        first, keys=["index", "event"], right_keys=["index", "event_min"], join_type="inner"
    )
    for row in joined.to_pylist():
        for what, column in names.items():
            if row["index"] in place and row[column] is not None:
                values[what][place[row["index"]]] = row[column]
    return values


def _first_labels(events: pa.Table) -> list[str]:
    """Class of the first target of each scene."""
    found: dict[int, tuple[int, str]] = {}
    chosen = events.filter(pc.equal(events["role"], "target"))
    for row in chosen.select(["index", "event", "labels"]).to_pylist():
        label = (row["labels"] or [""])[0]
        number = row["event"]
        found[row["index"]] = min(found.get(row["index"], (number, label)), (number, label))
    return [label for _, label in found.values()]


def _index(info: DatasetInfo, spec: SceneSpec) -> int | None:
    """A scene's number, where its spec tells it."""
    return spec.origin.index if info.came_from is None else None


def _median(values: Values) -> float | None:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else None
