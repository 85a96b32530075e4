"""Distributions of recipes."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenesynth.distributions import Count, Draws, Name, Number, within
from scenesynth.errors import ConfigError
from scenesynth.seeds import rng

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
PAIRS = st.tuples(NUMBERS, NUMBERS).filter(lambda p: p[0] < p[1]).map(list)
SIMPLE = st.one_of(
    NUMBERS,
    PAIRS.map(lambda p: {"uniform": p}),
    st.tuples(st.integers(-9, 0), st.integers(0, 9)).map(lambda p: {"integers": list(p)}),
    PAIRS.map(lambda p: {"triangular": [p[0], (p[0] + p[1]) / 2, p[1]]}),
)
ANY = st.one_of(
    SIMPLE,
    st.lists(SIMPLE, min_size=1, max_size=4).map(lambda options: {"choice": options}),
)


def draws_of(plain: Any, n: int = 4000) -> np.ndarray:
    number = Number.parse(plain, "x")
    source = rng(0, "", "test")
    return np.array([number.draw(source) for _ in range(n)])


@given(plain=ANY, seed=st.integers(0, 1000))
def test_plain_forms_round_trip_and_draws_stay_in_bounds(plain: Any, seed: int) -> None:
    number = Number.parse(plain, "x")
    assert Number.parse(number.plain(), "x") == number
    assert number.low <= number.draw(rng(seed, "", "test")) <= number.high
    assert str(number)


@pytest.mark.parametrize(
    ("plain", "mean", "std"),
    [
        ({"uniform": [2, 6]}, 4, 4 / math.sqrt(12)),
        ({"integers": [3, 5]}, 4, math.sqrt(2 / 3)),
        ({"triangular": [0, 1, 4]}, 5 / 3, math.sqrt(13 / 18)),
        ({"normal": [5, 2, -20, 30]}, 5, 2),
        ({"choice": [1, {"integers": [3, 5]}], "weights": [1, 1]}, 2.5, math.sqrt(31 / 12)),
        ({"choice": [0, 10], "weights": [3, 1]}, 2.5, math.sqrt(18.75)),
    ],
)
def test_draws_have_the_mean_and_spread_of_their_distribution(
    plain: Any, mean: float, std: float
) -> None:
    values = draws_of(plain)
    assert abs(values.mean() - mean) < 4 * std / math.sqrt(len(values))
    assert abs(values.std() - std) < 0.05 * std


def test_log_uniform_is_uniform_in_the_logarithm() -> None:
    values = np.log(draws_of({"log_uniform": [0.1, 10]}))
    assert abs(values.mean()) < 0.1
    assert abs(values.std() - math.log(100) / math.sqrt(12)) < 0.05


def test_a_cut_normal_keeps_its_shape_inside_the_cut() -> None:
    values = draws_of({"normal": [0, 1, 0.5, 3]})
    assert values.min() >= 0.5
    assert values.max() <= 3
    gaussian = NormalDist()
    below_one = (gaussian.cdf(1) - gaussian.cdf(0.5)) / (gaussian.cdf(3) - gaussian.cdf(0.5))
    assert abs((values < 1).mean() - below_one) < 0.03


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ("5", "a.b: got '5', must be a value or one of uniform"),
        ({"unifrom": [1, 2]}, r"a.b.unifrom: unknown distribution; did you mean 'uniform'\?"),
        ({"uniform": [2, 1]}, r"a.b.uniform: got \[2, 1\], low must be below high"),
        ({"uniform": [1]}, r"a.b.uniform: got 1 values, must be \[low, high\]"),
        ({"uniform": [1, "x"]}, r"a.b.uniform\[1\]: got 'x', must be a finite number"),
        ({"uniform": 3}, "a.b.uniform: got 3, must be a list"),
        ({"uniform": [1, 2], "normal": [0, 1, 0, 1]}, "a.b: got 2 distributions in one place"),
        ({}, "a.b: got 0 distributions"),
        ({"uniform": [1, 2], "weights": [1, 1]}, "a.b.weights: only a choice has weights"),
        ({"log_uniform": [0, 1]}, "low must be positive"),
        ({"integers": [0.5, 2]}, "both ends must be whole"),
        ({"triangular": [0, 5, 1]}, r"the mode must lie in \[0, 1\]"),
        ({"normal": [0, 0, -1, 1]}, "std must be positive"),
        ({"normal": [0, 1, 20, 30]}, "less than one draw in a million"),
        ({"choice": []}, "a.b.choice: got"),
        ({"choice": [1, 2], "weights": [1]}, "a.b.weights: got 1 weights for 2 choices"),
        ({"choice": [1, 2], "weights": [0, 0]}, "must be >= 0 with one above 0"),
        ({"choice": [1, {"uniform": [2, 2]}]}, r"a.b.choice\[1\].uniform: "),
        (True, "a.b: got True"),
        (math.nan, "a.b: got nan"),
    ],
)
def test_what_is_no_distribution_is_named_by_its_path(plain: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Number.parse(plain, "a.b")


def test_a_count_is_always_whole() -> None:
    count = Count.parse({"choice": [1, {"integers": [3, 5]}]}, "n")
    assert (count.low, count.high) == (1, 5)
    assert {count.draw(rng(k, "", "n")) for k in range(60)} == {1, 3, 4, 5}
    with pytest.raises(ConfigError, match=r"n: got 1\.5, must always be a whole number"):
        Count.parse(1.5, "n")
    with pytest.raises(ConfigError, match="must always be a whole number"):
        Count.parse({"uniform": [1, 3]}, "n")


def test_a_name_is_a_text_or_a_weighted_choice() -> None:
    name = Name.parse({"choice": ["brick", "glass"], "weights": [0, 1]}, "wall")
    assert name.draw(rng(0, "", "wall")) == "glass"
    assert Name.parse(name.plain(), "wall") == name
    assert Name.parse("brick", "wall").plain() == "brick"
    with pytest.raises(ConfigError, match=r"wall.choice\[1\]: got 3, must be text"):
        Name.parse({"choice": ["brick", 3]}, "wall")


def test_within_names_the_field_and_its_limits() -> None:
    within("x", Number.parse({"uniform": [0, 1]}, "x"), 0, 1)
    with pytest.raises(ValueError, match=r"x = uniform\(0, 2\) can leave \[0, 1\]"):
        within("x", Number.parse({"uniform": [0, 2]}, "x"), 0, 1)


def test_quantities_and_slots_have_streams_of_their_own() -> None:
    draws = Draws(seed=1, split="train", index=5)
    wide = Number.parse({"uniform": [0, 1]}, "x")
    values = {
        draws.number(wide, "a"),
        draws.number(wide, "b"),
        draws.number(wide, "a", 1),
        Draws(seed=1, split="train", index=5, attempt=1).number(wide, "a"),
    }
    assert len(values) == 4
    assert draws.number(wide, "a") == draws.number(wide, "a")
