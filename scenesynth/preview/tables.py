"""The numbers of a scene as tables of text: what was asked for beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scenesynth.plots.text import EN_DASH, direction, hertz, number
from scenesynth.preview.told import per_band, told, untold_t60
from scenesynth.preview.view import Sounding, View
from scenesynth.store.schema import Scene


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text.

    Attributes:
        heads: of the columns; those of numbers are marked by a leading `#`.
        colours: of the first cell of each row, if they have any.
        note: what a reader should know, under it.
        wide: whether it needs the whole width of a page.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    colours: tuple[str, ...] = ()
    note: str = ""
    wide: bool = False


def tables_of(scene: Scene, view: View) -> tuple[Table, ...]:
    """All tables of a scene, in the order in which they are read."""
    return (_ratios(view), _reverberation(view), _levels(scene, view), _events(view), _clips(view))


def _ratios(view: View) -> Table:
    row = view.row
    noisy = any(sounding.role == "noise" for sounding in view.soundings)
    rows = [
        (
            "SNR: targets to noise",
            number(row["snr_requested_db"], "dB", 2),
            number(row["snr_achieved_db"], "dB", 2) if noisy else "no noise",
        )
    ]
    if row["sir_requested_db"] is not None or row["sir_achieved_db"] is not None:
        asked, got = row["sir_requested_db"], row["sir_achieved_db"]
        rows.append(("SIR: targets to interferers", number(asked, "dB", 2), number(got, "dB", 2)))
    rows += [
        ("DRR: direct to reverberant", EN_DASH, number(row["drr_db"], "dB")),
        ("C50: first 50 ms to the rest", EN_DASH, number(row["c50_db"], "dB")),
        ("EDT: early decay time", EN_DASH, number(row["edt_s"], "s", 2)),
    ]
    return Table(
        title="Ratios and clarity", heads=("", "#requested", "#measured"), rows=tuple(rows)
    )


def _reverberation(view: View) -> Table:
    room, row = view.spec.room, view.row
    n_bands = len(room.band_hz)
    asked = per_band(row["rt60_requested_s"], n_bands)
    got = [*per_band(row["rt60_measured_s"], n_bands), row["rt60_broadband_s"]]
    stated = any(value is not None for value in asked)
    rows = [("requested", *(number(value, digits=2) for value in [*asked, None]))] if stated else []
    rows.append(("measured", *(number(value, digits=2) for value in got)))
    return Table(
        title="T60 in s per octave band",
        heads=("Hz", *(f"#{hertz(band)}" for band in room.band_hz), "#all"),
        rows=tuple(rows),
        note="" if stated else f"Requested: {untold_t60(view.spec)}.",
    )


def _events(view: View) -> Table:
    doubts = dict.fromkeys(
        f"{s.name}: {s.estimate.doubt}" for s in view.soundings if s.estimate and s.estimate.doubt
    )
    return Table(
        title="Events",
        heads=(
            *("event", "role", "emitter", "caption", "#dry, s", "#with tail to, s"),
            *("label", "from the audio", "#error", "#distance", "#local SNR", "#DRR"),
        ),
        rows=tuple(_event(sounding) for sounding in view.soundings),
        colours=tuple(sounding.colour for sounding in view.soundings),
        note=f"* Expect errors: {'; '.join(doubts)}." if doubts else "",
        wide=True,
    )


def _event(sounding: Sounding) -> tuple[str, ...]:
    columns, estimate = sounding.columns, sounding.estimate
    start, stop = (columns[f"distance_{end}_m"] for end in ("start", "end"))
    moved = start is not None and stop is not None and abs(stop - start) >= 0.01
    return (
        sounding.name,
        sounding.role,
        sounding.emitter,
        columns["caption"] or "",
        f"{sounding.dry_s[0]:.2f} to {sounding.dry_s[1]:.2f}",
        number(sounding.wet_s[1], digits=2),
        *_directions(sounding),
        number(estimate.error_deg, "°") + ("*" if estimate.doubt else "") if estimate else EN_DASH,
        f"{number(start, digits=2)} to {number(stop, 'm', 2)}" if moved else number(start, "m", 2),
        number(columns["local_snr_db"], "dB"),
        number(columns["drr_db"], "dB"),
    )


def _directions(sounding: Sounding) -> tuple[str, str]:
    """The label, and what the audio tells or why it tells nothing."""
    columns, estimate = sounding.columns, sounding.estimate
    if estimate is not None:
        label = direction(*estimate.label_deg)
        if estimate.reach == "side":
            label += f" ({told(estimate.told_deg, estimate.reach)})"
        return label, told(estimate.estimated_deg, estimate.reach)
    if columns["azimuth_start_deg"] is None:
        return "from all around", EN_DASH
    label = direction(columns["azimuth_start_deg"], columns["elevation_start_deg"])
    return label, EN_DASH if sounding.role == "noise" else sounding.no_estimate


def _levels(scene: Scene, view: View) -> Table:
    return Table(
        title="Levels per format",
        heads=("format", "#channels", "#peak, dB FS", "#RMS of the first, dB FS", "#SNR"),
        rows=tuple(
            (
                name,
                str(len(audio)),
                _decibels(float(np.max(np.abs(audio), initial=0.0))),
                _decibels(float(np.sqrt(np.mean(np.square(audio[0], dtype=np.float64))))),
                number(view.row.get(f"snr_{name}_db"), "dB", 2),
            )
            for name, audio in scene.audio_by_format.items()
        ),
        note="Full scale is that of a clip at 1 m; scenes may exceed it.",
    )


def _decibels(amplitude: float) -> str:
    return number(20 * float(np.log10(amplitude)), sign=True) if amplitude > 0 else "silent"


def _clips(view: View) -> Table:
    found = dict.fromkeys(_clip(sounding.columns) for sounding in view.soundings)
    return Table(
        title="Clips",
        heads=("corpus", "clip", "licence", "classes", "group"),
        rows=tuple(row for row in found if row[1]),
        wide=True,
    )


def _clip(columns: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        columns["corpus"] or "",
        columns["clip"] or "",
        columns["licence"] or "not stated",
        ", ".join(columns["labels"] or ()),
        columns["group"] or "",
    )


def label_errors(view: View) -> Iterator[float]:
    """Angles between label and audio in degrees, of the events that have both."""
    return (s.estimate.error_deg for s in view.soundings if s.estimate is not None)


def classes_of(soundings: Sequence[Sounding]) -> list[str]:
    """Classes that sound in a scene, noise aside, each once."""
    labels = (label for s in soundings if s.role != "noise" for label in s.columns["labels"] or ())
    return list(dict.fromkeys(labels))
