"""Histograms in which every value is counted, over edges that people can read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from scenesynth.audit.columns import Array

FEWEST: Final = 8
MOST: Final = 28
"""Bins that a histogram aims at: between these, more of them the more values there are."""
FAR: Final = 8.0
"""Values so many times further out than the middle half is wide are counted in the bins at the
ends: one T60 of an hour leaves the others readable."""
_AROUND: Final = (12, 18, 24)
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


def edges_of(
    series: Sequence[Array],
    *,
    whole: bool = False,
    around: float | None = None,
    circle: float | None = None,
) -> Array:
    """Edges of bins, all equally wide, over the values of all series. Shape: [bins + 1].

    Args:
        series: finite values, of any number.
        whole: whether a bin is about whole numbers.
        around: a value to have in range, such as the one that should be; all values are then, for
            those far from it matter most.
        circle: for angles, what they are at most, to either side; the edges go all the way.
    """
    there = [each for each in series if len(each)]
    if not there:
        return np.array([0.0, 1.0])
    values = np.concatenate(there)
    about = _about(min(len(each) for each in there))
    if circle is not None:
        n_bins = min(_AROUND, key=lambda n: abs(n - about))
        return np.linspace(-circle, circle, n_bins + 1)
    if around is None:
        low, high = _bulk(values)
    else:
        low, high = min(float(values.min()), around), max(float(values.max()), around)
    if whole:
        width, first = max(1, math.ceil((high - low + 1) / (2 * about))), math.floor(low)
        n_bins = math.floor((high - first) / width) + 1
        return first - 0.5 + width * np.arange(n_bins + 1, dtype=np.float64)
    step = _round_step((high - low) / about, max(abs(low), abs(high)))
    first = math.floor(low / step + 1e-9)
    n_bins = max(math.ceil(high / step - 1e-9) - first, 1)
    return step * (first + np.arange(n_bins + 1, dtype=np.float64))


def counts_of(values: Array, edges: Array) -> Array:
    """How many of the values are in each bin; those beyond the ends are in the bins at the ends.

    They add up to the number of values. Shape: [values], [bins + 1] -> [bins].
    """
    place = np.searchsorted(edges, values, side="right") - 1
    place = np.clip(place, 0, len(edges) - 2)
    return np.bincount(place, minlength=len(edges) - 1).astype(np.float64)


def beyond(values: Array, edges: Array) -> int:
    """How many values are outside the edges."""
    return int(np.sum((values < edges[0]) | (values > edges[-1])))


def shares_of(values: Array, edges: Array) -> Array:
    """`counts_of` in percent of the values; they add up to 100, or to 0 where there are none."""
    return 100 * counts_of(values, edges) / max(len(values), 1)


def _about(n: int) -> int:
    """Bins for so many values: Rice's rule, and some more."""
    return min(max(round(2.5 * math.cbrt(n)), FEWEST), MOST)


def _bulk(values: Array) -> tuple[float, float]:
    """Least and largest value, or where the bulk ends if they are far from it."""
    low, high = float(values.min()), float(values.max())
    first, last = (float(value) for value in np.quantile(values, (0.25, 0.75)))
    reach = FAR * (last - first)
    if reach > 0:
        low, high = max(low, first - reach), min(high, last + reach)
    return low, high


def _round_step(width: float, size: float) -> float:
    """The one of 1, 2, 2.5 and 5 times powers of ten that is nearest to `width`, by ratio.

    Where there is hardly any width it is about a thousandth of the values' size.
    """
    width = max(width, 1e-3 * size) or 1.0
    power = 10.0 ** math.floor(math.log10(width))
    return min((power * step for step in _STEPS), key=lambda step: abs(math.log(step / width)))
