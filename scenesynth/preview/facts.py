"""The numbers beside a picture: what was asked for, what was measured, and how directions agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from scenesynth.plots.style import INK, QUIET, RULE
from scenesynth.plots.text import direction, drawable, hertz, number
from scenesynth.preview.told import per_band, told, untold_t60
from scenesynth.preview.view import Sounding, View

SNR = "Target / noise (SNR)"
MAX_DIRECTIONS = 6
MAX_DOUBTS = 3
ROWS = 23  # lines of text that fit: 5 ratios, 3 for T60, 8 for directions, 6 notes, and gaps


def draw_facts(axes: Axes, view: View, exports: Sequence[str]) -> None:
    """Ratios and acoustics, T60 per band, and label against estimate per event.

    Args:
        exports: what wavs were made of and how, in words.
    """
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(ROWS, 0))
    y = _draw_ratios(axes, view, 0.6)
    y = _draw_t60(axes, view, y + 0.6)
    y = _draw_directions(axes, view, y + 0.6)
    for note in [*_limits(view), *_doubts(view), *exports]:
        _cell(axes, 0, y, note, color=QUIET, fontsize=8.5)
        y += 0.9


def _draw_ratios(axes: Axes, view: View, y: float) -> float:
    row = view.row
    _heads(axes, y, [(0, "Ratios", "left"), (0.42, "requested", "right"), (0.6, "got", "right")])
    lines = [(SNR, row["snr_requested_db"], row["snr_achieved_db"], 2)]
    if row["sir_requested_db"] is not None or row["sir_achieved_db"] is not None:
        lines.append(("Target / interferer", row["sir_requested_db"], row["sir_achieved_db"], 2))
    lines += [("Direct / reverb. (DRR)", None, row["drr_db"], 1)]
    lines += [("Clarity C50", None, row["c50_db"], 1)]
    for n, (name, asked, got, digits) in enumerate(lines, start=1):
        _cell(axes, 0, y + n, name)
        if name == SNR and not any(s.role == "noise" for s in view.soundings):
            _cell(axes, 0.6, y + n, "no noise", ha="right", color=QUIET)
            continue
        _cell(axes, 0.42, y + n, number(asked, "dB", digits), ha="right")
        _cell(axes, 0.6, y + n, number(got, "dB", digits), ha="right")
    listener = view.spec.listener[0]
    about = [
        f"Listener {listener.position_m[2]:.2f} m high",
        f"yaw {number(listener.yaw_deg, '°', 0, True)}, "
        f"pitch {number(listener.pitch_deg, '°', 0, True)}, "
        f"roll {number(listener.roll_deg, '°', 0, True)}",
        f"{view.spec.air.temperature_c:.1f} °C, {view.spec.air.humidity_pct:.0f} % humidity",
    ]
    for n, text in enumerate(about, start=1):
        _cell(axes, 0.66, y + n, text, color=QUIET, fontsize=8.5)
    return y + len(lines) + 1


def _draw_t60(axes: Axes, view: View, y: float) -> float:
    bands = view.spec.room.band_hz
    at = [0.27 + 0.73 * (n + 0.8) / (len(bands) + 1) for n in range(len(bands) + 1)]
    heads = [hertz(band) for band in bands] + ["all"]
    _heads(
        axes,
        y,
        [(0, "T60 in s per octave", "left")]
        + [(x, head, "right") for x, head in zip(at, heads, strict=True)],
    )
    asked = [*per_band(view.row["rt60_requested_s"], len(bands)), None]
    got = [*per_band(view.row["rt60_measured_s"], len(bands)), view.row["rt60_broadband_s"]]
    if any(value is not None for value in asked):
        _bands_row(axes, y + 1, "Requested", at, asked)
    else:
        _cell(axes, 0, y + 1, "Requested")
        _cell(axes, 0.27, y + 1, untold_t60(view.spec), color=QUIET)
    _bands_row(axes, y + 2, "Measured", at, got)
    return y + 3


def _bands_row(
    axes: Axes, y: float, name: str, at: Sequence[float], values: Sequence[float | None]
) -> None:
    _cell(axes, 0, y, name)
    for x, value in zip(at, values, strict=True):
        _cell(axes, x, y, number(value, digits=2), ha="right")


def _draw_directions(axes: Axes, view: View, y: float) -> float:
    labelled = _labelled(view)
    columns = [(0.0, "Direct path", "left"), (0.34, "label", "left"), (0.6, _source(view), "left")]
    _heads(axes, y, [*columns, (1.0, "error", "right")])
    for n, sounding in enumerate(labelled[:MAX_DIRECTIONS], start=1):
        _draw_direction_row(axes, sounding, y + n)
    hidden = len(labelled) - MAX_DIRECTIONS
    if hidden > 0:
        _cell(axes, 0, y + MAX_DIRECTIONS + 1, f"and {hidden} more", color=QUIET)
    return y + min(len(labelled), MAX_DIRECTIONS) + (2 if hidden > 0 else 1)


def _source(view: View) -> str:
    told_of_label = view.directions is not None and view.directions.reach == "side"
    return "from audio (of label)" if told_of_label else "from audio"


def _draw_direction_row(axes: Axes, sounding: Sounding, y: float) -> None:
    axes.plot([0.008], [y], "s", color=sounding.colour, ms=6)
    _cell(axes, 0.025, y, drawable(sounding.name, 18), weight="bold")
    estimate = sounding.estimate
    if estimate is None:
        columns = sounding.columns
        label = direction(columns["azimuth_start_deg"], columns["elevation_start_deg"])
        _cell(axes, 0.34, y, label)
        _cell(axes, 0.6, y, drawable(sounding.no_estimate, 30), color=QUIET)
        return
    mark = "*" if estimate.doubt else ""
    _cell(axes, 0.34, y, direction(*estimate.label_deg))
    found = told(estimate.estimated_deg, estimate.reach)
    if estimate.reach == "side":
        found += f" (of {number(estimate.told_deg[0], '°', 0, True)})"
    _cell(axes, 0.6, y, found)
    _cell(axes, 1.0, y, number(estimate.error_deg, "°") + mark, ha="right")


def _limits(view: View) -> list[str]:
    """What the shown format cannot tell."""
    name = drawable(view.format.name, 20)
    if view.directions is None or view.directions.reach == "all":
        return []
    if view.directions.reach == "upper":
        return [f"{name} takes up for down: elevations are compared without their sign"]
    return [f"{name} tells lateral angles alone: front and back, up and down are alike"]


def _doubts(view: View) -> list[str]:
    """What the asterisks mean: each reason with the events that it holds for."""
    names: dict[str, list[str]] = {}
    for sounding in _labelled(view)[:MAX_DIRECTIONS]:
        if sounding.estimate is not None and sounding.estimate.doubt:
            names.setdefault(sounding.estimate.doubt, []).append(sounding.name)
    return [
        f"* {drawable(', '.join(dict.fromkeys(given)), 40)}: {doubt}"
        for doubt, given in list(names.items())[:MAX_DOUBTS]
    ]


def _labelled(view: View) -> list[Sounding]:
    return [sounding for sounding in view.soundings if sounding.role != "noise"]


def _heads(axes: Axes, y: float, heads: Sequence[tuple[float, str, str]]) -> None:
    for n, (x, text, ha) in enumerate(heads):
        weight = "bold" if n == 0 else "normal"
        _cell(axes, x, y, text, ha=ha, weight=weight, color=INK if n == 0 else QUIET)
    axes.plot([0, 1], [y + 0.5, y + 0.5], color=RULE, lw=0.8, clip_on=False)


def _cell(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    axes.text(x, y, text, **{"fontsize": 9, "va": "center", "parse_math": False, **style})
