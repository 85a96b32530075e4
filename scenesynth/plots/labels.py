"""Labels written beside points of a plot, where they cover nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike, NDArray

from scenesynth.plots.style import INK, PAPER

TEXT_WEIGHT = 8.0
"""How much worse it is to cover a text than a dot of a line or a marker."""
FAR = 18
"""Points from which on a label gets a line to its point."""
HALO = [withStroke(linewidth=2.5, foreground=PAPER, alpha=0.9)]


def place_labels(
    axes: Axes,
    renderer: RendererBase,
    items: Sequence[tuple[tuple[float, float], str, str]],
    *,
    away_from: tuple[float, float],
    inside: Bbox,
    taken: Sequence[Bbox] = (),
    **style: Any,
) -> None:
    """Write each (point, text, colour) near its point where it covers nothing else.

    Positions on growing rings around the point are tried in turn; the least covered one is kept,
    with a thin line of that colour back to the point where the label is far from it.

    Args:
        away_from: labels are tried first on the side turned away from this point.
        inside: display box that labels should not leave.
        taken: display boxes that no label may cover, such as markers.
    """
    boxes = list(taken)
    weights = [1.0] * len(boxes)
    for point, text, colour in items:
        at = tuple(axes.transData.transform(point))
        size = _note(axes, point, text, colour, (0.0, 0.0), style)
        extent = size.get_window_extent(renderer)
        size.remove()
        offsets = _rings(point, away_from)
        places = [_box(at, o, extent.width, extent.height, axes.figure.dpi) for o in offsets]
        box, offset = _freest(at, places, offsets, boxes, weights, inside)
        _note(axes, point, text, colour, offset, style)
        leader = _leader(at, box, offset)
        boxes += [box, *leader]
        weights += [TEXT_WEIGHT, *[1.0] * len(leader)]


def _rings(point: tuple[float, float], away_from: tuple[float, float]) -> list[tuple[float, float]]:
    """Offsets in points to try, in order."""
    away = math.atan2(point[1] - away_from[1], point[0] - away_from[0])
    angles = [math.radians(angle) for angle in range(0, 360, 45)]
    angles.sort(key=lambda angle: -math.cos(angle - away))
    return [
        (radius * math.cos(angle), radius * math.sin(angle))
        for radius in (11, 22, 34, 48, 64, 82, 102)
        for angle in angles
    ]


def _side(offset: float) -> int:
    """-1, 0 or 1: which way of its anchor a text lies."""
    return 0 if abs(offset) < 1 else 1 if offset > 0 else -1


def _box(
    at: Sequence[float], offset: tuple[float, float], width: float, height: float, dpi: float
) -> Bbox:
    """Display box of a text of that size at that offset, with a margin."""
    x, y = (origin + shift * dpi / 72 for origin, shift in zip(at, offset, strict=True))
    left = x + (_side(offset[0]) - 1) * width / 2
    bottom = y + (_side(offset[1]) - 1) * height / 2
    return Bbox.from_bounds(left - 2, bottom - 2, width + 4, height + 4)


def _note(
    axes: Axes,
    point: tuple[float, float],
    text: str,
    colour: str,
    offset: tuple[float, float],
    style: dict[str, Any],
) -> Annotation:
    far = {"arrowstyle": "-", "color": colour, "lw": 0.7, "alpha": 0.6}
    return axes.annotate(
        text,
        point,
        offset,
        textcoords="offset points",
        ha=("center", "left", "right")[_side(offset[0])],
        va=("center", "bottom", "top")[_side(offset[1])],
        color=INK,
        arrowprops=far if math.hypot(*offset) > FAR else None,
        annotation_clip=False,
        path_effects=HALO,
        parse_math=False,
        **style,
    )


def _leader(at: Sequence[float], place: Bbox, offset: tuple[float, float]) -> list[Bbox]:
    """Display boxes along the line from a label that is far from its point; none if it is near."""
    if math.hypot(*offset) <= FAR:
        return []
    x, y = at
    end = (min(max(x, place.x0), place.x1), min(max(y, place.y0), place.y1))
    shares = np.linspace(0.15, 0.9, 8)
    return [
        Bbox.from_bounds(x + s * (end[0] - x) - 2, y + s * (end[1] - y) - 2, 4, 4) for s in shares
    ]


def _freest(
    at: Sequence[float],
    places: Sequence[Bbox],
    offsets: Sequence[tuple[float, float]],
    boxes: Sequence[Bbox],
    weights: Sequence[float],
    inside: Bbox,
) -> tuple[Bbox, tuple[float, float]]:
    """The first place that covers and leaves nothing, else the one that does so least."""
    taken = np.array([box.extents for box in boxes]).reshape(-1, 4)
    weight = np.array(weights)
    texts = taken[weight == TEXT_WEIGHT]
    best, least = 0, math.inf
    for n, (place, offset) in enumerate(zip(places, offsets, strict=True)):
        outside = place.width * place.height - float(_overlap(place, [inside.extents])[0])
        cost = float(weight @ _overlap(place, taken)) + 4 * outside
        if cost < least:
            dots = _leader(at, place, offset)
            cost += TEXT_WEIGHT * sum(float(_overlap(dot, texts).sum()) for dot in dots)
        if cost < least:
            best, least = n, cost
        if least < 1e-6:
            break
    return places[best], offsets[best]


def _overlap(box: Bbox, others: ArrayLike) -> NDArray[np.float64]:
    """Area of `box` that each of `others`, rows of x0, y0, x1, y1, covers. Shape: [others]."""
    low, high = np.hsplit(np.asarray(others, dtype=np.float64), 2)
    sides = np.minimum(box.extents[2:], high) - np.maximum(box.extents[:2], low)
    return np.asarray(np.prod(np.maximum(sides, 0.0), axis=1))
