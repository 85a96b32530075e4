"""Materials: published coefficients by name."""

from __future__ import annotations

import pytest

from scenesynth.errors import ConfigError
from scenesynth.room.materials import load_materials, material_absorption
from scenesynth.room.model import OCTAVE_BANDS_HZ


def test_every_material_has_seven_bands_and_a_source() -> None:
    materials = load_materials()
    assert len(materials) >= 25
    for material in materials.values():
        assert len(material.coefficients) == len(OCTAVE_BANDS_HZ)
        assert all(0 < value < 1 for value in material.coefficients)
        assert material.source.startswith("after ")
        assert material.what


def test_an_extended_8_khz_value_is_said_and_repeats_4_khz() -> None:
    for material in load_materials().values():
        if "extended" in material.source:
            assert material.coefficients[-1] == material.coefficients[-2]
    assert any("8 kHz extended" in material.source for material in load_materials().values())


def test_walls_take_their_materials() -> None:
    names = ["rockwool"] * 5 + ["marble_floor"]
    absorption = material_absorption(names)
    assert absorption[0] == load_materials()["rockwool"].coefficients
    assert absorption[5] == load_materials()["marble_floor"].coefficients


def test_an_unknown_material_names_the_wall_and_the_closest() -> None:
    with pytest.raises(ConfigError, match=r"'rokwool' of wall y1 .*did you mean 'rockwool'"):
        material_absorption(["rockwool"] * 3 + ["rokwool"] + ["rockwool"] * 2)


def test_six_walls_are_needed() -> None:
    with pytest.raises(ConfigError, match="5 materials; must be 6"):
        material_absorption(["rockwool"] * 5)
