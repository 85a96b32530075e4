"""Recipes as YAML files: strict reading, overrides, and the list of those that come along.

A recipe is a YAML file of `scenesynth.scene.recipe_records.Recipe`. Errors name the file and the
field.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from scenesynth.data import data_root
from scenesynth.errors import ConfigError
from scenesynth.records import from_plain, to_plain
from scenesynth.room.assets import adopt
from scenesynth.room.family import check_materials
from scenesynth.scene.recipe_records import Recipe
from scenesynth.yaml_files import find_yaml, read_yaml, set_field

RECIPE_FOLDER: Final = "room_specs"
MARK: Final = "targets"
"""Key that every recipe has, and no other file of the folder."""


def load_recipe(name_or_path: str | Path, overrides: Sequence[tuple[str, str]] = ()) -> Recipe:
    """Read a recipe by the name of one that comes along, or from a YAML file.

    Args:
        name_or_path: "gram", or a path that ends in .yaml or .yml.
        overrides: pairs such as ("noise.snr_db.uniform", "[0, 20]"); the text is YAML. Lists are
            entered by number or by the `name` of an item (`rooms.office.height_m`).

    Raises:
        ConfigError: no such recipe, or a wrong one; names file, field and value.
    """
    path = find_recipe(name_or_path)
    plain = read_yaml(path)
    if not isinstance(plain, dict):
        raise ConfigError(f"{path}: holds no mapping, so it is no recipe")
    for field, text in overrides:
        set_field(plain, field, text, f"{path}: --set {field}={text}", "the recipe")
    plain.setdefault("name", path.stem)
    changed = f" (with {', '.join(f'{f}={t}' for f, t in overrides)})" if overrides else ""
    try:
        _adopt_meshes(plain, path.parent)
        recipe = from_plain(Recipe, plain)
        for family in recipe.rooms:
            check_materials(family)
    except ConfigError as error:
        raise ConfigError(f"{path}{changed}: {error}") from None
    return recipe


def list_recipes() -> dict[str, str]:
    """Names of the recipes that come along, and what each is for in one line."""
    found = {}
    for path in sorted((data_root() / RECIPE_FOLDER).glob("*.yaml")):
        plain = read_yaml(path)
        if isinstance(plain, dict) and MARK in plain:
            found[path.stem] = str(plain.get("description", ""))
    return found


def find_recipe(name_or_path: str | Path) -> Path:
    """File of a recipe.

    Raises:
        ConfigError: neither a file nor the name of a recipe.
    """
    return find_yaml(
        name_or_path, data_root() / RECIPE_FOLDER, list_recipes, "recipe", "recipe file"
    )


def _adopt_meshes(plain: dict[str, Any], folder: Path) -> None:
    """Turn names of mesh files into what specs call them, in place.

    A resolved recipe, which a dataset holds, has no paths any more.
    """
    rooms = plain.get("rooms")
    for family in rooms if isinstance(rooms, list) else []:
        if isinstance(family, dict) and isinstance(family.get("mesh"), str):
            family["mesh"] = to_plain(adopt(folder / family["mesh"]))
