"""Which tokens of a window the encoder sees: decided by noise, so that it can be replayed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Masking(NamedTuple):
    """Attributes:
    visible: tokens that are seen, in order of time. Shape: [batch, tokens - hidden].
    hidden: the others, in no order that means anything. Shape: [batch, hidden].
    mask: True where hidden. Shape: [batch, tokens].
    """

    visible: Tensor
    hidden: Tensor
    mask: Tensor


def masking(noise: Tensor, n_hidden: int, grid: tuple[int, int]) -> Masking:
    """Hide the tokens with the largest noise; of equal ones the later.

    Args:
        noise: one number per token. Shape: [batch, tokens].
        n_hidden: tokens to hide in each window.
        grid: patches over frequency and time.
    """
    order = torch.argsort(noise, dim=1, stable=True)
    visible, hidden = order.split([order.shape[1] - n_hidden, n_hidden], dim=1)
    mask = torch.ones_like(noise, dtype=torch.bool).scatter(1, visible, value=False)
    return Masking(in_time_order(visible, grid), hidden, mask)


def in_time_order(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens sorted by time, and at one time from low to high. Shapes: [batch, any], the same."""
    n_freq, n_time = grid
    rank = (tokens % n_time) * n_freq + tokens // n_time
    rank = rank.sort(dim=1).values
    return (rank % n_freq) * n_time + rank // n_freq


def pick(values: Tensor, tokens: Tensor) -> Tensor:
    """Rows of `values`. Shapes: [batch, n, dim], [batch, k] -> [batch, k, dim]."""
    return values.gather(1, tokens[..., None].expand(-1, -1, values.shape[2]))
