"""The direct sound and the first reflections, one by one.

Summed into Ambisonic channels they can no longer be told apart; ears and microphones hear each of
them through its own exact response (`scenesynth.acoustics.project`), and stems take the direct
sound for itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.arrivals import AxisTable
from scenesynth.acoustics.grids import band_edge, band_weights

REFLECTIONS: Final = 2
"""Arrivals of so many reflections at most are early: 25 of a box. Displacement spares them."""


def window_length(sample_rate: int, seconds: float) -> int:
    """Length of a window for `sum_of_early`: a power of two that lasts for `seconds` at least."""
    return 1 << math.ceil(math.log2(seconds * sample_rate))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Early:
    """Arrivals at the listener's place; the first one is the direct sound.

    Attributes:
        delay_s: after emission. Shape: [n].
        direction: unit vectors, the listener's frame. Shape: [n, 3].
        amplitude: per band. Shape: [n, bands].
        band_hz: the bands.
    """

    delay_s: NDArray[np.float64]
    direction: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    band_hz: tuple[float, ...]

    @property
    def direct(self) -> Early:
        """The direct sound alone."""
        return replace(
            self,
            delay_s=self.delay_s[:1],
            direction=self.direction[:1],
            amplitude=self.amplitude[:1],
        )

    def turned(self, rotation: NDArray[np.float64]) -> Early:
        """As heard by a listener who turns; see `scenesynth.acoustics.project.turned`."""
        return replace(self, direction=self.direction @ rotation)


Responses = Callable[[NDArray[np.float64], int], NDArray[np.complexfloating]]
"""Directions [n, 3] and the length of a transform to spectra [n, channels, bins], time 0 being
the arrival at the listener's place."""


def early_of_box(
    tables: tuple[AxisTable, AxisTable, AxisTable],
    *,
    radius_m: float,
    rotation: NDArray[np.float64],
    attenuation_per_m: NDArray[np.float64],
    speed_of_sound_mps: float,
    band_hz: tuple[float, ...],
    directivity: NDArray[np.float64] | None = None,
    fade_m: tuple[float, float] | None = None,
) -> Early:
    """Early arrivals among the images of a box, as `spread_cpu.channel_spectra` has them."""
    x, y, z = (_few(table) for table in tables)
    hits = (
        np.abs(x.index)[:, None, None]
        + np.abs(y.index)[None, :, None]
        + np.abs(z.index)[None, None, :]
    )
    i, j, k = np.nonzero(hits <= REFLECTIONS)
    offset_m = np.stack([x.offset_m[i], y.offset_m[j], z.offset_m[k]], axis=1)
    distance_m = np.sqrt(np.sum(offset_m**2, axis=1))
    gain = np.exp(-0.5 * attenuation_per_m * distance_m[:, None]) / distance_m[:, None]
    gain *= (x.amplitude[i] * y.amplitude[j] * z.amplitude[k])[:, : len(band_hz)]
    if directivity is not None:
        parts = [t.facing_m for t in (x, y, z) if t.facing_m is not None]
        cosine = (parts[0][i] + parts[1][j] + parts[2][k]) / distance_m
        gain *= np.polynomial.polynomial.polyval(cosine, directivity.T).T
    end_m = radius_m
    if fade_m is not None:
        start_m, end_m = fade_m[0], min(radius_m, fade_m[1])
        left = np.clip((fade_m[1] - distance_m) / (fade_m[1] - start_m), 0.0, 1.0)
        gain *= np.sqrt(left)[:, None]
    near = np.flatnonzero(distance_m <= end_m)
    # The direct sound lies nearest; images of one distance keep the order of their indices.
    near = near[np.argsort(distance_m[near], kind="stable")]
    return Early(
        delay_s=distance_m[near] / speed_of_sound_mps,
        direction=(offset_m / distance_m[:, None])[near] @ rotation,
        amplitude=gain[near],
        band_hz=band_hz,
    )


def _few(table: AxisTable) -> AxisTable:
    """The images of so few reflections along one axis."""
    few = np.abs(table.index) <= REFLECTIONS
    return AxisTable(
        offset_m=table.offset_m[few],
        amplitude=table.amplitude[few],
        index=table.index[few],
        facing_m=None if table.facing_m is None else table.facing_m[few],
    )


def sum_of_early(
    early: Early,
    responses: Responses,
    *,
    sample_rate: int,
    n_samples: int,
    window: int,
) -> NDArray[np.float32]:
    """Every arrival through the response of its direction.

    Each is made by itself in a window around its arrival, so that transforms are short and no
    arrival depends on another one.

    Args:
        responses: what a direction means to the channels.
        window: even length in samples, half of it before the arrival.

    Returns:
        Shape: [channels, n_samples].
    """
    spectra = arrival_spectra(early, responses, sample_rate=sample_rate, window=window)
    pieces, first = arrival_pieces(spectra, early.delay_s * sample_rate)
    out = np.zeros((pieces.shape[1], n_samples + window), np.float32)
    for piece, start in zip(pieces, first, strict=True):
        if start < n_samples:
            out[:, start : start + window] += piece
    return np.ascontiguousarray(out[:, window // 2 : window // 2 + n_samples])


def arrival_spectra(
    early: Early, responses: Responses, *, sample_rate: int, window: int
) -> NDArray[np.complexfloating]:
    """Every arrival by itself, as if at time 0. Shape: [n, channels, window / 2 + 1]."""
    pulses = np.zeros((len(early.amplitude), window // 2 + 1))
    for amplitude, weights in zip(
        early.amplitude.T, _weights(sample_rate, window, early.band_hz), strict=True
    ):
        pulses += amplitude[:, None] * weights
    return np.asarray(responses(early.direction, window) * pulses[:, None])


def arrival_pieces(
    spectra: NDArray[np.complexfloating], at: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Arrivals of `arrival_spectra` at times in samples, each in its window.

    Returns:
        Windows [n, channels, window], and how much later than half a window before time 0 each
        begins, in samples.
    """
    window = 2 * (spectra.shape[2] - 1)
    first = np.floor(at).astype(np.int64)
    turns = np.arange(window // 2 + 1) / window * ((at - first) + window // 2)[:, None]
    placed = (spectra * np.exp(-2j * np.pi * turns)[:, None]).astype(np.complex64)
    return scipy.fft.irfft(placed, n=window, axis=2, workers=1), first


@lru_cache(maxsize=16)
def _weights(sample_rate: int, window: int, band_hz: tuple[float, ...]) -> NDArray[np.float64]:
    """Of the bands at the bins of a window, with the edge before Nyquist. Shape: [bands, bins]."""
    freq_hz = np.arange(window // 2 + 1, dtype=np.float64) * (sample_rate / window)
    weights = band_weights(freq_hz, band_hz) * band_edge(freq_hz, sample_rate)[:, None]
    return np.ascontiguousarray(weights.T)
