"""The loops of `scenesynth.render.convolve`: blocks of a signal into the lanes of a transform."""

from __future__ import annotations

import numpy as np

from scenesynth.fourier.butterflies import LANES, ROW, multiply_row, transpose
from scenesynth.fourier.transform import (
    forward,
    inverse_columns,
    inverse_row,
    work_space,
)
from scenesynth.jit import kernel


@kernel
def block_transforms(tables, signal, block, spectra):  # type: ignore[no-untyped-def]
    """Spectra of overlapping segments of a signal, sixteen to a pack.

    Segment j holds n samples from j block on.

    Args:
        signal: Shape: [at least (16 packs - 1) block + n].
        spectra: written. Shape: [packs, n_rows * ROW].
    """
    n1, n2 = tables.n1, tables.n2
    for pack in range(len(spectra)):
        rows = spectra[pack]
        for k1 in range(n1):
            for k2 in range(0, n2, LANES):
                row = (k1 * (n2 + 1) + k2) * ROW
                for lane in range(0, ROW, LANES):
                    at = (pack * ROW + lane) * block + k1 * n2 + k2
                    transpose(signal, at, block, rows, row + lane, ROW)
        forward(tables, rows)


@kernel
def channel_transforms(tables, signals, n_taps, spectra):  # type: ignore[no-untyped-def]
    """Spectra of real signals.

    One signal per lane: two would leave rounding errors in each other.

    Args:
        signals: flat. Shape: [signals * n_taps]; both are multiples of LANES.
        spectra: written, flat: all real parts of a signal, then all imaginary parts, in the
            transform's order of frequencies. Shape: [signals * 2 * n].
    """
    n1, n2 = tables.n1, tables.n2
    n = n1 * n2
    rows = np.empty(n1 * (n2 + 1) * ROW, dtype=np.float32)
    for base in range(0, len(signals) // n_taps, LANES):
        rows[:] = 0.0
        for k in range(0, n_taps, LANES):
            transpose(signals, base * n_taps + k, n_taps, rows, (k + k // n2) * ROW, ROW)
        forward(tables, rows)
        for k in range(0, n, LANES):
            for part in range(2):
                at = (k + k // n2) * ROW + part * LANES
                transpose(rows, at, ROW, spectra, (2 * base + part) * n + k, 2 * n)


@kernel
def accumulate(tables, spectra, response, total, add):  # type: ignore[no-untyped-def]
    """total = spectra * response, or added to what is there. Shapes: [n_rows * ROW], [2 n]."""
    for k1 in range(tables.n1):
        _multiply(tables, k1, spectra, response, total, add)


@kernel
def inverse_of_product(tables, spectra, response, total, add):  # type: ignore[no-untyped-def]
    """total = inverse transform of spectra * response (plus total, where `add`).

    The product of a row of frequencies is made just before its transform needs it.
    """
    buffers = work_space(tables)
    for k1 in range(tables.n1):
        _multiply(tables, k1, spectra, response, total, add)
        inverse_row(tables, k1, total, buffers)
    inverse_columns(tables, total, buffers)


@kernel
def _multiply(tables, k1, spectra, response, total, add):  # type: ignore[no-untyped-def]
    n2 = tables.n2
    n = tables.n1 * n2
    for k2 in range(n2):
        row = (k1 * (n2 + 1) + k2) * ROW
        at = k1 * n2 + k2
        multiply_row(spectra, row, response, at, n + at, total, row, add)


@kernel
def take_blocks(tables, rows, block, out):  # type: ignore[no-untyped-def]
    """The last `block` samples, a multiple of LANES, of the sixteen lanes, one after the other.

    Args:
        out: written. Shape: [16 * block].
    """
    n2 = tables.n2
    skipped = tables.n1 * n2 - block
    for k in range(0, block, LANES):
        row = (k + skipped + (k + skipped) // n2) * ROW
        for lane in range(0, ROW, LANES):
            transpose(rows, row + lane, ROW, out, lane * block + k, block)
