"""A folder of audio files: ids are relative paths, labels are the sub-folders on the way."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from scenesynth.corpus.clips import AUDIO_SUFFIXES, Entry, Rejected
from scenesynth.errors import ConfigError


def read_folder(root: Path) -> tuple[list[Entry], list[Rejected]]:
    """Entries of all audio files below `root`, hidden ones apart, and names that are no text.

    Ids are in Unicode form NFC, so a corpus moved between file systems keeps them.

    Raises:
        ConfigError: no audio file at all.
    """
    entries: dict[str, Entry] = {}
    rejected = []
    others = 0
    for path in _files(root):
        if PurePosixPath(path).suffix.lower() not in AUDIO_SUFFIXES:
            others += 1
            continue
        if not _is_text(path):
            shown = path.encode(errors="surrogateescape").decode(errors="replace")
            rejected.append(Rejected(path=shown, reason="the file name is not valid UTF-8"))
            continue
        entry = _entry(path)
        if entry.id in entries:
            reason = f"same id as {entries[entry.id].path!r} ({entry.id!r})"
            rejected.append(Rejected(path=path, reason=reason))
            continue
        entries[entry.id] = entry
    if not entries and not rejected:
        raise ConfigError(
            f"{root}: no audio files in it or its sub-folders ({others} other files); looked for "
            f"{', '.join(sorted(AUDIO_SUFFIXES))}, or a clips.csv; give the folder that holds them"
        )
    return list(entries.values()), rejected


def _entry(path: str) -> Entry:
    name = unicodedata.normalize("NFC", path)
    return Entry(id=name, path=path, labels=tuple(dict.fromkeys(PurePosixPath(name).parts[:-1])))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(root: Path) -> Iterator[str]:
    """Relative paths below `root` in sorted order; links are followed, loops are not."""
    seen = {root.resolve()}
    for folder, subfolders, names in os.walk(root, followlinks=True):
        here = Path(folder)
        subfolders[:] = [name for name in sorted(subfolders) if _enter(here / name, seen)]
        for name in sorted(names):
            if not name.startswith("."):
                yield (here / name).relative_to(root).as_posix()


def _enter(folder: Path, seen: set[Path]) -> bool:
    if folder.name.startswith("."):
        return False
    target = folder.resolve()
    if target in seen:
        return False
    seen.add(target)
    return True
