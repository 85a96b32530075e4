"""File systems that are soon full."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TinyDisk:
    """A file system that is soon full, or a limit on the size of files, until it is freed."""

    folder: Path
    free: Callable[[], None]


@contextmanager
def tiny_file_system(folder: Path) -> Iterator[TinyDisk]:
    """A file system of 1 MB.

    Raises:
        PermissionError: who asks may not mount one.
    """
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        raise PermissionError("no right to mount")
    larger = ["mount", "-o", "remount,size=100m", str(folder)]
    try:
        yield TinyDisk(folder, lambda: subprocess.run(larger, check=True) and None)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def tiny_files(folder: Path) -> Iterator[TinyDisk]:
    """Files of at most 100 kB in this process and those that it starts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield TinyDisk(folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
