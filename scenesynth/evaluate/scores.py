"""Scores of linear probes: direction, distance, reverberation time and class of the target.

Each is fitted on one set of windows and scored on another, whose rooms and clips the first does
not have if their splits are those of `scenesynth render`. Direction is regressed as a unit vector
and, for itself, as the lateral angle, distance and T60 as logarithms, the class as one-hot vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenesynth.evaluate.probe import fit_ridge
from scenesynth.evaluate.scenes import Window
from scenesynth.scene.motion import angles_rad

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Windows and what an encoder makes of them: features [windows, D]."""

    features: Array
    windows: Sequence[Window]


def probe_scores(train: Embedded, test: Embedded) -> dict[str, float]:
    """Scores on `test` of probes fitted on `train`.

    `doa_mean_deg` and `doa_median_deg`: great-circle error, 90 degrees where the estimate is no
    direction (a vector of length 0), as of a direction at random; `lateral_mean_deg`: error of the
    angle to the median plane, which is what two ears tell best; `distance_error`, `t60_error`:
    median of |estimate / truth - 1|; `class_accuracy`: share of windows whose class is right, a
    class that `train` lacks being wrong. What cannot be fitted (T60 of anechoic scenes alone, say)
    is left out.
    """
    scores = _direction_scores(train, test)
    for name, field in (("distance_error", "distance_m"), ("t60_error", "t60_s")):
        ratios = _ratios(train, test, field)
        if len(ratios):
            scores[name] = float(np.median(np.abs(ratios - 1.0)))
    scores["class_accuracy"] = _class_accuracy(train, test)
    return scores


def constant_scores(train: Embedded, test: Embedded) -> dict[str, float]:
    """Scores of probes that see nothing and answer with the mean: the control of every probe."""
    blind = [
        Embedded(features=np.zeros((len(part.windows), 1)), windows=part.windows)
        for part in (train, test)
    ]
    return probe_scores(*blind)


def _direction_scores(train: Embedded, test: Embedded) -> dict[str, float]:
    truth = [np.array([window.direction for window in part.windows]) for part in (train, test)]
    found = fit_ridge(train.features, truth[0])(test.features)
    nowhere = np.linalg.norm(found, axis=-1) == 0.0
    errors_deg = np.where(nowhere, 90.0, np.degrees(angles_rad(found, truth[1])))
    # The y axis goes through the ears.
    lateral = [np.degrees(np.arcsin(np.clip(vectors[:, 1:2], -1.0, 1.0))) for vectors in truth]
    lateral_found = fit_ridge(train.features, lateral[0])(test.features)
    return {
        "doa_mean_deg": float(np.mean(errors_deg)),
        "doa_median_deg": float(np.median(errors_deg)),
        "lateral_mean_deg": float(np.mean(np.abs(lateral_found - lateral[1]))),
    }


def _ratios(train: Embedded, test: Embedded, field: str) -> Array:
    """Estimates of a positive quantity over the truth, for windows that have it."""
    truth = [
        np.array([getattr(window, field) for window in part.windows]) for part in (train, test)
    ]
    known = [np.isfinite(values) & (values > 0) for values in truth]
    if known[0].sum() < 2 or not known[1].any():
        return np.zeros(0)
    ridge = fit_ridge(train.features[known[0]], np.log(truth[0][known[0]])[:, None])
    return np.asarray(np.exp(ridge(test.features[known[1]])[:, 0]) / truth[1][known[1]])


def _class_accuracy(train: Embedded, test: Embedded) -> float:
    labels = sorted({window.label for window in train.windows})
    place = {label: n for n, label in enumerate(labels)}
    one_hot = np.eye(len(labels))[[place[window.label] for window in train.windows]]
    found = fit_ridge(train.features, one_hot)(test.features).argmax(axis=1)
    right = [labels[n] == w.label for n, w in zip(found, test.windows, strict=True)]
    return float(np.mean(right))
