"""The closed-form decay and its inversion."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenesynth.errors import UnreachableT60Error
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.decay import absorption_for_t60, predicted_t60_s, response_length_s
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room

AIR = Air()
C = AIR.speed_of_sound_mps
ATTENUATION = energy_attenuation_per_m(np.array(OCTAVE_BANDS_HZ), AIR)

sizes = st.tuples(st.floats(3, 10), st.floats(3, 8), st.floats(2.4, 4))
weights = st.tuples(*[st.floats(0.5, 1.5)] * 6)


def brute_force_t60(size_m, absorption, m: float) -> float:
    """Random directions, a sampled decay curve and a regression between -5 and -35 dB."""
    u = np.abs(np.random.default_rng(0).standard_normal((20000, 3)))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    walls = np.array(absorption).reshape(3, 2)
    rate = C * (m - 0.5 * (u / np.array(size_m)) @ np.log((1 - walls).prod(axis=1)))
    t = np.linspace(0, 3, 6001)
    curve = np.array([np.mean(np.exp(-rate * x) / rate) for x in t])
    level = 10 * np.log10(curve / curve[0])
    keep = (level < -5) & (level > -35)
    return -60 / np.polyfit(t[keep], level[keep], 1)[0]


def test_air_alone_decays_exponentially() -> None:
    got = predicted_t60_s((5, 4, 3), np.zeros((6, 7)), ATTENUATION, C)
    np.testing.assert_allclose(got, 6 * math.log(10) / (ATTENUATION * C), rtol=1e-9)


@pytest.mark.parametrize("absorption", [[0.2] * 6, [0.1, 0.1, 0.1, 0.1, 0.4, 0.7]])
def test_prediction_equals_a_brute_force_integral(absorption: list[float]) -> None:
    got = predicted_t60_s((7, 5, 3), np.array(absorption)[:, None], [0.001], C)
    assert got[0] == pytest.approx(brute_force_t60((7, 5, 3), absorption, 0.001), rel=0.01)


@settings(max_examples=15, deadline=None)
@given(sizes, st.floats(0.2, 0.5), weights)
def test_inversion_gives_the_wanted_t60(size_m, t60_s: float, wall_weights) -> None:
    absorption = absorption_for_t60(size_m, [t60_s] * 7, OCTAVE_BANDS_HZ, AIR, wall_weights)
    assert np.max(absorption) <= 0.99
    got = predicted_t60_s(size_m, absorption, ATTENUATION, C)
    np.testing.assert_allclose(got, t60_s, rtol=1e-6)


def test_inversion_keeps_the_walls_proportions() -> None:
    wanted = (1.0, 1.0, 1.0, 1.0, 0.5, 1.5)
    absorption = np.array(absorption_for_t60((7, 5, 3), [0.5] * 7, OCTAVE_BANDS_HZ, AIR, wanted))
    np.testing.assert_allclose(absorption / absorption[0], np.outer(wanted, np.ones(7)))


def test_air_takes_its_share_of_the_high_bands() -> None:
    absorption = absorption_for_t60((7, 5, 3), [0.5] * 7, OCTAVE_BANDS_HZ, AIR)
    assert list(absorption[0]) == sorted(absorption[0], reverse=True)
    assert absorption[0][-1] < 0.8 * absorption[0][0]


@settings(max_examples=15, deadline=None)
@given(sizes, st.floats(0.02, 0.9), st.floats(1.01, 1.1), st.integers(0, 5))
def test_more_absorption_never_lengthens_the_decay(size_m, base, factor, wall) -> None:
    low = np.full((6, 1), base)
    high = low.copy()
    high[wall] *= factor
    before = predicted_t60_s(size_m, low, [0.0], C)
    assert predicted_t60_s(size_m, high, [0.0], C) <= before * (1 + 1e-9)


def test_an_unreachable_t60_names_itself_the_band_and_the_range() -> None:
    with pytest.raises(
        UnreachableT60Error,
        match=r"rt60_s = 3 s at 8000 Hz cannot be reached in a room of 7 x 5 x 3 m: it reaches "
        r"0\.0\d+ to 1\.\d+ s",
    ):
        absorption_for_t60((7, 5, 3), [3.0] * 7, OCTAVE_BANDS_HZ, AIR)
    with pytest.raises(UnreachableT60Error, match=r"rt60_s = 0\.01 s at 125 Hz"):
        absorption_for_t60((7, 5, 3), [0.01] * 7, OCTAVE_BANDS_HZ, AIR)


@pytest.mark.parametrize(
    ("t60_s", "wall_weights", "match"),
    [
        ([0.5] * 6, None, "rt60_s"),
        ([-0.5] * 7, None, "rt60_s"),
        ([float("nan")] * 7, None, "rt60_s"),
        ([0.5] * 7, [1] * 5, "wall_weights"),
        ([0.5] * 7, [1, 1, 1, 1, 1, 0], "wall_weights"),
    ],
)
def test_bad_requests_are_refused(t60_s, wall_weights, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        absorption_for_t60((7, 5, 3), t60_s, OCTAVE_BANDS_HZ, AIR, wall_weights)


def room_of(absorption: float, size_m=(7.0, 5.0, 3.0)) -> Room:
    return Room(id="r", size_m=size_m, band_hz=OCTAVE_BANDS_HZ, absorption=((absorption,) * 7,) * 6)


def test_a_response_is_as_long_as_the_slowest_band() -> None:
    room = room_of(0.2)
    longest = predicted_t60_s(room.size_m, room.absorption, ATTENUATION, C).max()
    assert response_length_s(room, AIR) == longest


def test_an_anechoic_response_holds_the_direct_sound_of_any_pair() -> None:
    assert response_length_s(room_of(1.0), AIR) > math.hypot(7, 5, 3) / C
