"""The room from above, to scale, with the listener's heading and every emitter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from scenesynth.plots.labels import place_labels
from scenesynth.plots.style import GRID, INK
from scenesynth.plots.text import TIMES, drawable
from scenesynth.preview.view import Sounding, View
from scenesynth.room.mesh import load_mesh
from scenesynth.room.model import Room
from scenesynth.room.outline import edges
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import Emitter, Keyframe

MARKERS = {"target": "o", "interferer": "^", "noise": "s"}


def draw_plan(axes: Axes, view: View, renderer: RendererBase) -> None:
    """The room from above, to scale: listener with heading, and every emitter."""
    length, width, height = view.spec.room.size_m
    margin = 0.09 * max(length, width)
    axes.set(xlim=(-margin, length + margin), ylim=(-margin, width + margin))
    axes.set_aspect("equal", anchor="NW")
    _draw_walls(axes, view.spec.room)
    axes.set_xlabel("x in m", loc="left")
    axes.set_ylabel("y in m")
    step = next(step for step in (0.5, 1, 2, 5, 10, 20, 50, 100) if max(length, width) / step <= 8)
    axes.set(xticks=np.arange(0, length + 1e-9, step), yticks=np.arange(0, width + 1e-9, step))
    axes.grid(color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    size = f" {TIMES} ".join(f"{side:.2f}" for side in (length, width, height))
    axes.set_title(
        f"Room {drawable(view.spec.room.id, 24)}: {size} m",
        loc="left",
        parse_math=False,
    )
    for spine in axes.spines.values():
        spine.set_visible(False)
    first = {sounding.emitter: sounding for sounding in reversed(view.soundings)}
    labels = []
    for emitter in view.spec.emitters:
        if emitter.id in first:
            _draw_emitter(axes, view, emitter, first[emitter.id])
            labels.append(_plan_label(emitter, first[emitter.id]))
    _draw_listener(axes, view)
    ear = view.spec.listener[0].position_m[:2]
    # Before this, display coordinates are those of axes that still fill their whole cell.
    axes.apply_aspect()
    place_labels(
        axes,
        renderer,
        labels,
        away_from=ear,
        inside=_room_for_labels(axes, view),
        taken=_occupied(axes, view),
        fontsize=8.5,
    )
    _draw_key(axes, view)


def _draw_walls(axes: Axes, room: Room) -> None:
    """The floor plan; of a mesh its shadow, inside which some of the walls may be overhead."""
    length, width, _ = room.size_m
    look: dict[str, Any] = {"fc": "#FAFAF7", "ec": INK, "lw": 2, "zorder": 0.2}
    if room.outline_m is not None:
        axes.add_patch(Polygon(room.outline_m, **look))
    elif room.mesh is not None:
        corners = list(load_mesh(room.mesh).triangles[:, :, :2])
        axes.add_collection(PolyCollection(corners, **look | {"ec": "#BBBBB5", "lw": 0.8}))
    else:
        axes.add_patch(Rectangle((0, 0), length, width, **look))


def _room_for_labels(axes: Axes, view: View) -> Bbox:
    """Display box of the room, and of what is free to the right of a narrow one."""
    length, width, _ = view.spec.room.size_m
    (left, bottom), (right, top) = axes.transData.transform([(0, 0), (length, width)])
    cell_right = _cell_right(axes) * axes.figure.bbox.width
    return Bbox.from_extents(left, bottom, max(right, cell_right), top).padded(-3)


def _cell_right(axes: Axes) -> float:
    """Right end of the axes' cell, of which they fill a part, as a share of the figure's width."""
    spec = axes.get_subplotspec()
    assert spec is not None
    figure = axes.get_figure(root=True)
    assert figure is not None
    return float(spec.get_position(figure).x1)


def _draw_key(axes: Axes, view: View) -> None:
    """What the markers mean, for those that are there."""
    roles = dict.fromkeys(sounding.role for sounding in view.soundings)
    handles = [
        Line2D([], [], marker=MARKERS[role], color="#888888", lw=0, ms=8, label=role)
        for role in MARKERS
        if role in roles
    ]
    handles += [Line2D([], [], marker="$\\rightarrow$", color=INK, lw=0, ms=13, label="listener")]
    axes.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(_cell_right(axes), axes.get_position().y0 - 0.021),
        bbox_transform=axes.figure.transFigure,
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        handletextpad=0.1,
        columnspacing=0.9,
        borderpad=0,
    )


def _draw_emitter(axes: Axes, view: View, emitter: Emitter, sounding: Sounding) -> None:
    path = _floor_path(emitter.keyframes)
    ear = view.spec.listener[0].position_m
    axes.plot([ear[0], path[0, 0]], [ear[1], path[0, 1]], ":", color=sounding.colour, lw=1)
    _draw_path(axes, path, sounding.colour)
    axes.plot(
        path[0, 0],
        path[0, 1],
        MARKERS[sounding.role],
        color=sounding.colour,
        ms=8 if sounding.role == "noise" else 11,
        mec="white",
        mew=1.2,
        zorder=4,
    )


def _draw_path(axes: Axes, path: NDArray[np.float64], colour: str) -> None:
    """The way from above, with an arrow at its end; nothing for what stands."""
    if len(path) < 2:
        return
    axes.plot(path[:, 0], path[:, 1], color=colour, lw=2, alpha=0.7)
    axes.annotate(
        "",
        tuple(path[-1]),
        tuple(path[-2]),
        arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2, "shrinkA": 0, "shrinkB": 0},
    )


def _floor_path(keyframes: Sequence[Keyframe]) -> NDArray[np.float64]:
    """x and y of the places that keyframes go through, without rests. Shape: [places, 2]."""
    path = np.array([key.position_m[:2] for key in keyframes])
    moved = np.hypot(*np.diff(path, axis=0).T) > 1e-6
    return np.asarray(path[np.append(True, moved)])


def _dotted(path: NDArray[np.float64], n: int = 40) -> NDArray[np.float64]:
    """Points at even distances along a way; none for what stands. Shape: [n or 0, 2]."""
    if len(path) < 2:
        return path[:0]
    at_m = np.append(0.0, np.cumsum(np.hypot(*np.diff(path, axis=0).T)))
    even_m = np.linspace(0, at_m[-1], n)
    return np.stack([np.interp(even_m, at_m, axis) for axis in path.T], axis=1)


def _plan_label(emitter: Emitter, sounding: Sounding) -> tuple[tuple[float, float], str, str]:
    x, y, z = emitter.keyframes[0].position_m
    distance_m = sounding.columns["distance_start_m"]
    text = f"{drawable(sounding.name, 22)}\n{distance_m:.1f} m away, {z:.1f} m high"
    return (x, y), text, "#555555" if sounding.role == "noise" else sounding.colour


def _draw_listener(axes: Axes, view: View) -> None:
    x, y, _ = view.spec.listener[0].position_m
    _draw_path(axes, _floor_path(view.spec.listener), INK)
    axes.annotate(
        "",
        _heading(view),
        (x, y),
        arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 2.2, "mutation_scale": 16},
        zorder=5,
    )
    axes.plot(x, y, "o", color=INK, ms=12, mec="white", mew=1.2, zorder=6)


def _heading(view: View) -> tuple[float, float]:
    """Tip of the arrow that shows the listener's front."""
    key = view.spec.listener[0]
    front = rotation_matrix(key.yaw_deg, key.pitch_deg, key.roll_deg)[:2, 0]
    reach = 0.1 * max(view.spec.room.size_m[:2])
    x, y, _ = key.position_m
    return float(x + reach * front[0]), float(y + reach * front[1])


def _occupied(axes: Axes, view: View) -> list[Bbox]:
    """Display boxes of all markers, and of points along dotted lines, ways, heading and walls.

    Of a rectangle the right wall only: labels stay inside of the others anyway.
    """
    ear = view.spec.listener[0]
    front = _heading(view)
    length, width, _ = view.spec.room.size_m
    ends = [emitter.keyframes[0].position_m[:2] for emitter in view.spec.emitters]
    lines = [(ear.position_m[:2], end) for end in [*ends, front]]
    outline = view.spec.room.outline_m
    lines += edges(outline) if outline else [((length, 0.0), (length, width))]
    along = np.linspace(0, 1, 14)[:, None]
    dots = np.concatenate([np.array(a) * (1 - along) + np.array(b) * along for a, b in lines])
    moving = [view.spec.listener, *(emitter.keyframes for emitter in view.spec.emitters)]
    dots = np.concatenate([dots, *(_dotted(_floor_path(keys)) for keys in moving)])
    markers = axes.transData.transform(np.array([ear.position_m[:2], *ends]))
    boxes = [Bbox.from_bounds(x - 9, y - 9, 18, 18) for x, y in markers]
    return boxes + [Bbox.from_bounds(x - 2, y - 2, 4, 4) for x, y in axes.transData.transform(dots)]
