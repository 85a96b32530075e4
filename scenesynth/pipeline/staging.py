"""Packed clips on the disk of the machine that renders.

Clips are read at random; over a network that is slow for one machine and a storm for many. A pack
that lies elsewhere is copied into this machine's cache, once, whatever the number of workers: the
first one holds a lock, the others wait for it. A copy is used only if its bytes are those that the
pack's header states.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from scenesynth.corpus.packed import PACK_FILE, Packed
from scenesynth.data import cache_root
from scenesynth.errors import ConfigError

logger = logging.getLogger(__name__)

SPARE_DISK: Final = 0.5
"""Share of the free disk space that one copy may take."""


def staged(descriptor: Mapping[str, Any]) -> dict[str, Any]:
    """The descriptor of corpora with its packs on this machine.

    Where there is no room, or the disk fails, the pack is left where it is.
    """
    return {
        name: {
            **item,
            "places": {prefix: _staged_place(p) for prefix, p in item["places"].items()},
        }
        for name, item in descriptor.items()
    }


def _staged_place(place: Mapping[str, Any]) -> dict[str, Any]:
    packs = {rate: str(stage_pack(Path(folder))) for rate, folder in place["packs"].items()}
    if place["index"] is not None or not packs:
        return {**place, "packs": packs}
    # A pack that is a place of its own: its path is the pack.
    [folder] = packs.values()
    return {**place, "path": folder, "root": folder, "packs": packs}


def stage_pack(folder: Path) -> Path:
    """Where this machine reads a pack: a checked copy in its cache, or the folder itself."""
    cache = cache_root().resolve()
    if folder.resolve().is_relative_to(cache):
        return folder
    header = (folder / PACK_FILE).read_bytes()
    target = cache / "staged" / f"{folder.name}-{hashlib.sha256(header).hexdigest()[:16]}"
    try:
        with _locked(target):
            if not target.exists():
                _copy(folder, target)
    except (OSError, ConfigError) as error:
        logger.warning("%s: cannot be copied to %s (%s); reading it there", folder, target, error)
        return folder
    return target


def _copy(folder: Path, target: Path) -> None:
    """Copy a pack under a name of its own, check it, and give it its final name."""
    need = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    if need > SPARE_DISK * shutil.disk_usage(target.parent).free:
        raise OSError(f"{need / 1e9:.3g} GB would take too much of the disk")
    for leftover in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        shutil.copytree(folder, scratch)
        if damaged := Packed(scratch).damaged_parts():
            raise OSError(f"{damaged[0]} is damaged there or on the way")
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold this machine's lock on a copy; the system drops it if the process dies."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
