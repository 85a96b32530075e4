"""Corpora without audio, and small recipes, for the tests of scenes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from scenesynth.corpus.clips import Clip
from scenesynth.corpus.pools import Pool, split_names
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.recipe_records import Recipe

LABELS = ("bell", "dog", "door", "piano", "rain", "speech")


def make_clip(clip_id: str, label: str = "", seconds: float = 2.0, **fields: Any) -> Clip:
    """A clip of numbers; its samples exist nowhere."""
    digest = hashlib.sha256(clip_id.encode()).hexdigest()[:32]
    rate = fields.pop("sample_rate", 32000)
    known: dict[str, Any] = {
        "id": clip_id,
        "path": f"{clip_id}.wav",
        "labels": (label,) if label else (),
        "split": None,
        "group": clip_id,
        "fold": "",
        "licence": "CC0-1.0",
        "attribution": "",
        "url": "",
        "caption": "",
        "sample_rate": rate,
        "channels": 1,
        "n_frames": round(seconds * rate),
        "digest": digest,
        "file_digest": digest[::-1],
        "peak": 0.9,
        "rms": 0.1,
        "active_start_s": 0.0,
        "active_end_s": seconds,
    }
    return Clip(**(known | fields))


class FakeCorpus:
    """Clips and their pools, as `scenesynth.corpus.corpora.Corpus` has them."""

    def __init__(self, clips: Iterable[Clip]) -> None:
        self.clips = tuple(sorted(clips, key=lambda clip: clip.id))
        self._pools: dict[Any, Pool] = {}

    def pool(self, split: str, shares: Mapping[str, float]) -> Pool:
        key = (split, tuple(shares.items()))
        if key not in self._pools:
            pairs = zip(self.clips, split_names(self.clips, shares), strict=True)
            self._pools[key] = Pool([clip for clip, name in pairs if name == split])
        return self._pools[key]

    def without(self, clip_id: str) -> FakeCorpus:
        return FakeCorpus(clip for clip in self.clips if clip.id != clip_id)


def fake_corpora() -> dict[str, FakeCorpus]:
    """Sources of 0.5 to 12 s in 16 groups a label, and noise of 8 to 40 s."""
    sources = [
        make_clip(f"{label}/{n}", label, 0.5 + (n * 7 % 24) / 2, group=f"{label}-{n % 16}")
        for label in LABELS
        for n in range(48)
    ]
    noise = [make_clip(f"bed/{n}", "hum", 8.0 + n) for n in range(32)]
    return {"sources": FakeCorpus(sources), "noise": FakeCorpus(noise)}


MINIMAL: dict[str, Any] = {
    "description": "a small recipe",
    "sample_rate": 16000,
    "duration_s": 4,
    "splits": {"train": {"share": 3}, "test": {"share": 1}},
    "rooms": [
        {
            "name": "box",
            "length_m": 6,
            "width_m": 5,
            "height_m": 3,
            "surfaces": {
                "walls": "plasterboard",
                "floor": "thin_carpet",
                "ceiling": "ceiling_tile",
            },
        }
    ],
    "targets": {},
}


def write_recipe(folder: Path, changes: Mapping[str, Any], name: str = "small") -> Path:
    """A recipe file of `MINIMAL` with some of its top-level keys replaced."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}, sort_keys=False), encoding="utf-8")
    return path


def small_recipe(folder: Path, **changes: Any) -> Recipe:
    """The recipe of `write_recipe`."""
    return load_recipe(write_recipe(folder, changes))
