"""Floor plans: simple polygons of corners, counter-clockwise seen from above.

Edge k of an outline runs from corner k to the next one. Everything is plain arithmetic on a handful
of numbers, since placing sources asks for it thousands of times.
"""

from __future__ import annotations

import math
from itertools import pairwise

Corner = tuple[float, float]
Outline = tuple[Corner, ...]

TOUCHING_M = 1e-6
"""Points nearer to each other than this count as one."""


def check_outline(outline: Outline, size_m: tuple[float, ...]) -> None:
    """Check that an outline is a floor plan of a room of that size.

    Raises:
        ValueError: fewer than three corners, corners that coincide, edges that cross, clockwise
            order, or a bounding box other than (0, 0) to `size_m`.
    """
    if len(outline) < 3:
        raise ValueError(f"outline_m has {len(outline)} corners; a room has at least 3")
    for n, (start, stop) in enumerate(edges(outline)):
        if math.dist(start, stop) < TOUCHING_M:
            raise ValueError(
                f"outline_m: corners {n} and {(n + 1) % len(outline)} are both {start}; "
                f"leave one of them out"
            )
    if crossing := _crossing(outline):
        raise ValueError(
            f"outline_m: edges e{crossing[0]} and e{crossing[1]} cross or touch; give the corners "
            f"in the order in which one walks along the walls"
        )
    turned = area_m2(outline)
    if abs(turned) < TOUCHING_M:
        raise ValueError(f"outline_m encloses {abs(turned):g} m2; its corners lie on one line")
    if turned < 0:
        raise ValueError(
            f"outline_m goes clockwise ({outline[0]}, {outline[1]}, ...); reverse its corners"
        )
    for axis, name in enumerate("xy"):
        low = min(corner[axis] for corner in outline)
        high = max(corner[axis] for corner in outline)
        if abs(low) > TOUCHING_M or abs(high - size_m[axis]) > TOUCHING_M:
            raise ValueError(
                f"outline_m spans {name} = {low:g} to {high:g} m, but size_m[{axis}] = "
                f"{size_m[axis]:g}; it must begin at 0 and end at the size"
            )


def edges(outline: Outline) -> list[tuple[Corner, Corner]]:
    """Start and stop of every edge."""
    return list(pairwise((*outline, outline[0])))


def area_m2(outline: Outline) -> float:
    """Area by the shoelace formula; negative for corners that go clockwise."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in edges(outline)) / 2


def contains(outline: Outline, x: float, y: float) -> bool:
    """Whether a point lies inside (on an edge: either)."""
    inside = False
    for (x0, y0), (x1, y1) in edges(outline):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            inside = not inside
    return inside


def nearest_edge(outline: Outline, x: float, y: float) -> tuple[float, int]:
    """Distance to the nearest edge, and which it is."""
    return min(
        (_distance_to_edge((x, y), start, stop), n)
        for n, (start, stop) in enumerate(edges(outline))
    )


def blocking_edge(outline: Outline, start: Corner, stop: Corner) -> int | None:
    """Edge that the straight way between two points inside meets; None where they see each other.

    A way that grazes a corner counts as blocked.
    """
    for n, (a, b) in enumerate(edges(outline)):
        if _segments_meet(start, stop, a, b):
            return n
    return None


def _crossing(outline: Outline) -> tuple[int, int] | None:
    """Two edges that meet elsewhere than at the corner they share, or None."""
    sides = edges(outline)
    n = len(sides)
    for first in range(n):
        for second in range(first + 1, n):
            neighbours = second == first + 1 or (first == 0 and second == n - 1)
            if neighbours:
                # They share a corner: only turning back onto each other is wrong.
                near, far = (first, second) if second == first + 1 else (second, first)
                (a, b), (_, c) = sides[near], sides[far]
                back = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) < 0
                if abs(_turn(a, b, c)) < TOUCHING_M**2 and back:
                    return first, second
            elif _segments_meet(*sides[first], *sides[second]):
                return first, second
    return None


def _turn(a: Corner, b: Corner, c: Corner) -> float:
    """Twice the area of a triangle, positive where it turns left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _segments_meet(a: Corner, b: Corner, c: Corner, d: Corner) -> bool:
    across = _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0
    if across:
        return True
    ends = ((a, c, d), (b, c, d), (c, a, b), (d, a, b))
    return min(_distance_to_edge(*end) for end in ends) < TOUCHING_M


def _distance_to_edge(point: Corner, start: Corner, stop: Corner) -> float:
    dx, dy = stop[0] - start[0], stop[1] - start[1]
    along = (point[0] - start[0]) * dx + (point[1] - start[1]) * dy
    square = dx * dx + dy * dy  # 0 for a way from a point to itself
    share = min(1.0, max(0.0, along / square)) if square else 0.0
    return math.hypot(point[0] - start[0] - share * dx, point[1] - start[1] - share * dy)
