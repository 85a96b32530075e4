"""One look for every plot of this package: colours, type, and how a figure is begun.

Plots are Matplotlib's: it draws the same thing as PNG for a terminal or a paper and as SVG for a
page, and needs no script in that page. Libraries that draw in the browser (Plotly, Bokeh) would add
megabytes to each file, and a browser to each PNG.

Colours are written here as they are on white. Pages that are shown dark exchange those of `THEMED`,
each through a CSS variable (`plots.svg`), so a plot uses no other greys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scenesynth.plots.text import FONT

PAPER: Final = "#FFFFFF"
FLOOR: Final = "#FAFAF7"
GRID: Final = "#E6E6E6"
RULE: Final = "#CCCCCC"
EDGE: Final = "#999999"
NOISE_COLOUR: Final = "#7A7A7A"
QUIET: Final = "#6A6A6A"
INK: Final = "#222222"

THEMED: Final[Mapping[str, str]] = {
    PAPER: "paper",
    FLOOR: "floor",
    GRID: "grid",
    RULE: "rule",
    EDGE: "edge",
    NOISE_COLOUR: "noise",
    QUIET: "quiet",
    INK: "ink",
}
"""Colours that a theme exchanges, with the names of their CSS variables."""

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe & Ito (2008), told apart by colour-blind readers; its yellow is too pale on white."""

STYLE: Final = {
    "font.family": FONT,
    "font.size": 9.5,
    "text.color": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # given, not found among ticks, which takes long
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": EDGE,
    "axes.linewidth": 0.8,
    "axes.facecolor": PAPER,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": PAPER,
}


@contextmanager
def drawn_alike() -> Iterator[None]:
    """A context in which figures are made and saved: a user's matplotlibrc changes nothing."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def new_figure(width_inches: float, height_inches: float, dpi: float = 100) -> Figure:
    """An empty figure that needs no display. Call it, and save it, inside `drawn_alike`."""
    figure = Figure(figsize=(width_inches, height_inches), dpi=dpi)
    FigureCanvasAgg(figure)
    return figure


def axes_at(
    figure: Figure, left: float, top: float, width: float, height: float, **settings: Any
) -> Axes:
    """Axes at a place in inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    box = (left / across, 1 - (top + height) / down, width / across, height / down)
    return figure.add_axes(box, **settings)


def entitle(axes: Axes, title: str, note: str = "") -> None:
    """A title on the left, and on the right, smaller and quiet, what there is to know about it."""
    axes.set_title(title, loc="left", parse_math=False)
    if note:
        quiet: dict[str, Any] = {"fontsize": 8, "fontweight": "normal", "color": QUIET}
        axes.set_title(note, loc="right", parse_math=False, **quiet)
