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


def direction(prediction: Tensor, target: Tensor) -> Tensor:
    """How far predicted vectors point from the true ones: 0 along them, 1 across, 2 against.

    sum |v| (1 - cos) / sum |v| over true vectors v, so that long ones, of bins with a clear
    direction, count for more. Shapes: [..., 3, any], both; as features, not normalised.
    """
    prediction = prediction.float()
    cosine = functional.cosine_similarity(prediction, target, dim=-2, eps=1e-6)
    length = torch.linalg.vector_norm(target, dim=-2)
    return (length * (1.0 - cosine)).sum() / (length.sum() + 1e-6)
