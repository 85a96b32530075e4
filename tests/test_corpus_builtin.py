"""The built-in corpus: complete, repeatable, split by group, and true to its names."""

from __future__ import annotations

import errno
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import find_peaks, welch

from scenesynth.corpus import builtin
from scenesynth.corpus.builtin import SOUNDS, Manifest, Planned, SoundClass, load_manifest, plan
from scenesynth.corpus.corpora import Corpora
from scenesynth.corpus.synth import tools, voices
from scenesynth.corpus.synth.tools import SAMPLE_RATE
from scenesynth.seeds import rng


@cache
def _sound(name: str, group: int = 0, take: int = 0) -> NDArray[np.float64]:
    planned = Planned(label=name, group=group, take=take, split="train")
    return builtin.synthesise(planned, 0) / 32767.0


def _envelope(x: NDArray[np.float64], width_s: float = 0.01) -> NDArray[np.float64]:
    width = round(width_s * SAMPLE_RATE)
    return np.sqrt(np.square(x)[: len(x) // width * width].reshape(-1, width).mean(axis=1))


def _onsets(x: NDArray[np.float64], apart_s: float, level: float = 0.25) -> NDArray[np.intp]:
    envelope = np.pad(_envelope(x), 1)
    peaks, _ = find_peaks(envelope, height=level * envelope.max(), distance=apart_s / 0.01)
    return peaks


def _band_share(x: NDArray[np.float64], low_hz: float, high_hz: float) -> float:
    freqs, power = welch(x, SAMPLE_RATE, nperseg=2048)
    return float(power[(freqs >= low_hz) & (freqs < high_hz)].sum() / power.sum())


def _pitch(x: NDArray[np.float64], low_hz: float, high_hz: float) -> float:
    """Pitch of a steady sound from the peak of its autocorrelation."""
    spectrum = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    correlation = np.fft.irfft(spectrum)
    lags = np.arange(round(SAMPLE_RATE / high_hz), round(SAMPLE_RATE / low_hz))
    return float(SAMPLE_RATE / lags[correlation[lags].argmax()])


def test_the_manifest_has_enough_classes_and_every_split_of_each() -> None:
    manifest = load_manifest()
    assert len(manifest.classes["sources"]) >= 14
    assert len(manifest.classes["noise"]) >= 5
    for role in ("sources", "noise"):
        clips = plan(manifest, role)
        for label in manifest.classes[role]:
            splits = {c.group: c.split for c in clips if c.label == label}
            assert sorted(set(splits.values())) == ["test", "train", "valid"]
    assert sorted({*manifest.classes["sources"], *manifest.classes["noise"]}) == sorted(SOUNDS)
    assert all(
        sum(c.label == label for c in plan(manifest, "sources")) >= 12 for label in ("bird", "bell")
    )


@pytest.mark.parametrize("name", sorted(load_manifest().classes["sources"]))
def test_a_source_is_sound_of_half_a_second_to_six(name: str) -> None:
    for group in range(2):
        x = _sound(name, group)
        assert 0.25 <= len(x) / SAMPLE_RATE <= 6.0
        assert np.abs(x).max() == pytest.approx(builtin.PEAK, abs=1e-3)
        assert abs(x.mean()) < 0.01
        assert _band_share(x, 0.0, 30.0) < 0.1


def test_takes_and_groups_differ_and_repeat_exactly() -> None:
    one = _sound("door_knock", 1, 0)
    np.testing.assert_array_equal(one, _sound.__wrapped__("door_knock", 1, 0))
    for other in (_sound("door_knock", 1, 1), _sound("door_knock", 2, 0)):
        n = min(len(one), len(other))
        assert not np.array_equal(one[:n], other[:n])


@pytest.mark.parametrize("vowel", [0, 4, 7])
def test_vowels_have_their_formants(vowel: int) -> None:
    voice = voices.Voice(f0_hz=100.0, tract=1.0, breath=0.02, syllables_per_s=4.0, liveliness=1.0)
    targets = voices.VOWELS_HZ[vowel]
    n = SAMPLE_RATE
    phones = [voices.Phone(duration_s=1.0, formants_hz=targets, voicing=1.0)]
    x = voices.speak(voice, phones, np.full(n, 100.0), rng(0, "", "vowel"))
    assert _pitch(x[4000:-4000], 60.0, 400.0) == pytest.approx(100.0, rel=0.03)
    freqs, power = welch(x, SAMPLE_RATE, nperseg=512)
    # lift the -6 dB per octave of the source, then look for a peak at each of two formants
    peaks, _ = find_peaks(10 * np.log10(power[1:] * freqs[1:] ** 2))
    for target in targets[:2]:
        # within a bin of 62.5 Hz and half a harmonic of 100 Hz
        assert np.abs(freqs[1:][peaks] - target).min() < 62.5 + 50.0


def test_talkers_have_human_pitch_and_syllables() -> None:
    for group in range(4):
        x = _sound("speech", group)
        assert _band_share(x, 80.0, 4000.0) > 0.9
        envelope = _envelope(x)
        spectrum = np.abs(np.fft.rfft(envelope - envelope.mean()))
        freqs = np.fft.rfftfreq(len(envelope), 0.01)
        centre = (freqs * spectrum)[freqs < 20].sum() / spectrum[freqs < 20].sum()
        assert 2.0 < centre < 10.0


def test_steps_knocks_and_ticks_come_in_their_rhythm() -> None:
    steps = np.diff(_onsets(_sound("footsteps", 2), 0.35)) * 0.01
    assert len(steps) >= 3
    assert np.all((steps > 0.4) & (steps < 0.75))
    knocks = np.diff(_onsets(_sound("door_knock"), 0.1)) * 0.01
    assert np.all((knocks > 0.12) & (knocks < 0.4))
    ticks = np.diff(_onsets(_sound("clock"), 0.15)) * 0.01
    assert np.ptp(ticks) <= 0.03


def test_birds_and_dogs_sing_where_they_do() -> None:
    for group in range(4):
        assert _band_share(_sound("bird", group), 1800.0, 9000.0) > 0.95
        assert _band_share(_sound("dog_bark", group), 150.0, 4000.0) > 0.9


def test_a_plucked_string_has_the_pitch_that_it_is_asked_for() -> None:
    from scenesynth.corpus.synth.nature import _hammered, _pluck

    for freq in (82.4, 146.8, 330.0, 440.0):
        pluck = _pluck(rng(0, "", "pluck"), freq, 0.2)
        assert _pitch(pluck[3200:], freq / 1.5, freq * 1.5) == pytest.approx(freq, rel=0.015)
        key = _hammered(rng(0, "", "key"), freq, 3e-4)
        assert _pitch(key[3200:], freq / 1.5, freq * 1.5) == pytest.approx(freq, rel=0.015)


def test_struck_modes_ring_at_their_frequency_for_their_time() -> None:
    x = tools.modes(SAMPLE_RATE, [500.0], [0.8], [1.0])
    t = tools.times(SAMPLE_RATE)
    expected = np.sin(2 * np.pi * 500.0 * t) * 10 ** (-3 * t / 0.8)
    np.testing.assert_allclose(x[:24000], expected[:24000], atol=1e-9)


def test_frames_put_together_are_the_signal() -> None:
    x = rng(0, "", "x").normals(7000)
    flat = np.ones((len(tools.frame_times(len(x))), 513), complex)
    np.testing.assert_allclose(tools.filter_frames(x, flat), x, atol=1e-12)


@pytest.mark.parametrize("name", sorted(load_manifest().classes["noise"]))
def test_a_bed_sounds_from_its_start_to_its_end(name: str) -> None:
    x = _sound(name)
    assert 30.0 <= len(x) / SAMPLE_RATE <= 60.0
    levels = 20 * np.log10(_envelope(x, 1.0)[1:-1])
    assert levels.min() > levels.max() - 40.0
    assert np.abs(x).max() / np.sqrt(np.mean(x**2)) < 10 ** (30 / 20)


def test_rain_is_bright_and_wind_is_dark() -> None:
    assert _band_share(_sound("rain"), 1000.0, 16000.0) > 0.7
    assert _band_share(_sound("wind"), 0.0, 1000.0) > 0.9


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A manifest of two classes, so that a test makes no minutes of sound."""
    few = {"door_knock": SoundClass(groups=3, takes=2, caption="knock")}
    manifest = Manifest(
        version=1,
        seed=0,
        licence="CC0-1.0",
        attribution="scenesynth",
        classes={"sources": few, "noise": {"clock": SoundClass(groups=3, takes=1, caption="t")}},
        digest="tiny",
    )
    monkeypatch.setattr(builtin, "load_manifest", lambda: manifest)
    return manifest


def test_nothing_given_opens_the_built_in_clips(
    tiny: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "one"))
    corpora = Corpora.open()
    assert {name: len(corpus.clips) for name, corpus in corpora.items()} == {
        "sources": 6,
        "noise": 3,
    }
    clip = corpora["sources"].get("door_knock/door_knock-2-1")
    assert (clip.split, clip.group, clip.licence) == ("test", "door_knock-2", "CC0-1.0")
    shares = {"train": 1.0}
    assert len(corpora["sources"].pool("test", shares)) == 2
    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "two"))
    again = Corpora.open()
    assert again["sources"].digest == corpora["sources"].digest
    assert not [p for p in (tmp_path / "two" / "builtin" / "tiny").iterdir() if p.name[0] == "."]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_cannot_be_written_is_named(
    tiny: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from scenesynth.errors import ConfigError

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("SCENESYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(builtin, "_make", refuse)
    with pytest.raises(ConfigError, match=r"cannot be written .* SCENESYNTH_CACHE"):
        builtin.builtin_folder("noise")
