"""From file to samples: mono, high-pass, rate, int16; and what is measured on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus_helpers import tone, write
from hypothesis import given
from hypothesis import strategies as st

from scenesynth.corpus.audio import decode, highpass, mix_down, pcm_digest, prepare, quantise
from scenesynth.corpus.measure import active_region, measure
from scenesynth.errors import ClipError


def _two(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.stack([left, right], axis=1).astype(np.float32)


def test_channels_are_averaged() -> None:
    mix, _ = mix_down(_two(tone(300.0), tone(500.0)))
    np.testing.assert_allclose(mix, (tone(300.0) + tone(500.0)) / 2, atol=1e-6)


def test_opposite_channels_leave_the_strongest_one() -> None:
    mix, _ = mix_down(_two(0.5 * tone(), -0.55 * tone()))
    np.testing.assert_allclose(mix, -0.55 * tone(), atol=1e-6)


def test_opposite_channels_with_an_offset_leave_the_strongest_one() -> None:
    mix, offset = mix_down(_two(0.5 * tone() + 0.3, -0.55 * tone() + 0.3))
    np.testing.assert_allclose(mix, -0.55 * tone(), atol=1e-6)
    assert offset == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(("freq_hz", "gain_db"), [(5.0, -24.1), (20.0, -3.01), (200.0, 0.0)])
def test_highpass_is_a_butterworth_of_order_two_at_20_hz(freq_hz: float, gain_db: float) -> None:
    wave = tone(freq_hz, seconds=4.0).astype(np.float64)
    out = highpass(wave, 16000)[32000:]
    found = 20 * np.log10(np.sqrt(2 * np.mean(out**2)) / 0.5)
    assert found == pytest.approx(gain_db, abs=0.1)


def test_nothing_sounds_before_a_clip_begins() -> None:
    wave = np.zeros(8000)
    wave[4000:] = tone()[:4000]
    assert not highpass(wave, 16000)[:4000].any()


@pytest.mark.parametrize("rate_in", [8000, 11025, 44100, 48000, 96000])
def test_resampling_keeps_time_pitch_and_level(rate_in: int) -> None:
    wave = tone(1000.0, seconds=1.0, rate=rate_in)[:, None]
    out = prepare(wave, rate_in, 32000).samples()
    assert len(out) == pytest.approx(32000, abs=1)
    middle = slice(8000, 24000)
    expected = 0.5 * np.sin(2 * np.pi * 1000.0 * np.arange(32000) / 32000)
    # the high-pass turns 1 kHz by 1.6 degrees
    assert np.abs(out[middle] - expected[middle]).max() < 0.02


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.floats(1e-6, 1e4))
def test_codes_lie_within_half_a_step_of_the_samples(n: int, seed: int, scale: float) -> None:
    wave = (np.random.default_rng(seed).normal(size=n) * scale).astype(np.float32)
    prepared = quantise(wave)
    assert np.abs(prepared.codes.astype(int)).max() == 32767
    step = prepared.gain / 32767
    assert np.abs(prepared.samples() - wave).max() <= 0.5001 * step + 1e-6 * prepared.gain


def test_the_digest_is_of_the_samples_not_of_the_file(tmp_path: Path) -> None:
    codes = (tone() * 32767).astype(np.int16)
    wav = decode(write(tmp_path / "a.wav", codes, subtype="PCM_16"))
    flac = decode(write(tmp_path / "b.flac", codes, subtype="PCM_16"))
    assert pcm_digest(*wav) == pcm_digest(*flac)
    assert pcm_digest(wav[0], 8000) != pcm_digest(*wav)
    assert pcm_digest(wav[0].reshape(-1, 2), 16000) != pcm_digest(*wav)


def test_the_active_region_starts_and_ends_with_the_sound(tmp_path: Path) -> None:
    wave = np.zeros(32000, np.float32)
    wave[8000:16000] = tone(seconds=0.5)
    wave[16000:24000] = 1e-3 * tone(seconds=0.5)  # 60 dB down: not active
    path = write(tmp_path / "a.wav", wave, subtype="FLOAT")
    facts = measure(path)
    assert facts.active_start_s == pytest.approx(0.5, abs=0.0101)
    # where the tone stops, the high-pass rings on for some 20 ms above -40 dB
    assert 1.0 <= facts.active_end_s <= 1.03
    share = 0.5 / (facts.active_end_s - facts.active_start_s)
    assert facts.rms == pytest.approx(0.5 * np.sqrt(share / 2), rel=0.005)
    assert facts.peak == pytest.approx(prepare(*decode(path), 16000).gain, rel=1e-6)


@given(st.integers(1, 5000), st.integers(0, 2**32 - 1))
def test_an_active_region_is_never_empty_and_lies_in_the_clip(n: int, seed: int) -> None:
    power = np.random.default_rng(seed).normal(size=n) ** 8 * 1e-12
    start, stop = active_region(power, 16000)
    assert 0 <= start < stop <= n


def test_offset_and_infrasound_are_told_apart_from_sound(tmp_path: Path) -> None:
    shifted = write(tmp_path / "a.wav", 0.1 * tone() + 0.4, subtype="FLOAT")
    assert measure(shifted).removed_share > 0.98
    assert measure(write(tmp_path / "b.wav", tone())).removed_share < 0.01


@pytest.mark.parametrize(
    ("wave", "reason"),
    [
        (np.zeros(0), "no samples"),
        (tone(seconds=0.01), r"10\.0 ms long, needs 50 ms"),
        (np.where(np.arange(4800) == 7, np.nan, tone()), "1 of 4800 samples are NaN or infinite"),
        (np.where(np.arange(4800) < 3, np.inf, tone()), "3 of 4800 samples are NaN or infinite"),
        (np.zeros(4800), "digital silence"),
        (np.full(4800, 0.25), "a constant"),
        (np.linspace(0.0, 1e-9, 4800), "nothing but offset or infrasound"),
    ],
)
def test_unusable_samples_are_refused_with_a_reason(
    tmp_path: Path, wave: np.ndarray, reason: str
) -> None:
    path = write(tmp_path / "bad.wav", wave.astype(np.float32), subtype="FLOAT")
    with pytest.raises(ClipError, match=reason):
        measure(path)


@pytest.mark.parametrize("content", [b"", b"no audio at all", b"RIFF\0\0\0\0WAVEfmt "])
def test_a_file_that_is_no_audio_is_a_clip_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(ClipError, match="cannot be decoded"):
        decode(path)


def test_a_file_that_is_not_there_is_no_fault_of_the_clip(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"give the command again.*gone\.wav"):
        decode(tmp_path / "gone.wav")
