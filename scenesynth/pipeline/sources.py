"""Where given scenes come from: a dataset, or a `manifest.parquet` alone.

Scenes of a source are known by *number*: in a dataset the column `index`, in a manifest the row.
The dataset that is made of them lists their numbers in `selection/<n>.parquet`, a file for each
extent, so that it stays what it is while its source grows or has scenes excluded.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scenesynth.errors import ConfigError, CorruptShardError
from scenesynth.store.commit import record_of
from scenesynth.store.copies import Row, StoredShard
from scenesynth.store.layout import (
    DATASET_FILE,
    DatasetInfo,
    extent_key,
    read_info,
    selection_key,
    unseal,
)
from scenesynth.store.manifest import IDENTITY
from scenesynth.store.places import Address, Place, Root, address_of, place_of
from scenesynth.store.schema import STATUS_OK

Numbers = NDArray[np.int64]

_CACHED_SHARDS: Final = 2


class DatasetSource:
    """Scenes of a dataset, with their encoded audio."""

    def __init__(self, root: Address) -> None:
        self.root = root
        self.place: Place = place_of(root)
        self.info: DatasetInfo = read_info(self.place)
        self._shard = lru_cache(maxsize=_CACHED_SHARDS)(self._open_shard)

    def row(self, number: int) -> Row:
        """The scene's row.

        Raises:
            CorruptShardError: its shard is gone or damaged.
        """
        return self.shard(number).rows[number]

    def shard(self, number: int) -> StoredShard:
        """The shard that holds a scene."""
        return self._shard(number // self.info.shard_scenes)

    def _open_shard(self, shard: int) -> StoredShard:
        try:
            return StoredShard(self.place, self.info, shard)
        except FileNotFoundError:
            raise CorruptShardError(
                f"{self.place}: shard {shard} was there and is not any more; give the `scenesynth "
                f"render` command of that dataset again"
            ) from None


class ManifestSource:
    """Scenes of a merged manifest: specs without audio."""

    def __init__(self, path: Path) -> None:
        """Open a manifest.

        Raises:
            ConfigError: not a manifest that says what dataset it is of.
        """
        self.root: Address = path
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise ConfigError(f"{path}: cannot be read as parquet ({error})") from None
        identity = (self._file.schema_arrow.metadata or {}).get(IDENTITY)
        if identity is None or "spec" not in self._file.schema_arrow.names:
            raise ConfigError(
                f"{path}: is not a manifest of scenes, or another program has dropped its metadata "
                f"{IDENTITY.decode()!r}; give the one that `scenesynth finalize` wrote, and choose "
                f"scenes by --only {path}"
            )
        self.info = DatasetInfo.from_dict(json.loads(identity), str(path))
        meta = self._file.metadata
        sizes = (meta.row_group(n).num_rows for n in range(meta.num_row_groups))
        self._stops = list(accumulate(sizes))
        self._group = lru_cache(maxsize=1)(self._read_group)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of all rows."""
        return self._file.read(columns=list(names))

    def usable(self) -> Numbers:
        """Numbers of all scenes that are not skipped."""
        status = self.columns(["status"])["status"].to_numpy(zero_copy_only=False)
        return np.flatnonzero(status == STATUS_OK).astype(np.int64)

    def row(self, number: int) -> Row:
        """The scene's row."""
        group = bisect_right(self._stops, number)
        before = self._stops[group - 1] if group else 0
        return dict(self._group(group).slice(number - before, 1).to_pylist()[0])

    def _read_group(self, group: int) -> pa.Table:
        return self._file.read_row_group(group)


Source = DatasetSource | ManifestSource


@lru_cache(maxsize=2)
def open_source(uri: str) -> Source:
    """The source of a folder or a .parquet file, opened once per process.

    A manifest that lies in its dataset stands for that dataset.

    Raises:
        ConfigError: neither.
        StoreError: a folder that is no dataset.
    """
    root = address_of(uri)
    if not str(root).endswith(".parquet"):
        return DatasetSource(root)
    folder = root.parent if isinstance(root, Path) else root.rpartition("/")[0]
    if place_of(folder).exists(DATASET_FILE):
        return DatasetSource(folder)
    if isinstance(root, Path):
        return ManifestSource(root)
    raise ConfigError(f"{root}: a manifest without its dataset is read from a folder; copy it")


def write_selection(numbers: Numbers) -> bytes:
    """Bytes of a selection."""
    sink = pa.BufferOutputStream()
    table = pa.table({"number": pa.array(numbers, pa.int64())})
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())


def read_selection(root: Root, extent: int) -> Numbers:
    """Numbers in the source of the scenes of extent `extent`.

    Raises:
        CorruptShardError: it is damaged or missing.
    """
    key, place = selection_key(extent), place_of(root)
    try:
        data = place.read(key)
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        numbers: Numbers = table["number"].to_numpy().astype(np.int64)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise CorruptShardError(
            f"{place.locate(key)}: missing or damaged ({error}); put the original back from a copy"
        ) from None
    where = place.locate(extent_key(extent))
    if place.exists(extent_key(extent)):
        body = unseal(place.read(extent_key(extent)), where)
        if body.get("selection") != record_of(data).xxh3:
            raise CorruptShardError(
                f"{place.locate(key)}: is not what {where} was made for; put the original back "
                f"from a copy"
            )
    return numbers


@lru_cache(maxsize=2)
def selected(root: Address, stop: int) -> Numbers:
    """Numbers in the source of the first `stop` scenes of a dataset made from it."""
    parts: list[Numbers] = []
    while sum(map(len, parts)) < stop:
        parts.append(read_selection(root, len(parts)))
    return np.concatenate(parts)
