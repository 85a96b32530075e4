"""Which scenes of a dataset take part: those of a split, that match a filter, in sound shards.

A filter maps columns of the scenes table to what they must be: a value, a list of values, or a pair
(low, high) for what lies between them, ends included, either of which may be None. A value that is
null matches nothing but None.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.store.commit import Commit
from scenesynth.store.reader import Dataset
from scenesynth.store.schema import STATUS_OK
from scenesynth.store.verify import verify

logger = logging.getLogger(__name__)

ALL_SPLITS: Final = "all"
SkipBad = Literal[False, True, "deep"]
Where = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is asked for: a split, a filter, and whether damaged shards are left out.

    Attributes:
        skip_bad: leave out shards that `verify` finds damaged when the dataset is opened; "deep"
            reads every byte of it for that.
    """

    split: str | None = None
    where: Where | None = None
    skip_bad: SkipBad = False

    def check(self, dataset: Dataset) -> None:
        """Check that the columns are there, and that all is asked for what it can be.

        Raises:
            ConfigError: they are not, or it is not.
        """
        if self.skip_bad not in get_args(SkipBad):
            raise ConfigError(f"skip_bad = {self.skip_bad!r}; must be False, True or 'deep'")
        if not isinstance(self.where, Mapping | None):
            raise ConfigError(f"where = {self.where!r}; must map columns to what they must be")
        for name, wanted in (self.where or {}).items():
            _check_filter(dataset, name, wanted)
        held = dataset.info.split
        if self.split is None and held == ALL_SPLITS:
            logger.warning(
                "%s holds all splits and all of them are read; split='train' takes one",
                dataset.place,
            )
        if self.split is not None and held not in (ALL_SPLITS, self.split):
            raise ConfigError(f"split {self.split!r}: {dataset.place} holds only {held!r}")

    def shards(self, dataset: Dataset) -> list[NDArray[np.int64]]:
        """Numbers of the scenes that take part, by shard, in canonical order.

        Raises:
            ConfigError: there are none.
            CorruptShardError: a part of the table is missing or damaged.
        """
        bad = _bad_shards(dataset, self.skip_bad)
        if self._needs_table(dataset):
            found = self._from_table(dataset, bad)
        else:
            found = [
                scenes
                for commit in dataset.commits
                if commit.shard not in bad and len(scenes := _usable(commit, _dropped(dataset)))
            ]
        if not found:
            raise ConfigError(self._empty(dataset))
        return found

    def of_commit(self, dataset: Dataset, commit: Commit) -> NDArray[np.int64]:
        """Numbers of the scenes of one shard that take part; a parked one has none."""
        usable = _usable(commit, _dropped(dataset))
        if commit.status != "ok" or not self._needs_table(dataset):
            return usable
        table = dataset.part("scenes", commit)
        return np.intersect1d(self._matching(table), usable, assume_unique=True)

    def _needs_table(self, dataset: Dataset) -> bool:
        return bool(self.where) or (self.split is not None and dataset.info.split == ALL_SPLITS)

    def _from_table(self, dataset: Dataset, bad: frozenset[int]) -> list[NDArray[np.int64]]:
        columns = ["index", "status", "split", *(self.where or {})]
        index = np.sort(self._matching(dataset.table("scenes", list(dict.fromkeys(columns)))))
        shard = index // dataset.info.shard_scenes
        parts = np.split(index, np.flatnonzero(np.diff(shard)) + 1)
        size = dataset.info.shard_scenes
        return [part for part in parts if len(part) and int(part[0]) // size not in bad]

    def _matching(self, table: pa.Table) -> NDArray[np.int64]:
        """Numbers of the rows that match."""
        keep = [pc.equal(table["status"], STATUS_OK)]
        if self.split is not None:
            keep.append(pc.equal(table["split"], self.split))
        keep += [_matches(table[name], wanted) for name, wanted in (self.where or {}).items()]
        rows = table["index"].filter(reduce(pc.and_, [pc.fill_null(mask, False) for mask in keep]))
        return np.asarray(rows.to_numpy(), np.int64)

    def _empty(self, dataset: Dataset) -> str:
        asked = [
            *([f"split={self.split!r}"] if self.split is not None else []),
            *([f"where={dict(self.where)!r}"] if self.where else []),
            *([f"skip_bad={self.skip_bad!r}"] if self.skip_bad else []),
        ]
        has = f"it has {len(dataset)} usable of {dataset.n_promised} scenes"
        if not len(dataset):
            return f"{dataset.place}: no scene has been rendered yet; follow=True waits for them"
        if self.split is not None:
            splits = pc.unique(dataset.table("scenes", ["split"])["split"]).to_pylist()
            has += f", of split {', '.join(sorted(str(split) for split in splits))}"
        return f"{dataset.place}: no scene matches {', '.join(asked)}; {has}"


def column_kind(schema: pa.Schema, name: str, what: str, place: object) -> pa.DataType:
    """Type of a column of the scenes table that holds one value a scene.

    Raises:
        ConfigError: there is none of that name, or it holds lists.
    """
    if name not in schema.names:
        raise ConfigError(
            f"{what}: {place} has no column {name!r}{did_you_mean(str(name), schema.names)}; "
            f"columns of the scenes table: {', '.join(schema.names)}"
        )
    kind = schema.field(name).type
    if pa.types.is_nested(kind):
        raise ConfigError(f"{what}: column {name!r} holds lists ({kind}); it must hold one value")
    return kind


def check_number(schema: pa.Schema, name: str, what: str, place: object) -> None:
    """Check that a column of the scenes table holds one number a scene.

    Args:
        what, place: what asks for it, and of what; for the error.

    Raises:
        ConfigError: it does not.
    """
    kind = column_kind(schema, name, what, place)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ConfigError(f"{what}: column {name!r} holds {kind}; it must hold numbers")


def _check_filter(dataset: Dataset, name: str, wanted: Any) -> None:
    kind = column_kind(dataset.schema("scenes"), name, "where", dataset.place)
    text = pa.types.is_string(kind)
    if isinstance(wanted, tuple) and (len(wanted) != 2 or text):
        raise ConfigError(
            f"where[{name!r}] = {wanted!r}: must be a value, a list of values"
            + ("" if text else ", or a pair (low, high), either of which may be None")
        )
    for value in wanted if isinstance(wanted, tuple | list) else (wanted,):
        try:
            pa.scalar(value, kind)
        except (pa.ArrowException, TypeError, ValueError):
            raise ConfigError(
                f"where[{name!r}]: {value!r} is not of the column's type, {kind}"
            ) from None


def _matches(column: pa.ChunkedArray, wanted: Any) -> Any:
    if isinstance(wanted, tuple):
        low, high = (None if end is None else pa.scalar(end) for end in wanted)
        masks = [
            *([pc.greater_equal(column, low)] if low is not None else []),
            *([pc.less_equal(column, high)] if high is not None else []),
        ]
        return reduce(pc.and_, masks, pc.is_valid(column))
    values = wanted if isinstance(wanted, list) else [wanted]
    given = pa.array([value for value in values if value is not None], column.type)
    known = pc.is_in(column, given)  # false for nulls
    return pc.or_(known, pc.is_null(column)) if None in values else known


def _dropped(dataset: Dataset) -> Mapping[int, str]:
    """Scenes that the user has excluded, and has not asked for nevertheless."""
    return {} if dataset.with_excluded else dataset.excluded


def _usable(commit: Commit, excluded: Mapping[int, str]) -> NDArray[np.int64]:
    """Numbers of the scenes of a shard that are neither skipped nor excluded."""
    if commit.status != "ok":
        return np.empty(0, np.int64)
    scenes = np.arange(commit.first, commit.stop)
    gone = [*commit.skipped, *(i for i in excluded if commit.first <= i < commit.stop)]
    return scenes[~np.isin(scenes, gone)] if gone else scenes


def _bad_shards(dataset: Dataset, skip_bad: SkipBad) -> frozenset[int]:
    """Shards that `verify` finds damaged, if they are to be left out."""
    if not skip_bad:
        return frozenset()
    found = verify(dataset.place, deep=skip_bad == "deep")
    if found.damaged_shards:
        logger.warning(
            "%s: left out %d damaged shards (%s); scenesynth verify %s --repair",
            dataset.place,
            len(found.damaged_shards),
            ", ".join(str(shard) for shard in found.damaged_shards[:8]),
            dataset.place,
        )
    return frozenset(found.damaged_shards)
