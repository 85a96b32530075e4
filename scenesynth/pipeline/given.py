"""Scenes whose specs are given: copied where nothing changed, rendered where something did.

A format whose `render_key` is that of the source is taken over as encoded bytes, with its stems;
formats that are missing are rendered. Rows and labels come from the rendering, or, where nothing
is rendered, from the source. Either way they are what rendering all of it anew would give: where
the source has an older version of labels, all is rendered for their sake, and its audio is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from scenesynth.pipeline.changes import Changes, changed_spec
from scenesynth.pipeline.formats import format_of
from scenesynth.pipeline.sources import DatasetSource, open_source, selected
from scenesynth.render.renderer import Clips, render_scene
from scenesynth.render.rows import head_name
from scenesynth.scene.spec import SceneSpec, render_key
from scenesynth.store.copies import Row
from scenesynth.store.layout import DatasetInfo, StoredArray, StoredFormat, StoredStem
from scenesynth.store.places import Address
from scenesynth.store.schema import EVENTS, PER_FORMAT, Scene, scenes_schema
from scenesynth.timing import stage

_SLOTTED: Final = ("direct", "early", "late", "dry")
"""Stems that have a slot for each emitter."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Where a job's specs come from; small, and picklable.

    Attributes:
        source: folder of a dataset, or a manifest.
        changes: what is changed on every spec that it applies to.
        anew: whether everything is rendered, and nothing copied.
    """

    source: str
    changes: Changes = field(default_factory=dict)
    anew: bool = False

    def row(self, root: Address, stop: int, index: int) -> Row:
        """Row in the source of scene `index` of the dataset in `root`, which promises `stop`."""
        return open_source(self.source).row(int(selected(root, stop)[index]))

    def spec(self, root: Address, stop: int, index: int) -> SceneSpec:
        """Spec of that scene, changed.

        Raises:
            ConfigError: it does not allow the change.
        """
        return changed_spec(self.row(root, stop, index)["spec"], self.changes)

    def scene(
        self, root: Address, info: DatasetInfo, stop: int, index: int, clips: Callable[[], Clips]
    ) -> Scene:
        """That scene, ready to be written.

        Args:
            clips: opens the corpora, if it comes to that.

        Raises:
            ContentError: it needs rendering and cannot be rendered.
            ConfigError: it does not allow the change, or there are no such clips.
            CorruptShardError: its shard in the source is damaged.
        """
        with stage("copy"):
            number = int(selected(root, stop)[index])
            spec = self.spec(root, stop, index)
            kept = self._kept(number, spec, info)
            arrays = [array for array in info.arrays if _goes_with(array, kept, info)]
            encoded = {}
            if arrays:
                source = open_source(self.source)
                assert isinstance(source, DatasetSource)
                encoded = source.shard(number).encoded(number, arrays)
        relabel = open_source(self.source).info.labels != info.labels
        missing = [fmt for fmt in info.formats if relabel or fmt not in kept]
        if not missing:
            return _copied(self.source, number, spec, info, encoded)
        with stage("render"):
            formats = [format_of(fmt) for fmt in missing]
            scene = render_scene(spec, clips(), formats=formats, stems=info.stem_kinds)
        old = self.row(root, stop, index)
        taken = [fmt for fmt in kept if fmt not in missing]
        row = {key: old[key] for fmt in taken for key in _columns(fmt)}
        row |= {"head": head_name(spec, [format_of(fmt) for fmt in info.formats])}
        return replace(scene, row={**scene.row, **row}, encoded=encoded)

    def _kept(self, number: int, spec: SceneSpec, info: DatasetInfo) -> list[StoredFormat]:
        """Formats of `info` that the source holds as they would be rendered now."""
        source = open_source(self.source)
        if self.anew or not isinstance(source, DatasetSource):
            return []
        candidates = copyable(source.info, info)
        if not candidates:
            return []
        shard = source.shard(number)
        row = shard.rows[number]
        names = scenes_schema([fmt.name for fmt in candidates]).names
        if not (set(names) <= set(row) and set(EVENTS) <= shard.event_columns):
            return []  # made before there were such columns
        return [
            fmt
            for fmt in candidates
            if row[f"render_key_{fmt.name}"] == render_key(spec, format_of(fmt))
        ]


def copyable(source: DatasetInfo, info: DatasetInfo) -> list[StoredFormat]:
    """Formats of `info` whose bytes, where they are equal, `source` holds in the same form."""
    same = ("codec", "sample_rate", "max_samples")
    if any(getattr(source, name) != getattr(info, name) for name in same):
        return []
    if info.stems is not None:
        has = source.stems
        if has is None or has.slots != info.stems.slots or not {*info.stems.kinds} <= {*has.kinds}:
            return []
    return [fmt for fmt in info.formats if fmt in source.formats]


def _goes_with(array: StoredArray, kept: list[StoredFormat], info: DatasetInfo) -> bool:
    """Whether an array is copied along with the formats that are."""
    if isinstance(array, StoredStem):
        # Dry stems have no format: they come with the rendering if there is one.
        return array.format in kept if array.format else len(kept) == len(info.formats)
    return array in kept


def _copied(
    uri: str, number: int, spec: SceneSpec, info: DatasetInfo, encoded: dict[str, Any]
) -> Scene:
    """A scene of which nothing is rendered."""
    source = open_source(uri)
    assert isinstance(source, DatasetSource)
    shard = source.shard(number)
    old = shard.rows[number]
    text = spec.to_json()
    row = {name: old[name] for name in scenes_schema(info.format_names).names}
    row |= {"spec": text, "head": head_name(spec, [format_of(fmt) for fmt in info.formats])}
    slotted = bool(set(info.stem_kinds) & set(_SLOTTED))
    events = tuple(
        {name: event[name] for name in EVENTS} | ({} if slotted else {"stem": None})
        for event in shard.events.get(number, ())
    )
    return Scene(
        spec_json=text,
        sample_rate=info.sample_rate,
        audio_by_format={},
        row=row,
        events=events,
        encoded=encoded,
    )


def _columns(fmt: StoredFormat) -> list[str]:
    return [key.format(format=fmt.name) for key in PER_FORMAT]
