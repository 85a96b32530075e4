"""Where a page's scenes come from: a dataset, or a recipe, rendered as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from scenesynth.corpus.corpora import Corpora
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.live import LiveSource
from scenesynth.pipeline.plan import make_plan
from scenesynth.pipeline.shard import ShardJob
from scenesynth.preview.again import again_drawn, again_from
from scenesynth.preview.card import Shown
from scenesynth.preview.choose import Usable
from scenesynth.preview.listen import best_to_hear
from scenesynth.preview.tables import label_errors
from scenesynth.preview.view import view_of
from scenesynth.render.compile import ensure_compiled
from scenesynth.scene.recipe import load_recipe
from scenesynth.spatial.formats import parse_formats
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.schema import Scene, events_schema, scenes_schema, table_of
from scenesynth.store.writer import numbered


class Shelf(Protocol):
    """Scenes by their number in the column `index`."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def about(self) -> str:
        """What its scenes are, in a sentence."""
        ...

    def shown(self, index: int) -> Shown:
        """A scene.

        Raises:
            CorruptShardError: its shard is missing or damaged.
            SceneError: it cannot be rendered.
        """
        ...

    def from_index(self, index: int, count: int) -> list[int]:
        """The first scenes from `index` on, up to `count` of them."""
        ...

    def before_index(self, index: int, count: int) -> list[int]:
        """The last scenes before `index`, rising, up to `count` of them."""
        ...

    def renewed(self) -> Shelf:
        """The same with what has come since."""
        ...


class DatasetShelf:
    """The scenes of a dataset that are there."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.usable = Usable(dataset)
        self.known = {stored.name: format_of(stored) for stored in dataset.info.formats}

    @property
    def name(self) -> str:
        return str(self.dataset.place)

    @property
    def about(self) -> str:
        info, there, promised = self.dataset.info, len(self.usable), self.dataset.n_promised
        missing = f" of {promised:,} promised" if promised > there else ""
        return (
            f"recipe {info.recipe['name']}, seed {info.seed}, split {info.split}; "
            f"{', '.join(info.format_names)} at {info.sample_rate / 1000:g} kHz"
            f"{'; stems: ' + ', '.join(info.stem_kinds) if info.stem_kinds else ''}; "
            f"{there:,} scenes{missing}"
        )

    def shown(self, index: int) -> Shown:
        number = self.usable.number(index)
        scene = self._with_stems(self.dataset[number], number)
        return Shown(
            scene=scene,
            known=self.known,
            again=again_from(self.dataset.root, self.dataset.info, scene),
        )

    def label_error_deg(self, index: int) -> float | None:
        """Largest angle between a label of a scene and the direction that its audio tells."""
        view = view_of(self.dataset[self.usable.number(index)], self.known)
        return max(label_errors(view), default=None)

    def _with_stems(self, scene: Scene, number: int) -> Scene:
        kinds = self.dataset.info.stem_kinds
        heard = best_to_hear(self.known).name
        if set(kinds) - {"dry"}:
            stems = self.dataset.stems(number, formats=[heard])
            scene = replace(scene, stems_by_format=stems)
        return replace(scene, dry=self.dataset.dry(number)) if "dry" in kinds else scene

    def from_index(self, index: int, count: int) -> list[int]:
        first = self.usable.number(index)
        stop = min(first + count, len(self.usable))
        return [self.usable.index(number) for number in range(first, stop)]

    def before_index(self, index: int, count: int) -> list[int]:
        stop = self.usable.number(index)
        return [self.usable.index(number) for number in range(max(0, stop - count), stop)]

    def renewed(self) -> DatasetShelf:
        if len(self.usable) == self.dataset.n_promised:
            return self
        return DatasetShelf(open_dataset(self.dataset.root))


@dataclass(frozen=True, kw_only=True)
class RecipeShelf:
    """Scenes of a recipe, rendered when they are asked for; those that a dataset would hold.

    Attributes:
        source: what renders.
        recipe, changes, sources, noise: as they were given, for the program that does it again.
        limit: number of scenes that the recipe can make; None for no end.
    """

    source: LiveSource
    recipe: str
    changes: Sequence[tuple[str, str]] = ()
    sources: Sequence[str] = ()
    noise: Sequence[str] = ()
    limit: int | None = None
    name: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"recipe {self.recipe}")

    @property
    def about(self) -> str:
        info = self.source.info
        changed = "".join(f", {name} = {value}" for name, value in self.changes)
        return (
            f"rendered for this page, stored nowhere{changed}; seed {info.seed}, split "
            f"{info.split}; {', '.join(info.format_names)} at {info.sample_rate / 1000:g} kHz"
        )

    def shown(self, index: int) -> Shown:
        (rendered,) = self.source.scenes([index])
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
    job = ShardJob(
        root=plan.root,
        info=plan.info,
        recipe=plan.recipe,
        corpora=plan.corpora.descriptor(),
        shard=0,
        stop=plan.stop,
        split=plan.info.split,
    )
    ensure_compiled()
    return RecipeShelf(
        source=LiveSource(job=job, device="cpu", columns=(), targets=None),
        recipe=recipe,
        changes=tuple(changes),
        sources=tuple(sources),
        noise=tuple(noise),
        limit=plan.limit,
    )
