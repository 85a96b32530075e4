"""A plot with its words and figures, for a report.

What there is nothing of, or only one value of, is said in words and not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup

from scenesynth.audit import charts, sphere
from scenesynth.audit.bins import beyond, edges_of
from scenesynth.audit.charts import Series
from scenesynth.audit.columns import Array, present
from scenesynth.audit.compare import spread_of, spread_text
from scenesynth.audit.quantities import (
    T60_RATIO,
)
from scenesynth.plots.svg import to_svg
from scenesynth.plots.text import number
from scenesynth.room.model import OCTAVE_BANDS_HZ

_FAR_APART: Final = 3.0
_SHOULD_BE: Final = {T60_RATIO.name: 1.0, "snr_error_db": 0.0}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A plot with its words; or words alone.

    Attributes:
        plot: inline SVG; None where words say it all.
        note: what it shows, with the main figures.
        head, rows: a table of figures; no rows where there is none.
    """

    title: str
    note: str
    plot: Markup | None = None
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def histogram_panel(
    title: str,
    series: Sequence[Series],
    *,
    axis: str,
    counted: str,
    unit: str,
    digits: int = 2,
    whole: bool = False,
    circle: float | None = None,
    mark: float | None = None,
    more: Sequence[Series] = (),
    pile: bool = False,
) -> Panel:
    """A histogram with its quantiles; words where there is nothing, or one value only.

    Args:
        series: the first is drawn as bars, the others as lines over them.
        more: series whose quantiles are shown, but which are not drawn.
        pile: whether all series are bars upon each other, as parts of a whole.
    """
    there = [each for each in series if len(each.values)]
    if not any(len(each.values) for each in (series if pile else series[:1])) and len(there) < 2:
        expected = f"; {there[0].name}: {_told(there[0], unit, digits)}" if there else ""
        return Panel(title=title, note=f"none{expected}")
    if _one_value(there, digits):
        return Panel(title=title, note=f"{_told(there[0], unit, digits)} in all {counted}")
    around = 0.0 if pile else mark
    edges = edges_of([each.values for each in there], whole=whole, around=around, circle=circle)
    note = "; ".join(f"{each.name}: {_told(each, unit, digits)}" for each in there)
    if far := sum(beyond(each.values, edges) for each in there):
        note += f". Bins at the ends have {far} values from further out"
    if pile:
        figure = charts.stacked(there, edges, axis, counted)
    else:
        figure = charts.histogram(series, edges, axis, counted, whole=whole, mark=mark)
    return Panel(
        title=title,
        note=note,
        plot=to_svg(figure, title, note),
        head=("", "n", "least", "5 %", "median", "95 %", "most"),
        rows=tuple(_quantiles(each, digits) for each in (*there, *more)),
    )


def _told(series: Series, unit: str, digits: int) -> str:
    """Median and range in words."""
    return spread_text(spread_of(series.values), unit, digits)


def _one_value(series: Sequence[Series], digits: int) -> bool:
    """Whether all values are the same, as far as is shown of them."""
    values = np.concatenate([each.values for each in series])
    return bool(np.ptp(values) < 0.1 * 10.0**-digits)


def _quantiles(series: Series, digits: int) -> tuple[str, ...]:
    values = series.values
    levels = (0, 0.05, 0.5, 0.95, 1)
    found = np.quantile(values, levels) if len(values) else np.full(len(levels), np.nan)
    figures = tuple(number(float(value), "", digits) for value in found)
    return (series.name, str(len(values)), *figures)


def bands_panel(title: str, series: Sequence[tuple[str, Array]], axis: str, mark: float) -> Panel:
    """Medians and ranges of a quantity that has a value for each octave band.

    Args:
        series: names and values, NaN for none. Shape: [rows, bands].
        axis: what the values are.
        mark: what they should be.
    """
    there = [(name, values) for name, values in series if np.isfinite(values).any()]
    if not there:
        return Panel(title=title, note="none")
    labels = [f"{band / 1000:g}k" if band >= 1000 else f"{band:g}" for band in OCTAVE_BANDS_HZ]
    told = [f"{name}: medians {', '.join(_medians(values))}" for name, values in there]
    note = f"From {labels[0]} Hz on, {'; '.join(told)}. Dots are medians, bars 5 to 95 %"
    return Panel(
        title=title,
        note=note,
        plot=to_svg(charts.ranges(there, labels, axis, mark), title, note),
        head=("Hz", *labels),
        rows=tuple(
            (name, *(spread_text(spread_of(present(column)), "", 2) for column in values.T))
            for name, values in there
        ),
    )


def _medians(values: Array) -> list[str]:
    return [number(spread_of(present(column)).median, "", 2) for column in values.T]


def map_panel(title: str, directions: tuple[Array, Array]) -> Panel:
    """How dense directions are over the sphere."""
    azimuth, elevation = directions
    if not len(azimuth):
        return Panel(title=title, note="none")
    sides = _sides(azimuth, elevation)
    note = (
        f"{len(azimuth)} directions: "
        + ", ".join(f"{share:.0f} % {name}" for name, share in sides.items())
        + ". Equal areas are equal solid angles; the stronger the colour, the denser"
    )
    figure = sphere.draw_density(azimuth, elevation)
    return Panel(
        title=title,
        note=note,
        plot=to_svg(figure, title, note),
        head=tuple(sides),
        rows=(tuple(f"{share:.1f} %" for share in sides.values()),),
    )


def ratio_panel(
    title: str, one: tuple[Array, Array], other: tuple[Array, Array], names: tuple[str, str]
) -> Panel:
    """Where one set of directions has more or fewer than another, by their names."""
    if not (len(one[0]) and len(other[0])):
        return Panel(title=title, note="none")
    cells = sphere.compared_cells(one, other)
    apart = np.abs(sphere.chance_scores(cells, one, other)) > _FAR_APART
    note = (
        f"Blue: relatively more in {names[0]} ({len(one[0])} directions); orange: in {names[1]} "
        f"({len(other[0])}). {int(apart.sum())} of {cells.n} equal areas are further apart than "
        f"chance explains ({_FAR_APART:g} standard deviations, sd)"
    )
    figure = sphere.draw_ratio(one, other, names)
    return Panel(title=title, note=note, plot=to_svg(figure, title, note))


def _uses(uses: Array) -> str:
    """How often things are used, in words."""
    if uses.max() == 1:
        return f"{len(uses)}, each once"
    mean = number(float(uses.mean()), "", 1)
    return f"{len(uses)}, each {mean} times on average, {uses.max():.0f} times at most"


def _sides(azimuth: Array, elevation: Array) -> dict[str, float]:
    """Share of directions in percent on each side of the listener."""
    side, front = np.sin(np.radians(azimuth)), np.cos(np.radians(azimuth))
    parts = {
        "left": side > 0,
        "right": side < 0,
        "in front": front > 0,
        "behind": front < 0,
        "above": elevation > 0,
        "below": elevation < 0,
    }
    return {name: 100 * float(np.mean(part)) for name, part in parts.items()}


def ranks_panel(title: str, series: Sequence[Series], axis: str, counted: str) -> Panel:
    """How often each of many things is used, from the most used one on."""
    if not series:
        return Panel(title=title, note="none")
    note = "; ".join(f"{each.name}: {_uses(each.values)}" for each in series)
    if max(each.values.max() for each in series) == 1:
        return Panel(title=title, note=note)
    return Panel(
        title=title,
        note=note,
        plot=to_svg(charts.ranks(series, axis, counted), title, note),
        head=("", "n", "least", "5 %", "median", "95 %", "most"),
        rows=tuple(_quantiles(each, 0) for each in series),
    )
