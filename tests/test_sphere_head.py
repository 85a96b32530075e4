"""The rigid sphere as a head."""

from __future__ import annotations

import math

import numpy as np
import pytest
from head_helpers import apart_db, itd_us, turned

from scenesynth.errors import ConfigError
from scenesynth.spatial.ears import diffuse_field_response, ear_responses, impulse_responses
from scenesynth.spatial.heads import load_head
from scenesynth.spatial.sphere_head import SphereHead, parse_sphere, sphere_response

N_FFT = 1024
RADIUS_M = 0.0875
EARS = {0: math.radians(100), 1: math.radians(-100)}


def directions_at(azimuth_deg: list[float]) -> np.ndarray:
    azimuth = np.radians(azimuth_deg)
    return np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(len(azimuth))], axis=1)


def test_left_and_right_are_the_same_numbers() -> None:
    directions = turned(50)
    found = ear_responses(SphereHead(), directions, N_FFT)
    mirrored = ear_responses(SphereHead(), directions * (1, -1, 1), N_FFT)
    np.testing.assert_array_equal(mirrored[:, ::-1], found)


def test_the_pressure_is_that_of_a_plane_wave_where_the_sphere_is_small() -> None:
    angle = np.radians([0.0, 60.0, 180.0])
    found = sphere_response(angle, np.array([0.0, 20.0]), RADIUS_M)
    # To first order in ka, the far side of the sphere doubles the phase by half: 3/2 ka cos t.
    phase = 1.5 * 2 * np.pi * 20 * RADIUS_M / 343 * np.cos(angle)
    np.testing.assert_allclose(found[:, 0], 1, atol=1e-4)
    np.testing.assert_allclose(np.angle(found[:, 1]), phase, atol=1e-4)


def test_the_pressure_doubles_where_a_short_wave_meets_the_sphere() -> None:
    found = sphere_response(np.zeros(1), np.array([20000.0]), RADIUS_M)
    assert abs(found[0, 0]) == pytest.approx(2, abs=0.05)


def test_no_order_of_the_series_spoils_low_or_high_frequencies() -> None:
    found = sphere_response(np.linspace(0, np.pi, 19), np.linspace(0, 96000, 97), 0.15)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 2.1


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_interpolated_angles_are_the_series(sample_rate: int) -> None:
    directions = turned(60)
    found = ear_responses(SphereHead(sample_rate=sample_rate), directions, N_FFT)
    freq_hz = np.arange(N_FFT // 2 + 1) * sample_rate / N_FFT
    inside = freq_hz < 0.89 * sample_rate / 2
    level = np.abs(found[0, 0, 1])
    for ear, azimuth in EARS.items():
        angle = np.arccos(directions @ (math.cos(azimuth), math.sin(azimuth), 0.0))
        exact = level * sphere_response(angle, freq_hz[inside], RADIUS_M)
        assert apart_db(found[:, ear, inside], exact) < -55


def test_time_differences_are_those_of_a_sphere() -> None:
    head = SphereHead()
    found = itd_us(ear_responses(head, directions_at([90, 0, -90]), 2048), head.sample_rate)
    # Below 1.5 kHz a sphere's delay is 3 a/c sin t (Kuhn 1977), here with ears 10 degrees back.
    assert found[0] == pytest.approx(3e6 * RADIUS_M / 343 * math.cos(math.radians(10)), rel=0.1)
    assert found[1] == pytest.approx(0, abs=1e-6)
    assert found[2] == pytest.approx(-found[0], abs=1e-6)


def test_a_larger_sphere_has_longer_delays() -> None:
    left = directions_at([90])
    small, large = (
        itd_us(ear_responses(parse_sphere(f"sphere:{radius}"), left, 2048), 48000)[0]
        for radius in (0.08, 0.1)
    )
    assert large / small == pytest.approx(1.25, rel=0.03)


def test_the_level_in_a_diffuse_field_is_0_db() -> None:
    head = SphereHead()
    found = diffuse_field_response(head, N_FFT)
    freq_hz = np.arange(N_FFT // 2 + 1) * head.sample_rate / N_FFT
    inside = (freq_hz >= 200) & (freq_hz <= 8000)
    level = np.average(found[inside] ** 2, weights=1 / freq_hz[inside])
    assert 10 * np.log10(level) == pytest.approx(0, abs=0.1)


def test_its_responses_are_over_within_their_length() -> None:
    head = SphereHead(sample_rate=16000)
    spectra = ear_responses(head, turned(20), 2048)
    lead = round(-head.start_s * head.sample_rate)
    energy = np.roll(np.fft.irfft(spectra), lead, axis=2) ** 2
    assert (energy[:, :, head.n_taps :].sum(axis=2) < 1e-5 * energy.sum(axis=2)).all()
    responses, start_s = impulse_responses(head, turned(20))
    assert start_s == head.start_s
    np.testing.assert_allclose((responses**2).sum(axis=2), energy.sum(axis=2), rtol=1e-4)


def test_any_radius_of_a_head_can_be_named() -> None:
    assert load_head("sphere") is not None
    assert load_head("sphere:0.0875").id == "sphere"
    assert load_head("sphere:0.09").id == "sphere:0.09"
    digests = {load_head(id).digest for id in ("sphere", "sphere:0.0875", "sphere:0.09")}
    assert len(digests) == 2
    assert load_head("sphere", load_head("sphere").digest).id == "sphere"


@pytest.mark.parametrize("id", ["sphere:", "sphere:big", "sphere:1", "sphere:nan", "sphere:-0.09"])
def test_other_radii_are_refused(id: str) -> None:
    with pytest.raises(ConfigError, match=r"radius must lie in \[0.05, 0.15\] metres"):
        load_head(id)
