"""Microphone arrays: YAML files, the field on a rigid sphere and in free air, diffuse sound."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from scenesynth.errors import ConfigError
from scenesynth.scene.geometry import azimuth_elevation, direction, rotation_matrix
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.array_response import (
    diffuse_covariance,
    modal_coefficients,
    plane_wave_response,
    series_order,
)
from scenesynth.spatial.arrays import OMNI_SHARE, Capsule, MicArray, list_arrays, load_array
from scenesynth.spatial.formats import parse_formats

C_MPS = 343.0
MIC = load_array("mic")
ARRAYS = {name: load_array(name) for name in list_arrays()}

# Direction, frequency, dB and degrees of phase at M1 to M4: the DCASE formula at c = 343 m/s.
GOLDEN = [
    ((45, 35), 1000, (2.047, -0.706, -0.706, -0.706), (64.72, -18.66, -18.66, -19.64)),
    ((45, 35), 4000, (5.055, 0.093, 0.093, 0.056), (-170.57, -62.36, -62.36, -65.17)),
    ((45, 35), 8000, (5.628, -0.395, -0.395, -0.488), (0.83, -124.1, -124.1, -129.86)),
    ((0, 0), 1000, (0.929, 0.929, -0.554, -0.554), (42.33, 42.33, -37.39, -37.39)),
    ((0, 0), 4000, (3.97, 3.97, -1.312, -1.312), (114.95, 114.95, -115.54, -115.54)),
]

angles = st.tuples(st.floats(-180, 180), st.floats(-90, 90))
turns = st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180))


def respond(array: MicArray, places: list[tuple[float, float]], freq: ArrayLike) -> NDArray:
    return plane_wave_response(array, [direction(*place) for place in places], freq, C_MPS)


def sphere(places: list[tuple[float, float]], radius_m: float = 0.042) -> MicArray:
    capsules = tuple(
        Capsule(name=str(n), azimuth_deg=azimuth, elevation_deg=elevation)
        for n, (azimuth, elevation) in enumerate(places)
    )
    return MicArray(name="test", capsules=capsules, sphere_radius_m=radius_m)


def sphere_modes(order: int, ka: ArrayLike) -> NDArray[np.complex128]:
    """Incident plus scattered field on the surface, i^n (j_n - j_n' / h_n' h_n), from scipy."""
    n, x = np.arange(order + 1)[:, None], np.asarray(ka, dtype=float)
    j, dj = spherical_jn(n, x), spherical_jn(n, x, derivative=True)
    h, dh = j - 1j * spherical_yn(n, x), dj - 1j * spherical_yn(n, x, derivative=True)
    return 1j**n * (j - dj / dh * h)


def product_grid(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions [n, 3] and weights [n] that average every polynomial of the degree exactly."""
    z, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    azimuth = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    flat = np.sqrt(1 - z**2)[:, None]
    height = np.broadcast_to(z[:, None], (len(z), len(azimuth)))
    grid = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), height], axis=-1)
    return grid.reshape(-1, 3), np.repeat(weight / 2 / len(azimuth), len(azimuth))


@pytest.mark.parametrize(("place", "freq", "level_db", "phase_deg"), GOLDEN)
def test_the_dcase_sphere_equals_the_golden_table(
    place: tuple[float, float],
    freq: float,
    level_db: tuple[float, ...],
    phase_deg: tuple[float, ...],
) -> None:
    got = respond(MIC, [place], [freq])[0, :, 0]
    np.testing.assert_allclose(20 * np.log10(np.abs(got)), level_db, rtol=0, atol=0.001)
    turn = np.degrees(np.angle(got * np.exp(-1j * np.radians(phase_deg))))
    np.testing.assert_allclose(turn, 0, rtol=0, atol=0.01)


def test_mode_strengths_equal_incident_plus_scattered_field() -> None:
    ka = np.array([0.01, 0.3, 1.0, 5.0, 12.0, 44.0, 220.0, 880.0])
    for x in ka:
        order = series_order(x)
        got = modal_coefficients(order, [x])
        weight = 2 * np.arange(order + 1)[:, None] + 1
        np.testing.assert_allclose(weight * got, weight * sphere_modes(order, [x]), atol=1e-11)


def test_mode_strengths_are_those_of_a_point_at_zero_hertz() -> None:
    np.testing.assert_array_equal(modal_coefficients(3, [0.0])[:, 0], [1, 0, 0, 0])
    tiny = modal_coefficients(40, [1e-200, 1e-12, 1e-4])
    assert np.all(np.isfinite(tiny))
    np.testing.assert_allclose(tiny[1], 1j * np.array([1e-200, 1e-12, 1e-4]) / 2, rtol=1e-8)


@pytest.mark.parametrize("ka", [0.02, 0.5, 1.0, 3.0, 12.3, 44.0, 100.0, 439.0, 1000.0])
def test_what_the_series_leaves_out_is_below_160_db(ka: float) -> None:
    first = series_order(ka) + 1
    n = np.arange(first, first + 60)
    rest = np.sum((2 * n + 1) * np.abs(modal_coefficients(first + 59, [ka])[first:, 0]))
    assert rest < 1e-8


@pytest.mark.parametrize("radius_m", [0.005, 0.042, 0.1, 0.5])
def test_the_rigid_response_equals_the_textbook_series(radius_m: float) -> None:
    freq = np.array([50.0, 1000.0, 12000.0, 24000.0])
    gamma_deg = [0.0, 30.0, 90.0, 135.0, 180.0]
    got = respond(sphere([(0, 0)], radius_m), [(gamma, 0) for gamma in gamma_deg], freq)[:, 0]
    for column, x in enumerate(2 * np.pi * freq * radius_m / C_MPS):
        n = np.arange(min(int(x + 10 * x ** (1 / 3) + 6), 300))
        series = (2 * n + 1) * sphere_modes(len(n) - 1, [x])[:, 0]
        want = eval_legendre(n, np.cos(np.radians(gamma_deg))[:, None]) @ series
        np.testing.assert_allclose(got[:, column], want, rtol=0, atol=2e-8)


@given(angles, angles, st.floats(20, 20000))
def test_capsule_and_source_change_places(
    a: tuple[float, float], b: tuple[float, float], freq: float
) -> None:
    there, back = respond(sphere([a]), [b], [freq]), respond(sphere([b]), [a], [freq])
    np.testing.assert_allclose(there, back, rtol=0, atol=1e-12)


@settings(max_examples=25)
@given(turns)
def test_turning_array_and_field_together_changes_nothing(turn: tuple[float, float, float]) -> None:
    rotation = rotation_matrix(*turn)
    directions = np.array([direction(*place) for place in [(0, 0), (70, 20), (-120, -60)]])
    freq = [200.0, 3000.0, 15000.0]
    turned = sphere([azimuth_elevation(tuple(rotation @ look)) for look in MIC.looks])
    np.testing.assert_allclose(
        plane_wave_response(turned, directions @ rotation.T, freq, C_MPS),
        plane_wave_response(MIC, directions, freq, C_MPS),
        atol=1e-9,
    )
    np.testing.assert_allclose(
        diffuse_covariance(turned, freq, C_MPS), diffuse_covariance(MIC, freq, C_MPS), atol=1e-9
    )


# Azimuth' = sign az + shift, elevation' = sign_el el; then channel m takes the old channel p[m].
SWAPS = [
    (1, 0, 1, (1, 2, 3, 4)),
    (-1, 0, -1, (2, 1, 4, 3)),
    (1, 90, -1, (2, 4, 1, 3)),
    (-1, 90, 1, (1, 3, 2, 4)),
    (1, -90, -1, (3, 1, 4, 2)),
    (-1, -90, 1, (4, 2, 3, 1)),
    (1, 180, 1, (4, 3, 2, 1)),
    (-1, 180, -1, (3, 4, 1, 2)),
]


@pytest.mark.parametrize(("sign", "shift_deg", "sign_elevation", "old"), SWAPS)
def test_swapping_channels_moves_the_source_of_the_dcase_array(
    sign: int, shift_deg: int, sign_elevation: int, old: tuple[int, ...]
) -> None:
    freq = np.linspace(0, 12000, 25)
    before = [(20.0, 10.0), (-75.0, 50.0), (160.0, -30.0)]
    after = [(sign * az + shift_deg, sign_elevation * el) for az, el in before]
    swapped = respond(MIC, before, freq)[:, np.array(old) - 1]
    np.testing.assert_allclose(respond(MIC, after, freq), swapped, rtol=0, atol=1e-12)


def test_the_dcase_capsules_are_four_of_the_em32() -> None:
    np.testing.assert_allclose(ARRAYS["em32"].looks[[5, 9, 25, 21]], MIC.looks, atol=1e-12)
    assert ARRAYS["em32"].n_channels == 32


def test_the_em32_table_resolves_harmonics_of_order_four() -> None:
    """A misprinted angle would spoil the near-even cover that the array was designed for."""
    harmonics = spherical_harmonics(ARRAYS["em32"].looks, 4)
    degree = np.floor(np.sqrt(np.arange(25)))
    assert np.linalg.cond(harmonics * np.sqrt(2 * degree + 1)) < 1.2


@pytest.mark.parametrize("name", ARRAYS)
def test_zero_hertz_sees_the_pattern_alone(name: str) -> None:
    array = ARRAYS[name]
    directions = np.array([direction(*place) for place in [(0, 0), (45, 35), (180, -10)]])
    cosine = directions @ array.looks.T
    want = array.omni_shares + (1 - array.omni_shares) * cosine
    got = plane_wave_response(array, directions, [0.0], C_MPS)[..., 0]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-15)


@given(angles, angles, st.just(0.0) | st.floats(1e-3, 20000))
def test_the_open_response_equals_the_open_sphere_series(
    capsule: tuple[float, float], source: tuple[float, float], freq: float
) -> None:
    radius_m = 0.06
    place = tuple(radius_m * np.array(direction(*capsule)))
    array = MicArray(name="point", capsules=(Capsule(name="0", position_m=place),))
    x = 2 * np.pi * freq * radius_m / C_MPS
    n = np.arange(60)
    cosine = np.dot(direction(*capsule), direction(*source))
    want = np.sum(1j**n * (2 * n + 1) * spherical_jn(n, x) * eval_legendre(n, cosine))
    assert respond(array, [source], [freq])[0, 0, 0] == pytest.approx(want, abs=1e-11)


def test_phase_of_an_open_array_is_the_way_that_sound_travels_less() -> None:
    array, freq = ARRAYS["linear4"], np.arange(1, 50) * 20.0
    places = [(90.0, 0.0), (-30.0, 0.0), (10.0, 60.0)]
    phase = np.unwrap(np.angle(respond(array, places, freq)), axis=-1)
    lead_s = np.polynomial.polynomial.polyfit(freq, phase.reshape(-1, len(freq)).T, 1)[1]
    far = 1e5 * np.array([direction(*place) for place in places])
    nearer_m = 1e5 - np.linalg.norm(far[:, None] - array.positions_m, axis=-1)
    np.testing.assert_allclose(
        lead_s.reshape(3, 4) / (2 * np.pi), nearer_m / C_MPS, rtol=0, atol=1e-9
    )


def test_a_capsule_nearer_to_the_source_peaks_earlier() -> None:
    freq = np.arange(257) / 512 * 48000.0
    for array in (ARRAYS["linear4"], sphere([(90, 0), (0, 0), (-90, 0)])):
        spectrum = respond(array, [(90.0, 0.0)], freq)[0] * np.exp(-2j * np.pi * freq * 0.002)
        peaks = np.argmax(np.fft.irfft(spectrum, axis=-1), axis=-1)
        assert np.all(np.diff(peaks) > 0)


def test_a_rigid_sphere_stretches_low_frequency_delays_by_three_halves() -> None:
    """Kuhn (1977): at low frequency the phase on the surface is 3/2 ka cos gamma."""
    freq = 5.0
    ka = 2 * np.pi * freq * 0.042 / C_MPS
    phase = np.angle(respond(sphere([(0, 0)]), [(0, 0), (60, 0), (180, 0)], [freq])[:, 0, 0])
    np.testing.assert_allclose(phase, 1.5 * ka * np.array([1, 0.5, -1]), atol=1e-4 * ka)


def test_a_rigid_sphere_at_most_doubles_the_pressure() -> None:
    freq = np.linspace(0, 24000, 200)
    places = [(gamma, 0.0) for gamma in np.linspace(0, 180, 61)]
    level = np.abs(respond(sphere([(0, 0)], 0.1), places, freq))
    assert np.max(level) <= 2.0
    assert level[0, 0, -1] == pytest.approx(2.0, abs=0.03)


def test_diffuse_power_on_a_rigid_sphere_goes_from_that_of_the_field_to_twice_it() -> None:
    """1 - (ka)^2 / 4 at first, from n = 0 and 1; in the end 4 on the half that is lit, 0 behind."""
    ka = np.array([0.0, 0.01, 0.05, 2.0, 20.0, 200.0])
    freq = ka / (2 * np.pi) * C_MPS / 0.5
    power = diffuse_covariance(sphere([(0, 0)], 0.5), freq, C_MPS)[0, 0].real
    np.testing.assert_allclose(power[:3], 1 - ka[:3] ** 2 / 4, rtol=0, atol=1e-5)
    assert np.all(np.diff(power[2:]) > 0)
    assert power[-1] == pytest.approx(2.0, abs=0.01)
    assert np.all(power < 2.0)


@pytest.mark.parametrize("name", ARRAYS)
def test_diffuse_covariance_is_the_mean_over_directions(name: str) -> None:
    array, freq = ARRAYS[name], np.array([0.0, 300.0, 2000.0, 8000.0])
    directions, weight = product_grid(110)
    response = plane_wave_response(array, directions, freq, C_MPS)
    mean = np.einsum("n,nif,njf->ijf", weight, response, response.conj(), optimize=True)
    np.testing.assert_allclose(diffuse_covariance(array, freq, C_MPS), mean, rtol=0, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.tuples(*[st.floats(-0.1, 0.1)] * 3), angles, st.floats(0, 0.9)),
        min_size=2,
        max_size=3,
        unique_by=lambda item: item[2],
    )
)
def test_diffuse_covariance_of_any_open_array_is_the_mean_over_directions(
    capsules: list[tuple[tuple[float, float, float], tuple[float, float], float]],
) -> None:
    array = MicArray(
        name="any",
        capsules=tuple(
            Capsule(
                name=str(n), position_m=place, azimuth_deg=az, elevation_deg=el, omni_share=share
            )
            for n, (place, (az, el), share) in enumerate(capsules)
        ),
    )
    freq = np.array([100.0, 2000.0, 5000.0])
    directions, weight = product_grid(110)
    response = plane_wave_response(array, directions, freq, C_MPS)
    mean = np.einsum("n,nif,njf->ijf", weight, response, response.conj(), optimize=True)
    got = diffuse_covariance(array, freq, C_MPS)
    np.testing.assert_allclose(got, mean, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(got, got.conj().swapaxes(0, 1))
    assert np.all(np.linalg.eigvalsh(got.transpose(2, 0, 1)) > -1e-12)


def test_diffuse_covariance_has_no_gap_near_zero_hertz() -> None:
    for array in ARRAYS.values():
        got = diffuse_covariance(array, [5e-324, 1e-310, 1e-200, 1e-9, 0.0], C_MPS)
        limit = np.broadcast_to(got[..., -1:], got.shape)
        np.testing.assert_allclose(got, limit, rtol=0, atol=1e-10)


def test_omnis_in_a_diffuse_field_are_a_sinc_apart() -> None:
    freq = np.array([500.0, 1700.0, 6000.0])
    got = diffuse_covariance(ARRAYS["linear4"], freq, C_MPS)
    np.testing.assert_allclose(got[0, 3], np.sinc(2 * freq * 0.12 / C_MPS), atol=1e-12)
    np.testing.assert_allclose(got[0, 0], 1.0)


def test_capsules_on_a_sphere_are_projections_of_the_diffuse_field() -> None:
    """Through harmonics: with E[Y Y'] = 1 / (2n + 1) the sum over modes gives the same matrix."""
    freq = np.array([400.0, 4000.0])
    order = 25
    strength = modal_coefficients(order, 2 * np.pi * freq * 0.042 / C_MPS)
    degree = np.floor(np.sqrt(np.arange((order + 1) ** 2))).astype(int)
    encoder = (2 * degree + 1)[:, None] * strength[degree]
    harmonics = spherical_harmonics(MIC.looks, order)
    mean = np.einsum(
        "ik,kf,jk->ijf", harmonics, np.abs(encoder) ** 2 / (2 * degree + 1)[:, None], harmonics
    )
    np.testing.assert_allclose(diffuse_covariance(MIC, freq, C_MPS), mean, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("n_freq", [1, 65])
def test_a_direction_does_not_depend_on_its_company(name: str, n_freq: int) -> None:
    directions = product_grid(9)[0]
    freq = np.linspace(16000, 0, n_freq)
    together = plane_wave_response(ARRAYS[name], directions, freq, C_MPS)
    for n in (0, 7, len(directions) - 1):
        alone = plane_wave_response(ARRAYS[name], directions[n : n + 1], freq, C_MPS)
        np.testing.assert_array_equal(alone[0], together[n])


@pytest.mark.parametrize(
    ("directions", "freq", "speed", "message"),
    [
        ([1.0, 0, 0], [1.0], C_MPS, r"shape \(3,\); must be \[n, 3\]"),
        ([[1.0, 0, 0], [1, 1, 0]], [1.0], C_MPS, r"directions\[1\] has length 1.41421"),
        ([[1.0, 0, 0]], [-1.0], C_MPS, "0 or above"),
        ([[1.0, 0, 0]], [], C_MPS, "one or more"),
        ([[1.0, 0, 0]], [math.nan], C_MPS, "0 or above"),
        ([[1.0, 0, 0]], [1.0], 0.0, "speed_of_sound_mps = 0.0"),
        ([[1.0, 0, 0]], [2e6], C_MPS, "ka = 1539 on the sphere; must be at most 1000"),
    ],
)
def test_bad_arguments_are_refused(
    directions: ArrayLike, freq: ArrayLike, speed: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plane_wave_response(MIC, directions, freq, speed)


def test_bad_orders_and_ka_are_refused() -> None:
    with pytest.raises(ValueError, match="order = -1"):
        modal_coefficients(-1, [1.0])
    for ka in ([-0.1], [1001.0], [math.nan], 1.0):
        with pytest.raises(ValueError, match=r"must be a list of values in \[0, 1000\]"):
            modal_coefficients(2, ka)


def test_the_arrays_that_come_along_describe_themselves() -> None:
    assert set(list_arrays()) == {"mic", "em32", "linear4", "xy", "ortf"}
    assert all(list_arrays().values())
    assert (MIC.name, MIC.kind, MIC.radius_m) == ("mic", "rigid", 0.042)
    assert MIC.channel_names == ("M1", "M2", "M3", "M4")
    np.testing.assert_allclose(MIC.positions_m, 0.042 * MIC.looks)
    ortf = ARRAYS["ortf"]
    assert (ortf.kind, ortf.radius_m, ortf.channel_names) == ("open", 0.085, ("left", "right"))


def test_stereo_pairs_hear_the_left_louder_on_the_left_and_ortf_also_earlier() -> None:
    for name in ("xy", "ortf"):
        left, right = respond(ARRAYS[name], [(60, 0)], [500.0])[0, :, 0]
        assert abs(left) > abs(right)
        assert (np.angle(left / right) > 0.1) == (name == "ortf")


def test_the_digest_follows_the_audio_and_nothing_else() -> None:
    assert MIC.digest == "4357adfb7218fbe346c804c8770cf904"
    first, *rest = MIC.capsules
    renamed = replace(MIC, name="x", description="y", capsules=(replace(first, name="z"), *rest))
    assert renamed.digest == MIC.digest
    whole = replace(MIC, capsules=(replace(first, azimuth_deg=45, elevation_deg=35), *rest))
    assert whole.digest == MIC.digest
    others = [
        replace(MIC, sphere_radius_m=0.05),
        replace(MIC, capsules=(replace(first, elevation_deg=36.0), *rest)),
        replace(MIC, capsules=(*rest, first)),
        replace(MIC, capsules=MIC.capsules[:3]),
        *(array for name, array in ARRAYS.items() if name != "mic"),
    ]
    assert len({array.digest for array in [MIC, *others]}) == len(others) + 1


def test_where_an_open_omni_looks_is_not_in_the_digest_but_a_cardioid_is() -> None:
    def turned(array: MicArray) -> MicArray:
        first, *rest = array.capsules
        return replace(array, capsules=(replace(first, azimuth_deg=10.0), *rest))

    assert turned(ARRAYS["linear4"]).digest == ARRAYS["linear4"].digest
    assert turned(ARRAYS["xy"]).digest != ARRAYS["xy"].digest


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("shape", "share"), [*OMNI_SHARE.items(), ("0.6", 0.6), ("1", 1.0)])
def test_a_pattern_is_a_name_or_a_number(tmp_path: Path, shape: str, share: float) -> None:
    array = load_array(
        written(
            tmp_path,
            f"kind: open\ncapsules:\n  - {{position_m: [0.01, 0, 0], pattern: {shape}, "
            f"azimuth_deg: 90, elevation_deg: 30, name: a}}\n",
        )
    )
    assert (array.name, array.channel_names) == ("mine", ("a",))
    front, side = respond(array, [(90, 30), (0, 0)], [0.0])[:, 0, 0]
    assert front == pytest.approx(1.0)
    assert side == pytest.approx(share)


BALL = "kind: rigid\nradius_m: 0.05\ncapsules:\n"
FREE = "kind: open\ncapsules:\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "holds no mapping"),
        ("capsules: []\n", "kind: got None, must be one of rigid, open"),
        ("kind: rgid\ncapsules: []\n", "kind: got 'rgid'"),
        ("kind: rigid\ncapsules: []\n", "radius_m: missing key"),
        (BALL, "capsules: got None, must be a list"),
        ("kind: rigid\nradius_m: 0.05\ncapsules: []\n", "capsules: 0 of them; must be 1 to 64"),
        (
            BALL + "".join(f"  - {{azimuth_deg: {n}, elevation_deg: 0}}\n" for n in range(65)),
            "capsules: 65 of them",
        ),
        (BALL.replace("0.05", "4.2"), "capsules: got None"),
        (
            BALL.replace("0.05", "4.2") + "  - {azimuth_deg: 0, elevation_deg: 0}\n",
            r"radius_m = 4.2; must lie in \[0.005, 0.5\] metres",
        ),
        (BALL + "  - {azimuth_deg: 0, elevation: 0}\n", r"capsules\[0\].elevation: unknown key"),
        (BALL + "  - {azimuth_deg: 0}\n", r"capsules\[0\].elevation_deg: missing key"),
        (
            BALL + "  - {azimuth_deg: 0, elevation_deg: x}\n",
            r"capsules\[0\].elevation_deg: got 'x'",
        ),
        (BALL + "  - {azimuth_deg: 0, elevation_deg: .nan}\n", "must be a finite number"),
        (
            BALL + "  - {azimuth_deg: 0, elevation_deg: 91}\n",
            r"capsules\[0\].elevation_deg = 91; must lie in \[-90, 90\]",
        ),
        (
            BALL + "  - {azimuth_deg: 361, elevation_deg: 0}\n",
            r"capsules\[0\].azimuth_deg = 361; must lie in \[-360, 360\]",
        ),
        (
            BALL + "  - {azimuth_deg: 0, elevation_deg: 0, position_m: [0, 0, 0]}\n",
            r"capsules\[0\].position_m: unknown key",
        ),
        (
            BALL + "  - {azimuth_deg: 350, elevation_deg: 9}\n  - {azimuth_deg: -10, "
            "elevation_deg: 9}\n",
            r"capsules\[1\] \(M2\) would hear the same as capsules\[0\] \(M1\)",
        ),
        (
            BALL + "  - {azimuth_deg: 0, elevation_deg: 0, name: M2}\n  - {azimuth_deg: 9, "
            "elevation_deg: 0}\n",
            r"capsules\[1\].name = 'M2', as capsules\[0\] has it",
        ),
        (BALL + "  - {azimuth_deg: 0, elevation_deg: 0, name: ' '}\n", "must not be empty"),
        (FREE + "  - {azimuth_deg: 0}\n", r"capsules\[0\].position_m: missing key"),
        (FREE + "  - {position_m: [0, 0]}\n", r"position_m: got 2 values, must be 3"),
        (
            FREE + "  - {position_m: [0, 6, 0]}\n",
            r"capsules\[0\].position_m = \[0.0, 6.0, 0.0\]; must lie within 0.5 m .*centimetres",
        ),
        (FREE + "  - {position_m: [0, 0, 0]}\nradius_m: 0.1\n", "radius_m: unknown key"),
        (
            FREE + "  - {position_m: [0, 0, 0], pattern: cardiod, azimuth_deg: 0}\n",
            r"capsules\[0\].pattern.*did you mean 'cardioid'",
        ),
        (
            FREE + "  - {position_m: [0, 0, 0], pattern: cardioid}\n",
            r"capsules\[0\].azimuth_deg: missing; pattern cardioid has to look somewhere",
        ),
        (
            FREE + "  - {position_m: [0, 0, 0], pattern: 1.5, azimuth_deg: 0}\n",
            r"capsules\[0\].pattern = 1.5; .* must lie in \[0, 1\]",
        ),
        (
            FREE + "  - {position_m: [0, 0, 0]}\n  - {position_m: [0, 0, 0], azimuth_deg: 90}\n",
            "would hear the same",
        ),
        (FREE + "  - {position_m: [0, 0, 0], position_m: [0, 0, 0.1]}\n", "is given twice"),
        ("kind: [\n", "line 2"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_path(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_array(path)
    assert str(caught.value).startswith(str(path))


def test_an_unknown_array_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'em23'; did you mean 'em32'\?; known: em32, linear4"):
        load_array("em23")
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read"):
        load_array("nowhere.yaml")


def test_arrays_made_in_code_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"capsules\[0\].position_m is for open arrays"):
        MicArray(name="a", capsules=(Capsule(name="0"),))
    with pytest.raises(ValueError, match="in a rigid sphere measure pressure"):
        MicArray(name="a", capsules=(Capsule(name="0", omni_share=0.5),), sphere_radius_m=0.05)


def test_two_arrays_cannot_be_stored_under_one_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = "kind: open\ncapsules: [{position_m: [0, 0, 0]}]\n"
    two = one.replace("}]", "}, {position_m: [0, 0.1, 0]}]")
    paths = [tmp_path / "pair.yaml", tmp_path / "other" / "pair.yaml", tmp_path / "Pair.yaml"]
    for path, text in zip(paths, (one, two, one), strict=True):
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"stored as 'mic-pair' and 'mic-pair'.*rename one"):
        parse_formats(["foa", *(f"mic:{path}" for path in paths[:2])])
    with pytest.raises(ConfigError, match="'mic-pair' and 'mic-Pair'"):
        parse_formats([f"mic:{paths[0]}", f"mic:{paths[2]}"])
    paths[1].write_text(one)
    assert [item.name for item in parse_formats(["foa", "foa", f"mic:{paths[0]}"])] == [
        "foa",
        "mic-pair",
    ]


@pytest.mark.parametrize(("typo", "meant"), [("Foa", "foa"), ("binaurl", "binaural")])
def test_a_format_with_a_typo_says_what_was_meant(typo: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        parse_formats([typo])
