"""Reading what an audit looks at of the tables, shard by shard; a damaged one ends nothing.

Two readings: all columns of a few scenes, with their specs; and few columns of many shards.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from scenesynth.audit.records import Finding
from scenesynth.errors import StoreError
from scenesynth.store.commit import Commit
from scenesynth.store.layout import table_key
from scenesynth.store.reader import Dataset
from scenesynth.store.schema import STATUS_OK

OnProgress = Callable[[str, int, int], None]
"""Told what is done, how many of it, of how many."""

WIDE_SCENES: Final = (
    *("index", "id", "status", "split", "room", "head", "n_samples", "sample_rate"),
    *("snr_requested_db", "snr_achieved_db", "sir_requested_db", "sir_achieved_db"),
)
WIDE_EVENTS: Final = (
    *("index", "role", "group", "labels", "corpus", "clip", "clip_digest", "licence"),
)
_AT_ONCE: Final = 64
"""Shards whose rows are joined before their texts are replaced by numbers."""


class Rows(NamedTuple):
    """Chosen scenes of one shard: all columns, a row a scene or an event."""

    commit: Commit
    scenes: pa.Table
    events: pa.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Few columns of many shards.

    Attributes:
        shards: that were read.
        damaged: what could not be.
    """

    scenes: pa.Table
    events: pa.Table
    shards: int
    damaged: tuple[Finding, ...]


class Damage:
    """Collects what cannot be read, once by shard."""

    def __init__(self) -> None:
        self._found: dict[int, Finding] = {}

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._found[shard] for shard in sorted(self._found))

    def add(self, commit: Commit, key: str, error: Exception) -> None:
        what = f"cannot be read: {error}"
        self._found.setdefault(commit.shard, Finding(what=what, key=key, shard=commit.shard))

    def part(
        self, dataset: Dataset, name: str, commit: Commit, columns: Sequence[str] | None = None
    ) -> pa.Table | None:
        """A part of a table without scenes that are not there; None where it is damaged."""
        try:
            (part,) = dataset.parts(name, [commit], columns)
            return _usable(part, dataset, name)
        except (StoreError, OSError, KeyError, pa.ArrowException) as error:
            self.add(commit, table_key(name, commit.shard), error)
            return None


def chosen_rows(
    dataset: Dataset, numbers: Sequence[int], damage: Damage, on_progress: OnProgress
) -> Iterator[Rows]:
    """Rows of the scenes `dataset[n]`, a shard at a time; of damaged shards there are none.

    Args:
        numbers: rising.
    """
    stops = list(accumulate(dataset.n_usable(at) for at in range(len(dataset.commits))))
    done = 0
    for at, commit in enumerate(dataset.commits):
        first = stops[at] - dataset.n_usable(at)
        mine = numbers[bisect_left(numbers, first) : bisect_left(numbers, stops[at])]
        places = [number - first for number in mine]
        if not places:
            continue
        done += len(places)
        scenes = damage.part(dataset, "scenes", commit)
        events = None if scenes is None else damage.part(dataset, "events", commit)
        if scenes is not None and events is not None and places[-1] < len(scenes):
            chosen = scenes.take(pa.array(places))
            of_chosen = pc.is_in(events["index"], chosen["index"].combine_chunks())
            yield Rows(commit, chosen, events.filter(of_chosen))
        on_progress("reading rows", done, len(numbers))


def wide_columns(
    dataset: Dataset, commits: Sequence[Commit], damage: Damage, on_progress: OnProgress
) -> Columns:
    """`WIDE_SCENES` and `WIDE_EVENTS` of some shards."""
    names = {"scenes": _there(dataset, "scenes"), "events": _there(dataset, "events")}
    found: dict[str, list[pa.Table]] = {"scenes": [], "events": []}
    shards = 0
    for start in range(0, len(commits), _AT_ONCE):
        parts: dict[str, list[pa.Table]] = {"scenes": [], "events": []}
        for commit in commits[start : start + _AT_ONCE]:
            both = {key: damage.part(dataset, key, commit, names[key]) for key in names}
            if all(part is not None for part in both.values()):
                shards += 1
                for key, part in both.items():
                    parts[key].append(part)
        for key, some in parts.items():
            if some:
                joined = pa.concat_tables(some, promote_options="default")
                found[key].append(_numbered(joined.combine_chunks()))
        on_progress("reading tables", min(start + _AT_ONCE, len(commits)), len(commits))
    joined = {
        key: pa.concat_tables(some, promote_options="default").unify_dictionaries()
        if some
        else dataset.schema(key).empty_table().select(names[key])
        for key, some in found.items()
    }
    return Columns(
        scenes=joined["scenes"],
        events=joined["events"],
        shards=shards,
        damaged=damage.findings,
    )


def _there(dataset: Dataset, name: str) -> list[str]:
    wanted = WIDE_SCENES if name == "scenes" else WIDE_EVENTS
    known = dataset.schema(name).names
    return [column for column in wanted if column in known]


def _usable(part: pa.Table, dataset: Dataset, name: str) -> pa.Table:
    if name == "scenes":
        part = part.filter(pc.equal(part["status"], STATUS_OK))
    gone = [] if dataset.with_excluded else [*dataset.excluded]
    if gone:
        part = part.filter(pc.invert(pc.is_in(part["index"], pa.array(gone, pa.int64()))))
    return part


def _numbered(table: pa.Table) -> pa.Table:
    """A table whose texts are dictionaries: a million clips are named by a few thousand."""
    columns: dict[str, Any] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        text = pa.types.is_string(column.type) and name != "id"
        columns[name] = pc.dictionary_encode(column) if text else column
    return pa.table(columns)
