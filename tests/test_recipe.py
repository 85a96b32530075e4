"""Recipes as files: strict reading, overrides, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scene_helpers import MINIMAL, small_recipe, write_recipe

from scenesynth.errors import ConfigError
from scenesynth.records import from_plain, to_plain
from scenesynth.scene.recipe import find_recipe, list_recipes, load_recipe
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.recipe_schema import describe_schema, recipe_schema

SHIPPED = ("everyday", "gram", "gram-paper", "l-shape", "meeting", "moving")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_load_and_their_resolved_form_is_the_same_recipe(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    again = from_plain(Recipe, to_plain(recipe))
    assert again == recipe
    assert again.digest == recipe.digest
    assert hash(again) == hash(recipe)


def test_the_list_holds_the_recipes_and_no_other_file() -> None:
    found = list_recipes()
    assert set(SHIPPED) <= set(found)
    assert "materials" not in found
    assert all(found.values())


def test_a_recipe_from_a_file_is_named_after_it(tmp_path: Path) -> None:
    assert load_recipe(write_recipe(tmp_path, {}, name="mine")).name == "mine"
    assert load_recipe(write_recipe(tmp_path, {"name": "own"}, name="mine")).name == "own"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tragets": {}}, r"small\.yaml: tragets: unknown key of Recipe; did you mean 'targets'\?"),
        ({"targets": None}, r"small\.yaml: targets: got None, must be a mapping"),
        ({"targets": {"emitters": 1.5}}, r"targets\.emitters: got 1\.5, must always be a whole"),
        ({"targets": {"emitters": -1}}, r"targets: emitters = -1 can leave \[0, 256\]"),
        (
            {"targets": {"placement": {"distance": 3}}},
            r"placement\.distance: unknown key.*distance_m",
        ),
        (
            {"targets": {"placement": {"distance_m": {"unifrom": [1, 2]}}}},
            r"targets\.placement\.distance_m\.unifrom: unknown distribution; did you mean",
        ),
        ({"targets": {"placement": {"from_table_m": 0.3}}}, r"table: missing"),
        ({"listener": {"place": "table"}}, r"table: missing"),
        (
            {
                "listener": {"place": "table", "height_m": 0.5},
                "table": {"length_m": 2, "width_m": 1},
            },
            r"listener\.height_m = 0\.5 can lie below the table's top",
        ),
        ({"targets": {"schedule": {"order": "strt"}}}, r"schedule\.order: got 'strt'.*'start'"),
        (
            {"targets": {"schedule": {"polyphony": 0}}},
            r"schedule: polyphony = 0; must be at least 1",
        ),
        (
            {"targets": {"pick": "each_once", "emitters": 2}},
            r"targets: pick: each_once plays one clip a scene",
        ),
        ({"duration_s": None}, r"duration_s is null; that needs targets\.pick: each_once"),
        ({"duration_s": -1}, r"duration_s = -1 can leave \[0\.1, 3600\]"),
        ({"sir_db": 3}, r"sir_db is given, but there are no interferers"),
        ({"clean": {"share": 0.5}}, r"clean\.share is given, but there is no noise"),
        ({"splits": {}}, r"splits: no split; give at least one of train, valid, test"),
        ({"splits": {"trian": {"share": 1}}}, r"splits\.trian: unknown key.*did you mean 'train'"),
        ({"splits": {"train": {"share": 0}}}, r"splits\.train: share = 0\.0; must be positive"),
        ({"rooms": []}, r"rooms: got families \[\]; must be at least one"),
        ({"noise": {}}, r"noise\.snr_db: missing key of Noise"),
        ({"sample_rate": 10}, r"sample_rate = 10; must lie in \[1000, 384000\]"),
    ],
)
def test_a_wrong_recipe_names_file_and_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        small_recipe(tmp_path, **changes)
    assert str(tmp_path / "small.yaml") in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surfaces": None}, r"rooms\[0\]: give either decay or surfaces"),
        ({"decay": {"rt60_s": 0.4}}, r"rooms\[0\]: give either decay or surfaces"),
        ({"length_m": 0.1}, r"rooms\[0\]: length_m = 0\.1 can leave"),
        (
            {"surfaces": {"walls": "plastrboard", "floor": "linoleum", "ceiling": "linoleum"}},
            r"rooms\.box\.surfaces\.walls: unknown material 'plastrboard'; did you mean",
        ),
    ],
)
def test_a_wrong_room_family_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_recipe(tmp_path, rooms=[MINIMAL["rooms"][0] | change])


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, {})
    path.write_text(path.read_text() + "sample_rate: 8000\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"small\.yaml: line \d+, column 1: key 'sample_rate'"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "line "), ("just text", "holds no mapping"), ("", "holds no mapping")],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"broken\.yaml: .*{message}"):
        load_recipe(path)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no recipe 'gramm'; did you mean 'gram'\?; known: every"
    ):
        load_recipe("gramm")
    with pytest.raises(ConfigError, match=r"no such recipe file"):
        find_recipe(tmp_path / "none.yaml")


def test_overrides_are_yaml_at_a_dotted_path() -> None:
    recipe = load_recipe(
        "gram",
        [
            ("noise.snr_db.uniform", "[0, 20]"),
            ("targets.placement.distance_m", "2"),
            ("rooms.house.height_m", "{uniform: [2.5, 3]}"),
            ("rooms.0.weight", "2"),
            ("interferers.emitters", "1"),
            ("description", "mine"),
        ],
    )
    assert recipe.noise is not None
    assert recipe.interferers is not None
    assert (recipe.noise.snr_db.low, recipe.noise.snr_db.high) == (0, 20)
    assert recipe.targets.placement.distance_m is not None
    assert recipe.targets.placement.distance_m.high == 2
    assert recipe.rooms[0].height_m.high == 3
    assert recipe.rooms[0].weight == 2
    assert recipe.digest != load_recipe("gram").digest


def test_an_override_changes_one_use_of_a_shared_anchor() -> None:
    recipe = load_recipe("gram", [("targets.placement.wall_margin_m", "0.4")])
    assert recipe.noise is not None
    assert recipe.targets.placement.wall_margin_m == 0.4
    assert recipe.noise.placement.wall_margin_m == 0.2


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("noise.snr", "3", r"noise\.snr: unknown key of Noise; did you mean 'snr_db'\?"),
        (
            "sample_rate.x",
            "3",
            r"--set sample_rate\.x=3: sample_rate is 32000, which has no fields",
        ),
        ("sample_rate.x.y", "3", r"sample_rate is 32000, which has no field x|has no field"),
        ("rooms.huose.weight", "3", r"no item 'huose'; did you mean 'house'\?"),
        ("noise..snr_db", "3", r"a field is written as names with dots"),
        ("noise.snr_db", "{a: 1, a: 2}", r"key 'a' is given twice"),
        ("noise.snr_db", "[", r"--set noise\.snr_db=\["),
        (
            "noise.snr_db",
            "loud",
            r"gram\.yaml \(with noise\.snr_db=loud\): noise\.snr_db: got 'loud'",
        ),
    ],
)
def test_a_wrong_override_is_named(field: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe("gram", [(field, text)])


def test_the_schema_knows_every_field_and_what_it_means() -> None:
    schema = recipe_schema()
    noise = schema["properties"]["noise"]["anyOf"][0]
    assert noise["required"] == ["snr_db"]
    assert noise["additionalProperties"] is False
    assert noise["properties"]["snr_db"]["$ref"] == "#/$defs/number"
    assert noise["properties"]["fade_s"]["default"] == 0.2
    assert schema["properties"]["rooms"]["type"] == "array"
    order = schema["properties"]["targets"]["properties"]["schedule"]["properties"]["order"]
    assert order["enum"] == ["start", "scattered", "turns"]
    assert "uniform" in str(schema["$defs"]["number"])
    assert "uniform" not in str(schema["$defs"]["count"])


def test_the_schema_in_words_shows_defaults_and_choices() -> None:
    text = describe_schema()
    assert "snr_db (a number or distribution, required): all wet targets over all wet noise" in text
    assert "order (start | scattered | turns, default start)" in text
    assert "{log_uniform: [low, high]}" in text


_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_BOMB, "more than 100000 values, with all anchors written out"),
        ("a: " + "[" * 20_000, "nested too deeply"),
        ("? [a, b]\n: 1\n", r"line 1, column 3: \['a', 'b'\] cannot be a key"),
        ("a: 2020-99-99\n", "not valid YAML.*month"),
    ],
    ids=["bomb", "deep", "list as a key", "impossible date"],
)
def test_hostile_yaml_is_refused_and_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"bad\.yaml: .*{message}"):
        load_recipe(path)


@pytest.mark.parametrize(("text", "value"), [("1e1", 10), ("-2.5e+0", -2.5), ("1E1", 10)])
def test_a_number_with_an_exponent_is_a_number(text: str, value: float) -> None:
    recipe = load_recipe("gram", [("noise.snr_db", text)])
    assert recipe.noise is not None
    assert recipe.noise.snr_db.low == value


def test_a_folder_in_place_of_a_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        load_recipe(tmp_path.rename(tmp_path.with_suffix(".yaml")))
