"""Rooms of other shapes than the shoebox: what is inside, what sees what, and what is refused."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from room_helpers import CUBE_CORNERS, CUBE_FACES, L_SHAPE, mesh_room, plan_room, write_box_obj

from scenesynth.errors import ConfigError
from scenesynth.records import from_json, to_json
from scenesynth.room import outline as plan
from scenesynth.room.assets import FOLDERS, adopt, locate
from scenesynth.room.mesh import Mesh, read_mesh
from scenesynth.room.model import WALLS, Room

POINTS = st.tuples(st.floats(-1, 7), st.floats(-1, 6))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "cache"))
    locate.cache_clear()


def in_l_shape(x: float, y: float) -> bool:
    return (0 < x < 6 and 0 < y < 3) or (0 < x < 2.5 and 0 < y < 5)


@given(POINTS)
def test_a_point_is_in_the_l_shape_where_it_is_in_one_of_its_rectangles(
    at: tuple[float, float],
) -> None:
    if plan.nearest_edge(L_SHAPE, *at)[0] > 1e-6:
        assert plan.contains(L_SHAPE, *at) == in_l_shape(*at)


@given(POINTS, POINTS)
def test_two_points_see_each_other_where_all_of_the_way_is_inside(
    start: tuple[float, float], stop: tuple[float, float]
) -> None:
    along = np.linspace(0, 1, 301)[:, None]
    way = np.array(start) * (1 - along) + np.array(stop) * along
    clear = [plan.nearest_edge(L_SHAPE, x, y)[0] for x, y in way]
    if not (in_l_shape(*start) and in_l_shape(*stop)) or min(clear) < 0.03:
        return
    seen = plan.blocking_edge(L_SHAPE, start, stop) is None
    assert seen == all(in_l_shape(x, y) for x, y in way)
    assert seen == (plan.blocking_edge(L_SHAPE, stop, start) is None)


def test_the_inner_corner_hides_the_ends_of_the_l_from_each_other() -> None:
    room = plan_room()
    assert room.surfaces == ("e0", "e1", "e2", "e3", "e4", "e5", "floor", "ceiling")
    assert room.blocked((5.0, 2.0, 1.0), (1.0, 4.5, 1.5)) in ("e2", "e3")
    assert room.blocked((5.0, 2.0, 1.0), (1.0, 1.5, 1.5)) is None


def test_places_outside_are_said_with_the_wall_that_is_near() -> None:
    room = plan_room()
    assert room.outside((1.0, 4.0, 1.0)) is None
    assert "behind e3" in (room.outside((2.8, 4.5, 1.0)) or "")
    assert "lies on e2" in (room.outside((4.0, 3.0, 1.0)) or "")
    assert "z = 2.5" in (room.outside((1.0, 1.0, 2.5)) or "")
    assert "x = 7" in (room.outside((7.0, 1.0, 1.0)) or "")
    assert room.wall_distance_m((3.0, 2.8, 1.5)) == pytest.approx(0.2)
    assert room.wall_distance_m((2.0, 3.5, 2.4)) == pytest.approx(0.1)


def test_the_area_is_that_of_the_rectangles() -> None:
    assert plan.area_m2(L_SHAPE) == pytest.approx(6 * 3 + 2.5 * 2)


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        (L_SHAPE[::-1], r"clockwise .* reverse its corners"),
        (((0, 0), (6, 5)), "2 corners; a room has at least 3"),
        (((0, 0), (6, 5), (6, 0), (0, 5)), "e0 and e2 cross"),
        (((0, 0), (6, 0), (6, 5), (3, 0), (0, 5)), "edges e0 and e2 cross or touch"),
        (((0, 0), (6, 0), (6, 0), (0, 5)), r"corners 1 and 2 are both \(6.0, 0.0\)"),
        (((0, 0), (6, 0), (2, 0), (0, 5)), "e0 and e1 cross"),
        (((0, 0), (3, 2.5), (6, 5)), "cross|one line"),
        (((0.5, 0), (6, 0), (6, 5)), r"spans x = 0.5 to 6 m, but size_m\[0\] = 6"),
    ],
)
def test_what_is_no_floor_plan_is_refused(outline: Any, message: str) -> None:
    outline = tuple((float(x), float(y)) for x, y in outline)
    with pytest.raises(ValueError, match=message):
        Room(
            id="r",
            size_m=(6.0, 5.0, 2.5),
            band_hz=(1000.0,),
            absorption=((0.3,),) * (len(outline) + 2),
            outline_m=outline,
        )


def test_every_surface_has_its_rows() -> None:
    with pytest.raises(ValueError, match="absorption has 6 rows; must have 8, one for each of e0"):
        Room(
            id="r",
            size_m=(6.0, 5.0, 2.5),
            band_hz=(1000.0,),
            absorption=((0.3,),) * 6,
            outline_m=L_SHAPE,
        )
    with pytest.raises(ValueError, match=r"scattering of ceiling at 1000 Hz = 1\.5; must lie in"):
        plan_room(band_hz=(1000.0,), scattering=((0.1,),) * 7 + ((1.5,),))
    with pytest.raises(ValueError, match="scattering = -1"):
        plan_room(scattering=-1.0)
    with pytest.raises(ValueError, match="materials has 6 names; must have 8"):
        plan_room(materials=("plaster",) * 6)
    with pytest.raises(ValueError, match=r"groups = \('a',\); must name the surfaces of a mesh"):
        plan_room(groups=("a",))


def test_a_room_of_any_shape_survives_json(tmp_path: Path) -> None:
    mesh = mesh_room(write_box_obj(tmp_path / "box.obj", (4.0, 3.0, 2.5)))
    for room in (plan_room(scattering=0.2), plan_room(scattering=((0.1,) * 7,) * 8), mesh):
        assert from_json(Room, to_json(room)) == room


def box_room() -> Room:
    return Room(
        id="box", size_m=(4.0, 3.0, 2.5), band_hz=(1000.0,), absorption=((0.3,),) * len(WALLS)
    )


@settings(max_examples=60, deadline=None)
@given(at=st.tuples(*(st.floats(-0.5, 4.5) for _ in range(3))))
def test_a_box_is_the_same_room_as_a_mesh(
    at: tuple[float, float, float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    room = box_room()
    folder = tmp_path_factory.getbasetemp()
    mesh = read_mesh(write_box_obj(folder / "box.obj", room.size_m))
    distance_m, triangle = mesh.nearest(at)
    if room.outside(at) is None:
        assert distance_m == pytest.approx(room.wall_distance_m(at), abs=1e-9)
        wall = mesh.groups[mesh.group[triangle]]
        axis, end = "xyz".index(wall[0]), int(wall[1])
        assert abs(at[axis] - end * room.size_m[axis]) == pytest.approx(distance_m, abs=1e-9)
    if distance_m > 1e-6:
        assert mesh.contains(at) == (room.outside(at) is None)


def binary_stl(triangles: np.ndarray) -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *t.ravel().tolist(), 0) for t in triangles)
    return b"solid, but not text".ljust(80) + struct.pack("<I", len(triangles)) + body


def text_stl(mesh: Mesh) -> str:
    lines = []
    for number, name in enumerate(mesh.groups):
        lines.append(f"solid {name}")
        for triangle in mesh.triangles[mesh.group == number]:
            corners = (f"  vertex {x} {y} {z}" for x, y, z in triangle.tolist())
            lines += ["facet normal 0 0 0", " outer loop", *corners, " endloop", "endfacet"]
        lines.append(f"endsolid {name}")
    return "\n".join(lines)


def test_obj_and_both_kinds_of_stl_hold_the_same_surface(tmp_path: Path) -> None:
    first = read_mesh(write_box_obj(tmp_path / "box.obj", (4.0, 3.0, 2.5)))
    (tmp_path / "text.stl").write_text(text_stl(first), encoding="utf-8")
    (tmp_path / "binary.STL").write_bytes(binary_stl(first.triangles))
    text, binary = read_mesh(tmp_path / "text.stl"), read_mesh(tmp_path / "binary.STL")
    assert first.groups == text.groups == WALLS
    assert binary.groups == ("surface",)
    for mesh in (first, text, binary):
        np.testing.assert_allclose(mesh.triangles, first.triangles, atol=1e-6)
        assert mesh.size_m == (4.0, 3.0, 2.5)
        assert mesh.volume_m3 == pytest.approx(30)
        assert mesh.areas_m2.sum() == pytest.approx(2 * (12 + 10 + 7.5))


def test_a_mesh_is_moved_to_the_origin_and_turned_right_side_out(tmp_path: Path) -> None:
    mesh = read_mesh(write_box_obj(tmp_path / "box.obj", (4.0, 3.0, 2.5)))
    (tmp_path / "far.stl").write_bytes(binary_stl(mesh.triangles[:, ::-1] - 7.0))
    again = read_mesh(tmp_path / "far.stl")
    assert again.volume_m3 == pytest.approx(30, rel=1e-5)
    assert again.triangles.min() == 0
    assert again.contains((1.0, 1.0, 1.0))


def test_a_wall_in_between_blocks(tmp_path: Path) -> None:
    """An L-shape as a mesh sees what it sees as a floor plan."""
    room = mesh_room(write_l_obj(tmp_path / "l.obj"))
    flat = plan_room()
    rng = np.random.default_rng(4)
    pairs = rng.uniform((0, 0, 0), (6, 5, 2.5), (200, 2, 3))
    seen = 0
    for start, stop in pairs.tolist():
        assert (room.outside(start) is None) == (flat.outside(start) is None)
        if flat.outside(start) or flat.outside(stop):
            continue
        assert (room.blocked(start, stop) is None) == (flat.blocked(start, stop) is None)
        seen += room.blocked(start, stop) is None
    assert 20 < seen < 180


def write_l_obj(path: Path) -> Path:
    """The L-shape, extruded; floor and ceiling as two quadrilaterals and a triangle fan each."""
    corners = [(x, y, z) for z in (0.0, 2.5) for x, y in L_SHAPE]
    walls = [(k, (k + 1) % 6, (k + 1) % 6 + 6, k + 6) for k in range(6)]
    # The L cut into quadrilaterals whose sides are those of the outline and one between them.
    floors = [(3, 2, 1, 0), (5, 4, 3, 0)]
    ceilings = [tuple(n + 6 for n in reversed(face)) for face in floors]
    lines = ["v " + " ".join(map(str, corner)) for corner in corners]
    for name, faces in {"walls": walls, "floor": floors, "ceiling": ceilings}.items():
        lines.append(f"usemtl {name}")
        lines += ["f " + " ".join(str(n + 1) for n in face) for face in faces]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("open.obj", None, r"not a closed surface: 4 of its edges .* from \(\S+, \S+, \S+\) to"),
        ("word.obj", "v a b c\n", "not a mesh that can be read"),
        ("index.obj", "v 0 0 0\nf 1 2 3\n", "not a mesh that can be read"),
        ("empty.obj", "# nothing\n", "holds no triangle"),
        ("text.stl", "not a solid at all", "neither binary STL"),
        ("room.ply", "ply", "an .stl or .obj file, not .ply"),
        ("flat.obj", "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "1 of its triangles have no area"),
    ],
)
def test_what_is_no_closed_mesh_is_refused(
    name: str, content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is None:
        write_box_obj(path, (4.0, 3.0, 2.5), skip="z1")
    else:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_mesh(path)
    assert str(path) in str(caught.value)


def test_a_mesh_in_millimetres_or_too_fine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Are its lengths in metres"):
        read_mesh(write_box_obj(tmp_path / "tiny.obj", (0.04, 0.03, 0.025)))
    triangles = np.zeros((5001, 3, 3))
    (tmp_path / "fine.stl").write_bytes(binary_stl(triangles))
    with pytest.raises(ConfigError, match="5001 triangles; at most 5000"):
        read_mesh(tmp_path / "fine.stl")


def test_a_file_that_is_gone_or_changed_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_box_obj(tmp_path / "box.obj", (4.0, 3.0, 2.5))
    ref = adopt(path)
    assert adopt(path) == ref
    assert locate(ref).read_bytes() == path.read_bytes()
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "elsewhere"))
    locate.cache_clear()
    with pytest.raises(ConfigError, match=rf"box.obj .* is missing; looked at .*{FOLDERS}"):
        locate(ref)
    monkeypatch.setenv(FOLDERS, str(tmp_path))
    assert locate(ref) == path
    locate.cache_clear()
    path.write_text("another", encoding="utf-8")
    with pytest.raises(ConfigError, match="has another content"):
        locate(ref)
    with pytest.raises(ConfigError, match=r"none.obj: cannot be read"):
        adopt(tmp_path / "none.obj")


def test_the_cube_of_these_tests_faces_outwards() -> None:
    corners = np.array(CUBE_CORNERS, dtype=float)
    for name, face in CUBE_FACES.items():
        a, b, c, d = corners[list(face)]
        normal = np.cross(b - a, c - a)
        assert math.isclose(float(np.dot(np.cross(c - a, d - a), normal)), 1.0)
        axis, end = "xyz".index(name[0]), int(name[1])
        assert normal[axis] == 2 * end - 1
