"""Air: the speed of sound and how much energy it takes away."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenesynth.room.model import Air

REFERENCE_PRESSURE_KPA = 101.325
REFERENCE_TEMPERATURE_K = 293.15
TRIPLE_POINT_K = 273.16


def speed_of_sound_mps(temperature_c: float) -> float:
    """Speed of sound in air: 343.2 sqrt(T / 293.15 K) m/s (ISO 9613-1, annex A)."""
    return 343.2 * math.sqrt((temperature_c + 273.15) / REFERENCE_TEMPERATURE_K)


def air_attenuation_db_per_m(freq_hz: ArrayLike, air: Air) -> NDArray[np.float64]:
    """Attenuation of pure tones in dB per metre (ISO 9613-1:1993, eqs 3 to 5 and B.3).

    Args:
        freq_hz: frequencies. Shape: any.
        air: temperature, humidity and pressure.

    Returns:
        Shape of `freq_hz`.
    """
    freq = np.asarray(freq_hz, dtype=np.float64)
    kelvin = air.temperature_c + 273.15
    warmth = kelvin / REFERENCE_TEMPERATURE_K
    pressure = air.pressure_kpa / REFERENCE_PRESSURE_KPA
    saturation = 10 ** (-6.8346 * (TRIPLE_POINT_K / kelvin) ** 1.261 + 4.6151)
    vapour_pct = air.humidity_pct * saturation / pressure
    oxygen_hz = pressure * (24 + 4.04e4 * vapour_pct * (0.02 + vapour_pct) / (0.391 + vapour_pct))
    nitrogen_hz = (
        pressure
        * warmth**-0.5
        * (9 + 280 * vapour_pct * math.exp(-4.170 * (warmth ** (-1 / 3) - 1)))
    )
    oxygen = 0.01275 * math.exp(-2239.1 / kelvin) / (oxygen_hz + freq**2 / oxygen_hz)
    nitrogen = 0.1068 * math.exp(-3352.0 / kelvin) / (nitrogen_hz + freq**2 / nitrogen_hz)
    classical = 1.84e-11 / pressure * math.sqrt(warmth)
    db_per_m: NDArray[np.float64] = (
        8.686 * freq**2 * (classical + warmth**-2.5 * (oxygen + nitrogen))
    )
    return db_per_m


def energy_attenuation_per_m(freq_hz: ArrayLike, air: Air) -> NDArray[np.float64]:
    """The m of exp(-m x): how energy decays along a path, in 1/m. Shape of `freq_hz`."""
    return air_attenuation_db_per_m(freq_hz, air) * (math.log(10) / 10)
