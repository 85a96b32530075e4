"""Small datasets of plane waves, and runs on them that take a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from store_helpers import FOA, make_info

from scenesynth.scene.geometry import direction
from scenesynth.store.layout import StoredFormat
from scenesynth.store.schema import Scene
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to
from scenesynth.train.config import RunConfig, load_run

RATE = 16_000
SECONDS = 1.0

EARS = StoredFormat(name="binaural", channel_names=("left", "right"), convention="two ears")
CLASSES = ("bell", "dog")

SMALL = {
    "features.sample_rate": RATE,
    "features.n_fft": 512,
    "features.hop": 160,
    "features.n_mels": 16,
    "features.f_max_hz": 8000,
    "features.intensity_bands": "mean",
    "model.direction_channels": [],
    "model.direction_weight": 0,
    "model.frames": 40,
    "model.patch": [16, 4],
    "model.encoder": {"dim": 32, "depth": 1, "heads": 2},
    "model.decoder": {"dim": 16, "depth": 1, "heads": 2, "windows": [4, 0]},
    "steps": 6,
    "batch": 4,
    "data.windows": 2,
    "data.workers": 0,
    "optimiser.lr": 1e-3,
    "optimiser.warmup_steps": 2,
    "log_every": 1,
    "checkpoint.every": 3,
    "validation.every": 0,
    "validation.probe_every": 0,
}
"""Changes that make the preset `tiny-cpu` smaller still."""


def changes(*datasets: Path, **values: Any) -> list[tuple[str, str]]:
    """Values for `load_run`; dots are written as two underscores."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    wanted = SMALL | {"data.datasets": [str(path) for path in datasets]} | named
    return [(name, json.dumps(value)) for name, value in wanted.items()]


def small_run(*datasets: Path, **values: Any) -> RunConfig:
    """Configuration of a run that takes a second."""
    return load_run("tiny-cpu", changes(*datasets, **values))


def plane_wave(index: int, split: str, seconds: float = SECONDS) -> Scene:
    """A burst of noise from a direction of its own, in weak noise from all around."""
    random = np.random.default_rng([index, len(split)])
    length = round(seconds * RATE)
    x, y, z = random.standard_normal(3)
    azimuth, elevation = np.degrees([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))])
    front, left, up = direction(float(azimuth), float(elevation))
    burst = 0.1 * random.standard_normal(length) * (np.arange(length) >= length // 4)
    gains = np.array([1.0, left, up, front])
    audio = gains[:, None] * burst + 1e-3 * random.standard_normal((4, length))
    ears = np.stack([(1 + 0.5 * left) * burst, (1 - 0.5 * left) * burst])
    row = {
        "id": f"{split}-{index:08d}",
        "split": split,
        "attempt": 0,
        "n_samples": length,
        "sample_rate": RATE,
        "spec": "{}",
        "n_events": 1,
        "rt60_broadband_s": 0.2 + 0.01 * (index % 20),
    }
    label = index % 2
    event = {
        "labels": [CLASSES[label]],
        "class_ids": [label],
        "role": "target",
        "dry_onset_s": 0.25,
        "wet_onset_s": 0.25,
        "azimuth_start_deg": float(azimuth),
        "elevation_start_deg": float(elevation),
        "azimuth_end_deg": float(azimuth),
        "elevation_end_deg": float(elevation),
        "distance_start_m": 1.0 + 0.1 * (index % 30),
    }
    return Scene(
        spec_json="{}",
        sample_rate=RATE,
        audio_by_format={
            "foa": audio.astype(np.float32),
            "binaural": ears.astype(np.float32),
        },
        row=row,
        events=(event,),
    )


def make_scenes(root: Path, scenes: int = 16, split: str = "train", **changes: Any) -> Path:
    """A dataset of plane waves, as Ambisonics and for two ears; its folder."""
    values = {
        "split": split,
        "sample_rate": RATE,
        "max_samples": round(SECONDS * RATE),
        "shard_scenes": 8,
        "formats": (FOA, EARS),
        "classes": CLASSES,
    }
    info = make_info(**(values | changes))
    create_or_open(root, info)
    stop = extend_to(root, scenes, info)
    for shard in range(-(-stop // info.shard_scenes)):
        writer = ShardWriter(root, info, shard, stop)
        for index in range(writer.first, writer.stop):
            writer.add(plane_wave(index, split))
        writer.commit(writer.put_files(), {"scenesynth": "test"}, {})
    return root
