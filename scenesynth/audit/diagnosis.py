"""Stored scenes against what their specs give, and what is wrong with those that differ.

A scene is rendered again with its stems. Where its audio is another, `explain` says what has become
of the parts; where labels or measured values of its rows are others, those are named.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from scenesynth.acoustics.engines import respond_in
from scenesynth.audit.decay import decay_ratio
from scenesynth.audit.explain import SAME_DB, Fault, Parts, Signal, as_row, explained
from scenesynth.audit.records import Check, Finding
from scenesynth.audit.signals import scene_finding
from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, ContentError
from scenesynth.localization.directions import to_vectors
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.recheck import difference_db, render_again
from scenesynth.render.motion import moves
from scenesynth.render.renderer import layout_for
from scenesynth.render.stems import slots_of
from scenesynth.scene.geometry import great_circle_deg
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import Format
from scenesynth.store.layout import DatasetInfo
from scenesynth.store.schema import Scene

NOT_CHOSEN: Final = "not chosen"
"""Why a scene was not rendered again, where others were."""

KINDS: Final = ("direct", "early", "late", "noise", "dry")

LABEL_DEG: Final = 1.0
LABEL_DB: Final = 0.1
LABEL_SHARE: Final = 0.05
"""Largest differences of labels and measured values to those of the scene rendered again."""

_FAULT: Final = pa.struct([("check", pa.string()), ("what", pa.string())])

RERENDERED: Final = pa.struct(
    [
        ("format", pa.string()),
        ("difference_db", pa.float64()),
        ("lag_samples", pa.int64()),
        ("gain_db", pa.float64()),
        ("late_db", pa.float64()),
        ("noise_db", pa.float64()),
        ("residual_db", pa.float64()),
        ("decay_ratio", pa.float64()),
        ("faults", pa.list_(_FAULT)),
    ]
)
"""A format of a scene that was rendered again; see `explain.Explained`. Faults of labels are with
the first format. Levels are null where the audio is what it should be."""

_QUESTIONS: Final = {
    "rendering": "Is the audio what the spec gives?",
    "levels": "Are levels and times those of the spec?",
    "snr": "Is noise as loud as the spec says?",
    "t60": "Does reverberation decay as the spec says?",
}


def diagnosed(stored: Scene, corpora: Corpora, info: DatasetInfo) -> dict[str, Any]:
    """The columns `rerendered` and `not_rerendered` of a scene."""
    try:
        # As it was rendered; with stems only where that is not what is stored.
        fresh = render_again(stored, corpora, info)
        formats = [format_of(item) for item in info.formats]
        off_db = {
            item.name: _difference_db(
                fresh.audio_by_format[item.name], stored.audio_by_format[item.name], info
            )
            for item in formats
        }
        if max(off_db.values()) > SAME_DB:
            fresh = render_again(stored, corpora, info, KINDS)
    except (ConfigError, ContentError) as error:
        return {"not_rerendered": f"cannot be rendered: {error}"}
    rows = [_row(stored, fresh, item, formats, off_db[item.name]) for item in formats]
    rows[0]["faults"] += [_plain(fault) for fault in _label_faults(stored, fresh)]
    return {"rerendered": rows, "not_rerendered": ""}


def _difference_db(fresh: Signal, stored: Signal, info: DatasetInfo) -> float:
    """As `difference_db`; infinite of another shape, or of what is not finite."""
    if fresh.shape != stored.shape or not np.isfinite(stored).all():
        return math.inf
    return difference_db(fresh, stored, info)


def _plain(fault: Fault) -> dict[str, str]:
    return {"check": fault.check, "what": fault.what}


def _row(
    stored: Scene, fresh: Scene, item: Format, formats: Sequence[Format], off_db: float
) -> dict[str, Any]:
    row: dict[str, Any] = {"format": item.name, "difference_db": off_db, "faults": []}
    if off_db <= SAME_DB:
        return row
    audio = stored.audio_by_format[item.name]
    if audio.shape != fresh.audio_by_format[item.name].shape:
        what = f"has {audio.shape[1]} samples, its spec gives {fresh.audio.shape[1]}"
        return row | {"faults": [_plain(Fault("rendering", what))]}
    found = explained(audio, _parts(fresh, item, formats), item, fresh.sample_rate)
    row |= as_row(found)
    if not row["faults"]:
        what = f"differs from what its spec gives (difference {off_db:.0f} dB)"
        row["faults"] = [_plain(Fault("rendering", what))]
    return row


def _parts(fresh: Scene, item: Format, formats: Sequence[Format]) -> Parts:
    kinds = fresh.stems_by_format[item.name]
    noise = kinds["noise"].sum(axis=0)

    def decay(heard: Signal, channel: int) -> float | None:
        return _decay(fresh, item, formats, heard, noise[channel], channel)

    return Parts(
        near=(kinds["direct"] + kinds["early"]).sum(axis=0),
        late=kinds["late"].sum(axis=0),
        noise=noise,
        decay=decay,
    )


def _decay(
    fresh: Scene,
    item: Format,
    formats: Sequence[Format],
    heard: Signal,
    noise: Signal,
    channel: int,
) -> float | None:
    """See `decay_ratio`; None where something moves, and the response with it."""
    spec = SceneSpec.from_json(fresh.spec_json)
    t60_s, slots = fresh.row["rt60_broadband_s"], slots_of(spec)
    if t60_s is None or not math.isfinite(t60_s) or fresh.dry is None or not slots:
        return None
    if any(moves(spec.emitters[index], spec) for index in slots):
        return None
    layout = layout_for(spec, formats)
    responses = [respond_in(layout, spec, index) for index in slots]
    at = layout.rows[item.name].start + channel
    return decay_ratio(
        heard,
        [fresh.dry[slot] for slot in slots.values()],
        [response.ir[at] for response in responses],
        [response.direct_delay_s for response in responses],
        noise,
        t60_s=float(t60_s),
        sample_rate=fresh.sample_rate,
    )


def _label_faults(stored: Scene, fresh: Scene) -> Iterator[Fault]:
    """What rows say in another way than the scene rendered again."""
    if len(stored.events) != len(fresh.events):
        yield Fault(
            "rendering", f"has {len(stored.events)} events, its spec gives {len(fresh.events)}"
        )
        return
    for n, (old, new) in enumerate(zip(stored.events, fresh.events, strict=True)):
        there, here = (
            (event["azimuth_start_deg"], event["elevation_start_deg"]) for event in (old, new)
        )
        if None in there or None in here or any(map(math.isnan, here)):
            continue
        if great_circle_deg(*(tuple(to_vectors(*at)) for at in (there, here))) > LABEL_DEG:
            yield Fault(
                "directions", f"event {n} is labelled {_at(there)}, its spec gives {_at(here)}"
            )
    for column, check, allowed in (
        ("snr_achieved_db", "snr", LABEL_DB),
        ("rt60_broadband_s", "t60", None),
    ):
        was, now = stored.row.get(column), fresh.row.get(column)
        if was is None or now is None or not math.isfinite(now):
            continue
        if abs(was - now) > (LABEL_SHARE * abs(now) if allowed is None else allowed):
            yield Fault(check, f"its row says {column} = {was:.2f}, its spec gives {now:.2f}")


def _at(angles_deg: tuple[float, float]) -> str:
    return f"azimuth {angles_deg[0]:+.0f}°, elevation {angles_deg[1]:+.0f}°"


def faults_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Finding]]:
    """What rendering scenes again has found, by the check that it is a matter of."""
    found: dict[str, list[Finding]] = {}
    for row in rows:
        for item in row["rerendered"] or ():
            for fault in item["faults"]:
                what = f"{item['format']}: {fault['what']}"
                found.setdefault(fault["check"], []).append(scene_finding(row, what))
    return found


def rendering_checks(
    rows: Sequence[Mapping[str, Any]],
    of: int,
    faults: Mapping[str, Sequence[Finding]],
    explained: frozenset[int | None],
) -> list[Check]:
    """Checks of scenes that were rendered again.

    Args:
        rows: of what was listened to.
        of: scenes that there are.
        faults: from `faults_of`.
        explained: numbers of scenes whose samples other checks have found wrong: that they differ
            from what their specs give is no news.
    """
    again = [row for row in rows if row["rerendered"] is not None]
    return [
        _check(
            name,
            again,
            rows,
            of,
            [
                finding
                for finding in faults.get(name, ())
                if name != "rendering" or finding.index not in explained
            ],
        )
        for name in _QUESTIONS
    ]


def _check(
    name: str,
    again: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    of: int,
    findings: Sequence[Finding],
) -> Check:
    if not again:
        reasons = [row["not_rerendered"] for row in rows if row["not_rerendered"]]
        # That a scene was not chosen is no reason while there is another.
        why = min(reasons, key=NOT_CHOSEN.__eq__, default="no scene was read")
        return Check(name=name, title=_QUESTIONS[name], status="skipped", summary=why, of=of)
    n_bad = len({finding.index for finding in findings})
    failed = [row for row in rows if row["not_rerendered"].startswith("cannot be rendered")]
    summary = (
        f"wrong in {n_bad:,} of {len(again):,} scenes that were rendered again; "
        f"{findings[0].scene}: {findings[0].what}"
        if findings
        else f"as it should be in {len(again):,} scenes that were rendered again"
    )
    if failed:
        summary += f"; {len(failed):,} more {failed[0]['not_rerendered']}"
    return Check(
        name=name,
        title=_QUESTIONS[name],
        status="failed" if findings else "passed",
        summary=summary,
        looked=len(again),
        of=of,
        findings=tuple(findings),
        figures={"scenes": n_bad, **_figures(name, again)},
    )


def _figures(name: str, again: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    column = {"rendering": "difference_db", "snr": "noise_db", "t60": "decay_ratio"}.get(
        name, "gain_db"
    )
    values = [item[column] for row in again for item in row["rerendered"]]
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return {}
    return {f"median_{column}": float(np.median(known)), f"{column}_of": len(known)}
