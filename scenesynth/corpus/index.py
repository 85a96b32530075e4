"""The cached index of a folder or a clips.csv: every clip measured once.

An index is a parquet table under `cache_root()/indexes/<place>/<content>.parquet`: <place> stands
for the resolved path of the corpus, <content> for the table's bytes. A table is never rewritten,
so a running job keeps its index while another process indexes the same folder anew. A file whose
size and modification time are those of the last table is not read again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from scenesynth.corpus.clips import Clip, Entry, Progress, Rejected, clips_digest
from scenesynth.corpus.measure import MEASURE_VERSION, Facts, measure
from scenesynth.corpus.readers.folder import read_folder
from scenesynth.corpus.readers.table import read_table
from scenesynth.corpus.tables import columns_of, field_names, publish, records_of, to_parquet
from scenesynth.corpus.threads import in_threads
from scenesynth.data import cache_root
from scenesynth.errors import ClipError, ConfigError

TABLE_NAME = "clips.csv"
KEPT_INDEXES = 4
SHOWN_REJECTED = 5

_CLIP_FACTS = tuple(name for name in field_names(Facts) if name in field_names(Clip))
_VERSION = {b"scenesynth_measure": str(MEASURE_VERSION).encode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the index: what is stated, the state of the file, and facts or a reason.

    Attributes:
        size, mtime_ns: of the file when it was measured; -1 where there is no file to look at.
        reason: why it cannot be used; "" for a usable clip, which then has facts.
    """

    entry: Entry
    size: int
    mtime_ns: int
    reason: str
    facts: Facts | None

    def clip(self, facts: Facts) -> Clip:
        """The clip of a usable row."""
        stated = {name: getattr(self.entry, name) for name in field_names(Entry)}
        measured = {name: getattr(facts, name) for name in _CLIP_FACTS}
        return Clip(**(stated | measured | {"group": self.entry.group or facts.digest}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An indexed place.

    Attributes:
        root: folder that the clips' paths are relative to.
        file: its parquet table.
        rows: all lines, usable or not, sorted by id.
    """

    root: Path
    file: Path
    rows: tuple[Row, ...]

    @property
    def clips(self) -> tuple[Clip, ...]:
        """Usable clips, sorted by id."""
        return tuple(row.clip(row.facts) for row in self.rows if row.facts is not None)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """What cannot be used, sorted by path."""
        bad = [Rejected(path=r.entry.path, reason=r.reason) for r in self.rows if r.facts is None]
        return tuple(sorted(bad, key=lambda item: (item.path, item.reason)))

    @property
    def digest(self) -> str:
        """Digest of the usable clips (see `clips_digest`)."""
        return clips_digest(self.clips)


def build_index(
    path: Path, *, progress: Progress | None = None, workers: int | None = None, fresh: bool = False
) -> Index:
    """Index a folder of audio files, a clips.csv, or a folder that holds one.

    Args:
        path: the place.
        progress: called as files are measured.
        workers: threads; None for one per core.
        fresh: measure every file again, whatever the cached table says.

    Raises:
        ConfigError: nothing there, nothing to read, or not one usable clip.
    """
    root, entries, rejected = _read(path)
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]
    folder = cache_root() / "indexes" / place
    known = {} if fresh else _known(folder)
    rows = _measure_all(root, entries, known, progress, workers)
    rows += [_without_file(item) for item in rejected]
    rows.sort(key=lambda row: (row.entry.id, row.entry.path))
    if all(row.facts is None for row in rows):
        raise ConfigError(_no_usable(path, rows))
    return Index(root=root, file=_write(folder, rows), rows=tuple(rows))


def load_index(file: Path, root: Path) -> Index:
    """Read an index table back without looking at the files that it lists.

    Raises:
        ConfigError: the table is gone, or its bytes are not those that its name stands for.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: the index of {root} is gone from the cache; open the corpus again"
        ) from None
    if _content_name(data) != file.stem:
        raise ConfigError(f"{file}: the index of {root} is damaged; delete it and open it again")
    return Index(root=root, file=file, rows=tuple(_from_table(pq.read_table(io.BytesIO(data)))))


def _read(path: Path) -> tuple[Path, list[Entry], list[Rejected]]:
    if path.is_dir():
        table = path / TABLE_NAME
        return (path, *(read_table(table) if table.is_file() else read_folder(path)))
    if path.is_file() and path.suffix.lower() == ".csv":
        return (path.parent, *read_table(path))
    got = "a file of another kind" if path.exists() else "nothing there"
    raise ConfigError(
        f"{path}: {got}; a corpus is a folder of audio files, a clips.csv, a folder that holds "
        f"one, or a packed corpus"
    )


def _measure_all(
    root: Path,
    entries: list[Entry],
    known: dict[tuple[str, int, int], Row],
    progress: Progress | None,
    workers: int | None,
) -> list[Row]:
    def one(entry: Entry) -> Row:
        return _measure_entry(root, entry, known)

    return in_threads(one, entries, what="index clips", progress=progress, workers=workers)


def _measure_entry(root: Path, entry: Entry, known: dict[tuple[str, int, int], Row]) -> Row:
    path = root / entry.path
    try:
        state = path.stat()
    except OSError as error:
        return Row(entry=entry, size=-1, mtime_ns=-1, reason=_os_reason(error), facts=None)
    if not stat.S_ISREG(state.st_mode):
        return Row(entry=entry, size=-1, mtime_ns=-1, reason="not a file", facts=None)
    size, mtime_ns = state.st_size, state.st_mtime_ns
    if before := known.get((entry.path, size, mtime_ns)):
        return dataclasses.replace(before, entry=entry)
    facts, reason = None, ""
    try:
        facts = measure(path)
    except ClipError as error:
        reason = str(error)
    except OSError as error:
        size, mtime_ns, reason = -1, -1, _os_reason(error)
    return Row(entry=entry, size=size, mtime_ns=mtime_ns, reason=reason, facts=facts)


def _os_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is missing"
    return f"cannot be opened ({error.strerror or error})"


def _without_file(item: Rejected) -> Row:
    entry = Entry(id=item.path, path=item.path)
    return Row(entry=entry, size=-1, mtime_ns=-1, reason=item.reason, facts=None)


def _no_usable(path: Path, rows: Sequence[Row]) -> str:
    shown = [f"  {row.entry.path}: {row.reason}" for row in rows[:SHOWN_REJECTED]]
    more = len(rows) - len(shown)
    tail = [f"  and {more} more; `scenesynth corpus check` lists them all"] if more else []
    head = f"{path}: none of {len(rows)} clips can be used:"
    return "\n".join([head, *shown, *tail])


def _known(folder: Path) -> dict[tuple[str, int, int], Row]:
    """Measured rows of the newest table, by path, size and modification time."""
    for file in reversed(_tables(folder)):
        try:
            table = pq.read_table(file)
        except (OSError, pa.ArrowInvalid):
            continue
        if (table.schema.metadata or {}).items() >= _VERSION.items():
            rows = (row for row in _from_table(table) if row.size >= 0)
            return {(row.entry.path, row.size, row.mtime_ns): row for row in rows}
    return {}


def _tables(folder: Path) -> list[Path]:
    """Tables of a place, oldest first."""
    return sorted(folder.glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)


def _write(folder: Path, rows: Sequence[Row]) -> Path:
    data = to_parquet(_to_table(rows))
    file = folder / f"{_content_name(data)}.parquet"
    publish(file, data)
    # The newest table is the one that the next run starts from, also when its content came back.
    os.utime(file, ns=(time.time_ns(), time.time_ns()))
    for old in _tables(folder)[:-KEPT_INDEXES]:
        old.unlink(missing_ok=True)
    return file


def _content_name(data: bytes) -> str:
    return xxhash.xxh3_128(data).hexdigest()


def _to_table(rows: Sequence[Row]) -> pa.Table:
    columns = columns_of(Entry, [row.entry for row in rows])
    columns["size"] = pa.array([row.size for row in rows], type=pa.int64())
    columns["mtime_ns"] = pa.array([row.mtime_ns for row in rows], type=pa.int64())
    columns["reason"] = pa.array([row.reason for row in rows], type=pa.string())
    columns |= columns_of(Facts, [row.facts for row in rows])
    return pa.table(columns).replace_schema_metadata(_VERSION)


def _from_table(table: pa.Table) -> list[Row]:
    usable = table["digest"].is_valid()
    facts = iter(records_of(Facts, table.filter(usable)))
    return [
        Row(
            entry=entry,
            size=size,
            mtime_ns=mtime_ns,
            reason=reason,
            facts=next(facts) if has_facts else None,
        )
        for entry, size, mtime_ns, reason, has_facts in zip(
            records_of(Entry, table),
            table["size"].to_pylist(),
            table["mtime_ns"].to_pylist(),
            table["reason"].to_pylist(),
            usable.to_pylist(),
            strict=True,
        )
    ]
