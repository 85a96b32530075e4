"""Where a page's scenes come from: a dataset here, a recipe in `scenesynth.preview.recipe`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from scenesynth.errors import ConfigError, CorruptShardError
from scenesynth.pipeline.formats import format_of
from scenesynth.preview.again import again_from
from scenesynth.preview.card import Shown
from scenesynth.preview.listen import best_to_hear
from scenesynth.preview.tables import label_errors
from scenesynth.preview.view import view_of
from scenesynth.scene.spec import SceneSpec
from scenesynth.store.reader import Dataset, open_dataset
from scenesynth.store.schema import Scene


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

    @property
    def folder(self) -> Path | None:
        """Folder on this machine that a page may be put into."""
        ...

    def shown(self, index: int) -> Shown:
        """A scene.

        Raises:
            CorruptShardError: its shard is missing or damaged.
            ContentError: it cannot be rendered.
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
        self.known = {stored.name: format_of(stored) for stored in dataset.info.formats}

    @property
    def name(self) -> str:
        return str(self.dataset.place)

    @property
    def folder(self) -> Path | None:
        return self.dataset.root if isinstance(self.dataset.root, Path) else None

    @property
    def about(self) -> str:
        info, there, promised = self.dataset.info, len(self.dataset), self.dataset.n_promised
        missing = f" of {promised:,} promised" if promised > there else ""
        return (
            f"recipe {info.recipe['name']}, seed {info.seed}, split {info.split}; "
            f"{', '.join(info.format_names)} at {info.sample_rate / 1000:g} kHz"
            f"{'; stems: ' + ', '.join(info.stem_kinds) if info.stem_kinds else ''}; "
            f"{there:,} scenes{missing}"
        )

    def shown(self, index: int) -> Shown:
        number = self.dataset.number_from(index)
        scene = self._with_stems(self._scene(number), number)
        return Shown(
            scene=scene,
            known=self.known,
            again=again_from(self.dataset.root, self.dataset.info, scene),
        )

    def label_error_deg(self, index: int) -> float | None:
        """Largest angle between a label of a scene and the direction that its audio tells."""
        view = view_of(self._scene(self.dataset.number_from(index)), self.known)
        return max(label_errors(view), default=None)

    def _scene(self, number: int) -> Scene:
        scene = self.dataset[number]
        try:
            SceneSpec.from_json(scene.spec_json)
        except ConfigError as error:
            raise CorruptShardError(
                f"{self.dataset.place}: the spec of {scene.id} cannot be read ({error}); "
                f"`scenesynth audit` finds all such scenes"
            ) from error
        return scene

    def _with_stems(self, scene: Scene, number: int) -> Scene:
        kinds = self.dataset.info.stem_kinds
        heard = best_to_hear(self.known).name
        if set(kinds) - {"dry"}:
            stems = self.dataset.stems(number, formats=[heard])
            scene = replace(scene, stems_by_format=stems)
        return replace(scene, dry=self.dataset.dry(number)) if "dry" in kinds else scene

    def from_index(self, index: int, count: int) -> list[int]:
        first = self.dataset.number_from(index)
        stop = min(first + count, len(self.dataset))
        return [self.dataset.index_of(number) for number in range(first, stop)]

    def before_index(self, index: int, count: int) -> list[int]:
        stop = self.dataset.number_from(index)
        return [self.dataset.index_of(number) for number in range(max(0, stop - count), stop)]

    def renewed(self) -> DatasetShelf:
        if len(self.dataset) == self.dataset.n_promised:
            return self
        return DatasetShelf(open_dataset(self.dataset.root))
