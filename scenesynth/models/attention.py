"""Pre-norm transformer blocks; those of the decoder give each head a window of its own.

Multi-window attention (Yadav et al. 2024, arXiv 2306.00561): head h cuts the sequence into windows
of w_h tokens and attends within them, with a learned bias per distance; w_h = 0 attends to all,
with no bias. All heads go into one call of scaled dot-product attention with a mask to be added:
the bias inside a window, minus infinity outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class WindowBias(nn.Module):  # type: ignore[misc]
    """The mask of multi-window attention.

    `table` holds, head after head, the biases of the distances 1 - w to w - 1 from key to query.
    A last window that is cut short by the end of the sequence is an ordinary window.
    """

    def __init__(self, n_tokens: int, windows: Sequence[int]) -> None:
        super().__init__()
        place = torch.arange(n_tokens, device="cpu")
        outside = torch.zeros(len(windows), n_tokens, n_tokens, dtype=torch.bool, device="cpu")
        slots = []
        for head, window in enumerate(windows):
            if window:
                block = place // window
                outside[head] = block[:, None] != block[None, :]
                reach = min(window, n_tokens)
                centre = head * (2 * n_tokens - 1) + n_tokens - 1
                slots.append(torch.arange(centre - reach + 1, centre + reach, device="cpu"))
        self.n_tokens = n_tokens
        self.n_heads = len(windows)
        slot = torch.cat(slots) if slots else torch.zeros(0, dtype=torch.int64, device="cpu")
        self.register_buffer("_outside", outside, persistent=False)
        self.register_buffer("_slot", slot, persistent=False)
        self.table = nn.Parameter(torch.empty(len(slot)))
        nn.init.normal_(self.table, std=0.02)

    def forward(self) -> Tensor:
        """What is added to the scores of query i and key j. Shape: [heads, tokens, tokens]."""
        n = self.n_tokens
        distances = self.table.new_zeros(self.n_heads * (2 * n - 1))
        distances = distances.scatter(0, self._slot, self.table).unflatten(0, (self.n_heads, -1))
        # Row i of the unfolded view starts at distance i - (n - 1), that of the last key.
        bias = distances.unfold(1, n, 1).flip(2)
        return bias.masked_fill(self._outside, float("-inf"))


class Attention(nn.Module):  # type: ignore[misc]
    """Multi-head self-attention. Shape: [batch, tokens, dim], the same."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """`bias` is added to the scores. Shape: [heads, tokens, tokens]."""
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if bias is not None:
            bias = bias[None].to(query.dtype)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):  # type: ignore[misc]
    """x + attention(norm x), then x + MLP(norm x). Shape: [batch, tokens, dim], the same."""

    def __init__(self, dim: int, heads: int, hidden: int, bias: WindowBias | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads)
        self.bias = bias
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias()
        x = x + self.attention(self.norm1(x), bias)
        return x + self.mlp(self.norm2(x))
