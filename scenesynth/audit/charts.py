"""Plots of an audit: from values to a figure, and nothing else.

Bars are what was looked at; a line over them is what it is compared with. All are shares of their
own number, so that sets of different sizes compare. Draw inside `plots.style.drawn_alike`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scenesynth.audit.bins import counts_of, shares_of
from scenesynth.audit.columns import Array
from scenesynth.plots.style import COLOURS, GRID, INK, QUIET, new_figure
from scenesynth.plots.text import drawable

SIZE_INCHES: Final = (4.6, 2.75)
LINE_COLOURS: Final = (INK, COLOURS[1], COLOURS[2], COLOURS[3], COLOURS[4], COLOURS[5])
_TICKS: Final = (1, 2, 2.5, 3, 5, 6, 10)
_LEGEND_CHARS: Final = 40
_LEGEND_LINE: Final = 0.07
DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values under a name.

    Attributes:
        values: finite ones. Shape: [values].
        colour: of its line or bars; "" for the next of its kind.
    """

    name: str
    values: Array
    colour: str = ""


def histogram(
    series: Sequence[Series],
    edges: Array,
    axis: str,
    counted: str,
    *,
    whole: bool = False,
    mark: float | None = None,
) -> Figure:
    """Bars of the first series, and lines of the others, over the same bins.

    Args:
        edges: of the bins. Shape: [bins + 1].
        axis: what the values are, with their unit.
        counted: what they are counted in, such as "scenes".
        whole: whether the values are whole numbers.
        mark: a value to draw a line at, such as the ratio that should be.
    """
    figure, axes = _begun(axis, f"% of {counted}")
    for n, each in enumerate(series):
        if not len(each.values):
            continue
        shares, name = shares_of(each.values, edges), drawable(each.name)
        if n == 0:
            axes.stairs(
                shares, edges, fill=True, color=each.colour or COLOURS[0], alpha=0.7, label=name
            )
        else:
            _outline(axes, edges, shares, each, n - 1, name)
    if mark is not None:
        axes.axvline(mark, color=QUIET, linewidth=1, linestyle=":")
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=_TICKS, integer=whole))
    return _ended(figure, axes)


def stacked(series: Sequence[Series], edges: Array, axis: str, counted: str) -> Figure:
    """Bars of all series upon each other, as counts: what they add up to is of all."""
    figure, axes = _begun(axis, counted)
    base = np.zeros(len(edges) - 1)
    for n, each in enumerate(series):
        counts = counts_of(each.values, edges)
        axes.stairs(
            base + counts,
            edges,
            baseline=base,
            fill=True,
            color=each.colour or COLOURS[n % len(COLOURS)],
            alpha=0.75,
            label=drawable(each.name),
        )
        base = base + counts
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return _ended(figure, axes)


def ranks(series: Sequence[Series], axis: str, counted: str) -> Figure:
    """How often each thing is used, from the most used one on, a line for each series.

    Args:
        series: uses of each thing, one thing at least.
    """
    figure, axes = _begun(axis, counted)
    for n, each in enumerate(series):
        uses = np.sort(each.values)[::-1]
        # Where the height changes is all there is to see, however many things there are.
        steps = np.flatnonzero(np.diff(uses)) + 1
        edges = np.concatenate([[0], steps, [len(uses)]]) + 0.5
        axes.stairs(
            uses[np.concatenate([[0], steps])],
            edges,
            baseline=None,
            color=each.colour or COLOURS[n % len(COLOURS)],
            linestyle=DASHES[n % len(DASHES)],
            linewidth=1.6,
            label=drawable(each.name),
        )
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    return _ended(figure, axes)


def ranges(
    series: Sequence[tuple[str, Array]], labels: Sequence[str], axis: str, mark: float
) -> Figure:
    """Median (dot) and 5 to 95 % (bar) of each column of the values.

    Args:
        series: a name and its values, NaN for none. Shape: [rows, columns].
        labels: of the columns.
        axis: what the values are, with their unit.
        mark: the value that they should have.
    """
    figure, axes = _begun("octave band in Hz", axis)
    for n, (name, values) in enumerate(series):
        columns = [values[np.isfinite(values[:, k]), k] for k in range(len(labels))]
        kept = [k for k, column in enumerate(columns) if len(column)]
        if not kept:
            continue
        low, middle, high = np.transpose([np.quantile(columns[k], (0.05, 0.5, 0.95)) for k in kept])
        at = np.array(kept) + 0.24 * (n - (len(series) - 1) / 2)
        style: dict[str, Any] = {"color": COLOURS[n % len(COLOURS)]}
        axes.vlines(at, low, high, linewidth=5, alpha=0.45, **style)
        axes.plot(at, middle, "o", markersize=5, label=drawable(name), **style)
    axes.axhline(mark, color=QUIET, linewidth=1, linestyle=":")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    return _ended(figure, axes)


def _outline(axes: Axes, edges: Array, shares: Array, each: Series, place: int, name: str) -> None:
    axes.stairs(
        shares,
        edges,
        color=each.colour or LINE_COLOURS[place % len(LINE_COLOURS)],
        linestyle=DASHES[place % len(DASHES)],
        linewidth=1.6,
        label=name,
    )


def _begun(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = new_figure(*SIZE_INCHES)
    axes = figure.add_axes((0.15, 0.175, 0.81, 0.70))
    axes.set_xlabel(drawable(x_label, 60), parse_math=False)
    axes.set_ylabel(drawable(y_label, 40), parse_math=False)
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _ended(figure: Figure, axes: Axes) -> Figure:
    """With a legend above the plot, where there is something to tell apart."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) < 2:
        return figure
    columns = 3 if sum(map(len, names)) < _LEGEND_CHARS else 2
    if more := math.ceil(len(names) / columns) - 1:
        left, bottom, width, height = axes.get_position().bounds
        axes.set_position((left, bottom, width, height - _LEGEND_LINE * more))
    legend = axes.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.99),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
        handlelength=1.8,
        columnspacing=1.4,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
