"""What one task does: the scenes of one shard, from index to committed files.

`render_shard` is a plain function of a small, picklable job. It runs in this process or in a Ray
worker, any number of times and even twice at once: the store makes the first result hold. Only a
`ContentError` changes what is rendered; every other failure leaves the shard to be tried again.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, ContentError, StoreError
from scenesynth.pipeline.environment import package_versions
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.given import Given
from scenesynth.render.memory import keep_freed_memory
from scenesynth.render.renderer import render_scene
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import ATTEMPTS, sample_scene
from scenesynth.scene.spec import RENDER_VERSION
from scenesynth.store.commit import is_committed, read_commit
from scenesynth.store.layout import DatasetInfo
from scenesynth.store.places import Address
from scenesynth.store.schema import SCHEMA_VERSION, Scene
from scenesynth.store.writer import ShardWriter
from scenesynth.timing import collect, stage

_LOGGED_REDRAWS: Final = 16


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard to render.

    Attributes:
        root: folder or URI of the dataset.
        corpora: descriptor from which a process opens the corpora.
        stop: scenes that the dataset promises.
        split: the split of the shard's scenes.
        given: where their specs come from, if they are not drawn.
    """

    root: Address
    info: DatasetInfo
    recipe: Recipe
    corpora: Mapping[str, Any]
    shard: int
    stop: int
    split: str
    given: Given | None = None


SceneMaker = Callable[[ShardJob, int, int], Scene]
"""Makes scene `index` at an `attempt`; raises ContentError if that draw cannot be used."""


class SceneError(RuntimeError):
    """A scene that cannot be rendered, and will not be by trying again.

    Attributes:
        scene_id, seed, index, attempt: which scene, enough to sample it again.
    """

    def __init__(self, scene_id: str, seed: int, index: int, attempt: int, why: str) -> None:
        super().__init__(scene_id, seed, index, attempt, why)
        self.scene_id = scene_id
        self.seed = seed
        self.index = index
        self.attempt = attempt
        self.why = why

    def __str__(self) -> str:
        return (
            f"scene {self.scene_id} (seed {self.seed}, index {self.index}, attempt "
            f"{self.attempt}): {self.why}"
        )


def make_scene(job: ShardJob, index: int, attempt: int) -> Scene:
    """Sample and render scene `index` of a job; or copy it, where its spec is given.

    Raises:
        ContentError: this draw cannot be used.
    """
    if job.given is not None:
        return job.given.scene(job.root, job.info, job.stop, index, lambda: corpora_of(job))
    corpora = corpora_of(job)
    with stage("sample"):
        spec = sample_scene(
            job.recipe,
            corpora,
            seed=job.info.seed,
            index=index,
            split=job.split,
            attempt=attempt,
        )
    with stage("render"):
        formats = [format_of(stored) for stored in job.info.formats]
        return render_scene(spec, corpora, formats=formats, stems=job.info.stem_kinds)


def render_shard(
    job: ShardJob,
    maker: SceneMaker = make_scene,
    on_scene: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Render and commit a shard; its commit record as plain data, a few kilobytes.

    A shard that is committed already is left as it is.

    Args:
        job: the shard.
        maker: makes one scene.
        on_scene: called after each scene.

    Raises:
        SceneError: a scene that cannot be made.
        StoreError: the output cannot be written.
        OSError: a failure of the file system that may pass.
    """
    if is_committed(job.root, job.shard):
        return read_commit(job.root, job.shard).to_dict()
    keep_freed_memory()
    began = time.perf_counter()
    writer = ShardWriter(job.root, job.info, job.shard, job.stop)
    redraws: list[str] = []
    with collect() as seconds:
        for index in range(writer.first, writer.stop):
            _add_scene(writer, job, index, maker, redraws)
            if on_scene is not None:
                on_scene()
        with stage("write"):
            files = writer.put_files()
    log = {
        "render_s": round(time.perf_counter() - began, 3),
        "stages_s": {name: round(value, 4) for name, value in seconds.items()},
        "redraws": len(redraws),
        "redraw_reasons": redraws[:_LOGGED_REDRAWS],
        **({} if job.given is None else {"copied": writer.copied}),
        "host": platform.node(),
        "pid": os.getpid(),
    }
    return writer.commit(files, _versions(), log).to_dict()


def _add_scene(
    writer: ShardWriter, job: ShardJob, index: int, maker: SceneMaker, redraws: list[str]
) -> None:
    """Put scene `index` into the shard: rendered, drawn again, or skipped as the job says."""
    for attempt in range(ATTEMPTS):
        try:
            scene = _guarded(maker, job, index, attempt)
        except ContentError as error:
            if job.info.on_error == "stop":
                raise _scene_error(job, index, attempt, error) from error
            redraws.append(f"{index}: {error}")
            if job.info.on_error == "skip":
                _skip(writer, job, index, attempt)
                return
            continue
        with stage("encode"):
            writer.add(_labelled(scene, job, attempt))
        return
    raise _scene_error(job, index, ATTEMPTS - 1, f"no draw of {ATTEMPTS} worked; {redraws[-1]}")


def _guarded(maker: SceneMaker, job: ShardJob, index: int, attempt: int) -> Scene:
    """A scene; a defect in making it is named after the scene."""
    try:
        return maker(job, index, attempt)
    except (ContentError, ConfigError, StoreError, OSError, MemoryError):
        raise
    except Exception as error:
        raise _scene_error(job, index, attempt, f"{type(error).__name__}: {error}") from error


def _scene_error(job: ShardJob, index: int, attempt: int, why: object) -> SceneError:
    return SceneError(_scene_id(job, index), job.info.seed, index, attempt, str(why))


def _scene_id(job: ShardJob, index: int) -> str:
    if job.given is not None:
        return str(job.given.row(job.root, job.stop, index)["id"])
    return f"{job.split}-{index:08d}"


def _labelled(scene: Scene, job: ShardJob, attempt: int) -> Scene:
    """The scene with the columns that only a dataset knows."""
    if job.given is not None:
        attempt = scene.row["attempt"]
    number = {name: n for n, name in enumerate(job.info.classes)}
    events = tuple(
        {**event, "class_ids": [number[label] for label in event["labels"] if label in number]}
        for event in scene.events
    )
    return replace(scene, row={**scene.row, "attempt": attempt}, events=events)


def _skip(writer: ShardWriter, job: ShardJob, index: int, attempt: int) -> None:
    row = {"id": _scene_id(job, index), "split": job.split, "attempt": attempt}
    if job.given is not None:
        old = job.given.row(job.root, job.stop, index)
        row = {name: old[name] for name in row}
    writer.add_skipped({**row, "recipe": job.recipe.name})


def _versions() -> dict[str, str]:
    return {
        "scenesynth": version("scenesynth"),
        "schema": str(SCHEMA_VERSION),
        "render": RENDER_VERSION,
        **package_versions(),
    }


def corpora_of(job: ShardJob) -> Corpora:
    """The corpora of a job, opened once per process."""
    return _corpora(json.dumps(job.corpora, sort_keys=True))


@lru_cache(maxsize=2)
def _corpora(descriptor: str) -> Corpora:
    return Corpora.from_descriptor(json.loads(descriptor))
