"""Which scenes of a dataset an audit looks at: a few of many shards, by seed.

Faults come by the scene, by the shard (a worker that went wrong) or by the dataset. So scenes are
taken from as many shards as can be had at `PER_SHARD` each, which also tells a shard that is wrong
from a scene that is; the shards lie evenly over the dataset and its splits. Nothing but the
commits is read for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Final

import numpy as np

from scenesynth.seeds import Rng, rng
from scenesynth.store.commit import Commit
from scenesynth.store.reader import Dataset

PER_SHARD: Final = 2
"""Scenes of a shard that is looked at, where shards abound."""

SplitOf = Callable[[int], str]
"""Split of a shard's scenes; "" where that is not known before they are read."""


def choose_scenes(dataset: Dataset, count: int, seed: int, split_of: SplitOf) -> list[int]:
    """Places in the dataset (`dataset[n]`) of `count` scenes, rising; of all if it has no more."""
    sizes = [dataset.n_usable(at) for at in range(len(dataset.commits))]
    if count >= len(dataset):
        return list(range(len(dataset)))
    filled = [at for at, size in enumerate(sizes) if size]
    names = [split_of(dataset.commits[at].shard) for at in filled]
    shards = _spread(filled, names, max(1, count // PER_SHARD), rng(seed, "", "audit.shards"))
    firsts = [stop - size for stop, size in zip(accumulate(sizes), sizes, strict=True)]
    found: list[int] = []
    for at, quota in zip(shards, _quotas([sizes[at] for at in shards], count), strict=True):
        order = rng(seed, "", "audit.scenes", dataset.commits[at].shard).units(sizes[at]).argsort()
        found += [firsts[at] + int(place) for place in order[:quota]]
    return sorted(found)


def choose_shards(
    commits: Sequence[Commit], count: int, seed: int, split_of: SplitOf
) -> list[Commit]:
    """`count` of some commits that hold scenes, evenly over them; all if there are no more."""
    whole = [commit for commit in commits if commit.status == "ok"]
    names = [split_of(commit.shard) for commit in whole]
    places = _spread(list(range(len(whole))), names, count, rng(seed, "", "audit.tables"))
    return [whole[place] for place in places]


def _spread(items: Sequence[int], strata: Sequence[str], count: int, draws: Rng) -> list[int]:
    """`count` of `items`, rising: one of each equal part of every stratum, at least one of each.

    The count is exceeded where there are more strata than it.
    """
    if count >= len(items):
        return sorted(items)
    found: list[int] = []
    for name in sorted(set(strata)):
        own = [item for item, other in zip(items, strata, strict=True) if other == name]
        n = min(len(own), max(1, round(count * len(own) / len(items))))
        edges = [len(own) * k // n for k in range(n + 1)]
        found += [own[draws.integer(a, b - 1)] for a, b in pairwise(edges)]
    return sorted(found)


def _quotas(sizes: Sequence[int], count: int) -> list[int]:
    """How many to take of each, as evenly as sizes allow; their sum is `count` if it can be.

    >>> _quotas([2, 9, 9], 12)
    [2, 5, 5]
    """
    taken = np.zeros(len(sizes), np.int64)
    left = min(count, sum(sizes))
    while left:
        open_ones = np.flatnonzero(taken < np.array(sizes))
        share = max(1, left // len(open_ones))
        for place in open_ones[: left if share == 1 else None]:
            more = min(share, sizes[place] - int(taken[place]))
            taken[place] += more
            left -= more
    return [int(n) for n in taken]
