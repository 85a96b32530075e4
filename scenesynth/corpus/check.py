"""Check a corpus: decode everything once, and say what is unusable and what looks wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scenesynth.corpus.clips import Clip, Progress, Rejected
from scenesynth.corpus.index import Row, build_index
from scenesynth.corpus.packed import Packed, is_pack

CLIPPED_SHARE = 1e-4
QUIET_PEAK = 0.01
REMOVED_SHARE = 0.5
TRAILING_SILENCE_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A usable clip with something that its owner may want to mend."""

    id: str
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found.

    Attributes:
        clips: usable clips, sorted by id.
        rejected: the others, with reasons.
        warnings: what looks wrong in usable clips.
        damaged: parts of a packed corpus whose bytes changed.
    """

    path: Path
    clips: tuple[Clip, ...]
    rejected: tuple[Rejected, ...]
    warnings: tuple[Warned, ...]
    damaged: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every clip can be used."""
        return not self.rejected and not self.damaged

    @property
    def duration_s(self) -> float:
        """Length of all usable clips together."""
        return sum(clip.duration_s for clip in self.clips)


def check(path: Path, *, progress: Progress | None = None) -> Report:
    """Decode every clip of a folder, clips.csv or packed corpus again and report on it.

    Raises:
        ConfigError: nothing there, or nothing usable.
    """
    if is_pack(path):
        packed = Packed(path)
        return Report(
            path=path,
            clips=packed.clips,
            rejected=packed.rejected,
            warnings=tuple(_copies(packed.clips)),
            damaged=packed.damaged_parts(progress),
        )
    index = build_index(path, progress=progress, fresh=True)
    clips = index.clips
    warnings = [*_conspicuous(index.rows), *_copies(clips), *_torn_groups(clips)]
    return Report(
        path=path,
        clips=clips,
        rejected=index.rejected,
        warnings=tuple(sorted(warnings, key=lambda item: item.id)),
    )


def _conspicuous(rows: Sequence[Row]) -> Iterator[Warned]:
    for row in rows:
        for warning in _warnings(row):
            yield Warned(id=row.entry.id, warning=warning)


def _warnings(row: Row) -> Iterator[str]:
    facts = row.facts
    if facts is None:
        return
    if facts.raw_peak > 1.0:
        yield f"samples beyond full scale (peak {facts.raw_peak:.3g})"
    elif facts.clipped_share > CLIPPED_SHARE:
        yield f"clipped: {100 * facts.clipped_share:.2g} % of its samples are at full scale"
    if facts.peak < QUIET_PEAK:
        yield f"very quiet: peak {facts.peak:.2g} of full scale"
    if facts.removed_share > REMOVED_SHARE:
        yield f"{100 * facts.removed_share:.0f} % of its energy is offset or infrasound, removed"
    silence_s = facts.n_frames / facts.sample_rate - facts.active_end_s
    if silence_s > TRAILING_SILENCE_S:
        yield f"ends in {silence_s:.2f} s of silence"


def _copies(clips: Sequence[Clip]) -> Iterator[Warned]:
    first: dict[str, str] = {}
    for clip in clips:
        original = first.setdefault(clip.digest, clip.id)
        if original != clip.id:
            yield Warned(id=clip.id, warning=f"has the same samples as {original}")


def _torn_groups(clips: Sequence[Clip]) -> Iterator[Warned]:
    """Groups that the corpus itself puts into several splits."""
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.split is not None:
            splits[clip.group].add(clip.split)
    for clip in clips:
        names = sorted(splits.get(clip.group, ()))
        if len(names) > 1:
            yield Warned(
                id=clip.id, warning=f"its group {clip.group!r} is in splits {', '.join(names)}"
            )
