"""The loops of `scenesynth.render.convolve`: blocks of a signal into the lanes of a transform."""

from __future__ import annotations

import numpy as np

from scenesynth.fourier.butterflies import LANES, ROW, multiply_row
from scenesynth.fourier.transform import (
    forward,
    inverse_columns,
    inverse_row,
    work_space,
)
from scenesynth.jit import kernel

TILE = 256
"""Rows that are filled or read lane by lane while they stay in the first-level cache."""


@kernel
def block_transforms(tables, dry, start, block, spectra):  # type: ignore[no-untyped-def]
    """Spectra of overlapping segments of `dry`, sixteen to a pack.

    Segment j holds n samples from start + j block on, zero outside of `dry`.

    Args:
        spectra: written. Shape: [packs, n * ROW].
    """
    n = tables.n1 * tables.n2
    for pack in range(len(spectra)):
        rows = spectra[pack]
        for first in range(0, n, TILE):
            last = min(first + TILE, n)
            rows[first * ROW : last * ROW] = 0.0
            for lane in range(ROW):
                at = start + (pack * ROW + lane) * block
                low = max(first, -at)
                high = min(last, len(dry) - at)
                for k in range(low, high):
                    rows[k * ROW + lane] = dry[at + k]
        forward(tables, rows)


@kernel
def channel_transforms(tables, signals, scale, spectra):  # type: ignore[no-untyped-def]
    """Spectra of real signals, times `scale`, as pairs of real and imaginary part.

    One signal per lane: two would leave rounding errors in each other.

    Args:
        signals: Shape: [signals, at most n].
        spectra: written, in the transform's order of frequencies. Shape: [signals, 2 n].
    """
    n = tables.n1 * tables.n2
    rows = np.empty(n * ROW, dtype=np.float32)
    factor = np.float32(scale)
    for base in range(0, len(signals), LANES):
        count = min(LANES, len(signals) - base)
        rows[:] = 0.0
        for first in range(0, signals.shape[1], TILE):
            last = min(first + TILE, signals.shape[1])
            for lane in range(count):
                signal = signals[base + lane]
                for k in range(first, last):
                    rows[k * ROW + lane] = signal[k] * factor
        forward(tables, rows)
        for first in range(0, n, TILE):
            for lane in range(count):
                spectrum = spectra[base + lane]
                for k in range(first, min(first + TILE, n)):
                    spectrum[2 * k] = rows[k * ROW + lane]
                    spectrum[2 * k + 1] = rows[k * ROW + LANES + lane]


@kernel
def accumulate(spectra, response, total, add):  # type: ignore[no-untyped-def]
    """total = spectra * response, or added to what is there. Shapes: [n * ROW], [2 n]."""
    for k in range(len(response) // 2):
        multiply_row(spectra, k * ROW, response, 2 * k, total, k * ROW, add)


@kernel
def inverse_of_product(tables, spectra, response, total, add):  # type: ignore[no-untyped-def]
    """total = inverse transform of spectra * response (plus total, where `add`).

    The product of a row of frequencies is made just before its transform needs it.
    """
    buffers = work_space(tables)
    n1, n2 = tables.n1, tables.n2
    for k1 in range(n1):
        for k in range(k1 * n2, (k1 + 1) * n2):
            multiply_row(spectra, k * ROW, response, 2 * k, total, k * ROW, add)
        inverse_row(tables, k1, total, buffers)
    inverse_columns(tables, total, buffers)


@kernel
def take_blocks(rows, n, block, first_lane, count, out):  # type: ignore[no-untyped-def]
    """The last `block` samples of `count` lanes from `first_lane` on, one after the other.

    Args:
        out: written. Shape: [at most count * block].
    """
    for first in range(0, block, TILE):
        last = min(first + TILE, block)
        for lane in range(count):
            at = lane * block
            for k in range(first, min(last, len(out) - at)):
                out[at + k] = rows[(n - block + k) * ROW + first_lane + lane]
