"""Spherical harmonics, formats and the intensity direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle_rir import harmonics

from scenesynth.errors import ConfigError
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.ambisonics import harmonics_rotation, spherical_harmonics
from scenesynth.spatial.doa import intensity_direction
from scenesynth.spatial.formats import parse_format

# Azimuth, elevation in degrees, then the 16 gains of order 3, ACN SN3D, no Condon-Shortley phase.
# fmt: off
GOLDEN = [
    (0, 0,
     1, 0, 0, 1,
     0, 0, -0.5, 0,
     0.866025404, 0, 0, 0,
     0, -0.612372436, 0, 0.790569415),
    (90, 0,
     1, 1, 0, 0,
     0, 0, -0.5, 0,
     -0.866025404, -0.790569415, 0, -0.612372436,
     0, 0, 0, 0),
    (180, 0,
     1, 0, 0, -1,
     0, 0, -0.5, 0,
     0.866025404, 0, 0, 0,
     0, 0.612372436, 0, -0.790569415),
    (-90, 0,
     1, -1, 0, 0,
     0, 0, -0.5, 0,
     -0.866025404, 0.790569415, 0, 0.612372436,
     0, 0, 0, 0),
    (0, 90,
     1, 0, 1, 0,
     0, 0, 1, 0,
     0, 0, 0, 0,
     1, 0, 0, 0),
    (0, -90,
     1, 0, -1, 0,
     0, 0, 1, 0,
     0, 0, 0, 0,
     -1, 0, 0, 0),
    (45, 0,
     1, 0.707106781, 0, 0.707106781,
     0.866025404, 0, -0.5, 0,
     0, 0.559016994, 0, -0.433012702,
     0, -0.433012702, 0, -0.559016994),
    (30, 20,
     1, 0.46984631, 0.342020143, 0.813797681,
     0.662266666, 0.2783352, -0.324533332, 0.482090707,
     0.382359838, 0.655990361, 0.506488493, -0.119436154,
     -0.413008324, -0.206869487, 0.292421268, 0),
    (-110, -35,
     1, -0.769751131, -0.573576436, -0.2801665,
     0.373531444, 0.764719676, -0.006515107, 0.2783352,
     -0.445157441, 0.217271905, -0.479074959, -0.304012734,
     0.388612478, -0.110651586, 0.570939303, 0.376325978),
    (135, 60,
     1, 0.353553391, 0.866025404, -0.353553391,
     -0.216506351, 0.530330086, 0.625, -0.530330086,
     0, 0.069877124, -0.419262746, 0.595392465,
     0.324759526, -0.595392465, 0, 0.069877124),
]
# fmt: on


def unit(azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    return np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])


directions = st.builds(unit, st.floats(-180, 180), st.floats(-90, 90))


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row[0]},{row[1]}")
def test_harmonics_equal_the_golden_table(row: tuple[float, ...]) -> None:
    azimuth, elevation, *gains = row
    np.testing.assert_allclose(
        spherical_harmonics(unit(azimuth, elevation), 3), gains, rtol=0, atol=1e-6
    )


def test_harmonics_of_degree_seven_equal_the_golden_row() -> None:
    """ACN 49 to 63 at azimuth 30, elevation 20, and the sum of all 64."""
    # fmt: off
    golden = [
        -0.20938684, 0, 0.09060496, -0.32453727, -0.32840961,
        0.21660572, 0.18278255, -0.14852595, 0.31658867, 0.12505737,
        0, 0.18737168, -0.15693239, -0.57030774, -0.36266865,
    ]
    # fmt: on
    gains = spherical_harmonics(unit(30, 20), 7)
    np.testing.assert_allclose(gains[49:], golden, rtol=0, atol=1e-6)
    assert gains.sum() == pytest.approx(2.50176098, abs=1e-6)


@given(directions)
def test_harmonics_of_the_highest_order_equal_the_textbook(u: np.ndarray) -> None:
    np.testing.assert_allclose(spherical_harmonics(u, 7), harmonics(u, 7), rtol=0, atol=1e-9)


@given(directions, directions)
def test_addition_theorem(a: np.ndarray, b: np.ndarray) -> None:
    """In SN3D the harmonics of one degree multiply and add up to P_l of the angle's cosine."""
    products = spherical_harmonics(a, 7) * spherical_harmonics(b, 7)
    for degree in range(8):
        got = products[degree**2 : (degree + 1) ** 2].sum()
        want = np.polynomial.legendre.Legendre.basis(degree)(a @ b)
        assert got == pytest.approx(want, abs=1e-9)


def test_shape_follows_the_input() -> None:
    assert spherical_harmonics(np.tile([0.0, 0.0, 1.0], (5, 2, 1)), 2).shape == (5, 2, 9)


@pytest.mark.parametrize(("vector", "order"), [([1, 1, 0], 1), ([1, 0], 1), ([1, 0, 0], -1)])
def test_bad_directions_are_refused(vector: list[float], order: int) -> None:
    with pytest.raises(ValueError, match=r"unit_vectors|order"):
        spherical_harmonics(vector, order)


def test_formats_state_their_channels() -> None:
    foa = parse_format("foa")
    assert (foa.order, foa.n_channels) == (1, 4)
    assert foa.channel_names == ("W", "Y", "Z", "X")
    assert parse_format("mono").n_channels == 1
    assert parse_format("hoa7").n_channels == 64
    assert parse_format("hoa1").channel_names == foa.channel_names


def test_an_unknown_format_lists_the_known() -> None:
    with pytest.raises(
        ConfigError, match=r"'hoa8' is not known; did you mean 'hoa7'\?; formats: mono"
    ):
        parse_format("hoa8")


@given(directions)
def test_intensity_points_to_a_plane_wave(u: np.ndarray) -> None:
    noise = np.random.default_rng(0).standard_normal(2000)
    foa = spherical_harmonics(u, 1)[:, None] * noise
    np.testing.assert_allclose(intensity_direction(foa, 32000), u, atol=1e-9)


def test_intensity_of_silence_is_refused() -> None:
    with pytest.raises(ValueError, match="silent"):
        intensity_direction(np.zeros((4, 100)), 32000)
    with pytest.raises(ValueError, match=r"shape \(2, 100\)"):
        intensity_direction(np.zeros((2, 100)), 32000)


@pytest.mark.parametrize("order", [0, 1, 2, 4, 7])
def test_turning_the_channels_is_turning_the_directions(order: int) -> None:
    rng = np.random.default_rng(order)
    directions = rng.standard_normal((200, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    rotation = rotation_matrix(*rng.uniform(-180, 180, 3))
    turned = harmonics_rotation(rotation, order)
    want = spherical_harmonics(directions @ rotation, order)
    np.testing.assert_allclose(spherical_harmonics(directions, order) @ turned.T, want, atol=1e-12)
    for lower in range(order):
        size = (lower + 1) ** 2
        np.testing.assert_array_equal(turned[:size, :size], harmonics_rotation(rotation, lower))
