"""From what a user asked for to what is going to be rendered: identity, shards, bytes.

A plan is made without touching the output. `settle` then creates, resumes or extends the dataset,
and says what it did; only after that is it known which shards are left.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scenesynth.corpus.corpora import Corpora
from scenesynth.corpus.pools import UNLABELLED
from scenesynth.data import check_name
from scenesynth.distributions import Number
from scenesynth.errors import ConfigError, StoreError
from scenesynth.pipeline.device import choose_backend
from scenesynth.pipeline.environment import cpu_level, package_versions
from scenesynth.pipeline.formats import format_of, stored_format
from scenesynth.pipeline.given import Given
from scenesynth.records import to_plain
from scenesynth.render.rows import LABEL_VERSION
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import check_corpora, max_samples, scene_count
from scenesynth.scene.spec import RENDER_VERSION
from scenesynth.scene.splits import find_split, scene_split
from scenesynth.seeds import rng
from scenesynth.spatial.formats import parse_formats
from scenesynth.store.arrays import CODECS
from scenesynth.store.commit import list_commits
from scenesynth.store.layout import (
    DatasetInfo,
    StoredFormat,
    StoredStems,
    has_info,
    read_info,
    stored_arrays,
)
from scenesynth.store.layout import n_scenes as promised_scenes
from scenesynth.store.places import Address, address_of, place_of
from scenesynth.store.schema import parse_stems
from scenesynth.store.writer import create_or_open, extend_to

ALL_SPLITS: Final = "all"
ON_ERROR: Final = ("redraw", "skip", "stop")
DEFAULT_SHARD_SCENES: Final = 64
MAX_SHARD_BYTES: Final = 256 << 20
"""Largest shard object, before compression, that the default shard size makes."""

LARGEST_SHARD_BYTES: Final = 4 << 30
"""Largest shard object, before compression, that may be asked for: a worker holds it in memory."""
MAX_SHARDS: Final = 1_000_000
"""Shards of a dataset: each is a handful of files, and a job that the driver keeps in memory."""

_TABLE_BYTES_PER_SCENE: Final = 1500


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is going to be rendered.

    Attributes:
        root: folder or URI of the dataset.
        info: identity of the dataset.
        recipe, corpora: what `info` describes, ready for use.
        scenes: number that was asked for.
        limit: largest number of scenes that the recipe can make; None for no end.
        other_environment: whether a dataset begun with other packages or on another CPU level
            may be resumed.
        notes: what a user may not expect, each a sentence.
    """

    root: Address
    info: DatasetInfo
    recipe: Recipe
    corpora: Corpora
    scenes: int
    limit: int | None = None
    other_environment: bool = False
    notes: tuple[str, ...] = ()

    @property
    def specs(self) -> Given | None:
        """Where the scenes' specs come from if they are not drawn; see `pipeline.again`."""
        return None

    @property
    def needs_clips(self) -> bool:
        """Whether anything is rendered."""
        return True

    def extend(self) -> int:
        """See that the dataset promises the scenes; the number that it promises."""
        return extend_to(self.root, self.scenes, self.info, limit=self.limit)

    @property
    def stop(self) -> int:
        """Scenes after rounding up to whole shards."""
        size = self.info.shard_scenes
        if self.scenes < size:
            return self.scenes
        rounded = -(-self.scenes // size) * size
        return rounded if self.limit is None else min(rounded, self.limit)

    @property
    def n_shards(self) -> int:
        """Shards that hold those scenes."""
        return shard_count(self.info, self.stop)

    @property
    def hours(self) -> float:
        """Expected length of those scenes."""
        return self.stop * mean_duration_s(self.recipe, self.info) / 3600

    @property
    def raw_bytes(self) -> int:
        """Upper bound of the dataset's size: audio before compression, and tables."""
        rows = sum(array.n_rows for array in self.info.arrays)
        sample = rows * CODECS[self.info.codec].itemsize
        return self.stop * (self.info.max_samples * sample + _TABLE_BYTES_PER_SCENE)

    @property
    def scenes_by_split(self) -> dict[str, int]:
        """Number of scenes of each split."""
        counts: Counter[str] = Counter()
        for shard in range(self.n_shards):
            first = shard * self.info.shard_scenes
            last = min(first + self.info.shard_scenes, self.stop)
            counts[self.split_of(shard)] += last - first
        return dict(counts)

    def split_of(self, shard: int) -> str:
        """Split of a shard's scenes; every shard is of one split."""
        return split_of(self.recipe, self.info, shard)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A dataset that is ready to be filled.

    Attributes:
        stop: scenes that it promises.
        todo: shards that are not committed, rising.
        notes: what a user may not expect, each a sentence.
    """

    stop: int
    todo: tuple[int, ...]
    notes: tuple[str, ...]


def make_plan(
    out: Address,
    recipe: Recipe,
    corpora: Corpora,
    *,
    formats: Sequence[str],
    scenes: int | None = None,
    hours: float | None = None,
    seed: int = 0,
    split: str = "train",
    shard_scenes: int | None = None,
    codec: str = "lz4",
    on_error: str = "redraw",
    stems: Sequence[str] = (),
    device: str = "cpu",
    gpus: bool = False,
    other_environment: bool = False,
) -> Plan:
    """Plan a run; nothing is written.

    Args:
        out: folder of the dataset, or URI of an object-store prefix.
        recipe: distribution of scenes.
        corpora: the corpora that the recipe names.
        formats: names of the output formats.
        scenes: how many scenes; or `hours` of audio. Neither is needed where the recipe picks
            every clip once.
        seed: root seed.
        split: name of a split, or "all".
        shard_scenes: scenes per shard; None for 64, or less where a shard would exceed 256 MiB.
        codec: "lz4", "zstd" or "float32".
        on_error: "redraw", "skip" or "stop" at a scene whose content cannot be used.
        stems: kinds of stems to store beside the audio, or "all"; none by default.
        device: "auto", "cpu" or "cuda"; a dataset that exists keeps its own under "auto".
        gpus: whether workers are given GPUs of a cluster.
        other_environment: see `Plan`.

    Raises:
        ConfigError: impossible arguments.
        StoreError: an object store whose package is missing.
    """
    root = checked_address(out)
    _check_choice("--codec", codec, CODECS)
    _check_choice("--on-error", on_error, ON_ERROR)
    if not formats:
        raise ConfigError("--format: no format given; for example --format foa")
    stored = tuple(stored_format(item) for item in parse_formats(formats))
    stored_stems = stems_of(stems, recipe)
    length, limit = _bounds(recipe, corpora, split)
    backend, note = _backend(root, device, stored, stored_stems, gpus)
    info = DatasetInfo(
        recipe=to_plain(recipe),
        seed=seed,
        split=split,
        formats=stored,
        sample_rate=recipe.sample_rate,
        max_samples=length,
        shard_scenes=shard_scenes_of(
            shard_scenes,
            max(array.n_rows for array in stored_arrays(stored, stored_stems)),
            length,
            codec,
        ),
        codec=codec,
        on_error=on_error,
        backend=backend,
        render=RENDER_VERSION,
        labels=LABEL_VERSION,
        packages=package_versions(backend),
        cpu=cpu_level(),
        corpora=corpora_identity(corpora),
        classes=event_classes(recipe, corpora),
        stems=stored_stems,
    )
    wanted = _scenes(scenes, hours, limit, recipe, info)
    check_shards(wanted, info)
    return Plan(
        root=root,
        info=info,
        recipe=recipe,
        corpora=corpora,
        scenes=wanted,
        limit=limit,
        notes=(note,) if note else (),
        other_environment=other_environment,
    )


def settle(plan: Plan) -> Settled:
    """Create, resume or extend the dataset.

    Raises:
        StoreError: the folder holds something else, or cannot be written.
    """
    existed = has_info(plan.root)
    before = promised_scenes(plan.root) if existed else 0
    try:
        create_or_open(plan.root, plan.info, other_environment=plan.other_environment)
    except StoreError:
        if existed or not has_info(plan.root):
            raise
        # Another job has created the dataset between two looks at the folder.
        create_or_open(plan.root, plan.info, other_environment=plan.other_environment)
    stop = plan.extend()
    committed = set(list_commits(plan.root))
    todo = tuple(k for k in range(shard_count(plan.info, stop)) if k not in committed)
    notes = (*plan.notes, *_notes(plan, before, stop, len(committed)))
    return Settled(stop=stop, todo=todo, notes=notes)


def mean_duration_s(recipe: Recipe, info: DatasetInfo) -> float:
    """Expected length of a scene, from draws that are always the same.

    Where every clip keeps its own length, the longest: an upper bound.
    """
    if recipe.duration_s is None:
        return info.max_samples / info.sample_rate
    return _mean(recipe.duration_s)


def shard_count(info: DatasetInfo, scenes: int) -> int:
    """Shards that hold so many scenes."""
    return -(-scenes // info.shard_scenes)


def split_of(recipe: Recipe, info: DatasetInfo, shard: int) -> str:
    """Split of a shard's scenes; every shard is of one split."""
    return info.split if info.split != ALL_SPLITS else scene_split(recipe, info.seed, shard)


def event_classes(recipe: Recipe, corpora: Corpora) -> tuple[str, ...]:
    """Labels that targets and interferers can have, sorted; `class_ids` number these."""
    labels: set[str] = set()
    for layer in (recipe.targets, recipe.interferers):
        if layer is not None:
            labels |= set(corpora.named(layer.corpus).classes)
    return tuple(sorted(labels - {UNLABELLED}))


def _bounds(recipe: Recipe, corpora: Corpora, split: str) -> tuple[int, int | None]:
    """Longest scene in samples, and how many scenes the recipe can make at most."""
    if split != ALL_SPLITS:
        find_split(recipe, split)
        check_corpora(recipe, corpora, split)
        return max_samples(recipe, corpora, split), scene_count(recipe, corpora, split)
    if recipe.targets.pick == "each_once":
        raise ConfigError(
            f"--split all: recipe {recipe.name} plays every clip of a split once, so a dataset "
            f"of it holds one split; give --split {' or '.join(recipe.splits.named)}"
        )
    for name in recipe.splits.named:
        check_corpora(recipe, corpora, name)
    return max(max_samples(recipe, corpora, name) for name in recipe.splits.named), None


def _scenes(
    scenes: int | None, hours: float | None, limit: int | None, recipe: Recipe, info: DatasetInfo
) -> int:
    if scenes is not None and hours is not None:
        raise ConfigError(f"--scenes {scenes} and --hours {hours:g}: give one of the two")
    if hours is not None:
        if not 0 < hours < math.inf:
            raise ConfigError(f"--hours {hours:g}; must be positive")
        wanted = math.ceil(round(hours * 3600 / mean_duration_s(recipe, info), 6))
    elif scenes is not None:
        wanted = scenes
    elif limit is not None:
        wanted = limit
    else:
        raise ConfigError("give --hours H or --scenes N")
    if wanted < 1:
        raise ConfigError(f"--scenes {wanted}; must be at least 1")
    if limit is not None and wanted > limit and hours is None:
        raise ConfigError(
            f"--scenes {wanted}: recipe {recipe.name} plays each of {limit} clips once; "
            f"leave --scenes out for all of them"
        )
    return wanted if limit is None else min(wanted, limit)


def stems_of(names: Sequence[str], recipe: Recipe) -> StoredStems | None:
    """The stems to store, with a slot for every target and interferer that a scene may have."""
    kinds = parse_stems(names)
    layers = (recipe.targets, recipe.interferers)
    slots = sum(layer.emitters.high for layer in layers if layer is not None)
    if not slots and set(kinds) - {"noise"}:
        raise ConfigError(
            f"--stems {','.join(kinds)}: recipe {recipe.name} has neither targets nor interferers; "
            f"only --stems noise holds anything of it"
        )
    return StoredStems(kinds=kinds, slots=max(slots, 1)) if kinds else None


def _backend(
    root: Address,
    device: str,
    formats: Sequence[StoredFormat],
    stems: StoredStems | None,
    gpus: bool,
) -> tuple[str, str]:
    """Backend of the dataset, and a note on it; see `choose_backend`."""
    if device == "auto" and has_info(root):
        return read_info(root).backend, ""
    kinds = () if stems is None else stems.kinds
    return choose_backend(device, [format_of(stored) for stored in formats], kinds, gpus)


def shard_scenes_of(given: int | None, n_rows: int, length: int, codec: str) -> int:
    """Scenes per shard; the default is halved until the largest object fits its bound.

    It depends on nothing that may differ in a resumed or extended run.

    Args:
        n_rows: signals of a scene in that object.
    """
    scene = n_rows * length * CODECS[codec].itemsize
    if given is not None:
        if given < 1:
            raise ConfigError(f"--shard-scenes {given}; must be at least 1")
        if given > (most := max(1, LARGEST_SHARD_BYTES // scene)):
            raise ConfigError(
                f"--shard-scenes {given}; must be at most {most}: one of these scenes may take "
                f"{scene / 1e6:.3g} MB, and a shard no more than {LARGEST_SHARD_BYTES >> 30} GiB"
            )
        return given
    size = DEFAULT_SHARD_SCENES
    while size > 1 and size * scene > MAX_SHARD_BYTES:
        size //= 2
    return size


def check_shards(scenes: int, info: DatasetInfo) -> None:
    if shard_count(info, scenes) > MAX_SHARDS:
        raise ConfigError(
            f"{scenes:,} scenes make {shard_count(info, scenes):,} shards of "
            f"{info.shard_scenes}; a dataset holds at most {MAX_SHARDS:,}. Ask for fewer --hours "
            f"or --scenes, give a larger --shard-scenes, or make several datasets, each with its "
            f"own --seed"
        )


def _notes(plan: Plan, before: int, stop: int, committed: int) -> tuple[str, ...]:
    size = plan.info.shard_scenes
    notes = []
    if before and stop > before:
        notes.append(f"extending {plan.root} from {before} to {stop} scenes")
    elif before and plan.scenes < before:
        notes.append(
            f"{plan.root} already promises {before} scenes, more than the {plan.scenes} asked "
            f"for; none is taken away"
        )
    if plan.scenes < stop and stop > before:
        notes.append(f"{plan.scenes} scenes rounded up to {stop}: whole shards of {size}")
    if stop % size and stop > before:
        noun = "scene does" if stop == 1 else "scenes do"
        notes.append(f"{stop} {noun} not fill whole shards of {size}: none can be added later")
    if committed:
        notes.append(f"{committed} of {shard_count(plan.info, stop)} shards are already there")
    return tuple(notes)


def corpora_identity(corpora: Corpora) -> Mapping[str, Any]:
    return {
        name: {
            "digest": corpus.digest,
            "clips": len(corpus.clips),
            "licences": dict(corpus.licences),
        }
        for name, corpus in sorted(corpora.items())
    }


def _check_choice(option: str, value: str, choices: Sequence[str] | Mapping[str, Any]) -> None:
    if value not in choices:
        raise ConfigError(f"{option} {value}: must be one of {', '.join(choices)}")


def checked_address(out: Address) -> Address:
    try:
        root = address_of(out)
    except StoreError as error:
        raise ConfigError(f"--out {error}") from None
    if isinstance(root, Path):
        check_name(root)
    place_of(root)  # what is missing is said now, not after the clips are indexed
    return root


def _mean(number: Number, draws: int = 4096) -> float:
    if number.constant:
        return number.low
    generator = rng(0, "", "plan.mean")
    return math.fsum(number.draw(generator) for _ in range(draws)) / draws
