"""Files that scenes need besides clips, found by the digest of their content.

A recipe names a file by its path; from then on the file is known by its name and digest
(`AssetRef`), so that no path enters a spec. `adopt` keeps a copy under `data.cache_root()`, where
every process of the machine finds it. A machine that has never read the recipe finds files in the
folders of `SCENESYNTH_ASSETS`.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from scenesynth.data import cache_root
from scenesynth.errors import ConfigError
from scenesynth.room.model import AssetRef

FOLDERS = "SCENESYNTH_ASSETS"


def adopt(path: Path) -> AssetRef:
    """Keep a copy of a file, and say how specs refer to it.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    ref = AssetRef(id=path.name, digest=_digest(content))
    kept = _kept(ref)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f"{kept.name}.{os.getpid()}")
        part.write_bytes(content)
        part.replace(kept)
    return ref


@lru_cache(maxsize=256)
def locate(ref: AssetRef) -> Path:
    """The file of an asset, by name and content.

    Raises:
        ConfigError: it is nowhere, or only with another content.
    """
    folders = [Path(text) for text in os.environ.get(FOLDERS, "").split(os.pathsep) if text]
    tried = [_kept(ref), *(folder / ref.id for folder in folders)]
    there = [path for path in tried if path.is_file()]
    for path in there:
        if _digest(path.read_bytes()) == ref.digest:
            return path
    found = "has another content" if there else "is missing"
    raise ConfigError(
        f"file {ref.id} (digest {ref.digest}) {found}; looked at {', '.join(map(str, tried))}. "
        f"Read the recipe that names it, or set {FOLDERS} to a folder that holds it"
    )


def _kept(ref: AssetRef) -> Path:
    return cache_root() / "assets" / ref.digest / ref.id


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
