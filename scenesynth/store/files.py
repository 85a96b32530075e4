"""Files of a dataset by key, a name with slashes that is relative to its root.

What looks at whole datasets (`finalize`, `verify`, `merge`, `exclude`) goes to the disk through
these functions alone, and through `commit.put_once` and `commit.replace`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from scenesynth.store.commit import TMP_PREFIX, put_once


def read(root: Path, key: str) -> bytes:
    """Bytes of a key."""
    return (root / key).read_bytes()


def read_range(root: Path, key: str, start: int, length: int) -> bytes:
    """At most `length` bytes of a key, less where it ends before."""
    with (root / key).open("rb") as file:
        return os.pread(file.fileno(), length, start)


def size(root: Path, key: str) -> int:
    """Bytes of a key."""
    return (root / key).stat().st_size


def exists(root: Path, key: str) -> bool:
    """Whether the key is taken."""
    return (root / key).exists()


def list_keys(root: Path, folder: str = "") -> dict[str, int]:
    """Sizes of all files in a folder and below, by key; {} where there is no such folder."""
    found: dict[str, int] = {}
    waiting = [os.fspath(root / folder)]
    start = len(os.fspath(root)) + 1
    while waiting:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    found[entry.path[start:]] = entry.stat(follow_symlinks=False).st_size
    return dict(sorted(found.items()))


def remove(root: Path, keys: Iterable[str]) -> None:
    """Delete keys, one after another; those that are gone already are no error."""
    for key in keys:
        (root / key).unlink(missing_ok=True)


def publish(root: Path, key: str, write: Callable[[Path], None]) -> None:
    """Put what `write` writes to a file under a key, whole at any instant.

    Only for what is derived from other keys and may be written again.
    """
    path = root / key
    tmp = path.with_name(f"{TMP_PREFIX}{uuid.uuid4().hex}")
    try:
        write(tmp)
        tmp.replace(path)
    finally:
        tmp.unlink(missing_ok=True)


def link(path: Path, target: Path) -> None:
    """Give a file a second name.

    Raises:
        OSError: the name is taken, or the file system does not allow it.
    """
    path.hardlink_to(target)


def copy_once(source: Path, key: str, out: Path) -> bool:
    """Give `out` the file that `source` has under a key, unless it has one; True where it had none.

    A link where both lie on one file system, since such files never change; else a copy.
    """
    path = out / key
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        link(path, source / key)
    except FileExistsError:
        return False
    except OSError:
        return put_once(path, read(source, key))
    return True
