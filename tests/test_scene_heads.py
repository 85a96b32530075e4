"""Whose ears scenes are heard with, and which splits they belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scene_helpers import fake_corpora, small_recipe
from test_diffuse import CLIPS, TALKER, scene

from scenesynth.acoustics.receivers import head_ref
from scenesynth.errors import ConfigError
from scenesynth.render.renderer import render_scene
from scenesynth.scene.check import check
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import check_corpora, sample_scene
from scenesynth.scene.spec import render_key
from scenesynth.scene.splits import split_heads
from scenesynth.spatial.formats import parse_format

SPHERES = [f"sphere:0.0{n}" for n in range(70, 96)]
SPLITS = {"train": {"share": 6}, "valid": {"share": 1}, "test": {"share": 3}}


def recipe_of(folder: Path, names: list[str], **heads: object) -> Recipe:
    return small_recipe(folder, splits=SPLITS, heads={"names": names} | heads)


def pools(recipe: Recipe) -> dict[str, set[str]]:
    return {split: {head.id for head in split_heads(recipe, split)} for split in SPLITS}


def test_no_head_is_in_two_splits_and_none_is_left_out(tmp_path: Path) -> None:
    names = ["kemar", "sphere", *SPHERES]
    found = pools(recipe_of(tmp_path, names))
    assert set.union(*found.values()) == set(names)
    assert sum(map(len, found.values())) == len(names)
    for split, share in (("train", 0.6), ("valid", 0.1), ("test", 0.3)):
        assert len(found[split]) == pytest.approx(share * len(names), abs=2)


def test_the_order_of_names_moves_no_head(tmp_path: Path) -> None:
    found = pools(recipe_of(tmp_path, SPHERES))
    assert pools(recipe_of(tmp_path, SPHERES[::-1])) == found


def test_as_many_heads_as_splits_are_one_each(tmp_path: Path) -> None:
    found = pools(recipe_of(tmp_path, ["kemar", "sphere", "sphere:0.08"]))
    assert sorted(map(len, found.values())) == [1, 1, 1]


def test_shared_heads_are_in_every_split(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, ["kemar", "sphere"], shared=True)
    assert pools(recipe) == {split: {"kemar", "sphere"} for split in SPLITS}


def test_scenes_have_heads_of_their_split_alone(tmp_path: Path) -> None:
    recipe, corpora = recipe_of(tmp_path, SPHERES), fake_corpora()
    for split, pool in pools(recipe).items():
        heads = [
            sample_scene(recipe, corpora, index=index, split=split).head for index in range(60)
        ]
        drawn = {head for head in heads if head is not None}
        assert len(heads) == 60
        assert {head.id for head in drawn} <= pool
        assert len(drawn) > 0.7 * len(pool)
        assert all(head == head_ref(head.id) for head in drawn)


def test_without_heads_a_scene_has_the_default_one(tmp_path: Path) -> None:
    recipe, corpora = small_recipe(tmp_path), fake_corpora()
    plain = sample_scene(recipe, corpora, index=3)
    assert plain.head is None
    other = small_recipe(tmp_path, heads={"names": ["sphere"], "shared": True})
    assert replace(sample_scene(other, corpora, index=3), head=None) == plain


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"names": ["kemar", "sphere"]}, r"2 heads for 3 splits.*name more.*heads\.shared: true"),
        ({"names": ["kemra", "sphere"]}, r"heads\.names: head 'kemra' .* did you mean 'kemar'"),
        ({"names": ["sphere", "kemar", "sphere:0.0875"]}, "are the same head; name it once"),
        ({"names": []}, r"heads: names = \[\]; must be at least one"),
        ({"names": ["kemar", "kemar"]}, r"heads: names = \[kemar, kemar\]; .* each named once"),
        ({"names": "kemar"}, r"heads\.names: got 'kemar', must be a list"),
    ],
)
def test_wrong_heads_are_named(tmp_path: Path, heads: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_corpora(small_recipe(tmp_path, splits=SPLITS, heads=heads), fake_corpora(), "train")


def test_heads_are_set_by_one_value_and_the_check_tells_the_pools() -> None:
    recipe = load_recipe("everyday", [("heads.names", "[kemar, sphere, sphere:0.08]")])
    found = check(recipe, n_scenes=5)
    assert [note.split(":")[0] for note in found.notes] == [
        f"heads of {split}" for split in ("train", "valid", "test")
    ]
    assert "heads of test: " in str(found)


def test_ears_differ_between_heads_and_nothing_else_does() -> None:
    specs = [scene(TALKER, head=head) for head in (None, head_ref("kemar"), head_ref("sphere"))]
    default, kemar, sphere = (
        render_scene(spec, CLIPS, formats=("foa", "binaural")) for spec in specs
    )
    for other in (kemar, sphere):
        foa = other.audio_by_format["foa"]
        assert foa.tobytes() == default.audio_by_format["foa"].tobytes()
        assert other.row["render_key_foa"] == default.row["render_key_foa"]
    ears = [one.audio_by_format["binaural"] for one in (default, kemar, sphere)]
    assert np.array_equal(ears[0], ears[1])
    difference = np.sum(np.square(ears[2] - ears[1])) / np.sum(np.square(ears[1]))
    assert difference > 0.1
    assert [one.row["head"] for one in (default, kemar, sphere)] == ["kemar", "kemar", "sphere"]
    keys = {render_key(spec, parse_format("binaural")) for spec in specs[1:]}
    assert len(keys) == 2
