"""Reading a dataset: scenes with their labels, tables, and the plain Zarr arrays.

The commit records say what exists. A Zarr array alone cannot: a shard whose file is missing reads
as zeros without an error, and the array is sized for scenes that may not be rendered yet. So every
access goes by a commit and checks that its files are the committed ones.

`Dataset` is a snapshot of the commits at the time it was opened; `open_dataset` again sees more.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.store import manifest
from scenesynth.store.arrays import (
    CODECS,
    array_metadata,
    decode_gains,
    dequantise,
    gain_metadata,
)
from scenesynth.store.chunks import read_index, read_samples
from scenesynth.store.commit import Commit, read_commits, record_of
from scenesynth.store.exclude import read_excluded
from scenesynth.store.layout import (
    ZARR_GROUP,
    DatasetInfo,
    StoredArray,
    StoredStem,
    audio_key,
    commit_key,
    gain_key,
    n_scenes,
    read_info,
    table_key,
)
from scenesynth.store.places import Address, Place, address_of, place_of
from scenesynth.store.schema import STATUS_OK, Scene, events_schema, scenes_schema

if TYPE_CHECKING:
    import zarr

_CACHED_SHARDS: Final = 4
_CACHED_INDICES: Final = 64
_DICTATED: Final = ("data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")


@dataclass(frozen=True, kw_only=True)
class _ShardTables:
    """Rows of a shard's usable scenes, each scene's events, and the gains of all its scenes."""

    rows: list[dict[str, Any]]
    events: dict[int, list[dict[str, Any]]]
    gains: dict[str, NDArray[np.float32]]


class Dataset:
    """Committed scenes, by number: `len(ds)`, `ds[i]`, and the tables `ds.scenes`, `ds.events`.

    Skipped and excluded scenes and parked shards are left out, so `ds[i]` is row `i` of
    `ds.scenes`. Its place in the arrays of `ds.audio` is the column `index`.
    """

    def __init__(
        self, root: Address, *, excluded: bool = False, without: Collection[int] = ()
    ) -> None:
        """Open the dataset in `root`.

        Args:
            excluded: whether scenes that the user has excluded are there nevertheless.
            without: shards to leave out, such as damaged ones; their commits are not read.
        """
        self.root = root
        self.place: Place = place_of(root)
        self.info: DatasetInfo = read_info(self.place)
        self.n_promised: int = n_scenes(self.place)
        self.without = frozenset(without)
        self.commits: tuple[Commit, ...] = tuple(
            _checked_commits(self.place, self.n_promised, self.without)
        )
        self.excluded: Mapping[int, str] = read_excluded(self.place)
        self.with_excluded = excluded
        self._dropped = frozenset() if excluded else frozenset(self.excluded)
        self._usable = _usable(self.commits, self._dropped, self.info.shard_scenes)
        self._stops = list(accumulate(self._usable))
        self._shard_tables = lru_cache(maxsize=_CACHED_SHARDS)(self._read_shard_tables)
        self._index = lru_cache(maxsize=_CACHED_INDICES)(self._read_index)
        self._numbered = lru_cache(maxsize=_CACHED_INDICES)(self._usable_of)
        self._check_array = cache(self._read_metadata)

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    def __getitem__(self, number: int) -> Scene:
        """Scene `number`, its audio as float32 at the scene's own length.

        Raises:
            IndexError: no such scene.
            CorruptShardError: its shard is missing or damaged.
        """
        at, place = self._locate(number)
        commit, tables = self.commits[at], self._shard_tables(at)
        row = tables.rows[place]
        of_scene = row["index"] - commit.first
        return Scene(
            spec_json=row["spec"],
            sample_rate=self.sample_rate,
            audio_by_format={
                fmt.name: self._read(fmt, tables.gains[fmt.name][of_scene], at, row)
                for fmt in self.info.formats
            },
            row=row,
            events=tuple(tables.events.get(row["index"], ())),
        )

    def stems(
        self, number: int, formats: Sequence[str] | None = None
    ) -> dict[str, dict[str, NDArray[np.float32]]]:
        """Stems of scene `number` by format and kind, which add up to its audio.

        Shape: [slots, channels, samples]. An event's slot is its column `stem`; slots that the
        scene does not need are silent.

        Args:
            number: the scene.
            formats: names of the formats to read; None for all.

        Raises:
            IndexError: no such scene.
            StoreError: the dataset was rendered without them.
            CorruptShardError: its shard is missing or damaged.
        """
        asked = self.formats if formats is None else formats
        found: dict[str, dict[str, NDArray[np.float32]]] = {name: {} for name in asked}
        for stem in self._stored_stems(wet=True):
            assert stem.format is not None
            if stem.format.name in found:
                found[stem.format.name][stem.kind] = self._stem(stem, number)
        return found

    def dry(self, number: int) -> NDArray[np.float32]:
        """What the emitters of scene `number` play, by slot. Shape: [slots, samples].

        Raises:
            IndexError, StoreError, CorruptShardError: see `stems`.
        """
        (stem,) = self._stored_stems(wet=False)
        return self._stem(stem, number)

    def __iter__(self) -> Iterator[Scene]:
        return (self[number] for number in range(len(self)))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_open, (self.root, self.with_excluded, self.without))

    def __repr__(self) -> str:
        formats = ", ".join(self.formats)
        return f"<Dataset {self.place}: {len(self)} of {self.n_promised} scenes, {formats}>"

    @property
    def formats(self) -> tuple[str, ...]:
        """Names of the formats."""
        return self.info.format_names

    @property
    def sample_rate(self) -> int:
        """Sample rate of all formats, in hertz."""
        return self.info.sample_rate

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe, as plain data."""
        return self.info.recipe

    @property
    def seed(self) -> int:
        """Root seed."""
        return self.info.seed

    @property
    def classes(self) -> tuple[str, ...]:
        """Event classes; `class_ids` of the events index them."""
        return self.info.classes

    @property
    def parked(self) -> tuple[Commit, ...]:
        """Shards that could not be rendered."""
        return tuple(commit for commit in self.commits if commit.status == "parked")

    @cached_property
    def scenes(self) -> pa.Table:
        """A row for each usable scene, in order."""
        usable = pc.equal(self._all_scenes["status"], STATUS_OK)
        return self._kept(self._all_scenes.filter(usable))

    @cached_property
    def skipped(self) -> pa.Table:
        """A row for each scene that holds silence because it could not be rendered."""
        return self._all_scenes.filter(pc.not_equal(self._all_scenes["status"], STATUS_OK))

    @cached_property
    def events(self) -> pa.Table:
        """A row for each event of the usable scenes, in order."""
        return self._kept(self._merged("events"))

    @cached_property
    def audio(self) -> Mapping[str, zarr.Array[Any]]:
        """Stored samples of each format as a Zarr array (scene, channel, time).

        What lies beyond the commits reads as zeros; `ds[i]` checks, this does not.
        """
        return {fmt.name: self._array(fmt) for fmt in self.info.formats}

    def _stored_stems(self, *, wet: bool) -> list[StoredStem]:
        found = [
            stem
            for stem in self.info.arrays
            if isinstance(stem, StoredStem) and (stem.format is not None) == wet
        ]
        if not found:
            kinds = ", ".join(self.info.stem_kinds) or "no stems"
            raise StoreError(
                f"{self.place}: holds {kinds}; to have {'others' if wet else 'dry ones'}, render "
                f"into another folder with --stems"
            )
        return found

    def _stem(self, stem: StoredStem, number: int) -> NDArray[np.float32]:
        at, place = self._locate(number)
        commit, row = self.commits[at], self._shard_tables(at).rows[place]
        gain = self._gains(stem, commit)[row["index"] - commit.first]
        return self._read(stem, gain, at, row)

    @cached_property
    def _all_scenes(self) -> pa.Table:
        return self._merged("scenes")

    def table(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of the table "scenes" or "events", skipped scenes included.

        Cheaper than all columns: the specs are most of a table. A `manifest.parquet` that fits
        the commits is read in place of the parts.
        """
        asked = list(dict.fromkeys([*columns, "index"]))
        return self._kept(self._merged(name, asked)).select(list(columns))

    def schema(self, table: str) -> pa.Schema:
        """Columns of the table "scenes" or "events"."""
        return scenes_schema(self.formats) if table == "scenes" else events_schema()

    def part(self, table: str, commit: Commit) -> pa.Table:
        """A committed shard's part of the table "scenes" or "events".

        Raises:
            CorruptShardError: it is missing, or not what was committed.
        """
        (part,) = self.parts(table, [commit])
        return part

    def index_of(self, number: int) -> int:
        """Column `index` of scene `number`, from the commits alone: its tables may be damaged.

        Raises:
            IndexError: no such scene.
        """
        at, place = self._locate(number)
        return self._numbered(at)[place]

    def number_from(self, index: int) -> int:
        """Number of the first scene whose column `index` is at least that; `len` if none is."""
        at = bisect_right(self.commits, index, key=lambda commit: commit.first) - 1
        if at < 0:
            return 0
        return self._stops[at] - self._usable[at] + bisect_left(self._numbered(at), index)

    def n_usable(self, at: int) -> int:
        """Scenes that are there of commit number `at`."""
        return self._usable[at]

    def _merged(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        if (cached := manifest.read_cached(self, table, columns)) is not None:
            return cached
        whole = [commit for commit in self.commits if commit.status == "ok"]
        empty = self.schema(table).empty_table()
        if columns is not None:
            empty = empty.select(columns)
        return pa.concat_tables(
            [empty, *self.parts(table, whole, columns)], promote_options="default"
        )

    def _kept(self, table: pa.Table) -> pa.Table:
        """The rows of a table without those of excluded scenes."""
        if not self._dropped:
            return table
        gone = pa.array(sorted(self._dropped), pa.int64())
        return table.filter(pc.invert(pc.is_in(table["index"], gone)))

    def parts(
        self, table: str, commits: Sequence[Commit], columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """The parts of several shards, each as `part`, in their order; or some columns of them."""
        keys = [table_key(table, commit.shard) for commit in commits]
        data = self.place.read_all(keys)
        for commit, key in zip(commits, keys, strict=True):
            checked = self._committed(commit, key, lambda: next(data))
            # Small files: threads, and what finds files in folders, cost more than the reading.
            file = pq.ParquetFile(pa.BufferReader(checked), pre_buffer=False)
            yield file.read(columns=None if columns is None else [*columns], use_threads=False)

    def _locate(self, number: int) -> tuple[int, int]:
        """Which commit holds usable scene `number`, and its place among that shard's usable."""
        length = len(self)
        wanted = number + length if number < 0 else number
        if not 0 <= wanted < length:
            raise IndexError(f"scene {number}: {self.place} holds {length} usable scenes")
        at = bisect_right(self._stops, wanted)
        return at, wanted - (self._stops[at] - self._usable[at])

    def _usable_of(self, at: int) -> list[int]:
        """Column `index` of the scenes that are there of commit number `at`."""
        commit = self.commits[at]
        if not self._usable[at]:
            return []
        gone = self._dropped.union(commit.skipped)
        return [index for index in range(commit.first, commit.stop) if index not in gone]

    def _read_shard_tables(self, at: int) -> _ShardTables:
        commit = self.commits[at]
        rows = self.part("scenes", commit).to_pylist()
        events: dict[int, list[dict[str, Any]]] = {}
        for event in self.part("events", commit).to_pylist():
            events.setdefault(event["index"], []).append(event)
        gains = {fmt.name: self._gains(fmt, commit) for fmt in self.info.formats}
        usable = [
            row for row in rows if row["status"] == STATUS_OK and row["index"] not in self._dropped
        ]
        return _ShardTables(rows=usable, events=events, gains=gains)

    def _gains(self, array: StoredArray, commit: Commit) -> NDArray[np.float32]:
        self._check_array(array, "gain")
        key = gain_key(array.name, commit.shard)
        data = self._committed(commit, key, lambda: self.place.read(key))
        return decode_gains(data, self.info)[: commit.stop - commit.first]

    def _read(
        self, array: StoredArray, gain: np.float32, at: int, row: Mapping[str, Any]
    ) -> NDArray[np.float32]:
        """What an array holds of a scene. Shape: [the array's axes, n_samples]."""
        commit = self.commits[at]
        key = audio_key(array.name, commit.shard, len(array.axes))
        index = self._index(at, array)[row["index"] - commit.first]
        try:
            stored = read_samples(self.place, key, index, array, self.info, row["n_samples"])
        except (ValueError, RuntimeError, FileNotFoundError) as error:
            raise self._corrupt(commit, key, _why(error)) from error
        return dequantise(stored, float(gain), CODECS[self.info.codec])

    def _read_index(self, at: int, array: StoredArray) -> NDArray[np.uint64]:
        """Where the chunks of a shard are; its size is checked on the way."""
        self._check_array(array, "audio")
        commit = self.commits[at]
        key = audio_key(array.name, commit.shard, len(array.axes))
        try:
            self._check_size(commit, key, self.place.size(key))
            return read_index(self.place, key, commit.files[key].size, self.info)
        except (CorruptShardError, FileNotFoundError) as error:
            raise self._corrupt(commit, key, _why(error)) from error

    def _array(self, array: StoredArray) -> zarr.Array[Any]:
        self._check_array(array, "audio")
        return self.place.open_array(f"{ZARR_GROUP}/{array.name}/audio")

    def _read_metadata(self, array: StoredArray, kind: Literal["audio", "gain"]) -> None:
        """Check that the metadata of an array is as it must be."""
        key = f"{ZARR_GROUP}/{array.name}/{kind}/zarr.json"
        promised = self.n_promised
        expected = (
            gain_metadata(self.info, promised)
            if kind == "gain"
            else array_metadata(array, self.info, promised)
        )
        try:
            _check_metadata(json.loads(self.place.read(key)), expected)
        except (
            FileNotFoundError,
            NotADirectoryError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            raise StoreError(
                f"{self.place.locate(key)}: missing or damaged ({error}). It is made from "
                f"dataset.json and the extents: give the same `scenesynth render` command again"
            ) from error

    def _committed(self, commit: Commit, key: str, read: Callable[[], bytes]) -> bytes:
        """What `read` reads of a key, if it is what was committed."""
        try:
            data = read()
            self._check_size(commit, key, len(data))
        except (CorruptShardError, FileNotFoundError) as error:
            raise self._corrupt(commit, key, _why(error)) from None
        if record_of(data) != commit.files[key]:
            raise self._corrupt(commit, key, "its hash is not the committed one")
        return data

    @staticmethod
    def _check_size(commit: Commit, key: str, size: int) -> None:
        if size != (expected := commit.files[key].size):
            raise CorruptShardError(f"it has {size} bytes, committed were {expected}")

    def _corrupt(self, commit: Commit, key: str, why: str) -> CorruptShardError:
        remove = self.place.removal([commit_key(commit.shard), key], maybe_gone=True)
        return CorruptShardError(
            f"{self.place.locate(key)}: damaged: {why}. It belongs to shard {commit.shard} (scenes "
            f"{commit.first} to {commit.stop - 1}). To render that shard again: {remove} "
            f"and give the `scenesynth render` command of this dataset again"
        )


def open_dataset(uri: Address, *, excluded: bool = False) -> Dataset:
    """Open the dataset in a folder, or under a prefix of an object store (s3://BUCKET/PREFIX).

    It may still be rendering.

    Args:
        uri: where it is.
        excluded: whether scenes that `scenesynth exclude` dropped are there nevertheless.

    Raises:
        StoreError: no dataset there, one of a newer schema, or a store that refuses.
        CorruptShardError: its identity or a commit record is damaged.
    """
    return Dataset(address_of(uri), excluded=excluded)


def _open(root: Address, excluded: bool, without: frozenset[int]) -> Dataset:
    return Dataset(root, excluded=excluded, without=without)


def _usable(commits: Sequence[Commit], dropped: frozenset[int], shard_scenes: int) -> list[int]:
    """Scenes of each commit that are there."""
    gone: dict[int, set[int]] = {}
    for index in dropped:
        gone.setdefault(index // shard_scenes, set()).add(index)
    return [
        commit.n_usable
        - sum(
            commit.first <= index < commit.stop
            for index in gone.get(commit.shard, set()) - set(commit.skipped)
        )
        * (commit.status == "ok")
        for commit in commits
    ]


def _why(error: Exception) -> str:
    return "it is missing" if isinstance(error, FileNotFoundError) else str(error)


def _check_metadata(found: Any, expected: Mapping[str, Any]) -> None:
    """Check that Zarr metadata is what identity and extents dictate, but for its length.

    The length lags behind while an extent is being added.
    """
    for key in _DICTATED:
        if found[key] != expected[key]:
            raise ValueError(f"{key} is {found[key]!r}, expected {expected[key]!r}")
    if found["shape"][1:] != expected["shape"][1:]:
        raise ValueError(f"shape is {found['shape']}, expected {expected['shape']}")


def _checked_commits(place: Place, promised: int, without: Collection[int]) -> Iterator[Commit]:
    for shard, commit in read_commits(place, without):
        if commit.stop > promised or commit.shard != shard:
            raise CorruptShardError(
                f"{place.locate(commit_key(shard))}: scenes {commit.first} to "
                f"{commit.stop - 1} of shard {commit.shard} lie outside the {promised} scenes of "
                f"the extents; a file of another dataset was copied here, or an extent is missing"
            )
        yield commit
