"""The state-space recurrence of Mamba-2 as matrix products (Dao & Gu 2024, section 6).

Head h keeps a state S of N x P numbers, which decays and takes in what comes:

    S_t = exp(dt_t a) S_{t-1} + dt_t b_t x_t^T        y_t = S_t^T c_t

Unrolled over a chunk that is y_i = sum over j <= i of exp(s_i - s_j) (c_i . b_j) dt_j x_j with
s = cumsum(dt a): attention without a softmax whose scores decay. Chunks hand on their state, and
those hand-overs are again a product with a triangle of decays. There is no loop over time, and
nothing but matrix products, sums and exponentials.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def ssd(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, chunk: int) -> Tensor:
    """Outputs y of the recurrence, from a state of zeros.

    Args:
        x: inputs. Shape: [batch, length, heads, P].
        dt: steps, >= 0. Shape: [batch, length, heads].
        a: rate of decay per head, < 0. Shape: [heads].
        b, c: how inputs enter the state and leave it, shared by the heads.
            Shape: [batch, length, N].
        chunk: tokens multiplied as one matrix; changes speed and rounding only.

    Returns:
        Shape: [batch, length, heads, P].
    """
    length = x.shape[1]
    chunk = min(chunk, length)
    # Zeros at the end neither decay (dt = 0) nor enter, and what leaves there is cut off.
    pad = -length % chunk
    x, dt = functional.pad(x, (0, 0, 0, 0, 0, pad)), functional.pad(dt, (0, 0, 0, pad))
    b, c = functional.pad(b, (0, 0, 0, pad)), functional.pad(c, (0, 0, 0, pad))
    # From here on [batch, chunks, heads, chunk, ...].
    taken = (x * dt[..., None]).unflatten(1, (-1, chunk)).transpose(2, 3)
    decay = (dt * a).unflatten(1, (-1, chunk)).transpose(2, 3).cumsum(3)
    b, c = (v.unflatten(1, (-1, chunk)).unsqueeze(2) for v in (b, c))
    y = ((c @ b.mT) * _decays(decay, decay, diagonal=0)) @ taken
    if decay.shape[1] > 1:
        y = y + (c * decay.exp()[..., None]) @ _entering_states(taken, decay, b)
    return y.transpose(2, 3).flatten(1, 2)[:, :length]


def _decays(to: Tensor, since: Tensor, diagonal: int) -> Tensor:
    """exp(to_i - since_j) where j <= i + diagonal, 0 elsewhere. Shapes: [..., n] -> [..., n, n]."""
    n = to.shape[-1]
    later = torch.ones(n, n, dtype=torch.bool, device=to.device).triu(1 + diagonal)
    return (to[..., :, None] - since[..., None, :]).masked_fill(later, float("-inf")).exp()


def _entering_states(taken: Tensor, decay: Tensor, b: Tensor) -> Tensor:
    """State at the start of each chunk. Shape: [batch, chunks, heads, N, P]."""
    whole = decay[..., -1]
    left = (b * (whole[..., None] - decay).exp()[..., None]).mT @ taken
    ends = whole.transpose(1, 2).cumsum(2)
    starts = ends - whole.transpose(1, 2)
    handed_on = _decays(starts, ends, diagonal=-1)
    entering = handed_on @ left.transpose(1, 2).flatten(3)
    return entering.unflatten(3, left.shape[3:]).transpose(1, 2)
