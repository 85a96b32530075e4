"""Laws of the closed-form probe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from scenesynth.evaluate.probe import fit_ridge
from scenesynth.evaluate.scenes import Window
from scenesynth.evaluate.scores import Embedded, constant_scores, probe_scores

Array = NDArray[np.float64]


def problem(n: int, width: int, seed: int = 0) -> tuple[Array, Array]:
    """Features of different scales, and noisy linear targets. Shapes: [n, width], [n, 3]."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, width)) * np.exp(random.uniform(-3, 3, width)) + 5.0
    y = x @ random.standard_normal((width, 3)) + random.standard_normal((n, 3))
    return x, y


def solve(x: Array, y: Array, penalty: float) -> tuple[Array, Array]:
    """Weights of standardised features and mean of the targets, by the normal equations."""
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    gram = standard.T @ standard + penalty * np.eye(x.shape[1])
    return np.linalg.solve(gram, standard.T @ (y - y.mean(axis=0))), y.mean(axis=0)


@pytest.mark.parametrize(("n", "width"), [(60, 8), (20, 50)])
def test_a_ridge_solves_the_normal_equations(n: int, width: int) -> None:
    x, y = problem(n, width)
    ridge = fit_ridge(x, y, (0.3,))
    weights, offset = solve(x, y, 0.3 * n)
    np.testing.assert_allclose(ridge.weights, weights, rtol=1e-8, atol=1e-10)
    new = x[:5] + 0.1
    expected = (new - x.mean(axis=0)) / x.std(axis=0) @ weights + offset
    np.testing.assert_allclose(ridge(new), expected, rtol=1e-8)


@pytest.mark.parametrize(("n", "width"), [(30, 6), (15, 40)])
def test_the_penalty_is_the_one_of_least_error_on_samples_left_out_one_by_one(
    n: int, width: int
) -> None:
    x, y = problem(n, width, seed=3)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    strengths = (1e-3, 1e-1, 1e1)
    errors = []
    for strength in strengths:
        residuals = []
        for left in range(n):
            rest = np.arange(n) != left
            # The one left out counts neither in the fit nor in the mean of the targets.
            design = np.column_stack([np.ones(n - 1), standard[rest]])
            penalty = strength * n * np.diag([0.0, *np.ones(width)])
            solution = np.linalg.solve(design.T @ design + penalty, design.T @ y[rest])
            residuals.append(y[left] - np.array([1.0, *standard[left]]) @ solution)
        errors.append(np.mean(np.square(residuals)))
    assert fit_ridge(x, y, strengths).strength == strengths[int(np.argmin(errors))]


def test_features_that_do_not_change_are_ignored() -> None:
    x, y = problem(40, 5)
    padded = np.column_stack([x, np.full(40, 7.0), np.zeros(40)])
    np.testing.assert_allclose(fit_ridge(padded, y)(padded), fit_ridge(x, y)(x), rtol=1e-9)


def test_features_that_say_nothing_are_answered_with_the_mean() -> None:
    _, y = problem(40, 5)
    np.testing.assert_allclose(fit_ridge(np.zeros((40, 2)), y)(np.zeros((1, 2))), [y.mean(axis=0)])


def test_what_is_not_finite_is_refused_by_its_row() -> None:
    x, y = problem(10, 3)
    x[4, 1] = np.nan
    with pytest.raises(ValueError, match="features: row 4"):
        fit_ridge(x, y)
    with pytest.raises(ValueError, match=r"\[n, D\]"):
        fit_ridge(y, y[:-1])


def labelled(n: int, seed: int) -> list[Window]:
    """Windows with directions all round."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Window(
            dataset=None,  # type: ignore[arg-type]
            number=k,
            start=0,
            direction=tuple(vector),
            distance_m=float(random.uniform(1, 5)),
            t60_s=float(random.uniform(0.2, 0.6)) if k % 5 else np.nan,
            label="ab"[k % 2],
        )
        for k, vector in enumerate(vectors)
    ]


def embedded(n: int, seed: int, noise: float) -> Embedded:
    """Windows whose features hold everything, in an unknown basis."""
    windows = labelled(n, seed)
    facts = np.array(
        [
            [
                *w.direction,
                np.arcsin(w.direction[1]),
                np.log(w.distance_m),
                np.log(np.nan_to_num(w.t60_s, nan=1.0)),
                w.label == "a",
            ]
            for w in windows
        ]
    )
    basis = np.random.default_rng(99).standard_normal((facts.shape[1], 24))
    random = np.random.default_rng(seed + 1)
    return Embedded(
        features=facts @ basis + noise * random.standard_normal((n, 24)), windows=windows
    )


def test_a_probe_finds_what_an_embedding_holds() -> None:
    scores = probe_scores(embedded(300, 0, 1e-3), embedded(100, 7, 1e-3))
    assert scores["doa_mean_deg"] < 0.5
    assert scores["doa_median_deg"] < 0.5
    assert scores["lateral_mean_deg"] < 0.5
    assert scores["distance_error"] < 0.01
    assert scores["t60_error"] < 0.01
    assert scores["class_accuracy"] == 1.0


def test_the_constant_answer_is_ninety_degrees_off_directions_all_round() -> None:
    scores = constant_scores(embedded(2000, 0, 0.0), embedded(2000, 7, 0.0))
    assert scores["doa_mean_deg"] == pytest.approx(90.0, abs=3.0)
    # Of directions all round the lateral angle is arcsin of what is uniform on [-1, 1].
    assert scores["lateral_mean_deg"] == pytest.approx(90 - 180 / np.pi, abs=1.0)
    assert scores["class_accuracy"] == pytest.approx(0.5, abs=0.01)


def test_an_answer_that_is_no_direction_counts_as_one_at_random() -> None:
    """The mean of directions that balance has length 0, from which any angle is rounding."""
    around = [np.array(xyz, float) for xyz in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0))]
    windows = [replace(w, direction=d) for w, d in zip(labelled(4, 0), around, strict=True)]
    every = Embedded(features=np.zeros((4, 1)), windows=windows)
    assert constant_scores(every, every)["doa_mean_deg"] == 90.0


def test_features_of_other_windows_tell_no_direction() -> None:
    """Labels moved by one: nothing may be left to find, or the probe has looked at the answers."""
    train, test = embedded(300, 0, 1e-3), embedded(100, 7, 1e-3)
    moved = Embedded(features=train.features, windows=[*train.windows[1:], train.windows[0]])
    assert probe_scores(moved, test)["doa_mean_deg"] > 75.0
