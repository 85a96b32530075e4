"""The door to random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenesynth.seeds import Rng, name_id, rng, sequence

WHOLE = st.integers(0, 2**70)


@given(seed=WHOLE, index=WHOLE, slot=st.integers(0, 2**33), attempt=st.integers(0, 30))
def test_a_sequence_is_numpys_with_a_spawn_key(
    seed: int, index: int, slot: int, attempt: int
) -> None:
    key = (name_id("train"), name_id("clips"), index, slot, attempt)
    expected = np.random.SeedSequence(seed, spawn_key=key).generate_state(4)
    got = sequence(seed, "train", "clips", index, slot, attempt).generate_state(4)
    assert np.array_equal(got, expected)


def test_every_part_of_the_key_matters() -> None:
    keys = [
        (0, "train", "a", 1, 0, 0),
        (1, "train", "a", 0, 0, 0),  # the clash of a seed that is added to the index
        (0, "test", "a", 1, 0, 0),
        (0, "train", "b", 1, 0, 0),
        (0, "train", "a", 1, 1, 0),
        (0, "train", "a", 1, 0, 1),
        (0, "train", "a", 0, 1, 0),
    ]
    assert len({rng(*key).word() for key in keys}) == len(keys)


@pytest.mark.parametrize("key", [(-1, 0), (0, -1)])
def test_negative_numbers_are_refused(key: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="may not be negative"):
        rng(key[0], "train", "a", key[1])


def test_bits_stay_what_they_are() -> None:
    # NumPy promises these bits for ever; a change here would change every dataset.
    assert rng(0, "train", "clips", 17, 3, 1).word() == 12802716371466676383


def test_draws_lie_in_their_ranges() -> None:
    draws = rng(3, "train", "ranges")
    for _ in range(300):
        assert 0 <= draws.unit() < 1
        assert -2 <= draws.uniform(-2, 5) < 5
        assert 3 <= draws.integer(3, 5) <= 5
        assert draws.choice("abc", [0, 1, 0]) == "b"


def test_normals_have_mean_0_and_variance_1() -> None:
    values = Rng(np.random.SeedSequence(5)).normals(40001)
    assert len(values) == 40001
    assert abs(values.mean()) < 0.02
    assert abs(values.var() - 1) < 0.03
