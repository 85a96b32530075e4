"""One corpus: the clips of one or several places under one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.audio import Prepared
from scenesynth.corpus.clips import Clip, Rejected, clips_digest
from scenesynth.corpus.place import Place
from scenesynth.corpus.pools import UNLABELLED, Pool, split_names
from scenesynth.errors import ClipError, ConfigError

_Shares = tuple[tuple[str, float], ...]


class Reference(Protocol):
    """What names a clip: corpus, id and digest (as `scenesynth.scene.spec.ClipRef`)."""

    @property
    def corpus(self) -> str:
        """Name of the corpus."""

    @property
    def id(self) -> str:
        """Id of the clip in it."""

    @property
    def digest(self) -> str:
        """Digest of the clip's samples."""


class Corpus:
    """The clips of one or several places under one name.

    With several places, ids are prefixed by the shortest ends of the places' paths that tell them
    apart, so they do not depend on where the places lie.
    """

    def __init__(self, name: str, places: Mapping[str, Place]) -> None:
        """Join places.

        Args:
            name: what recipes call it.
            places: by prefix; the prefix "" leaves ids as they are.
        """
        self.name = name
        self.places = dict(places)
        self._members: dict[str, tuple[Clip, Place, Clip]] = {}
        for prefix, place in self.places.items():
            for own in place.clips:
                clip = replace(own, id=f"{prefix}/{own.id}") if prefix else own
                self._members[clip.id] = (clip, place, own)
        self._pools: dict[tuple[str, _Shares], Pool] = {}
        self._splits: dict[_Shares, list[str]] = {}

    def __repr__(self) -> str:
        return f"<Corpus {self.name}: {len(self.clips)} clips, {len(self.classes)} classes>"

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        """Usable clips, sorted by id."""
        return tuple(self._members[clip_id][0] for clip_id in sorted(self._members))

    @cached_property
    def digest(self) -> str:
        """Digest over the sorted (id, digest of the samples); see `clips_digest`."""
        return clips_digest(self.clips)

    @cached_property
    def rejected(self) -> tuple[Rejected, ...]:
        """What could not be used, with reasons; paths carry the prefix of their place."""
        return tuple(
            Rejected(path=f"{prefix}/{item.path}" if prefix else item.path, reason=item.reason)
            for prefix, place in self.places.items()
            for item in place.rejected
        )

    @cached_property
    def classes(self) -> Mapping[str, int]:
        """Clips per class, by name; a clip of several labels counts in each."""
        counts = Counter(label for c in self.clips for label in c.labels or (UNLABELLED,))
        return dict(sorted(counts.items()))

    @cached_property
    def licences(self) -> Mapping[str, int]:
        """Clips per licence, by name; "" for clips that state none."""
        return dict(sorted(Counter(clip.licence for clip in self.clips).items()))

    def get(self, clip_id: str) -> Clip:
        """A clip by its id.

        Raises:
            ConfigError: this corpus has no usable clip of that id.
        """
        if clip_id in self._members:
            return self._members[clip_id][0]
        why = next((r.reason for r in self.rejected if r.path == clip_id), "")
        raise ConfigError(
            f"corpus {self.name}: no clip {clip_id!r}"
            + (f", it was rejected: {why}" if why else f" among its {len(self.clips)}")
            + "; give the corpus that the scene was made from"
        )

    def pool(self, split: str, shares: Mapping[str, float]) -> Pool:
        """The clips of a split (see `split_names`).

        Args:
            split: name of the split.
            shares: share of the groups per split, for clips that state none.

        Raises:
            ConfigError: shares that are none, or no clip in that split.
        """
        key = tuple(shares.items())
        if (split, key) not in self._pools:
            if key not in self._splits:
                self._splits[key] = split_names(self.clips, shares)
            pairs = zip(self.clips, self._splits[key], strict=True)
            chosen = [clip for clip, name in pairs if name == split]
            if not chosen:
                raise ConfigError(self._empty_split(split, shares, self._splits[key]))
            self._pools[split, key] = Pool(chosen, name=f"corpus {self.name}, split {split}")
        return self._pools[split, key]

    def _empty_split(self, split: str, shares: Mapping[str, float], names: Sequence[str]) -> str:
        there = ", ".join(f"{name} {n}" for name, n in sorted(Counter(names).items()))
        groups = len({clip.group for clip in self.clips})
        return (
            f"corpus {self.name}: no clip in split {split!r}; its {len(self.clips)} clips of "
            f"{groups} groups went to {there} by their stated splits and the shares "
            f"{dict(shares)}; render another split, give {split!r} a larger share, or state "
            f"splits in a clips.csv"
        )

    def load(
        self, clip: Clip | Reference, sample_rate: int, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        """Samples [start, stop) of a clip: mono, high-passed, at `sample_rate`. Shape: [n].

        What lies beyond the clip's end is missing from the result.

        Raises:
            ClipError: it cannot be decoded, or its samples are not those of `clip.digest`.
            ConfigError: no such clip here, or a pack at another rate.
            OSError: its file cannot be opened.
        """
        return self.prepared(clip, sample_rate).samples(start, stop)

    def prepared(self, clip: Clip | Reference, sample_rate: int) -> Prepared:
        """As `load`, in the form that packs hold."""
        self.get(clip.id)
        known, place, own = self._members[clip.id]
        if clip.digest != known.digest:
            raise ClipError(
                f"corpus {self.name}, clip {clip.id}: the scene was made from other samples "
                f"(digest {clip.digest[:12]}, here {known.digest[:12]}); restore the clip"
            )
        return place.prepared(own, sample_rate)
