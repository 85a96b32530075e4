"""Whether two sets of values have one distribution.

Scenes of one room share its reverberation, so their values are no independent draws: two datasets
of 70 rooms each would seem to differ in T60 whenever the rooms do. So values are counted as the
independent ones that they are worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scenesynth.audit.columns import Array


def ks_distance(one: Array, other: Array) -> float:
    """Largest difference of the two empirical distribution functions (Kolmogorov and Smirnov).

    0 for the same values, 1 where the ranges do not meet. Both need a value at least.
    """
    at = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(each), at, side="right") / len(each) for each in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def chance_of(distance: float, n_one: float, n_other: float) -> float:
    """Probability of at least this distance between draws of one distribution, in the limit.

    Exact for many values of a continuous quantity; for whole numbers the truth is less.
    """
    from scipy.special import kolmogorov  # as slow to import as all else here together

    return float(kolmogorov(distance * math.sqrt(n_one * n_other / (n_one + n_other))))


def worth(values: Array, groups: Sequence[str]) -> float:
    """How many independent values these are worth whose groups have much in common.

    n over Kish's design effect, 1 + (m - 1) r: m is the mean size of the group that a value is in,
    r the correlation within groups (of ranks, by analysis of variance). Between the number of
    groups and that of values, for groups of one size.
    """
    n = len(values)
    _, place, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(sizes) < 2 or len(sizes) == n:
        return float(n if len(sizes) == n else min(n, 1))
    ranks = np.searchsorted(np.sort(values), values, side="left").astype(np.float64)
    means = np.bincount(place, ranks) / sizes
    between = float(np.sum(sizes * (means - ranks.mean()) ** 2)) / (len(sizes) - 1)
    within = float(np.sum((ranks - means[place]) ** 2)) / (n - len(sizes))
    size = float(np.sum(sizes**2)) / n
    even = (n - size) / (len(sizes) - 1)
    spread = between + (even - 1) * within
    correlation = min(max((between - within) / spread, 0.0), 1.0) if spread > 0 else 1.0
    return n / (1 + (size - 1) * correlation)
