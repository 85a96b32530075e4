"""The pool of noise: white, in bands that add up, with streams that do not meet."""

from __future__ import annotations

import numpy as np
import pytest

from scenesynth.acoustics.grids import band_edge, band_weights
from scenesynth.acoustics.noise import BLOCK, BLOCKS, POOL, noise_pool, stream_starts
from scenesynth.room.model import OCTAVE_BANDS_HZ

FS = 32000


@pytest.fixture(scope="module")
def bands() -> np.ndarray:
    """Shape: [bands, POOL]."""
    return np.moveaxis(noise_pool(FS, OCTAVE_BANDS_HZ), 1, 0).reshape(7, POOL)


def test_the_bands_add_up_to_white_noise_of_unit_variance_below_the_edge(bands: np.ndarray) -> None:
    power = np.abs(np.fft.rfft(bands.sum(axis=0, dtype=np.float64))) ** 2 / POOL
    edge = band_edge(np.arange(len(power)) * FS / POOL, FS)
    np.testing.assert_allclose(power[1:-1], edge[1:-1] ** 2, atol=1e-4)


def test_each_band_has_the_weights_of_the_image_sources(bands: np.ndarray) -> None:
    freq_hz = np.arange(POOL // 2 + 1) * FS / POOL
    want = band_weights(freq_hz, OCTAVE_BANDS_HZ) * band_edge(freq_hz, FS)[:, None]
    for band, weight in zip(bands, want.T, strict=True):
        got = np.abs(np.fft.rfft(band.astype(np.float64))) / np.sqrt(POOL)
        np.testing.assert_allclose(got[1:-1], weight[1:-1], atol=1e-3)


def test_samples_are_gaussian(bands: np.ndarray) -> None:
    """Third and fourth moments, of everything and of the lowest band by itself."""
    for signal in (bands.sum(axis=0), bands[0]):
        scaled = signal / signal.std()
        assert abs(np.mean(scaled**3)) < 0.1
        assert abs(np.mean(scaled**4) - 3) < 0.2


def test_a_shifted_copy_is_uncorrelated(bands: np.ndarray) -> None:
    """With itself and with any of its bands, by whole blocks as streams are."""
    signal = bands.sum(axis=0)
    for shift in (BLOCK, 40 * BLOCK, 2048 * BLOCK, POOL - BLOCK):
        assert abs(np.mean(signal * np.roll(signal, shift))) < 0.001
    shifted = np.roll(bands, 2048 * BLOCK, axis=1)
    correlation = bands @ shifted.T / POOL
    own = np.sqrt(np.mean(np.square(bands), axis=1))
    assert np.abs(correlation / np.outer(own, own)).max() < 0.02


def test_streams_of_fewer_channels_are_the_first_of_more() -> None:
    for seed in (0, 1, 2**32 - 1):
        np.testing.assert_array_equal(stream_starts(seed, 4), stream_starts(seed, 64)[:4])


@pytest.mark.parametrize(("n_channels", "apart_s"), [(4, 3.9), (16, 0.8), (64, 0.12)])
def test_streams_of_a_seed_stay_apart(n_channels: int, apart_s: float) -> None:
    for seed in range(50):
        starts = np.sort(stream_starts(seed, n_channels))
        gaps = np.diff([*starts, starts[0] + BLOCKS])
        assert gaps.min() * BLOCK / FS > apart_s


def test_streams_of_other_seeds_start_elsewhere() -> None:
    starts = [stream_starts(seed, 4) for seed in range(2000)]
    first = np.array(starts)[:, 0]
    assert len(np.unique(first)) > 1700  # 2000 draws of 8192
    assert np.ptp(first) > 0.95 * BLOCKS
