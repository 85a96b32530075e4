"""Intensity vectors of first-order Ambisonics, in the definitions that others use.

For W and A = (X, Y, Z) of a bin, the active intensity is I = Re(conj(W) A). With the channels of
AmbiX it points *to* the source (a plane wave from u has A = u W), in every definition here; as a
flow of energy it would point away. What differs is the divisor, the order of the components and,
for a plane wave, the length:

| name | divisor of I, without epsilon | length, SN3D | source |
| --- | --- | --- | --- |
| gram | (|W|^2 + |A|^2) / 2 | 1 | GRAM-T, ambisonic_feature_extractor.py |
| dcase2020 | (|W|^2 + |A|^2) / 2 | 1 | SELD baselines of DCASE 2020 and 2021 |
| dcase2022 | |W|^2 + |A|^2 / 3 | 0.75 | SELD baselines of DCASE 2022 to 2024 |
| psel | |I| | 1 | PSELDNets |

gram writes its ratio as 2 I / (epsilon + |W|^2 + |A|^2). For channels in N3D (A = sqrt(3) u W) the
lengths would be sqrt(3)/2 but for psel; the store holds SN3D. In a diffuse field |A|^2 = |W|^2.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from scenesynth.features.config import AXES, FeatureConfig


class _Rule(NamedTuple):
    """gain I / (eps + of_w |W|^2 + of_a |A|^2 + of_i |I|)."""

    gain: float
    of_w: float
    of_a: float
    of_i: float = 0.0


_RULES: Final = {
    "gram": _Rule(2.0, 1.0, 1.0),
    "dcase2020": _Rule(1.0, 0.5, 0.5),
    "dcase2022": _Rule(1.0, 1.0, 1.0 / 3.0),
    "psel": _Rule(1.0, 0.0, 0.0, 1.0),
}


def intensity_vectors(spectra: Tensor, power: Tensor, config: FeatureConfig) -> Tensor:
    """Normalised intensity of every bin, components in the order of `AXES`.

    Args:
        spectra: complex, channels in the order of `config.channel_order`.
            Shape: [batch, 4, bins, frames].
        power: |spectra|^2, same shape.

    Returns:
        Shape: [batch, 3, bins, frames].
    """
    rule = _RULES[config.intensity]
    at = config.channel_order.index
    omni = at("W")
    axes = [at(axis.upper()) for axis in AXES[config.intensity]]
    intensity = (spectra[:, omni : omni + 1].conj() * spectra[:, axes]).real
    of_w = power[:, omni : omni + 1]
    divisor = rule.of_w * of_w + rule.of_a * (power.sum(1, keepdim=True) - of_w)
    if rule.of_i:
        divisor = divisor + rule.of_i * torch.linalg.vector_norm(intensity, dim=1, keepdim=True)
    return rule.gain * intensity / (divisor + config.ratio_eps)
