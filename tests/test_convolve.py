"""Laws of the block convolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracle_render import convolve_float64, relative_error_db

from scenesynth.render.convolve import (
    PACK,
    Grid,
    Term,
    Wet,
    block_spectra,
    convolve,
    convolve_sum,
    plan,
    response_spectra,
)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    n_samples=st.integers(1, 5000),
    n_taps=st.integers(1, 1500),
    n_dry=st.integers(1, 6000),
    where=st.floats(0, 0.999),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_event_equals_direct_convolution(
    n_samples: int, n_taps: int, n_dry: int, where: float, seed: int
) -> None:
    grid, onset = plan(n_samples, n_taps), int(where * n_samples)
    dry, response = noise(seed, n_dry), noise(seed + 1, n_taps)
    term = Term(block_spectra(grid, dry, onset), response_spectra(grid, [response[None]])[0][0])
    wet = convolve(grid, term)
    length = n_samples + n_taps - 1
    expected = convolve_float64(dry[: n_samples - onset], response, onset, length)
    got = np.zeros(max(length, wet.start + len(wet.samples)))
    got[wet.start : wet.start + len(wet.samples)] = wet.samples
    assert relative_error_db(got[:length], expected) < -110
    assert np.abs(got[length:]).max(initial=0) < 1e-4 * np.abs(expected).max()
    summed = whole_scene(grid, convolve_sum(grid, [term]))
    assert relative_error_db(summed, expected[:n_samples], expected) < -110


def whole_scene(grid: Grid, wet: Wet) -> NDArray[np.float64]:
    """A wet signal in its place in a silent scene."""
    scene = np.zeros(grid.n_samples)
    scene[wet.start : wet.start + len(wet.samples)] = wet.samples
    return scene


def test_a_sum_by_one_inverse_equals_the_sum_of_events() -> None:
    grid = plan(9000, 700)
    onsets = (0, 1234, 4000, 8999)
    terms, expected = [], np.zeros(9000)
    for k, onset in enumerate(onsets):
        dry, response = noise(k, 3000), noise(10 + k, 700)
        spectrum = response_spectra(grid, [response[None]])[0][0]
        terms.append(Term(block_spectra(grid, dry, onset), spectrum))
        expected += convolve_float64(dry[: 9000 - onset], response, onset, 9699)[:9000]
    assert relative_error_db(whole_scene(grid, convolve_sum(grid, terms)), expected) < -110


def test_a_sum_spans_only_the_blocks_that_an_event_reaches() -> None:
    grid = plan(320_000, 12_800)
    onset = grid.block + 1
    term = Term(
        block_spectra(grid, noise(1, 100), onset),
        response_spectra(grid, [noise(2, 12_800)[None]])[0][0],
    )
    wet = convolve_sum(grid, [term, term])
    assert wet.start == grid.block
    assert wet.start + len(wet.samples) >= onset + 100 + 12_800 - 1
    assert len(wet.samples) <= 2 * grid.block


def test_only_packs_in_which_an_event_is_heard_are_transformed() -> None:
    grid = plan(3_200_000, 3_200)
    assert grid.n_packs > 2
    short = block_spectra(grid, noise(0, 100), 5 * grid.block + 10)
    assert (short.blocks, short.first_pack, len(short.values)) == ((5, 6), 0, 1)
    reaching_over = block_spectra(grid, noise(0, 100), (PACK + 6) * grid.block - 50)
    assert (reaching_over.blocks, reaching_over.first_pack) == ((PACK + 5, PACK + 7), 1)


def test_events_of_several_packs_equal_direct_convolution() -> None:
    grid = plan(400_000, 400)
    assert grid.n_packs > 2
    events = [(noise(1, 3_000), 390_000), (noise(2, 250_000), 7), (noise(3, 50), 200_000)]
    responses = [noise(10 + k, 400) for k in range(3)]
    terms = [
        Term(block_spectra(grid, dry, onset), response_spectra(grid, [response[None]])[0][0])
        for (dry, onset), response in zip(events, responses, strict=True)
    ]
    expected = sum(
        convolve_float64(dry[: 400_000 - onset], response, onset, 400_399)[:400_000]
        for (dry, onset), response in zip(events, responses, strict=True)
    )
    assert relative_error_db(whole_scene(grid, convolve_sum(grid, terms)), expected) < -110


def test_transforms_do_not_depend_on_their_batch() -> None:
    grid = plan(320_000, 12_800)
    response = noise(1, 20, 12_800)
    together = np.concatenate(response_spectra(grid, [response[:13], response[13:]]))
    alone = [response_spectra(grid, [channel[None]])[0][0] for channel in response]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize(("n_samples", "n_taps"), [(1, 1), (320_000, 12_800), (32_000, 64_000)])
def test_a_grid_covers_the_scene_and_its_tail_without_wrapping(n_samples: int, n_taps: int) -> None:
    grid = plan(n_samples, n_taps)
    assert grid.n_packs * PACK >= grid.n_blocks
    assert grid.n_blocks * grid.block >= n_samples + n_taps - 1
    assert n_taps <= grid.n_fft - grid.block + 1
    assert (grid.n_scene_blocks - 1) * grid.block < n_samples <= grid.n_scene_blocks * grid.block


def test_wrong_shapes_are_named() -> None:
    grid = plan(1000, 50)
    with pytest.raises(ValueError, match="51 taps; the grid holds 50"):
        response_spectra(grid, [noise(0, 1, 51)])
    with pytest.raises(ValueError, match="onset = 1000"):
        block_spectra(grid, noise(0, 10), 1000)
