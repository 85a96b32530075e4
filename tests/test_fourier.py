"""Laws of the transforms that carry eight signals at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from scenesynth.fourier.butterflies import LANES, ROW
from scenesynth.fourier.transform import (
    Transform,
    empty_rows,
    forward,
    good_length,
    inverse,
    transform,
    transform_cost,
)

# Between them they use every radix first, inside and last, and two to five passes.
LENGTHS = [256, 288, 400, 1_600, 5_760, 11_664, 14_400, 32_768]


def rows_of(signals: NDArray[np.complex128]) -> NDArray[np.float32]:
    """Signals [n, LANES] as rows."""
    tables = transform(len(signals))
    rows = empty_rows(tables.n_rows)
    rows[:] = np.nan  # what lies in the unused rows must not matter
    items = signals.reshape(tables.n1, tables.n2, LANES)
    parts = rows.reshape(tables.n1, tables.n2 + 1, 2, LANES)[:, :-1]
    parts[:, :, 0], parts[:, :, 1] = items.real, items.imag
    return rows


def signals_of(tables: Transform, rows: NDArray[np.float32]) -> NDArray[np.complex128]:
    parts = rows.reshape(tables.n1, tables.n2 + 1, 2, LANES)[:, :-1].astype(np.float64)
    result: NDArray[np.complex128] = (parts[:, :, 0] + 1j * parts[:, :, 1]).reshape(-1, LANES)
    return result


def by_frequency(tables: Transform, rows: NDArray[np.float32]) -> NDArray[np.complex128]:
    """Spectra [n, LANES] by rising frequency: row k1 n2 + k2 holds frequency k1 + n1 k2."""
    grid = signals_of(tables, rows).reshape(tables.n1, tables.n2, LANES)
    return grid.transpose(1, 0, 2).reshape(-1, LANES)


def noise(n: int) -> NDArray[np.complex128]:
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, LANES)) + 1j * rng.standard_normal((n, LANES))


@pytest.mark.parametrize("n", LENGTHS)
def test_spectra_are_those_of_the_discrete_fourier_transform(n: int) -> None:
    signals, tables = noise(n), transform(n)
    rows = rows_of(signals)
    forward(tables, rows)
    expected = np.fft.fft(signals, axis=0)
    error = np.linalg.norm(by_frequency(tables, rows) - expected) / np.linalg.norm(expected)
    assert error < 3e-7


@pytest.mark.parametrize("n", LENGTHS)
def test_the_inverse_gives_n_times_the_signal(n: int) -> None:
    signals, tables = noise(n), transform(n)
    rows = rows_of(signals)
    forward(tables, rows)
    inverse(tables, rows)
    assert np.linalg.norm(signals_of(tables, rows) / n - signals) / np.linalg.norm(signals) < 4e-7


def test_lanes_do_not_touch_each_other() -> None:
    tables = transform(1_600)
    together, alone = noise(1_600), np.zeros((1_600, LANES), dtype=complex)
    alone[:, 3] = together[:, 3]
    spectra = []
    for signals in (together, alone):
        rows = rows_of(signals)
        forward(tables, rows)
        spectra.append(by_frequency(tables, rows)[:, 3])
    assert np.array_equal(*spectra)


@pytest.mark.parametrize("least", [1, 257, 5_000, 40_000, 300_000])
def test_a_good_length_is_no_shorter_and_not_much_longer(least: int) -> None:
    n = good_length(least)
    assert least <= n <= max(256, 1.3 * least)
    assert transform(n).n == n
    assert transform_cost(n) > 0


def test_lengths_that_do_not_exist_are_named() -> None:
    with pytest.raises(ValueError, match="no transform of length 257"):
        transform(257)
    with pytest.raises(ValueError, match="too long"):
        good_length(10**9)


def test_rows_lie_in_cache_lines_of_their_own() -> None:
    rows = empty_rows(3, 100)
    assert rows.shape == (3, 100 * ROW)
    assert rows.ctypes.data % 64 == 0
