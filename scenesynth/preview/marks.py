"""What the room's plan and its side view have in common: markers, ways, and what is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Polygon
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from scenesynth.plots.style import EDGE, FLOOR, INK, PAPER
from scenesynth.preview.view import Sounding, View
from scenesynth.room.mesh import Mesh
from scenesynth.room.model import Vector
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import Emitter, Keyframe

MARKERS: Final = {"target": "o", "interferer": "^", "noise": "s"}

Place = tuple[float, float]
Line = tuple[Place, Place]


def draw_shell(axes: Axes, corners: Sequence[Place]) -> None:
    """A room's walls, the grid inside of them."""
    axes.add_patch(Polygon(corners, fc=FLOOR, ec="none", zorder=0.2))
    axes.add_patch(Polygon(corners, fill=False, ec=INK, lw=2, zorder=1.2))


def draw_shadow(axes: Axes, mesh: Mesh, along: tuple[int, int]) -> None:
    """All triangles of a mesh, without depth."""
    corners = list(mesh.triangles[:, :, list(along)])
    look: dict[str, Any] = {"fc": FLOOR, "ec": EDGE, "lw": 0.8, "zorder": 0.2}
    axes.add_collection(PolyCollection(corners, **look), autolim=False)


def sounding_emitters(view: View) -> list[tuple[Emitter, Sounding]]:
    """Every emitter with its first event."""
    first = {sounding.emitter: sounding for sounding in reversed(view.soundings)}
    return [(emitter, first[emitter.id]) for emitter in view.spec.emitters if emitter.id in first]


def draw_emitter(axes: Axes, place: Place, sounding: Sounding) -> None:
    """The marker of an emitter, by its role."""
    size = 7 if sounding.role == "noise" else 10
    look: dict[str, Any] = {"color": sounding.colour, "mec": PAPER, "mew": 1.2, "zorder": 4}
    axes.plot(*place, MARKERS[sounding.role], ms=size, **look)


def draw_listener(axes: Axes, place: Place, nose: Place) -> None:
    """The listener, and an arrow to where the nose points."""
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 2.0, "mutation_scale": 14}
    axes.annotate("", nose, place, arrowprops=arrow, zorder=5)
    axes.plot(*place, "o", color=INK, ms=11, mec=PAPER, mew=1.2, zorder=6)


def draw_way(axes: Axes, path: NDArray[np.float64], colour: str) -> None:
    """A way with an arrow at its end; nothing for what stands. Shape: [places, 2]."""
    if len(path) < 2:
        return
    axes.plot(path[:, 0], path[:, 1], color=colour, lw=2, alpha=0.7)
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tuple(path[-1]), tuple(path[-2]), arrowprops=arrow)


def way(keyframes: Sequence[Keyframe], along: tuple[int, int]) -> NDArray[np.float64]:
    """Places that keyframes go through, without rests.

    Args:
        along: which two of x, y and z.

    Returns:
        Shape: [places, 2].
    """
    path = np.array([seen(key.position_m, along) for key in keyframes])
    moved = np.hypot(*np.diff(path, axis=0).T) > 1e-6
    return np.asarray(path[np.append(True, moved)])


def seen(place_m: Vector, along: tuple[int, int]) -> Place:
    """Two of x, y and z."""
    return place_m[along[0]], place_m[along[1]]


def nose_tip(view: View) -> Vector:
    """End of the arrow that shows the listener's front, in the room."""
    key = view.spec.listener[0]
    front = rotation_matrix(key.yaw_deg, key.pitch_deg, key.roll_deg)[:, 0]
    reach_m = 0.1 * max(view.spec.room.size_m[:2])
    x, y, z = (np.array(key.position_m) + reach_m * front).tolist()
    return x, y, z


def taken(
    axes: Axes,
    places: Iterable[Place],
    lines: Iterable[Line],
    ways: Iterable[NDArray[np.float64]],
) -> list[Bbox]:
    """Display boxes of markers at `places`, and of points along straight lines and ways."""
    share = np.linspace(0, 1, 14)[:, None]
    dots = [np.array(a) * (1 - share) + np.array(b) * share for a, b in lines]
    dots += [_dotted(path) for path in ways]
    markers = axes.transData.transform(np.array(list(places)).reshape(-1, 2))
    boxes = [Bbox.from_bounds(x - 9, y - 9, 18, 18) for x, y in markers]
    along = axes.transData.transform(np.concatenate(dots))
    return boxes + [Bbox.from_bounds(x - 2, y - 2, 4, 4) for x, y in along]


def _dotted(path: NDArray[np.float64], n: int = 40) -> NDArray[np.float64]:
    """Points at even distances along a way; none for what stands. Shape: [n or 0, 2]."""
    if len(path) < 2:
        return path[:0]
    at_m = np.append(0.0, np.cumsum(np.hypot(*np.diff(path, axis=0).T)))
    even_m = np.linspace(0, at_m[-1], n)
    return np.stack([np.interp(even_m, at_m, axis) for axis in path.T], axis=1)


def metre_ticks(length_m: float, most: int) -> NDArray[np.float64]:
    """Ticks of a side of the room at a step that leaves `most` of them, about."""
    steps = (0.5, 1, 2, 5, 10, 20, 50, 100)
    step = next((step for step in steps if length_m / step <= most), 1000)
    return np.arange(0, length_m + 1e-9, step)
