"""What estimates of directions say about what labels may have been mistaken for.

Estimates of many onsets say which hypothesis holds (`hypotheses`). A vote counts only where it
differs from "as labelled"; that single estimates may be wrong is allowed for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from scenesynth.audit.hypotheses import Hypothesis, hypotheses
from scenesynth.localization.directions import to_vectors
from scenesynth.localization.reach import Reach, as_told, reach_of
from scenesynth.spatial.formats import Format

APART_DEG: Final = 20.0
"""Hypotheses nearer than this at a label cannot be told apart by its estimate."""

CHANCE: Final = 0.2
"""Share of estimates that may be nearer to a wrong hypothesis for reasons of acoustics."""

LEAST_SHARE: Final = 0.75
MOST_LIKELY_BY_CHANCE: Final = 1e-4
"""What makes a hypothesis win: this share of the votes, and so small a probability of so many."""

MOST_MEDIAN_DEG: Final = 15.0
"""Median error of a hypothesis that explains what is heard."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Votes:
    """Errors of some estimates under every hypothesis of their format.

    Attributes:
        item: the format.
        errors_deg: Shape: [hypotheses, estimates].
        apart: whether an estimate can tell a hypothesis from "as labelled". The same shape.
    """

    item: Format
    errors_deg: Array
    apart: NDArray[np.bool_]

    def of(self, some: NDArray[np.bool_]) -> Votes:
        """Those of some estimates."""
        return Votes(item=self.item, errors_deg=self.errors_deg[:, some], apart=self.apart[:, some])

    @property
    def best(self) -> Hypothesis | None:
        """The hypothesis that beats "as labelled", if one does."""
        found = [n for n in range(1, len(self.errors_deg)) if self._wins(n)]
        if not found:
            return None
        # Far off is far off: beyond, an error says nothing about which hypothesis is nearer.
        score = np.minimum(self.errors_deg[found], 45.0).mean(axis=1)
        first = int(np.flatnonzero(score <= score.min() + 1e-6)[0])
        return hypotheses(self.item)[found[first]]

    def _wins(self, n: int) -> bool:
        telling = self.apart[n]
        n_votes = int(telling.sum())
        if not n_votes:
            return False
        mine, labelled = self.errors_deg[n, telling], self.errors_deg[0, telling]
        n_for = int(np.sum(mine < labelled))
        median_deg = float(np.median(mine))
        return (
            n_for >= LEAST_SHARE * n_votes
            and binom.sf(n_for - 1, n_votes, CHANCE) <= MOST_LIKELY_BY_CHANCE
            and median_deg <= MOST_MEDIAN_DEG
            and median_deg <= 0.5 * float(np.median(labelled))
        )

    def median_deg(self, hypothesis: Hypothesis | None = None) -> float:
        """Median error under a hypothesis; as labelled for none."""
        if not self.errors_deg.shape[1]:
            return float("nan")
        every = hypotheses(self.item)
        n = 0 if hypothesis is None else every.index(hypothesis)
        return float(np.median(self.errors_deg[n]))


def votes_of(item: Format, bearings: Sequence[Mapping[str, Any]]) -> Votes:
    """What estimates in one format say about its hypotheses."""
    reach: Reach = reach_of(item)
    label, seen = (
        to_vectors(
            np.array([b[f"{kind}_azimuth_deg"] for b in bearings], float),
            np.array([b[f"{kind}_elevation_deg"] for b in bearings], float),
        )
        for kind in ("label", "estimated")
    )
    told = [as_told(label @ h.turn.T, reach) for h in hypotheses(item)]
    return Votes(
        item=item,
        errors_deg=np.stack([_angle_deg(t, seen) for t in told]),
        apart=np.stack([_angle_deg(t, told[0]) > APART_DEG for t in told]),
    )


def _angle_deg(one: Array, other: Array) -> Array:
    cosine = np.sum(one * other, axis=-1) / np.maximum(
        np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1), 1e-12
    )
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
