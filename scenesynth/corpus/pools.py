"""The clips of one split, and draws from them that other clips do not disturb.

A draw is weighted rendezvous hashing (Thaler and Ravishankar 1998; weights after Schindelhauer
and Schomaker 2005) over classes, then the groups of the class, then the clips of the group: every
candidate gets a score from the draw's key and its own name, and the best score wins. So taking a
clip away changes the draws that had it and no others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.clips import Clip
from scenesynth.errors import ConfigError, ContentError
from scenesynth.seeds import name_id

UNLABELLED = ""
"""Class of a clip without labels."""

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_FACTOR_1, _FACTOR_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

Hashes = NDArray[np.uint64]

_ONE: Hashes = np.zeros(1, np.uint64)
"""Hashes of the clips of a group of one, which nobody looks at."""


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    clips: tuple[Clip, ...]
    hashes: Hashes


@dataclass(frozen=True, slots=True)
class _Class:
    name: str
    groups: tuple[_Group, ...]
    hashes: Hashes


@dataclass(frozen=True, slots=True)
class _Selection:
    """Classes to draw from, and the weights that were checked for them."""

    classes: tuple[_Class, ...]
    hashes: Hashes
    weights: dict[tuple[tuple[str, float], ...], NDArray[np.float64]]


class Pool:
    """Clips of one split by class, group and clip."""

    def __init__(self, clips: Iterable[Clip], *, name: str = "pool") -> None:
        """Make a pool.

        Args:
            clips: its clips.
            name: what errors call it.
        """
        self._clips = tuple(sorted(clips, key=lambda clip: clip.id))
        self._name = name
        self._classes = _by_class(self._clips)
        self._selections: dict[tuple[str, ...] | None, _Selection] = {}

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, sorted."""
        return tuple(self._classes)

    @property
    def groups(self) -> frozenset[str]:
        """Names of the groups."""
        return frozenset(clip.group for clip in self._clips)

    def ordered(self) -> tuple[Clip, ...]:
        """All clips sorted by id, for recipes that use every clip once."""
        return self._clips

    def pick(
        self,
        key: int,
        *,
        labels: Collection[str] | None = None,
        class_weights: Mapping[str, float] | None = None,
        exclude_groups: Collection[str] = frozenset(),
    ) -> Clip:
        """The clip that a key draws.

        Args:
            key: any whole number; its low 64 bits count.
            labels: classes to draw from; None for all.
            class_weights: weights of classes, 1 for those it does not name.
            exclude_groups: groups that may not be drawn.

        Raises:
            ConfigError: no class of `labels` is in the pool, or all weights are zero.
            ContentError: `exclude_groups` leaves nothing.
        """
        among = self._selection(None if labels is None else tuple(sorted(set(labels))))
        for place in self._ranking(key, among, class_weights, bool(exclude_groups)):
            group = _pick_group(key, among.classes[place], exclude_groups)
            if group is not None:
                return group.clips[_best(key, "clip", group.hashes)]
        raise ContentError(
            f"{self._name}: every group of {_listed([c.name for c in among.classes])} is "
            f"excluded ({len(exclude_groups)} groups in use); ask for fewer sources in a scene or "
            f"give more clips"
        )

    def _selection(self, labels: tuple[str, ...] | None) -> _Selection:
        if labels not in self._selections:
            wanted = self._classes if labels is None else labels
            classes = tuple(self._classes[name] for name in wanted if name in self._classes)
            if not classes:
                raise ConfigError(
                    f"{self._name}: no clip with a label among {_listed(labels or ())}; it has "
                    f"{_listed(self.classes)}"
                )
            self._selections[labels] = _Selection(classes, _hashes(c.name for c in classes), {})
        return self._selections[labels]

    def _ranking(
        self, key: int, among: _Selection, weights: Mapping[str, float] | None, all_places: bool
    ) -> Sequence[int]:
        """Places of the classes to try, best first; only the best unless groups are excluded."""
        mixed = _mix(key, "class", among.hashes)
        if not weights:
            return np.argsort(mixed)[::-1].tolist() if all_places else [int(mixed.argmax())]
        weight = self._class_weights(among, weights)
        scores = _weighted_scores(mixed, weight)
        if not all_places:
            return [int(scores.argmax())]
        return [place for place in np.argsort(scores)[::-1].tolist() if weight[place] > 0]

    def _class_weights(
        self, among: _Selection, weights: Mapping[str, float]
    ) -> NDArray[np.float64]:
        items = tuple(weights.items())
        if items not in among.weights:
            values = [weights.get(c.name, 1.0) for c in among.classes]
            if not all(0 <= value < math.inf for value in values) or max(values) == 0:
                raise ConfigError(
                    f"{self._name}: class weights {dict(weights)}; must be finite, not negative, "
                    f"and at least one class of {_listed([c.name for c in among.classes])} above 0"
                )
            among.weights[items] = np.array(values, dtype=np.float64)
        return among.weights[items]


def split_names(clips: Sequence[Clip], shares: Mapping[str, float]) -> list[str]:
    """Split of every clip: stated ones stay, the rest follow their group into `shares`.

    A group goes where a rendezvous of the splits by share sends its name, so it stays there when
    clips come and go, and few groups move when a share is changed. Clips without a stated split
    follow clips of their group that have one.

    Raises:
        ConfigError: shares that are no shares.
    """
    _check_shares(shares)
    stated: dict[str, str] = {}
    for clip in clips:
        if clip.split is not None:
            stated.setdefault(clip.group, clip.split)
    open_groups = sorted({clip.group for clip in clips} - set(stated))
    drawn = dict(zip(open_groups, _draw_splits(open_groups, shares), strict=True))
    return [clip.split or stated.get(clip.group) or drawn[clip.group] for clip in clips]


def _check_shares(shares: Mapping[str, float]) -> None:
    values = list(shares.values())
    if not values or not all(np.isfinite(v) and v >= 0 for v in values) or sum(values) <= 0:
        raise ConfigError(
            f"splits: got shares {dict(shares)}; must be numbers of 0 or more, one above 0, such "
            f"as train 0.8, valid 0.1, test 0.1"
        )


def _draw_splits(groups: Sequence[str], shares: Mapping[str, float]) -> list[str]:
    names = sorted(name for name, share in shares.items() if share > 0)
    hashes = _hashes(groups)
    scores = np.stack(
        [
            _weighted_scores(_mix(name_id(name), "split", hashes), np.float64(shares[name]))
            for name in names
        ]
    )
    return [names[place] for place in scores.argmax(axis=0)]


def _by_class(clips: Sequence[Clip]) -> dict[str, _Class]:
    members: dict[str, dict[str, list[Clip]]] = {}
    for clip in clips:
        for label in clip.labels or (UNLABELLED,):
            members.setdefault(label, {}).setdefault(clip.group, []).append(clip)
    return {label: _make_class(label, members[label]) for label in sorted(members)}


def _make_class(name: str, members: Mapping[str, Sequence[Clip]]) -> _Class:
    groups = tuple(
        _Group(group, tuple(clips), _hashes(clip.id for clip in clips) if len(clips) > 1 else _ONE)
        for group, clips in sorted(members.items())
    )
    return _Class(name, groups, _hashes(group.name for group in groups))


def _pick_group(key: int, of: _Class, exclude: Collection[str]) -> _Group | None:
    if not exclude:
        return of.groups[_best(key, "group", of.hashes)]
    mixed = _mix(key, "group", of.hashes)
    best = of.groups[int(mixed.argmax())]
    if best.name not in exclude:
        return best
    places = (of.groups[place] for place in np.argsort(mixed)[::-1])
    return next((group for group in places if group.name not in exclude), None)


def _best(key: int, level: str, hashes: Hashes) -> int:
    """Place of the best score among equal weights, where the hash itself is the score."""
    return 0 if len(hashes) == 1 else int(_mix(key, level, hashes).argmax())


def _weighted_scores(
    mixed: Hashes, weight: NDArray[np.float64] | np.float64
) -> NDArray[np.float64]:
    """Rendezvous scores -w / ln u with u in (0, 1) from the hashes."""
    unit = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(-weight / np.log(unit))


def _hashes(names: Iterable[str]) -> Hashes:
    """`seeds.name_id` of many names, without its cache, which millions of them would only churn."""
    digests = b"".join(hashlib.sha256(name.encode()).digest()[:8] for name in names)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def _mix(key: int, level: str, hashes: Hashes) -> Hashes:
    """Hash of (key, level, name) for many names, by the finaliser of splitmix64."""
    mixed = hashes ^ np.uint64(_scalar_mix((key & _MASK) ^ name_id(level)))
    mixed ^= mixed >> _SHIFT_1
    mixed *= _FACTOR_1
    mixed ^= mixed >> _SHIFT_2
    mixed *= _FACTOR_2
    mixed ^= mixed >> _SHIFT_3
    return mixed


def _scalar_mix(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _listed(names: Collection[str], limit: int = 12) -> str:
    shown = [name or "(none)" for name in list(names)[:limit]]
    return ", ".join(shown) + (f" and {len(names) - limit} more" if len(names) > limit else "")
