"""Laws of energies, ratios and gains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenesynth.errors import ContentError
from scenesynth.render.energy import Energy
from scenesynth.render.levels import gain_for_ratio, max_polyphony, ratio_db, union_span


def noise(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


@given(
    n=st.integers(0, 300),
    start=st.integers(0, 100),
    ends=st.tuples(st.integers(-50, 500), st.integers(-50, 500)),
    seed=st.integers(0, 99),
)
def test_energy_of_a_span_is_the_sum_of_squares(
    n: int, start: int, ends: tuple[int, int], seed: int
) -> None:
    signal = noise(seed, n)
    whole = np.zeros(600)
    whole[start : start + n] = signal
    low, high = ends
    expected = np.sum(whole[max(low, 0) : max(high, 0)] ** 2) if low < high else 0.0
    total = np.sum(whole**2)
    assert Energy(signal, start).between(low, high) == pytest.approx(expected, abs=1e-6 * total)
    assert Energy(signal, start).total == pytest.approx(total, rel=1e-6)


@given(
    n=st.integers(1, 3000),
    tau=st.floats(1.0, 500.0),
    drop_db=st.sampled_from([10.0, 30.0, 60.0]),
    start=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_the_end_is_where_the_energy_still_to_come_has_dropped(
    n: int, tau: float, drop_db: float, start: int, seed: int
) -> None:
    signal = noise(seed, n) * np.exp(-np.arange(n) / tau).astype(np.float32)
    end = Energy(signal, start).end(drop_db) - start
    to_come = np.concatenate([np.cumsum(np.square(signal[::-1], dtype=np.float64))[::-1], [0.0]])
    limit = to_come[0] * 10 ** (-drop_db / 10)
    assert to_come[end] <= limit * (1 + 1e-5)
    assert to_come[end - 1] > limit * (1 - 1e-5)


def test_a_faint_tail_keeps_its_own_precision() -> None:
    signal = np.ones(320_000, np.float32)
    signal[160_000:] = 1e-3
    to_come = np.cumsum(np.square(signal[::-1], dtype=np.float64))[::-1]
    assert Energy(signal).end(60.0) == np.count_nonzero(to_come > to_come[0] * 1e-6)
    assert Energy(signal).between(160_000, 320_000) == pytest.approx(0.16, rel=1e-5)


def test_what_rounding_leaves_beside_a_sound_is_silence() -> None:
    signal = np.ones(1000, np.float32)
    signal[500:] = 1e-6
    assert Energy(signal).between(500, 1000) == 0.0
    signal[500:] = 1e-5
    assert Energy(signal).between(500, 1000) == pytest.approx(5e-8, rel=1e-5)


@given(target=st.floats(1e-6, 1e6), other=st.floats(1e-6, 1e6), request_db=st.floats(-60, 60))
def test_the_gain_sets_the_ratio(target: float, other: float, request_db: float) -> None:
    gain = gain_for_ratio(request_db, target, other, what="noise", scene="s")
    assert ratio_db(target, gain**2 * other) == pytest.approx(request_db, abs=1e-9)


def test_a_ratio_needs_both_parts() -> None:
    assert ratio_db(0.0, 1.0) is None
    assert ratio_db(1.0, 0.0) is None
    with pytest.raises(ContentError, match="train-7: energy of the targets over the span of the"):
        gain_for_ratio(10.0, 0.0, 1.0, what="noise", scene="train-7")
    with pytest.raises(ContentError, match="energy of the interferers"):
        gain_for_ratio(10.0, 1.0, 0.0, what="interferers", scene="s")
    with pytest.raises(ContentError, match="nan"):
        gain_for_ratio(10.0, math.nan, 1.0, what="noise", scene="s")


def test_the_span_of_several_is_their_union_within_the_scene() -> None:
    assert union_span([(20, 30), (50, 60)], 100) == (20, 60)
    assert union_span([(-5, 30), (90, 130)], 100) == (0, 100)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 8)).map(lambda x: (x[0], x[0] + x[1])),
        max_size=8,
    )
)
def test_polyphony_counts_the_sounds_of_the_busiest_moment(spans: list[tuple[int, int]]) -> None:
    at_once = [sum(start <= t < stop for start, stop in spans) for t in range(30)]
    assert max_polyphony([(float(a), float(b)) for a, b in spans]) == max(at_once)
