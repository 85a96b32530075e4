"""Loudspeakers, encoders of microphone arrays and the listener's downmix."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from receiver_helpers import (
    ARRAY_RADIUS_M,
    EARS,
    TETRAHEDRON,
    Responses,
    filter_spectra,
    random_directions,
    rigid_sphere,
    sphere_responses,
    units,
)

from scenesynth.errors import ConfigError
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.decoding import (
    Encoder,
    design_encoder,
    downmix_to_ears,
    loudspeaker_decoder,
    max_re_weights,
)
from scenesynth.spatial.doa import intensity_direction
from scenesynth.spatial.mixers import design_mixer

RATE = 48000
N_FFT = 1024
CUBE = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / np.sqrt(3)


def spiral(n: int) -> np.ndarray:
    """Nearly even directions, a Fibonacci lattice."""
    z = 1 - (2 * np.arange(n) + 1) / n
    azimuth = np.degrees(np.pi * (1 + np.sqrt(5)) * np.arange(n))
    return units(np.stack([azimuth, np.degrees(np.arcsin(z))], axis=1))


@pytest.fixture(scope="module")
def array() -> Responses:
    return sphere_responses(TETRAHEDRON, ARRAY_RADIUS_M, RATE, N_FFT, order=12)


@pytest.fixture(scope="module")
def encoder(array: Responses) -> Encoder:
    return design_encoder(*array.design[:3], 1)


@pytest.fixture(scope="module")
def mixer_of_order() -> object:
    head = sphere_responses(EARS, 0.0875, RATE, 256, order=12)
    return cache(lambda order: design_mixer(*head.design, order))


def capsule_signals(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Of an impulse at sample 300. Shape: [capsules, 1024]."""
    freq_hz = np.fft.rfftfreq(N_FFT, 1 / RATE)
    pressure = rigid_sphere(points, direction[None], freq_hz, ARRAY_RADIUS_M)[0]
    return np.fft.irfft(pressure * np.exp(-2j * np.pi * freq_hz * 300 / RATE), N_FFT)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def test_the_encoder_finds_directions_below_its_aliasing(encoder: Encoder) -> None:
    """Four capsules at 4.2 cm hear the second order from about 1.3 kHz (k a = 1) on."""
    for direction in random_directions(8):
        foa = encoder.firs.filtered(capsule_signals(TETRAHEDRON, direction))
        for band_hz in ((150, 300), (300, 600), (600, 1200)):
            found = np.array(intensity_direction(foa, RATE, band_hz))
            assert angle_deg(found, direction) < 2


def test_more_capsules_find_directions_further_up() -> None:
    capsules = spiral(32)
    many = sphere_responses(capsules, ARRAY_RADIUS_M, RATE, 256, order=12)
    encoder = design_encoder(*many.design[:3], 4)
    for direction in random_directions(4):
        found = encoder.firs.filtered(capsule_signals(capsules, direction))
        assert len(found) == 25
        assert angle_deg(np.array(intensity_direction(found, RATE, (500, 4000))), direction) < 2


def test_the_encoder_gives_the_harmonics(array: Responses, encoder: Encoder) -> None:
    """W to -30 dB from 100 Hz to 1 kHz; the first order to -10 dB from 300 Hz on."""
    filters = filter_spectra(encoder.firs.taps, encoder.firs.lead, N_FFT)
    out = np.einsum("kcf,ncf->nkf", filters, array.spectra)
    error = np.abs(out - spherical_harmonics(array.directions, 1)[..., None]) ** 2
    power = 10 * np.log10(np.einsum("n,nkf->kf", array.weights, error) * [[1], [3], [3], [3]])
    freq_hz = array.freq_hz
    assert power[0, (freq_hz > 100) & (freq_hz < 1000)].max() < -30
    assert power[1:, (freq_hz > 300) & (freq_hz < 1200)].max() < -10


@pytest.mark.parametrize("max_gain_db", [6.0, 15.0])
def test_the_encoder_keeps_to_its_gain(array: Responses, max_gain_db: float) -> None:
    encoder = design_encoder(*array.design[:3], 1, max_gain_db=max_gain_db)
    spectra = np.moveaxis(np.fft.rfft(encoder.firs.taps, N_FFT), -1, 0)
    gains = np.linalg.svd(spectra, compute_uv=False)
    assert 20 * np.log10(gains.max()) < max_gain_db


def test_capsules_that_are_deaf_to_low_frequencies_are_not_forced(array: Responses) -> None:
    highpass = np.clip((array.freq_hz - 50) / 500, 0, 1)
    encoder = design_encoder(array.spectra * highpass, *array.design[1:3], 1)
    spectra = np.moveaxis(np.fft.rfft(encoder.firs.taps, N_FFT), -1, 0)
    gains = np.linalg.svd(spectra, compute_uv=False)
    assert np.isfinite(encoder.firs.taps).all()
    assert 20 * np.log10(gains.max()) < 15


def test_a_diffuse_field_keeps_its_level_in_w(array: Responses, encoder: Encoder) -> None:
    filters = filter_spectra(encoder.firs.taps, encoder.firs.lead, N_FFT)[0]
    level = np.einsum("cf,fcd,df->f", filters, array.covariance, filters.conj()).real
    judged = (array.freq_hz > 100) & (array.freq_hz < 0.9 * RATE / 2)
    assert np.abs(10 * np.log10(level[judged])).max() < 1


def test_too_few_capsules_are_refused(array: Responses) -> None:
    with pytest.raises(ConfigError, match=r"4 microphones cannot encode .* use order 1 or less"):
        design_encoder(*array.design[:3], 2)


def test_loudspeakers_keep_the_energy_of_every_direction() -> None:
    """On a layout that is even nowhere."""
    decoder = loudspeaker_decoder(random_directions(20, seed=3), 3)
    gains = spherical_harmonics(random_directions(50), 3) @ decoder.T
    np.testing.assert_allclose(np.sum(gains**2, axis=1), 1)


@pytest.mark.parametrize(("layout", "order"), [(CUBE, 1), (spiral(32), 3)])
def test_the_energy_vector_points_to_the_source(layout: np.ndarray, order: int) -> None:
    """As long as max-rE makes it: the largest root of P_{N+1}."""
    directions = random_directions(50)
    gains = spherical_harmonics(directions, order) @ loudspeaker_decoder(layout, order).T
    vectors = gains**2 @ layout
    lengths = np.linalg.norm(vectors, axis=1)
    for vector, length, direction in zip(vectors, lengths, directions, strict=True):
        assert angle_deg(vector / length, direction) < 3
    longest = np.polynomial.legendre.legroots(np.eye(order + 2)[-1]).max()
    np.testing.assert_allclose(lengths, longest, atol=0.03)


def test_decoding_follows_the_layout() -> None:
    """A mirrored layout gets the mirrored gains, so no loudspeaker depends on its row."""
    layout = random_directions(12)
    mirror = np.array([1.0, -1.0, 1.0])
    signs = np.array([1, -1, 1, 1, -1, -1, 1, 1, 1])
    np.testing.assert_allclose(
        loudspeaker_decoder(layout * mirror, 2), loudspeaker_decoder(layout, 2) * signs, atol=1e-12
    )
    np.testing.assert_allclose(
        loudspeaker_decoder(layout[::-1], 2), loudspeaker_decoder(layout, 2)[::-1], atol=1e-12
    )


def test_max_re_weights_fall_with_the_degree() -> None:
    np.testing.assert_allclose(max_re_weights(0), [1])
    assert max_re_weights(1)[1] == pytest.approx(1 / np.sqrt(3), abs=0.005)
    assert np.all(np.diff(max_re_weights(7)) < 0)


def test_too_few_loudspeakers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"8 loudspeakers .* order 2; use order 1 or less"):
        loudspeaker_decoder(CUBE, 2)


def test_one_channel_goes_to_both_ears(mixer_of_order: object) -> None:
    audio = np.random.default_rng(0).standard_normal((1, 100)).astype(np.float32)
    np.testing.assert_array_equal(downmix_to_ears(audio, mixer_of_order), np.repeat(audio, 2, 0))


@pytest.mark.parametrize("order", [1, 3])
def test_ambisonics_go_through_the_mixer_of_their_order(mixer_of_order: object, order: int) -> None:
    audio = np.random.default_rng(0).standard_normal(((order + 1) ** 2, 500))
    ears = downmix_to_ears(audio, mixer_of_order)
    np.testing.assert_array_equal(ears, mixer_of_order(order).mixed(audio))
    assert ears.shape == (2, 500)


def test_microphones_reach_the_ears_in_time_and_on_their_side(
    encoder: Encoder, mixer_of_order: object
) -> None:
    from_left = capsule_signals(TETRAHEDRON, np.array([0.0, 1.0, 0.0]))
    left, right = downmix_to_ears(from_left, mixer_of_order, encoder=encoder)
    assert np.sum(left**2) > 2 * np.sum(right**2)
    assert abs(np.argmax(np.abs(left)) - 300) < 25
    assert len(left) == N_FFT


def test_other_numbers_of_channels_are_refused(mixer_of_order: object) -> None:
    with pytest.raises(
        ConfigError, match=r"2 channels are no Ambisonics; two ears need no downmix"
    ):
        downmix_to_ears(np.zeros((2, 10)), mixer_of_order)
