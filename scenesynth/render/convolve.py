"""Convolution of many events with many responses by overlap-save, sharing transforms.

The scene's time axis is cut into blocks of equal length. The spectrum of a block of an event (the
block and the history that the response reaches back to) is made once and serves every channel; the
spectra of all events of one output channel are summed before a single inverse transform. Only
blocks in which an event can be heard are transformed.

Everything is float32 and complex64 (error near -130 dB) through `scipy.fft` with one worker, whose
results do not depend on how many blocks are transformed together. Block boundaries depend on the
scene's length and the response's length alone. All shapes are [blocks, bins], so that a batch of
scenes adds one leading axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Signal = NDArray[np.float32]
Spectrum = NDArray[np.complex64]

# Transforms of a response per transform of a signal: 4 channels against the event's forward, its W
# and its share of the summed channels.
_RESPONSE_SHARE = 1.1

# Length at which a transform costs twice its operations, as it outgrows the caches: between 20,000
# and 96,000 samples the cost per operation was seen to rise by 3 to 20 %.
_CACHED_LENGTH = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How a scene's time axis is cut.

    Block `j` holds output samples [j * block, (j + 1) * block) and is computed from the `n_fft`
    input samples that end with it.

    Attributes:
        n_samples: length of the scene.
        n_taps: length of the responses; at most n_fft - block + 1.
        n_blocks: blocks that hold the scene and the tails that outlast it.
    """

    n_samples: int
    n_taps: int
    block: int
    n_blocks: int
    n_fft: int

    @property
    def n_scene_blocks(self) -> int:
        """Blocks that hold the scene itself."""
        return -(-self.n_samples // self.block)


class BlockSpectra(NamedTuple):
    """Spectra [blocks, bins] of the consecutive blocks, from `first` on, that an event reaches."""

    first: int
    values: Spectrum


class Wet(NamedTuple):
    """A signal that is silent outside [start, start + len(samples)); scene samples."""

    start: int
    samples: Signal


class Term(NamedTuple):
    """An event's spectra and the spectrum [bins] of one channel of its response."""

    spectra: BlockSpectra
    response: Spectrum


def plan(n_samples: int, n_taps: int) -> Grid:
    """Choose the blocks that cost least.

    A transform is taken to cost n log n, and more as it outgrows the cache. Block counts above two
    are multiples of four, since the library transforms four rows at once.
    """
    total = n_samples + n_taps - 1

    def grid(n_blocks: int) -> Grid:
        block = -(-total // n_blocks)
        # A multiple of four: odd lengths take a tenth longer.
        n_fft = 4 * scipy.fft.next_fast_len(-(-(block + n_taps - 1) // 4), real=True)
        return Grid(n_samples=n_samples, n_taps=n_taps, block=block, n_blocks=n_blocks, n_fft=n_fft)

    def cost(grid: Grid) -> float:
        each = grid.n_fft * math.log2(grid.n_fft) * (1 + grid.n_fft / _CACHED_LENGTH)
        return (grid.n_blocks + _RESPONSE_SHARE) * each

    counts = [1, 2, *range(4, 4 + 4 * math.ceil(total / n_taps), 4)]
    return min(map(grid, counts), key=cost)


def response_spectra(grid: Grid, response: Signal) -> Spectrum:
    """Spectra of a response's channels. Shape: [channels, taps] to [channels, bins]."""
    if response.shape[-1] > grid.n_taps:
        raise ValueError(f"response has {response.shape[-1]} taps; the grid holds {grid.n_taps}")
    spectra: Spectrum = scipy.fft.rfft(response, grid.n_fft, workers=1)
    return spectra


def block_spectra(grid: Grid, dry: Signal, onset: int) -> BlockSpectra:
    """Spectra of the blocks that `dry` [samples], starting at sample `onset`, can be heard in.

    What lies beyond the scene's end is not played.
    """
    if not 0 <= onset < grid.n_samples:
        raise ValueError(f"onset = {onset}; must lie in the scene's {grid.n_samples} samples")
    dry = dry[: grid.n_samples - onset]
    first = onset // grid.block
    last = min((onset + max(len(dry), 1) + grid.n_taps - 2) // grid.block, grid.n_blocks - 1)
    count = last - first + 1
    history = (first + 1) * grid.block - grid.n_fft  # scene sample of the first segment's start
    before = onset - history
    padded = np.empty((count - 1) * grid.block + grid.n_fft, np.float32)
    padded[:before] = 0
    padded[before : before + len(dry)] = dry
    padded[before + len(dry) :] = 0
    step = padded.strides[0]
    segments = as_strided(padded, (count, grid.n_fft), (grid.block * step, step), writeable=False)
    return BlockSpectra(first, scipy.fft.rfft(segments, workers=1))


def convolve(grid: Grid, term: Term) -> Wet:
    """One event through one channel of its response, with the tail beyond the scene's end."""
    spectra, response = term
    samples = _inverse(grid, spectra.values * response)
    return Wet(spectra.first * grid.block, samples)


def convolve_sum(grid: Grid, terms: Sequence[Term]) -> Wet:
    """Sum of events, each through its response, by one inverse transform; cut at the scene's end.

    Blocks that no event reaches are neither summed nor transformed.
    """
    first = min(term.spectra.first for term in terms)
    last = max(term.spectra.first + len(term.spectra.values) for term in terms)
    total = np.empty((min(last, grid.n_scene_blocks) - first, grid.n_fft // 2 + 1), np.complex64)
    product = np.empty(total.shape[1], np.complex64)
    touched = np.zeros(len(total), np.bool_)
    for (start, blocks), response in terms:
        # Block by block, so that the product stays in the cache between its two uses.
        for j, block in enumerate(blocks[: grid.n_scene_blocks - start], start - first):
            if touched[j]:
                np.multiply(block, response, out=product)
                total[j] += product
            else:
                np.multiply(block, response, out=total[j])
                touched[j] = True
    total[~touched] = 0
    begin = first * grid.block
    return Wet(begin, _inverse(grid, total)[: grid.n_samples - begin])


def _inverse(grid: Grid, spectra: Spectrum) -> Signal:
    """Inverse transform, of each block the part that has not wrapped around."""
    segments = scipy.fft.irfft(spectra, grid.n_fft, overwrite_x=True, workers=1)
    kept: Signal = segments[:, grid.n_fft - grid.block :].reshape(-1)
    return kept
