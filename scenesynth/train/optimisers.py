"""Optimisers: AdamW for everything, or Muon for matrices and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch

from scenesynth.errors import ConfigError


def make_optimisers(
    model: torch.nn.Module,
    *,
    kind: Literal["adamw", "muon"],
    betas: tuple[float, float],
    weight_decay: float,
    fused: bool,
) -> list[torch.optim.Optimizer]:
    """Optimisers of a model's parameters; their learning rates are set before each step.

    Only the matrices of linear layers decay: biases, gains of norms, tokens and tables do not.
    Muon (Jordan et al., 2024) takes these matrices alone, with steps scaled to the size of AdamW's
    (Liu et al. 2025, arXiv 2502.16982), so that one learning rate serves both.

    Raises:
        ConfigError: this torch has no Muon.
    """
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    of_layers = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Linear)}
    matrices = [parameter for parameter in learned if id(parameter) in of_layers]
    others = [parameter for parameter in learned if id(parameter) not in of_layers]
    if kind == "adamw":
        groups = [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return [torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=fused)]
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(
            f"optimiser.kind = muon: torch {torch.__version__} has none; install torch >= 2.9, or "
            f"give --set optimiser.kind=adamw"
        )
    muon = torch.optim.Muon(
        matrices, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    rest = torch.optim.AdamW(others, lr=0.0, betas=betas, weight_decay=0.0, fused=fused)
    return [muon, rest]


def set_learning_rate(optimisers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Give all parameters the same learning rate."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
