"""The packed form: clips decoded and resampled once, as int16, memory-mapped.

    pack.json         written last: rate, digest of the clips, versions, size and hash of each part
    clips.parquet     every clip with its part, offset, length and gain
    part-<k>.i16      little-endian int16 codes, clips in order of id

A pack is a corpus of its own: labels, licences and digests are in it, and no path leads out of
it. Parts are finished one by one, so packing that was killed goes on with the missing parts.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scenesynth.corpus.audio import Prepared, file_digest
from scenesynth.corpus.clips import PREPARE_VERSION, Clip, Progress, Rejected, clips_digest
from scenesynth.corpus.tables import columns_of, publish, records_of, scratch_name, to_parquet
from scenesynth.corpus.threads import in_threads
from scenesynth.errors import ClipError, ConfigError
from scenesynth.records import from_json, to_json

PACK_FILE = "pack.json"
_CLIPS_FILE = "clips.parquet"

MIN_PART_BYTES = 4 << 20
MAX_PART_BYTES = 256 << 20
_PARTS = 16

Prepare = Callable[[Clip], Prepared]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a packed clip lies.

    Attributes:
        part: number of the part.
        offset, n_samples: first sample in the part, and how many.
        gain: see `Prepared`.
        reason: why the clip could not be packed; "" for all others.
    """

    part: int
    offset: int
    n_samples: int
    gain: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Size and hash of one part's bytes."""

    name: str
    n_bytes: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What pack.json holds.

    Attributes:
        digest: of all clips that were to be packed (see `clips_digest`).
    """

    schema: int
    prepare_version: int
    sample_rate: int
    digest: str
    n_clips: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    """Record beside a finished part; `key` stands for what was to go into it."""

    key: str
    part: Part
    spans: tuple[Span, ...]


class Packed:
    """A finished pack, opened for reading."""

    def __init__(self, folder: Path) -> None:
        """Open a pack.

        Raises:
            ConfigError: no pack, one of another version, or parts that are missing or cut.
        """
        self.folder = folder
        self.header = _read_header(folder)
        table = pq.read_table(folder / _CLIPS_FILE)
        self._clips = records_of(Clip, table)
        spans = records_of(Span, table)
        self._spans = {clip.id: span for clip, span in zip(self._clips, spans, strict=True)}

    @property
    def sample_rate(self) -> int:
        """Rate of the packed samples."""
        return self.header.sample_rate

    @property
    def clips(self) -> tuple[Clip, ...]:
        """Clips that are there, sorted by id."""
        return tuple(clip for clip in self._clips if not self._spans[clip.id].reason)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """Clips that could not be packed."""
        spans = ((clip.path, self._spans[clip.id].reason) for clip in self._clips)
        return tuple(Rejected(path=path, reason=reason) for path, reason in spans if reason)

    @cached_property
    def _parts(self) -> list[NDArray[np.int16]]:
        return [_map(self.folder / part.name, part.n_bytes) for part in self.header.parts]

    def prepared(self, clip_id: str) -> Prepared:
        """A clip's codes, mapped from the file, and its gain.

        Raises:
            ClipError: it could not be packed.
            KeyError: no such clip.
        """
        span = self._spans[clip_id]
        if span.reason:
            raise ClipError(f"{clip_id}: {span.reason}")
        codes = self._parts[span.part][span.offset : span.offset + span.n_samples]
        return Prepared(codes, span.gain)

    def damaged_parts(self, progress: Progress | None = None) -> tuple[str, ...]:
        """Names of parts whose bytes are not those that were written."""

        def intact(part: Part) -> bool:
            return file_digest(self.folder / part.name) == part.digest

        parts = self.header.parts
        found = in_threads(intact, parts, what="verify", progress=progress)
        return tuple(part.name for part, good in zip(parts, found, strict=True) if not good)


def pack_clips(
    clips: Sequence[Clip],
    prepare: Prepare,
    folder: Path,
    sample_rate: int,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Packed:
    """Pack clips into `folder`, or go on with, or just open, a pack of the same clips there.

    Args:
        clips: what to pack.
        prepare: samples of a clip at `sample_rate`; a ClipError leaves that clip out.
        folder: new, empty, or of this pack.
        sample_rate: rate of the packed samples.
        progress: called after each part.
        workers: threads; None for one per core.

    Raises:
        ConfigError: the folder holds something else.
    """
    clips = sorted(clips, key=lambda clip: clip.id)
    digest = clips_digest(clips)
    if (folder / PACK_FILE).is_file():
        return _same_pack(folder, digest, sample_rate)
    _claim(folder)
    groups = _divide(clips, sample_rate)

    def one(number: int) -> _Finished:
        return _write_part(folder, number, groups[number], prepare, sample_rate)

    finished = in_threads(
        one, range(len(groups)), what="pack clips, in parts", progress=progress, workers=workers
    )
    _finish(folder, clips, finished, sample_rate, digest)
    return Packed(folder)


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a finished pack."""
    return (folder / PACK_FILE).is_file()


def packed_bytes(clips: Sequence[Clip], sample_rate: int) -> int:
    """Size of these clips packed at a rate, to within a sample per clip."""
    return sum(2 * (round(clip.duration_s * sample_rate) + 1) for clip in clips)


def _read_header(folder: Path) -> Header:
    file = folder / PACK_FILE
    header = from_json(Header, file.read_text(encoding="utf-8"), str(file))
    if header.prepare_version != PREPARE_VERSION or header.schema != 1:
        raise ConfigError(
            f"{file}: schema {header.schema}, prepare_version {header.prepare_version}; this "
            f"version reads schema 1, prepare_version {PREPARE_VERSION}; pack the corpus again"
        )
    for part in header.parts:
        path = folder / part.name
        size = path.stat().st_size if path.is_file() else -1
        if size != part.n_bytes:
            raise ConfigError(
                f"{path}: {'missing' if size < 0 else f'{size} bytes'}, must have {part.n_bytes} "
                f"bytes; copy the pack again or pack the corpus again"
            )
    return header


def _same_pack(folder: Path, digest: str, sample_rate: int) -> Packed:
    packed = Packed(folder)
    if (packed.header.digest, packed.sample_rate) != (digest, sample_rate):
        raise ConfigError(
            f"{folder}: holds another pack (clips {packed.header.digest[:12]} at "
            f"{packed.sample_rate} Hz; these are {digest[:12]} at {sample_rate} Hz); give another "
            f"folder or remove this one"
        )
    return packed


def _claim(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    others = [item.name for item in folder.iterdir() if not _is_ours(item.name)]
    if others:
        raise ConfigError(
            f"{folder}: holds {others[0]!r} and is no pack; give a new or empty folder"
        )


def _is_ours(name: str) -> bool:
    return name.lstrip(".").startswith(("part-", "clips.parquet", PACK_FILE))


def _divide(clips: Sequence[Clip], sample_rate: int) -> list[list[Clip]]:
    """Runs of clips, one per part; they depend on the clips and the rate only."""
    total = packed_bytes(clips, sample_rate)
    limit = min(max(total // _PARTS, MIN_PART_BYTES), MAX_PART_BYTES)
    groups: list[list[Clip]] = [[]]
    filled = 0
    for clip in clips:
        size = packed_bytes([clip], sample_rate)
        if groups[-1] and filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(clip)
        filled += size
    return groups


def _write_part(
    folder: Path, number: int, clips: Sequence[Clip], prepare: Prepare, sample_rate: int
) -> _Finished:
    path = folder / f"part-{number:05d}.i16"
    record = _record_file(path)
    key = f"{clips_digest(clips)} {sample_rate} {PREPARE_VERSION}"
    if (before := _read_finished(record)) and before.key == key:
        return before
    temporary = scratch_name(path)
    with temporary.open("wb") as stream:
        spans = tuple(_append(stream, number, clip, prepare) for clip in clips)
        stream.flush()
        os.fsync(stream.fileno())
    part = Part(name=path.name, n_bytes=temporary.stat().st_size, digest=file_digest(temporary))
    temporary.replace(path)
    finished = _Finished(key=key, part=part, spans=spans)
    publish(record, to_json(finished).encode())
    return finished


def _record_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_finished(record: Path) -> _Finished | None:
    if not record.is_file():
        return None
    return from_json(_Finished, record.read_text(encoding="utf-8"), str(record))


def _append(stream: BinaryIO, part: int, clip: Clip, prepare: Prepare) -> Span:
    offset = stream.tell() // 2
    try:
        prepared = prepare(clip)
    except ClipError as error:
        return Span(part=part, offset=offset, n_samples=0, gain=0.0, reason=str(error))
    stream.write(prepared.codes.astype("<i2", copy=False).tobytes())
    return Span(part=part, offset=offset, n_samples=len(prepared.codes), gain=prepared.gain)


def _finish(
    folder: Path,
    clips: Sequence[Clip],
    finished: Sequence[_Finished],
    sample_rate: int,
    digest: str,
) -> None:
    spans = [span for part in finished for span in part.spans]
    table = pa.table(columns_of(Clip, clips) | columns_of(Span, spans))
    publish(folder / _CLIPS_FILE, to_parquet(table))
    header = Header(
        schema=1,
        prepare_version=PREPARE_VERSION,
        sample_rate=sample_rate,
        digest=digest,
        n_clips=len(clips),
        parts=tuple(part.part for part in finished),
    )
    publish(folder / PACK_FILE, _readable(header))
    for leftover in [*folder.glob("part-*.json"), *folder.glob(".*")]:
        leftover.unlink(missing_ok=True)


def _readable(header: Header) -> bytes:
    plain: dict[str, Any] = dataclasses.asdict(header)
    return (json.dumps(plain, indent=1) + "\n").encode()


def _map(path: Path, n_bytes: int) -> NDArray[np.int16]:
    if n_bytes == 0:
        return np.zeros(0, np.int16)
    return np.asarray(np.memmap(path, dtype="<i2", mode="r"))
