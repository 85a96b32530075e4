"""Rooms as closed triangulated surfaces, read from STL (text or binary) or OBJ files.

Lengths are metres and z points up. The surface is moved so that its bounding box begins at the
origin, and turned inside out where its faces point inwards. Groups name its surfaces: `usemtl` (or
else `g`, `o`) of an OBJ file, the solids of a text STL; a binary STL is one group.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.room.assets import locate
from scenesynth.room.model import AssetRef, Vector

MOST_TRIANGLES = 5000
"""Image sources and rays look at every triangle: what is finer than this takes hours."""

MERGED_M = 1e-5
"""STL repeats the corners of every triangle; those nearer than this are one."""

FLAT = 0.7
"""Surfaces whose normal points up or down by more than this (45 degrees) are ceiling and floor."""

_STL_HEADER, _STL_TRIANGLE = 84, 50
_ONLY_GROUP = "surface"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """A closed surface.

    Attributes:
        triangles: corners, counter-clockwise seen from outside. Shape: [n, 3, 3].
        group: number of each triangle's group. Shape: [n].
        groups: names of the groups.
    """

    triangles: NDArray[np.float64]
    group: NDArray[np.int64]
    groups: tuple[str, ...]

    @property
    def size_m(self) -> Vector:
        """Bounding box, rounded to micrometres."""
        x, y, z = self.triangles.reshape(-1, 3).max(axis=0).tolist()
        return round(x, 6), round(y, 6), round(z, 6)

    @property
    def volume_m3(self) -> float:
        """Enclosed volume."""
        return float(_signed_volume(self.triangles))

    @property
    def areas_m2(self) -> NDArray[np.float64]:
        """Area per group. Shape: [groups]."""
        area = _areas(self.triangles)
        return np.array([area[self.group == n].sum() for n in range(len(self.groups))])

    def contains(self, point: Vector) -> bool:
        """Whether a point lies inside: the solid angles of all triangles add up to 4 pi.

        The solid angle of a triangle by van Oosterom and Strackee (1983).
        """
        a, b, c = (self.triangles - np.array(point)).transpose(1, 0, 2)
        la, lb, lc = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
        volume = np.einsum("ni,ni->n", a, np.cross(b, c))
        about = (
            la * lb * lc
            + np.einsum("ni,ni->n", a, b) * lc
            + np.einsum("ni,ni->n", b, c) * la
            + np.einsum("ni,ni->n", c, a) * lb
        )
        return bool(np.arctan2(volume, about).sum() > np.pi)

    def nearest(
        self, point: Vector, *, floor: bool = True, ceiling: bool = True
    ) -> tuple[float, int]:
        """Distance to the surface, and the triangle that is nearest.

        Args:
            floor, ceiling: whether what lies flat below or above the room counts.
        """
        away = _distances(self.triangles, np.array(point))
        if not (floor and ceiling):
            slope = _slopes(self.triangles)
            away = np.where(
                ((slope < -FLAT) & (not floor)) | ((slope > FLAT) & (not ceiling)), np.inf, away
            )
        n = int(np.argmin(away))
        return float(away[n]), n

    def blocking(self, start: Vector, stop: Vector) -> int | None:
        """A triangle that the straight way between two points meets, or None."""
        a, b, c = self.triangles.transpose(1, 0, 2)
        way = np.subtract(stop, start)
        one, two = b - a, c - a
        across = np.cross(way, two)
        scale = np.einsum("ni,ni->n", one, across)
        parallel = np.abs(scale) < 1e-12
        scale = np.where(parallel, 1.0, scale)
        from_a = np.array(start) - a
        u = np.einsum("ni,ni->n", from_a, across) / scale
        turned = np.cross(from_a, one)
        v = turned @ way / scale
        at = np.einsum("ni,ni->n", two, turned) / scale
        edge = 1e-9
        met = ~parallel & (u >= -edge) & (v >= -edge) & (u + v <= 1 + edge) & (at >= 0) & (at <= 1)
        return int(np.argmax(met)) if met.any() else None


def read_mesh(path: Path) -> Mesh:
    """Read and check a mesh.

    Raises:
        ConfigError: not a mesh file, too fine, or not a closed surface; says where it is open.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        triangles, group, groups = _parse(path, content)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not a mesh that can be read ({error})") from None
    if not len(triangles):
        raise ConfigError(f"{path}: holds no triangle")
    if len(triangles) > MOST_TRIANGLES:
        raise ConfigError(
            f"{path}: {len(triangles)} triangles; at most {MOST_TRIANGLES}. Simplify it: furniture "
            f"and mouldings matter less to sound than the shape of the room"
        )
    if not np.isfinite(triangles).all():
        raise ConfigError(f"{path}: has a corner that is not finite")
    triangles -= triangles.reshape(-1, 3).min(axis=0)
    if flat := int((_areas(triangles) < MERGED_M**2).sum()):
        raise ConfigError(f"{path}: {flat} of its triangles have no area; remove them")
    _check_closed(path, triangles)
    volume = _signed_volume(triangles)
    if abs(volume) < 1e-3:
        raise ConfigError(
            f"{path}: encloses {abs(volume):g} m3; a room is larger. Are its lengths in metres?"
        )
    if volume < 0:
        triangles = np.ascontiguousarray(triangles[:, ::-1])
    return Mesh(triangles=triangles, group=group, groups=groups)


@lru_cache(maxsize=64)
def load_mesh(ref: AssetRef) -> Mesh:
    """The mesh of an asset; read once per process.

    Raises:
        ConfigError: the file is missing, or no closed mesh.
    """
    return read_mesh(locate(ref))


_Parsed = tuple[NDArray[np.float64], NDArray[np.int64], tuple[str, ...]]


def _parse(path: Path, content: bytes) -> _Parsed:
    kind = path.suffix.lower()
    if kind == ".obj":
        return _parse_obj(content.decode("utf-8"))
    if kind != ".stl":
        raise ConfigError(f"{path}: a mesh is an .stl or .obj file, not {kind or 'a bare name'}")
    n = int.from_bytes(content[_STL_HEADER - 4 : _STL_HEADER], "little")
    # A binary file may begin with "solid" too; only its length tells.
    if len(content) == _STL_HEADER + n * _STL_TRIANGLE:
        return _parse_binary_stl(content)
    return _parse_text_stl(content.decode("utf-8"))


def _parse_binary_stl(content: bytes) -> _Parsed:
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("extra", "<u2")])
    corners = np.frombuffer(content, record, offset=_STL_HEADER)["corners"].astype(np.float64)
    return corners, np.zeros(len(corners), dtype=np.int64), (_ONLY_GROUP,)


def _parse_text_stl(text: str) -> _Parsed:
    solids = re.split(r"(?m)^\s*solid\b[ \t]*", text)[1:]
    if not solids:
        raise ValueError("neither binary STL of that length nor text that begins with solid")
    corners, group, groups = [], [], []
    for solid in solids:
        name = solid.partition("\n")[0].strip() or _ONLY_GROUP
        if name not in groups:
            groups.append(name)
        values = [float(word) for line in re.findall(r"vertex(.*)", solid) for word in line.split()]
        corners.append(np.array(values).reshape(-1, 3, 3))
        group += [groups.index(name)] * len(corners[-1])
    return np.concatenate(corners), np.array(group), tuple(groups)


def _parse_obj(text: str) -> _Parsed:
    points: list[list[float]] = []
    triangles: list[list[list[float]]] = []
    group: list[int] = []
    groups: list[str] = []
    by_material = re.search(r"(?m)^usemtl\b", text) is not None
    marks = {"usemtl"} if by_material else {"g", "o"}
    name = _ONLY_GROUP
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            points.append([float(value) for value in rest[:3]])
        elif word in marks:
            name = " ".join(rest) or _ONLY_GROUP
        elif word == "f":
            if name not in groups:
                groups.append(name)
            face = [_obj_point(corner, points) for corner in rest]
            # A fan: faces of more than three corners have to be flat and convex.
            for second, third in pairwise(face[1:]):
                triangles.append([face[0], second, third])
                group.append(groups.index(name))
    return np.array(triangles).reshape(-1, 3, 3), np.array(group, dtype=np.int64), tuple(groups)


def _obj_point(corner: str, points: list[list[float]]) -> list[float]:
    """Indices count from 1, or backwards from the last."""
    n = int(corner.partition("/")[0])
    if n == 0:
        raise ValueError("corner 0 of a face; OBJ counts from 1")
    return points[n - 1 if n > 0 else n]


def _check_closed(path: Path, triangles: NDArray[np.float64]) -> None:
    """Every edge has to belong to two triangles, once in each direction."""
    keys = np.round(triangles.reshape(-1, 3) / MERGED_M).astype(np.int64)
    _, first, corner = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    points = triangles.reshape(-1, 3)[first]
    sides = corner.reshape(-1, 3)
    starts, stops = sides.ravel(), np.roll(sides, -1, axis=1).ravel()
    n = len(first)
    forth, counts = np.unique(starts * n + stops, return_counts=True)
    back = np.unique(stops * n + starts)
    wrong = np.concatenate([forth[counts > 1], np.setdiff1d(forth, back)])
    if len(wrong):
        start, stop = points[wrong[0] // n], points[wrong[0] % n]
        raise ConfigError(
            f"{path}: is not a closed surface: {len(wrong)} of its edges do not join two triangles "
            f"of one orientation, such as the edge from {_metres(start)} to {_metres(stop)} m from "
            f"the lowest corner. Close the holes, and let no surface stand free inside the room"
        )


def _metres(point: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{value:g}' for value in point)})"


def _slopes(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upward part of every triangle's outward normal, 1 for a ceiling and -1 for a floor."""
    a, b, c = triangles.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    slope: NDArray[np.float64] = normal[:, 2] / np.linalg.norm(normal, axis=1)
    return slope


def _areas(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = triangles.transpose(1, 0, 2)
    area: NDArray[np.float64] = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return area


def _signed_volume(triangles: NDArray[np.float64]) -> float:
    a, b, c = triangles.transpose(1, 0, 2)
    return float(np.einsum("ni,ni->", a, np.cross(b, c)) / 6)


def _distances(triangles: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance from a point to each triangle: of its foot on the plane, or to the nearest side."""
    a, b, c = triangles.transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    height = np.einsum("ni,ni->n", point - a, normal)
    foot = point - height[:, None] * normal
    inside = np.ones(len(triangles), dtype=bool)
    nearest = np.full(len(triangles), np.inf)
    for start, stop in ((a, b), (b, c), (c, a)):
        side = stop - start
        inside &= np.einsum("ni,ni->n", np.cross(side, foot - start), normal) >= 0
        share = np.einsum("ni,ni->n", point - start, side) / np.einsum("ni,ni->n", side, side)
        closest = start + np.clip(share, 0, 1)[:, None] * side
        nearest = np.minimum(nearest, np.linalg.norm(point - closest, axis=1))
    return np.where(inside, np.abs(height), nearest)
