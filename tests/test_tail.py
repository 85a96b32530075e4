"""Laws of late tails by themselves, and of responses that end in one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.signal
from response_helpers import (
    AIR,
    FS,
    Place,
    decay_db,
    energy,
    random_places,
    random_rooms,
    render,
    room_of,
)

from scenesynth.acoustics.grids import band_edge, band_weights
from scenesynth.acoustics.noise import BLOCK, noise_pool
from scenesynth.acoustics.response import Request, shoebox_responses
from scenesynth.acoustics.tail import Seam, _nodes, add_noise, late_field, octant_power
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.decay import late_covariance, octant_directions
from scenesynth.room.model import OCTAVE_BANDS_HZ, Room
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.ambisonics import harmonics_rotation, spherical_harmonics
from scenesynth.spatial.formats import parse_format

C = AIR.speed_of_sound_mps
SEAM = Seam(start_s=0.0775, end_s=0.0825)
NO_AIR = np.zeros(7)
UNEVEN = room_of(np.random.default_rng(1).uniform(0.05, 0.5, (6, 7)))
EVEN = room_of(np.tile([[0.2], [0.1], [0.15], [0.2], [0.4], [0.3]], 7))


def tail(room: Room = UNEVEN, *, order: int = 1, n: int = 6400, **changes: Any) -> np.ndarray:
    channels = np.zeros(((order + 1) ** 2, n), dtype=np.float32)
    arguments: dict[str, Any] = {
        "band_hz": OCTAVE_BANDS_HZ,
        "attenuation_per_m": energy_attenuation_per_m(np.array(OCTAVE_BANDS_HZ), AIR),
        "speed_of_sound_mps": C,
        "rotation": np.eye(3),
        "sample_rate": FS,
        "seam": SEAM,
    }
    field = late_field(*channels.shape, room=room, **(arguments | changes))
    add_noise(channels, field, FS, OCTAVE_BANDS_HZ)
    return channels


def covariance(room: Room, times_s: Any, order: int = 1) -> np.ndarray:
    harmonics = spherical_harmonics(octant_directions(), order)
    return late_covariance(
        room.size_m, room.absorption, NO_AIR, C, times_s, harmonics, band_hz=room.band_hz
    )


def per_sample(bands: np.ndarray) -> np.ndarray:
    """Covariance of the sum of all bands, whose noise is the same: mixed by the octave weights.

    Args:
        bands: per band and second. Shape: [bands, ..., K, K].
    """
    freq_hz = np.arange(1, FS // 2 + 1, dtype=np.float64)
    passed = band_weights(freq_hz, OCTAVE_BANDS_HZ) * band_edge(freq_hz, FS)[:, None]
    factor = np.linalg.cholesky(bands + 1e-12 * bands.max() * np.eye(bands.shape[-1]))
    mixed: np.ndarray = np.einsum("ij,i...ac,j...bc->...ab", passed.T @ passed, factor, factor)
    return mixed / len(freq_hz) / FS


def test_the_same_seed_gives_the_same_bytes_and_another_another_tail() -> None:
    first, again, other = (tail(seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert abs(np.vdot(first, other)) < 0.05 * energy(first)


def test_channels_and_emitters_are_uncorrelated() -> None:
    """In pairs over 60 seeds: nothing but the scatter of noise, 1 / sqrt(its samples)."""
    tails = np.array([tail(EVEN, seed=seed, n=12800)[:, 2640:] for seed in range(60)])
    tails /= np.sqrt(np.mean(np.square(tails), axis=2, keepdims=True))
    between_channels = np.einsum("sit,sjt->sij", tails, tails)[:, *np.triu_indices(4, 1)]
    between_seeds = np.einsum("sit,sit->si", tails[1:], tails[:-1])
    for products in (between_channels / tails.shape[2], between_seeds / tails.shape[2]):
        assert abs(products.mean()) < 0.01
        assert np.sqrt(np.mean(np.square(products))) < 0.05


@pytest.mark.parametrize("scattering", [0.0, 0.3])
def test_lower_orders_are_the_first_channels_of_higher_ones(scattering: float) -> None:
    turned = rotation_matrix(40, -20, 70)
    highest = tail(order=4, scattering=scattering, rotation=turned)
    for order in range(4):
        lower = tail(order=order, scattering=scattering, rotation=turned)
        np.testing.assert_array_equal(lower, highest[: len(lower)])


@pytest.mark.parametrize("order", [1, 3])
def test_turning_the_listener_turns_the_tail(order: int) -> None:
    turned = rotation_matrix(40, -20, 70)
    straight = tail(order=order)
    want = harmonics_rotation(turned, order) @ straight
    got = tail(order=order, rotation=turned)
    assert energy(got - want) < 1e-12 * energy(want)


@pytest.mark.parametrize("order", [0, 2])
def test_noise_is_the_sum_of_bands_and_pairs_turned_to_the_listener(order: int) -> None:
    n, rotation = 3000, rotation_matrix(40, 20, -10)
    n_channels = (order + 1) ** 2
    field = late_field(
        n_channels,
        n,
        room=UNEVEN,
        band_hz=OCTAVE_BANDS_HZ,
        attenuation_per_m=NO_AIR,
        speed_of_sound_mps=C,
        rotation=rotation,
        sample_rate=FS,
        seam=Seam(start_s=0.04, end_s=0.041),
    )
    before = 2.0**-10
    channels = np.full((n_channels, n), before, dtype=np.float32)
    add_noise(channels, field, FS, OCTAVE_BANDS_HZ)

    pool = np.moveaxis(noise_pool(FS, OCTAVE_BANDS_HZ).astype(np.float64), 1, 0).reshape(7, -1)
    edges = np.arange(field.blocks[0], n // BLOCK + 2)
    nodes = np.clip(
        np.searchsorted(field.blocks, edges, side="right") - 1, 0, len(field.blocks) - 2
    )
    share = ((edges - field.blocks[nodes]) / np.diff(field.blocks)[nodes])[:, None, None]
    level = field.level[nodes] ** (1 - share) * field.level[nodes + 1] ** share
    factor = (1 - share) * field.shape[nodes] + share * field.shape[nodes + 1]
    at = np.arange(edges[0] * BLOCK, n)
    expected = np.zeros((n_channels, len(at)))
    for pair, (i, j) in enumerate(zip(field.rows, field.columns, strict=True)):
        noise = pool[:, (field.starts[j] * BLOCK + at) % pool.shape[1]]
        corners = level[:, i] * factor[:, pair]
        for b in range(7):
            expected[i] += np.interp(at, edges * BLOCK, corners[:, b]) * noise[b]
    expected[:, : len(field.rising)] *= field.rising
    expected = harmonics_rotation(rotation, order) @ expected
    np.testing.assert_array_equal(channels[:, : at[0]], before)
    got = channels[:, at[0] :] - before
    np.testing.assert_allclose(got, expected, atol=1e-6 * abs(expected).max())


def test_nothing_comes_before_the_seam() -> None:
    channels = tail()
    assert not channels[:, : int(SEAM.start_s * FS)].any()
    assert channels[:, int(SEAM.start_s * FS) + 2].any()


def test_a_longer_tail_begins_like_the_shorter() -> None:
    """Up to the nodes of its interpolation, which lie elsewhere."""
    short, long = tail(n=6400), tail(n=12800)
    assert energy(short - long[:, :6400]) < 1e-4 * energy(short)


def test_tails_have_the_predicted_covariance() -> None:
    """Mean over 2,000 seeds in 10 ms windows, first-order channels and their products."""
    n_seeds, windows_s = 2000, np.array([[0.09, 0.10], [0.15, 0.16]])
    found = np.zeros((2, 4, 4))
    for seed in range(n_seeds):
        channels = tail(EVEN, seed=seed, n=5200, attenuation_per_m=NO_AIR).astype(np.float64)
        for k, (start, stop) in enumerate(np.round(windows_s * FS).astype(int)):
            part = channels[:, start:stop]
            found[k] += part @ part.T / (part.shape[1] * n_seeds)
    want = per_sample(covariance(EVEN, windows_s.mean(axis=1)))
    scale = np.sqrt(np.einsum("tii,tjj->tij", want, want))
    np.testing.assert_allclose(found / scale, want / scale, atol=0.05)
    assert np.ptp(np.diagonal(want[1])[1:]) > 0.3 * want[1, 0, 0]  # far from isotropic


def test_full_scattering_gives_each_first_order_channel_a_third() -> None:
    """And leaves W as it is."""
    seeds = range(300)
    plain, even = (
        np.mean([np.square(tail(EVEN, seed=s, scattering=x)).sum(1) for s in seeds], axis=0)
        for x in (0.0, 1.0)
    )
    np.testing.assert_allclose(even[1:] / even[0], 1 / 3, rtol=0.05)
    assert even[0] == pytest.approx(plain[0], rel=1e-6)


def test_second_order_channels_have_the_predicted_correlations() -> None:
    seeds = range(600)
    products = np.zeros((9, 9))
    for seed in seeds:
        part = tail(EVEN, order=2, seed=seed, attenuation_per_m=NO_AIR, n=5120)[:, 4800:5120]
        products += part.astype(np.float64) @ part.T / (320 * len(seeds))
    want = per_sample(covariance(EVEN, [0.155], order=2))[0]
    scale = np.sqrt(np.outer(np.diagonal(want), np.diagonal(want)))
    np.testing.assert_allclose(products / scale, want / scale, atol=0.06)
    assert np.abs((want / scale)[np.triu_indices(9, 1)]).max() > 0.3  # there is something to find


def test_equal_absorption_gives_white_late_sound() -> None:
    """Where waves are short."""
    power = np.zeros(801)
    for seed in range(300):
        part = tail(EVEN, order=0, seed=seed, attenuation_per_m=NO_AIR)[0, 3200:4800]
        power += np.abs(np.fft.rfft(part * np.hanning(1600))) ** 2
    bands = power[84:750].reshape(-1, 37).mean(axis=1)  # 1.7 to 15 kHz
    np.testing.assert_allclose(bands / bands.mean(), 1.0, atol=0.06)


def test_levels_between_the_nodes_are_right() -> None:
    """In every channel, over bands and rooms of all kinds, down to -60 dB.

    Where walls are dead the decay itself is uneven: single reflections rule it.
    """
    rng = np.random.default_rng(5)
    errors_db = []
    for _ in range(40):
        size = tuple(rng.uniform([3, 3, 2.4], [12, 9, 4.5]))
        walls = rng.uniform(0.02, 0.4) * rng.uniform(0.3, 1.7, (6, 1)) * rng.uniform(0.6, 1.4, 7)
        room = room_of(walls, size)
        blocks, times_s = _nodes(38, int(rng.integers(60, 800)), FS)
        every = np.arange(blocks[0], blocks[-1] + 1)
        nodes = np.diagonal(covariance(room, times_s), axis1=2, axis2=3)
        exact = np.diagonal(covariance(room, every * BLOCK / FS), axis1=2, axis2=3)
        for band in range(7):
            heard = exact[band, :, 0] > 1e-6 * exact[band, 0, 0]
            for channel in range(4):
                drawn = np.interp(every, blocks, np.log(nodes[band, :, channel]))
                error = (drawn - np.log(exact[band, :, channel]))[heard]
                errors_db.append(10 / math.log(10) * np.abs(error).max())
    assert np.median(errors_db) < 0.04
    assert np.percentile(errors_db, 90) < 0.1


def test_octant_power_is_the_mean_over_the_mirror_images() -> None:
    coefficients = np.random.default_rng(3).standard_normal((3, 5))
    front = (0.48, -0.6, 0.64)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T
    cosine = np.einsum("nd,sd,d->ns", octant_directions(), signs, front)
    powers = cosine[..., None] ** np.arange(5)
    want = np.mean(np.square(np.einsum("nsp,bp->bns", powers, coefficients)), axis=2)
    np.testing.assert_allclose(octant_power(coefficients, front), want, rtol=1e-12)


def test_the_response_is_images_then_noise_without_a_step() -> None:
    """Mean power before, in and after the cross-fade, against full order: 60 pairs of places.

    Above 100 Hz: below it the images of a small room add up in phase and noise does not.
    """
    spans_s = np.array([[0.0675, 0.0775], [0.0775, 0.0825], [0.0825, 0.0925]])
    power = np.zeros((2, 3))
    for n, place in enumerate(random_places(EVEN, 60, seed=9)):
        for k, mode in enumerate(("full", "tail")):
            ir = render(
                EVEN, "mono", mode=mode, seed=n, length_s=0.1, highpass_hz=100.0, **place
            ).ir[0]
            for m, (start, stop) in enumerate(np.round(spans_s * FS).astype(int)):
                power[k, m] += energy(ir[start:stop])
    np.testing.assert_allclose(10 * np.log10(power[1] / power[0]), 0.0, atol=0.3)


@pytest.mark.parametrize("directivity", ["omni", "cardioid"])
def test_the_images_that_end_leave_no_thump(directivity: Any) -> None:
    """Mean over places of the difference of the modes, in the octave of 125 Hz around the seam.

    What differs between places has no mean; the step in the mean pressure of the images has.
    """
    octave = scipy.signal.butter(3, [88.4, 176.8], "bandpass", fs=FS, output="sos")
    places = random_places(EVEN, 60, seed=4)
    mean, power = np.zeros(round(0.12 * FS)), 0.0
    for n, place in enumerate(places):
        full, tail_ = (
            render(
                EVEN,
                "mono",
                mode=mode,
                seed=n,
                length_s=0.12,
                highpass_hz=30.0,
                directivity=directivity,
                front=(0.3, -0.8, 0.2),
                **place,
            ).ir[0]
            for mode in ("full", "tail")
        )
        filtered = scipy.signal.sosfilt(octave, [full, tail_ - full])
        mean += filtered[1] / len(places)
        power += energy(filtered[0, round(0.08 * FS) : round(0.095 * FS)]) / len(places)
    assert energy(mean[round(0.08 * FS) : round(0.095 * FS)]) < 0.25 * power  # 1.5 without it


def test_a_source_that_radiates_no_mean_piles_up_none() -> None:
    request = {"length_s": 0.3, "mode": "tail", "highpass_hz": 0.0}
    omni, eight = (
        render(EVEN, "mono", directivity=name, front=(1.0, 0.0, 0.0), **request).ir[0]
        for name in ("omni", "figure8")
    )
    span = slice(round(0.083 * FS), round(0.14 * FS))
    assert abs(eight[span].mean()) < 0.1 * omni[span].mean()


def test_tail_decays_as_full_order_does(some_rooms: list[tuple[Room, Place, float]]) -> None:
    """A small sample of the study in benchmarks/tail.py."""
    deviations_db, t30, shares = [], [], []
    for n, (room, place, length_s) in enumerate(some_rooms):
        full, tail_ = (
            render(room, mode=mode, seed=n, length_s=length_s, highpass_hz=30.0, **place)
            for mode in ("full", "tail")
        )
        curve, want = decay_db(tail_.ir[0]), decay_db(full.ir[0])
        deviations_db.append(np.abs(curve - want)[want > -40].max())
        t30.append(abs(tail_.measured.rt60_broadband_s / full.measured.rt60_broadband_s - 1))
        late = [np.square(r.ir[:, round(0.1 * FS) :]).sum(axis=1) for r in (full, tail_)]
        shares.append(np.abs(late[1] / late[1][0] - late[0] / late[0][0])[1:])
    assert np.median(deviations_db) <= 1.0
    assert np.percentile(deviations_db, 90) <= 2.5
    assert np.percentile(t30, 90) <= 0.05
    assert np.median(shares) < 0.02


@pytest.fixture(scope="module")
def some_rooms() -> list[tuple[Room, Place, float]]:
    return random_rooms(12, seed=4)


@pytest.mark.parametrize("directivity", ["cardioid", "figure8", "speech"])
def test_a_directional_source_has_the_late_level_of_its_images(directivity: str) -> None:
    power = np.zeros(2)
    for n, place in enumerate(random_places(EVEN, 24, seed=2)):
        for k, mode in enumerate(("full", "tail")):
            ir = render(
                EVEN,
                "mono",
                mode=mode,
                seed=n,
                length_s=0.15,
                directivity=directivity,
                front=(0.3, -0.5, 0.2),
                highpass_hz=100.0,
                **place,
            ).ir[0]
            power[k] += energy(ir[round(0.09 * FS) :])
    assert abs(10 * math.log10(power[1] / power[0])) < 0.5


def test_a_late_direct_sound_takes_the_mixing_time_with_it() -> None:
    hall = room_of(0.3, (50.0, 20.0, 8.0))
    place: Any = {"source_m": (2.0, 10.0, 2.0), "listener_m": (47.0, 9.0, 2.0)}
    response = render(hall, mode="tail", length_s=0.4, **place)
    assert response.direct_delay_s > 0.12
    assert response.mixing_time_s == pytest.approx(response.direct_delay_s + 0.02)
    direct = round(response.direct_delay_s * FS)
    at_direct = energy(response.ir[0, direct - 2 : direct + 3])
    assert at_direct > 0.3 * (1 / response.distance_m) ** 2
    assert energy(response.ir[0, : direct - 64]) < 1e-6 * at_direct
    assert energy(response.ir[0, round(0.2 * FS) :]) > 0


@pytest.mark.parametrize("mode", ["full", "tail"])
def test_no_energy_before_the_direct_sound(mode: Any) -> None:
    response = render(UNEVEN, mode=mode, length_s=0.3, displacement_m=0.1, highpass_hz=30.0)
    direct = int(response.direct_delay_s * FS)
    ahead = response.ir[0, : direct - round(0.002 * FS)]
    assert energy(ahead) < 1e-6 * energy(response.ir[0, direct - 2 : direct + 4])


@pytest.mark.parametrize("absorption", [1.0, 0.95])
def test_a_room_with_no_late_sound_has_no_tail(absorption: float) -> None:
    full, tail_ = (
        render(room_of(absorption), mode=mode, length_s=0.2, highpass_hz=30.0)
        for mode in ("full", "tail")
    )
    assert np.isfinite(tail_.ir).all()
    assert energy(tail_.ir - full.ir) < 1e-5 * energy(full.ir)


def test_a_response_that_ends_before_the_mixing_time_is_all_images() -> None:
    full, tail_ = (render(UNEVEN, mode=mode, length_s=0.06) for mode in ("full", "tail"))
    np.testing.assert_array_equal(full.ir, tail_.ir)
    assert tail_.mixing_time_s is None
    assert render(UNEVEN, mode="tail", length_s=0.1).mixing_time_s == pytest.approx(0.08)


@pytest.mark.parametrize("mode", ["full", "tail"])
def test_the_seed_matters_where_something_is_random(mode: Any) -> None:
    for displacement_m in (0.0, 0.1):
        one, other = (
            render(UNEVEN, mode=mode, length_s=0.12, seed=seed, displacement_m=displacement_m).ir
            for seed in (1, 2)
        )
        random = mode == "tail" or displacement_m > 0
        assert np.array_equal(one, other) is not random


def test_a_response_does_not_depend_on_its_batch_or_threads() -> None:
    """Unequal rooms, lengths, formats, rates and modes in one batch."""
    requests = [
        Request(
            room=room_of(0.1 + 0.05 * n, (4.0 + n, 3.2, 2.5)),
            air=AIR,
            source_m=(1.1, 0.9, 1.3),
            listener_m=(2.7, 2.05, 1.2),
            rotation=rotation_matrix(20 * n, 0, 0),
            format=parse_format(("foa", "mono", "hoa2")[n % 3]),
            sample_rate=(32000, 16000)[n % 2],
            length_s=0.08 + 0.03 * n,
            mode=("tail", "full", "tail")[n % 3],
            displacement_m=0.1,
            seed=n,
        )
        for n in range(7)
    ]
    alone = [shoebox_responses([request])[0].ir.tobytes() for request in requests]
    for threads in (1, 3):
        together = shoebox_responses(requests[::-1], threads=threads)[::-1]
        assert [response.ir.tobytes() for response in together] == alone
    with pytest.raises(ValueError, match="threads = 0; must be at least 1"):
        shoebox_responses(requests, threads=0)
