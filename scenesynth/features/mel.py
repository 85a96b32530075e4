"""Triangular filters on the mel scale of HTK: mel(f) = 2595 log10(1 + f / 700 Hz).

The edges of all bands are equally spaced in mel; each triangle rises from the centre of the band
below to 1 at its own and falls to the centre of the one above, linearly in Hz (The HTK Book,
section 5.6). Filters are not normalised: one weighs bins, and its sum grows with its width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenesynth.errors import ConfigError
from scenesynth.features.config import FeatureConfig


def hz_to_mel(freq_hz: ArrayLike) -> NDArray[np.float64]:
    """2595 log10(1 + f / 700 Hz). Shape: any."""
    mel: NDArray[np.float64] = 2595.0 * np.log10(1.0 + np.asarray(freq_hz, np.float64) / 700.0)
    return mel


def mel_to_hz(mel: ArrayLike) -> NDArray[np.float64]:
    """Inverse of `hz_to_mel`. Shape: any."""
    freq_hz: NDArray[np.float64] = 700.0 * (10.0 ** (np.asarray(mel, np.float64) / 2595.0) - 1.0)
    return freq_hz


def mel_filters(config: FeatureConfig) -> NDArray[np.float64]:
    """Weights of the bins of a spectrum in every band. Shape: [n_mels, n_fft // 2 + 1].

    Raises:
        ConfigError: a band so narrow that no bin falls into it.
    """
    bins_hz = np.fft.rfftfreq(config.n_fft, 1.0 / config.sample_rate)
    ends = hz_to_mel([config.f_min_hz, config.f_max_hz])
    edges_hz = mel_to_hz(np.linspace(ends[0], ends[1], config.n_mels + 2))[:, None]
    below, centre, above = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz - below) / (centre - below)
    falling = (above - bins_hz) / (above - centre)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    empty = np.flatnonzero(filters.sum(axis=1) == 0.0)
    if len(empty):
        band = int(empty[0])
        raise ConfigError(
            f"n_mels = {config.n_mels}: no bin of n_fft = {config.n_fft} falls into band {band} "
            f"({below[band, 0]:.1f} to {above[band, 0]:.1f} Hz, bins are "
            f"{config.sample_rate / config.n_fft:.1f} Hz apart); "
            "use fewer bands or a longer n_fft"
        )
    return filters
