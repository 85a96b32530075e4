"""Overlap-save of many events of many scenes on a device.

As `scenesynth.render.convolve`: the time axis is cut into blocks, each computed from the `n_fft`
samples that end with it; spectra of an event serve all channels, and the spectra of all events of
one sum share an inverse transform.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from scenesynth.acoustics.gpu.batch import length_bucket

T = TypeVar("T")

ROWS = 16
"""Signals per transform; their blocks multiply this."""

TAPS_PER_TRANSFORM = 4
"""A transform is about this many times as long as the responses: three quarters of it are new."""


class Blocks(NamedTuple):
    """How the time axis of some scenes is cut.

    Attributes:
        n_samples: length of the scenes.
        n_taps: length of the responses, rounded up.
        n_blocks: blocks that hold a scene and the tails that outlast it.
    """

    n_samples: int
    n_taps: int
    n_fft: int
    block: int
    n_blocks: int

    @property
    def n_scene_blocks(self) -> int:
        """Blocks that hold the scene itself."""
        return -(-self.n_samples // self.block)


class Played(NamedTuple):
    """What an event plays, from sample `onset` of its scene on."""

    dry: NDArray[np.float32]
    onset: int


def blocks_for(n_samples: int, n_taps: int) -> Blocks:
    """Blocks for scenes of `n_samples` whose longest response has `n_taps`."""
    taps = length_bucket(n_taps)
    n_fft = 1 << (TAPS_PER_TRANSFORM * taps - 1).bit_length()
    block = n_fft - taps + 1
    n_blocks = -(-(n_samples + taps - 1) // block)
    return Blocks(n_samples, taps, n_fft, block, n_blocks)


def upload(played: Sequence[Played], device: torch.device) -> torch.Tensor:
    """All dry signals one after the other, without waiting for the device."""
    n = sum(len(item.dry) for item in played)
    staged = torch.empty(n, dtype=torch.float32, pin_memory=device.type == "cuda")
    np.concatenate([item.dry for item in played], out=staged.numpy())
    return staged.to(device, non_blocking=True)


def event_spectra(blocks: Blocks, played: Sequence[Played], flat: torch.Tensor) -> torch.Tensor:
    """Spectra of every block of every event. Shape: [events, blocks, bins].

    Args:
        flat: what `upload` made of `played`.
    """
    parts = []
    lead = blocks.n_fft - blocks.block
    at = 0
    for chunk in in_rows(played):
        padded = flat.new_zeros((ROWS, lead + blocks.n_blocks * blocks.block))
        for row, (dry, onset) in enumerate(chunk):
            n = min(len(dry), blocks.n_samples - onset)  # beyond the scene nothing is played
            padded[row, lead + onset : lead + onset + n] = flat[at : at + n]
            at += len(dry)
        parts.append(torch.fft.rfft(padded.unfold(1, blocks.n_fft, blocks.block))[: len(chunk)])
    return torch.cat(parts)


def response_spectra(blocks: Blocks, responses: Sequence[torch.Tensor]) -> torch.Tensor:
    """Spectra of responses, each [channels, samples]. Shape: [responses, channels, bins]."""
    parts = []
    for chunk in in_rows(responses):
        padded = chunk[0].new_zeros((ROWS, len(chunk[0]), blocks.n_fft))
        for row, response in enumerate(chunk):
            padded[row, :, : response.shape[1]] = response
        parts.append(torch.fft.rfft(padded)[: len(chunk)])
    return torch.cat(parts)


def signals(blocks: Blocks, spectra: torch.Tensor, n_blocks: int) -> torch.Tensor:
    """Back to time: of the first blocks the part that has not wrapped around.

    Shape: [signals, blocks, bins] to [signals, n_blocks * block].
    """
    parts = []
    for first in range(0, len(spectra), ROWS):
        rows = spectra[first : first + ROWS, :n_blocks]
        whole = torch.nn.functional.pad(rows, (0, 0, 0, 0, 0, ROWS - len(rows)))
        segments = torch.fft.irfft(whole, n=blocks.n_fft)[: len(rows)]
        parts.append(segments[:, :, blocks.n_fft - blocks.block :].flatten(1))
    return torch.cat(parts)


def sums(
    spectra: torch.Tensor,
    responses: torch.Tensor,
    response_of: Sequence[int],
    groups: Sequence[Sequence[int]],
    channel: int,
) -> torch.Tensor:
    """Sum of the events of each group through one channel of their responses.

    Events are added in the order of their group, all groups' first ones at once, then the second.

    Args:
        spectra: of the events. Shape: [events, blocks, bins].
        responses: Shape: [responses, channels, bins].
        response_of: the response of each event.
        groups: events of each sum; none is empty.

    Returns:
        Shape: [groups, blocks, bins].
    """
    device = spectra.device
    order = sorted(range(len(groups)), key=lambda g: -len(groups[g]))
    total = spectra.new_empty((len(groups), *spectra.shape[1:]))
    for turn in range(len(groups[order[0]])):
        events = [groups[g][turn] for g in order if turn < len(groups[g])]
        through = indices([response_of[event] for event in events], device)
        product = spectra[indices(events, device)] * responses[through, channel, None]
        if turn == 0:
            total[:] = product
        else:
            total[: len(events)] += product
    places = [0] * len(order)
    for place, g in enumerate(order):
        places[g] = place
    return total[indices(places, device)]


def indices(values: Sequence[int], device: torch.device) -> torch.Tensor:
    """A tensor of whole numbers on the device."""
    tensor = torch.tensor(values, dtype=torch.int64)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def in_rows(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Runs of at most `ROWS` items."""
    for first in range(0, len(items), ROWS):
        yield items[first : first + ROWS]
