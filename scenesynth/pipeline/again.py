"""Planning a dataset whose specs are given by another: a subset, other formats, changed values.

    plan = plan_again("out/a", "out/b", formats=["binaural"], open_corpora=Corpora.open)
    run(plan)

The new dataset numbers its scenes from 0 without gaps, in the order of the source, and keeps their
ids. Which scenes these are is settled when they are first asked for (`selection/<n>.parquet`); the
same command again goes on with them, and adds, as another extent, what its source has got since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError
from scenesynth.pipeline.changes import parse_changes
from scenesynth.pipeline.environment import cpu_level, package_versions
from scenesynth.pipeline.formats import stored_format
from scenesynth.pipeline.given import Given, copyable
from scenesynth.pipeline.plan import (
    MAX_SHARD_BYTES,
    Plan,
    check_shards,
    checked_address,
    corpora_identity,
    shard_count,
    shard_scenes_of,
    stems_of,
)
from scenesynth.pipeline.sources import (
    DatasetSource,
    ManifestSource,
    Numbers,
    Source,
    open_source,
    read_selection,
    write_selection,
)
from scenesynth.records import from_plain
from scenesynth.render.rows import LABEL_VERSION
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.spec import RENDER_VERSION
from scenesynth.spatial.formats import parse_formats
from scenesynth.store.arrays import CODECS
from scenesynth.store.commit import explained, record_of
from scenesynth.store.layout import (
    DatasetInfo,
    StoredStems,
    extent_key,
    read_extents,
    seal,
    selection_key,
    stored_arrays,
)
from scenesynth.store.places import Address, place_of
from scenesynth.store.reader import Dataset
from scenesynth.store.scene_ids import find_scenes, read_ids
from scenesynth.store.schema import SCHEMA_VERSION
from scenesynth.store.writer import write_metadata

NO_STEMS: Final = "none"
ENVIRONMENT: Final = ("backend", "packages", "cpu")
_NAMED: Final = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class AgainPlan(Plan):
    """What is going to be made of given specs.

    Attributes:
        given: where they come from.
        numbers: of the chosen scenes in the source, rising.
        complete: whether the source will not get more of them.
        rendering: why some of it may have to be rendered; "" where all is copied.
    """

    given: Given
    numbers: Numbers
    complete: bool
    rendering: str

    @property
    def specs(self) -> Given:
        """Where the scenes' specs come from."""
        return self.given

    def extend(self) -> int:
        """Write down which scenes the dataset holds; their number.

        Raises:
            ConfigError: the scenes that there are so far do not fill a shard.
            StoreError: no space, read-only, no permission.
        """
        size = self.info.shard_scenes
        with explained(self.root):
            while True:
                n_extents = len(read_extents(self.root))
                known = [read_selection(self.root, n) for n in range(n_extents)]
                have = sum(map(len, known))
                fresh = np.setdiff1d(self.numbers, np.concatenate(known) if known else [])
                if not self.complete:
                    fresh = fresh[: len(fresh) // size * size]
                if not len(fresh) or have % size:
                    break
                self._add_extent(n_extents, have, fresh.astype(np.int64))
            if not have:
                raise ConfigError(self._too_few())
            write_metadata(self.root, self.info, have)
        return have

    def _add_extent(self, number: int, have: int, fresh: Numbers) -> None:
        """Another job that does the same may come first; then its choice holds."""
        key = selection_key(number)
        place = place_of(self.root)
        place.put_once(key, write_selection(fresh))
        data = place.read(key)
        extent = {"first": have, "stop": have + len(read_selection(self.root, number))}
        body = {"schema": SCHEMA_VERSION, **extent, "selection": record_of(data).xxh3}
        place.put_once(extent_key(number), seal(body))

    def _too_few(self) -> str:
        return (
            f"--from {self.given.source}: it is still being rendered, and its {len(self.numbers)} "
            f"scenes so far do not fill a shard of {self.info.shard_scenes}; wait for more, give a "
            f"smaller --shard-scenes, or choose scenes with --only"
        )

    @property
    def needs_clips(self) -> bool:
        """Whether anything may have to be rendered."""
        return bool(self.rendering)


def plan_again(
    source: str | Path,
    out: str | Path,
    *,
    open_corpora: Callable[[], Corpora],
    only: Sequence[str] = (),
    changes: Sequence[tuple[str, str]] = (),
    formats: Sequence[str] = (),
    stems: Sequence[str] | None = None,
    shard_scenes: int | None = None,
    codec: str | None = None,
    on_error: str = "skip",
    anew: bool = False,
    other_environment: bool = False,
) -> AgainPlan:
    """Plan to make given scenes again; nothing is written.

    Args:
        source: a dataset, finished or not, or its `manifest.parquet`.
        out: folder of the new dataset.
        open_corpora: opens the corpora that the scenes were made from; only called if something
            may have to be rendered.
        only: scenes, as `read_ids` takes them; () for all.
        changes: pairs of field and YAML text; see `changes.FIELDS`.
        formats: names; () for those of the source.
        stems: kinds; None for those of the source, ("none",) for none.
        shard_scenes: scenes per shard; None for as many as the source has, or less where a shard
            would be too large.
        codec: None for that of the source.
        on_error: "skip" or "stop" at a scene that cannot be rendered.
        anew: copy nothing.
        other_environment: see `Plan`.

    Raises:
        ConfigError: scenes, changes or arguments that are impossible, or corpora that are not
            those of the source.
        StoreError: no dataset there.
    """
    root, opened = checked_address(out), open_source(str(source))
    if _whole(root) == _whole(opened.root):
        raise ConfigError(f"--out {out}: is the source itself; give another folder")
    if on_error not in ("skip", "stop"):
        raise ConfigError(
            f"--on-error {on_error}: given scenes are not drawn again; must be skip or stop"
        )
    if codec is not None and codec not in CODECS:
        raise ConfigError(f"--codec {codec}: must be one of {', '.join(CODECS)}")
    old = opened.info
    recipe = from_plain(Recipe, old.recipe, f"{opened.root}: recipe")
    changed = parse_changes(changes, old.recipe)
    numbers, complete = _choose(opened, only)
    stored = tuple(map(stored_format, parse_formats(formats))) if formats else ()
    info = replace(
        old,
        formats=stored or old.formats,
        codec=codec or old.codec,
        on_error=on_error,
        backend="cpu",
        render=RENDER_VERSION,
        labels=LABEL_VERSION,
        packages=package_versions(),
        cpu=cpu_level(),
        stems=_stored_stems(stems, recipe, old),
    )
    info = replace(info, shard_scenes=_scenes_per_shard(shard_scenes, old, info))
    why = _rendering(opened, info, changed, anew)
    corpora = Corpora({})
    if why:
        corpora = _checked(open_corpora(), opened, numbers)
        info = replace(info, corpora=corpora_identity(corpora))
    chosen = numbers if only else None
    info = replace(info, came_from=_origin(opened, info, chosen, changed, anew))
    check_shards(len(numbers), info)
    given = Given(source=_whole(opened.root), changes=changed, anew=anew)
    return AgainPlan(
        root=root,
        info=info,
        recipe=recipe,
        corpora=corpora,
        scenes=len(numbers),
        limit=len(numbers),
        other_environment=other_environment,
        notes=_notes(opened, info, complete),
        given=given,
        numbers=numbers,
        complete=complete,
        rendering=why,
    )


def _whole(root: Address) -> str:
    """A folder's whole path; a URI as it is."""
    return str(root.resolve()) if isinstance(root, Path) else root


def _choose(source: Source, only: Sequence[str]) -> tuple[Numbers, bool]:
    """Numbers of the chosen scenes, rising, and whether there will not be more."""
    if isinstance(source, ManifestSource):
        numbers, complete = _of_manifest(source, only), True
    else:
        numbers, complete = _of_dataset(Dataset(source.root), only)
    if not len(numbers):
        raise ConfigError(f"--from {source.root}: holds no scene that could be rendered again")
    return numbers, complete


def _of_dataset(dataset: Dataset, only: Sequence[str]) -> tuple[Numbers, bool]:
    excluded = dataset.excluded
    if only:
        found = find_scenes(dataset, read_ids(only), "--only")
        if gone := [name for number, name in found.items() if number in excluded]:
            raise ConfigError(
                f"--only {gone[0]}: is excluded; leave it out, or take that back: scenesynth "
                f"exclude {dataset.root} {gone[0]} --undo"
            )
        return np.array(list(found), np.int64), True
    whole = [commit for commit in dataset.commits if commit.status == "ok"]
    ranges = [np.arange(commit.first, commit.stop) for commit in whole]
    every = np.concatenate(ranges) if ranges else np.empty(0)
    gone_numbers = [*excluded, *(number for commit in whole for number in commit.skipped)]
    complete = len(dataset.commits) == shard_count(dataset.info, dataset.n_promised)
    return np.setdiff1d(every, gone_numbers).astype(np.int64), complete


def _of_manifest(source: ManifestSource, only: Sequence[str]) -> Numbers:
    usable = source.usable()
    if not only:
        return usable
    ids = source.columns(["id"])["id"].to_pylist()
    number_of = {ids[number]: number for number in usable.tolist()}
    names = read_ids(only)
    if missing := [name for name in names if name not in number_of]:
        raise ConfigError(f"--only {missing[0]}: no such scene in {source.root}")
    return np.array(sorted(number_of[name] for name in names), np.int64)


def _stored_stems(
    stems: Sequence[str] | None, recipe: Recipe, old: DatasetInfo
) -> StoredStems | None:
    if stems is None:
        return old.stems
    return None if list(stems) == [NO_STEMS] else stems_of(stems, recipe)


def _scenes_per_shard(given: int | None, old: DatasetInfo, info: DatasetInfo) -> int:
    """As many as the source has; halved where that makes objects too large that were not."""

    def rows(item: DatasetInfo) -> int:
        return max(array.n_rows for array in stored_arrays(item.formats, item.stems))

    if given is not None:
        return shard_scenes_of(given, rows(info), info.max_samples, info.codec)
    size = old.shard_scenes
    scene = rows(info) * info.max_samples * CODECS[info.codec].itemsize
    while size > 1 and rows(info) > rows(old) and size * scene > MAX_SHARD_BYTES:
        size //= 2
    return size


def _rendering(source: Source, info: DatasetInfo, changed: Mapping[str, Any], anew: bool) -> str:
    """Why some of it may have to be rendered; "" where nothing has."""
    if anew:
        return "everything is rendered anew"
    if isinstance(source, ManifestSource):
        return "a manifest holds no audio"
    if source.info.render != RENDER_VERSION:
        return f"it was rendered by version {source.info.render}, now it is {RENDER_VERSION}"
    if source.info.labels != LABEL_VERSION:
        return f"its labels are of version {source.info.labels}, now it is {LABEL_VERSION}"
    kept = copyable(source.info, info)
    if missing := [fmt.name for fmt in info.formats if fmt not in kept]:
        return f"it does not hold {', '.join(missing)} in this form"
    if changed:
        return f"{', '.join(changed)} may change"
    return ""


def _notes(source: Source, info: DatasetInfo, complete: bool) -> tuple[str, ...]:
    """What a user may not expect."""
    notes = []
    if not complete:
        notes.append(
            f"{source.root} is still being rendered; the same command again adds what it gets"
        )
    if "environment" in (info.came_from or {}):
        notes.append(
            "what is copied was rendered with other packages or on another CPU, and may differ by "
            "rounding from what is rendered here; --anew renders everything here"
        )
    return tuple(notes)


def _origin(
    source: Source,
    info: DatasetInfo,
    chosen: Numbers | None,
    changed: Mapping[str, Any],
    anew: bool,
) -> dict[str, Any]:
    """What the identity says of where the scenes came from."""
    old = source.info
    origin: dict[str, Any] = {"dataset": record_of(seal(old.to_dict())).xxh3, "changes": changed}
    if chosen is not None:
        origin["only"] = record_of(chosen.astype("<i8").tobytes()).xxh3
    if not anew and copyable(old, info) and isinstance(source, DatasetSource):
        here, there = ({k: getattr(x, k) for k in ENVIRONMENT} for x in (info, old))
        if here != there and old.render == info.render:
            origin["environment"] = there
    return origin


def _checked(corpora: Corpora, source: Source, numbers: Numbers) -> Corpora:
    """The corpora, if they hold the clips of the chosen scenes as these were made from.

    Raises:
        ConfigError: a corpus is missing, or a clip is not the same.
    """
    for name, recorded in source.info.corpora.items():
        if corpora.named(name).digest != recorded["digest"]:
            _check_clips(corpora, source, numbers, name)
    return corpora


def _check_clips(corpora: Corpora, source: Source, numbers: Numbers, name: str) -> None:
    """A corpus that is another one by its digest may have all clips that matter."""
    head = f"--from {source.root}: corpus {name} is not the one that its scenes were made from"
    way_out = (
        f"give that one with --sources or --noise (or {name}=PATH), or leave the scenes of "
        f"those clips out with --only"
    )
    if isinstance(source, ManifestSource):
        recorded = source.info.corpora[name]["digest"][:12]
        raise ConfigError(
            f"{head} (digest {corpora[name].digest[:12]}, recorded {recorded}); {way_out}"
        )
    known = {clip.id: clip.digest for clip in corpora[name].clips}
    used = _used_clips(Dataset(source.root), numbers, name)
    bad = [clip for clip, digest in used if known.get(clip) != digest]
    if bad:
        n_more = len(bad) - _NAMED
        more = f" and {n_more} more" if n_more > 0 else ""
        raise ConfigError(
            f"{head}: it lacks, or has other samples of, {', '.join(bad[:_NAMED])}{more}; {way_out}"
        )


def _used_clips(dataset: Dataset, numbers: Numbers, name: str) -> list[tuple[str, str]]:
    """Id and digest of the clips of a corpus that the chosen scenes play, sorted."""
    table = dataset.table("events", ["index", "corpus", "clip", "clip_digest"])
    mine = pc.and_(
        pc.fill_null(pc.equal(table["corpus"], name), fill_value=False),
        pc.is_in(table["index"], pa.array(numbers)),
    )
    groups = table.filter(mine).group_by(["clip", "clip_digest"]).aggregate([])
    return sorted(zip(groups["clip"].to_pylist(), groups["clip_digest"].to_pylist(), strict=True))
