"""The room from the side: how high everything is, and how far the listener's nose points up."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.transforms import Bbox

from scenesynth.plots.labels import place_labels
from scenesynth.plots.style import EDGE, INK, entitle
from scenesynth.plots.text import MINUS, fitting, number
from scenesynth.preview.marks import (
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
from scenesynth.scene.spec import Emitter

NAMES: Final = 1.2
"""Inches that the name of an emitter may take."""

LEVEL_DEG: Final = 0.5
"""A nose within this is level."""


def side_axis(room: Room) -> int:
    """What runs to the right in a side view: x (0), or y (1) where the room is longer there."""
    return 0 if room.size_m[0] >= room.size_m[1] else 1


def draw_side(
    axes: Axes, view: View, renderer: RendererBase, right: float, mesh: Mesh | None = None
) -> None:
    """The room along its shorter side: floor, ceiling, listener and every emitter at its height.

    Args:
        axes: as large as the room is, on the scale that is wanted.
        right: as far as labels may go, in pixels.
        mesh: the room's, if it is one and at hand.
    """
    across = side_axis(view.spec.room)
    plane = (across, 2)
    length, height = (view.spec.room.size_m[axis] for axis in plane)
    _draw_shell(axes, view.spec.room, across, mesh)
    name = "xy"[across]
    axes.set(xticks=metre_ticks(length, 8), yticks=metre_ticks(height, 4), ylabel="z in m")
    axes.set_xlabel(f"{name} in m", loc="left")
    axes.grid()
    axes.set_axisbelow(True)
    along = ("along +y", f"along {MINUS}x")[across]
    entitle(axes, "From the side", f"looking {along}, {name} to the right")
    for spine in axes.spines.values():
        spine.set_visible(False)
    emitters = sounding_emitters(view)
    for emitter, sounding in emitters:
        at = seen(emitter.keyframes[0].position_m, plane)
        axes.plot([at[0], at[0]], [0, at[1]], ":", color=sounding.colour, lw=1)
        draw_way(axes, way(emitter.keyframes, plane), sounding.colour)
        draw_emitter(axes, at, sounding)
    ear = seen(view.spec.listener[0].position_m, plane)
    nose = seen(nose_tip(view), plane)
    axes.plot([ear[0], ear[0]], [0, ear[1]], color=EDGE, lw=1)
    draw_way(axes, way(view.spec.listener, plane), INK)
    draw_listener(axes, ear, nose)
    box, wall = axes.get_window_extent(), axes.transData.transform((0, 0))[0]
    labels = [_label(emitter, sounding, across) for emitter, sounding in emitters]
    place_labels(
        axes,
        renderer,
        [(ear, _of_listener(view), INK), *labels],
        away_from=(ear[0], ear[1] - 0.3),
        inside=Bbox.from_extents(wall, box.y0, max(box.x1, right), box.y1).padded(-3),
        taken=_taken(axes, view, plane, (ear, nose)),
        fontsize=8.5,
    )


def _draw_shell(axes: Axes, room: Room, across: int, mesh: Mesh | None) -> None:
    """Floor, ceiling and outer walls; of a floor plan its corners, of a mesh its shadow."""
    length, height = room.size_m[across], room.size_m[2]
    if mesh is not None:
        draw_shadow(axes, mesh, (across, 2))
        return
    draw_shell(axes, [(0.0, 0.0), (length, 0.0), (length, height), (0.0, height)])
    for corner in room.outline_m or ():
        axes.plot([corner[across]] * 2, [0, height], color=EDGE, lw=1, zorder=0.3)


def _label(
    emitter: Emitter, sounding: Sounding, across: int
) -> tuple[tuple[float, float], str, str]:
    place = emitter.keyframes[0].position_m
    colour = EDGE if sounding.role == "noise" else sounding.colour
    return (
        (place[across], place[2]),
        f"{fitting(sounding.name, NAMES, 8.5)} {place[2]:.2f} m",
        colour,
    )


def _of_listener(view: View) -> str:
    key = view.spec.listener[0]
    text = f"listener {key.position_m[2]:.2f} m"
    if abs(key.pitch_deg) < LEVEL_DEG:
        return text
    sense = "up" if key.pitch_deg > 0 else "down"
    return f"{text}, nose {number(abs(key.pitch_deg), '°', 0)} {sense}"


def _taken(axes: Axes, view: View, plane: tuple[int, int], arrow: Line) -> list[Bbox]:
    """Markers, their stands, the nose, floor, ceiling and right wall, and ways."""
    length, height = (view.spec.room.size_m[axis] for axis in plane)
    moving = [view.spec.listener, *(emitter.keyframes for emitter in view.spec.emitters)]
    places = [seen(keys[0].position_m, plane) for keys in moving]
    lines: list[Line] = [((x, 0.0), (x, z)) for x, z in places]
    lines.append(arrow)
    # Every few pixels, as labels are wide and low and would slip between sparser points.
    cuts = np.linspace(0, length, 9)
    lines += [((a, z), (b, z)) for z in (0.0, height) for a, b in pairwise(cuts)]
    lines.append(((length, 0.0), (length, height)))
    return taken(axes, [arrow[1], *places], lines, [way(keys, plane) for keys in moving])
