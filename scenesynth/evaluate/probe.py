"""Ridge regression in closed form: what can be read off features by a linear map.

No optimiser, no seed, no stopping rule: the same features give the same score, so two encoders,
or two steps of one, can be compared. Features are standardised; the strength of the penalty is the
one with the least leave-one-out error (Allen 1974, PRESS), which costs no second fit:

    P = X V,  K = diag(s^2)         scores and squared singular values of the standardised X
    f(l) = P (K + l)^-1 P^T y       fit with the penalty l, y without its mean
    h(l) = 1/n + diag(P (K + l)^-1 P^T)
    left-out residual = (y - f) / (1 - h)

All in float64. Deliberately absent: probes that are trained step by step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

STRENGTHS: Final = tuple(10.0**n for n in range(-4, 7))
"""Penalties that are tried, in units of the number of samples: standardised features have a
variance of 1, so that a penalty of 1 halves a direction of the features of that variance."""

_TINY: Final = 1e-10
"""Variances below this part of the largest are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """A fitted linear map.

    Attributes:
        mean, scale: of the features [D]; a feature that never changes has the scale 1.
        weights: [D, K], for standardised features.
        offset: mean of the targets [K].
        strength: the penalty, over the number of samples.
    """

    mean: Array
    scale: Array
    weights: Array
    offset: Array
    strength: float

    def __call__(self, features: ArrayLike) -> Array:
        """Predictions. Shapes: [n, D] -> [n, K]."""
        standard = (np.asarray(features, np.float64) - self.mean) / self.scale
        return np.asarray(standard @ self.weights + self.offset)


def fit_ridge(
    features: ArrayLike, targets: ArrayLike, strengths: tuple[float, ...] = STRENGTHS
) -> Ridge:
    """Fit targets [n, K] to features [n, D].

    Raises:
        ValueError: other shapes, fewer than two samples, or values that are not finite.
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    _check(x, y)
    mean, offset = x.mean(axis=0), y.mean(axis=0)
    scale = _scales(x - mean)
    scores, axes, energies = _axes((x - mean) / scale)
    centred = y - offset
    penalties = [strength * len(x) for strength in strengths]
    errors = [_left_out_error(scores, energies, centred, penalty) for penalty in penalties]
    best = int(np.argmin(errors))
    shrunk = (scores.T @ centred) / (energies + penalties[best])[:, None]
    return Ridge(
        mean=mean, scale=scale, weights=axes @ shrunk, offset=offset, strength=strengths[best]
    )


def _check(x: Array, y: Array) -> None:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or len(x) < 2:
        raise ValueError(
            f"got features {x.shape} and targets {y.shape}; must be [n, D] and [n, K], n >= 2"
        )
    for name, values in (("features", x), ("targets", y)):
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values).all(axis=1)))
            raise ValueError(f"{name}: row {row} holds values that are not finite")


def _scales(centred: Array) -> Array:
    """Standard deviations; 1 for what does not change."""
    deviation = np.sqrt(np.mean(centred**2, axis=0))
    return np.where(deviation > _TINY * max(float(deviation.max(initial=0.0)), _TINY), deviation, 1)


def _axes(x: Array) -> tuple[Array, Array, Array]:
    """Scores [n, r], right singular vectors [D, r] and squared singular values [r] of x [n, D].

    By the eigenvectors of the smaller of X X^T and X^T X, in a fraction of the time of an SVD.
    """
    n, width = x.shape
    if n < width:
        energies, left = np.linalg.eigh(x @ x.T)
        keep = energies > _TINY * energies[-1]
        energies, left = energies[keep], left[:, keep]
        roots = np.sqrt(energies)
        return left * roots, (x.T @ left) / roots, energies
    energies, axes = np.linalg.eigh(x.T @ x)
    keep = energies > _TINY * energies[-1]
    return x @ axes[:, keep], axes[:, keep], energies[keep]


def _left_out_error(scores: Array, energies: Array, targets: Array, penalty: float) -> float:
    """Mean squared residual of samples that the fit did not see."""
    shrink = 1.0 / (energies + penalty)
    fit = scores @ (shrink[:, None] * (scores.T @ targets))
    leverage = 1.0 / len(scores) + (scores**2) @ shrink
    left_out = (targets - fit) / np.maximum(1.0 - leverage, _TINY)[:, None]
    return float(np.mean(left_out**2))
