"""Splits of shards, and rooms of splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from scene_helpers import small_recipe

from scenesynth.errors import ConfigError
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.splits import find_split, scene_room, scene_split

SPLITS = {"train": {"share": 14}, "valid": {"share": 1}, "test": {"share": 3}}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return small_recipe(tmp_path, splits=SPLITS)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_every_run_of_shards_has_its_shares(recipe: Recipe, seed: int) -> None:
    counts = dict.fromkeys(SPLITS, 0)
    for shard in range(400):
        counts[scene_split(recipe, seed, shard)] += 1
        for name, share in recipe.shares.items():
            assert abs(counts[name] - share * (shard + 1)) < 2
    assert sum(counts.values()) == 400


def test_the_split_of_a_shard_does_not_depend_on_what_was_asked_before(recipe: Recipe) -> None:
    late = scene_split(recipe, 3, 250)
    first = [scene_split(recipe, 3, shard) for shard in range(251)]
    assert first[250] == late


def test_the_largest_split_comes_first(recipe: Recipe) -> None:
    assert {scene_split(recipe, seed, 0) for seed in range(20)} == {"train"}


def test_a_negative_shard_is_refused(recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="shard = -1"):
        scene_split(recipe, 0, -1)


def test_an_unknown_split_names_those_there_are(recipe: Recipe) -> None:
    with pytest.raises(
        ConfigError, match=r"no split 'trian'; did you mean 'train'\?; it has train,"
    ):
        find_split(recipe, "trian")


def test_scenes_take_turns_in_the_rooms_of_a_pool(tmp_path: Path) -> None:
    pooled = small_recipe(
        tmp_path, splits={"train": {"share": 1, "rooms": 3}, "test": {"share": 1, "rooms": 2}}
    )
    ids = [scene_room(pooled, 0, "train", index, 0).room.id for index in range(6)]
    assert ids == [f"small/train/{n:04d}" for n in (0, 1, 2, 0, 1, 2)]
    again = {scene_room(pooled, 0, "train", 0, attempt).room.id for attempt in range(1, 30)}
    assert again == set(ids)


def test_without_a_pool_every_scene_and_attempt_has_a_room_of_its_own(recipe: Recipe) -> None:
    rooms = [
        scene_room(recipe, 0, split, index, attempt).room.id
        for split in SPLITS
        for index in range(3)
        for attempt in range(2)
    ]
    assert len(set(rooms)) == len(rooms)
