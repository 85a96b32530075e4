"""What a dry clip is, and how a corpus names and describes its clips.

A clip is known by a relative id and the digest of its decoded samples, never by an absolute path:
a moved corpus is the same corpus. A reader (`scenesynth.corpus.readers`) turns a folder or a
clips.csv into `Entry` records; the index adds what was measured from the samples and so makes
`Clip` records, or `Rejected` ones with the reason.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

PREPARE_VERSION = 1
"""Raised whenever the same file would be prepared (`corpus.audio`) to other samples."""

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".mp3"})

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, items done, items in all)."""

_SPLIT_ALIASES = {
    "training": "train",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A clip as its folder or clips.csv states it, before its samples were looked at.

    Attributes:
        id: relative id, unique in the corpus.
        path: file, relative to the corpus root, with forward slashes.
        split: stated split, None where the corpus leaves it to the recipe.
        group: what must not be shared between splits (a speaker, an uploader); "" if unknown.
    """

    id: str
    path: str
    labels: tuple[str, ...] = ()
    split: str | None = None
    group: str = ""
    fold: str = ""
    licence: str = ""
    attribution: str = ""
    url: str = ""
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A usable clip: what is stated of it and what was measured.

    Attributes:
        id, path, labels, split, fold, licence, attribution, url, caption: see `Entry`.
        group: as stated, else the digest, so that copies of one recording share a split.
        sample_rate, channels, n_frames: of the file.
        digest: digest of the decoded samples, rate and channel count.
        file_digest: digest of the file's bytes.
        peak: largest magnitude of the mono, high-passed signal.
        rms: root mean square of that signal over its active region.
        active_start_s, active_end_s: the active region, from the start of the clip.
    """

    id: str
    path: str
    labels: tuple[str, ...]
    split: str | None
    group: str
    fold: str
    licence: str
    attribution: str
    url: str
    caption: str
    sample_rate: int
    channels: int
    n_frames: int
    digest: str
    file_digest: str
    peak: float
    rms: float
    active_start_s: float
    active_end_s: float

    @property
    def duration_s(self) -> float:
        """Length of the clip in seconds."""
        return self.n_frames / self.sample_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A file or row that cannot be used, and why."""

    path: str
    reason: str


def parse_labels(text: str) -> tuple[str, ...]:
    """Labels of a cell, separated by `;` or `|`, without blanks and repeats.

    >>> parse_labels("dog; bark|dog")
    ('dog', 'bark')
    """
    names = (part.strip() for part in re.split(r"[;|]", text))
    return tuple(dict.fromkeys(name for name in names if name))


def parse_split(text: str) -> str | None:
    """Split name with its usual spellings made one; None for an empty cell.

    >>> parse_split("Validation"), parse_split("")
    ('valid', None)
    """
    name = text.strip().lower()
    return _SPLIT_ALIASES.get(name, name) or None


def clips_digest(clips: Iterable[Clip]) -> str:
    """Digest of a set of clips: SHA-256 over the sorted (id, digest of the samples)."""
    hasher = hashlib.sha256()
    for clip_id, digest in sorted((clip.id, clip.digest) for clip in clips):
        hasher.update(f"{clip_id}\0{digest}\n".encode())
    return hasher.hexdigest()[:32]
