"""Trying a recipe out without clips."""

from __future__ import annotations

from pathlib import Path

import pytest
from scene_helpers import small_recipe

from scenesynth.scene.check import check
from scenesynth.scene.recipe import load_recipe


@pytest.mark.parametrize("name", ["everyday", "meeting", "moving"])
def test_shipped_recipes_pass(name: str) -> None:
    found = check(load_recipe(name), n_scenes=40)
    assert found.ok
    low, _, high = found.ranges["snr_db"]
    assert 5 <= low < high <= 35
    assert "40 scenes drawn" in str(found)
    assert "target distance_m" in str(found)


def test_a_recipe_that_cannot_be_placed_is_told_apart(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path, targets={"placement": {"distance_m": 50, "tries": 5}})
    found = check(recipe, n_scenes=7)
    assert not found.ok
    assert [index for index, _ in found.failures] == list(range(7))
    assert "wall_margin_m" in str(found)
    assert "and 2 more scenes that cannot be drawn" in str(found)


def test_events_without_a_place_are_counted(tmp_path: Path) -> None:
    schedule = {"order": "scattered", "polyphony": 1, "on_full": "drop"}
    recipe = small_recipe(tmp_path, targets={"emitters": 6, "events": 2, "schedule": schedule})
    found = check(recipe, n_scenes=5)
    assert found.requested == 60
    assert 10 < found.dropped < 60
    assert f"{found.dropped} of 60 scattered events found no place" in str(found)


def test_each_once_is_tried_on_as_many_clips_as_there_are(tmp_path: Path) -> None:
    recipe = small_recipe(
        tmp_path, duration_s=None, targets={"pick": "each_once", "labels": ["dog"]}
    )
    found = check(recipe, n_scenes=500)
    assert found.ok
    assert 20 < found.n_scenes < 40
