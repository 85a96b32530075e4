"""In which order scenes are read: a pure function of seed, epoch and the list of shards.

Shards are permuted and cut into groups of `group`; the scenes of a group are permuted; batches are
cut from what comes out, end to end, across the borders of groups. So a batch mixes the scenes of
`group` shards, and a reader has no more than twice as many open at a time. Rank r of a world of R
takes every R-th scene of each batch from the r-th on, so the batches of the whole world are the
same for any number of ranks. Workers, processes and what was read before play no part.

Epoch 0 takes the shards as they are numbered, and permutes inside the groups only. Scenes do not
depend on their numbers, so nothing is lost, and whoever follows a dataset that is still being
rendered reads what everyone else reads in that epoch.

Scenes that do not fill a batch at the end of an epoch are left out of it (other ones each epoch, as
the order is another), or make a short one where asked.

Several datasets: an epoch has as many scenes as they have together, and each dataset gives its
share of them, spread evenly, from an endless sequence of its own: its order in its epoch 0, then in
its epoch 1, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from scenesynth.seeds import rng

Indices = NDArray[np.int64]
"""Numbers of scenes in their dataset (the column `index`)."""

Missing = Literal["not yet", "the end"]
"""Why there is no batch: it has yet to be rendered, or the epoch has no more."""

_Part = tuple[Indices, Indices, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """What a batch is made of. Shapes: [scenes].

    Attributes:
        dataset: which of the datasets.
        index: number of the scene in it.
        unit: in [0, 1), places the crop; depends on seed, epoch, dataset and scene.
    """

    epoch: int
    step: int
    dataset: Indices
    index: Indices
    unit: NDArray[np.float64]

    def of_rank(self, rank: int, world: int) -> Picks:
        """The part of one rank."""
        return Picks(
            epoch=self.epoch,
            step=self.step,
            dataset=self.dataset[rank::world],
            index=self.index[rank::world],
            unit=self.unit[rank::world],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One dataset of a mix.

    Attributes:
        shards: gives the scenes of each shard in canonical order, and None as often as the next
            one is not there yet.
        size: scenes of all shards; None where that is not known yet.
        promised: above all scene numbers.
    """

    shards: Callable[[], Iterable[Indices | None]]
    size: int | None
    promised: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides the order beside the datasets."""

    seed: int
    batch: int
    group: int
    shuffle: bool
    weights: tuple[float, ...] | None
    drop_last: bool


class Finder(Protocol):
    """Knows the batches of every epoch."""

    @property
    def n_batches(self) -> int | None:
        """Batches of an epoch; None where that is not known yet."""

    def find(self, epoch: int, step: int) -> Picks | Missing:
        """A batch, or why there is none."""


class Order:
    """Batches by epoch and step. What has been worked out of an epoch is kept."""

    def __init__(self, members: Sequence[Member], rules: Rules) -> None:
        self._members = tuple(members)
        self._rules = rules
        self._epochs: dict[int, _Epoch] = {}
        self._units = lru_cache(maxsize=4)(self._draw_units)

    @property
    def n_batches(self) -> int | None:
        """Batches of an epoch; None where that is not known yet."""
        sizes = [member.size for member in self._members if member.size is not None]
        if len(sizes) < len(self._members):
            return None
        whole, rest = divmod(sum(sizes), self._rules.batch)
        return whole + (rest > 0 and not self._rules.drop_last)

    def find(self, epoch: int, step: int) -> Picks | Missing:
        """A batch, or why there is none."""
        if epoch not in self._epochs:
            # Two are kept: workers begin with an epoch while the one before is being used up.
            self._epochs = dict([*self._epochs.items()][-1:])
            self._epochs[epoch] = _Epoch(self._scenes(epoch))
        batch, scenes = self._rules.batch, self._epochs[epoch]
        known = scenes.upto((step + 1) * batch)
        dataset, index, unit = known
        here = slice(step * batch, (step + 1) * batch)
        if len(index[here]) < batch:
            if not scenes.complete:
                return "not yet"
            if len(index[here]) == 0 or self._rules.drop_last:
                return "the end"
        return Picks(
            epoch=epoch, step=step, dataset=dataset[here], index=index[here], unit=unit[here]
        )

    def _scenes(self, epoch: int) -> Iterator[_Part | None]:
        if len(self._members) == 1:
            for found in walk(self._members[0], self._rules, 0, epoch):
                yield None if found is None else self._placed(0, epoch, found)
            return
        yield self._mixed(epoch)

    def _mixed(self, epoch: int) -> _Part:
        """An epoch of several datasets, none of which grows."""
        sizes = [member.size or 0 for member in self._members]
        rules = self._rules
        counts = shares(sum(sizes), rules.weights or [float(size) for size in sizes])
        which = interleave(counts, rules.seed, epoch)
        index, unit = np.empty(len(which), np.int64), np.empty(len(which))
        for number, (count, size) in enumerate(zip(counts, sizes, strict=True)):
            at = which == number
            first = epoch * count
            parts = [
                self._placed(number, own, self._own_order(number, own))
                for own in range(first // size, -(-(first + count) // size))
            ]
            skip = first % size
            if parts:
                index[at] = np.concatenate([part[1] for part in parts])[skip : skip + count]
                unit[at] = np.concatenate([part[2] for part in parts])[skip : skip + count]
        return which, index, unit

    def _own_order(self, number: int, epoch: int) -> Indices:
        groups = [
            g for g in walk(self._members[number], self._rules, number, epoch) if g is not None
        ]
        return np.concatenate(groups)

    def _placed(self, number: int, epoch: int, index: Indices) -> _Part:
        """Scenes of a dataset with what places their crops."""
        return np.full(len(index), number, np.int64), index, self._units(number, epoch)[index]

    def _draw_units(self, number: int, epoch: int) -> NDArray[np.float64]:
        """What places the crops of all scenes of a dataset, by their numbers."""
        draws = rng(self._rules.seed, "", "stream.crops", epoch, number)
        return draws.units(self._members[number].promised)


class _Epoch:
    """The scenes of an epoch as far as they have been asked for."""

    def __init__(self, source: Iterator[_Part | None]) -> None:
        self.complete = False
        self._source = source
        self._known: _Part = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    def upto(self, stop: int) -> _Part:
        """At least the first `stop` scenes, or all that are known."""
        parts, known = [self._known], len(self._known[0])
        while known < stop and not self.complete:
            try:
                part = next(self._source)
            except StopIteration:
                self.complete = True
                break
            if part is None:
                break
            parts.append(part)
            known += len(part[0])
        if len(parts) > 1:
            dataset, index, unit = zip(*parts, strict=True)
            self._known = (np.concatenate(dataset), np.concatenate(index), np.concatenate(unit))
        return self._known


def walk(member: Member, rules: Rules, number: int, epoch: int) -> Iterator[Indices | None]:
    """Scenes of a dataset in the order of an epoch, a group at a time; None for "not yet".

    Args:
        number: of the dataset in the mix.
    """
    shards: Iterable[Indices | None] = (
        shard for shard in member.shards() if shard is None or len(shard)
    )
    if rules.shuffle and epoch > 0:
        found = []
        for shard in shards:
            if shard is None:
                yield None
            else:
                found.append(shard)
        order = _permutation(len(found), rules.seed, "stream.shards", epoch, number)
        shards = [found[n] for n in order]
    draws = rng(rules.seed, "", "stream.scenes", epoch, number)
    group: list[Indices] = []
    for shard in shards:
        if shard is None:
            yield None
            continue
        group.append(shard)
        if len(group) == rules.group:
            yield _together(group, draws.units, rules.shuffle)
            group = []
    if group:
        yield _together(group, draws.units, rules.shuffle)


def _together(
    group: Sequence[Indices], units: Callable[[int], NDArray[np.float64]], shuffle: bool
) -> Indices:
    scenes = np.concatenate(group)
    return scenes[np.argsort(units(len(scenes)), kind="stable")] if shuffle else scenes


def shares(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `total` and are as near to the weights' shares as can be."""
    exact = np.asarray(weights, np.float64) * (total / np.sum(weights))
    counts = np.floor(exact).astype(np.int64)
    largest_rests = np.argsort(counts - exact, kind="stable")
    counts[largest_rests[: total - int(counts.sum())]] += 1
    return [int(count) for count in counts]


def interleave(counts: Sequence[int], seed: int, epoch: int) -> Indices:
    """Which dataset each scene of an epoch comes from, each spread evenly with some jitter."""
    places = []
    for number, count in enumerate(counts):
        jitter = rng(seed, "", "stream.mix", epoch, number).units(count)
        places.append((np.arange(count) + jitter) / max(count, 1))
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels[np.argsort(np.concatenate(places), kind="stable")]


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Rising numbers as half-open ranges."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1][1] = number + 1
        else:
            found.append([number, number + 1])
    return found


def _permutation(n: int, seed: int, stream: str, epoch: int, number: int) -> Indices:
    return np.argsort(rng(seed, "", stream, epoch, number).units(n), kind="stable")
