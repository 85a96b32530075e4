"""Measured acoustics against a slow, independent measurement and against known signals."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import scipy.signal
from test_response import AIR, FS, UNEVEN, gram_like_rooms, render, room_of

from scenesynth.acoustics.measure import decay_curves, measure
from scenesynth.acoustics.octaves import (
    LANES,
    band_filters,
    record_count,
    remaining_in_bands,
    sections,
)
from scenesynth.room.decay import response_length_s
from scenesynth.room.model import OCTAVE_BANDS_HZ


def slow_times(ir: np.ndarray, low_hz: float, high_hz: float, direct_s: float) -> dict[str, float]:
    """EDT, T20, T30 after ISO 3382 with a causal Butterworth filter at the full rate."""
    sos = scipy.signal.butter(3, [low_hz, high_hz], "bandpass", fs=FS, output="sos")
    padded = np.concatenate([ir.astype(np.float64), np.zeros(FS // 10)])
    energy = np.cumsum(scipy.signal.sosfilt(sos, padded)[::-1] ** 2)[::-1]
    energy = energy[int(direct_s * FS) : len(ir)]
    level = 10 * np.log10(energy / energy[0] + 1e-30)
    seconds = np.arange(len(level)) / FS
    out = {}
    for name, top, bottom in (("edt", 0, -10), ("t20", -5, -25), ("t30", -5, -35)):
        keep = (level <= top) & (level >= bottom)
        out[name] = -60 / np.polyfit(seconds[keep], level[keep], 1)[0]
    return out


def test_the_decay_curve_of_an_exponential_is_a_line_of_its_slope() -> None:
    seconds = np.arange(FS) / FS
    fall = np.where(seconds >= 0.01, 10 ** (-3 * (seconds - 0.01) / 0.5), 0.0)
    ir = (np.random.default_rng(0).standard_normal(FS) * fall).astype(np.float32)
    time_s, level_db = decay_curves(ir, FS, (1000.0, 2000.0, 4000.0), 0.01)
    assert level_db.shape == (3, len(time_s))
    assert np.diff(time_s[1:]) == pytest.approx(0.00025, rel=0.02)
    assert (np.diff(level_db[:, :-1]) <= 0).all()
    for level in level_db:
        assert level[np.searchsorted(time_s, 0.0)] == pytest.approx(0.0, abs=0.2)
        inside = (time_s > 0) & (level > -50)
        slope = np.polyfit(time_s[inside], level[inside], 1)[0]
        assert -60 / slope == pytest.approx(0.5, rel=0.03)


def test_the_measured_time_is_that_of_the_decay_curve() -> None:
    room, _, source, listener = next(iter(gram_like_rooms(1)))
    response = render(room, "mono", source_m=source, listener_m=listener, length_s=0.5)
    bands = response.measured.band_hz
    time_s, level_db = decay_curves(response.ir[0], FS, bands, response.direct_delay_s)
    for level, t30_s in zip(level_db, response.measured.t30_s, strict=True):
        fitted = (level <= -5) & (level >= -35)
        slope = np.polyfit(time_s[fitted], level[fitted], 1)[0]
        assert -60 / slope == pytest.approx(t30_s, rel=0.02)


def test_silence_has_no_decay_curve() -> None:
    _, level_db = decay_curves(np.zeros(FS // 10, np.float32), FS, (500.0, 1000.0), 0.01)
    assert np.isnan(level_db[:, :-1]).all()


def test_times_agree_with_a_slow_measurement() -> None:
    """All bands; longer than they need be, so that nothing is corrected on either side."""
    errors: dict[str, list[list[float]]] = {"edt": [], "t20": [], "t30": []}
    for room, _, source, listener in gram_like_rooms(8):
        length_s = 1.5 * response_length_s(room, AIR)
        response = render(
            room, "mono", source_m=source, listener_m=listener, length_s=length_s, highpass_hz=30.0
        )
        got = response.measured
        want = [
            slow_times(
                response.ir[0], band / math.sqrt(2), band * math.sqrt(2), response.direct_delay_s
            )
            for band in OCTAVE_BANDS_HZ
        ]
        for name, values in (("edt", got.edt_s), ("t20", got.t20_s), ("t30", got.t30_s)):
            errors[name].append([a / b[name] - 1 for a, b in zip(values, want, strict=True)])
    for name, typical, worst in (("t30", 0.002, 0.01), ("t20", 0.003, 0.01), ("edt", 0.01, 0.05)):
        assert np.nanmedian(np.abs(errors[name])) < typical
        assert np.nanpercentile(np.abs(errors[name]), 95) < worst
    assert np.abs(np.median(errors["t30"], axis=0)).max() < 0.0025  # no band has a bias
    assert not np.isnan([*errors["t30"], *errors["t20"]]).any()
    assert np.isnan(errors["edt"]).mean() < 0.05  # as short as the filter's, at 125 Hz


@pytest.mark.parametrize("sample_rate", [8000, 22050, 32000, 48000])
def test_the_filters_are_butterworths(sample_rate: int) -> None:
    """Up to a band whose upper edge lies beyond Nyquist."""
    bands = tuple(band for band in OCTAVE_BANDS_HZ if band < sample_rate / 2)
    freq_hz = np.geomspace(20, 0.49 * sample_rate, 300)
    z = np.exp(2j * np.pi * freq_hz / sample_rate)
    for band in bands:
        edges = [band / math.sqrt(2), min(band * math.sqrt(2), 0.475 * sample_rate)]
        sos = scipy.signal.butter(3, edges, "bandpass", fs=sample_rate, output="sos")
        rows, gain = sections(band / math.sqrt(2), band * math.sqrt(2), sample_rate)
        got = gain * np.prod(
            [(1 + b / z + c / z**2) / (1 + a / z + d / z**2) for b, c, a, d in rows], 0
        )
        want = scipy.signal.sosfreqz(sos, freq_hz, fs=sample_rate)[1]
        np.testing.assert_allclose(np.abs(got), np.abs(want), atol=1e-9)
    sos = scipy.signal.butter(6, bands[0], "highpass", fs=sample_rate, output="sos")
    rows, gain = sections(bands[0], np.inf, sample_rate)
    got = gain * np.prod(
        [(1 + b / z + c / z**2) / (1 + a / z + d / z**2) for b, c, a, d in rows], 0
    )
    want = scipy.signal.sosfreqz(sos, freq_hz, fs=sample_rate)[1]
    np.testing.assert_allclose(np.abs(got), np.abs(want), atol=1e-9)


@pytest.mark.parametrize("offset", [1, 3, 8])
def test_all_bands_at_once_are_each_band_filtered_and_summed(offset: int) -> None:
    signal = np.random.default_rng(0).standard_normal(1003).astype(np.float32)
    remaining = np.empty((record_count(1003, offset, 8), LANES))
    coefficients, gains = band_filters(FS, OCTAVE_BANDS_HZ)
    remaining_in_bands(signal, coefficients[0], gains[0], offset, 8, remaining)
    records = np.array([0, *range(offset, 1003, 8)])
    for lane, band in enumerate(OCTAVE_BANDS_HZ):
        edges = [band / math.sqrt(2), band * math.sqrt(2)]
        sos = scipy.signal.butter(3, edges, "bandpass", fs=FS, output="sos")
        power = scipy.signal.sosfilt(sos, signal.astype(np.float64)) ** 2
        want = np.cumsum(power[::-1])[::-1][records]
        np.testing.assert_allclose(remaining[:-1, lane], want, rtol=1e-6, atol=1e-9 * want[0])
    assert not remaining[-1].any()


def test_a_response_of_many_bands_is_measured_in_all() -> None:
    """More than fit into one vector."""
    bands = tuple(31.25 * 2.0**n for n in range(9))
    got = measure(exponential(1.0, 1.2), FS, bands, 0.0)
    assert len(got.rt60_s) == 9
    assert got.rt60_s[5:] == pytest.approx([1.0] * 4, rel=0.05)
    assert got.rt60_s[2:] == measure(exponential(1.0, 1.2), FS, bands[2:], 0.0).rt60_s


def exponential(t60_s: float, length_s: float, seed: int = 0) -> np.ndarray:
    """Noise with an exactly exponential envelope, arriving at once."""
    t = np.arange(round(length_s * FS)) / FS
    noise = np.sign(np.random.default_rng(seed).standard_normal(len(t)))
    return (noise * 10 ** (-3 * t / t60_s)).astype(np.float32)


@pytest.mark.parametrize("t60_s", [0.2, 0.5, 1.5])
def test_an_exponential_decay_has_its_t60(t60_s: float) -> None:
    got = measure(exponential(t60_s, 1.2 * t60_s), FS, OCTAVE_BANDS_HZ, 0.0)
    assert got.rt60_broadband_s == pytest.approx(t60_s, rel=0.01)
    assert got.edt_broadband_s == pytest.approx(t60_s, rel=0.05)
    assert got.rt60_s[4:] == pytest.approx([t60_s] * 3, rel=0.04)
    assert got.rt60_s == got.t30_s


@pytest.mark.parametrize("part", [0.7, 0.85, 1.0])
def test_a_cut_response_is_corrected_for_what_is_missing(part: float) -> None:
    whole = exponential(0.5, 0.6)
    cut = measure(whole[: round(part * 0.5 * FS)], FS, OCTAVE_BANDS_HZ, 0.0)
    assert cut.rt60_broadband_s == pytest.approx(0.5, rel=0.02)


def test_a_decay_that_is_not_in_the_response_is_not_measured() -> None:
    """Cut at -30 dB there is a T20 and no T30, cut at -9 dB nothing."""
    whole = exponential(0.5, 0.6)
    to_30_db = measure(whole[: round(0.5 * 0.5 * FS)], FS, OCTAVE_BANDS_HZ, 0.0)
    assert math.isnan(to_30_db.t30_s[5])
    assert to_30_db.rt60_s[5] == to_30_db.t20_s[5] == pytest.approx(0.5, rel=0.1)
    to_9_db = measure(whole[: round(0.15 * 0.5 * FS)], FS, OCTAVE_BANDS_HZ, 0.0)
    assert math.isnan(to_9_db.rt60_broadband_s)
    assert math.isnan(to_9_db.edt_broadband_s)


def pulses(*places: tuple[float, float]) -> np.ndarray:
    ir = np.zeros(FS // 4, dtype=np.float32)
    for seconds, amplitude in places:
        ir[round(seconds * FS)] = amplitude
    return ir


def test_clarity_and_direct_to_reverberant_count_from_the_direct_arrival() -> None:
    ir = pulses((0.01, 1.0), (0.03, 0.5), (0.1, 0.25))
    got = measure(ir, FS, OCTAVE_BANDS_HZ, 0.01)
    assert got.c50_db == pytest.approx(10 * math.log10(1.25 / 0.0625), abs=0.1)
    assert got.drr_db == pytest.approx(10 * math.log10(1.0 / 0.3125), abs=0.1)
    assert got.direct_delay_s == 0.01


def test_a_higher_level_measures_the_same() -> None:
    ir = exponential(0.4, 0.5)
    one, other = (measure(ir * gain, FS, OCTAVE_BANDS_HZ, 0.0) for gain in (1.0, 8.0))
    assert one == other


def test_silence_has_no_acoustics() -> None:
    got = measure(np.zeros(4000, dtype=np.float32), FS, OCTAVE_BANDS_HZ, 0.0)
    assert math.isnan(got.rt60_broadband_s)
    assert math.isnan(got.c50_db)


def test_a_response_carries_what_its_pressure_measures() -> None:
    response = render(UNEVEN, length_s=0.3)
    again = measure(response.ir[0], FS, OCTAVE_BANDS_HZ, response.direct_delay_s)
    for field in dataclasses.fields(again):
        np.testing.assert_equal(getattr(response.measured, field.name), getattr(again, field.name))
    assert response.measured.band_hz == OCTAVE_BANDS_HZ


@pytest.mark.parametrize(("highpass_hz", "length_s"), [(0.0, 0.04), (30.0, 0.04), (30.0, 0.4)])
def test_a_lone_direct_sound_has_no_reverberation(highpass_hz: float, length_s: float) -> None:
    """The filters ring for a while; that is no decay of a room, nor late sound."""
    response = render(room_of(1.0), length_s=length_s, highpass_hz=highpass_hz)
    got = response.measured
    for times in (got.rt60_s, got.t20_s, got.t30_s, got.edt_s):
        assert np.isnan(times).all()
    assert math.isnan(got.rt60_broadband_s)
    assert got.drr_db == math.inf


def test_a_decay_as_short_as_the_filters_own_is_not_measured() -> None:
    """8 / bandwidth: 0.09 s at 125 Hz, 6 ms at 2 kHz."""
    got = measure(exponential(0.03, 0.2), FS, OCTAVE_BANDS_HZ, 0.0)
    assert math.isnan(got.rt60_s[0])
    assert got.rt60_s[4:] == pytest.approx([0.03] * 3, rel=0.2)
