"""Reading a dataset: the plain way, through zarr and parquet.

The commit records say what exists. A Zarr array alone cannot: a shard whose file is missing reads
as zeros without an error, and the array is sized for scenes that may not be rendered yet. So every
access goes by a commit and checks that its files are the committed ones.

`Dataset` is a snapshot of the commits at the time it was opened; `open_dataset` again sees more.
"""

from __future__ import annotations

import json
import shlex
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.store import manifest
from scenesynth.store.arrays import CODECS, array_metadata, dequantise, gain_metadata
from scenesynth.store.commit import Commit, list_commits, read_commit, record_of
from scenesynth.store.exclude import read_excluded
from scenesynth.store.layout import (
    ZARR_GROUP,
    DatasetInfo,
    StoredArray,
    StoredStem,
    audio_key,
    gain_key,
    n_scenes,
    read_info,
    table_key,
)
from scenesynth.store.schema import STATUS_OK, Scene, events_schema, scenes_schema

_CACHED_SHARDS: Final = 4
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

    def __init__(self, root: Path, *, excluded: bool = False) -> None:
        """Open the dataset in `root`.

        Args:
            excluded: whether scenes that the user has excluded are there nevertheless.
        """
        self.root = root
        self.with_excluded = excluded
        self.info: DatasetInfo = read_info(root)
        self.n_promised: int = n_scenes(root)
        self.commits: tuple[Commit, ...] = tuple(_read_commits(root, self.n_promised))
        self.excluded: Mapping[int, str] = read_excluded(root)
        self._dropped = frozenset() if excluded else frozenset(self.excluded)
        self._usable = _usable(self.commits, self._dropped, self.info.shard_scenes)
        self._stops = list(accumulate(self._usable))
        self._shard_tables = lru_cache(maxsize=_CACHED_SHARDS)(self._read_shard_tables)

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
                fmt.name: self._read(
                    fmt, self.audio[fmt.name], tables.gains[fmt.name][of_scene], commit, row
                )
                for fmt in self.info.formats
            },
            row=row,
            events=tuple(tables.events.get(row["index"], ())),
        )

    def stems(self, number: int) -> dict[str, dict[str, NDArray[np.float32]]]:
        """Stems of scene `number` by format and kind, which add up to its audio.

        Shape: [slots, channels, samples]. An event's slot is its column `stem`; slots that the
        scene does not need are silent.

        Raises:
            IndexError: no such scene.
            StoreError: the dataset was rendered without them.
            CorruptShardError: its shard is missing or damaged.
        """
        found: dict[str, dict[str, NDArray[np.float32]]] = {name: {} for name in self.formats}
        for stem in self._stored_stems(wet=True):
            assert stem.format is not None
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
        return (_open, (self.root, self.with_excluded))

    def __repr__(self) -> str:
        formats = ", ".join(self.formats)
        return f"<Dataset {self.root}: {len(self)} of {self.n_promised} scenes, {formats}>"

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
        promised = self.n_promised
        return {
            fmt.name: self._array(fmt, "audio", array_metadata(fmt, self.info, promised))
            for fmt in self.info.formats
        }

    @cached_property
    def _gain_arrays(self) -> Mapping[str, zarr.Array[Any]]:
        return {fmt.name: self._gain_array(fmt) for fmt in self.info.formats}

    def _gain_array(self, array: StoredArray) -> zarr.Array[Any]:
        return self._array(array, "gain", gain_metadata(self.info, self.n_promised))

    @cached_property
    def _stem_arrays(self) -> Mapping[str, tuple[zarr.Array[Any], zarr.Array[Any]]]:
        """Samples and gains of the stems."""
        promised = self.n_promised
        return {
            stem.name: (
                self._array(stem, "audio", array_metadata(stem, self.info, promised)),
                self._gain_array(stem),
            )
            for stem in self.info.arrays
            if isinstance(stem, StoredStem)
        }

    def _stored_stems(self, *, wet: bool) -> list[StoredStem]:
        found = [
            stem
            for stem in self.info.arrays
            if isinstance(stem, StoredStem) and (stem.format is not None) == wet
        ]
        if not found:
            kinds = ", ".join(self.info.stem_kinds) or "no stems"
            raise StoreError(
                f"{self.root}: holds {kinds}; to have {'others' if wet else 'dry ones'}, render "
                f"into another folder with --stems"
            )
        return found

    def _stem(self, stem: StoredStem, number: int) -> NDArray[np.float32]:
        at, place = self._locate(number)
        commit, row = self.commits[at], self._shard_tables(at).rows[place]
        samples, gains = self._stem_arrays[stem.name]
        gain = self._gains(stem.name, gains, commit)[row["index"] - commit.first]
        return self._read(stem, samples, gain, commit, row)

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

    def part(self, table: str, commit: Commit, columns: Sequence[str] | None = None) -> pa.Table:
        """A committed shard's part of the table "scenes" or "events", after a check of its hash.

        Raises:
            CorruptShardError: it is missing or damaged.
        """
        data = self._committed_bytes(commit, table_key(table, commit.shard))
        return pq.read_table(pa.BufferReader(data), columns=columns)

    def _merged(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        if (cached := manifest.read_cached(self, table, columns)) is not None:
            return cached
        whole = [commit for commit in self.commits if commit.status == "ok"]
        parts = [self.part(table, commit, columns) for commit in whole]
        empty = self.schema(table).empty_table()
        if columns is not None:
            empty = empty.select(columns)
        return pa.concat_tables([empty, *parts], promote_options="default")

    def _kept(self, table: pa.Table) -> pa.Table:
        """The rows of a table without those of excluded scenes."""
        if not self._dropped:
            return table
        gone = pa.array(sorted(self._dropped), pa.int64())
        return table.filter(pc.invert(pc.is_in(table["index"], gone)))

    def n_usable(self, at: int) -> int:
        """Scenes that are there of commit number `at`."""
        return self._usable[at]

    def _locate(self, number: int) -> tuple[int, int]:
        """Which commit holds usable scene `number`, and its place among that shard's usable."""
        length = len(self)
        wanted = number + length if number < 0 else number
        if not 0 <= wanted < length:
            raise IndexError(f"scene {number}: {self.root} holds {length} usable scenes")
        at = bisect_right(self._stops, wanted)
        return at, wanted - (self._stops[at] - self._usable[at])

    def _read_shard_tables(self, at: int) -> _ShardTables:
        commit = self.commits[at]
        rows = self.part("scenes", commit).to_pylist()
        events: dict[int, list[dict[str, Any]]] = {}
        for event in self.part("events", commit).to_pylist():
            events.setdefault(event["index"], []).append(event)
        gains = {name: self._gains(name, self._gain_arrays[name], commit) for name in self.formats}
        usable = [
            row for row in rows if row["status"] == STATUS_OK and row["index"] not in self._dropped
        ]
        return _ShardTables(rows=usable, events=events, gains=gains)

    def _gains(self, name: str, array: zarr.Array[Any], commit: Commit) -> NDArray[np.float32]:
        key = gain_key(name, commit.shard)
        self._check_size(commit, key)
        try:
            gains = array[commit.first : commit.stop]
        except (ValueError, RuntimeError) as error:
            raise self._corrupt(commit, key, str(error)) from error
        return np.asarray(gains, dtype=np.float32)

    def _read(
        self,
        array: StoredArray,
        samples: zarr.Array[Any],
        gain: np.float32,
        commit: Commit,
        row: Mapping[str, Any],
    ) -> NDArray[np.float32]:
        """What an array holds of a scene. Shape: [the array's axes, n_samples]."""
        key = audio_key(array.name, commit.shard, len(array.axes))
        self._check_size(commit, key)
        try:
            stored = np.asarray(samples[row["index"], ..., : row["n_samples"]])
        except (ValueError, RuntimeError) as error:
            raise self._corrupt(commit, key, str(error)) from error
        return dequantise(stored, float(gain), CODECS[self.info.codec])

    def _array(self, array: StoredArray, kind: str, expected: Mapping[str, Any]) -> zarr.Array[Any]:
        path = self.root / ZARR_GROUP / array.name / kind
        try:
            _check_metadata(json.loads((path / "zarr.json").read_bytes()), expected)
            return zarr.open_array(path, mode="r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path / 'zarr.json'}: missing or damaged ({error}). It is made from "
                f"dataset.json and the extents: give the same `scenesynth render` command again"
            ) from error

    def _committed_bytes(self, commit: Commit, key: str) -> bytes:
        self._check_size(commit, key)
        data = (self.root / key).read_bytes()
        if record_of(data) != commit.files[key]:
            raise self._corrupt(commit, key, "its hash is not the committed one")
        return data

    def _check_size(self, commit: Commit, key: str) -> None:
        try:
            size = (self.root / key).stat().st_size
        except FileNotFoundError:
            raise self._corrupt(commit, key, "it is missing") from None
        if size != commit.files[key].size:
            expected = commit.files[key].size
            raise self._corrupt(commit, key, f"it has {size} bytes, committed were {expected}")

    def _corrupt(self, commit: Commit, key: str, why: str) -> CorruptShardError:
        files = [self.root / "commits" / f"{commit.shard}.json", self.root / key]
        remove = " ".join(shlex.quote(str(path)) for path in files)
        return CorruptShardError(
            f"{self.root / key}: damaged: {why}. It belongs to shard {commit.shard} (scenes "
            f"{commit.first} to {commit.stop - 1}). To render that shard again: rm -f {remove} "
            f"and give the `scenesynth render` command of this dataset again"
        )


def open_dataset(uri: str | Path, *, excluded: bool = False) -> Dataset:
    """Open the dataset in a folder; it may still be rendering.

    Args:
        uri: the folder.
        excluded: whether scenes that `scenesynth exclude` dropped are there nevertheless.

    Raises:
        StoreError: no dataset there, or one of a newer schema.
        CorruptShardError: its identity or a commit record is damaged.
    """
    return Dataset(folder_of(uri), excluded=excluded)


def folder_of(uri: str | Path) -> Path:
    """The folder that a URI means.

    Raises:
        StoreError: it means something else.
    """
    text = str(uri)
    if "://" in text and not text.startswith("file://"):
        raise StoreError(f"{text}: only folders can be opened; copy the dataset to a local disk")
    return Path(text.removeprefix("file://"))


def _open(root: Path, excluded: bool) -> Dataset:
    return Dataset(root, excluded=excluded)


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


def _check_metadata(found: Any, expected: Mapping[str, Any]) -> None:
    """Check that Zarr metadata is what identity and extents dictate, but for its length.

    The length lags behind while an extent is being added.
    """
    for key in _DICTATED:
        if found[key] != expected[key]:
            raise ValueError(f"{key} is {found[key]!r}, expected {expected[key]!r}")
    if found["shape"][1:] != expected["shape"][1:]:
        raise ValueError(f"shape is {found['shape']}, expected {expected['shape']}")


def _read_commits(root: Path, promised: int) -> Iterator[Commit]:
    for shard in list_commits(root):
        commit = read_commit(root, shard)
        if commit.stop > promised or commit.shard != shard:
            raise CorruptShardError(
                f"{root / 'commits' / f'{shard}.json'}: scenes {commit.first} to "
                f"{commit.stop - 1} of shard {commit.shard} lie outside the {promised} scenes of "
                f"the extents; a file of another dataset was copied here, or an extent is missing"
            )
        yield commit
