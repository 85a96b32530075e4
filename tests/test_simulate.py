"""`simulate_rir`: every documented form of its arguments, and its refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scenesynth as ss
from scenesynth.errors import ConfigError, UnreachableT60Error
from scenesynth.room.air import speed_of_sound_mps
from scenesynth.room.model import Air

PLACE: dict[str, Any] = {
    "room_m": (4.0, 3.0, 2.5),
    "source_m": (1.0, 1.0, 1.5),
    "listener_m": (3.0, 2.0, 1.2),
    "length_s": 0.03,
}
WALLS = np.linspace(0.1, 0.6, 6)
BANDS = np.linspace(0.1, 0.7, 7)


def simulate(**changes: Any) -> np.ndarray:
    return ss.simulate_rir(**(PLACE | changes))


@pytest.mark.parametrize(("format", "channels"), [("mono", 1), ("foa", 4), ("hoa2", 9)])
def test_a_response_is_float32_channels_by_samples(format: str, channels: int) -> None:
    rir = simulate(absorption=0.3, format=format)
    assert rir.shape == (channels, 960)
    assert rir.dtype == np.float32
    assert rir.flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "full"),
    [
        (0.3, np.full((6, 7), 0.3)),
        (BANDS, np.tile(BANDS, (6, 1))),
        (WALLS, np.tile(WALLS[:, None], (1, 7))),
        ("rockwool", ["rockwool"] * 6),
    ],
)
def test_short_forms_of_absorption_mean_the_full_one(given: Any, full: Any) -> None:
    np.testing.assert_array_equal(simulate(absorption=given), simulate(absorption=full))


def test_one_t60_means_the_same_in_every_band() -> None:
    np.testing.assert_array_equal(simulate(rt60_s=0.3), simulate(rt60_s=[0.3] * 7))


def test_bands_at_or_above_nyquist_are_left_out() -> None:
    low = simulate(rt60_s=[0.3] * 6, sample_rate=16000)
    np.testing.assert_array_equal(low, simulate(rt60_s=0.3, sample_rate=16000))
    assert simulate(absorption=BANDS, sample_rate=16000).shape == (4, 480)


def test_the_default_length_follows_the_decay() -> None:
    short, long = (simulate(rt60_s=t60, length_s=None).shape[1] for t60 in (0.2, 0.4))
    assert (short, long) == (6400, 12800)


def test_an_anechoic_room_leaves_one_pulse() -> None:
    rir = simulate(absorption=1.0, length_s=None, highpass_hz=0)[0]
    peak = int(np.argmax(np.abs(rir)))
    assert peak == round(np.linalg.norm(np.subtract((1, 1, 1.5), (3, 2, 1.2))) / 343.2 * 32000)
    assert np.sum(rir[peak + 200 :] ** 2) < 1e-6 * np.sum(rir**2)


def test_looking_at_the_source_puts_it_in_front() -> None:
    yaw = np.degrees(np.arctan2(-1.0, -2.0))
    rir = simulate(absorption=1.0, yaw_deg=yaw, listener_m=(3.0, 2.0, 1.5))
    w, y, z, x = rir
    np.testing.assert_allclose(x, w, atol=1e-6)
    np.testing.assert_allclose([y, z], 0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({}, ConfigError, "give one of the two"),
        ({"rt60_s": 0.3, "absorption": 0.3}, ConfigError, "give one of the two"),
        ({"absorption": 1.2}, ConfigError, r"absorption = 1\.2; every value must lie in \[0, 1\]"),
        ({"absorption": [-0.1] * 7}, ConfigError, "every value must lie"),
        ({"absorption": float("nan")}, ConfigError, "every value must lie"),
        ({"absorption": [0.1, 0.2]}, ConfigError, r"must be a number, 7 numbers \(bands\)"),
        ({"absorption": "rokwool"}, ConfigError, "did you mean 'rockwool'"),
        ({"rt60_s": 30.0}, UnreachableT60Error, r"rt60_s = 30 s at 125 Hz cannot be reached"),
        ({"rt60_s": [0.3] * 5}, ValueError, "must be 7 positive numbers"),
        ({"rt60_s": 0.0}, ValueError, r"rt60_s = 0\.0; must be positive"),
        ({"absorption": 0.3, "room_m": (4, 0, 3)}, ValueError, "every length must be positive"),
        ({"absorption": 0.3, "room_m": (4, 3)}, ValueError, "three finite numbers"),
        ({"absorption": 0.3, "source_m": (4, 1, 1)}, ValueError, "source_m .* x = 4 m is not"),
        ({"absorption": 0.3, "source_m": (9, 1, 1)}, ValueError, "x = 9 m is not inside"),
        ({"absorption": 0.3, "listener_m": (1, 1, 1.5)}, ValueError, "0 m apart"),
        ({"absorption": 0.3, "sample_rate": 250}, ValueError, "sample_rate = 250 Hz is too low"),
        ({"absorption": 0.3, "format": "stereo"}, ConfigError, "formats: mono, foa"),
        ({"absorption": 0.3, "mode": "tails"}, ConfigError, "mode = 'tails' is not available"),
        ({"absorption": 0.3, "engine": "x"}, ConfigError, "engine = 'x' is not available"),
        ({"absorption": 0.3, "device": None}, ConfigError, "device = None; must be cpu, cuda"),
        ({"absorption": 0.3, "device": "tpu"}, ConfigError, "device = 'tpu'; must be cpu, cuda"),
        ({"absorption": 0.3, "source_m": None}, ValueError, "source_m = None; must be three"),
        ({"absorption": 0.3, "source_m": ("a", 1, 1)}, ValueError, "source_m = .*must be three"),
        ({"absorption": 0.3, "sample_rate": "32000"}, ValueError, "sample_rate = '32000'; must be"),
        ({"absorption": 0.3, "sample_rate": 10**9}, ValueError, "sample_rate = .*at most 384000"),
        ({"absorption": 0.3, "pitch_deg": float("inf")}, ValueError, "pitch_deg = inf; must be"),
        ({"absorption": 0.3, "source_yaw_deg": "x"}, ValueError, "source_yaw_deg = 'x'; must be"),
        ({"absorption": 0.3, "seed": 1.5}, ValueError, "seed = 1.5; must be a whole number"),
        ({"absorption": 0.3, "seed": -1}, ValueError, "seed = -1; must be a whole number"),
        ({"absorption": 0.3, "length_s": float("nan")}, ValueError, "response_s = nan; must lie"),
        ({"absorption": 0.3, "length_s": 1e6}, ValueError, "response_s = 1000000.0; must lie"),
        ({"absorption": 0.0, "length_s": 60}, ConfigError, "image sources .* use mode 'tail'"),
        (
            {
                "absorption": 0.3,
                "room_m": (1e-5, 3.0, 2.5),
                "source_m": (5e-6, 1.0, 1.5),
                "listener_m": (5e-6, 2.0, 1.2),
                "mode": "tail",
                "length_s": 1.0,
                "mixing_time_s": 0.5,
            },
            ConfigError,
            "image sources .* use a larger room",
        ),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        simulate(**changes)


def test_sound_is_faster_in_warm_air() -> None:
    """Unless the speed is given."""
    open_air: dict[str, Any] = {"absorption": 1.0, "highpass_hz": 0}
    distance_m = float(np.linalg.norm(np.subtract(PLACE["source_m"], PLACE["listener_m"])))
    for air, speed_mps in (
        (Air(temperature_c=-20), speed_of_sound_mps(-20)),
        (Air(temperature_c=35), speed_of_sound_mps(35)),
        (Air(temperature_c=35, speed_of_sound_mps=340.0), 340.0),
    ):
        peak = int(np.argmax(simulate(**open_air, air=air)[0]))
        assert peak == round(distance_m / speed_mps * 32000)


def test_a_source_looks_at_the_listener_unless_told_otherwise() -> None:
    """A dipole has all of its direct sound ahead and none to its side."""
    open_air: dict[str, Any] = {"absorption": 1.0, "directivity": "figure8"}
    towards = simulate(**open_air)
    np.testing.assert_allclose(towards, simulate(absorption=1.0), atol=1e-6)
    x, y, _ = np.subtract(PLACE["listener_m"], PLACE["source_m"])
    aside = np.degrees(np.arctan2(y, x)) + 90
    turned = simulate(**open_air, source_yaw_deg=aside, source_pitch_deg=0)
    assert np.abs(turned).max() < 1e-6 * np.abs(towards).max()


def test_a_tail_follows_its_seed() -> None:
    late: dict[str, Any] = {"absorption": 0.2, "length_s": 0.15, "mode": "tail"}
    first, again, other = (simulate(**late, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:, :2400], other[:, :2400])
    assert not np.array_equal(first, other)
    full = simulate(**late | {"mode": "full"})
    np.testing.assert_allclose(first[:, :1600], full[:, :1600], atol=1e-3 * np.abs(full).max())
