"""Plane-wave responses of a receiver, in sums whose bytes do not depend on a BLAS's threads.

A library for matrices shares a large product between its threads and rounds it otherwise for
every number of them. Products here go over blocks of directions too small to be shared, and the
blocks are added in order; so a filter is the same wherever it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.spatial.ambisonics import spherical_harmonics

_BLOCK = 64

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Responses, harmonics and weights in blocks of directions, the last one filled with zeros.

    Attributes:
        spectra: real at both ends. Shape: [frequencies, blocks, directions, channels].
        harmonics: SN3D. Shape: [blocks, directions, (order + 1)^2].
        share: of the sphere; sums to 1. Shape: [blocks, directions].
        order: of the harmonics.
    """

    spectra: Complex
    harmonics: Real
    share: Real
    order: int

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return int(self.spectra.shape[3])

    def covariance(self) -> Complex:
        """Of the channels in a diffuse field of unit power in W. Shape: [f, channels, channels]."""
        weighted = np.sqrt(self.share)[:, :, None] * self.spectra
        return np.array([np.sum(np.swapaxes(h, 1, 2) @ h.conj(), axis=0) for h in weighted])

    def rms(self) -> Real:
        """Over directions and channels. Shape: [frequencies]."""
        power = np.mean(self.spectra.real**2 + self.spectra.imag**2, axis=3)
        return np.asarray(np.sqrt(np.sum(self.share * power, axis=(1, 2))))

    def heard(self, gains: Complex) -> Complex:
        """What gains make of waves from each direction. Shapes: [channels, K], `spectra[f]`'s."""
        columns = np.ascontiguousarray(gains.T).view(np.float64)
        return (self.harmonics @ columns).view(np.complex128)

    def projected(self, values: Complex) -> Complex:
        """Mean over the sphere of values times harmonics. Shapes: `spectra[f]`'s, [channels, K]."""
        weighted = np.swapaxes(self.harmonics * self.share[:, :, None], 1, 2)
        parts = weighted @ np.ascontiguousarray(values).view(np.float64)
        return np.ascontiguousarray(np.sum(parts, axis=0)).view(np.complex128).T

    def gram(self) -> Real:
        """Mean over the sphere of harmonics times harmonics. Shape: [K, K]."""
        weighted = np.swapaxes(self.harmonics * self.share[:, :, None], 1, 2)
        return np.asarray(np.sum(weighted @ self.harmonics, axis=0))


def receiver(
    responses: NDArray[np.complexfloating],
    directions: NDArray[np.floating],
    weights: NDArray[np.floating],
    order: int,
) -> Receiver:
    """The receiver of these responses, for fits up to `order`.

    At half the sample rate, where a spectrum has to be real, the magnitude is kept with the sign
    of the real part.

    Args:
        responses: Shape: [n, channels, frequencies].
        directions: that the waves come from, unit vectors. Shape: [n, 3].
        weights: area that each direction stands for, in any unit. Shape: [n].

    Raises:
        ConfigError: shapes that do not fit, directions too few or with too large a gap for the
            order.
    """
    if (
        responses.ndim != 3
        or directions.shape != (len(responses), 3)
        or len(weights) != len(responses)
    ):
        raise ConfigError(
            f"responses {responses.shape}, directions {directions.shape} and weights "
            f"{weights.shape} do not fit; must be [n, channels, frequencies], [n, 3] and [n]"
        )
    spectra = np.ascontiguousarray(np.moveaxis(responses, -1, 0), dtype=np.complex128)
    spectra[0] = spectra[0].real
    spectra[-1] = np.copysign(np.abs(spectra[-1]), spectra[-1].real)
    harmonics = spherical_harmonics(directions, order)
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    made = Receiver(
        spectra=_blocks(spectra, 1),
        harmonics=_blocks(harmonics, 0),
        share=_blocks(share, 0),
        order=order,
    )
    norm = np.sqrt(2 * degrees(order) + 1)
    least = float(np.linalg.eigvalsh(made.gram() * norm[:, None] * norm)[0])
    if least < 0.1:
        raise ConfigError(
            f"{len(responses)} directions hardly tell the {len(norm)} harmonics of order {order} "
            f"apart (least eigenvalue {least:.2g} where an even grid has 1); fill the gap between "
            f"them, give more, or lower the order"
        )
    return made


def degrees(order: int) -> Real:
    """Degree l of each channel. Shape: [(order + 1)^2]."""
    return np.repeat(np.arange(order + 1.0), 2 * np.arange(order + 1) + 1)


def _blocks(array: NDArray[Any], axis: int) -> NDArray[Any]:
    n_missing = -array.shape[axis] % _BLOCK
    pad = [(0, n_missing if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, pad).reshape(*array.shape[:axis], -1, _BLOCK, *array.shape[axis + 1 :])
