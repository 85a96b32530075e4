"""What one task does: the scenes of one shard, from index to committed files.

`render_shard` is a plain function of a small, picklable job. It runs in this process or in a
worker, any number of times and even twice at once: the store makes the first result hold. Only a
`ContentError` changes what is rendered; every other failure leaves the shard to be tried again.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ClipError, ConfigError, ContentError, StoreError
from scenesynth.pipeline.child import NODE_VARIABLE, SceneAt
from scenesynth.pipeline.environment import package_versions
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.given import Given
from scenesynth.pipeline.staging import staged
from scenesynth.render.memory import keep_freed_memory
from scenesynth.render.renderer import render_scene
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import ATTEMPTS, sample_scene
from scenesynth.scene.spec import RENDER_VERSION, ClipRef, SceneSpec
from scenesynth.store.commit import is_committed, read_commit
from scenesynth.store.layout import DatasetInfo
from scenesynth.store.places import Address
from scenesynth.store.schema import SCHEMA_VERSION, Scene
from scenesynth.store.writer import ShardWriter
from scenesynth.timing import collect, stage

_LOGGED_REDRAWS: Final = 16
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """One shard to render.

    Attributes:
        root: folder or URI of the dataset.
        corpora: descriptor from which a process opens the corpora.
        stop: scenes that the dataset promises.
        split: the split of the shard's scenes.
        given: where their specs come from, if they are not drawn.
        scene_limit_s: how long one scene may take where a worker is watched.
        stage: whether packs are copied to the machine that renders (see `staging`).
    """

    root: Address
    info: DatasetInfo
    recipe: Recipe
    corpora: Mapping[str, Any]
    shard: int
    stop: int
    split: str
    given: Given | None = None
    scene_limit_s: float = 300.0
    stage: bool = False


SceneMaker = Callable[[ShardJob, int, int], Scene]
"""Makes scene `index` at an `attempt`; raises ContentError if that draw cannot be used."""

OnStep = Callable[[SceneAt], None]
"""Told index and attempt of a scene before each try, and None once all scenes are made."""


class SceneFailure(RuntimeError):
    """A scene that could not be rendered.

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


class SceneError(SceneFailure):
    """A scene that will not be rendered by trying again."""


class SceneTimeoutError(SceneFailure):
    """A scene that took longer than it may."""


class SceneDeathError(SceneFailure):
    """A scene at which the worker died."""


class BadClipError(ClipError):
    """A clip that cannot be used, and its file."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(file, why)
        self.file = file
        self.why = why

    def __str__(self) -> str:
        return self.why


class Blaming:
    """Clips of corpora; a bad one is named by its file."""

    def __init__(self, corpora: Corpora) -> None:
        self._corpora = corpora

    def load(
        self, ref: ClipRef, sample_rate: int, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        """As `Corpora.load`; a file that is gone from a place that is there is a bad clip too."""
        try:
            return self._corpora.load(ref, sample_rate, start, stop)
        except ClipError as error:
            root, file = clip_file(self._corpora, ref)
            raise BadClipError(str(file), str(error)) from error
        except FileNotFoundError as error:
            root, file = clip_file(self._corpora, ref)
            if not root.is_dir():
                raise
            raise BadClipError(str(file), f"{file}: is gone") from error


def clip_file(corpora: Corpora, ref: ClipRef) -> tuple[Path, Path]:
    """The place of a clip, and its file there."""
    corpus = corpora.named(ref.corpus)
    clip = corpus.get(ref.id)
    prefixes = (prefix for prefix in corpus.places if ref.id.startswith(f"{prefix}/"))
    root = corpus.places[next(prefixes, "")].root
    return root, root / clip.path


def make_scene(job: ShardJob, index: int, attempt: int) -> Scene:
    """Sample and render scene `index` of a job; or copy it, where its spec is given.

    Raises:
        ContentError: this draw cannot be used.
    """
    if job.given is not None:
        return job.given.scene(
            job.root, job.info, job.stop, index, lambda: Blaming(corpora_of(job))
        )
    spec = sample(job, index, attempt)
    with stage("render"):
        corpora = Blaming(corpora_of(job))
        formats = [format_of(stored) for stored in job.info.formats]
        return render_scene(spec, corpora, formats=formats, stems=job.info.stem_kinds)


def sample(job: ShardJob, index: int, attempt: int) -> SceneSpec:
    """Spec of a scene of a job, drawn or given.

    Raises:
        ContentError: this draw cannot be made.
    """
    if job.given is not None:
        return job.given.spec(job.root, job.stop, index)
    with stage("sample"):
        return sample_scene(
            job.recipe,
            corpora_of(job),
            seed=job.info.seed,
            index=index,
            split=job.split,
            attempt=attempt,
        )


def render_shard(
    job: ShardJob,
    maker: SceneMaker = make_scene,
    on_step: OnStep = lambda place: None,
) -> dict[str, Any]:
    """Render and commit a shard; its commit record as plain data, a few kilobytes.

    A shard that is committed already is left as it is.

    Args:
        job: the shard.
        maker: makes one scene.
        on_step: told what is being done.

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
    redraws = _Redraws()
    with collect() as seconds:
        for index in range(writer.first, writer.stop):
            _add_scene(writer, job, index, _stepping(maker, on_step), redraws)
        on_step(None)
        with stage("write"):
            files = writer.put_files()
    log = {
        "render_s": round(time.perf_counter() - began, 3),
        "stages_s": {name: round(value, 4) for name, value in seconds.items()},
        "redraws": len(redraws.reasons),
        "redraw_reasons": redraws.reasons[:_LOGGED_REDRAWS],
        "bad_clips": redraws.bad_clips,
        **({} if job.given is None else {"copied": writer.copied}),
        "host": platform.node(),
        "node": os.environ.get(NODE_VARIABLE) or platform.node(),
        "pid": os.getpid(),
        "max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT,
    }
    return writer.commit(files, _versions(), log).to_dict()


@dataclass
class _Redraws:
    """Draws that could not be used.

    Attributes:
        bad_clips: by file, how often each was met, and why it cannot be used.
    """

    reasons: list[str] = field(default_factory=list)
    bad_clips: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, index: int, error: ContentError) -> None:
        self.reasons.append(f"{index}: {error}")
        if isinstance(error, BadClipError):
            found = self.bad_clips.setdefault(error.file, {"count": 0, "reason": error.why})
            found["count"] += 1


def _stepping(maker: SceneMaker, on_step: OnStep) -> SceneMaker:
    def make(job: ShardJob, index: int, attempt: int) -> Scene:
        on_step((index, attempt))
        return maker(job, index, attempt)

    return make


def _add_scene(
    writer: ShardWriter, job: ShardJob, index: int, maker: SceneMaker, redraws: _Redraws
) -> None:
    """Put scene `index` into the shard: rendered, drawn again, or skipped as the job says."""
    scene = usable_scene(job, index, maker, lambda error: redraws.add(index, error))
    if scene is None:
        _skip(writer, job, index)
        return
    with stage("encode"):
        writer.add(scene)


def usable_scene(
    job: ShardJob,
    index: int,
    maker: SceneMaker,
    on_redraw: Callable[[ContentError], None] = lambda error: None,
) -> Scene | None:
    """Scene `index` as a dataset holds it, drawn again if need be; None where it is skipped.

    Args:
        maker: makes one scene.
        on_redraw: told of each draw that could not be used.

    Raises:
        SceneError: a scene that cannot be made.
    """
    last: ContentError | None = None
    for attempt in range(ATTEMPTS):
        try:
            return _labelled(_guarded(maker, job, index, attempt), job, attempt)
        except ContentError as error:
            if job.info.on_error == "stop":
                raise _scene_error(job, index, attempt, error) from error
            on_redraw(error)
            if job.info.on_error == "skip":
                return None
            last = error
    raise _scene_error(job, index, ATTEMPTS - 1, f"no draw of {ATTEMPTS} worked; {index}: {last}")


def _guarded(maker: SceneMaker, job: ShardJob, index: int, attempt: int) -> Scene:
    """A scene; a defect in making it is named after the scene."""
    try:
        return maker(job, index, attempt)
    except (ContentError, ConfigError, StoreError, OSError, MemoryError):
        raise
    except Exception as error:
        raise _scene_error(job, index, attempt, f"{type(error).__name__}: {error}") from error


def _scene_error(job: ShardJob, index: int, attempt: int, why: object) -> SceneError:
    return SceneError(scene_id(job, index), job.info.seed, index, attempt, str(why))


def scene_id(job: ShardJob, index: int) -> str:
    """Name of a scene of a job."""
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


def _skip(writer: ShardWriter, job: ShardJob, index: int) -> None:
    row = {"id": scene_id(job, index), "split": job.split, "attempt": 0}
    if job.given is not None:
        old = job.given.row(job.root, job.stop, index)
        row = {name: old[name] for name in row}
    writer.add_skipped({**row, "recipe": job.recipe.name})


@cache
def _versions() -> Mapping[str, str]:
    return {
        "scenesynth": version("scenesynth"),
        "schema": str(SCHEMA_VERSION),
        "render": RENDER_VERSION,
        **package_versions(),
    }


def corpora_of(job: ShardJob) -> Corpora:
    """The corpora of a job, opened once per process."""
    return _corpora(json.dumps(job.corpora, sort_keys=True), job.stage)


@lru_cache(maxsize=2)
def _corpora(descriptor: str, stage_packs: bool) -> Corpora:
    described = json.loads(descriptor)
    return Corpora.from_descriptor(staged(described) if stage_packs else described)
