"""Parts of scenes, read as fast as the codec allows.

Only the chunks that a crop touches are read, checked and decoded, into memory that is kept:
faulting fresh memory in takes longer than decoding. Files stay open, and what is known of a shard
(index, gains, lengths, ids) is read once. Nothing is opened before the first crop, and nothing that
is open goes along to another process, so a reader may be pickled, and forked.

From an object store the parts of a batch are fetched side by side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scenesynth.errors import CorruptShardError, RefusedError
from scenesynth.store.arrays import ABSENT, CODECS, decode_gains, decode_into
from scenesynth.store.chunks import read_index
from scenesynth.store.commit import Commit, read_commit, record_of
from scenesynth.store.layout import DatasetInfo, StoredFormat, audio_key, gain_key, table_key
from scenesynth.store.local import LocalPlace
from scenesynth.store.objects import PARALLEL_READS
from scenesynth.store.places import Place
from scenesynth.store.targets import COLUMNS, Arrays, Labels, TargetMaker

T = TypeVar("T")
Bytes = NDArray[np.uint8]

OPEN_FILES: Final = 128
KNOWN_SHARDS: Final = 1024
KNOWN_LABELS: Final = 64
"""Shards whose files stay open, whose facts are kept, and whose events are."""


class Cut(Protocol):
    """A crop once it has been read."""

    @property
    def id(self) -> str:
        """Name of its scene."""

    @property
    def start(self) -> int:
        """Sample of the scene at which it begins."""

    @property
    def valid(self) -> int:
        """Samples that belong to the scene, from the first."""

    @property
    def gain(self) -> float:
        """Gain of its scene."""

    def column(self, name: str) -> float:
        """Value of a column; NaN for null."""


class Reader(Protocol):
    """Gives crops of scenes. Small, and picklable."""

    def take(
        self,
        index: NDArray[np.int64],
        unit: NDArray[np.float64],
        out: Sequence[NDArray[Any]],
    ) -> Sequence[Cut]:
        """Crops of scenes.

        Args:
            index: numbers of the scenes.
            unit: in [0, 1), places each crop.
            out: what each is written to, zeros after its samples. Shape: [channels, samples].
        """

    def targets(self, crop: Any) -> Arrays:
        """Targets of a crop that this reader has taken."""


class Contents(Protocol):
    """What scenes crops are taken from, and who reads them."""

    @property
    def place(self) -> object:
        """Where they are, for people."""

    @property
    def info(self) -> DatasetInfo:
        """The dataset."""

    @property
    def format(self) -> StoredFormat:
        """Which of its formats."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the scenes table that are asked for."""

    @property
    def targets(self) -> TargetMaker | None:
        """What makes the targets."""

    def reader(self) -> Reader:
        """Who reads crops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What crops are taken from.

    Attributes:
        columns: of the scenes table, numbers all of them.
        targets: what makes the targets; None for none.
    """

    place: Place
    info: DatasetInfo
    format: StoredFormat
    columns: tuple[str, ...]
    targets: TargetMaker | None

    def reader(self) -> CropReader:
        """What reads them."""
        return CropReader(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """What is known of a shard; scenes are counted from its first.

    Attributes:
        chunks: offsets and lengths. Shape: [scenes, chunks, 2].
        columns: those asked for, as float32, NaN for null.
    """

    commit: Commit
    key: str
    chunks: NDArray[np.uint64]
    gains: NDArray[np.float32]
    n_samples: NDArray[np.int64]
    ids: tuple[str, ...]
    columns: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Where a crop lies: in which scene of which shard, and which samples of it."""

    shard: Shard
    row: int
    start: int
    valid: int

    @property
    def gain(self) -> float:
        """Gain of its scene."""
        return float(self.shard.gains[self.row])

    @property
    def id(self) -> str:
        """Name of its scene."""
        return self.shard.ids[self.row]

    def column(self, name: str) -> float:
        """Value of a column; NaN for null."""
        return float(self.shard.columns[name][self.row])


class CropReader:
    """Reads crops of one dataset."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._dtype = np.dtype(CODECS[source.info.codec].dtype).newbyteorder("<")
        self._shard = lru_cache(maxsize=KNOWN_SHARDS)(self._read_shard)
        self._labels = lru_cache(maxsize=KNOWN_LABELS)(self._read_labels)
        self._files = OpenFiles()
        self._raw: Bytes = np.empty(0, np.uint8)
        self._decoded: NDArray[Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (CropReader, (self.source,))

    def take(
        self,
        index: NDArray[np.int64],
        unit: NDArray[np.float64],
        out: Sequence[NDArray[Any]],
    ) -> list[Crop]:
        """Crops of scenes; see `Reader`.

        Raises:
            CorruptShardError: a shard is missing or damaged.
        """
        self._prepare(index)
        crops = [
            self._place(int(n), float(u), samples.shape[-1])
            for n, u, samples in zip(index, unit, out, strict=True)
        ]
        for crop, data, samples in zip(crops, self._chunks(crops), out, strict=True):
            self._cut(crop, data, samples)
        return crops

    def targets(self, crop: Crop) -> Arrays:
        """Targets of a crop.

        Raises:
            CorruptShardError: the events of its shard are missing or damaged.
        """
        maker = self.source.targets
        assert maker is not None
        n_samples = int(crop.shard.n_samples[crop.row])
        return maker.of_crop(self._labels(crop.shard.commit.shard)(crop.row), n_samples, crop.start)

    def _prepare(self, index: NDArray[np.int64]) -> None:
        """Learn what has to be known of the shards of some scenes, several at a time if remote."""
        if isinstance(self.source.place, LocalPlace):
            return
        shards = np.unique(index // self.source.info.shard_scenes).tolist()
        with ThreadPoolExecutor(PARALLEL_READS) as pool:
            list(pool.map(self._shard, shards))
            if self.source.targets is not None:
                list(pool.map(self._labels, shards))

    def _place(self, index: int, unit: float, n_samples: int) -> Crop:
        """The crop of `n_samples` that a number in [0, 1) places in a scene."""
        info = self.source.info
        shard = self._shard(index // info.shard_scenes)
        row = index - shard.commit.first
        length = int(shard.n_samples[row])
        start = crop_start(unit, length, n_samples, self.source.targets)
        return Crop(shard=shard, row=row, start=start, valid=min(n_samples, length - start))

    def _chunks(self, crops: Sequence[Crop]) -> Iterator[list[Bytes]]:
        """Bytes of the chunks of each crop; they hold until those of the next are taken."""
        if isinstance(self.source.place, LocalPlace):
            return (self._fetch(crop) for crop in crops)
        with ThreadPoolExecutor(PARALLEL_READS) as pool:
            return iter(list(pool.map(self._fetch, crops)))

    def _fetch(self, crop: Crop) -> list[Bytes]:
        size = self.source.info.chunk_samples
        first, stop = crop.start // size, -(-(crop.start + crop.valid) // size)
        chunks = crop.shard.chunks[crop.row, first:stop]
        return self._told(crop.shard, lambda: self._read_chunks(crop.shard.key, chunks))

    def _read_chunks(self, key: str, chunks: NDArray[np.uint64]) -> list[Bytes]:
        """Bytes of chunks of a scene, which lie side by side."""
        if (chunks == ABSENT).any():
            raise CorruptShardError("a chunk is absent")
        spans = [(int(offset), int(length)) for offset, length in chunks]
        first, stop = spans[0][0], sum(spans[-1])
        data = self._read_range(key, first, stop - first)
        return [data[offset - first : offset - first + length] for offset, length in spans]

    def _read_range(self, key: str, start: int, length: int) -> Bytes:
        place = self.source.place
        if not isinstance(place, LocalPlace):
            return np.frombuffer(place.read_range(key, start, length), np.uint8)
        if len(self._raw) < length:
            self._raw = np.empty(length + length // 4, np.uint8)
        file = self._files.open(key, place)
        return self._raw[: os.preadv(file, [memoryview(self._raw.data)[:length]], start)]

    def _cut(self, crop: Crop, chunks: list[Bytes], out: NDArray[Any]) -> None:
        """Decode the chunks of a crop, and write its part of them to `out`."""
        size = self.source.info.chunk_samples
        if self._decoded is None:
            self._decoded = np.empty((self.source.format.n_channels, size), self._dtype)
        decoded = self._decoded
        stop = crop.start + crop.valid
        for number, data in enumerate(chunks, crop.start // size):
            self._told(crop.shard, partial(decode_into, data, decoded))
            begin = number * size
            first, last = max(crop.start, begin), min(stop, begin + size)
            part = decoded[:, first - begin : last - begin]
            out[:, first - crop.start : last - crop.start] = part
        out[:, crop.valid :] = 0

    def _read_shard(self, number: int) -> Shard:
        source, info = self.source, self.source.info
        try:
            commit = read_commit(source.place, number)
        except FileNotFoundError as error:
            raise CorruptShardError(
                f"{source.place}: shard {number} is gone since this was opened; give the "
                f"`scenesynth render` command of this dataset again"
            ) from error
        key = audio_key(source.format.name, number)
        gains = decode_gains(self._committed(commit, gain_key(source.format.name, number)), info)
        rows = self._table(commit, "scenes", ["id", "n_samples", *source.columns])
        return Shard(
            commit=commit,
            key=key,
            chunks=self._index(commit, key),
            gains=gains,
            n_samples=np.asarray(rows["n_samples"].fill_null(0).to_numpy(), np.int64),
            ids=tuple(rows["id"].to_pylist()),
            columns={name: _as_float32(rows[name]) for name in source.columns},
        )

    def _read_labels(self, number: int) -> Callable[[int], Labels]:
        """Labels of the scenes of a shard, made when first asked for."""
        shard, maker = self._shard(number), self.source.targets
        assert maker is not None
        events: dict[int, list[dict[str, Any]]] = {}
        for event in self._table(shard.commit, "events", COLUMNS).to_pylist():
            events.setdefault(event["index"] - shard.commit.first, []).append(event)

        @cache
        def of_scene(row: int) -> Labels:
            return maker.labels(events.pop(row, ()), int(shard.n_samples[row]))

        return of_scene

    def _index(self, commit: Commit, key: str) -> NDArray[np.uint64]:
        """Where the chunks of a shard are; that it is found where it was put tells the size."""
        place, info = self.source.place, self.source.info
        size = commit.files[key].size
        return self._explained(commit, key, lambda: read_index(place, key, size, info))

    def _committed(self, commit: Commit, key: str) -> bytes:
        """Bytes of a small file of a shard, if they are what was committed."""

        def read() -> bytes:
            data = self.source.place.read(key)
            if record_of(data) != commit.files[key]:
                raise CorruptShardError("its hash is not the committed one")
            return data

        return self._explained(commit, key, read)

    def _table(self, commit: Commit, table: str, columns: Sequence[str]) -> pa.Table:
        data = self._committed(commit, table_key(table, commit.shard))
        file = pq.ParquetFile(pa.BufferReader(data))
        there = set(file.schema_arrow.names)
        return file.read(columns=[name for name in columns if name in there], use_threads=False)

    def _told(self, shard: Shard, read: Callable[[], T]) -> T:
        return self._explained(shard.commit, shard.key, read)

    def _explained(self, commit: Commit, key: str, read: Callable[[], T]) -> T:
        """What `read` returns, its errors told with the file, the shard and the way out."""
        place = self.source.place
        try:
            return read()
        except RefusedError:
            raise
        except (CorruptShardError, FileNotFoundError, ValueError, RuntimeError) as error:
            if isinstance(error, CorruptShardError) and place.locate(key) in str(error):
                raise
            why = "it is missing" if isinstance(error, FileNotFoundError) else str(error)
            raise CorruptShardError(
                f"{place.locate(key)}: damaged: {why}. It belongs to shard {commit.shard} (scenes "
                f"{commit.first} to {commit.stop - 1}). To render that shard again: scenesynth "
                f"verify {place} --deep --repair, then the `scenesynth render` command of this "
                f"dataset; `ss.stream` does without damaged shards where skip_bad=True"
            ) from error


def crop_start(unit: float, length: int, n_samples: int, targets: TargetMaker | None) -> int:
    """Where a number in [0, 1) has a crop of `n_samples` begin in a scene of `length`.

    Anywhere with equal chance, or on any frame where there are targets, so that the crop ends
    within the scene; at its beginning where the scene is shorter.
    """
    step = 1 if targets is None else targets.hop_samples
    return int(unit * (max(length - n_samples, 0) // step + 1)) * step


class OpenFiles:
    """Files that stay open, the last used ones."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def open(self, key: str, place: LocalPlace) -> int:
        """Descriptor of the file of a key, for reading at offsets."""
        if (file := self._open.pop(key, None)) is None:
            file = os.open(place.locate(key), os.O_RDONLY | os.O_CLOEXEC)
            if len(self._open) >= OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
        self._open[key] = file
        return file

    def __del__(self) -> None:
        for file in self._open.values():
            os.close(file)


def _as_float32(column: pa.ChunkedArray) -> NDArray[np.float32]:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float32)
