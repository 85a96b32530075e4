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
        spectra: written. Shape: [packs, n * ROW].
    """
    n = tables.n1 * tables.n2
    for pack in range(len(spectra)):
        rows = spectra[pack]
        for k in range(0, n, LANES):
            for lane in range(0, ROW, LANES):
                at = (pack * ROW + lane) * block + k
                transpose(signal, at, block, rows, k * ROW + lane, ROW)
        forward(tables, rows)


@kernel
def channel_transforms(tables, signals, n_taps, scale, spectra):  # type: ignore[no-untyped-def]
    """Spectra of real signals, times `scale`.

    One signal per lane: two would leave rounding errors in each other.

    Args:
        signals: flat. Shape: [signals * n_taps]; both are multiples of LANES.
        spectra: written, flat: all real parts of a signal, then all imaginary parts, in the
            transform's order of frequencies. Shape: [signals * 2 * n].
    """
    n = tables.n1 * tables.n2
    rows = np.empty(n * ROW, dtype=np.float32)
    factor = np.float32(scale)
    for base in range(0, len(signals) // n_taps, LANES):
        rows[:] = 0.0
        for k in range(0, n_taps, LANES):
            transpose(signals, base * n_taps + k, n_taps, rows, k * ROW, ROW)
        forward(tables, rows)
        for k in range(len(rows)):
            rows[k] *= factor
        for k in range(0, n, LANES):
            for part in range(2):
                to = (2 * base + part) * n + k
                transpose(rows, k * ROW + part * LANES, ROW, spectra, to, 2 * n)


@kernel
def accumulate(spectra, response, total, add):  # type: ignore[no-untyped-def]
    """total = spectra * response, or added to what is there. Shapes: [n * ROW], [2 n]."""
    n = len(response) // 2
    for k in range(n):
        multiply_row(spectra, k * ROW, response, k, n + k, total, k * ROW, add)


@kernel
def inverse_of_product(tables, spectra, response, total, add):  # type: ignore[no-untyped-def]
    """total = inverse transform of spectra * response (plus total, where `add`).

    The product of a row of frequencies is made just before its transform needs it.
    """
    buffers = work_space(tables)
    n1, n2 = tables.n1, tables.n2
    n = n1 * n2
    for k1 in range(n1):
        for k in range(k1 * n2, (k1 + 1) * n2):
            multiply_row(spectra, k * ROW, response, k, n + k, total, k * ROW, add)
        inverse_row(tables, k1, total, buffers)
    inverse_columns(tables, total, buffers)


@kernel
def take_blocks(rows, n, block, out):  # type: ignore[no-untyped-def]
    """The last `block` samples, a multiple of LANES, of the sixteen lanes, one after the other.

    Args:
        out: written. Shape: [16 * block].
    """
    for k in range(0, block, LANES):
        for lane in range(0, ROW, LANES):
            at = (n - block + k) * ROW + lane
            transpose(rows, at, ROW, out, lane * block + k, block)
