"""Laws of the radiation patterns of sources."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.polynomial.polynomial import polyval
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from scenesynth.acoustics import directivity
from scenesynth.acoustics.directivity import pattern, speech_magnitude, sphere_radiation
from scenesynth.room.model import OCTAVE_BANDS_HZ
from scenesynth.scene.spec import Directivity

COSINE = np.cos(np.linspace(0.0, np.pi, 361))


def gains(name: str) -> np.ndarray:
    """Amplitude per band and angle. Shape: [bands, angles]."""
    return polyval(COSINE, pattern(name, OCTAVE_BANDS_HZ).T)


@pytest.mark.parametrize("name", get_args(Directivity))
def test_every_pattern_is_one_on_the_axis(name: str) -> None:
    coefficients = pattern(name, OCTAVE_BANDS_HZ)
    assert coefficients.shape == (7, 5)
    np.testing.assert_allclose(coefficients.sum(axis=1), 1.0, atol=1e-12)


def test_the_cardioid_family_has_its_nulls_where_textbooks_say() -> None:
    """At 180, 109.5 and 90 degrees; and the least energy there is of first order."""
    for name, null_deg in (("cardioid", 180.0), ("hypercardioid", 109.47), ("figure8", 90.0)):
        at = polyval(np.cos(np.radians(null_deg)), pattern(name, [1000.0])[0])
        assert abs(at) < 1e-4
    assert np.ptp(gains("omni")) == 0
    assert gains("subcardioid").min() == pytest.approx(0.4)
    energies = [np.trapezoid(gains(n)[0] ** 2, -COSINE) for n in ("hypercardioid", "cardioid")]
    assert energies[0] == pytest.approx(0.5, rel=1e-3)  # omni has 2
    assert energies[1] == pytest.approx(2 / 3, rel=1e-3)


def test_patterns_do_not_depend_on_the_other_bands() -> None:
    together = pattern("speech", OCTAVE_BANDS_HZ)
    for band, row in zip(OCTAVE_BANDS_HZ, together, strict=True):
        np.testing.assert_array_equal(pattern("speech", [band])[0], row)


def test_a_pattern_may_be_written_to() -> None:
    pattern("speech", [500.0])[:] = 0
    assert pattern("speech", [500.0]).sum() == pytest.approx(1.0)


def test_the_sphere_moves_only_at_the_mouth() -> None:
    """The series, differentiated at the sphere, gives the cap's velocity back."""
    ka = 2.0
    n = np.arange(400)
    edge = np.cos(directivity.MOUTH_RAD)
    below = np.where(n == 0, 1.0, eval_legendre(np.maximum(n - 1, 0), edge))
    velocity = (below - eval_legendre(n + 1, edge)) / 2
    angle = np.radians([3.0, 5.0, 20.0, 90.0, 170.0])
    moving = velocity @ eval_legendre(n[:, None], np.cos(angle))
    np.testing.assert_allclose(moving, [1, 1, 0, 0, 0], atol=0.06)  # ringing of 400 terms
    few = n[:24]  # and the far field is that of the same velocity, by the large-argument form
    wave = spherical_jn(few, ka, derivative=True) - 1j * spherical_yn(few, ka, derivative=True)
    far_kr = 5e4
    hankel = spherical_jn(few, far_kr) - 1j * spherical_yn(few, far_kr)
    field = (velocity[few] * hankel / wave) @ eval_legendre(few[:, None], np.cos(angle))
    on_axis = np.sum(velocity[few] * hankel / wave)
    freq_hz = ka * directivity.SPEED_OF_SOUND_MPS / (2 * np.pi * directivity.HEAD_RADIUS_M)
    got = sphere_radiation(np.array([freq_hz]), np.cos(angle))[0]
    np.testing.assert_allclose(got, field / on_axis, rtol=0.01)


def test_a_small_head_radiates_everywhere_alike() -> None:
    field = sphere_radiation(np.array([10.0]), COSINE)
    np.testing.assert_allclose(np.abs(field), 1.0, atol=1e-3)


def test_the_fit_of_speech_keeps_to_the_model() -> None:
    for band, fitted in zip(OCTAVE_BANDS_HZ, gains("speech"), strict=True):
        error = fitted - speech_magnitude(band, COSINE)
        assert np.sqrt(np.mean(error**2)) < 0.05
        assert fitted.min() > 0.1


def test_speech_turns_forward_with_frequency() -> None:
    """Front over back: next to nothing at 125 Hz, some 6 dB at 2 kHz, 10 to 20 dB at 4 and 8."""
    ahead_db = -20 * np.log10(gains("speech")[:, -1])
    assert np.all(np.diff(ahead_db) > 0)
    assert ahead_db[0] < 0.2
    assert 1 < ahead_db[2] < 3
    assert 4 < ahead_db[4] < 8
    assert 8 < ahead_db[5] < 12
    assert 15 < ahead_db[6] < 20


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"directivity = 'kardioid'; must be one of omni, sub"):
        pattern("kardioid", [1000.0])
