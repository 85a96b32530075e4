"""Larger files of a place: tables written and read piece by piece, and copies between places."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from scenesynth.store.local import LocalPlace
from scenesynth.store.places import Place


def publish(place: Place, key: str, write: Callable[[Path], None]) -> None:
    """Put what `write` writes to a file under a key, whole at any instant.

    Only for what is derived from other keys and may be written again.
    """
    if isinstance(place, LocalPlace):
        place.replace_by(key, write)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        write(path)
        place.replace(key, path.read_bytes())


def parquet_file(place: Place, key: str) -> Any:
    """What pyarrow reads the parquet file of a key from, as far as it needs it."""
    if isinstance(place, LocalPlace):
        return place.locate(key)
    return pa.PythonFile(_Ranges(place, key), mode="r")


def copy_once(source: Place, key: str, out: Place) -> bool:
    """Give `out` the file that `source` has under a key, unless it has one; True where it had none.

    A link where both lie on one file system, since such files never change; else a copy.
    """
    if isinstance(source, LocalPlace) and isinstance(out, LocalPlace):
        (out.path / key).parent.mkdir(parents=True, exist_ok=True)
        try:
            link(out.path / key, source.path / key)
        except FileExistsError:
            return False
        except OSError:
            return out.put_once(key, source.read(key))
        return True
    return out.put_once(key, source.read(key))


def link(path: Path, target: Path) -> None:
    """Give a file a second name.

    Raises:
        OSError: the name is taken, or the file system does not allow it.
    """
    path.hardlink_to(target)


class _Ranges(io.RawIOBase):
    """A file that is read range by range."""

    def __init__(self, place: Place, key: str) -> None:
        super().__init__()
        self._place, self._key = place, key
        self._size, self._at = place.size(key), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._size - self._at, 0)
        length = left if size is None or size < 0 else min(size, left)
        data = self._place.read_range(self._key, self._at, length) if length else b""
        self._at += len(data)
        return data
