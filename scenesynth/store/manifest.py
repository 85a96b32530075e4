"""The merged tables of a dataset: a cache beside the parts, never the truth.

`finalize` writes `manifest.parquet` (a row a scene) and `manifest_events.parquet` (a row an
event), without excluded scenes. Both say in their metadata which commits and exclusions they were
made of. A reader uses them only while these are the ones that it sees, and goes back to the parts
otherwise; deleting them loses nothing. They also hold the dataset's identity, so the specs of a
dataset can be given away, and rendered, without its audio.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from scenesynth.store import files
from scenesynth.store.commit import Commit, explained
from scenesynth.store.layout import table_key

if TYPE_CHECKING:
    from scenesynth.store.reader import Dataset

logger = logging.getLogger(__name__)

MANIFESTS: Final[Mapping[str, str]] = {
    "scenes": "manifest.parquet",
    "events": "manifest_events.parquet",
}
"""Key of the merged table, by table."""

MADE_OF: Final = b"scenesynth_made_of"
IDENTITY: Final = b"scenesynth_dataset"
GROUP_ROWS: Final = 4096
"""Scenes of a row group: what is in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalized:
    """What was written: rows by table, shards that they are of, bytes."""

    rows: Mapping[str, int]
    shards: int
    n_bytes: int


def finalize(dataset: Dataset, on_shard: Callable[[], None] = lambda: None) -> Finalized:
    """Write the merged tables of all commits that `dataset` sees.

    Args:
        on_shard: called after each shard of each table.

    Raises:
        CorruptShardError: a part is missing or damaged.
        StoreError: no space, read-only, no permission.
    """
    whole = [commit for commit in dataset.commits if commit.status == "ok"]
    rows = {}
    with explained(dataset.place):
        for table, key in MANIFESTS.items():

            def write(path: Path, table: str = table) -> None:
                rows[table] = _write(dataset, table, whole, path, on_shard)

            files.publish(dataset.place, key, write)
    sizes = [dataset.place.size(key) for key in MANIFESTS.values()]
    return Finalized(rows=rows, shards=len(whole), n_bytes=sum(sizes))


def read_cached(
    dataset: Dataset, table: str, columns: Sequence[str] | None = None
) -> pa.Table | None:
    """The merged table, if it is of the commits and exclusions that `dataset` sees.

    Scenes that are excluded are not in it, so it is of no use to who wants them.
    """
    key = MANIFESTS[table]
    path = dataset.place.locate(key)
    if not dataset.place.exists(key) or (dataset.excluded and dataset.with_excluded):
        return None
    try:
        file = files.parquet_file(dataset.place, key)
        found = (pq.read_schema(file).metadata or {}).get(MADE_OF)
        if found != _made_of(dataset):
            logger.info("%s: of other commits or exclusions; reading the parts", path)
            return None
        cached = pq.read_table(file, columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        logger.warning("%s: damaged (%s); reading the parts instead", path, error)
        return None
    return cached.replace_schema_metadata(dataset.schema(table).metadata)


def _write(
    dataset: Dataset,
    table: str,
    commits: Sequence[Commit],
    path: Path,
    on_shard: Callable[[], None],
) -> int:
    """Write one merged table to a file; its rows."""
    schema = dataset.schema(table)
    told = {MADE_OF: _made_of(dataset), IDENTITY: json.dumps(dataset.info.to_dict()).encode()}
    excluded = pa.array(dataset.excluded, pa.int64())
    per_group = max(1, GROUP_ROWS // dataset.info.shard_scenes)
    n_rows = 0
    with pq.ParquetWriter(
        path,
        schema.with_metadata({**schema.metadata, **told}),
        compression="zstd",
        write_page_checksum=True,
    ) as writer:
        for start in range(0, len(commits), per_group):
            group = [schema.empty_table()]
            for part in dataset.parts(table, commits[start : start + per_group]):
                group.append(part)
                on_shard()
            merged = pa.concat_tables(group, promote_options="default").select(schema.names)
            if len(excluded):
                merged = merged.filter(pc.invert(pc.is_in(merged["index"], excluded)))
            writer.write_table(merged.cast(schema), row_group_size=max(len(merged), 1))
            n_rows += len(merged)
    return n_rows


def _made_of(dataset: Dataset) -> bytes:
    """Number and digest of the commits, with the exclusions."""
    digest = xxhash.xxh3_128()
    for commit in dataset.commits:
        digest.update(json.dumps(_facts(commit)).encode())
    digest.update(json.dumps(list(dataset.excluded)).encode())
    made_of = {
        "commits": len(dataset.commits),
        "excluded": len(dataset.excluded),
        "digest": digest.hexdigest(),
    }
    return json.dumps(made_of).encode()


def _facts(commit: Commit) -> list[Any]:
    """What of a commit decides its rows."""
    keys = [table_key(table, commit.shard) for table in MANIFESTS]
    hashes = [commit.files[key].xxh3 for key in keys if key in commit.files]
    return [commit.shard, commit.status, *hashes]
