"""Rendering scenes of a dataset again to see that they are what their rows say.

Three questions, each answered apart. Is the stored spec what the recipe, seed and index give
today? Are the stored bytes those that rendering this spec gives? And where they are not: is the
audio within -80 dB? In the environment that the dataset records, bytes have to be equal; elsewhere
the tolerance is what is promised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, ContentError
from scenesynth.pipeline.changes import changed_spec
from scenesynth.pipeline.environment import cpu_level, package_versions
from scenesynth.pipeline.formats import format_of
from scenesynth.records import from_plain
from scenesynth.render.renderer import render_scene
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import sample_scene
from scenesynth.scene.spec import RENDER_VERSION, SceneSpec
from scenesynth.seeds import rng
from scenesynth.store.arrays import CODECS, encode_scene, rows_of
from scenesynth.store.copies import StoredShard
from scenesynth.store.layout import DatasetInfo
from scenesynth.store.reader import Dataset
from scenesynth.store.schema import Scene

TOLERANCE_DB = -80.0
"""Largest difference between environments, re the scene, beside the rounding of stored samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rechecked:
    """A scene that was rendered again.

    Attributes:
        spec_equal: whether sampling gives the stored spec.
        bytes_equal: whether all arrays hold the bytes that rendering gives.
        worst_db: largest difference of a format to what was rendered, re its energy, beyond half a
            step of the stored samples; -inf for none.
        why: why it could not be rendered; "" where it could.
    """

    scene: str
    spec_equal: bool
    bytes_equal: bool = False
    worst_db: float = math.inf
    why: str = ""

    @property
    def within_tolerance(self) -> bool:
        """Whether the difference is at most `TOLERANCE_DB`."""
        return self.worst_db <= TOLERANCE_DB


def same_environment(info: DatasetInfo) -> bool:
    """Whether rendering here has to give the bytes of the dataset."""
    here = ("cpu", dict(package_versions()), cpu_level(), RENDER_VERSION)
    copied = (info.came_from or {}).get("environment")
    return (info.backend, dict(info.packages), info.cpu, info.render) == here and not copied


def recheck(
    dataset: Dataset,
    corpora: Corpora,
    count: int,
    *,
    seed: int = 0,
    on_scene: Callable[[], None] = lambda: None,
) -> Iterator[Rechecked]:
    """Render `count` scenes of a dataset again, drawn at random; all where it has no more.

    Args:
        seed: of the choice; another one takes other scenes.
        on_scene: called after each.

    Raises:
        ConfigError: corpora that lack a clip's corpus.
        CorruptShardError: a shard that is missing or damaged.
    """
    order = rng(seed, "", "verify").units(len(dataset)).argsort()
    recipe = from_plain(Recipe, dataset.info.recipe, f"{dataset.root}: recipe")
    for number in sorted(order[:count].tolist()):
        yield _recheck(dataset, recipe, corpora, dataset[number])
        on_scene()


def _recheck(dataset: Dataset, recipe: Recipe, corpora: Corpora, stored: Scene) -> Rechecked:
    info, index = dataset.info, stored.row["index"]
    spec = SceneSpec.from_json(stored.spec_json)
    spec_equal = _sampled(recipe, corpora, spec, info) == stored.spec_json
    try:
        formats = [format_of(stored) for stored in info.formats]
        scene = render_scene(spec, corpora, formats=formats, stems=info.stem_kinds)
    except ContentError as error:
        return Rechecked(scene=spec.id, spec_equal=spec_equal, why=str(error))
    shard = StoredShard(dataset.place, info, index // info.shard_scenes)
    held = shard.encoded(index, info.arrays)
    made = {a.name: encode_scene(rows_of(scene, a), a, info) for a in info.arrays}
    return Rechecked(
        scene=spec.id,
        spec_equal=spec_equal,
        bytes_equal=all(
            (made[name].chunks, made[name].gain) == (held[name].chunks, held[name].gain)
            for name in made
        ),
        worst_db=_worst_db(scene, stored.audio_by_format, info),
    )


def _sampled(recipe: Recipe, corpora: Corpora, spec: SceneSpec, info: DatasetInfo) -> str:
    """JSON of the spec that the recipe gives today; why not, where it gives none."""
    origin = spec.origin
    try:
        drawn = sample_scene(
            recipe,
            corpora,
            seed=origin.seed,
            index=origin.index,
            split=origin.split,
            attempt=origin.attempt,
        )
    except (ContentError, ConfigError) as error:
        return str(error)
    changes = (info.came_from or {}).get("changes", {})
    return changed_spec(drawn.to_json(), changes).to_json()


def _worst_db(scene: Scene, stored: Mapping[str, NDArray[np.float32]], info: DatasetInfo) -> float:
    full_scale = CODECS[info.codec].full_scale
    worst = -math.inf
    for name, audio in stored.items():
        fresh = scene.audio_by_format[name].astype(np.float64)
        step = float(np.abs(audio).max(initial=0)) / full_scale if full_scale > 1 else 0.0
        beyond = np.maximum(np.abs(fresh - audio) - 0.501 * step, 0)
        error, energy = float(np.sum(beyond**2)), float(np.sum(fresh**2))
        if error:
            worst = max(worst, 10 * math.log10(error / energy) if energy else math.inf)
    return worst
