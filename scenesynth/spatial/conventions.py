"""Ambisonic conventions of other people's files, and the way from them to ACN SN3D and back.

| name | channel order | first order over W, for a plane wave along its axis |
| --- | --- | --- |
| acn-sn3d | W Y Z X, then ACN | 1 |
| acn-n3d | W Y Z X, then ACN | sqrt 3 |
| fuma | W X Y Z, R S T U V, K L M N O P Q | sqrt 2 (maxN, W times 1 / sqrt 2; up to order 3) |
| wxyz-sn3d | W X Y Z | 1 (order 1 only: an omni and three figures of eight) |

DCASE and STARSS, as we, are acn-sn3d. Responses of SoundSpaces and RLR, and with them GRAM's, are
acn-n3d (sound-spaces issue 58; found in RLR's output); the comments in GRAM's first code call their
channels W X Y Z. GRAM's clockwise azimuths are `scenesynth.scene.geometry`'s matter.
"""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError

Convention = Literal["acn-sn3d", "acn-n3d", "fuma", "wxyz-sn3d"]
AMBISONIC_CONVENTIONS: Final[tuple[Convention, ...]] = get_args(Convention)

_FUMA_ACN = (0, 3, 1, 2, 6, 7, 5, 8, 4, 12, 13, 11, 14, 10, 15, 9)
"""ACN of W, X Y Z, R S T U V, K L M N O P Q."""

_FUMA_WEIGHT = (
    *(math.sqrt(0.5), 1.0, 1.0, 1.0),
    *(1.0, *(4 * (2 / math.sqrt(3),))),
    *(1.0, *(2 * (math.sqrt(45 / 32),)), *(2 * (3 / math.sqrt(5),)), *(2 * (math.sqrt(8 / 5),))),
)
"""maxN over SN3D, in the same order (Malham's higher-order weights)."""


def ambisonic_order(n_channels: int) -> int | None:
    """Order of a full-sphere signal of so many channels, or None if there is no such order."""
    order = math.isqrt(max(n_channels, 1)) - 1
    return order if (order + 1) ** 2 == n_channels else None


def to_acn_sn3d(convention: Convention, n_channels: int) -> NDArray[np.float64]:
    """Matrix that turns channels of a convention into ACN SN3D. Shape: [channels, channels].

    Raises:
        ConfigError: a number of channels that the convention does not have.
    """
    order = ambisonic_order(n_channels)
    highest = {"fuma": 3, "wxyz-sn3d": 1}.get(convention, 99)
    if order is None or order > highest:
        counts = [str((n + 1) ** 2) for n in range(min(highest, 7) + 1)]
        raise ConfigError(
            f"{n_channels} channels are no Ambisonics in {convention}; it has {', '.join(counts)}"
        )
    degree = np.repeat(np.arange(order + 1), 2 * np.arange(order + 1) + 1)
    if convention == "acn-sn3d":
        return np.eye(n_channels)
    if convention == "acn-n3d":
        return np.diag(1 / np.sqrt(2 * degree + 1))
    weight = np.array(_FUMA_WEIGHT if convention == "fuma" else (1.0, 1.0, 1.0, 1.0))
    matrix = np.zeros((n_channels, n_channels))
    for channel in range(n_channels):
        matrix[_FUMA_ACN[channel], channel] = 1 / weight[channel]
    return matrix


def from_acn_sn3d(convention: Convention, n_channels: int) -> NDArray[np.float64]:
    """Matrix that turns ACN SN3D into channels of a convention. Shape: [channels, channels].

    Raises:
        ConfigError: a number of channels that the convention does not have.
    """
    return np.asarray(np.linalg.inv(to_acn_sn3d(convention, n_channels)), dtype=np.float64)
