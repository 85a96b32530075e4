"""An audit from beginning to end: choose scenes, read, listen, draw anew, conclude.

    audit = run_audit("out/mine", sample=512)
    [check.name for check in audit.failed]

Damaged shards are left out and named; everything else is looked at nevertheless.
"""

from __future__ import annotations

import shlex
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from scenesynth.audit.achieved import Decay, decay_of, ratio_check, t60_check
from scenesynth.audit.anew import draw_anew, source_of
from scenesynth.audit.choose import choose_scenes, choose_shards
from scenesynth.audit.distributions import MOST_REDRAWN, distributions_check, recipe_check
from scenesynth.audit.files import (
    HASHED_BYTES,
    complete_check,
    files_check,
    hashed_shards,
    living_run,
)
from scenesynth.audit.findings import joined
from scenesynth.audit.licences import clips_check, durations_check, licence_check
from scenesynth.audit.reading import Columns, Damage, OnProgress, chosen_rows, wide_columns
from scenesynth.audit.records import Audit, Check, Finding
from scenesynth.audit.rows import Compared, labels_check, spec_check
from scenesynth.audit.sound import RERENDER, listen, sound_checks
from scenesynth.audit.splits import class_check, clip_check, head_check, room_check
from scenesynth.corpus.corpora import Corpora
from scenesynth.errors import ConfigError, StoreError
from scenesynth.pipeline.plan import split_of
from scenesynth.records import from_plain
from scenesynth.scene.recipe_records import Recipe
from scenesynth.scene.spec import SceneSpec
from scenesynth.store.commit import Commit
from scenesynth.store.places import Address, address_of
from scenesynth.store.reader import Dataset
from scenesynth.store.verify import Verified, verify

SAMPLE: Final = 512
TABLE_SHARDS: Final = 2048
"""Shards of which a few columns are read where not all are: a quarter of a minute."""


@dataclass(slots=True)
class _Read:
    """What was read of the chosen scenes.

    Attributes:
        specs: of evenly some of them, at most `MOST_REDRAWN`.
    """

    compared: Compared
    scenes: list[pa.Table] = field(default_factory=list)
    events: list[pa.Table] = field(default_factory=list)
    decays: list[Decay] = field(default_factory=list)
    specs: list[SceneSpec] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)


def run_audit(
    root: Address,
    *,
    sample: int = SAMPLE,
    full: bool = False,
    seed: int = 0,
    corpora: Corpora | None = None,
    processes: int = 1,
    listening: bool = True,
    on_progress: OnProgress = lambda what, done, total: None,
    before: Callable[[], None] | None = None,
) -> Audit:
    """Audit a dataset; it may still be rendering.

    Args:
        root: its folder or URI.
        sample: scenes whose rows and audio are looked at; all where there are no more.
        full: whether all scenes are, and every byte is read.
        seed: of the choice of scenes.
        corpora: the dataset's clips; the built-in ones if None. What needs the dataset's own clips
            is left out where these are others.
        processes: to listen with.
        listening: whether audio is listened to; without, tables and files alone are looked at.
        on_progress: told what is done.
        before: called once it is known that there is something to audit, before the work.

    Raises:
        ConfigError: an impossible argument.
        StoreError: no dataset there, or one without a scene.
        CorruptShardError: its identity, its extents or its list of excluded scenes are damaged.
    """
    if sample < 1:
        raise ConfigError(f"--sample {sample}; must be at least 1")
    uri = address_of(root)
    found = verify(uri)
    dataset = Dataset(uri, without=_damaged(found))
    if not (dataset.commits or found.findings):
        raise StoreError(
            f"{dataset.place}: no scene has been rendered yet; wait for the first shard, or give "
            f"the `scenesynth render` command of this dataset again"
        )
    if not (len(dataset) or dataset.parked or found.findings):
        raise StoreError(
            f"{dataset.place}: all scenes that are there were excluded, or skipped when rendered; "
            f"see `scenesynth exclude {shlex.quote(str(dataset.place))}`"
        )
    if before is not None:
        before()
    run = living_run(dataset.place, time.time())
    damage = Damage()
    splits = _splits(dataset)
    numbers = list(range(len(dataset))) if full else choose_scenes(dataset, sample, seed, splits)
    read = _read_rows(dataset, numbers, damage, on_progress)
    shards = choose_shards(
        dataset.commits, len(dataset.commits) if full else TABLE_SHARDS, seed, splits
    )
    columns = wide_columns(dataset, shards, damage, on_progress)
    hashed, broken = _hashed(dataset, read, full, on_progress)
    source = source_of(dataset.info, corpora)
    heard = listen(
        dataset,
        _whole(dataset, numbers, read, broken) if listening else [],
        corpora=source.clips,
        processes=processes,
        rerender=None if full else RERENDER,
        on_progress=partial(on_progress, "listening"),
    )
    scenes, events = _tables(dataset, read)
    drawn = draw_anew(dataset.info, source, _shown(scenes), on_progress)
    checks = (
        complete_check(dataset, found, run),
        files_check(found, hashed, [*broken, *damage.findings], uri),
        *_row_checks(dataset, read, columns),
        *_split_checks(dataset, columns),
        recipe_check(
            dataset.info,
            source,
            read.specs,
            len(dataset),
            same_version=read.versions <= {version("scenesynth")},
        ),
        distributions_check(
            *_without(scenes, events, read.compared.wrong),
            drawn,
            len(dataset),
            own_clips=source.own_clips,
        ),
        *(sound_checks(dataset, scenes, events, heard) if listening else ()),
        licence_check(columns, dataset.info.corpora, len(dataset)),
        clips_check(columns, len(dataset)),
        durations_check(columns, len(dataset)),
    )
    return Audit(
        uri=str(uri),
        seed=seed,
        n_scenes=len(dataset),
        n_promised=dataset.n_promised,
        running=run is not None,
        identity=dataset.info.to_dict(),
        checks=joined(checks),
        scenes=scenes,
        events=events,
        heard=heard,
        drawn=None if isinstance(drawn, str) else drawn[0],
        drawn_events=None if isinstance(drawn, str) else drawn[1],
        drawn_clips=source.own_clips,
    )


def _damaged(found: Verified) -> set[int]:
    """Shards to leave out: damaged ones, and commits that are not understood."""
    keys = [finding.key.split("/") for finding in found.findings]
    named = {
        int(name.removesuffix(".json"))
        for folder, *names in keys
        for name in names
        if folder == "commits" and name.removesuffix(".json").isdecimal()
    }
    return named | set(found.damaged_shards)


def _splits(dataset: Dataset) -> Callable[[int], str]:
    """Split of a shard's scenes, where the recipe decides it."""
    info = dataset.info
    if info.came_from is not None:
        return lambda shard: ""
    try:
        recipe = from_plain(Recipe, info.recipe, "recipe")
    except ConfigError:
        return lambda shard: ""
    return lambda shard: split_of(recipe, info, shard)


def _read_rows(
    dataset: Dataset, numbers: Sequence[int], damage: Damage, on_progress: OnProgress
) -> _Read:
    read = _Read(compared=Compared(info=dataset.info))
    step = -(-len(numbers) // MOST_REDRAWN)
    for rows in chosen_rows(dataset, numbers, damage, on_progress):
        before = len(read.compared.looked)
        for place, (row, events, spec) in enumerate(read.compared.add(rows), start=before):
            if (decay := decay_of(row, events, spec)) is not None:
                read.decays.append(decay)
            if place % step == 0:
                read.specs.append(spec)
        read.scenes.append(rows.scenes.drop_columns(["spec"]))
        read.events.append(rows.events)
        read.versions.add(str(rows.commit.versions.get("scenesynth")))
    return read


def _tables(dataset: Dataset, read: _Read) -> tuple[pa.Table, pa.Table]:
    empty = dataset.schema("scenes").empty_table().drop_columns(["spec"])
    scenes = pa.concat_tables([empty, *read.scenes], promote_options="default")
    events = pa.concat_tables(
        [dataset.schema("events").empty_table(), *read.events], promote_options="default"
    )
    return scenes.combine_chunks(), events.combine_chunks()


def _row_checks(dataset: Dataset, read: _Read, columns: Columns) -> list[Check]:
    size, total = dataset.info.shard_scenes, len(dataset)
    off = read.compared.off
    doubtful = {
        what: {index for index, wrong in off.items() if column in wrong}
        for what, column in (
            ("snr", "snr_requested_db"),
            ("sir", "sir_requested_db"),
            ("t60", "rt60_requested_s"),
        )
    }
    return [
        spec_check(read.compared, total),
        labels_check(read.compared, total),
        ratio_check(columns.scenes, "snr", total, doubtful["snr"], size),
        ratio_check(columns.scenes, "sir", total, doubtful["sir"], size),
        t60_check(read.decays, len(read.compared.looked), total, doubtful["t60"], size),
    ]


def _split_checks(dataset: Dataset, columns: Columns) -> list[Check]:
    total = len(dataset)
    heads: Mapping[str, Any] | None = dataset.info.recipe.get("heads")
    return [
        room_check(columns, total),
        clip_check(columns, total),
        # Without heads of its own a recipe has all splits hear with the default one.
        head_check(columns, total, shared=heads is None or bool(heads.get("shared"))),
        class_check(columns, dataset.classes, total),
    ]


def _hashed(
    dataset: Dataset, read: _Read, full: bool, on_progress: OnProgress
) -> tuple[list[int], list[Finding]]:
    """Every byte of all shards, or of those whose scenes were chosen."""
    chosen = {index // dataset.info.shard_scenes for index in read.compared.looked}
    commits: list[Commit] = [commit for commit in dataset.commits if full or commit.shard in chosen]
    return hashed_shards(dataset, commits, None if full else HASHED_BYTES, on_progress)


def _whole(
    dataset: Dataset, numbers: Sequence[int], read: _Read, broken: Sequence[Finding]
) -> list[int]:
    """Those of the chosen scenes whose shards are whole, as far as that is known."""
    shards = {index // dataset.info.shard_scenes for index in read.compared.looked}
    shards -= {finding.shard for finding in broken if finding.shard is not None}
    kept: list[int] = []
    stop = 0
    for at, commit in enumerate(dataset.commits):
        first, stop = stop, stop + dataset.n_usable(at)
        if commit.shard in shards:
            kept += numbers[bisect_left(numbers, first) : bisect_left(numbers, stop)]
    return kept


def _without(
    scenes: pa.Table, events: pa.Table, gone: Collection[int]
) -> tuple[pa.Table, pa.Table]:
    """Rows of other scenes than some."""
    some = pa.array(sorted(gone), pa.int64())
    kept, others = (
        table.filter(pc.invert(pc.is_in(table["index"], some))) for table in (scenes, events)
    )
    return kept, others


def _shown(scenes: pa.Table) -> list[dict[str, Any]]:
    return list(scenes.select(["index", "split"]).to_pylist())
