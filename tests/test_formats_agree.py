"""One scene in several formats: they agree on where things are, and swaps of channels turn them."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import scipy.fft
import scipy.signal

from scenesynth.acoustics.simulate import simulate_rir
from scenesynth.spatial.array_response import plane_wave_response
from scenesynth.spatial.arrays import load_array
from scenesynth.spatial.doa import intensity_direction

RATE = 24000
CENTRE = np.array([5.0, 5.0, 5.0])

# New channels from old ones, by the new azimuth (facts: Mazzon et al. 2019, Wang et al. 2021): of
# W Y Z X as (channel, sign), of the four capsules by their number. `flip` turns the elevation.
FOA_SWAPS = {
    (1, 0): ((1, 1), (3, 1)),
    (-1, 0): ((1, -1), (3, 1)),
    (1, 90): ((3, 1), (1, -1)),
    (-1, 90): ((3, 1), (1, 1)),
    (1, -90): ((3, -1), (1, 1)),
    (-1, -90): ((3, -1), (1, -1)),
    (1, 180): ((1, -1), (3, -1)),
    (-1, 180): ((1, 1), (3, -1)),
}
MIC_SWAPS = {
    (1, 0, 1): (1, 2, 3, 4),
    (-1, 0, -1): (2, 1, 4, 3),
    (1, 90, -1): (2, 4, 1, 3),
    (-1, 90, 1): (1, 3, 2, 4),
    (1, -90, -1): (3, 1, 4, 2),
    (-1, -90, 1): (4, 2, 3, 1),
    (1, 180, 1): (4, 3, 2, 1),
    (-1, 180, -1): (3, 4, 1, 2),
}
AZIMUTH_DEG, ELEVATION_DEG = 37.0, -18.0


@cache
def heard(format: str, azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    """Anechoic, from 2 m."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    away = [flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)]
    return simulate_rir(
        room_m=(10, 10, 10),
        source_m=tuple(CENTRE + 2 * np.array(away)),
        listener_m=tuple(CENTRE),
        absorption=1.0,
        format=format,
        sample_rate=RATE,
        length_s=0.05,
    )


def difference_db(got: np.ndarray, want: np.ndarray) -> float:
    """Below 0.9 of Nyquist."""
    spectra = [scipy.fft.rfft(x, axis=1)[:, : int(0.45 * x.shape[1])] for x in (got, want)]
    energy = np.sum(np.abs(spectra[0] - spectra[1]) ** 2) / np.sum(np.abs(spectra[1]) ** 2)
    return float(10 * np.log10(max(energy, 1e-30)))


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("turn", FOA_SWAPS)
def test_swapped_foa_channels_are_those_of_the_turned_source(
    turn: tuple[int, int], flip: int
) -> None:
    old = heard("foa", AZIMUTH_DEG, ELEVATION_DEG)
    new = heard("foa", turn[0] * AZIMUTH_DEG + turn[1], flip * ELEVATION_DEG)
    (y, y_sign), (x, x_sign) = FOA_SWAPS[turn]
    swapped = np.stack([old[0], y_sign * old[y], flip * old[2], x_sign * old[x]])
    assert difference_db(swapped, new) < -60


@pytest.mark.parametrize("turn", MIC_SWAPS)
def test_swapped_capsules_are_those_of_the_turned_source(turn: tuple[int, int, int]) -> None:
    old = heard("mic", AZIMUTH_DEG, ELEVATION_DEG)
    new = heard("mic", turn[0] * AZIMUTH_DEG + turn[1], turn[2] * ELEVATION_DEG)
    assert difference_db(old[[channel - 1 for channel in MIC_SWAPS[turn]]], new) < -60


@pytest.mark.parametrize(
    "direction", [(0, 0), (35, 10), (90, 0), (-75, 30), (150, -20), (-120, -40)]
)
def test_formats_agree_on_the_direction_of_a_reverberant_source(
    direction: tuple[float, float],
) -> None:
    azimuth, elevation = (math.radians(angle) for angle in direction)
    flat = math.cos(elevation)
    away = np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])
    listener = np.array([4.0, 3.0, 1.5])
    foa, mic, ears = (
        simulate_rir(
            room_m=(8, 6, 3),
            source_m=tuple(listener + 1.2 * away),
            listener_m=tuple(listener),
            rt60_s=0.4,
            format=format,
            sample_rate=RATE,
            mode="tail",
        )
        for format in ("foa", "mic", "binaural")
    )
    # The direct sound alone: until 1.5 ms after it, when no reflection is there yet.
    until = round((1.2 / 343.2 + 0.0015) * RATE)
    by_foa = np.array(intensity_direction(foa[:, :until], RATE, (500.0, 4000.0)))
    assert math.degrees(math.acos(min(1.0, by_foa @ away))) < 1.0
    by_mic = steered(mic[:, :until])
    assert math.degrees(math.acos(min(1.0, by_mic @ away))) < 3.0
    # Ears tell the side: the nearer one hears first, by up to 0.7 ms.
    lag_s = interaural_lag_s(ears[:, :until])
    assert lag_s == pytest.approx(woodworth_s(away[1]), abs=0.00012)


def steered(mic: np.ndarray) -> np.ndarray:
    """The direction whose plane wave explains the capsules best, 300 Hz to 5 kHz."""
    n = 1024
    freq_hz = scipy.fft.rfftfreq(n, 1 / RATE)
    kept = (freq_hz > 300) & (freq_hz < 5000)
    seen = scipy.fft.rfft(mic, n, axis=1)[:, kept]
    k = np.arange(8000) + 0.5
    z, turn = 1 - k / 4000, np.pi * (1 + 5**0.5) * k
    flat = np.sqrt(1 - z * z)
    grid = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
    expected = plane_wave_response(load_array("mic"), grid, freq_hz[kept], 343.2)
    match = np.abs(np.einsum("cf,ncf->nf", seen, expected.conj())) ** 2
    match /= np.sum(np.abs(expected) ** 2, axis=1)
    return grid[int(np.argmax(match.sum(axis=1)))]


def interaural_lag_s(ears: np.ndarray) -> float:
    """How much later the right ear hears, below 1.5 kHz."""
    low = scipy.signal.sosfiltfilt(
        scipy.signal.butter(4, 1500, fs=RATE, output="sos"), np.pad(ears, ((0, 0), (400, 400)))
    )
    fine = scipy.signal.resample_poly(low, 8, 1, axis=1)
    lags = scipy.signal.correlation_lags(fine.shape[1], fine.shape[1])
    return float(lags[np.argmax(scipy.signal.correlate(fine[1], fine[0]))] / (8 * RATE))


def woodworth_s(sine: float) -> float:
    """Interaural time difference of a rigid sphere at low frequencies (Kuhn 1977): 3 a/c sin."""
    return 3 * 0.0875 / 343.2 * sine
