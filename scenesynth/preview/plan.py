"""The room from above, with the listener's heading and every emitter."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from scenesynth.plots.labels import place_labels
from scenesynth.plots.style import EDGE, INK, NOISE_COLOUR, entitle
from scenesynth.plots.text import TIMES, drawable, fitting, number
from scenesynth.preview.marks import (
    MARKERS,
    Line,
    draw_emitter,
    draw_listener,
    draw_shadow,
    draw_shell,
    draw_way,
    metre_ticks,
    nose_tip,
    seen,
    sounding_emitters,
    taken,
    way,
)
from scenesynth.preview.view import Sounding, View
from scenesynth.room.mesh import Mesh
from scenesynth.room.model import Room
from scenesynth.room.outline import edges
from scenesynth.scene.spec import Emitter

ABOVE = (0, 1)
NAMES = 1.5
"""Inches that the name of an emitter may take."""


def draw_plan(
    axes: Axes, view: View, renderer: RendererBase, right: float, mesh: Mesh | None = None
) -> None:
    """The room from above: listener with heading, and every emitter.

    Args:
        axes: as large as the room is, on the scale that is wanted.
        right: as far as labels may go, in pixels.
        mesh: the room's, if it is one and at hand.
    """
    length, width, height = view.spec.room.size_m
    _draw_walls(axes, view.spec.room, mesh)
    axes.set(xticks=metre_ticks(length, 8), yticks=metre_ticks(width, 6), ylabel="y in m")
    axes.set_xlabel("x in m", loc="left")
    axes.grid()
    axes.set_axisbelow(True)
    size = f" {TIMES} ".join(f"{side:.2f}" for side in (length, width, height))
    entitle(axes, f"Room {drawable(view.spec.room.id, 24)}: {size} m")
    for spine in axes.spines.values():
        spine.set_visible(False)
    ear = seen(view.spec.listener[0].position_m, ABOVE)
    emitters = sounding_emitters(view)
    for emitter, sounding in emitters:
        start = seen(emitter.keyframes[0].position_m, ABOVE)
        axes.plot(*zip(ear, start, strict=True), ":", color=sounding.colour, lw=1)
        draw_way(axes, way(emitter.keyframes, ABOVE), sounding.colour)
        draw_emitter(axes, start, sounding)
    draw_way(axes, way(view.spec.listener, ABOVE), INK)
    draw_listener(axes, ear, seen(nose_tip(view), ABOVE))
    (left, bottom), (end, top) = axes.transData.transform([(0, 0), (length, width)])
    place_labels(
        axes,
        renderer,
        [_label(emitter, sounding) for emitter, sounding in emitters],
        away_from=ear,
        inside=Bbox.from_extents(left, bottom, max(end, right), top).padded(-3),
        taken=_taken(axes, view),
        fontsize=8.5,
    )
    _draw_key(axes, view, right)


def _draw_walls(axes: Axes, room: Room, mesh: Mesh | None) -> None:
    """The floor plan; of a mesh its shadow, inside which some of the walls may be overhead."""
    length, width, _ = room.size_m
    if mesh is not None:
        draw_shadow(axes, mesh, ABOVE)
    else:
        box = [(0.0, 0.0), (length, 0.0), (length, width), (0.0, width)]
        draw_shell(axes, room.outline_m or box)


def _draw_key(axes: Axes, view: View, right: float) -> None:
    """What the markers mean, for those that are there."""
    roles = {sounding.role for _, sounding in sounding_emitters(view)}
    handles = [
        Line2D([], [], marker=MARKERS[role], color=NOISE_COLOUR, lw=0, ms=8, label=role)
        for role in MARKERS
        if role in roles
    ]
    if len(view.spec.diffuse):
        around: dict[str, Any] = {"marker": "o", "mfc": "none", "mec": NOISE_COLOUR, "lw": 0}
        handles += [Line2D([], [], ms=9, label="diffuse noise", **around)]
    handles += [Line2D([], [], marker=">", color=INK, lw=0, ms=7, label="listener's nose")]
    box = axes.get_window_extent()
    axes.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=((right - box.x0) / box.width, -0.23 * axes.figure.dpi / box.height),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        handletextpad=0.1,
        columnspacing=0.9,
        borderpad=0,
    )


def _label(emitter: Emitter, sounding: Sounding) -> tuple[tuple[float, float], str, str]:
    x, y, _ = emitter.keyframes[0].position_m
    away = number(sounding.columns["distance_start_m"], "m")
    colour = EDGE if sounding.role == "noise" else sounding.colour
    return (x, y), f"{fitting(sounding.name, NAMES, 8.5)}\n{away} away", colour


def _taken(axes: Axes, view: View) -> list[Bbox]:
    """Of a rectangle the right wall only: labels stay inside of the others anyway."""
    ear = seen(view.spec.listener[0].position_m, ABOVE)
    length, width, _ = view.spec.room.size_m
    ends = [seen(emitter.keyframes[0].position_m, ABOVE) for emitter in view.spec.emitters]
    nose = seen(nose_tip(view), ABOVE)
    lines: list[Line] = [(ear, end) for end in [*ends, nose]]
    outline = view.spec.room.outline_m
    lines += edges(outline) if outline else [((length, 0.0), (length, width))]
    moving = [view.spec.listener, *(emitter.keyframes for emitter in view.spec.emitters)]
    return taken(axes, [ear, nose, *ends], lines, [way(keys, ABOVE) for keys in moving])
