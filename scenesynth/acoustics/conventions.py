"""Which Ambisonic convention a file has, found from its direct sounds and known positions.

The amplitudes of the first-order channels over W, in the direct sound, have to be the components of
the direction that the sound comes from, times a factor that the convention sets. Regressing them on
the known directions over all pairs tells the order of the channels (what is left over) and the
normalisation (the factor), and shows when neither fits: then positions, axes or channels are not
what they are said to be, and labels made from them would be wrong.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.spatial.conventions import Convention

MOST_LEFT_OVER: Final = 0.1
"""Share of the first-order power that may not fit the directions: about 18 degrees."""

MOST_IF_STATED: Final = 0.25
"""The same where the convention is stated: about 30 degrees."""

_FACTOR: Final[dict[Convention, float]] = {
    "acn-sn3d": 1.0,
    "acn-n3d": math.sqrt(3),
    "fuma": math.sqrt(2),
    "wxyz-sn3d": 1.0,
}
_AXES: Final[dict[str, list[int]]] = {"acn": [2, 0, 1], "wxyz": [0, 1, 2]}
"""Which of the first-order channels is x, y, z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How well direct sounds fit a convention.

    Attributes:
        left_over: share of the first-order power that the directions do not explain; 0 is exact.
        next_best: the same of the other order of channels.
        factor: first order over W that was found; `expected` that of the convention.
        error_deg: median angle between the direct sounds and the stated directions.
    """

    convention: Convention
    left_over: float
    next_best: float
    factor: float
    expected: float
    error_deg: float

    def __str__(self) -> str:
        return (
            f"{self.convention}: direct sounds {self.error_deg:.2g} degrees from their positions "
            f"(median), {100 * self.left_over:.2g} % of their power left over (other order of "
            f"channels {100 * self.next_best:.2g} %), first order over W {self.factor:.3g} "
            f"(expected {self.expected:.3g})"
        )


def estimate_convention(ratios: NDArray[np.float64], directions: NDArray[np.float64]) -> Fit:
    """The convention of some responses.

    Args:
        ratios: amplitudes of the first four channels over the first. Shape: [pairs, 4].
        directions: unit vectors to the sources in the listener's frame. Shape: [pairs, 3].

    Raises:
        ConfigError: none fits, or more than one does.
    """
    order, left_over, next_best = _best_order(ratios, directions)
    if left_over > MOST_LEFT_OVER:
        raise ConfigError(_misfit(ratios, directions, left_over))
    if next_best < 4 * left_over + 0.02:
        raise ConfigError(
            f"the order of the channels cannot be told: W Y Z X leaves {100 * left_over:.2g} % and "
            f"W X Y Z {100 * next_best:.2g} % of the direct sounds' power, or the other way round. "
            f"Give more positions, or state it: --ambisonics acn-sn3d | acn-n3d | fuma"
        )
    factor = _factor(ratios, directions, order)
    near = sorted(
        (abs(math.log(factor / value)), name)
        for name, value in _FACTOR.items()
        if name.startswith("acn") == (order == "acn")
    )
    gap = math.log(_FACTOR[near[1][1]] / _FACTOR[near[0][1]])
    if near[0][0] > min(0.15, 0.4 * abs(gap)):
        raise ConfigError(
            f"the normalisation cannot be told: first order over W is {factor:.3g}, and "
            f"{', '.join(f'{n} has {_FACTOR[n]:.3g}' for _, n in near)}. State it: --ambisonics "
            f"acn-sn3d | acn-n3d | fuma"
        )
    return _fit(near[0][1], ratios, directions, left_over, next_best)


def check_convention(
    convention: Convention, ratios: NDArray[np.float64], directions: NDArray[np.float64]
) -> Fit:
    """How the direct sounds fit a convention that was stated.

    Raises:
        ConfigError: they contradict it.
    """
    orders = {name: _left_over(ratios, directions, name) for name in _AXES}
    order = "acn" if convention.startswith("acn") else "wxyz"
    other = orders["wxyz" if order == "acn" else "acn"]
    if orders[order] > MOST_IF_STATED:
        raise ConfigError(
            f"stated as {convention}, but {_misfit(ratios, directions, orders[order])}"
        )
    return _fit(convention, ratios, directions, orders[order], other)


def left_over(ratios: NDArray[np.float64], directions: NDArray[np.float64]) -> float:
    """Share of the first-order power that the directions leave over, in the better order."""
    return _best_order(ratios, directions)[1]


def _best_order(
    ratios: NDArray[np.float64], directions: NDArray[np.float64]
) -> tuple[str, float, float]:
    ranked = sorted((_left_over(ratios, directions, name), name) for name in _AXES)
    return ranked[0][1], ranked[0][0], ranked[1][0]


def _left_over(ratios: NDArray[np.float64], directions: NDArray[np.float64], order: str) -> float:
    """Share of the power of the first-order channels that no factor times directions explains.

    Every pair counts the same, however strong its first order is.
    """
    along = float(np.mean(_cosines(ratios, directions, order)))
    return max(0.0, 1.0 - along**2) if along > 0 else 1.0


def _cosines(
    ratios: NDArray[np.float64], directions: NDArray[np.float64], order: str
) -> NDArray[np.float64]:
    """Of the angles between the direct sounds and their directions. Shape: [pairs]."""
    found = ratios[:, 1:4][:, _AXES[order]]
    lengths = np.maximum(np.linalg.norm(found, axis=1), 1e-12)
    return np.asarray(np.clip(np.sum(found * directions, axis=1) / lengths, -1, 1))


def _factor(ratios: NDArray[np.float64], directions: NDArray[np.float64], order: str) -> float:
    """First order over W: the median over pairs, which a few disturbed ones do not move."""
    along = np.sum(ratios[:, 1:4][:, _AXES[order]] * directions, axis=1)
    return max(float(np.median(along)), 1e-6)


def _fit(
    convention: Convention,
    ratios: NDArray[np.float64],
    directions: NDArray[np.float64],
    left: float,
    other: float,
) -> Fit:
    order = "acn" if convention.startswith("acn") else "wxyz"
    return Fit(
        convention=convention,
        left_over=left,
        next_best=other,
        factor=_factor(ratios, directions, order),
        expected=_FACTOR[convention],
        error_deg=float(np.degrees(np.median(np.arccos(_cosines(ratios, directions, order))))),
    )


def _misfit(ratios: NDArray[np.float64], directions: NDArray[np.float64], left: float) -> str:
    """Why nothing fits, with the axes that would."""
    found = (
        f"the direct sounds do not come from the stated positions: {100 * left:.0f} % of their "
        f"first-order power does not fit the directions"
    )
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turned = directions[:, axes] * signs
            if _best_order(ratios, turned)[1] < MOST_LEFT_OVER / 2 and len(ratios) >= 3:
                names = ",".join("-"[s > 0 :] + "xyz"[a] for a, s in zip(axes, signs, strict=True))
                return f"{found}; with --axes {names} they would"
    return (
        f"{found}. Are positions relative to the listener (--sources listener), are angles "
        f"clockwise, or are these microphones and no Ambisonics (--channels mics)?"
    )
