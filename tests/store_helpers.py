"""Small datasets of synthetic scenes, without a renderer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.store.commit import Commit
from scenesynth.store.layout import DatasetInfo, StoredFormat
from scenesynth.store.places import Root
from scenesynth.store.schema import Scene
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to

RATE = 8000
FOA = StoredFormat(name="foa", channel_names=("W", "Y", "Z", "X"), convention="AmbiX: ACN, SN3D")
MONO = StoredFormat(name="mono", channel_names=("W",), convention="omnidirectional pressure")


def make_info(**changes: Any) -> DatasetInfo:
    """Identity of a dataset of 2.5 s scenes in shards of four."""
    values: dict[str, Any] = {
        "recipe": {"name": "test", "room": {"t60_s": [0.2, 0.5]}},
        "seed": 0,
        "split": "train",
        "formats": (FOA,),
        "sample_rate": RATE,
        "max_samples": RATE * 5 // 2,
        "shard_scenes": 4,
        "render": "1.1",
        "packages": {"numpy": "1"},
        "cpu": "any",
        "corpora": {"sources": {"digest": "d", "licences": ["CC0"]}},
        "classes": ("bell", "dog"),
    }
    return DatasetInfo(**{**values, **changes})


def make_scene(index: int, info: DatasetInfo, level: float = 0.1, n_samples: int = 0) -> Scene:
    """Noise that depends on the index only, with one event."""
    length = n_samples or info.max_samples
    random = np.random.default_rng(index)
    audio = {
        fmt.name: (level * random.standard_normal((fmt.n_channels, length))).astype(np.float32)
        for fmt in info.formats
    }
    name = f"{info.split}-{index:08d}"
    row = {"id": name, "split": info.split, "attempt": 0, "n_samples": length, "spec": "{}"}
    row |= {"sample_rate": info.sample_rate, "n_events": 1, "room": f"room-{index % 3}"}
    event = {"labels": ["dog"], "class_ids": [1], "role": "target", "dry_onset_s": 0.25}
    return Scene(
        spec_json="{}",
        sample_rate=info.sample_rate,
        audio_by_format=audio,
        row=row,
        events=(event,),
    )


def write_shard(root: Root, info: DatasetInfo, shard: int, stop: int, **kwargs: Any) -> Commit:
    """Publish one shard of `make_scene` scenes."""
    writer = ShardWriter(root, info, shard, stop)
    for index in range(writer.first, writer.stop):
        writer.add(make_scene(index, info, **kwargs))
    return writer.commit(writer.put_files(), {"scenesynth": "test"}, {})


def make_dataset(root: Root, scenes: int = 8, **changes: Any) -> DatasetInfo:
    """A complete dataset in `root`."""
    info = make_info(**changes)
    create_or_open(root, info)
    stop = extend_to(root, scenes, info)
    for shard in range(-(-stop // info.shard_scenes)):
        write_shard(root, info, shard, stop)
    return info


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Bytes of all files but commit records and logs, which differ from run to run.

    What a crash leaves under a temporary name is no part of a dataset either.
    """
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and path.parent.name not in ("commits", "logs")
        and not path.name.startswith(".tmp-")
    }


def snr_db(signal: NDArray[np.float32], approximation: NDArray[np.float32]) -> float:
    """Energy of a signal over the energy of what an approximation misses, in dB."""
    error = signal.astype(np.float64) - approximation
    energy = float(np.sum(signal.astype(np.float64) ** 2))
    return 10.0 * float(np.log10(energy / max(float(np.sum(error**2)), 1e-300)))
