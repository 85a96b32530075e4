"""Rooms that are no boxes, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scenesynth.room.assets import adopt
from scenesynth.room.mesh import load_mesh
from scenesynth.room.model import OCTAVE_BANDS_HZ, Room

L_SHAPE = ((0.0, 0.0), (6.0, 0.0), (6.0, 3.0), (2.5, 3.0), (2.5, 5.0), (0.0, 5.0))
"""Two rectangles, 6 x 3 and 2.5 x 2 m; the corner at (2.5, 3) points inwards."""

BOX = ((0.0, 0.0), (4.0, 0.0), (4.0, 3.2), (0.0, 3.2))
"""A shoebox as a floor plan; its edges are the walls y0, x1, y1, x0."""


def plan_room(outline: Any = L_SHAPE, absorption: Any = 0.3, **fields: Any) -> Room:
    """A room 2.5 m high over a floor plan; absorption of any shape that fits surfaces by bands."""
    known: dict[str, Any] = {"id": "plan", "band_hz": OCTAVE_BANDS_HZ, "outline_m": outline}
    known |= fields
    width, depth = np.max(outline, axis=0).tolist()
    rows = np.broadcast_to(absorption, (len(outline) + 2, len(known["band_hz"])))
    return Room(
        size_m=(width, depth, 2.5),
        absorption=tuple(tuple(map(float, row)) for row in rows),
        **known,
    )


CUBE_CORNERS = [(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)]
CUBE_FACES = {
    "x0": (0, 4, 6, 2),
    "x1": (1, 3, 7, 5),
    "y0": (0, 1, 5, 4),
    "y1": (2, 6, 7, 3),
    "z0": (0, 2, 3, 1),
    "z1": (4, 5, 7, 6),
}
"""Corners of the cube's faces, counter-clockwise seen from outside, by the name of the wall."""


def write_box_obj(path: Path, size_m: tuple[float, float, float], *, skip: str = "") -> Path:
    """A box as an OBJ file, a material for every wall; without the wall `skip`."""
    lines = [
        "v " + " ".join(str(a * b) for a, b in zip(corner, size_m, strict=True))
        for corner in CUBE_CORNERS
    ]
    for name, corners in CUBE_FACES.items():
        if name != skip:
            lines += [f"usemtl {name}", "f " + " ".join(str(n + 1) for n in corners)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def mesh_room(path: Path, absorption: Any = 0.3, **fields: Any) -> Room:
    """A room of a mesh file."""
    ref = adopt(path)
    mesh = load_mesh(ref)
    known: dict[str, Any] = {"id": "mesh", "band_hz": OCTAVE_BANDS_HZ} | fields
    rows = np.broadcast_to(absorption, (len(mesh.groups), len(known["band_hz"])))
    return Room(
        size_m=mesh.size_m,
        absorption=tuple(tuple(map(float, row)) for row in rows),
        mesh=ref,
        groups=mesh.groups,
        **known,
    )
