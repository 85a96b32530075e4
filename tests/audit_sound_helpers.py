"""Datasets whose audio or labels were changed, and committed anew so that all hashes are right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.audit.records import Check
from scenesynth.audit.sound import listen, sound_checks
from scenesynth.corpus.corpora import Corpora
from scenesynth.render.renderer import render_scene
from scenesynth.scene.spec import SceneSpec
from scenesynth.store.commit import read_commit
from scenesynth.store.layout import commit_key
from scenesynth.store.reader import open_dataset
from scenesynth.store.schema import Scene
from scenesynth.store.writer import ShardWriter

Audio = NDArray[np.float32]
Change = Callable[[Scene], Scene]


def rewritten(
    source: Path, root: Path, change: Change, shards: Sequence[int] | None = None
) -> Path:
    """A copy of a dataset in `root` whose scenes of some shards are changed."""
    shutil.copytree(source, root)
    dataset = open_dataset(source)
    scenes: dict[int, list[Scene]] = {}
    for number, scene in enumerate(dataset):
        if dataset.info.stems is not None:
            stems = dataset.stems(number)
            scene = replace(scene, stems_by_format=stems, dry=dataset.dry(number))
        scenes.setdefault(scene.row["index"] // dataset.info.shard_scenes, []).append(scene)
    for shard in scenes if shards is None else shards:
        old = read_commit(root, shard)
        for key in [*old.files, commit_key(shard)]:
            (root / key).unlink()
        writer = ShardWriter(root, dataset.info, shard, dataset.n_promised)
        for scene in scenes[shard]:
            writer.add(change(scene))
        writer.commit(writer.put_files(), old.versions, {})
    return root


def heard_as(change: Callable[[Audio], Audio], name: str = "foa") -> Change:
    """Changes the audio of a format of every scene."""

    def changed(scene: Scene) -> Scene:
        audio = np.ascontiguousarray(change(scene.audio_by_format[name].copy()), np.float32)
        return replace(scene, audio_by_format={**scene.audio_by_format, name: audio})

    return changed


def only(index: int, change: Change) -> Change:
    """The change, of one scene alone."""
    return lambda scene: change(scene) if scene.row["index"] == index else scene


def with_stem(kind: str, change: Callable[[Audio], Audio], name: str = "foa") -> Change:
    """Changes one kind of stem of every scene."""

    def changed(scene: Scene) -> Scene:
        stems = {**scene.stems_by_format[name]}
        stems[kind] = np.asarray(change(stems[kind]), np.float32)
        return replace(scene, stems_by_format={**scene.stems_by_format, name: stems})

    return changed


def labelled_as(turn: Callable[[float], float]) -> Change:
    """Changes the azimuths of all labels."""

    def moved(place: Mapping[str, float]) -> dict[str, float]:
        radius = float(np.hypot(place["x"], place["y"]))
        azimuth = np.radians(turn(float(np.degrees(np.arctan2(place["y"], place["x"])))))
        return {**place, "x": radius * float(np.cos(azimuth)), "y": radius * float(np.sin(azimuth))}

    def changed(scene: Scene) -> Scene:
        events = [dict(event) for event in scene.events]
        for event in events:
            for column in ("azimuth_start_deg", "azimuth_end_deg"):
                if event[column] is not None:
                    event[column] = turn(event[column])
            event["heard"] = [moved(place) for place in event["heard"] or ()]
        return replace(scene, events=tuple(events))

    return changed


def rendered_as(
    change: Callable[[dict[str, Any]], None], corpora: Corpora, name: str = "foa"
) -> Change:
    """Audio of a changed spec in the place of a scene's own, whose rows stay."""

    def changed(scene: Scene) -> Scene:
        plain = json.loads(scene.spec_json)
        change(plain)
        other = render_scene(SceneSpec.from_json(json.dumps(plain)), corpora, name)
        return replace(scene, audio_by_format={**scene.audio_by_format, name: other.audio})

    return changed


def slower(ratio: float) -> Callable[[dict[str, Any]], None]:
    """A spec whose walls absorb less, so that its reverberation lasts `ratio` times as long."""

    def change(plain: dict[str, Any]) -> None:
        walls = plain["room"]["absorption"]
        # After Eyring T60 goes as 1 / -ln(1 - absorption).
        plain["room"]["absorption"] = [
            [round(1 - (1 - share) ** (1 / ratio), 6) for share in wall] for wall in walls
        ]

    return change


def louder_noise(level_db: float) -> Callable[[dict[str, Any]], None]:
    """A spec whose noise is louder."""

    def change(plain: dict[str, Any]) -> None:
        plain["snr_db"] -= level_db

    return change


def checks_of(root: Path, corpora: Corpora | None = None, **options: Any) -> dict[str, Check]:
    """The checks of a dataset by name."""
    dataset = open_dataset(root)
    heard = listen(dataset, range(len(dataset)), corpora=corpora, **options)
    found = sound_checks(dataset, dataset.scenes, dataset.events, heard)
    return {check.name: check for check in found}


def failed(checks: Mapping[str, Check]) -> list[str]:
    """Names of the checks that failed."""
    return [name for name, check in checks.items() if check.status == "failed"]
