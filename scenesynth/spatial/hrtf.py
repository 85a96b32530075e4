"""A measured head: HRIRs at directions all around it, and what lies between them.

Interpolation: every response is advanced by its own onset, three neighbours are added with
barycentric weights, and the sum is delayed by the onset that the same weights give. On a measured
direction that is the measurement.

Conventions. Left ear first. Time 0 is when the sound passes the place of the head's centre, were
the head not there; responses begin at `start_s`, which is negative. The level is such that pink
noise between 200 Hz and 8 kHz from all around is as strong at the ears (mean of both) as it would
be in an omnidirectional microphone at the head's centre.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.spatial.head_grid import Grid, build_grid

HEAD_RADIUS_M: Final = 0.0875
SPEED_OF_SOUND: Final = 343.0
LEVEL_BAND_HZ: Final = (200.0, 8000.0)

_AROUND = 64
"""Zeros before and after a response, in samples of the lower rate: room for a filter's ringing."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Interpolation:
    """How the responses of directions follow from rows of `aligned_spectra`.

    Shapes: rows and weights [directions, 2 ears, 3], delay_s [directions, 2 ears].
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    delay_s: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class MeasuredHead:
    """HRIRs of a head.

    Attributes:
        digest: of the set's arrays, the first 32 digits of their SHA-256.
        directions: unit vectors the sound comes from. Shape: [n, 3].
        hrir: Shape: [n, 2, taps].
        delay_s: onset at each ear (-15 dB of the peak), from time 0. Shape: [n, 2].
        start_s: time of the first tap.
    """

    id: str
    digest: str
    sample_rate: int
    directions: NDArray[np.float64]
    hrir: NDArray[np.float32]
    delay_s: NDArray[np.float64]
    start_s: float

    @property
    def n_taps(self) -> int:
        """Length of the responses in samples; spectra need at least as many points."""
        return int(self.hrir.shape[2])

    @cached_property
    def grid(self) -> Grid:
        """Mesh of the directions."""
        return build_grid(self.directions)

    @cached_property
    def _vertex_delay_s(self) -> NDArray[np.float64]:
        return np.concatenate([self.delay_s, self.grid.fill @ self.delay_s])

    def at_rate(self, sample_rate: int) -> MeasuredHead:
        """The head at another sample rate, band-limited; itself at its own."""
        return self if sample_rate == self.sample_rate else _resampled(self, sample_rate)

    def aligned_spectra(self, n_fft: int) -> NDArray[np.complex128]:
        """Spectra of all vertices, advanced by their onsets. Shape: [2 vertices + ear, bins]."""
        spectra = scipy.fft.rfft(self.hrir.astype(np.float64), n=n_fft, axis=2, workers=1)
        turns = scipy.fft.rfftfreq(n_fft, 1.0 / self.sample_rate)
        spectra *= np.exp(2j * np.pi * turns * (self.delay_s - self.start_s)[:, :, None])
        filled = np.einsum("fn,neb->feb", self.grid.fill, spectra)
        return np.concatenate([spectra, filled]).reshape(-1, spectra.shape[2])

    def interpolation(self, directions: NDArray[np.float64]) -> Interpolation:
        """Neighbours, weights and onsets of directions. Shape of `directions`: [n, 3]."""
        vertices, weights, _ = self.grid.surround(directions)
        delays = self._vertex_delay_s[vertices] * weights[:, :, None]
        return Interpolation(
            rows=2 * vertices[:, None, :] + np.arange(2)[:, None],
            weights=np.repeat(weights[:, None, :], 2, axis=1),
            delay_s=delays[:, 0] + delays[:, 1] + delays[:, 2],
        )


@lru_cache(maxsize=8)
def _resampled(head: MeasuredHead, sample_rate: int) -> MeasuredHead:
    """Band-limited by soxr, with the level of the spectrum kept."""
    import soxr

    n, _, taps = head.hrir.shape
    ratio = head.sample_rate / sample_rate
    around = math.ceil(_AROUND * max(1.0, ratio))
    columns = np.pad(
        head.hrir.reshape(2 * n, taps).T.astype(np.float64), ((around, around), (0, 0))
    )
    rows = soxr.resample(columns, head.sample_rate, sample_rate, quality="VHQ").T * ratio
    return replace(
        head,
        sample_rate=sample_rate,
        hrir=np.ascontiguousarray(rows.reshape(n, 2, -1), dtype=np.float32),
        start_s=head.start_s - around / head.sample_rate,
    )


def head_of(arrays: dict[str, NDArray[Any]], id: str) -> MeasuredHead:
    """The head that the arrays of a set hold (see `head_measure.arrays_of`)."""
    low, high = arrays["samples"].astype(np.uint16)
    samples = (low | (high << 8)).view(np.int16)
    scale = arrays["scale"].astype(np.float64) * float(arrays["gain"])
    rate = int(arrays["sample_rate"])
    return MeasuredHead(
        id=id,
        digest=arrays_sha256(arrays)[:32],
        sample_rate=rate,
        directions=unit(arrays["directions"]),
        hrir=(samples * scale[:, :, None]).astype(np.float32),
        delay_s=arrays["delay_10ns"] * 1e-8,
        start_s=-int(arrays["lead"]) / rate,
    )


def arrays_sha256(arrays: dict[str, NDArray[Any]]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {value.dtype.str} {arrays[name].shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def unit(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1. Shape: [n, 3]."""
    return np.asarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def diffuse_gain(power: NDArray[np.float64], freq_hz: NDArray[np.float64]) -> float:
    """Gain that gives a diffuse-field power spectrum the mean 1 over the logarithm of frequency."""
    inside = (freq_hz >= LEVEL_BAND_HZ[0]) & (freq_hz <= LEVEL_BAND_HZ[1])
    mean = np.average(power[inside], weights=1.0 / freq_hz[inside])
    return float(1.0 / np.sqrt(mean))
