"""Rows against specs, without a dataset."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from oracles_scene import plane_wave_scene

from scenesynth.audit.rows import Compared
from scenesynth.scene.spec import SceneSpec


def test_a_column_that_is_wrong_in_several_scenes_is_counted_in_each() -> None:
    scene = plane_wave_scene([("bell", 30.0, 0.0)], noise=[], seconds=0.5)
    info: Any = SimpleNamespace(came_from=None, render="of another version")
    compared = Compared(info=info)
    for index in range(3):
        row = {**scene.row, "index": index, "room": "another one"}
        compared._compare_scene(row, SceneSpec.from_json(scene.spec_json))
    assert compared.wrong_columns["room"] == 3
    assert len(compared.specs) == 3
