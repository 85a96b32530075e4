"""Scenes of a committed shard as they are stored: rows, and audio as encoded bytes.

What is taken from here goes into another dataset without being decoded. Rows are checked by the
hash of their table, bytes by their checksums, so damage is not passed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scenesynth.errors import CorruptShardError
from scenesynth.store.arrays import (
    EncodedScene,
    check_chunk,
    decode_gains,
)
from scenesynth.store.chunks import read_chunks, read_index
from scenesynth.store.commit import read_commit, record_of
from scenesynth.store.layout import DatasetInfo, StoredArray, audio_key, gain_key, table_key
from scenesynth.store.places import Place

Row = dict[str, Any]


class StoredShard:
    """A committed shard; what is asked for is read when it is asked for."""

    def __init__(self, place: Place, info: DatasetInfo, shard: int) -> None:
        """Open a shard.

        Raises:
            FileNotFoundError: it is not committed.
            CorruptShardError: its commit record is damaged.
        """
        self._place, self._info = place, info
        self.commit = read_commit(place, shard)
        self._indexes: dict[str, NDArray[np.uint64]] = {}
        self._gains: dict[str, NDArray[np.float32]] = {}

    @cached_property
    def rows(self) -> Mapping[int, Row]:
        """Rows of the scenes table by number."""
        return {row["index"]: row for row in self._table("scenes").to_pylist()}

    @cached_property
    def event_columns(self) -> frozenset[str]:
        """Columns of the events table."""
        return frozenset(self._events.column_names)

    @cached_property
    def events(self) -> Mapping[int, list[Row]]:
        """Rows of the events table by number of the scene."""
        found: dict[int, list[Row]] = {}
        for event in self._events.to_pylist():
            found.setdefault(event["index"], []).append(event)
        return found

    def encoded(self, number: int, arrays: Iterable[StoredArray]) -> dict[str, EncodedScene]:
        """What some arrays hold of scene `number`, by their names.

        Raises:
            CorruptShardError: a chunk, index or gain that is damaged or missing.
        """
        return {array.name: self._encoded(number, array) for array in arrays}

    @cached_property
    def _events(self) -> pa.Table:
        return self._table("events")

    def _table(self, name: str) -> pa.Table:
        key = table_key(name, self.commit.shard)
        data = self._read(key)
        if record_of(data) != self.commit.files[key]:
            raise self._corrupt(key, "its hash is not the committed one")
        return pq.read_table(pa.BufferReader(data))

    def _encoded(self, number: int, array: StoredArray) -> EncodedScene:
        place = number - self.commit.first
        key = audio_key(array.name, self.commit.shard, len(array.axes))
        spans = self._index(array, key)[place]
        try:
            chunks = tuple(read_chunks(self._place, key, spans))
            for n, chunk in enumerate(chunks):
                check_chunk(chunk, place, n)
        except (CorruptShardError, OverflowError, OSError) as error:
            raise self._corrupt(key, str(error)) from error
        gain = float(self._gain(array)[place])
        # The peak of a format is in its row; int16 samples have it for their gain.
        peak = self.rows[number].get(f"peak_{array.name}", gain)
        return EncodedScene(chunks=chunks, gain=gain, peak=gain if peak is None else peak)

    def _index(self, array: StoredArray, key: str) -> NDArray[np.uint64]:
        if array.name not in self._indexes:
            size = self.commit.files[key].size
            try:
                if (there := self._place.size(key)) == size:
                    index = read_index(self._place, key, size, self._info)
                    self._indexes[array.name] = index
            except FileNotFoundError:
                raise self._corrupt(key, "it is missing") from None
            except CorruptShardError as error:
                raise self._corrupt(key, str(error)) from None
            if there != size:
                raise self._corrupt(key, f"it has {there} bytes, committed were {size}")
        return self._indexes[array.name]

    def _gain(self, array: StoredArray) -> NDArray[np.float32]:
        if array.name not in self._gains:
            key = gain_key(array.name, self.commit.shard)
            data = self._read(key)
            if record_of(data) != self.commit.files[key]:
                raise self._corrupt(key, "its hash is not the committed one")
            self._gains[array.name] = decode_gains(data, self._info)
        return self._gains[array.name]

    def _read(self, key: str) -> bytes:
        try:
            return self._place.read(key)
        except FileNotFoundError:
            raise self._corrupt(key, "it is missing") from None

    def _corrupt(self, key: str, why: str) -> CorruptShardError:
        return CorruptShardError(
            f"{self._place.locate(key)}: damaged: {why}. It belongs to shard "
            f"{self.commit.shard}; `scenesynth verify {self._place} --deep --repair` and the "
            f"`scenesynth render` command of that dataset make it anew"
        )
