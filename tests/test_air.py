"""Air absorption against the tables of the standard."""

from __future__ import annotations

import numpy as np
import pytest

from scenesynth.records import from_json, to_json
from scenesynth.room.air import (
    air_attenuation_db_per_m,
    energy_attenuation_per_m,
    speed_of_sound_mps,
)
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air

# dB per km at 125 Hz to 8 kHz: ISO 9613-2:1996, table 2, computed after ISO 9613-1.
TABLE = {
    (10, 70): (0.4, 1.0, 1.9, 3.7, 9.7, 32.8, 117),
    (20, 70): (0.3, 1.1, 2.8, 5.0, 9.0, 22.9, 76.6),
    (30, 70): (0.3, 1.0, 3.1, 7.4, 12.7, 23.1, 59.3),
    (15, 20): (0.6, 1.2, 2.7, 8.2, 28.2, 88.8, 202),
    (15, 50): (0.5, 1.2, 2.2, 4.2, 10.8, 36.2, 129),
    (15, 80): (0.3, 1.1, 2.4, 4.1, 8.3, 23.7, 82.8),
}


@pytest.mark.parametrize(("climate", "db_per_km"), TABLE.items())
def test_attenuation_equals_the_standard(climate: tuple[int, int], db_per_km: tuple) -> None:
    air = Air(temperature_c=climate[0], humidity_pct=climate[1])
    got = 1000 * air_attenuation_db_per_m(OCTAVE_BANDS_HZ, air)
    np.testing.assert_allclose(got, db_per_km, rtol=0.015, atol=0.06)


def test_energy_constant_is_the_attenuation_in_nepers() -> None:
    air = Air()
    path_m = 50.0
    by_db = 10 ** (-air_attenuation_db_per_m(4000.0, air) * path_m / 10)
    assert np.exp(-energy_attenuation_per_m(4000.0, air) * path_m) == pytest.approx(by_db)


def test_speed_of_sound_rises_with_temperature() -> None:
    assert speed_of_sound_mps(20.0) == pytest.approx(343.2, abs=0.05)
    assert speed_of_sound_mps(0.0) == pytest.approx(331.3, abs=0.1)


@pytest.mark.parametrize("temperature_c", [-20.0, 20.0, 30.0])
def test_air_has_the_speed_of_its_temperature_unless_told(temperature_c: float) -> None:
    """So that a response made by hand is the one that a scene of the same room has."""
    air = Air(temperature_c=temperature_c)
    assert air.speed_of_sound_mps == speed_of_sound_mps(temperature_c)
    assert from_json(Air, to_json(air)) == air
    told = Air(temperature_c=temperature_c, speed_of_sound_mps=340.0)
    assert told.speed_of_sound_mps == 340.0
