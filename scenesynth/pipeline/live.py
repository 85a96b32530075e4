"""Batches of scenes that are rendered as they are asked for, and stored nowhere.

A `LiveStream` hands out what a `Stream` over a rendered dataset does, so a trainer needs not know
which of the two it has. Scene `i` is the one that `scenesynth render` would have written under that
number, and quantised as it would have been; but no scene comes twice, so an epoch is only a number
of scenes after which the trainer may look around.

Workers render on the CPU, a scene at a time each. With a GPU, the process that trains renders whole
batches on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from scenesynth.acoustics.gpu.device import torch_device
from scenesynth.corpus.corpora import Corpora, prepare_for_rendering
from scenesynth.errors import ConfigError
from scenesynth.pipeline.device import rendered, usable
from scenesynth.pipeline.plan import Plan, make_plan, split_of
from scenesynth.pipeline.shard import SceneMaker, ShardJob, make_scene, usable_scene
from scenesynth.render.compile import ensure_compiled
from scenesynth.scene.recipe import load_recipe
from scenesynth.scene.recipe_records import Recipe
from scenesynth.seeds import rng
from scenesynth.store.arguments import name_list, whole
from scenesynth.store.arrays import stored_samples
from scenesynth.store.crops import crop_start
from scenesynth.store.layout import DatasetInfo, StoredFormat, seal
from scenesynth.store.order import Missing, Picks, Rules
from scenesynth.store.part import Part
from scenesynth.store.schema import Scene, events_schema, scenes_schema, table_of
from scenesynth.store.selection import check_number
from scenesynth.store.stream import Stream
from scenesynth.store.streaming import check_ranks, check_targets, crop_samples
from scenesynth.store.targets import Arrays, FrameTargets, TargetMaker
from scenesynth.store.writer import numbered

EPOCH_SCENES: Final = 10_000


def live(
    recipe: Recipe | str | Path,
    corpora: Corpora | None = None,
    *,
    crop_s: float | None = None,
    batch: int = 32,
    format: str = "foa",
    seed: int = 0,
    split: str = "train",
    columns: Sequence[str] = (),
    targets: FrameTargets | None = None,
    epoch_scenes: int = EPOCH_SCENES,
    shard_scenes: int | None = None,
    device: str = "cpu",
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    epochs: int | None = None,
    pin_memory: bool = False,
) -> LiveStream:
    """Batches of scenes that are rendered as they are asked for; see `stream` for the rest.

    Batch `k` of epoch `e` holds those from number `e * epoch_scenes + k * batch` on.

    Args:
        recipe: distribution of scenes: a name, a file, or one that has been loaded.
        corpora: those that the recipe names; None for the built-in clips. Packed beforehand with
            `prepare_for_rendering` if this is the last use of several.
        crop_s: length of a random crop of each scene; None for whole scenes.
        batch: scenes of a batch of all ranks together.
        split: from which rooms and clips scenes are drawn.
        columns: of the scenes table, to come along.
        epoch_scenes: after how many scenes an epoch ends.
        shard_scenes: as given to `render`; with split="all" it decides the split of a scene.
        device: "cpu", or "cuda" (or "cuda:N") to render whole batches in this process.
        workers: processes that render ahead; 0 renders in this one.

    Raises:
        ConfigError: an impossible recipe, corpus or argument.
    """
    batch, world = whole("batch", batch), whole("world", world)
    rank, workers = whole("rank", rank, 0), whole("workers", workers, 0)
    epochs = None if epochs is None else whole("epochs", epochs)
    seed, epoch_scenes = whole("seed", seed, 0), whole("epoch_scenes", epoch_scenes)
    asked_columns = name_list("columns", columns)
    check_ranks(batch, rank, world)
    check_targets(targets)
    if not isinstance(corpora, Corpora | None):
        raise ConfigError(f"corpora = {corpora!r}; must be what ss.Corpora.open(...) gives")
    for name, text in [("format", format), ("split", split)]:
        if not isinstance(text, str):
            raise ConfigError(f"{name} = {text!r}; must be a name")
    if device != "cpu" and workers:
        raise ConfigError(
            f"device = {device!r} with workers = {workers}: the process that trains renders on "
            f"the GPU itself; give workers=0"
        )
    if device != "cpu":
        torch_device(device)
    if epoch_scenes < batch:
        raise ConfigError(f"epoch_scenes = {epoch_scenes}; must be at least batch = {batch}")
    resolved = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if resolved.targets.pick == "each_once":
        raise ConfigError(
            f"recipe {resolved.name} plays every clip once and then has no more scenes; render and "
            f"stream them, or use another recipe"
        )
    opened = Corpora.open() if corpora is None else corpora
    plan = make_plan(
        "live",
        resolved,
        prepare_for_rendering(opened, resolved.sample_rate),
        formats=[format],
        scenes=epoch_scenes,
        seed=seed,
        split=split,
        shard_scenes=None if shard_scenes is None else whole("shard_scenes", shard_scenes),
        device="cpu" if device == "cpu" else "cuda",
    )
    info = plan.info
    if device != "cpu" and info.backend == "cpu":
        raise ConfigError(f"device = {device!r}: {'; '.join(plan.notes)}; give device='cpu'")
    n_samples = crop_samples(info.max_samples, info.sample_rate, crop_s)
    classes = info.classes
    maker = None
    if targets is not None:
        classes = targets.names([info.classes])
        maker = TargetMaker.of_dataset(targets, classes, info.classes, info.sample_rate, n_samples)
    for name in asked_columns:
        check_number(scenes_schema(info.format_names), name, "columns", f"recipe {resolved.name}")
    ensure_compiled()
    source = LiveSource(job=job_of(plan), device=device, columns=asked_columns, targets=maker)
    return LiveStream(
        source,
        Rules(seed=seed, batch=batch, group=1, shuffle=False, weights=None, drop_last=True),
        epoch_scenes=epoch_scenes,
        n_samples=n_samples,
        classes=classes,
        rank=rank,
        world=world,
        workers=workers,
        epochs=epochs,
        pin_memory=pin_memory,
    )


class LiveStream(Stream):
    """Batches of scenes that no one has stored; see `live`, and `Stream` for how it is used."""

    def __init__(
        self, source: LiveSource, rules: Rules, *, epoch_scenes: int, **settings: Any
    ) -> None:
        self._epoch_scenes = epoch_scenes
        part = Part(
            source=source,
            identity=str(xxhash.xxh3_64_hexdigest(seal(source.info.to_dict()))),
            shards=None,
            follower=None,
            promised=epoch_scenes,
        )
        super().__init__((part,), rules, **settings)

    def _order_of(self, only: object) -> Numbered:
        return Numbered(rules=self._rules, epoch_scenes=self._epoch_scenes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """Scenes by their numbers, each once, `epoch_scenes` of them an epoch."""

    rules: Rules
    epoch_scenes: int

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""
        return self.epoch_scenes // self.rules.batch

    def find(self, epoch: int, step: int) -> Picks | Missing:
        """A batch, or that the epoch has no more."""
        if step >= self.n_batches:
            return "the end"
        batch = self.rules.batch
        first = epoch * self.epoch_scenes + step * batch
        index = np.arange(first, first + batch)
        unit = [rng(self.rules.seed, "", "live.crops", int(number)).unit() for number in index]
        return Picks(
            epoch=epoch,
            step=step,
            dataset=np.zeros(batch, np.int64),
            index=index,
            unit=np.array(unit),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSource:
    """A recipe as something that crops are taken from."""

    job: ShardJob
    device: str
    columns: tuple[str, ...]
    targets: TargetMaker | None

    @property
    def place(self) -> str:
        """What to call it."""
        return f"recipe {self.job.recipe.name}"

    @property
    def info(self) -> DatasetInfo:
        """The dataset that `render` would make of it."""
        return self.job.info

    @property
    def format(self) -> StoredFormat:
        """Its only format."""
        return self.info.formats[0]

    def reader(self) -> LiveReader:
        """What renders."""
        return LiveReader(self)

    def scenes(self, indices: Sequence[int]) -> list[Scene]:
        """Scenes by their numbers.

        Raises:
            SceneError: one that cannot be made.
        """
        jobs = {index: self.job_of(index) for index in indices}
        makers: dict[str, SceneMaker] = {
            split: make_scene for split in {job.split for job in jobs.values()}
        }
        if self.device != "cpu":
            for split in makers:
                mine = [index for index in indices if jobs[index].split == split]
                makers[split] = _on_device(jobs[mine[0]], mine, self.device)
        scenes = [usable_scene(jobs[index], index, makers[jobs[index].split]) for index in indices]
        return [scene for scene in scenes if scene is not None]

    def job_of(self, index: int) -> ShardJob:
        """The job of which a scene is a part; shards are of one split each."""
        job = self.job
        shard = index // job.info.shard_scenes
        return replace(job, shard=shard, split=split_of(job.recipe, job.info, shard))


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCrop:
    """A crop of a scene that has been rendered, with the scene's rows of the tables."""

    row: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    start: int
    valid: int
    gain: float

    @property
    def id(self) -> str:
        """Name of its scene."""
        return str(self.row["id"])

    def column(self, name: str) -> float:
        """Value of a column; NaN for null."""
        value = self.row[name]
        return math.nan if value is None else float(np.float32(value))


class LiveReader:
    """Renders crops of scenes."""

    def __init__(self, source: LiveSource) -> None:
        self._source = source

    def take(
        self,
        index: NDArray[np.int64],
        unit: NDArray[np.float64],
        out: Sequence[NDArray[Any]],
    ) -> list[LiveCrop]:
        """Crops of scenes; see `scenesynth.store.crops.Reader`.

        Raises:
            SceneError: a scene that cannot be made.
        """
        numbers = index.tolist()
        scenes = self._source.scenes(numbers)
        rendered = zip(numbers, unit.tolist(), scenes, out, strict=True)
        return [self._cut(*each) for each in rendered]

    def targets(self, crop: LiveCrop) -> Arrays:
        """Targets of a crop that has been read."""
        maker = self._source.targets
        assert maker is not None
        length = crop.row["n_samples"]
        return maker.of_crop(maker.labels(crop.events, length), length, crop.start)

    def _cut(self, index: int, unit: float, scene: Scene, out: NDArray[Any]) -> LiveCrop:
        source, n_samples = self._source, out.shape[-1]
        name = source.format.name
        stored, gain, peak = stored_samples(scene.audio_by_format[name], source.format, source.info)
        row, events = numbered(scene, index)
        row |= {f"gain_{name}": gain, f"peak_{name}": peak}
        length = stored.shape[-1]
        start = crop_start(unit, length, n_samples, source.targets)
        valid = min(n_samples, length - start)
        out[:, :valid] = stored[:, start : start + valid]
        out[:, valid:] = 0
        (stored_row,) = table_of([row], scenes_schema([name])).to_pylist()
        return LiveCrop(
            row=stored_row,
            events=table_of(events, events_schema()).to_pylist(),
            start=start,
            valid=valid,
            gain=float(gain),
        )


def _on_device(job: ShardJob, indices: Sequence[int], device: str) -> SceneMaker:
    """Makes some scenes of a job, which it renders together."""
    first = rendered(job, indices, 0, device)

    def make(job: ShardJob, index: int, attempt: int) -> Scene:
        return usable(rendered(job, [index], attempt, device)[index] if attempt else first[index])

    return make


def job_of(plan: Plan) -> ShardJob:
    """A job that stands for all scenes of a plan, of which each is rendered when it is wanted."""
    return ShardJob(
        root=plan.root,
        info=plan.info,
        recipe=plan.recipe,
        corpora=plan.corpora.descriptor(),
        shard=0,
        stop=plan.stop,
        split=plan.info.split,
    )
