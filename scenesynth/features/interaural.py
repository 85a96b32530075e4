"""Interaural phase and level differences in mel bands.

With L and R the spectra of the ears and m the weights of a band:

- phase: the cross-spectrum is summed over the bins of the band, S = sum m L conj(R), so that bins
  weigh with their energy and phases are averaged on the circle; the features are its cosine and
  sine, Re S / (|S| + eps) and Im S / (|S| + eps). Positive phase: the left ear leads.
- level: 10 log10((sum m |L|^2 + eps) / (sum m |R|^2 + eps)) dB. Positive: the left ear is louder.

Both are positive for a source on the left (the phase where it is below half a period).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scenesynth.features.config import FeatureConfig


def interaural_differences(
    spectra: Tensor, log_mel: Tensor, filters: Tensor, config: FeatureConfig
) -> Tensor:
    """Cosine and sine of the phase difference, and the level difference in dB.

    Args:
        spectra: complex, channels in the order of `config.channel_order`.
            Shape: [batch, 2, bins, frames].
        log_mel: ln(band power + eps) of these channels. Shape: [batch, 2, n_mels, frames].
        filters: weights m. Shape: [n_mels, bins].

    Returns:
        Shape: [batch, 3, n_mels, frames].
    """
    left, right = (config.channel_order.index(ear) for ear in ("left", "right"))
    cross = spectra[:, left] * spectra[:, right].conj()
    real, imag = filters @ cross.real, filters @ cross.imag
    length = torch.hypot(real, imag) + config.ratio_eps
    level_db = (log_mel[:, left] - log_mel[:, right]) * (10.0 / math.log(10.0))
    return torch.stack([real / length, imag / length, level_db], dim=1)
