"""What a masked autoencoder is trained with, over the hidden patches of each window."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def reconstruction(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error: mean over a patch, then over patches. Shapes: [batch, hidden, values]."""
    return (prediction.float() - target).square().mean()


def info_nce(codes: Tensor, target: Tensor) -> Tensor:
    """How badly codes tell their own patch from the other hidden ones of their window.

    -mean_i log(exp(c_i . x_i) / sum_j exp(c_i . x_j)) (Gong et al. 2022, SSAST, eq. 1).
    Shapes: [batch, hidden, values], both.
    """
    with torch.autocast(codes.device.type, enabled=False):
        scores = codes.float() @ target.mT
        own = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape[:2])
        return functional.cross_entropy(scores.flatten(0, 1), own.flatten())
