"""Mixers of a synthetic head, a measured head and microphone arrays; sphere grids."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from receiver_helpers import (
    ARRAY_RADIUS_M,
    EARS,
    TETRAHEDRON,
    Responses,
    diffuse_error,
    erb_error_db,
    filter_spectra,
    head_responses,
    itd_error_us,
    plane_waves,
    random_directions,
    rigid_sphere,
    sphere_responses,
    units,
)

from scenesynth.errors import ConfigError
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.ambisonics import harmonics_rotation, spherical_harmonics
from scenesynth.spatial.firs import fir_matrix
from scenesynth.spatial.grids import sphere_grid
from scenesynth.spatial.mixers import design_mixer, minimum_phase
from scenesynth.spatial.receivers import receiver

HEAD_RADIUS_M = 0.0875


@pytest.fixture(scope="module")
def head() -> Responses:
    """A rigid sphere with ears a little behind its sides."""
    return sphere_responses(EARS, HEAD_RADIUS_M)


@pytest.fixture(scope="module")
def array() -> Responses:
    return sphere_responses(TETRAHEDRON, ARRAY_RADIUS_M)


@pytest.fixture(scope="module")
def kemar(real_audio: Path) -> Responses:
    path = real_audio / "hrtf" / "MIT_KEMAR_normal_pinna.sofa"
    if not path.is_file():
        pytest.skip("needs hrtf/MIT_KEMAR_normal_pinna.sofa in SCENESYNTH_TEST_AUDIO")
    return head_responses(path)


@pytest.mark.parametrize("order", [0, 1, 4, 35])
def test_harmonics_are_orthogonal_on_the_grid(order: int) -> None:
    directions, weights = sphere_grid(order)
    harmonics = spherical_harmonics(directions, order)
    degree = np.floor(np.sqrt(np.arange(harmonics.shape[1])))
    some = np.unique(np.linspace(0, len(degree) - 1, 60).astype(int))
    products = (harmonics[:, some] * weights[:, None]).T @ harmonics
    want = (np.eye(len(degree)) / (2 * degree + 1))[some]
    np.testing.assert_allclose(products, want, rtol=0, atol=1e-12)
    assert weights.sum() == pytest.approx(1)


def test_a_grid_of_negative_order_is_refused() -> None:
    with pytest.raises(ValueError, match="order = -1"):
        sphere_grid(-1)


def test_the_oracle_equals_published_values() -> None:
    """Level and phase of the DCASE array for a wave from its first capsule (1, 4 and 8 kHz)."""
    freq_hz = np.array([0.0, 1000.0, 4000.0, 8000.0])
    pressure = rigid_sphere(TETRAHEDRON, TETRAHEDRON[:1], freq_hz, ARRAY_RADIUS_M)[0, :, 1:]
    level = 20 * np.log10(np.abs(pressure))
    np.testing.assert_allclose(level[0], [2.047, 5.055, 5.628], atol=0.02)
    np.testing.assert_allclose(level[3], [-0.706, 0.056, -0.488], atol=0.02)
    np.testing.assert_allclose(np.angle(pressure[0, :2], deg=True), [64.72, -170.57], atol=0.1)


@pytest.mark.parametrize(
    ("order", "erb_db", "itd_us"), [(1, 2.9, 120), (3, 1.5, 30), (4, 1.2, 25), (5, 1.0, 20)]
)
def test_a_synthetic_head_keeps_its_spectra_and_delays(
    head: Responses, order: int, erb_db: float, itd_us: float
) -> None:
    mixer = design_mixer(*head.design, order)
    ears = plane_waves(mixer, head.directions, head.n_fft)
    flat = np.ones(len(head.freq_hz))
    assert erb_error_db(ears, head) <= erb_db
    assert itd_error_us(ears, head, flat) <= itd_us
    assert (mixer.coherent, mixer.sample_rate, mixer.order) == (True, 48000, order)


@pytest.mark.parametrize(
    ("order", "erb_db", "itd_us"), [(1, 3.2, 130), (3, 1.5, 30), (4, 1.2, 25), (5, 1.0, 20)]
)
def test_a_measured_head_keeps_its_spectra_and_delays(
    kemar: Responses, order: int, erb_db: float, itd_us: float
) -> None:
    """The set still holds its loudspeaker's response, which asks for long filters."""
    mixer = design_mixer(*kemar.design, order, taps=768)
    ears = plane_waves(mixer, kemar.directions, kemar.n_fft)
    common = minimum_phase(receiver(kemar.spectra, kemar.directions, kemar.weights, 0).rms())
    assert erb_error_db(ears, kemar) <= erb_db
    assert itd_error_us(ears, kemar, common) <= itd_us
    coherence, level_db = diffuse_error(mixer, kemar)
    assert coherence <= 0.05
    assert level_db <= 0.2


@pytest.mark.parametrize("order", [1, 3, 5])
def test_ears_hear_a_diffuse_field_as_it_is(head: Responses, order: int) -> None:
    coherence, level_db = diffuse_error(design_mixer(*head.design, order), head)
    assert coherence <= 0.05
    assert level_db <= 0.2


@pytest.mark.parametrize("order", [1, 3, 5])
def test_capsules_hear_a_diffuse_field_as_it_is(array: Responses, order: int) -> None:
    coherence, level_db = diffuse_error(design_mixer(*array.design, order), array)
    assert coherence <= 0.05
    assert level_db <= 0.2


def test_without_the_constraint_a_diffuse_field_is_wrong(head: Responses) -> None:
    mixer = design_mixer(*head.design, 1, diffuse=False)
    assert not mixer.coherent
    assert diffuse_error(mixer, head)[0] > 0.3


def test_many_capsules_are_coherent_with_enough_harmonics_and_else_right_in_level() -> None:
    many = sphere_responses(random_directions(32), ARRAY_RADIUS_M, 24000, 128, order=12)
    enough = design_mixer(*many.design, 5, taps=96, cut_on_hz=6000)
    fewer = design_mixer(*many.design, 4, taps=96, cut_on_hz=6000)
    assert (enough.coherent, fewer.coherent) == (True, False)
    coherence, level_db = diffuse_error(enough, many)
    assert coherence <= 0.05
    assert level_db <= 0.2
    assert diffuse_error(fewer, many)[1] <= 0.2


@pytest.mark.parametrize(("order", "highest_hz"), [(1, 110), (3, 1000), (5, 1900)])
def test_small_against_the_wavelength_a_fit_is_exact(
    array: Responses, order: int, highest_hz: float
) -> None:
    """To -40 dB, up to k a of about 0.1, 0.8 and 1.5."""
    mixer = design_mixer(*array.design, order, cut_on_hz=max(2000, order * 1300))
    directions = random_directions(30)
    true = rigid_sphere(TETRAHEDRON, directions, array.freq_hz, ARRAY_RADIUS_M)
    low = array.freq_hz <= highest_hz
    error = (plane_waves(mixer, directions, array.n_fft) - true)[..., low]
    assert 20 * np.log10(np.linalg.norm(error) / np.linalg.norm(true[..., low])) < -40


def test_ears_of_a_symmetric_head_mirror_each_other(head: Responses) -> None:
    left, right = design_mixer(*head.design, 4).filters
    index = np.arange(25)
    degree = np.floor(np.sqrt(index)).astype(int)
    to_the_left = np.where(index - degree * (degree + 1) < 0, -1, 1)
    np.testing.assert_allclose(right, left * to_the_left[:, None], rtol=0, atol=1e-5)


def test_a_wave_reaches_the_near_ear_first_and_is_louder_there(head: Responses) -> None:
    mixer = design_mixer(*head.design, 3)
    from_left = np.zeros((16, 400), dtype=np.float32)
    from_left[:, 100] = spherical_harmonics([0.0, 1.0, 0.0], 3)
    left, right = mixer.mixed(from_left)
    assert np.sum(left**2) > 4 * np.sum(right**2)
    spectra = np.fft.rfft([left, right], 1024) * (np.fft.rfftfreq(1024, 1 / 48000) < 1500)
    lag = np.argmax(np.fft.irfft(spectra[1] * spectra[0].conj(), 1024)[:60])
    assert 25 <= lag <= 45  # 36 samples are 3 r / c, the low-frequency delay of a rigid sphere
    assert left.dtype == np.float32
    assert len(left) == 400


def test_time_zero_is_the_centre(head: Responses) -> None:
    mixer = design_mixer(*head.design, 3)
    overhead = np.zeros((16, 400), dtype=np.float32)
    overhead[:, 100] = spherical_harmonics([0.0, 0.0, 1.0], 3)
    for ear in mixer.mixed(overhead):
        assert abs(np.sum(np.arange(400) * ear**2) / np.sum(ear**2) - 100) < 4


def test_turning_the_field_is_turning_the_source(head: Responses) -> None:
    mixer = design_mixer(*head.design, 4)
    rotation = rotation_matrix(70, -20, 10)
    directions = random_directions(20)
    filters = filter_spectra(mixer.filters, mixer.lead, head.n_fft)
    turned = spherical_harmonics(directions, 4) @ harmonics_rotation(rotation, 4).T
    np.testing.assert_allclose(
        np.einsum("nk,ckf->ncf", turned, filters),
        plane_waves(mixer, directions @ rotation, head.n_fft),
        atol=1e-9,
    )


def test_what_all_responses_have_in_common_passes_through(head: Responses) -> None:
    """A minimum-phase colour of the whole set colours the output, and changes nothing else."""
    colour = minimum_phase(1 + 0.8 * np.cos(np.linspace(0, 9, len(head.freq_hz))))
    plain = design_mixer(*head.design, 3)
    coloured = design_mixer(head.spectra * colour, *head.design[1:], 3)
    ears = plane_waves(plain, head.directions, head.n_fft) * colour
    error = plane_waves(coloured, head.directions, head.n_fft) - ears
    assert np.linalg.norm(error[..., :230]) < 0.01 * np.linalg.norm(ears)


def test_a_given_equaliser_takes_the_place_of_the_set_s_own(head: Responses) -> None:
    own = minimum_phase(receiver(*head.design[:3], 0).rms())
    found = design_mixer(*head.design, 2)
    given = design_mixer(*head.design, 2, equaliser=own)
    np.testing.assert_array_equal(found.filters, given.filters)


def test_minimum_phase_keeps_the_magnitude_and_is_causal() -> None:
    magnitude = 1 + 0.5 * np.cos(np.linspace(0, 20, 257))
    spectrum = minimum_phase(magnitude)
    np.testing.assert_allclose(np.abs(spectrum), magnitude, rtol=1e-9)
    impulse = np.fft.irfft(spectrum)
    assert np.sum(impulse[256:] ** 2) < 1e-6 * np.sum(impulse**2)
    assert np.argmax(np.abs(impulse)) == 0


def test_minimum_phase_holds_extremes() -> None:
    magnitude = np.ones(257)
    magnitude[:3] = 1e-9
    assert 20 * np.log10(np.abs(minimum_phase(magnitude)).min()) > -18


def test_truncation_is_told(head: Responses) -> None:
    whole = np.zeros((65, 1, 1), dtype=complex)
    whole[:] = np.exp(-2j * np.pi * np.arange(65) / 128 * 5)[:, None, None]
    kept = fir_matrix(whole, 64)
    assert kept.lead == 16
    assert kept.truncation_db < -100
    np.testing.assert_allclose(kept.taps[0, 0], np.eye(64)[21], atol=1e-7)
    lost = fir_matrix(whole**9, 64)  # 45 samples after zero, where 47 are the last that fit
    assert -10 < lost.truncation_db <= 0
    long, short = (design_mixer(*head.design, 3, taps=taps) for taps in (256, 64))
    assert long.truncation_db < -40 < short.truncation_db


def test_filters_take_their_own_number_of_channels(head: Responses) -> None:
    with pytest.raises(ConfigError, match=r"shape \(9, 50\); these filters take \[4, samples\]"):
        design_mixer(*head.design, 1).mixed(np.zeros((9, 50)))


@pytest.mark.parametrize("order", [0, 1])
def test_responses_without_direct_current_give_none(head: Responses, order: int) -> None:
    highpass = np.sin(np.pi / 2 * np.clip(head.freq_hz / 1500, 0, 1)) ** 2
    mixer = design_mixer(head.spectra * highpass, *head.design[1:], order)
    assert np.isfinite(mixer.filters).all()
    assert np.abs(mixer.filters.sum(axis=-1)).max() < 0.1


def test_bad_designs_are_refused(head: Responses) -> None:
    spectra, directions, weights, freq_hz = head.design
    with pytest.raises(ConfigError, match=r"freq_hz has 257 steps from 100"):
        design_mixer(spectra, directions, weights, freq_hz + 100, 1)
    with pytest.raises(ConfigError, match=r"freq_hz has 256 steps"):
        design_mixer(spectra, directions, weights, freq_hz[:-1], 1)
    with pytest.raises(ConfigError, match=r"do not fit; must be \[n, channels, frequencies\]"):
        design_mixer(spectra, directions[:-1], weights, freq_hz, 1)
    with pytest.raises(ConfigError, match=r"taps = 513; must lie in \[8, 512\]"):
        design_mixer(spectra, directions, weights, freq_hz, 1, taps=513)


def test_a_gap_in_the_directions_is_refused(head: Responses) -> None:
    up = head.directions[:, 2] > -0.3
    with pytest.raises(ConfigError, match=r"harmonics of order 5 apart .* fill the gap"):
        design_mixer(head.spectra[up], head.directions[up], head.weights[up], head.freq_hz, 5)


_DIGEST_OF_FILTERS = """
import hashlib
from receiver_helpers import random_directions, sphere_responses
from scenesynth.spatial.mixers import design_mixer
many = sphere_responses(random_directions(32), 0.042, 24000, 64, order=20)
filters = design_mixer(*many.design, 5).filters
digest = hashlib.sha256(filters.tobytes()).hexdigest()
"""


def test_filters_do_not_depend_on_the_number_of_threads() -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    another = "2" if "1" in (os.environ.get(name) for name in names) else "1"
    there = subprocess.run(
        [sys.executable, "-c", _DIGEST_OF_FILTERS + "print(digest)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
        env=os.environ | dict.fromkeys(names, another),
    )
    here: dict[str, str] = {}
    exec(_DIGEST_OF_FILTERS, here)
    assert here["digest"] == there.stdout.strip()


def test_front_and_ears_are_where_the_tests_think() -> None:
    np.testing.assert_allclose(
        units(np.array([(0, 0), (90, 0)])), [[1, 0, 0], [0, 1, 0]], atol=1e-9
    )
