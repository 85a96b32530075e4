"""Pictures and wavs of scenes, and the directions that they estimate from the audio."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
import soundfile
from disk_helpers import tiny_files
from hypothesis import given
from hypothesis import strategies as st
from oracles_scene import RATE, plane_wave_scene

from scenesynth.localization.directions import estimate_directions, to_angles, to_vectors
from scenesynth.plots.text import drawable, fitting, number, one_line
from scenesynth.preview.export import export_gain, write_wav
from scenesynth.preview.figure import DPI, WIDTH
from scenesynth.preview.files import write_preview
from scenesynth.preview.view import view_of
from scenesynth.store.schema import Scene

ANGLES = [(0.0, 0.0), (90.0, 0.0), (-90.0, 20.0), (180.0, -35.0), (37.5, 61.0), (-142.0, -4.0)]


@pytest.mark.parametrize(("azimuth", "elevation"), ANGLES)
def test_a_plane_wave_is_estimated_where_it_comes_from(azimuth: float, elevation: float) -> None:
    scene = plane_wave_scene([("bell", azimuth, elevation)], noise=[], seconds=1.0)
    estimate = view_of(scene).soundings[0].estimate
    assert estimate is not None
    assert estimate.error_deg < 0.1
    assert estimate.confidence > 0.99
    assert estimate.doubt == ""


def test_onsets_beat_a_diffuse_tail() -> None:
    scene = plane_wave_scene([("bell", 70.0, 10.0)], noise=[], tail_gain=0.5)
    estimate = view_of(scene).soundings[0].estimate
    assert estimate is not None
    assert estimate.error_deg < 3


def test_a_diffuse_field_gives_little_confidence() -> None:
    bursts = np.exp(-20 * (np.arange(2 * RATE) / RATE % 0.1))
    noise = np.random.default_rng(1).standard_normal((4, 2 * RATE)) * bursts
    diffuse = (noise / np.sqrt([[1], [3], [3], [3]])).astype(np.float32)
    wave = (noise[:1] * np.array([[1], [0], [0], [1]])).astype(np.float32)
    assert np.median(estimate_directions(diffuse, RATE, 0.1).confidence) < 0.5
    assert np.median(estimate_directions(wave, RATE, 0.1).confidence) > 0.99


def test_events_one_after_another_are_told_apart() -> None:
    directions = [("bell", 60.0, 10.0), ("dog", -30.0, -20.0), ("bird", 175.0, 40.0)]
    view = view_of(plane_wave_scene(directions, seconds=3.0))
    for sounding in view.soundings[:3]:
        assert sounding.estimate is not None
        assert sounding.estimate.error_deg < 3
    assert view.soundings[3].estimate is None, "noise has no direct path to look for"


def test_a_wrong_label_shows_as_an_error() -> None:
    scene = plane_wave_scene([("bell", 60.0, 0.0)], noise=[])
    mirrored = {**scene.events[0], "azimuth_start_deg": -60.0, "azimuth_end_deg": -60.0}
    estimate = view_of(replace(scene, events=(mirrored,))).soundings[0].estimate
    assert estimate is not None
    assert estimate.error_deg == pytest.approx(120, abs=1)


def test_reasons_for_doubt_are_named() -> None:
    scene = plane_wave_scene([("bell", 60.0, 0.0), ("dog", -60.0, 0.0)], noise=[])
    first, second = scene.events

    def doubts(*events: object) -> list[str]:
        view = view_of(replace(scene, events=events))  # type: ignore[arg-type]
        return [s.estimate.doubt for s in view.soundings if s.estimate is not None]

    assert doubts({**first, "local_snr_db": 2.0}) == ["noise is strong (local SNR 2 dB)"]
    assert doubts({**first, "drr_db": -9.0}) == ["reverberation is strong (DRR \N{MINUS SIGN}9 dB)"]
    overlapping = {**second, "dry_onset_s": 0.0, "wet_onset_s": 0.0, "frame_start": 0}
    assert doubts(first, overlapping)[0] == "others sound along; from its first 0.2 s"
    assert doubts(first, second) == ["", ""]


def test_silence_has_no_direction() -> None:
    silent = estimate_directions(np.zeros((4, RATE), np.float32), RATE, 0.1)
    assert silent.weight.shape == (10,)
    assert not silent.weight.any()
    assert not silent.confidence.any()


def test_directions_need_four_channels() -> None:
    with pytest.raises(ValueError, match=r"foa has shape \(2, 100\); must be \[4, samples\]"):
        estimate_directions(np.zeros((2, 100), np.float32), RATE, 0.1)


@given(st.floats(-179.9, 179.9), st.floats(-89.9, 89.9))
def test_angles_and_vectors_round_trip(azimuth: float, elevation: float) -> None:
    back = to_angles(to_vectors(np.array(azimuth), np.array(elevation)))
    assert np.allclose(back, (azimuth, elevation), atol=1e-9)


def picture_of(preview_path: Path) -> np.ndarray:
    return np.asarray(mpl.image.imread(preview_path))


def test_a_preview_is_a_picture_and_a_wav_per_format(tmp_path: Path) -> None:
    scene = plane_wave_scene(formats=("foa", "mono"))
    preview = write_preview(scene, tmp_path / "new" / "folder")
    image = picture_of(preview.picture)
    assert image.shape[1] == round(WIDTH * DPI)
    assert 1 < image.shape[1] / image.shape[0] < 1.6
    assert image[..., :3].std() > 0.1
    assert [wav.name for wav in preview.wavs] == [
        "train-00000017.foa.wav",
        "train-00000017.mono.wav",
    ]
    for wav, name in zip(preview.wavs, ("foa", "mono"), strict=True):
        audio, rate = soundfile.read(wav, always_2d=True)
        assert rate == RATE
        assert np.abs(audio.T - scene.audio_by_format[name]).max() < 2**-22


def test_a_picture_differs_where_the_scene_does(tmp_path: Path) -> None:
    left = write_preview(plane_wave_scene([("bell", 60.0, 0.0)]), tmp_path / "left")
    right = write_preview(plane_wave_scene([("bell", -60.0, 0.0)]), tmp_path / "right")
    assert not np.array_equal(picture_of(left.picture), picture_of(right.picture))


def test_lines_state_label_estimate_and_error(tmp_path: Path) -> None:
    (line,) = write_preview(plane_wave_scene(noise=[]), tmp_path).lines
    assert line == (
        "dog bark (target): label az +60° el +10°, from the audio az +60° el +10°, error 0.0°"
    )


def test_mono_alone_says_that_it_holds_no_direction(tmp_path: Path) -> None:
    preview = write_preview(plane_wave_scene(formats=("mono",)), tmp_path)
    assert preview.lines == (
        "dog bark (target): label az +60° el +10°, no estimate: mono holds no direction",
    )
    assert picture_of(preview.picture).std() > 0.1


def loud(scene: Scene) -> Scene:
    audio = {name: 100 * samples for name, samples in scene.audio_by_format.items()}
    return replace(scene, audio_by_format=audio)


def test_a_peak_above_full_scale_is_scaled_in_all_channels_alike(tmp_path: Path) -> None:
    scene = loud(plane_wave_scene())
    preview = write_preview(scene, tmp_path)
    audio, _ = soundfile.read(preview.wavs[0], always_2d=True)
    gain = 0.999 / np.abs(scene.audio).max()
    assert np.abs(audio.T - scene.audio * gain).max() < 2**-22
    assert preview.lines[-1] == (f"wav (foa): peak above full scale, all channels times {gain:.3f}")


def test_a_wav_that_does_not_fit_leaves_nothing_and_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "scene.wav"
    with tiny_files(tmp_path), pytest.raises(OSError, match=r"too large: '.*scene\.wav'"):
        write_wav(path, np.zeros((4, 48_000), np.float32), 24_000)
    assert list(tmp_path.iterdir()) == []


def test_a_peak_within_full_scale_is_left_alone() -> None:
    assert export_gain(np.array([[0.5, -1.0]], np.float32)) == 1.0
    assert export_gain(np.array([[0.5, -2.0]], np.float32)) == pytest.approx(0.4995)
    assert export_gain(np.zeros((1, 0), np.float32)) == 1.0


ODD = [
    "犬",
    "\U0001f436 dog",
    "$x_1$",
    "a\nb\tc",
    "",
    "x" * 200,
    "-3",
    "\u202eabc",
    "\x00",
    "%d{}\\",
]


def test_odd_labels_are_drawn_without_a_missing_glyph(tmp_path: Path) -> None:
    directions = [(label, 30.0 * n, 0.0) for n, label in enumerate(ODD)]
    preview = write_preview(plane_wave_scene(directions), tmp_path)
    assert picture_of(preview.picture).std() > 0.1


def test_characters_of_control_are_no_part_of_a_text() -> None:
    assert one_line("a\x00\n b\u202ec 犬") == "a b c 犬"


def test_drawable_keeps_what_the_font_has() -> None:
    assert drawable("Türklingel, двер") == "Türklingel, двер"
    assert drawable("犬") == r"\u72ac"
    assert drawable("a\n b\x00") == "a b"
    assert drawable("x" * 40, 10) == "x" * 9 + "…"


def test_a_text_is_cut_to_the_width_that_there_is() -> None:
    assert fitting("dog bark", 1.1, 8) == "dog bark"
    wide, narrow = fitting("m" * 40, 1.1, 8), fitting("i" * 40, 1.1, 8)
    assert wide.endswith("…")
    assert len(wide) < 12 < len(narrow)


def test_numbers_carry_sign_and_unit() -> None:
    assert number(-3.14159, "dB", 2) == "\N{MINUS SIGN}3.14 dB"
    assert number(3.0, "°", 0, sign=True) == "+3°"
    assert number(-0.3, "°", 0, sign=True) == number(0.3, "°", 0, sign=True) == "0°"
    assert number(-0.3, "°", 1, sign=True) == "\N{MINUS SIGN}0.3°"
    assert number(float("inf"), "dB") == "\N{INFINITY} dB"
    assert number(None) == number(float("nan")) == "\N{EN DASH}"


def test_bands_above_the_sample_rate_have_no_measured_time(tmp_path: Path) -> None:
    scene = plane_wave_scene()
    fewer = {**scene.row, "rt60_measured_s": scene.row["rt60_measured_s"][:3]}
    assert picture_of(write_preview(replace(scene, row=fewer), tmp_path).picture).std() > 0.1


def test_a_crowded_scene_is_drawn(tmp_path: Path) -> None:
    directions = [(f"voice {n}", 17.0 * n, 0.0) for n in range(14)]
    preview = write_preview(plane_wave_scene(directions, seconds=3.0), tmp_path)
    assert len(preview.lines) == 14


def test_drawing_leaves_the_style_of_others_alone(tmp_path: Path) -> None:
    with mpl.rc_context({"font.size": 23}):
        write_preview(plane_wave_scene(), tmp_path)
        assert mpl.rcParams["font.size"] == 23
