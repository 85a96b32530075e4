"""Which window of a scene probes look at, and what its labels are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_helpers import make_info
from training_helpers import RATE, make_scenes, plane_wave

from scenesynth.evaluate.scenes import Window, choose_windows, read_windows
from scenesynth.scene.geometry import direction
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.schema import Scene
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to

SAMPLES = RATE // 2


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(make_scenes(tmp_path_factory.mktemp("data") / "d", 16))


def one_scene(root: Path, *events: dict[str, Any], **row: Any) -> Window:
    """The window of a scene with the first event of `plane_wave`, changed, and further ones."""
    scene = plane_wave(0, "train")
    first = {**scene.events[0], **events[0]} if events else scene.events[0]
    rest = tuple({**scene.events[0], **event} for event in events[1:])
    return window_of(root, replace(scene, events=(first, *rest), row={**scene.row, **row}))


def window_of(root: Path, scene: Scene) -> Window:
    info = make_info(sample_rate=RATE, max_samples=RATE, shard_scenes=1)
    create_or_open(root, info)
    writer = ShardWriter(root, info, 0, extend_to(root, 1, info))
    writer.add(scene)
    writer.commit(writer.put_files(), {}, {})
    (window,) = choose_windows([open_dataset(root)], "train", 9, SAMPLES)
    return window


def test_a_window_begins_with_the_wet_onset_of_the_first_target(tmp_path: Path) -> None:
    noise = {"role": "noise", "wet_onset_s": 0.1, "azimuth_start_deg": 5.0}
    first = {
        "role": "target",
        "wet_onset_s": 0.2,
        "azimuth_start_deg": 60.0,
        "azimuth_end_deg": 60.0,
    }
    second = {"role": "target", "wet_onset_s": 0.05, "azimuth_start_deg": -9.0}
    still = {"elevation_start_deg": 10.0, "elevation_end_deg": 10.0}
    window = one_scene(tmp_path, noise | still, first | still, second | still)
    assert window.start == round(0.2 * RATE)
    assert window.direction == pytest.approx(direction(60.0, 10.0))


def test_a_window_ends_with_the_scene_at_the_latest(tmp_path: Path) -> None:
    assert one_scene(tmp_path, {"wet_onset_s": 0.8}).start == RATE - SAMPLES


@pytest.mark.parametrize(
    "event",
    [
        {"role": "noise"},
        {"azimuth_start_deg": None},
        {"wet_onset_s": None},
        {
            "azimuth_start_deg": 10.0,
            "azimuth_end_deg": 20.0,
            "elevation_start_deg": 0.0,
            "elevation_end_deg": 0.0,
        },
    ],
)
def test_what_has_no_direction_of_its_own_has_no_labels(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    window = one_scene(tmp_path, event)
    assert (window.start, window.direction) == (0, None)


def test_what_hardly_moves_stands(tmp_path: Path) -> None:
    event = {
        "azimuth_start_deg": 178.0,
        "azimuth_end_deg": -178.0,
        "elevation_start_deg": 0.0,
        "elevation_end_deg": 0.0,
    }
    assert one_scene(tmp_path, event).direction is not None


def test_a_scene_without_reverberation_has_no_t60(tmp_path: Path) -> None:
    assert np.isnan(one_scene(tmp_path, rt60_broadband_s=None).t60_s)


def test_windows_are_of_the_split_and_not_more_than_asked(scenes: Dataset) -> None:
    assert choose_windows([scenes], "valid", 99, SAMPLES) == []
    assert len(choose_windows([scenes], "train", 99, SAMPLES)) == 16
    some = choose_windows([scenes], "train", 5, SAMPLES)
    assert len(some) == 5
    assert some == choose_windows([scenes], "train", 5, SAMPLES)


def test_waveforms_are_those_of_the_windows(scenes: Dataset) -> None:
    windows = choose_windows([scenes], "train", 5, SAMPLES)
    batches = list(read_windows(windows, "foa", SAMPLES, batch=2))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    for window, waveform in zip(windows, np.concatenate(batches), strict=True):
        audio = scenes[window.number].audio_by_format["foa"]
        assert np.array_equal(waveform, audio[:, window.start : window.start + SAMPLES])


def test_silence_follows_a_scene_that_is_too_short(scenes: Dataset) -> None:
    windows = choose_windows([scenes], "train", 1, 2 * RATE)
    (batch,) = read_windows(windows, "foa", 2 * RATE, batch=4)
    assert batch.shape == (1, 4, 2 * RATE)
    assert not batch[:, :, RATE:].any()
    assert batch[:, :, :RATE].any()
