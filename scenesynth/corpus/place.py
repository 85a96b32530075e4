"""One place that clips come from: an indexed folder or table, or a pack."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from scenesynth.corpus.audio import Prepared, decode, pcm_digest, prepare
from scenesynth.corpus.clips import Clip, Progress, Rejected
from scenesynth.corpus.index import Index, build_index, load_index
from scenesynth.corpus.packed import Packed, is_pack
from scenesynth.data import check_name
from scenesynth.errors import ClipError, ConfigError

MEMORY_BYTES = 128 << 20
"""Prepared clips that a place keeps in memory while it has no pack."""


class Recent:
    """The most recently used prepared clips, up to a number of bytes."""

    def __init__(self, limit_bytes: int = MEMORY_BYTES) -> None:
        self._limit = limit_bytes
        self._items: OrderedDict[tuple[str, int], Prepared] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int]) -> Prepared | None:
        """The clip kept under (id, rate), if it still is."""
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
            return found

    def put(self, key: tuple[str, int], prepared: Prepared) -> None:
        """Keep a clip, and let go of the longest unused ones."""
        with self._lock:
            if key in self._items or prepared.codes.nbytes > self._limit:
                return
            self._items[key] = prepared
            self._bytes += prepared.codes.nbytes
            while self._bytes > self._limit:
                _, old = self._items.popitem(last=False)
                self._bytes -= old.codes.nbytes


@dataclass(frozen=True, kw_only=True)
class Place:
    """Clips of one place, with their own ids, and the way to their samples.

    Attributes:
        path: the folder or table as given.
        root: folder that clip paths are relative to.
        index_file: table of the index; None for a pack.
        clips: sorted by id.
        packs: packs of these clips by sample rate.
    """

    path: Path
    root: Path
    index_file: Path | None
    clips: tuple[Clip, ...]
    rejected: tuple[Rejected, ...]
    packs: dict[int, Packed] = field(default_factory=dict)
    recent: Recent = field(default_factory=Recent)

    def prepared(self, clip: Clip, sample_rate: int) -> Prepared:
        """A clip of this place at a rate.

        Raises:
            ClipError: it cannot be decoded, or is no longer what was indexed.
            ConfigError: this is a pack at another rate.
            OSError: its file cannot be opened.
        """
        if packed := self.packs.get(sample_rate):
            return packed.prepared(clip.id)
        if self.index_file is None:
            rates = ", ".join(map(str, self.packs))
            raise ConfigError(
                f"{self.path}: packed at {rates} Hz, asked for {sample_rate} Hz; render at that "
                f"rate, or pack the original clips at {sample_rate} Hz"
            )
        key = (clip.id, sample_rate)
        kept = self.recent.get(key)
        if kept is None:
            kept = _from_file(self.root / clip.path, clip, sample_rate)
            self.recent.put(key, kept)
        return kept


def open_place(path: Path, *, progress: Progress | None = None) -> Place:
    """Index (or read the cached index of) a folder, a clips.csv or a packed corpus.

    Raises:
        ConfigError: nothing usable there.
    """
    check_name(path)
    if is_pack(path):
        return open_pack(path)
    return _indexed(path, build_index(path, progress=progress))


def open_pack(path: Path) -> Place:
    """A packed corpus as a place of its own.

    Raises:
        ConfigError: a damaged or empty pack.
    """
    packed = Packed(path)
    if not packed.clips:
        raise ConfigError(f"{path}: the pack holds no usable clip; pack the corpus again")
    return Place(
        path=path,
        root=path,
        index_file=None,
        clips=packed.clips,
        rejected=packed.rejected,
        packs={packed.sample_rate: packed},
    )


def reopen_place(path: Path, root: Path, index_file: Path | None) -> Place:
    """A place from its index table, without a look at its files.

    Raises:
        ConfigError: the table is gone or damaged.
    """
    if index_file is None:
        return open_pack(path)
    return _indexed(path, load_index(index_file, root))


def _indexed(path: Path, index: Index) -> Place:
    return Place(
        path=path,
        root=index.root,
        index_file=index.file,
        clips=index.clips,
        rejected=index.rejected,
    )


def _from_file(path: Path, clip: Clip, sample_rate: int) -> Prepared:
    audio, rate = decode(path)
    digest = pcm_digest(audio, rate)
    if digest != clip.digest:
        raise ClipError(
            f"{path}: its samples changed since it was indexed (digest {digest[:12]}, was "
            f"{clip.digest[:12]}); index the corpus again or restore the file"
        )
    return prepare(audio, rate, sample_rate)
