"""Drawing scenes of a dataset's recipe anew, to compare the dataset with.

For every chosen scene another one is drawn with the same seed, split and room pool, but a number
far beyond those of the dataset. Where a split's scenes take turns in n rooms, that number is the
old one plus a multiple of n: the same rooms in the same shares, so that rooms, of which there are
few, do not make scenes look alike that are not.

Clips need not be at hand: the built-in ones stand in for them, and what depends on clips is left
out then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from scenesynth.audit.derive import OF_CLIPS, event_columns, scene_columns
from scenesynth.audit.reading import OnProgress
from scenesynth.corpus.corpora import Corpora, builtin_corpora
from scenesynth.errors import ConfigError, ContentError
from scenesynth.pipeline.changes import changed_spec
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.recheck import other_clips
from scenesynth.records import from_plain, to_plain
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.sample import sample_scene, sample_scene_with_redraw
from scenesynth.scene.spec import SceneSpec
from scenesynth.store.layout import DatasetInfo
from scenesynth.store.schema import EVENTS
from scenesynth.store.schema import scene_columns as stored_columns

MOST: Final = 512
"""Scenes that are drawn anew: some seconds."""

_BEYOND: Final = 1_000_000_000
_OTHER_ATTEMPT: Final = 1_000
"""Recipes that play each clip once have no scenes beyond; another attempt draws them again."""

ROOMS_ETC: Final = ("room", "air", "listener", "snr_db", "sample_rate", "engine", "mode", "head")
"""Fields of a spec that no clip decides, where noise and targets are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What scenes are drawn from.

    Attributes:
        clips: the dataset's own, where they are at hand.
        why_not: why no scenes can be drawn; "" where they can.
    """

    recipe: Recipe | None
    corpora: Mapping[str, Any]
    clips: Corpora | None = None
    why_not: str = ""

    @property
    def own_clips(self) -> bool:
        """Whether scenes are drawn from the dataset's own clips."""
        return self.clips is not None and self.recipe is not None


def source_of(info: DatasetInfo, corpora: Corpora | None) -> Source:
    """What a dataset's scenes are drawn from, as far as it is at hand."""
    have = builtin_corpora() if corpora is None else corpora
    clips = None if other_clips(info, have) else have
    try:
        recipe = from_plain(Recipe, info.recipe, "recipe")
    except ConfigError as error:
        why = f"this version cannot read the recipe: {error}"
        return Source(recipe=None, corpora={}, clips=clips, why_not=why)
    if clips is not None:
        return Source(recipe=recipe, corpora=clips, clips=clips)
    stand_in = builtin_corpora()
    named = dict.fromkeys(info.corpora, stand_in["sources"])
    for layer in (recipe.noise, recipe.noise and recipe.noise.diffuse):
        if layer is not None:
            named[layer.corpus] = stand_in["noise"]
    return Source(recipe=without_labels(recipe), corpora=named)


def without_labels(recipe: Recipe) -> Recipe:
    """A recipe whose layers play any clip: the built-in ones may not have its labels."""
    plain = to_plain(recipe)
    for name in ("targets", "interferers", "noise"):
        layer = plain.get(name)
        for part in (layer, (layer or {}).get("diffuse")):
            if part:
                part["labels"] = []
    return from_plain(Recipe, plain)


def draw_anew(
    info: DatasetInfo,
    source: Source,
    chosen: Sequence[Mapping[str, Any]],
    on_progress: OnProgress,
) -> tuple[pa.Table, pa.Table] | str:
    """Scenes and their events drawn in place of `chosen`, or why that cannot be.

    Args:
        chosen: rows with the columns index and split.
    """
    if info.came_from is not None:
        return "its scenes were chosen from another dataset"
    if source.recipe is None:
        return source.why_not
    formats = [format_of(stored) for stored in info.formats]
    step = max(1, -(-len(chosen) // MOST))
    taken = chosen[::step]
    scenes, events = [], []
    for done, row in enumerate(taken, start=1):
        try:
            spec = _another(source.recipe, source.corpora, info.seed, row["index"], row["split"])
        except (ConfigError, ContentError) as error:
            return f"scenes cannot be drawn anew: {error}"
        # Under the number of the scene in whose place it is: numbers far beyond the dataset that go
        # with the rooms of one split may be those of another's, too.
        index = row["index"]
        scenes.append({"index": index, "id": spec.id, **scene_columns(spec, formats)})
        events += [
            {"index": index, "scene": spec.id, "event": number, **event}
            for number, event in enumerate(event_columns(spec))
        ]
        on_progress("drawing scenes anew", done, len(taken))
    if not source.own_clips:
        for event in events:
            event |= dict.fromkeys(OF_CLIPS)
    return (
        _table(scenes, stored_columns(info.format_names)),
        _table(events, EVENTS),
    )


def differing(info: DatasetInfo, source: Source, spec: SceneSpec) -> str:
    """What of a spec is not what recipe, seed and number give; "" where all is.

    Without the dataset's own clips only what they do not decide is compared.

    Raises:
        ConfigError, ContentError: the scene cannot be drawn.
    """
    assert source.recipe is not None
    origin = spec.origin
    drawn = sample_scene(
        source.recipe,
        source.corpora,
        seed=origin.seed,
        index=origin.index,
        split=origin.split,
        attempt=origin.attempt,
    )
    if info.came_from is not None:
        drawn = changed_spec(drawn.to_json(), info.came_from.get("changes", {}))
    found, expected = to_plain(spec), to_plain(drawn)
    names = list(found) if source.own_clips else list(ROOMS_ETC)
    if not source.own_clips and None in (found["snr_db"], expected["snr_db"]):
        names.remove("snr_db")
    return ", ".join(name for name in names if found[name] != expected[name])


def _another(
    recipe: Recipe, corpora: Mapping[str, Any], seed: int, index: int, split: str
) -> SceneSpec:
    if recipe.targets.pick == "each_once":
        return sample_scene(
            recipe, corpora, seed=seed, index=index, split=split, attempt=_OTHER_ATTEMPT
        )
    rooms = recipe.splits.named[split].rooms or 1
    number = index + rooms * (_BEYOND // rooms)
    return sample_scene_with_redraw(recipe, corpora, seed=seed, index=number, split=split)[0]


def _table(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, pa.DataType]) -> pa.Table:
    names = [name for name in kinds if any(name in row for row in rows)]
    columns = {name: pa.array([row.get(name) for row in rows], kinds[name]) for name in names}
    return pa.table(columns)
