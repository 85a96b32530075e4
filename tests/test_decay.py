"""The closed-form decay and its inversion."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenesynth.errors import UnreachableT60Error
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.decay import (
    absorption_for_t60,
    late_covariance,
    octant_directions,
    predicted_t60_s,
    response_length_s,
)
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.spatial.ambisonics import spherical_harmonics

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


SIZE, TIMES = (7.0, 5.0, 3.0), np.array([0.08, 0.2, 0.4])
UNEVEN = np.random.default_rng(2).uniform(0.1, 0.6, (6, 3))
SOME_AIR = np.array([0.0, 0.001, 0.01])


def late(absorption, times_s=TIMES, order=1, **changes) -> np.ndarray:
    harmonics = spherical_harmonics(octant_directions(), order)
    return late_covariance(SIZE, absorption, SOME_AIR, C, times_s, harmonics, **changes)


def brute_force_late(absorption, order: int, power) -> np.ndarray:
    """A Fibonacci lattice of 40,000 directions over the whole sphere, every image path counted."""
    n = np.arange(40000)
    z = 1 - (2 * n + 1) / len(n)
    azimuth = np.pi * (1 + math.sqrt(5)) * n
    u = np.stack([np.sqrt(1 - z**2) * np.cos(azimuth), np.sqrt(1 - z**2) * np.sin(azimuth), z], 1)
    lengths = C * TIMES[:, None, None] * np.abs(u) / np.array(SIZE)
    y = spherical_harmonics(u, order)
    density = 4 * np.pi * C / np.prod(SIZE) / len(u)
    out = []
    for walls, m, p in zip((1 - absorption).T, SOME_AIR, power(u), strict=True):
        kept = np.exp(-m * C * TIMES)[:, None] * p
        for axis, (low, high) in enumerate(walls.reshape(3, 2)):
            image = np.arange(int(lengths[..., axis].max()) + 2)
            energies = 0.5 * (
                low ** (image // 2) * high ** ((image + 1) // 2)
                + low ** ((image + 1) // 2) * high ** (image // 2)
            )
            kept = kept * np.interp(lengths[..., axis], image, energies)
        out.append(np.einsum("tn,ni,nj->tij", kept, y, y) * density)
    return np.stack(out)


def cardioid_power(u: np.ndarray) -> np.ndarray:
    """Mean over the mirror images of the power of a cardioid that faces (0.6, 0, 0.8)."""
    signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1)
    cosine = np.einsum("nd,ds->ns", u * np.array([0.6, 0.0, 0.8]), signs)
    return np.tile(((0.5 + 0.5 * cosine) ** 2).mean(axis=1), (3, 1))


def even_power(u: np.ndarray) -> np.ndarray:
    return np.ones((3, len(u)))


@pytest.mark.parametrize("power", [even_power, cardioid_power])
@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_the_late_covariance_equals_a_sum_over_the_whole_sphere(order: int, power) -> None:
    """To 0.1 dB of W: the field has kinks over directions, which few nodes cannot follow."""
    got = late(UNEVEN, order=order, source_power=power(octant_directions()))
    want = brute_force_late(UNEVEN, order, power)
    assert got.shape == want.shape == (3, 3, (order + 1) ** 2, (order + 1) ** 2)
    assert (np.abs(got - want).max(axis=(2, 3)) < 0.023 * want[..., 0, 0]).all()


def test_the_first_order_channels_share_the_power_and_are_uncorrelated() -> None:
    got = late(UNEVEN)
    channels = np.arange(4)
    np.testing.assert_allclose(got[..., channels[1:], channels[1:]].sum(-1), got[..., 0, 0])
    assert np.count_nonzero(got) == got[..., channels, channels].size


def test_an_isotropic_field_gives_each_harmonic_its_share() -> None:
    """No walls: only air damps. SN3D channels of degree l then have 1 / (2 l + 1) of W each."""
    got = late(np.zeros((6, 3)), order=3)
    degree = np.repeat(np.arange(4), 2 * np.arange(4) + 1)
    want = np.broadcast_to(np.diag(1 / (2 * degree + 1)), got.shape) * got[..., :1, :1]
    np.testing.assert_allclose(got, want, atol=1e-12 * got.max())
    level = 4 * np.pi * C / math.prod(SIZE) * np.exp(-np.outer(SOME_AIR * C, TIMES))
    np.testing.assert_allclose(got[..., 0, 0], level)


def test_without_a_source_power_it_is_one() -> None:
    ones = np.ones((3, len(octant_directions())))
    np.testing.assert_array_equal(late(UNEVEN), late(UNEVEN, source_power=ones))
    np.testing.assert_allclose(late(UNEVEN, source_power=2 * ones), 2 * late(UNEVEN))


def test_a_lower_order_is_part_of_a_higher_one() -> None:
    np.testing.assert_array_equal(late(UNEVEN, order=1), late(UNEVEN, order=3)[..., :4, :4])
