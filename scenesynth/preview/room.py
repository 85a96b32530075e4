"""A scene's room from above and from the side, on one scale."""

from __future__ import annotations

from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scenesynth.errors import ConfigError
from scenesynth.plots.style import axes_at
from scenesynth.plots.text import number
from scenesynth.preview.marks import sounding_emitters
from scenesynth.preview.plan import draw_plan
from scenesynth.preview.side import draw_side, side_axis
from scenesynth.preview.view import View
from scenesynth.room.mesh import Mesh, load_mesh
from scenesynth.room.model import Room

LARGEST: Final = 2.0
"""Inches to a metre, at most: a booth need not fill the page."""

_PAD, _TICKS, _TITLE, _FOOT, _HEAD = 0.1, 0.55, 0.35, 0.5, 0.36
_FIXED = 2 * (_TITLE + _FOOT) + 4 * _PAD + _HEAD


def room_height(view: View, width: float, most: float) -> float:
    """Inches that `draw_plan_and_side` takes of `most` in such a width."""
    _, across, high = view.spec.room.size_m
    return _scale(view.spec.room, width, most) * (across + high) + _FIXED


def _scale(room: Room, width: float, height: float) -> float:
    """Inches to a metre."""
    length, across, high = room.size_m
    sideways = (width - _TICKS - 2 * _PAD) / max(length, across)
    return min(sideways, (height - _FIXED) / (across + high), LARGEST)


def draw_plan_and_side(
    figure: Figure, view: View, left: float, top: float, width: float, height: float
) -> tuple[Axes, Axes]:
    """Plan and side view, one below the other, as large as fits.

    Args:
        left, top, width, height: in inches from the figure's upper left corner.
    """
    room = view.spec.room
    scale = _scale(room, width, height)
    along = side_axis(room)
    plan = _metres(figure, (left + _TICKS, top + _TITLE), room.size_m[:2], scale, 0.0)
    below = top + _TITLE + _FOOT + scale * room.size_m[1] + 2 * _PAD
    corner = (left + _TICKS, below + _TITLE)
    side = _metres(figure, corner, (room.size_m[along], room.size_m[2]), scale, _HEAD)
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    right, mesh = (left + width) * figure.dpi, _mesh(room)
    draw_plan(plan, view, renderer, right, mesh)
    draw_side(side, view, renderer, right, mesh)
    return plan, side


def _metres(
    figure: Figure,
    corner: tuple[float, float],
    size_m: tuple[float, ...],
    scale: float,
    head: float,
) -> Axes:
    """Axes of that many metres, with a margin around, and `head` inches more on top."""
    across, up = size_m
    pad_m = _PAD / scale
    axes = axes_at(figure, *corner, scale * across + 2 * _PAD, scale * up + 2 * _PAD + head)
    axes.set(xlim=(-pad_m, across + pad_m), ylim=(-pad_m, up + pad_m + head / scale))
    return axes


def _mesh(room: Room) -> Mesh | None:
    """None where the room is no mesh, or one that is not at hand: its box is drawn then."""
    if room.mesh is None:
        return None
    try:
        return load_mesh(room.mesh)
    except ConfigError:
        return None


def room_in_words(view: View) -> str:
    """What is where, for those who hear the page."""
    spec = view.spec
    size = " by ".join(number(side, digits=2) for side in spec.room.size_m)
    ear = spec.listener[0]
    parts = [
        f"{size} m; listener {number(ear.position_m[2], 'm', 2)} high, "
        f"pitch {number(ear.pitch_deg, '°', 0, True)}"
    ]
    for emitter, sounding in sounding_emitters(view):
        away = number(sounding.columns["distance_start_m"], "m")
        high = number(emitter.keyframes[0].position_m[2], "m", 2)
        parts.append(f"{sounding.name} ({sounding.role}) {away} away, {high} high")
    return "; ".join(parts)
