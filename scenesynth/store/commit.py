"""Publishing files that are there whole or not at all, and the commit record of a shard.

A file is written under a temporary name in its own folder, flushed to disk, and linked to its
final name, which fails if that name exists: names are given once and their bytes never change.
Whoever finds a name taken adopts the file. The commit record comes last, so a crash at any instant
leaves nothing that a reader sees, or a whole shard; the next attempt adopts what is already there.

On a file system without hard links the final step is a rename under a lock (flock) of the folder.
That is as safe between processes of one machine; between machines that share such a file system
it is not, so give each machine its own shards there.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import xxhash

from scenesynth.errors import CorruptShardError, StoreError
from scenesynth.store.layout import commit_path, seal, unseal
from scenesynth.store.schema import SCHEMA_VERSION

logger = logging.getLogger(__name__)

_COMMIT: Final = re.compile(r"(0|[1-9][0-9]*)\.json")
TMP_PREFIX: Final = ".tmp-"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Size and hash of a committed file."""

    size: int
    xxh3: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What is known of a finished shard.

    Attributes:
        first, stop: scenes [first, stop).
        status: "ok", or "parked": rendering failed for good and the shard holds nothing.
        skipped: scenes of the shard that hold silence and have the status "skipped".
        files: committed files by path inside the dataset.
        versions: packages that wrote the shard.
        reason: why a shard is parked.
        log: times and places of the rendering; not part of the shard's identity.
    """

    shard: int
    first: int
    stop: int
    status: Literal["ok", "parked"] = "ok"
    skipped: tuple[int, ...] = ()
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    log: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_usable(self) -> int:
        """Scenes of the shard that a reader sees."""
        return 0 if self.status == "parked" else self.stop - self.first - len(self.skipped)

    @property
    def n_bytes(self) -> int:
        """Bytes of the committed files."""
        return sum(record.size for record in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA_VERSION,
            "shard": self.shard,
            "first": self.first,
            "stop": self.stop,
            "status": self.status,
            "skipped": list(self.skipped),
            "files": {k: {"size": f.size, "xxh3": f.xxh3} for k, f in self.files.items()},
            "versions": dict(self.versions),
            "reason": self.reason,
            "log": dict(self.log),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Commit:
        """Inverse of `to_dict`."""
        plain = {key: value for key, value in data.items() if key != "schema"}
        plain["skipped"] = tuple(plain["skipped"])
        plain["files"] = {key: FileRecord(**record) for key, record in plain["files"].items()}
        return cls(**plain)


def record_of(data: bytes) -> FileRecord:
    """Size and hash of a file's bytes."""
    return FileRecord(size=len(data), xxh3=str(xxhash.xxh3_128_hexdigest(data)))


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


def put_commit(root: Path, commit: Commit) -> Commit:
    """Publish a commit record and return the one that holds: ours, or an earlier one."""
    path = commit_path(root, commit.shard)
    if put_once(path, seal(commit.to_dict())):
        return commit
    return read_commit(root, commit.shard)


def read_commit(root: Path, shard: int) -> Commit:
    """Commit record of a shard.

    Raises:
        CorruptShardError: the record is damaged.
        FileNotFoundError: the shard is not committed.
    """
    path = commit_path(root, shard)
    try:
        return Commit.from_dict(unseal(path.read_bytes(), path))
    except CorruptShardError as error:
        raise CorruptShardError(
            f"{error}, or have the shard checked and committed anew: rm {path} and give the same "
            f"`scenesynth render` command again"
        ) from None


def list_commits(root: Path) -> list[int]:
    """Numbers of the committed shards, parked ones too, rising."""
    folder = root / "commits"
    if not folder.is_dir():
        return []
    return sorted(
        int(name[1]) for path in folder.iterdir() if (name := _COMMIT.fullmatch(path.name))
    )


def remove_stale_temporaries(root: Path, max_age_s: float = _TMP_MAX_AGE_S) -> int:
    """Delete temporary files that a crash left behind; younger ones may be in use. Their number."""
    removed = 0
    oldest = time.time() - max_age_s
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names if name.startswith(TMP_PREFIX)):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
    return removed


def is_temporary(path: Path) -> bool:
    """Whether this is a file that a crash may leave behind."""
    return path.name.startswith(TMP_PREFIX)


@contextmanager
def explained(root: Path) -> Iterator[None]:
    """Turn a lasting file system error into one that says what is safe and what to do.

    Errors that may pass (a network file system that stumbles) stay `OSError`, so that the caller
    tries again.

    Raises:
        StoreError: no space, read-only, no permission.
    """
    try:
        yield
    except OSError as error:
        if (why := PERMANENT_ERRNOS.get(error.errno or 0)) is None:
            raise
        where = error.filename2 or error.filename or root
        raise StoreError(_explanation(Path(str(where)), why, root, error)) from error


def _explanation(where: Path, why: str, root: Path, error: OSError) -> str:
    done = _count_commits(root)
    out_of_space = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if out_of_space:
        remedy = "free some space (or raise the limit) and give the same command again"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
        remedy = "give another --out"
    else:
        remedy = "make the folder writable, or give another --out"
    safe = f"; {done} committed shards are whole and stay readable" if done else ""
    return f"{where}: cannot write: {why}{safe}. To go on: {remedy}"


def _count_commits(root: Path) -> int:
    try:
        return len(list_commits(root))
    except OSError:
        return 0


@contextmanager
def _temporary(folder: Path, data: bytes) -> Iterator[Path]:
    """A file in `folder` that holds `data` on disk, gone on leaving unless it was moved."""
    tmp = folder / f"{TMP_PREFIX}{uuid.uuid4().hex}"
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
