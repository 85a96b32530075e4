"""A dataset in a folder: files that are there whole or not at all.

A file is written under a temporary name in its own folder, flushed to disk, and linked to its
final name, which fails if that name exists: names are given once and their bytes never change.

On a file system without hard links the final step is a rename under a lock (flock) of the folder.
That is as safe between processes of one machine; between machines that share such a file system
it is not, so give each machine its own shards there.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shlex
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scenesynth.errors import RefusedError

logger = logging.getLogger(__name__)

_TMP_PREFIX: Final = ".tmp-"
_TMP_MAX_AGE_S: Final = 3600.0
_NO_HARD_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

PERMANENT_ERRNOS: Final = {
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the allowed file size",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "the operation is not permitted",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the path is too long",
}
"""Errors of the file system that no retry mends."""


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """A folder; a key is a path inside it. See `scenesynth.store.places.Place`."""

    path: Path

    def __str__(self) -> str:
        return self.uri

    @property
    def uri(self) -> str:
        """The path of the folder."""
        return str(self.path)

    def locate(self, key: str) -> str:
        """Path of the file of a key."""
        return str(self.path / key)

    def put_once(self, key: str, data: bytes) -> bool:
        """Publish `data` unless the key is taken; True where it was not."""
        return put_once(self.path / key, data)

    def replace(self, key: str, data: bytes) -> None:
        """Put `data` under a key, whole at any instant, whatever was there."""
        replace(self.path / key, data)

    def replace_by(self, key: str, write: Callable[[Path], None]) -> None:
        """Put what `write` writes to a file under a key, whole at any instant."""
        path = self.path / key
        tmp = path.with_name(f"{_TMP_PREFIX}{uuid.uuid4().hex}")
        try:
            write(tmp)
            tmp.replace(path)
        finally:
            tmp.unlink(missing_ok=True)

    def read(self, key: str) -> bytes:
        """Bytes of a key."""
        return (self.path / key).read_bytes()

    def read_all(self, keys: Sequence[str]) -> Iterator[bytes]:
        """Bytes of many keys, in their order."""
        return (self.read(key) for key in keys)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes of a key, less where it ends before."""
        with (self.path / key).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), length, start)

    def size(self, key: str) -> int:
        """Bytes of a key."""
        return (self.path / key).stat().st_size

    def exists(self, key: str) -> bool:
        """Whether the key is taken."""
        return (self.path / key).exists()

    def list(self, folder: str = "") -> tuple[str, ...]:
        """All keys in a folder and the folders below, sorted."""
        return tuple(sorted(key for key, _ in self._walk(folder)))

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of all keys in a folder and the folders below, sorted by key."""
        found = {}
        for key, entry in self._walk(folder):
            with suppress(FileNotFoundError):
                found[key] = entry.stat().st_size
        return dict(sorted(found.items()))

    def _walk(self, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Files in a folder and below, without temporary ones."""
        left = [(self.path / folder, f"{folder}/" if folder else "")]
        while left:
            inside, prefix = left.pop()
            for entry in _entries(inside):
                if entry.is_dir(follow_symlinks=False):
                    left.append((Path(entry.path), f"{prefix}{entry.name}/"))
                elif not is_temporary(entry.name):
                    yield prefix + entry.name, entry

    def total_size(self) -> int:
        """Bytes of all keys."""
        return sum(self.sizes().values())

    def names(self) -> tuple[str, ...]:
        """Names of the files and folders at the top, sorted."""
        names = (path.name for path in self.path.iterdir())
        return tuple(sorted(name for name in names if not is_temporary(name)))

    def remove(self, names: Sequence[str]) -> None:
        """Delete keys, and folders with all that is in them, one after another."""
        for path in (self.path / name for name in names):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def removal(self, keys: Sequence[str], *, maybe_gone: bool = False) -> str:
        """Shell command that deletes the keys."""
        files = " ".join(shlex.quote(self.locate(key)) for key in keys)
        return f"rm {'-f ' if maybe_gone else ''}{files}"

    def remove_stale_temporaries(self) -> int:
        """Delete what crashes left behind; how many files that were."""
        return remove_stale_temporaries(self.path)

    def refusal(self, error: OSError) -> RefusedError | None:
        """What to tell of an error in writing that no retry mends; None for one that may pass."""
        if (why := PERMANENT_ERRNOS.get(error.errno or 0)) is None:
            return None
        where = Path(error.filename2 or error.filename or self.path)
        if is_temporary(where.name):  # it is gone by now
            where = where.parent
        return RefusedError(str(where), "write", why, _remedy(error.errno))

    def open_array(self, key: str) -> Any:
        """The Zarr array in a folder, to read from."""
        import zarr

        return zarr.open_array(self.path / key, mode="r")


def put_once(path: Path, data: bytes) -> bool:
    """Publish `data` under `path` unless that name is taken; True where it was not.

    Raises:
        OSError: the file could not be written; nothing is left under either name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return False
    with _temporary(path.parent, data) as tmp:
        fresh = _link_or_rename(tmp, path)
    _sync_folder(path.parent)
    return fresh


def replace(path: Path, data: bytes) -> None:
    """Put `data` under `path`, whole at any instant, whatever was there.

    Only for files that are derived from others and may be written again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path.parent, data) as tmp:
        tmp.replace(path)
    _sync_folder(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """`replace` for a file that a user named: a link stays one, and a pipe is written to.

    Raises:
        OSError: it cannot be written, by that name.
    """
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            replace(target, data)
    except OSError as error:
        error.filename = str(path)
        raise


def remove_stale_temporaries(root: Path, max_age_s: float = _TMP_MAX_AGE_S) -> int:
    """Delete temporary files that a crash left behind; younger ones may be in use. Their number."""
    removed = 0
    oldest = time.time() - max_age_s
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names if is_temporary(name)):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
    return removed


def is_temporary(name: str) -> bool:
    """Whether a file of that name is one that a crash may leave behind."""
    return name.startswith(_TMP_PREFIX)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where there is none."""
    try:
        with os.scandir(folder) as entries:
            return [*entries]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remedy(code: int | None) -> str:
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space (or raise the limit) and give the same command again"
    if code in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
        return "give another --out"
    return "make the folder writable, or give another --out"


@contextmanager
def _temporary(folder: Path, data: bytes) -> Iterator[Path]:
    """A file in `folder` that holds `data` on disk, gone on leaving unless it was moved."""
    tmp = folder / f"{_TMP_PREFIX}{uuid.uuid4().hex}"
    try:
        _write(tmp, data)
        yield tmp
    finally:
        tmp.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # write() and fsync() name no file.
        error.filename = error.filename or str(path)
        raise


def _link_or_rename(tmp: Path, path: Path) -> bool:
    try:
        path.hardlink_to(tmp)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        logger.info("%s: no hard links here; publishing by rename under a lock", path.parent)
        return _rename_once(tmp, path)
    return True


def _rename_once(tmp: Path, path: Path) -> bool:
    with _open_folder(path.parent) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            return False
        tmp.rename(path)
        return True


def _sync_folder(folder: Path) -> None:
    with _open_folder(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
