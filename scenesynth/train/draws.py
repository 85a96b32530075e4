"""What is random in a step: where windows begin and which patches are hidden.

Every clip of a step has a generator of its own, made from (seed, step, number of the clip in the
global batch). So a step does not depend on how many processes share it, how they cut it up, what
was drawn before, or where a run was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from scenesynth.seeds import rng


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Random numbers of some clips of a step.

    Attributes:
        places: float64 [clips, windows] on [0, 1): where windows begin.
        noise: float32 [clips, windows, patches] on [0, 1): which patches are hidden.
    """

    places: torch.Tensor
    noise: torch.Tensor

    def to(self, device: torch.device) -> Draws:
        """The same on a device."""
        return Draws(
            places=self.places.to(device, non_blocking=True),
            noise=self.noise.to(device, non_blocking=True),
        )


def draw(
    seed: int, purpose: str, step: int, clips: Sequence[int], windows: int, patches: int
) -> Draws:
    """Random numbers for the clips with these numbers in the global batch of a step.

    Args:
        purpose: "train" or "validation", which share none.
    """
    places, noise = [], []
    for clip in clips:
        units = rng(seed, "", f"train.{purpose}", index=step, slot=clip).units(
            windows * (1 + patches)
        )
        places.append(units[:windows])
        noise.append(units[windows:].astype(np.float32).reshape(windows, patches))
    return Draws(places=torch.from_numpy(np.stack(places)), noise=torch.from_numpy(np.stack(noise)))


def cut_windows(
    features: torch.Tensor, places: torch.Tensor, valid: torch.Tensor, frames: int
) -> torch.Tensor:
    """Windows of features, clip by clip.

    Shapes: features [B, C, mels, T], places [B, K] on [0, 1), valid [B] (frames that belong to the
    scene) -> [B * K, C, mels, frames]. A clip that is valid for less than a window begins it.
    """
    choices = (valid - frames + 1).clamp(min=1)
    starts = (places * choices[:, None]).long()
    at = starts[:, :, None] + torch.arange(frames, device=features.device)
    clip = torch.arange(len(features), device=features.device)[:, None, None]
    windows = features.permute(0, 3, 1, 2)[clip, at]
    return windows.permute(0, 1, 3, 4, 2).flatten(0, 1)
