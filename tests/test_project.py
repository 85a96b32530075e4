"""Ears and microphones from an Ambisonic response: exact in its beginning, right in the mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from test_engines import SPEC

from scenesynth.acoustics.arrivals import room_tables
from scenesynth.acoustics.engines import respond
from scenesynth.acoustics.grids import band_edge, band_weights
from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.project import project, turned
from scenesynth.acoustics.receivers import Receiver, head_ref, receiver_of
from scenesynth.acoustics.response import Request, Response, shoebox_responses
from scenesynth.acoustics.simulate import simulate_rir
from scenesynth.errors import ConfigError
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.array_response import (
    diffuse_covariance,
    modal_coefficients,
    plane_wave_response,
)
from scenesynth.spatial.arrays import load_array
from scenesynth.spatial.ears import ear_responses
from scenesynth.spatial.formats import layout_of, parse_format
from scenesynth.spatial.grids import sphere_grid
from scenesynth.spatial.heads import load_head
from scenesynth.spatial.hrtf import HEAD_RADIUS_M, SPEED_OF_SOUND

AIR = Air()
ANECHOIC: dict[str, Any] = {
    "room_m": (10.0, 10.0, 10.0),
    "listener_m": (5.0, 5.0, 5.0),
    "absorption": 1.0,
    "length_s": 0.06,
}
LIVE = Room(
    id="live",
    size_m=(4.0, 3.0, 2.5),
    band_hz=OCTAVE_BANDS_HZ[:6],
    absorption=((0.2, 0.2, 0.2, 0.15, 0.15, 0.15),) * 6,
)
RATE = 16000


def request(format: str = "hoa4", **changes: Any) -> Request:
    plain: dict[str, Any] = {
        "room": LIVE,
        "air": AIR,
        "source_m": (1.0, 2.0, 1.4),
        "listener_m": (2.6, 1.4, 1.1),
        "rotation": np.eye(3),
        "format": parse_format(format),
        "sample_rate": RATE,
        "length_s": 0.3,
        "mode": "tail",
        "displacement_m": 0.1,
    }
    return Request(**(plain | changes))


def rendered(**changes: Any) -> Response:
    return shoebox_responses([request(**changes)])[0]


def receiver(name: str, head: str | None = None, order: int = 4) -> Receiver:
    ref = None if head is None else head_ref(head)
    return receiver_of(parse_format(name), ref, order, RATE, AIR)


def through(item: Receiver, response: Response, early: bool = True) -> np.ndarray:
    """The receiver's channels alone."""
    assert response.early is not None
    return project(
        response.ir,
        response.early() if early else None,
        [item],
        n_ambisonic=0,
        sample_rate=RATE,
        highpass_hz=30.0,
    )


def error_db(got: np.ndarray, want: np.ndarray, sample_rate: int) -> float:
    """Energy of the difference over that of the whole, up to 0.9 of Nyquist."""
    got_f, want_f = (scipy.fft.rfft(np.asarray(x, np.float64), 8192, axis=-1) for x in (got, want))
    kept = scipy.fft.rfftfreq(8192, 1 / sample_rate) < 0.45 * sample_rate
    difference = np.abs(got_f - want_f)[..., kept] ** 2
    return float(10 * np.log10(difference.sum() / (np.abs(want_f)[..., kept] ** 2).sum()))


@pytest.mark.parametrize("number", [0, 97, 311, 512, 700])
def test_a_measured_direction_is_heard_through_the_measured_response(number: int) -> None:
    head = load_head("kemar")
    direction = head.directions[number]
    place: dict[str, Any] = ANECHOIC | {"source_m": tuple(5.0 + 2.0 * direction)}
    pressure = simulate_rir(format="mono", sample_rate=head.sample_rate, **place)
    got = simulate_rir(format="binaural", sample_rate=head.sample_rate, **place)
    spectra = ear_responses(head, direction[None], 8192)[0]
    want = scipy.fft.irfft(spectra * scipy.fft.rfft(pressure, 8192, axis=1), 8192)
    assert error_db(got, want[:, : got.shape[1]], head.sample_rate) < -80


def test_ears_with_responses_longer_than_the_window_are_heard_whole() -> None:
    rate = 4000  # where band-limiting makes the head's responses longer than 30 ms
    head = load_head("kemar").at_rate(rate)
    item = receiver_of(parse_format("binaural"), None, 4, rate, AIR)
    assert item.window >= head.n_taps > 0.03 * rate
    direction = head.directions[97]
    place: dict[str, Any] = ANECHOIC | {"source_m": tuple(5.0 + 2.0 * direction)}
    pressure = simulate_rir(format="mono", sample_rate=rate, **place)
    got = simulate_rir(format="binaural", sample_rate=rate, **place)
    spectra = ear_responses(head, direction[None], 8192)[0]
    want = scipy.fft.irfft(spectra * scipy.fft.rfft(pressure, 8192, axis=1), 8192)
    assert error_db(got, want[:, : got.shape[1]], rate) < -40


@pytest.mark.parametrize("name", ["mic", "em32", "linear4", "ortf"])
def test_capsules_hear_an_anechoic_source_as_theory_has_it(name: str) -> None:
    direction = np.array([0.48, -0.6, 0.64])
    place: dict[str, Any] = ANECHOIC | {"source_m": tuple(5.0 + 2.0 * direction)}
    pressure = simulate_rir(format="mono", sample_rate=24000, **place)
    got = simulate_rir(format=f"mic:{name}", sample_rate=24000, **place)
    freq_hz = scipy.fft.rfftfreq(8192, 1 / 24000)
    array = load_array(name)
    spectra = plane_wave_response(array, direction[None], freq_hz, AIR.speed_of_sound_mps)[0]
    want = scipy.fft.irfft(spectra * scipy.fft.rfft(pressure, 8192, axis=1), 8192)
    assert error_db(got, want[:, : got.shape[1]], 24000) < -70


@pytest.mark.parametrize("name", ["binaural", "mic"])
def test_blocks_of_the_mixer_are_its_convolution(name: str) -> None:
    item = receiver(name)
    ir = np.random.default_rng(0).standard_normal((25, 3001)).astype(np.float32)
    got, want = item.mixed(ir), item.mixer.mixed(ir)
    assert got.shape == want.shape
    assert error_db(got, want, RATE) < -110


def test_a_shorter_response_is_the_start_of_a_longer_one() -> None:
    item = receiver("binaural")
    ir = np.random.default_rng(1).standard_normal((25, 9000)).astype(np.float32)
    lead = item.mixer.lead  # what comes before the centre's arrival looks that far ahead
    whole, part = item.mixed(ir), item.mixed(ir[:, :5000])
    assert error_db(part[:, : 5000 - lead], whole[:, : 5000 - lead], RATE) < -110


def test_mirrored_scenes_swap_the_ears_of_a_symmetric_head() -> None:
    item = receiver("binaural", "sphere")
    width = LIVE.size_m[1]
    here = rendered(mode="full", displacement_m=0.0)
    there = rendered(
        mode="full",
        displacement_m=0.0,
        source_m=(1.0, width - 2.0, 1.4),
        listener_m=(2.6, width - 1.4, 1.1),
    )
    assert error_db(through(item, there)[::-1], through(item, here), RATE) < -60


@pytest.mark.parametrize("name", ["binaural", "mic"])
def test_a_turned_response_is_that_of_the_turned_listener(name: str) -> None:
    item, turn = receiver(name), rotation_matrix(70, -25, 15)
    want = through(item, rendered(rotation=turn))
    got = through(item, turned(rendered(), turn))
    assert error_db(got, want, RATE) < -75


@pytest.mark.parametrize("name", ["binaural", "mic"])
def test_ears_and_capsules_hear_the_images_of_a_room(name: str) -> None:
    """Each image through its own exact response: early ones are it, late ones as strong."""
    response = rendered(mode="full", displacement_m=0.0, length_s=0.06)
    item = receiver(name)
    want = exact_sum(item, request(mode="full", length_s=0.06))
    got, mixed = through(item, response), through(item, response, early=False)
    early, late = int((response.direct_delay_s + 0.005) * RATE), int(0.03 * RATE)
    assert error_db(got[:, :early], want[:, :early], RATE) < -70
    assert error_db(mixed[:, :early], want[:, :early], RATE) > -10
    levels = np.sum(got[:, late:] ** 2, axis=1) / np.sum(want[:, late:] ** 2, axis=1)
    np.testing.assert_allclose(10 * np.log10(levels), 0, atol=0.3)


def exact_sum(item: Receiver, asked: Request) -> np.ndarray:
    """Images of a box, each through the receiver's response of its direction."""
    n_samples, n_fft = round(asked.length_s * RATE), 4096
    freq_hz = scipy.fft.rfftfreq(n_fft, 1 / RATE)
    radius_m = asked.length_s * AIR.speed_of_sound_mps
    x, y, z = room_tables(asked.room, asked.source_m, asked.listener_m, radius_m)
    i, j, k = (a.ravel() for a in np.indices((len(x.index), len(y.index), len(z.index))))
    offset = np.stack([x.offset_m[i], y.offset_m[j], z.offset_m[k]], axis=1)
    away = np.linalg.norm(offset, axis=1)
    near = away < radius_m
    i, j, k, offset, away = i[near], j[near], k[near], offset[near], away[near]
    loss = energy_attenuation_per_m(np.array(asked.room.band_hz), asked.air)
    amplitude = x.amplitude[i] * y.amplitude[j] * z.amplitude[k] / away[:, None]
    amplitude *= np.exp(-0.5 * loss * away[:, None])
    weights = band_weights(freq_hz, asked.room.band_hz) * band_edge(freq_hz, RATE)[:, None]
    total = 0.0
    for part in np.array_split(np.arange(len(away)), 8):
        pulses = amplitude[part] @ weights.T
        pulses = pulses * np.exp(-2j * np.pi * freq_hz * away[part, None] / AIR.speed_of_sound_mps)
        heard = item.responses(offset[part] / away[part, None], n_fft)
        total = total + np.einsum("nf,ncf->cf", pulses, heard)
    ir = scipy.fft.irfft(total, n_fft)[:, :n_samples].astype(np.float32)
    return highpass(ir, n_samples, asked.highpass_hz, RATE)


def test_late_sound_is_as_coherent_at_capsules_as_a_diffuse_field() -> None:
    item, array = receiver("mic"), load_array("mic")
    cross = cross_spectra(item)
    freq_hz = scipy.fft.rfftfreq(256, 1 / RATE)
    want = diffuse_covariance(array, freq_hz, AIR.speed_of_sound_mps)
    assert_same_coherence(cross, want, freq_hz)


@pytest.mark.parametrize("head", ["kemar", "sphere"])
def test_late_sound_is_as_coherent_at_the_ears_as_a_diffuse_field(head: str) -> None:
    item = receiver("binaural", head)
    cross = cross_spectra(item)
    directions, weights = sphere_grid(20)
    heard = item.responses(directions, 1024)[:, :, ::4]
    want = np.einsum("n,ncf,ndf->cdf", weights, heard, heard.conj())
    assert_same_coherence(cross, want, scipy.fft.rfftfreq(256, 1 / RATE))


def cross_spectra(item: Receiver) -> np.ndarray:
    """Of the noise tails of many seeds with full scattering. Shape: [channels, channels, 129]."""
    total = np.zeros((len(item.spectra[0]), len(item.spectra[0]), 129), complex)
    for seed in range(60):
        ir = rendered(seed=seed, scattering=1.0, length_s=0.35).ir
        # Levels and coherences do not depend on the decay once it is taken away.
        late = ir[:, int(0.1 * RATE) :]
        at = np.arange(late.shape[1])
        slope = np.polyfit(at, np.log(late[0] ** 2 + 1e-20), 1)
        channels = item.mixed((late * np.exp(-0.5 * np.polyval(slope, at))).astype(np.float32))
        _, _, spectra = scipy.signal.stft(channels, nperseg=256, boundary=None, padded=False)
        total += np.einsum("cft,dft->cdf", spectra, spectra.conj())
    return total


def assert_same_coherence(got: np.ndarray, want: np.ndarray, freq_hz: np.ndarray) -> None:
    kept = (freq_hz > 200) & (freq_hz < 0.45 * RATE)
    error = np.abs(coherence(got) - coherence(want))[:, :, kept]
    assert error.max() < 0.08  # 60 tails of 60 windows scatter by 0.02
    assert np.sqrt(np.mean(error**2)) < 0.03


def coherence(cross: np.ndarray) -> np.ndarray:
    own = np.sqrt(np.einsum("ccf->cf", cross).real)
    return cross / (own[:, None] * own[None, :])


@pytest.mark.parametrize("name", ["binaural", "mic:ortf"])
def test_diffuse_sound_is_coherent_as_in_theory_up_to_short_waves(name: str) -> None:
    """Where a head or an array is many waves wide, against sums in closed form."""
    rate = 32000
    item = receiver_of(parse_format(name), head_ref("sphere"), 4, rate, AIR)
    freq_hz = np.arange(item.window // 2 + 1) * (rate / item.window)
    want = diffuse_covariance(load_array("ortf"), freq_hz, AIR.speed_of_sound_mps)
    if name == "binaural":
        ka = 2 * np.pi * freq_hz * HEAD_RADIUS_M / SPEED_OF_SOUND
        strength = np.abs(modal_coefficients(60, ka)) ** 2
        between = np.radians([[0.0, 160.0], [160.0, 0.0]])
        want = np.polynomial.legendre.legval(
            np.cos(between), (2 * np.arange(61)[:, None] + 1) * strength
        ).transpose(1, 2, 0)
    degree = np.floor(np.sqrt(np.arange(item.n_gains)))
    filters = item.about_centre
    got = np.einsum("ckf,k,dkf->cdf", filters, 1 / (2 * degree + 1), filters.conj())
    error = (coherence(got) - coherence(want))[:, :, (freq_hz > 100) & (freq_hz < 0.45 * rate)]
    assert np.abs(error).max() < 0.02


def test_formats_together_equal_each_alone_to_the_byte() -> None:
    spec = replace(SPEC, mode="tail", response_s=0.2)
    formats = [parse_format(name) for name in ("foa", "binaural", "mic", "hoa5")]
    together = respond(spec, 0, formats)
    for item in formats:
        alone = respond(spec, 0, [item])[item.name].ir
        np.testing.assert_array_equal(together[item.name].ir, alone)


def test_layouts_put_ambisonics_first() -> None:
    layout = layout_of([parse_format(name) for name in ("mic", "mono", "foa", "binaural")])
    assert layout.rows == {
        "mic": slice(4, 8),
        "mono": slice(0, 1),
        "foa": slice(0, 4),
        "binaural": slice(8, 10),
    }
    assert (layout.n_channels, layout.source_order) == (10, 4)
    ears = layout_of([parse_format("binaural")])
    assert (ears.rows["binaural"], ears.n_ambisonic) == (slice(1, 3), 1)


def test_unknown_heads_and_arrays_are_named() -> None:
    with pytest.raises(ConfigError, match="nobody"):
        simulate_rir(format="binaural", hrtf="nobody", source_m=(6, 5, 5), **ANECHOIC)
    with pytest.raises(ConfigError, match="no microphone array 'em33'"):
        simulate_rir(format="mic:em33", source_m=(6, 5, 5), **ANECHOIC)
    with pytest.raises(ConfigError, match=r"mic:NAME, mic:FILE"):
        simulate_rir(format="mic:", source_m=(6, 5, 5), **ANECHOIC)
