"""Creating, extending and filling a dataset.

`create_or_open` settles the identity, `extend_to` the number of scenes, and a `ShardWriter` takes
the scenes of one shard and publishes them: every file whole, the commit record last.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.store.arrays import (
    EncodedScene,
    array_metadata,
    check_audio_object,
    check_gain_object,
    encode_scene,
    gain_metadata,
    gain_object,
    group_metadata,
    rows_of,
    shard_object,
)
from scenesynth.store.commit import (
    Commit,
    FileRecord,
    explained,
    put_commit,
    record_of,
)
from scenesynth.store.layout import (
    DATASET_FILE,
    ZARR_GROUP,
    DatasetInfo,
    StoredArray,
    StoredFormat,
    audio_key,
    extent_key,
    gain_key,
    has_info,
    promised,
    read_extents,
    read_info,
    seal,
    table_key,
)
from scenesynth.store.places import Place, Root, place_of
from scenesynth.store.schema import (
    SCHEMA_VERSION,
    STATUS_OK,
    STATUS_SKIPPED,
    Scene,
    events_schema,
    scenes_schema,
    table_of,
)

logger = logging.getLogger(__name__)

ENVIRONMENT: Final = ("packages", "cpu")
"""Parts of the identity that a resume on another machine may be allowed to change."""


def create_or_open(root: Root, info: DatasetInfo, *, other_environment: bool = False) -> bool:
    """Make `root` the dataset `info`, or check that it already is; True where it is new.

    Args:
        other_environment: accept a dataset begun with other package versions or another CPU
            level; its new scenes may then differ from what that machine would have made, by
            rounding.

    Raises:
        StoreError: `root` holds something else, or a dataset of other arguments, each difference
            named; or it cannot be written.
    """
    place = place_of(root)
    with explained(place):
        if not has_info(place):
            _refuse_foreign_folder(place)
            fresh = _put_identity(place, info)
        else:
            fresh = False
            place.remove_stale_temporaries()
        if not fresh:
            _refuse_other_run(place, info, other_environment)
    return fresh


def extend_to(root: Root, scenes: int, info: DatasetInfo, *, limit: int | None = None) -> int:
    """See that the dataset promises at least `scenes` scenes; the number that it promises.

    A new extent ends on a whole shard: the number is rounded up. Only a dataset smaller than one
    shard, and one that reaches its `limit`, keep an exact number, and can then not be extended.

    Args:
        limit: largest number of scenes that there can be.

    Raises:
        StoreError: more is asked for, but the dataset does not end on a whole shard.
    """
    size = info.shard_scenes
    place = place_of(root)
    with explained(place):
        # Number and start of a new extent follow from one reading: another job may add one
        # meanwhile, and then the number is taken and all is looked at again.
        while (have := promised(extents := read_extents(place))) < scenes:
            if have % size:
                raise StoreError(
                    f"{place}: holds {have} scenes, which do not end on a whole shard of {size}, "
                    f"and cannot be extended to {scenes}; render into another folder"
                )
            rounded = -(-scenes // size) * size
            stop = scenes if have == 0 and scenes < size else min(rounded, limit or rounded)
            extent = {"schema": SCHEMA_VERSION, "first": have, "stop": stop}
            place.put_once(extent_key(len(extents)), seal(extent))
        write_metadata(place, info, have)
    return have


class ShardWriter:
    """Takes the scenes of one shard in order and publishes them as a whole.

    It keeps compressed bytes only, about 1.8 MB per 10 s scene in FOA at 32 kHz.
    """

    def __init__(self, root: Root, info: DatasetInfo, shard: int, stop: int) -> None:
        self.place = place_of(root)
        self.info = info
        self.shard = shard
        self.first = shard * info.shard_scenes
        self.stop = min(self.first + info.shard_scenes, stop)
        if self.first >= self.stop:
            raise ValueError(f"shard {shard} starts at scene {self.first}, past the extent {stop}")
        self._audio: dict[str, list[EncodedScene]] = {array.name: [] for array in info.arrays}
        self._rows: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._skipped: list[int] = []
        self._n_samples = 0
        self.copied = 0
        """Scenes that came encoded as a whole."""

    def add(self, scene: Scene) -> None:
        """Encode the next scene.

        Raises:
            ValueError: audio of another format, shape or length, or not finite; or no stems.
        """
        index = self.first + len(self._rows)
        if scene.sample_rate != self.info.sample_rate:
            raise ValueError(f"sample_rate = {scene.sample_rate}; must be {self.info.sample_rate}")
        if missing := {*self.info.format_names} - {*scene.audio_by_format, *scene.encoded}:
            raise ValueError(f"scene {index} lacks the formats {', '.join(sorted(missing))}")
        row, events = numbered(scene, index)
        for array in self.info.arrays:
            encoded = scene.encoded.get(array.name)
            if encoded is None:
                encoded = encode_scene(rows_of(scene, array), array, self.info)
            self._append(array, encoded, row)
        self._rows.append(row)
        self.copied += len(scene.encoded) == len(self.info.arrays)
        self._n_samples += row["n_samples"]
        self._events += events

    def add_skipped(self, row: Mapping[str, Any]) -> None:
        """Put silence with the status "skipped" in the place of the next scene."""
        index = self.first + len(self._rows)
        silent = {**row, "index": index, "status": STATUS_SKIPPED, "n_samples": 0, "n_events": 0}
        silent["sample_rate"] = self.info.sample_rate
        for array in self.info.arrays:
            self._append(array, _silence(array, self.info), silent)
        self._rows.append(silent)
        self._skipped.append(index)

    def put_files(self) -> dict[str, FileRecord]:
        """Publish all files of the shard; their records by path inside the dataset.

        Raises:
            StoreError: no space, read-only, no permission.
            CorruptShardError: a left-over file of this shard is damaged.
            OSError: another failure of the file system, worth another try.
        """
        if len(self._rows) != self.stop - self.first:
            raise ValueError(
                f"shard {self.shard} has {len(self._rows)} of {self.stop - self.first} scenes"
            )
        with explained(self.place):
            return {key: self._put(key, data) for key, data in self._files().items()}

    def commit(
        self,
        files: Mapping[str, FileRecord],
        versions: Mapping[str, str],
        log: Mapping[str, Any],
    ) -> Commit:
        """Make the published files visible; the commit that holds, ours or an earlier one.

        Raises:
            StoreError, OSError: as `put_files`; nothing of this shard is visible.
        """
        commit = Commit(
            shard=self.shard,
            first=self.first,
            stop=self.stop,
            skipped=tuple(self._skipped),
            files=files,
            versions=versions,
            log={**log, "audio_s": round(self._n_samples / self.info.sample_rate, 3)},
        )
        with explained(self.place):
            return put_commit(self.place, commit)

    def _append(self, array: StoredArray, encoded: EncodedScene, row: dict[str, Any]) -> None:
        self._audio[array.name].append(encoded)
        if isinstance(array, StoredFormat):
            row[f"gain_{array.name}"] = encoded.gain
            row[f"peak_{array.name}"] = encoded.peak

    def _files(self) -> dict[str, bytes]:
        files = {
            audio_key(array.name, self.shard, len(array.axes)): shard_object(
                self._audio[array.name], self.info
            )
            for array in self.info.arrays
        }
        files |= {
            gain_key(array.name, self.shard): gain_object(self._audio[array.name], self.info)
            for array in self.info.arrays
        }
        scenes = table_of(self._rows, scenes_schema(self.info.format_names))
        files[table_key("scenes", self.shard)] = _parquet(scenes)
        files[table_key("events", self.shard)] = _parquet(table_of(self._events, events_schema()))
        return files

    def _put(self, key: str, data: bytes) -> FileRecord:
        if self.place.put_once(key, data):
            return record_of(data)
        return self._adopt(key, data)

    def _adopt(self, key: str, ours: bytes) -> FileRecord:
        """Record of the file that an earlier or concurrent attempt has published."""
        theirs = self.place.read(key)
        if theirs != ours:
            self._check(key, theirs)
            logger.warning(
                "%s: an earlier attempt has published other bytes than this one made; keeping "
                "the earlier ones. The two ran with different packages or on different CPUs",
                self.place.locate(key),
            )
        return record_of(theirs)

    def _check(self, key: str, data: bytes) -> None:
        try:
            if key.endswith(".parquet"):
                scenes = key == table_key("scenes", self.shard)
                _check_table(
                    data, scenes_schema(self.info.format_names) if scenes else events_schema()
                )
            elif "/gain/" in key:
                check_gain_object(data, self.info)
            else:
                check_audio_object(data, self.stop - self.first, self.info)
        except (CorruptShardError, pa.ArrowInvalid, ValueError, OSError) as error:
            raise CorruptShardError(
                f"{self.place.locate(key)}: left over from an earlier attempt and damaged "
                f"({error}); no commit names it, so it is safe to delete: "
                f"{self.place.removal([key])}, then give the same command again"
            ) from None


def numbered(scene: Scene, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Row and events of a scene as the tables of a dataset have them, but for gain and peak."""
    row = {**scene.row, "index": index, "status": STATUS_OK}
    events = [
        {**event, "scene": row["id"], "index": index, "event": number}
        for number, event in enumerate(scene.events)
    ]
    return row, events


def _check_table(data: bytes, schema: pa.Schema) -> None:
    """Check a table: its pages by their checksums, and all between them by writing it again.

    Headers of pages have no checksum. Another version of the library may write other bytes, and
    then only the pages are checked.
    """
    # On this thread alone: a table is small, and a process that ends soon should start no pools.
    table = pq.read_table(
        pa.BufferReader(data),
        page_checksum_verification=True,
        use_threads=False,
        pre_buffer=False,
    )
    again = _parquet(table.cast(schema))  # reading adds numbers to fields
    made_by = [pq.read_metadata(pa.BufferReader(part)).created_by for part in (data, again)]
    if made_by[0] == made_by[1] and again != data:
        raise CorruptShardError("its bytes are not those of the table that they hold")


def put_tombstone(root: Root, shard: int, info: DatasetInfo, stop: int, reason: str) -> Commit:
    """Commit a shard as parked: it holds nothing, and readers step over it."""
    first = shard * info.shard_scenes
    last = min(first + info.shard_scenes, stop)
    place = place_of(root)
    with explained(place, always=True):
        return put_commit(
            place, Commit(shard=shard, first=first, stop=last, status="parked", reason=reason)
        )


def differences(old: DatasetInfo, new: DatasetInfo) -> dict[str, tuple[Any, Any]]:
    """Values that differ between two identities, by dotted path: (old, new)."""
    return plain_differences(old.to_dict(), new.to_dict())


def plain_differences(old: Any, new: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Values that differ between two pieces of plain data, by dotted path: (old, new)."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{path}.{key}" if path else str(key)
            found |= plain_differences(old.get(key), new.get(key), inner)
        return found
    return {} if old == new else {path: (old, new)}


def _refuse_other_run(place: Place, info: DatasetInfo, other_environment: bool) -> None:
    found = differences(read_info(place), info)
    environment = {k: v for k, v in found.items() if k.partition(".")[0] in ENVIRONMENT}
    arguments = {k: v for k, v in found.items() if k not in environment}
    if arguments:
        raise StoreError(
            f"{place}: holds a dataset made with other arguments:\n{listing(arguments)}\n"
            f"Give the arguments of that run to resume it, or another --out, or --overwrite to "
            f"delete what is there"
        )
    if environment and not other_environment:
        raise StoreError(
            f"{place}: was begun in another environment, where the same scene may differ by "
            f"rounding:\n{listing(environment)}\n"
            f"Resume there, or allow the mixture explicitly, or give another --out"
        )


def listing(found: Mapping[str, tuple[Any, Any]], there: str = "there", here: str = "here") -> str:
    """Differences between two identities for people, a line each."""
    lines = []
    for name, pair in found.items():
        one, other = (json.dumps(value, ensure_ascii=False) for value in pair)
        unlike = (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
        alike = next(unlike, min(len(one), len(other)))
        lines.append(f"  {name}: {there} {_short(one, alike)}, {here} {_short(other, alike)}")
    return "\n".join(lines)


def _short(text: str, alike: int, limit: int = 80) -> str:
    """At most `limit` characters of a text, in which the one after the first `alike` is shown."""
    first = max(0, alike - limit // 4) if alike > limit // 2 else 0
    some = text[first:] if first + limit >= len(text) else text[first : first + limit - 3] + "..."
    return f"...{some}" if first else some


def _put_identity(place: Place, info: DatasetInfo) -> bool:
    """Publish the identity; True where there was none.

    An object store that overwrites where it is told not to is found out here, by asking it twice.
    """
    data = seal(info.to_dict())
    if not place.put_once(DATASET_FILE, data):
        return False
    if place.put_once(DATASET_FILE, data):
        raise StoreError(
            f"{place}: this store overwrites objects though told not to (If-None-Match), so two "
            f"jobs could destroy each other's work; use a store with conditional puts, or a folder"
        )
    return True


def _refuse_foreign_folder(place: Place) -> None:
    try:
        strange = place.names()
    except FileNotFoundError:
        return
    if strange:
        raise StoreError(
            f"{place}: is not empty and not a scenesynth dataset (it holds {strange[0]!r}); "
            f"give an empty or new folder as --out"
        )


def zarr_metadata(info: DatasetInfo, scenes: int) -> dict[str, bytes]:
    """Zarr metadata as identity and extents dictate, by key."""
    documents = {_joined(name): document for name, document in group_metadata(info).items()}
    for array in info.arrays:
        documents[_joined(array.name, "audio")] = array_metadata(array, info, scenes)
        documents[_joined(array.name, "gain")] = gain_metadata(info, scenes)
    return {
        f"{folder}/zarr.json": (json.dumps(document, indent=1) + "\n").encode()
        for folder, document in documents.items()
    }


def write_metadata(root: Root, info: DatasetInfo, scenes: int) -> None:
    """Write that metadata; it is derived, so it is written over."""
    place = place_of(root)
    for key, data in zarr_metadata(info, scenes).items():
        if not place.exists(key) or place.read(key) != data:
            place.replace(key, data)


def _joined(*names: str) -> str:
    return "/".join([ZARR_GROUP, *filter(None, names)])


def _silence(array: StoredArray, info: DatasetInfo) -> EncodedScene:
    return encode_scene(np.zeros((array.n_rows, 0), np.float32), array, info)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())
