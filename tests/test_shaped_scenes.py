"""Scenes in rooms of other shapes than the shoebox, from the recipe to the picture."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.patches import Polygon
from numpy.typing import NDArray
from oracles_scene import plane_wave_scene
from room_helpers import L_SHAPE, mesh_room, plan_room, write_box_obj
from scene_helpers import fake_corpora, small_recipe, write_recipe

from scenesynth.distributions import Draws, Number, constant
from scenesynth.errors import ConfigError, PlacementError
from scenesynth.plots.style import new_figure
from scenesynth.preview.files import write_preview
from scenesynth.preview.room import draw_plan_and_side
from scenesynth.preview.view import view_of
from scenesynth.records import from_plain, to_plain
from scenesynth.room import outline as plan
from scenesynth.room.decay import predicted_t60_s
from scenesynth.room.eyring import eyring_t60_s, surface_areas_m2, volume_m3
from scenesynth.room.family import anechoic, draw_room
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.scene.placement import place_emitter, place_listener, place_table
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.recipe_records import Listener, Placement, Recipe, Table
from scenesynth.scene.recipe_schema import describe_schema
from scenesynth.scene.sample import sample_scene_with_redraw
from scenesynth.scene.spec import ClipRef, Keyframe, Tracing
from scenesynth.seeds import rng

SHARES = [[0, 0], [1, 0], [1, 0.5], [0.4, 0.5], [0.4, 1], [0, 1]]
SURFACES = {"walls": "plasterboard", "floor": "thin_carpet", "ceiling": "ceiling_tile"}
L_ROOM: dict[str, Any] = {
    "name": "l",
    "length_m": {"uniform": [6, 8]},
    "width_m": 5,
    "height_m": 2.5,
    "outline": SHARES,
    "surfaces": SURFACES,
}
PYROOM: dict[str, Any] = {"engine": "pyroomacoustics", "mode": "tail"}


def draws(index: int = 0) -> Draws:
    return Draws(seed=0, split="train", index=index)


def l_recipe(folder: Path, **family: Any) -> Recipe:
    return small_recipe(folder, rooms=[{**L_ROOM, **family}], **PYROOM)


def test_an_outline_is_scaled_by_the_drawn_length_and_width(tmp_path: Path) -> None:
    recipe = l_recipe(tmp_path, scattering={"uniform": [0.1, 0.3]})
    rooms = [draw_room(recipe.rooms, "r", draws(n)).room for n in range(5)]
    assert len({room.size_m[0] for room in rooms}) == 5
    for room in rooms:
        assert room.outline_m is not None
        got = np.array(room.outline_m) / room.size_m[:2]
        np.testing.assert_allclose(got, SHARES, atol=1e-6)
        assert room.materials == ("plasterboard",) * 6 + ("thin_carpet", "ceiling_tile")
        assert isinstance(room.scattering, float)
        assert 0.1 <= room.scattering <= 0.3


def test_single_surfaces_and_the_feature_wall_have_materials_of_their_own(tmp_path: Path) -> None:
    named = [{"surface": "e4", "material": "double_glazing"}]
    recipe = l_recipe(tmp_path, surfaces={**SURFACES, "named": named})
    room = draw_room(recipe.rooms, "r", draws()).room
    assert room.materials is not None
    assert room.materials[4] == "double_glazing"
    assert room.materials.count("plasterboard") == 5
    recipe = l_recipe(tmp_path, surfaces={**SURFACES, "feature_wall": "draped_curtain"})
    found = set()
    for n in range(40):
        materials = draw_room(recipe.rooms, "r", draws(n)).room.materials
        assert materials is not None
        assert materials.count("draped_curtain") == 1
        found.add(materials.index("draped_curtain"))
    assert found == set(range(6))


def test_a_mesh_is_found_beside_its_recipe_and_its_groups_take_materials(tmp_path: Path) -> None:
    write_box_obj(tmp_path / "hall.obj", (8.0, 5.0, 3.0))
    family = {"name": "hall", "mesh": "hall.obj", "surfaces": SURFACES}
    recipe = small_recipe(tmp_path, rooms=[family], **PYROOM)
    assert from_plain(Recipe, to_plain(recipe)) == recipe
    assert str(tmp_path) not in str(to_plain(recipe))
    room = draw_room(recipe.rooms, "r", draws()).room
    assert room.size_m == (8.0, 5.0, 3.0)
    assert room.surfaces == ("x0", "x1", "y0", "y1", "z0", "z1")
    assert room.materials == ("plasterboard",) * 4 + ("thin_carpet", "ceiling_tile")


@pytest.mark.parametrize(
    ("family", "recipe", "message"),
    [
        ({}, {"engine": "shoebox"}, r"rooms\[0\] \(l\): engine = 'shoebox' .* pyroomacoustics"),
        ({}, {"mode": "full"}, r"mode = 'full' is every image .* set mode: tail"),
        ({}, {"engine": "gpurir", "mode": "full"}, r"engine = 'gpurir' renders rooms of shape sh"),
        ({"outline": None}, {"engine": "gpurir"}, r"mode = 'tail': gpuRIR's own tail"),
        (
            {"outline": None, "scattering": 0.1},
            {"engine": "shoebox"},
            r"its surfaces scatter, which engine = 'shoebox'",
        ),
        ({"scattering": 0.1}, {"tracing": {"rays": 0}}, r"surfaces scatter, .* tracing\.rays"),
        ({}, {"tracing": {"rays": 50}}, r"tracing: rays = 50; must be 0 or lie in \[200"),
        (
            {"outline": None},
            {"mode": "full", "tracing": {}},
            r"tracing is given, but engine = 'pyroomacoustics' in mode = 'full'",
        ),
        ({"outline": SHARES[::-1]}, {}, r"rooms\[0\]: outline, in shares .* clockwise"),
        ({"outline": [[0, 0], [2, 0], [1, 1]]}, {}, r"outline, .* spans x = 0 to 2 m"),
        ({"width_m": None}, {}, r"width_m: missing; only mesh and measured rooms"),
        ({"mesh": "none.obj"}, {}, r"none\.obj: cannot be read"),
        ({"surfaces": None, "decay": {"rt60_s": 0.4}}, {}, r"decay: absorption for a T60 is known"),
        (
            {"surfaces": {**SURFACES, "named": [{"surface": "e9", "material": "brick"}]}},
            {},
            r"surfaces\.named\.e9: unknown material 'brick'",
        ),
        (
            {"surfaces": {**SURFACES, "named": [{"surface": "e9", "material": "linoleum"}]}},
            {},
            r"no surface 'e9'.* it has e0, e1, e2, e3, e4, e5, floor, ceiling",
        ),
    ],
)
def test_a_recipe_that_no_engine_can_render_is_refused_when_it_is_read(
    family: dict[str, Any], recipe: dict[str, Any], message: str, tmp_path: Path
) -> None:
    changes = {**PYROOM, **recipe, "rooms": [{**L_ROOM, **family}]}
    with pytest.raises(ConfigError, match=message):
        load_recipe(write_recipe(tmp_path, changes))


def test_the_schema_tells_of_outlines_and_meshes() -> None:
    text = describe_schema()
    assert "outline (a list of a list of a number or null, default null): floor plan" in text
    assert "mesh (a file or null, default null): file of a closed surface" in text


def test_eyrings_time_is_between_sabines_and_that_of_mirrors_in_a_box() -> None:
    """And the same for a box whichever way it is described; areas and volume too."""
    flat = ((0.0, 0.0), (6.0, 0.0), (6.0, 4.0), (0.0, 4.0))
    one = plan_room(flat, absorption=0.2)
    box = Room(
        id="box", size_m=(6.0, 4.0, 2.5), band_hz=OCTAVE_BANDS_HZ, absorption=((0.2,) * 7,) * 6
    )
    dry = replace(Air(), humidity_pct=100.0)
    got = eyring_t60_s(one, dry)
    np.testing.assert_allclose(got, eyring_t60_s(box, dry))
    assert volume_m3(one) == pytest.approx(60)
    assert surface_areas_m2(one).sum() == pytest.approx(2 * (24 + 15 + 10))
    sabine = 24 * math.log(10) * 60 / (dry.speed_of_sound_mps * 0.2 * 98)
    mirrors = predicted_t60_s(box.size_m, box.absorption, np.zeros(7), dry.speed_of_sound_mps)
    assert got[0] < sabine < mirrors[0]
    assert got[0] == pytest.approx(sabine * 0.2 / -math.log(0.8), rel=0.01)


def test_an_anechoic_room_keeps_its_shape(tmp_path: Path) -> None:
    drawn = draw_room(l_recipe(tmp_path, scattering=0.2).rooms, "r", draws())
    silent = anechoic(drawn)
    assert silent.room.outline_m == drawn.room.outline_m
    assert silent.room.scattering == 0
    assert np.array(silent.room.absorption).min() == 1
    assert silent.response_s < drawn.response_s


@pytest.fixture(params=["outline", "mesh"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Room:
    """The L-shape, described either way."""
    if request.param == "outline":
        return plan_room()
    from test_room_shapes import write_l_obj

    return mesh_room(write_l_obj(tmp_path / "l.obj"))


def test_everything_stands_inside_clear_of_walls_and_in_sight(room: Room) -> None:
    listener = Listener(height_m=constant(1.5), wall_margin_m=0.5)
    placement = Placement(
        height_m=Number("uniform", (0.2, 2.1)), wall_margin_m=0.3, separation_m=0.5, tries=500
    )
    both_arms = set()
    for n in range(40):
        ear = place_listener(listener, room, None, draws(n))
        assert plan.contains(L_SHAPE, *ear.position_m[:2])
        assert plan.nearest_edge(L_SHAPE, *ear.position_m[:2])[0] >= 0.5
        at = place_emitter("t", placement, room, ear, (), None, rng(n, "", "place"))
        assert plan.contains(L_SHAPE, *at[:2])
        assert plan.nearest_edge(L_SHAPE, *at[:2])[0] >= 0.3
        assert at[2] <= 2.5 - 0.3
        assert plan.blocking_edge(L_SHAPE, ear.position_m[:2], at[:2]) is None
        both_arms.add((at[0] > 2.5, at[1] > 3))
    assert both_arms == {(True, False), (False, True), (False, False)}


def test_a_listener_around_the_corner_is_said_to_be_out_of_sight() -> None:
    room = plan_room()
    ear = Keyframe(position_m=(0.6, 4.6, 1.5))
    placement = Placement(distance_m=constant(5.2), azimuth_deg=constant(-23))
    with pytest.raises(PlacementError, match=r"x in sight of the listener"):
        place_emitter("t", placement, room, ear, (), None, rng(0, "", "place"))


def test_a_table_stands_in_one_arm_with_all_of_its_rim() -> None:
    room = plan_room()
    table = Table(length_m=constant(1.6), width_m=constant(0.8), clearance_m=0.5)
    for n in range(20):
        drawn = place_table(table, room, draws(n))
        for k in range(60):
            at = drawn.rim(k / 60, 0.0)
            assert plan.contains(L_SHAPE, *at)
            assert plan.nearest_edge(L_SHAPE, *at)[0] >= 0.5 - 0.02
    large = Table(
        length_m=constant(3.5), width_m=constant(1.6), yaw_deg=constant(0), clearance_m=0.8
    )
    with pytest.raises(PlacementError, match=r"table: none of 200 places for 3\.5 x 1\.6 m"):
        place_table(large, room, draws())


def test_a_room_without_a_place_for_the_listener_says_so() -> None:
    thin = ((0.0, 0.0), (6.0, 0.0), (6.0, 5.0), (5.5, 5.0), (5.5, 0.5), (0.0, 0.5))
    with pytest.raises(PlacementError, match=r"listener: none of 200 places .* \(outline\)"):
        place_listener(Listener(wall_margin_m=0.4), plan_room(thin), None, draws())


def test_specs_of_the_shipped_recipe_hold_and_name_engine_and_rays() -> None:
    recipe, corpora = load_recipe("l-shape"), fake_corpora()
    for index in range(20):
        spec, _ = sample_scene_with_redraw(recipe, corpora, index=index)
        assert spec.engine == "pyroomacoustics"
        assert spec.tracing == recipe.tracing
        assert type(spec).from_json(spec.to_json()) == spec
        for emitter in spec.emitters:
            at = emitter.keyframes[0].position_m
            assert spec.room.blocked(spec.listener[0].position_m, at) is None


class Bursts:
    """A clip for every reference: the least that a renderer needs."""

    def load(
        self, ref: ClipRef, sample_rate: int, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        noise = np.random.default_rng(3).standard_normal(20 * sample_rate) * 0.1
        return noise.astype(np.float32)[start:stop]


def test_a_scene_in_a_floor_plan_is_rendered_and_the_same_again(tmp_path: Path) -> None:
    pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is not installed")
    from scenesynth.render.renderer import render_scene

    recipe = small_recipe(
        tmp_path,
        rooms=[{**L_ROOM, "scattering": 0.2}],
        duration_s=1,
        tracing={"image_order": 2, "rays": 300},
        **PYROOM,
    )
    spec, _ = sample_scene_with_redraw(recipe, fake_corpora(), index=0)
    first, again = (render_scene(spec, Bursts(), formats=("foa",)) for _ in range(2))
    np.testing.assert_array_equal(first.audio, again.audio)
    assert np.isfinite(first.row["drr_db"])
    assert first.row["room_size_m"] == list(spec.room.size_m)
    assert len(first.events) == 1
    assert write_preview(first, tmp_path).picture.stat().st_size > 10_000


CUT = ((0.0, 0.0), (6.2, 0.0), (6.2, 3.6), (5.7, 4.1), (0.0, 4.1))
"""The rectangle of the picture's scene with a corner cut off."""


@pytest.mark.parametrize("shape", ["shoebox", "outline", "mesh"])
def test_the_plan_shows_the_walls_that_are_there(shape: str, tmp_path: Path) -> None:
    view = view_of(plane_wave_scene())
    fields: dict[str, Any] = {"engine": "pyroomacoustics", "mode": "tail", "tracing": Tracing()}
    if shape == "outline":
        room = replace(plan_room(CUT, band_hz=view.spec.room.band_hz), size_m=(6.2, 4.1, 2.8))
        view = replace(view, spec=replace(view.spec, room=room, **fields))
    elif shape == "mesh":
        path = write_box_obj(tmp_path / "box.obj", view.spec.room.size_m)
        room = mesh_room(path, band_hz=view.spec.room.band_hz)
        view = replace(view, spec=replace(view.spec, room=room, **fields))
    figure = new_figure(7, 7)
    axes, side = draw_plan_and_side(figure, view, 0, 0, 7, 7)
    figure.canvas.draw()
    walls = [patch for patch in axes.patches if isinstance(patch, Polygon)]
    meshes = [item for item in axes.collections if isinstance(item, PolyCollection)]
    if shape == "mesh":
        assert len(meshes[0].get_paths()) == 12
        return
    assert not meshes
    heights = {z for patch in side.patches for z in patch.get_path().vertices[:, 1].tolist()}
    assert heights >= {0.0, 2.8}
    corners = {tuple(xy) for xy in np.round(walls[0].get_path().vertices, 6).tolist()}
    box = {(0, 0), (6.2, 0), (6.2, 4.1), (0, 4.1)}
    assert corners == (set(CUT) if shape == "outline" else box)
