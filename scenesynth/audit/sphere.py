"""Directions on a map on which equal areas are equal solid angles.

Mollweide's: front in the middle, +90 (left) on the left, as one sees it looking ahead. What is
drawn is the density of directions in cells of equal area, as a multiple of an even one: 1 is what
directions spread evenly over the sphere would give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle

from scenesynth.audit.columns import Array
from scenesynth.plots.style import COLOURS, EDGE, GRID, INK, QUIET, new_figure
from scenesynth.plots.text import MINUS, number

SIZE_INCHES: Final = (4.6, 2.9)
A_CELL: Final = 8
"""Directions that a cell has on average: fewer, and chance is all that one sees."""
A_COMPARED_CELL: Final = 24
"""Likewise where two sets are compared, whose chance adds up."""
FEWEST: Final = 24
MOST: Final = 300
MOST_APART: Final = 5.0
"""Standard deviations of the strongest colour."""
_EDGE_POINTS: Final = 5
_OPAQUE: Final = 0.92


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A division of the sphere into rings of cells that all have the same area.

    Attributes:
        ring_edges: sines of the elevations that part the rings, from -1 to 1. Shape: [rings + 1].
        per_ring: cells of each ring. Shape: [rings].
    """

    ring_edges: Array
    per_ring: tuple[int, ...]

    @property
    def n(self) -> int:
        """Cells."""
        return sum(self.per_ring)


def cells_for(n_directions: int, a_cell: int = A_CELL) -> Cells:
    """About as many cells as so many directions can fill, as square as rings allow.

    A ring's height follows from its number of cells, so that areas are equal exactly.
    """
    wanted = min(max(n_directions // a_cell, FEWEST), MOST)
    n_rings = max(round(math.sqrt(wanted * math.pi) / 2), 3)
    elevations = np.linspace(-math.pi / 2, math.pi / 2, n_rings + 1)
    shares = np.diff(np.sin(elevations)) / 2
    per_ring = tuple(max(round(wanted * share), 3) for share in shares)
    edges = 2 * np.concatenate([[0], np.cumsum(per_ring)]) / sum(per_ring) - 1
    return Cells(ring_edges=edges, per_ring=per_ring)


def compared_cells(one: tuple[Array, Array], other: tuple[Array, Array]) -> Cells:
    """Cells for the comparison of two sets of directions."""
    return cells_for(min(len(one[0]), len(other[0])), A_COMPARED_CELL)


def counts_in(cells: Cells, azimuth_deg: Array, elevation_deg: Array) -> Array:
    """Directions in each cell: rings from below, each from -180 degrees on. Shape: [cells]."""
    height = np.sin(np.radians(elevation_deg))
    ring = np.searchsorted(cells.ring_edges, height, side="right") - 1
    ring = np.clip(ring, 0, len(cells.per_ring) - 1)
    width = np.asarray(cells.per_ring)[ring]
    turn = ((np.asarray(azimuth_deg) + 180) % 360) / 360
    place = np.minimum((turn * width).astype(np.intp), width - 1)
    first = np.concatenate([[0], np.cumsum(cells.per_ring)])[ring]
    return np.bincount(first + place, minlength=cells.n).astype(np.float64)


def densities(cells: Cells, azimuth_deg: Array, elevation_deg: Array) -> Array:
    """`counts_in` as multiples of what an even spread gives; their mean is 1. Shape: [cells]."""
    return counts_in(cells, azimuth_deg, elevation_deg) * cells.n / max(len(azimuth_deg), 1)


def project(azimuth_deg: Array, elevation_deg: Array) -> tuple[Array, Array]:
    """Places on the map, x from -2 (behind, by the left) to 2, y from -1 (below) to 1.

    Mollweide (1805): 2 t + sin 2t = pi sin(elevation), x = -azimuth/90 cos t, y = sin t; Newton's
    steps find t.
    """
    azimuth, elevation = np.broadcast_arrays(
        np.asarray(azimuth_deg, dtype=np.float64), np.radians(np.asarray(elevation_deg))
    )
    goal = math.pi * np.sin(elevation)
    angle = np.array(elevation, dtype=np.float64)
    for _ in range(30):
        slope = 2 + 2 * np.cos(2 * angle)
        angle -= (2 * angle + np.sin(2 * angle) - goal) / np.maximum(slope, 1e-9)
        angle = np.clip(angle, -math.pi / 2, math.pi / 2)
    return -azimuth / 90 * np.cos(angle), np.sin(angle)


def draw_density(azimuth_deg: Array, elevation_deg: Array) -> Figure:
    """How dense directions are, as multiples of an even spread: the darker, the denser."""
    cells = cells_for(len(azimuth_deg))
    density = densities(cells, azimuth_deg, elevation_deg)
    most = max(float(np.ceil(np.quantile(density, 0.98))), 2.0)
    figure, axes = _begun()
    _fill(axes, cells, np.clip(density / most, 0, 1), [COLOURS[0]] * cells.n)
    steps = np.linspace(0, 1, 6)
    _key(axes, steps, [COLOURS[0]] * 6, ("0", f"{most / 2:g}", f"{most:g} times even"))
    return figure


def draw_ratio(
    one: tuple[Array, Array], other: tuple[Array, Array], names: tuple[str, str]
) -> Figure:
    """Where `one` (blue) or `other` (orange) has a larger share of its directions.

    The colours tell by how many standard deviations that chance alone gives, up to `MOST_APART`.
    """
    cells = compared_cells(one, other)
    score = chance_scores(cells, one, other)
    figure, axes = _begun()
    colours = [COLOURS[0] if value > 0 else COLOURS[1] for value in score]
    _fill(axes, cells, np.clip(np.abs(score) / MOST_APART, 0, 1), colours)
    steps = np.abs(np.linspace(-1, 1, 9))
    key = [COLOURS[1]] * 4 + [COLOURS[0]] * 5
    texts = (f"{names[1]}, {MOST_APART:g} sd", "alike", f"{names[0]}, {MOST_APART:g} sd")
    _key(axes, steps, key, texts)
    return figure


def chance_scores(cells: Cells, one: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
    """Difference of the densities over its standard deviation if only chance parts them.

    With counts a of n and b of m in a cell: (a/n - b/m) / sqrt(p (1/n + 1/m)), p = (a+b) / (n+m).
    Shape: [cells].
    """
    a, b = counts_in(cells, *one), counts_in(cells, *other)
    n, m = max(len(one[0]), 1), max(len(other[0]), 1)
    pooled = (a + b) / (n + m)
    spread = np.sqrt(pooled * (1 / n + 1 / m))
    return np.divide(a / n - b / m, spread, out=np.zeros_like(a), where=spread > 0)


def _outlines(cells: Cells) -> list[Array]:
    """Each cell's outline on the map. Shape: [points, 2] each."""
    found = []
    up = np.linspace(0, 1, _EDGE_POINTS)
    for ring, n_cells in enumerate(cells.per_ring):
        low, high = np.degrees(np.arcsin(np.clip(cells.ring_edges[ring : ring + 2], -1, 1)))
        elevation = np.concatenate([low + (high - low) * up, high + (low - high) * up])
        for cell in range(n_cells):
            sides = -180 + 360 * np.array([cell, cell + 1]) / n_cells
            x, y = project(np.repeat(sides, _EDGE_POINTS), elevation)
            found.append(np.stack([x, y], axis=1))
    return found


def _fill(axes: Axes, cells: Cells, strength: Array, colours: list[str]) -> None:
    """Cells in their colours, the stronger the less the paper shines through."""
    shown = np.flatnonzero(strength > 0.01)
    if not len(shown):
        return
    outlines = _outlines(cells)
    axes.add_collection(
        PolyCollection(
            [outlines[n] for n in shown],
            facecolors=[colours[n] for n in shown],
            alpha=np.round(_OPAQUE * strength[shown], 2),
            linewidths=0,
        )
    )


def _begun() -> tuple[Figure, Axes]:
    figure = new_figure(*SIZE_INCHES)
    axes = figure.add_axes((0.01, 0.02, 0.98, 0.96))
    axes.set_xlim(-2.3, 2.3)
    axes.set_ylim(-1.58, 1.18)
    axes.set_aspect("equal")
    axes.axis("off")
    line = np.linspace(-90, 90, 61)
    for azimuth in (-90, 0, 90):
        axes.plot(*project(np.full(61, azimuth), line), color=GRID, linewidth=0.8, zorder=3)
    for elevation in (-60, -30, 0, 30, 60):
        x, y = project(np.array([180.0, -180.0]), np.full(2, elevation))
        axes.plot(x, y, color=GRID, linewidth=0.8, zorder=3)
        if elevation:
            label = number(elevation, "°", 0, sign=True)
            style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "color": QUIET}
            axes.text(x[0] - 0.04, y[0], label, **style)
    axes.add_patch(Ellipse((0, 0), 4, 2, fill=False, edgecolor=EDGE, linewidth=1, zorder=4))
    for place, text in ((0, "front"), (1, f"right {MINUS}90°"), (-1, "left +90°")):
        axes.text(place, 0.02, text, ha="center", va="bottom", fontsize=8.5, color=INK, zorder=5)
    for edge, side in ((-2.03, "right"), (2.03, "left")):
        axes.text(edge, 0, "back", ha=side, va="center", fontsize=8.5, color=INK)
    return figure, axes


def _key(axes: Axes, strength: Array, colours: list[str], names: tuple[str, str, str]) -> None:
    """A strip that says what the colours mean: at its left end, middle and right end."""
    left, width, low, high = -1.2, 2.4, -1.26, 0.12
    step = width / len(strength)
    for n, (value, colour) in enumerate(zip(strength.tolist(), colours, strict=True)):
        corner = (left + n * step, low)
        alpha = round(_OPAQUE * value, 2)
        axes.add_patch(Rectangle(corner, step, high, color=colour, alpha=alpha, linewidth=0))
    frame: dict[str, Any] = {"fill": False, "edgecolor": EDGE, "linewidth": 0.8}
    axes.add_patch(Rectangle((left, low), width, high, **frame))
    for place, text in zip((left, left + width / 2, left + width), names, strict=True):
        axes.text(place, low - 0.05, text, ha="center", va="top", fontsize=8, color=QUIET)
