"""Cards of scenes made by hand, and what a page holds of them."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import soundfile
from oracles_scene import plane_wave_scene

from scenesynth.errors import CorruptShardError
from scenesynth.preview.again import Again
from scenesynth.preview.card import Card, Shown, card_of
from scenesynth.preview.player import Track
from scenesynth.preview.serve import Previews, serve
from scenesynth.store.schema import EVENTS, Scene

HOSTILE = "<script>alert(1)</script>"


def stored_scene(
    directions: Sequence[tuple[str, float, float]] = (("dog bark", 60.0, 10.0),),
    *,
    index: int = 0,
    row: Mapping[str, object] | None = None,
    clip: str = "",
    **settings: object,
) -> Scene:
    """`plane_wave_scene` with all columns that a dataset has."""
    made = plane_wave_scene(directions, **settings)  # type: ignore[arg-type]
    own = {"clip": clip} if clip else {}
    events = tuple({**dict.fromkeys(EVENTS), **event, **own} for event in made.events)
    named = {"id": f"train-{index:08d}", "index": index}
    return replace(made, row={**made.row, **named, **(row or {})}, events=events)


def with_stems(scene: Scene) -> Scene:
    """The scene with a third of its audio as each wet stem of its first event, and as dry sound."""
    (name, audio), *_ = scene.audio_by_format.items()
    part = np.stack([audio / 3])
    kinds = {"direct": part, "early": part, "late": part, "noise": part * 0}
    events = tuple(
        {**event, "stem": 0 if event["role"] != "noise" else None} for event in scene.events
    )
    stems = {name: kinds}
    return replace(scene, events=events, stems_by_format=stems, dry=part[:, 0])


def card(scene: Scene, **settings: float) -> Card:
    again = Again(language="shell", text=f"scenesynth render --only {scene.id}")
    return card_of(Shown(scene=scene, again=again, known={}), **settings)


def decoded(track: Track) -> tuple[np.ndarray, int]:
    """Samples [channels, samples] and rate of a track."""
    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(track.data)), always_2d=True)
    return audio.T, rate


class Shelf:
    """A thousand times the same scene, under its own numbers; 13 is damaged."""

    name, about, folder = "shelf", "a shelf", None

    def __init__(self) -> None:
        self.made: list[int] = []

    def shown(self, index: int) -> Shown:
        if index == 13:
            raise CorruptShardError("shard 3 is damaged")
        self.made.append(index)
        scene = stored_scene(index=index, seconds=0.5)
        return Shown(scene=scene, again=Again(language="shell", text="again"), known={})

    def from_index(self, index: int, count: int) -> list[int]:
        return list(range(index, min(index + count, 1000)))

    def before_index(self, index: int, count: int) -> list[int]:
        return list(range(max(0, index - count), index))

    def renewed(self) -> Shelf:
        return self


@contextmanager
def served(previews: Previews) -> Iterator[int]:
    """A server in a thread; its port."""
    ready: list[str] = []
    there = threading.Event()

    def on_ready(address: str) -> None:
        ready.append(address)
        there.set()

    # The thread is left to end with the process: only an interrupt ends `serve`.
    threading.Thread(target=serve, args=(previews, 0, on_ready), daemon=True).start()
    assert there.wait(10)
    yield int(ready[0].rstrip("/").rpartition(":")[2])
