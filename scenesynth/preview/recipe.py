"""Scenes of a recipe for a page, rendered as they are asked for and stored nowhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, ContentError
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.live import LiveSource, job_of
from scenesynth.pipeline.plan import make_plan
from scenesynth.pipeline.shard import SceneError
from scenesynth.preview.again import again_drawn
from scenesynth.preview.card import Shown
from scenesynth.scene.recipe import load_recipe
from scenesynth.spatial.formats import parse_formats
from scenesynth.store.schema import events_schema, scenes_schema, table_of
from scenesynth.store.writer import numbered

LAST_INDEX: Final = 2**63 - 1
"""The largest number that the column `index` of a dataset holds."""


@dataclass(frozen=True, kw_only=True)
class RecipeShelf:
    """Scenes of a recipe, rendered when they are asked for; those that a dataset would hold.

    Attributes:
        source: what renders.
        recipe, changes, sources, noise: as they were given, for the program that does it again.
        limit: number of scenes that the recipe can make; None for no end.
        folder: none; see `Shelf`.
    """

    source: LiveSource
    recipe: str
    changes: Sequence[tuple[str, str]] = ()
    sources: Sequence[str] = ()
    noise: Sequence[str] = ()
    limit: int | None = None
    folder: None = None

    @property
    def name(self) -> str:
        return self.recipe

    @property
    def about(self) -> str:
        info = self.source.info
        changed = "".join(f", {name} = {value}" for name, value in self.changes)
        return (
            f"a recipe, rendered for this page, stored nowhere{changed}; seed {info.seed}, split "
            f"{info.split}; {', '.join(info.format_names)} at {info.sample_rate / 1000:g} kHz"
        )

    def shown(self, index: int) -> Shown:
        if index > LAST_INDEX:
            raise ConfigError(f"scene {index}: numbers of scenes end at {LAST_INDEX}")
        try:
            (rendered,) = self.source.scenes([index])
        except SceneError as error:
            raise ContentError(str(error)) from error
        info = self.source.info
        row, events = numbered(rendered, index)
        (stored_row,) = table_of([row], scenes_schema(info.format_names)).to_pylist()
        stored_events = table_of(events, events_schema()).to_pylist()
        scene = replace(rendered, row=stored_row, events=tuple(stored_events))
        again = again_drawn(
            self.recipe,
            self.changes,
            scene,
            seed=info.seed,
            formats=info.format_names,
            sources=self.sources,
            noise=self.noise,
        )
        known = {stored.name: format_of(stored) for stored in info.formats}
        return Shown(scene=scene, again=again, known=known)

    def from_index(self, index: int, count: int) -> list[int]:
        stop = index + count
        return list(range(index, stop if self.limit is None else min(stop, self.limit)))

    def before_index(self, index: int, count: int) -> list[int]:
        return list(range(max(0, index - count), index))

    def renewed(self) -> RecipeShelf:
        return self


def open_recipe(
    recipe: str,
    changes: Sequence[tuple[str, str]],
    open_corpora: Callable[[], Corpora],
    *,
    formats: Sequence[str],
    seed: int = 0,
    split: str = "train",
    stems: Sequence[str] = (),
    sources: Sequence[str] = (),
    noise: Sequence[str] = (),
) -> RecipeShelf:
    """A recipe whose scenes are rendered as they are asked for.

    Args:
        recipe: a name or a file.
        changes: (field, value) of each `--set`.
        open_corpora: opens the clips, once the recipe is known to be one.
        stems: kinds of stems to render as well.
        sources, noise: what the clips were opened from.

    Raises:
        ConfigError: an impossible recipe, corpus or argument.
    """
    parse_formats(formats)
    loaded = load_recipe(recipe, changes)
    plan = make_plan(
        "preview",
        loaded,
        open_corpora(),
        formats=formats,
        scenes=1,
        seed=seed,
        split=split,
        stems=stems,
    )
    return RecipeShelf(
        source=LiveSource(job=job_of(plan), device="cpu", columns=(), targets=None),
        recipe=recipe,
        changes=tuple(changes),
        sources=tuple(sources),
        noise=tuple(noise),
        limit=plan.limit,
    )
