"""Rooms drawn from families."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from scenesynth.distributions import Draws, Name, Number, constant
from scenesynth.errors import ConfigError
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.decay import predicted_t60_s
from scenesynth.room.eyring import surface_areas_m2
from scenesynth.room.family import (
    TRIES,
    Decay,
    DrawnRoom,
    RoomFamily,
    Surfaces,
    anechoic,
    draw_room,
)
from scenesynth.room.materials import material_absorption
from scenesynth.room.model import OCTAVE_BANDS_HZ, Room


def family(**fields: Any) -> RoomFamily:
    known: dict[str, Any] = {
        "name": "test",
        "length_m": Number("uniform", (5, 7)),
        "width_m": Number("uniform", (4, 5)),
        "height_m": constant(3),
    }
    return RoomFamily(**(known | fields))


def draws(index: int = 0, seed: int = 0) -> Draws:
    return Draws(seed=seed, split="train", index=index)


DECAY = family(decay=Decay(rt60_s=Number("uniform", (0.3, 0.6)), floor_weight=constant(2)))
SURFACES = family(
    surfaces=Surfaces(
        walls=Name(("plasterboard", "hard_surfaces")),
        floor=Name(("thin_carpet",)),
        ceiling=Name(("ceiling_tile",)),
        feature_wall=Name(("double_glazing",)),
    )
)


@pytest.mark.parametrize("kind", [DECAY, SURFACES])
def test_the_same_key_gives_the_same_room_and_another_key_another(kind: RoomFamily) -> None:
    room = draw_room((kind,), "r", draws(3))
    assert draw_room((kind,), "r", draws(3)) == room
    assert draw_room((kind,), "r", draws(4)).room.size_m != room.room.size_m
    assert draw_room((kind,), "r", draws(3, seed=1)).room.size_m != room.room.size_m


def test_the_absorption_gives_the_t60_asked_for() -> None:
    drawn = draw_room((DECAY,), "r", draws())
    room = drawn.room
    predicted = predicted_t60_s(
        room.size_m,
        room.absorption,
        energy_attenuation_per_m(np.array(room.band_hz), drawn.air),
        drawn.air.speed_of_sound_mps,
        room.band_hz,
    )
    np.testing.assert_allclose(predicted, room.rt60_s, rtol=1e-3)
    assert room.absorption[4][0] == pytest.approx(2 * room.absorption[0][0], rel=1e-4)
    assert drawn.response_s >= 0.999 * max(room.rt60_s or ())


def test_the_octave_ratio_tilts_the_t60_about_1_khz() -> None:
    tilted = family(decay=Decay(rt60_s=constant(0.4), octave_ratio=constant(0.9)))
    rt60_s = draw_room((tilted,), "r", draws()).room.rt60_s
    assert rt60_s is not None
    assert rt60_s[OCTAVE_BANDS_HZ.index(1000.0)] == 0.4
    for low, high in pairwise(rt60_s):
        assert high / low == pytest.approx(0.9, rel=1e-4)


def test_materials_give_the_tables_absorption_and_one_side_wall_is_the_feature() -> None:
    which = set()
    for index in range(20):
        room = draw_room((SURFACES,), "r", draws(index)).room
        assert room.materials is not None
        assert room.rt60_s is None
        np.testing.assert_allclose(room.absorption, material_absorption(room.materials))
        assert room.materials[4:] == ("thin_carpet", "ceiling_tile")
        assert room.materials.count("double_glazing") == 1
        which.add(room.materials.index("double_glazing"))
    assert which == {0, 1, 2, 3}


def test_furnishing_covers_its_share_of_walls_and_floor_and_not_the_ceiling() -> None:
    kind = family(
        surfaces=Surfaces(
            walls=Name(("hard_surfaces",)),
            floor=Name(("linoleum",)),
            ceiling=Name(("hard_surfaces",)),
            furnishing=Name(("draped_curtain",)),
            furnished_share=constant(0.25),
        )
    )
    room = draw_room((kind,), "r", draws()).room
    bare = np.array(material_absorption(room.materials or ()))
    curtain = np.array(material_absorption(("draped_curtain",) * 6))
    np.testing.assert_allclose(room.absorption[5], bare[5])
    np.testing.assert_allclose(room.absorption[:5], (0.75 * bare + 0.25 * curtain)[:5], atol=1e-6)


def test_every_wall_and_the_floor_have_a_furnishing_of_their_own() -> None:
    of = Surfaces(
        walls=Name(("hard_surfaces",)),
        floor=Name(("hard_surfaces",)),
        ceiling=Name(("hard_surfaces",)),
        furnishing=Name(("draped_curtain", "thin_plywood")),
        furnished_share=constant(0.5),
    )
    rooms = [draw_room((family(surfaces=of),), "r", draws(index)).room for index in range(12)]
    kinds = np.array([[wall[0] for wall in room.absorption[:5]] for room in rooms])
    assert set(np.unique(kinds.round(6))) == {0.16, 0.22}
    assert all(len(set(column)) == 2 for column in kinds.T)


def test_evened_surfaces_keep_their_mean_and_a_share_of_their_differences() -> None:
    of = {"walls": Name(("hard_surfaces",)), "floor": Name(("pile_carpet",))}
    of |= {"ceiling": Name(("ceiling_tile",))}

    def room(share: float) -> Room:
        kind = family(surfaces=Surfaces(**of, evened_share=constant(share)))
        return draw_room((kind,), "r", draws()).room

    own, half, all_alike = (np.array(room(share).absorption) for share in (0, 0.5, 1))
    mean = np.average(own, axis=0, weights=surface_areas_m2(room(0)))
    np.testing.assert_allclose(all_alike, np.broadcast_to(mean, own.shape), atol=1e-6)
    np.testing.assert_allclose(half, (own + mean) / 2, atol=1e-6)


def test_a_t60_out_of_reach_is_drawn_again() -> None:
    # Air alone absorbs more at 8 kHz than most of this range allows.
    wanted = Number("uniform", (0.5, 6))
    kind = family(decay=Decay(rt60_s=wanted))
    rooms = [draw_room((kind,), "r", draws(index)).room for index in range(12)]
    first = [draws(index).number(wanted, "room.rt60", 0) for index in range(12)]
    got = [room.rt60_s[0] for room in rooms if room.rt60_s is not None]
    assert len(got) == 12
    again = [n for n in range(12) if got[n] != first[n]]
    assert 3 <= len(again) <= 11
    assert max(got) < min(first[n] for n in again)


def test_a_family_that_can_never_have_its_t60_says_so() -> None:
    kind = family(decay=Decay(rt60_s=constant(15)))
    with pytest.raises(ConfigError, match=rf"none of {TRIES} drawn boxes .* rt60_s = 15 s at"):
        draw_room((kind,), "r", draws())


def test_a_limit_on_the_predicted_t60_holds() -> None:
    bare = Surfaces(
        walls=Name(("hard_surfaces", "draped_curtain")),
        floor=Name(("linoleum", "pile_carpet")),
        ceiling=Name(("hard_surfaces", "acoustic_plaster")),
        longest_rt60_s=1.5,
    )
    drawn = [draw_room((family(surfaces=bare),), "r", draws(index)) for index in range(15)]
    assert all(room.response_s <= 1.5 for room in drawn)


def test_a_limit_on_how_much_longer_a_band_reverberates_holds() -> None:
    of = {"walls": Name(("hard_surfaces", "plasterboard")), "floor": Name(("pile_carpet",))}
    of |= {"ceiling": Name(("acoustic_plaster", "wooden_lining"))}

    def ratios(limit: float | None) -> list[float]:
        kind = family(surfaces=Surfaces(**of, longest_rt60_ratio=limit))
        drawn = [draw_room((kind,), "r", draws(index)) for index in range(12)]
        return [slowest_over_middle(item) for item in drawn]

    assert max(ratios(None)) > 1.6
    assert max(ratios(1.6)) <= 1.6
    with pytest.raises(ConfigError, match=r"longest_rt60_ratio = 0\.5, but the T60 of its slowest"):
        ratios(0.5)


def slowest_over_middle(drawn: DrawnRoom) -> float:
    room, air = drawn.room, drawn.air
    attenuation = energy_attenuation_per_m(np.array(room.band_hz), air)
    speed_mps = air.speed_of_sound_mps
    t60_s = predicted_t60_s(room.size_m, room.absorption, attenuation, speed_mps, room.band_hz)
    return float(t60_s.max() / t60_s[2:5].mean())


def test_families_come_by_their_weight() -> None:
    kinds = (
        family(name="often", weight=3.0, surfaces=SURFACES.surfaces, height_m=constant(2.5)),
        family(name="seldom", weight=1.0, surfaces=SURFACES.surfaces, height_m=constant(4)),
        family(name="never", weight=0.0, surfaces=SURFACES.surfaces, height_m=constant(9)),
    )
    heights = [draw_room(kinds, "r", draws(index)).room.size_m[2] for index in range(200)]
    assert set(heights) == {2.5, 4}
    assert 120 < heights.count(2.5) < 180


def test_an_anechoic_room_has_the_same_box_and_room_for_the_direct_sound() -> None:
    drawn = draw_room((DECAY,), "r", draws())
    dead = anechoic(drawn)
    assert dead.room.size_m == drawn.room.size_m
    assert dead.room.id == "r/anechoic"
    assert all(value == 1 for wall in dead.room.absorption for value in wall)
    assert dead.room.rt60_s is None
    longest_s = np.linalg.norm(dead.room.size_m) / dead.air.speed_of_sound_mps
    assert longest_s < dead.response_s < longest_s + 0.1


def test_the_speed_of_sound_follows_the_temperature() -> None:
    warm = family(surfaces=SURFACES.surfaces, temperature_c=constant(30))
    air = draw_room((warm,), "r", draws()).air
    assert air.temperature_c == 30
    assert air.speed_of_sound_mps == pytest.approx(349, abs=0.5)
