"""Blocks of Mamba-2 (Dao & Gu 2024) that look both ways, in plain torch.

No fused kernels: at the 40 to 200 tokens of a window the recurrence is a few matrix products
(`scenesynth.models.ssd`), and no faster than attention. It is here to be compared with it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenesynth.models.ssd import ssd


class Mamba2(nn.Module):  # type: ignore[misc]
    """Mixes tokens from first to last. Shape: [batch, tokens, dim], the same.

    One projection gives gate z, inputs x, b and c and steps dt; x, b and c pass a short causal
    convolution and SiLU; y = ssd(...) + skip * x is gated, normalised and projected back.
    """

    def __init__(
        self, dim: int, *, inner: int, heads: int, state: int, conv: int, chunk: int
    ) -> None:
        super().__init__()
        self.chunk = chunk
        self.heads = heads
        self.sizes = [inner, inner + 2 * state, heads]
        self.inner_sizes = [inner, state, state]
        self.project = nn.Linear(dim, sum(self.sizes), bias=False)
        mixed = inner + 2 * state
        self.taps = nn.Parameter(torch.empty(conv, mixed))
        self.offset = nn.Parameter(torch.zeros(mixed))
        self.log_rate = nn.Parameter(torch.empty(heads))
        self.step = nn.Parameter(torch.empty(heads))
        self.skip = nn.Parameter(torch.ones(heads))
        self.norm = nn.RMSNorm(inner, eps=1e-6)
        self.out = nn.Linear(inner, dim, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Rates uniform in [1, 16], steps log-uniform in [0.001, 0.1], as the paper's code has."""
        bound = len(self.taps) ** -0.5
        with torch.no_grad():
            self.taps.uniform_(-bound, bound)
            self.log_rate.uniform_(1.0, 16.0).log_()
            steps = torch.empty_like(self.step).uniform_(math.log(1e-3), math.log(0.1)).exp()
            self.step.copy_(steps + torch.log(-torch.expm1(-steps)))  # inverse of softplus

    def forward(self, tokens: Tensor) -> Tensor:
        gate, mixed, dt = self.project(tokens).split(self.sizes, dim=2)
        x, b, c = functional.silu(self._convolved(mixed)).split(self.inner_sizes, dim=2)
        x = x.unflatten(2, (self.heads, -1))
        dt = functional.softplus(dt.float() + self.step)
        y = ssd(x, dt, -self.log_rate.exp(), b, c, self.chunk) + self.skip[:, None] * x
        return self.out(self.norm(y.flatten(2) * functional.silu(gate)))

    def _convolved(self, mixed: Tensor) -> Tensor:
        """Each channel with its few taps, the last on the token itself. Shape kept."""
        n, before = mixed.shape[1], len(self.taps) - 1
        padded = functional.pad(mixed, (0, 0, before, 0))
        taps = self.taps.to(mixed.dtype)
        y = self.offset.to(mixed.dtype) + taps[0] * padded[:, :n]
        for late in range(1, before + 1):
            y = y + taps[late] * padded[:, late : late + n]
        return y


class MambaBlock(nn.Module):  # type: ignore[misc]
    """x + mixed from first to last + mixed from last to first, both of norm x. Shape kept."""

    def __init__(
        self, dim: int, *, inner: int, heads: int, state: int, conv: int, chunk: int
    ) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.onward, self.backward_ = (
            Mamba2(dim, inner=inner, heads=heads, state=state, conv=conv, chunk=chunk)
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return x + self.onward(normed) + self.backward_(normed.flip(1)).flip(1)
