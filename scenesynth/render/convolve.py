"""Convolution of many events with many responses by overlap-save, sharing transforms.

The scene's time axis is cut into blocks of equal length, sixteen to a pack: one complex transform
of eight lanes carries a pack (`scenesynth.fourier`). The spectra of an event's packs are made once
and serve every channel; the spectra of all events of one output channel are summed before a single
inverse transform. Only packs in which an event can be heard are transformed.

Everything is float32 (error near -130 dB), and no result depends on what else is transformed.
Block boundaries depend on the scene's length and the response's length alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenesynth.fourier.butterflies import LANES, ROW
from scenesynth.fourier.transform import empty_rows, good_length, transform, transform_cost
from scenesynth.render.convolve_kernels import (
    accumulate,
    block_transforms,
    channel_transforms,
    inverse_of_product,
    take_blocks,
)

Signal = NDArray[np.float32]

PACK = ROW
"""Blocks per pack: the real and the imaginary parts of the lanes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How a scene's time axis is cut.

    Block `j` holds output samples [j * block, (j + 1) * block) and is computed from the `n_fft`
    input samples that end with it.

    Attributes:
        n_samples: length of the scene.
        n_taps: length of the responses; at most n_fft - block + 1.
        n_packs: packs of blocks that hold the scene and the tails that outlast it.
    """

    n_samples: int
    n_taps: int
    block: int
    n_packs: int
    n_fft: int

    @property
    def n_blocks(self) -> int:
        """Blocks that hold the scene and the tails that outlast it."""
        return -(-(self.n_samples + self.n_taps - 1) // self.block)

    @property
    def n_scene_blocks(self) -> int:
        """Blocks that hold the scene itself."""
        return -(-self.n_samples // self.block)


class BlockSpectra(NamedTuple):
    """Spectra of the packs that an event reaches.

    Attributes:
        blocks: first block that the event reaches, and the one after the last.
        first_pack: pack of the first row of `values`.
        values: Shape: [packs, rows * ROW].
    """

    blocks: tuple[int, int]
    first_pack: int
    values: Signal

    def pack(self, n: int) -> Signal | None:
        """Spectra of pack `n`, or None where the event is silent. Shape: [rows * ROW]."""
        at = n - self.first_pack
        return self.values[at] if 0 <= at < len(self.values) else None


class Wet(NamedTuple):
    """A signal that is silent outside [start, start + len(samples)); scene samples."""

    start: int
    samples: Signal


class Term(NamedTuple):
    """An event's spectra and the spectrum of one channel of its response."""

    spectra: BlockSpectra
    response: Signal


def plan(n_samples: int, n_taps: int) -> Grid:
    """Choose the blocks that cost least."""
    total = n_samples + n_taps - 1

    def grid(n_packs: int) -> Grid:
        block = _up(-(-total // (PACK * n_packs)))
        n_fft = good_length(block + n_taps - 1)
        return Grid(n_samples=n_samples, n_taps=n_taps, block=block, n_packs=n_packs, n_fft=n_fft)

    most = max(1, total // (PACK * n_taps))
    counts = sorted({*range(1, min(most, 8) + 1), *(2**k for k in range(4, most.bit_length()))})
    return min(map(grid, counts), key=lambda item: item.n_packs * transform_cost(item.n_fft))


def _up(n: int) -> int:
    """The next multiple of LANES."""
    return -(-n // LANES) * LANES


def response_spectra(grid: Grid, responses: Sequence[Signal]) -> list[Signal]:
    """Spectra of responses in the transform's own order of frequencies.

    Args:
        responses: each of shape [channels, taps].

    Returns:
        One array per response: real parts, then imaginary parts. Shape: [channels, 2 * n_fft].
    """
    ends = np.cumsum([0, *(len(response) for response in responses)])
    n_taps = _up(grid.n_taps)
    signals = np.zeros((_up(int(ends[-1])), n_taps), np.float32)
    for first, response in zip(ends, responses, strict=False):
        if (taps := response.shape[1]) > grid.n_taps:
            raise ValueError(f"response has {taps} taps; the grid holds {grid.n_taps}")
        into = signals[first : first + len(response), :taps]
        np.multiply(response, np.float32(1.0 / grid.n_fft), out=into)  # undoes the inverse's n
    spectra = np.empty((len(signals), 2 * grid.n_fft), np.float32)
    channel_transforms(transform(grid.n_fft), signals.reshape(-1), n_taps, spectra.reshape(-1))
    return [spectra[first:last] for first, last in pairwise(ends)]


def block_spectra(grid: Grid, dry: Signal, onset: int) -> BlockSpectra:
    """Spectra of the packs that `dry` [samples], starting at sample `onset`, can be heard in.

    What lies beyond the scene's end is not played.
    """
    if not 0 <= onset < grid.n_samples:
        raise ValueError(f"onset = {onset}; must lie in the scene's {grid.n_samples} samples")
    dry = dry[: grid.n_samples - onset]
    first = onset // grid.block
    last = (onset + max(len(dry), 1) + grid.n_taps - 2) // grid.block
    first_pack, n_packs = first // PACK, last // PACK + 1 - first // PACK
    history = (first_pack * PACK + 1) * grid.block - grid.n_fft  # where the first segment starts
    padded = np.zeros((n_packs * PACK - 1) * grid.block + grid.n_fft, np.float32)
    padded[onset - history : onset - history + len(dry)] = dry
    tables = transform(grid.n_fft)
    spectra = empty_rows(n_packs, tables.n_rows)
    block_transforms(tables, padded, grid.block, spectra)
    return BlockSpectra((first, last + 1), first_pack, spectra)


def convolve(grid: Grid, term: Term) -> Wet:
    """One event through one channel of its response, with the tail beyond the scene's end."""
    return _inverse(grid, [term], *term.spectra.blocks)


def convolve_sum(grid: Grid, terms: Sequence[Term]) -> Wet:
    """Sum of events, each through its response, by one inverse transform; cut at the scene's end.

    Blocks that no event reaches before the first and after the last one are left out.
    """
    first = min(term.spectra.blocks[0] for term in terms)
    last = min(max(term.spectra.blocks[1] for term in terms), grid.n_scene_blocks)
    start, samples = _inverse(grid, terms, first, last)
    return Wet(start, samples[: grid.n_samples - start])


def _inverse(grid: Grid, terms: Sequence[Term], first: int, last: int) -> Wet:
    """Blocks [first, last) of the sum of some terms."""
    first_pack, n_packs = first // PACK, -(-last // PACK) - first // PACK
    packs = np.empty((n_packs, PACK * grid.block), np.float32)
    tables = transform(grid.n_fft)
    work = empty_rows(tables.n_rows)
    for pack, out in enumerate(packs, first_pack):
        factors = [(term.spectra.pack(pack), term.response) for term in terms]
        reaching = [(spectra, response) for spectra, response in factors if spectra is not None]
        if not reaching:
            out[:] = 0
            continue
        for n, (spectra, response) in enumerate(reaching[:-1]):
            accumulate(tables, spectra, response, work, n > 0)
        inverse_of_product(tables, *reaching[-1], work, len(reaching) > 1)
        take_blocks(tables, work, grid.block, out)
    begin = first_pack * PACK
    samples = packs.reshape(-1)[(first - begin) * grid.block : (last - begin) * grid.block]
    return Wet(first * grid.block, samples)
