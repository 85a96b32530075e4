"""The tables of a report: splits, classes, heads, licences and corpora, of what was looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from scenesynth.audit.columns import matching, present, texts, with_scenes
from scenesynth.audit.quantities import duration_s
from scenesynth.audit.records import Audit

MOST_ROWS: Final = 120
"""Rows of a table in a report; what is left out is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Counts by row and column, with their sums.

    Attributes:
        what: the rows, in the plural.
        rows: a name and its counts, the most frequent one first.
        left_out: rows beyond `MOST_ROWS`.
    """

    what: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    left_out: int

    @property
    def shares(self) -> tuple[tuple[float, ...], ...]:
        """Of each count in the largest of its column, 0 to 1: columns differ in size."""
        counts = np.array([row for _, row in self.rows], dtype=np.float64)
        if not counts.size:
            return ()
        return tuple(map(tuple, counts / np.maximum(counts.max(axis=0), 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """What a split has among what was looked at."""

    name: str
    scenes: int
    hours: float
    rooms: int
    heads: int
    clips: int
    classes: int
    events: int


def split_facts(audit: Audit) -> tuple[SplitFacts, ...]:
    """A row for each split."""
    events = with_scenes(audit.events, audit.scenes, ["split"])
    return tuple(
        _facts(name, matching(audit.scenes, "split", [name]), matching(events, "split", [name]))
        for name in splits_of(audit)
    )


def splits_of(audit: Audit) -> tuple[str, ...]:
    """Names of the splits: train, valid and test first."""
    usual = ("train", "valid", "test")
    found = set(texts(audit.scenes, "split")) - {""}
    return (*(n for n in usual if n in found), *sorted(found - set(usual)))


def classes_by_split(audit: Audit) -> Grid:
    """How many targets have each class, by split; classes without any are there too."""
    events = matching(with_scenes(audit.events, audit.scenes, ["split"]), "role", ["target"])
    pairs = []
    if "labels" in events.column_names:
        splits = texts(events, "split")
        for split, labels in zip(splits, events["labels"].to_pylist(), strict=True):
            pairs += [(label, split) for label in labels or ()]
    known = [str(name) for name in audit.identity.get("classes") or ()]
    return grid("classes", pairs, splits_of(audit), known)


def heads_by_split(audit: Audit) -> Grid:
    """How many scenes are heard with each head, by split."""
    pairs = zip(texts(audit.scenes, "head"), texts(audit.scenes, "split"), strict=False)
    return grid("heads", [pair for pair in pairs if pair[0]], splits_of(audit))


def licences(audit: Audit) -> Grid:
    """How many events play clips of each licence, by corpus."""
    names = texts(audit.events, "licence")
    corpora = texts(audit.events, "corpus")
    pairs = [
        (licence or "not stated", corpus)
        for licence, corpus in zip(names, corpora, strict=False)
        if corpus
    ]
    return grid("licences", pairs, sorted({corpus for _, corpus in pairs}))


def grid(
    what: str,
    pairs: Iterable[tuple[str, str]],
    columns: Sequence[str],
    known: Sequence[str] = (),
) -> Grid:
    """Count (row, column) pairs; rows that are known have a row without any, too."""
    counted = Counter(pairs)
    names = {row for row, _ in counted} | set(known)
    rows = [(name, tuple(counted[name, column] for column in columns)) for name in names]
    rows.sort(key=lambda row: (-sum(row[1]), row[0]))
    # What nothing has is a fault more often than what is rare: it is not cut off.
    kept = rows if len(rows) <= MOST_ROWS else [*rows[: MOST_ROWS - 20], *rows[-20:]]
    return Grid(what=what, columns=tuple(columns), rows=tuple(kept), left_out=len(rows) - len(kept))


def corpora(identity: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Name, digest, clips and licences of each corpus that the dataset was made of."""
    found = []
    for name, facts in (identity.get("corpora") or {}).items():
        held = facts if isinstance(facts, Mapping) else {}
        kinds = held.get("licences") or {}
        told = ", ".join(f"{licence or 'not stated'} ({count})" for licence, count in kinds.items())
        found.append((name, str(held.get("digest", "")), str(held.get("clips", "")), told))
    return found


def _facts(name: str, scenes: pa.Table, events: pa.Table) -> SplitFacts:
    targets = matching(events, "role", ["target"])
    labels = targets["labels"].to_pylist() if "labels" in targets.column_names else []
    clips = set(zip(texts(events, "corpus"), texts(events, "clip"), strict=False))
    return SplitFacts(
        name=name,
        scenes=len(scenes),
        hours=float(present(duration_s(scenes)).sum()) / 3600,
        rooms=len(set(texts(scenes, "room")) - {""}),
        heads=len(set(texts(scenes, "head")) - {""}),
        clips=len({pair for pair in clips if pair[1]}),
        classes=len({label for several in labels for label in several or ()}),
        events=len(events),
    )
