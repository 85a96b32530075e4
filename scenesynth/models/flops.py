"""How much arithmetic a window costs, counted and not estimated."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from scenesynth.models.config import MaeConfig
from scenesynth.models.mae import MaskedAutoencoder


class Flops(NamedTuple):
    """Floating-point operations of one window; a multiplication with its addition counts two."""

    forward: int
    training: int


def flops(config: MaeConfig) -> Flops:
    """Matrix products and attention of a forward pass, and of one with its backward pass.

    Counted on the meta device: nothing is computed, and attention counts as its products.
    """
    with torch.device("meta"):
        model = MaskedAutoencoder(config).to("meta")
        features = torch.empty(1, config.channels, config.mels, config.frames)
        noise = torch.empty(1, config.n_tokens)
    with FlopCounterMode(display=False) as forward:
        loss = model(features, noise=noise).loss
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    n_forward = forward.get_total_flops()
    return Flops(n_forward, n_forward + backward.get_total_flops())


def n_parameters(config: MaeConfig) -> int:
    """Trained numbers of a model."""
    with torch.device("meta"):
        model = MaskedAutoencoder(config)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
