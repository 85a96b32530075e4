"""Log-mel spectra of a scene's channels, as the front end of a model sees them, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from scenesynth.features.config import FeatureConfig
from scenesynth.features.mel import hz_to_mel, mel_filters
from scenesynth.plots.text import drawable, hertz

RANGE_DB = 80.0
STEP_DB = 2.0
"""Levels are drawn in steps of this, so that a picture in a page is small."""

N_MELS = 64
COLUMNS = 480
"""At most about so many points in time; of more, the mean of neighbours is drawn."""

WINDOW_S = 0.03
F_MIN_HZ = 50.0
GAP = 0.09
"""Share of a channel's height that is left free between it and the next."""

_TICKS_HZ = (250, 1000, 4000, 12000)


@lru_cache(maxsize=4)
def _filters(sample_rate: int) -> NDArray[np.float32]:
    """Shape: [bins, mels]."""
    n_fft = 2 ** int(np.ceil(np.log2(max(WINDOW_S * sample_rate, 32))))
    config = FeatureConfig(
        input="mono",
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop=n_fft // 2,
        n_mels=N_MELS,
        f_min_hz=F_MIN_HZ,
        f_max_hz=sample_rate / 2,
    )
    return mel_filters(config).T.astype(np.float32)


def mel_levels(
    audio: NDArray[np.float32], sample_rate: int
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Level of mel bands over time, in dB re the highest of all channels.

    Args:
        audio: Shape: [channels, samples].

    Returns:
        Shape: [channels, mels, columns]; and the times in seconds at which the first column begins
        and the last one ends.
    """
    filters = _filters(sample_rate)
    n_fft = 2 * (len(filters) - 1)
    hop = max(1, min(n_fft // 2, audio.shape[1] // COLUMNS))
    n_frames = 1 + audio.shape[1] // hop
    together = -(-n_frames // COLUMNS)
    n_columns = -(-n_frames // together)
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    padded = np.pad(audio, ((0, 0), (n_fft // 2, n_fft // 2 + hop)))
    power = np.zeros((len(audio), n_columns * together, N_MELS), np.float32)
    for channel, levels in zip(padded, power, strict=True):
        frames = np.lib.stride_tricks.sliding_window_view(channel, n_fft)[::hop][:n_frames]
        spectra = scipy.fft.rfft(frames * window, axis=1)
        levels[: len(spectra)] = (spectra.real**2 + spectra.imag**2) @ filters
    pooled = power.reshape(len(audio), n_columns, together, N_MELS).mean(axis=2)
    decibels = 10 * np.log10(np.maximum(pooled / (float(pooled.max()) or 1.0), 1e-12))
    step_s = hop / sample_rate
    ends = (-0.5 * step_s, (n_columns * together - 0.5) * step_s)
    return np.asarray(decibels.transpose(0, 2, 1)), ends


def draw_mel(
    axes: Axes, audio: NDArray[np.float32], sample_rate: int, names: Sequence[str]
) -> AxesImage:
    """A spectrum over time per channel, one below the other on one colour scale.

    All are in the same axes, from 0 down to minus the number of channels, which takes a fraction of
    the time of axes for each.

    Args:
        audio: channels to be drawn. Shape: [channels, samples].

    Returns:
        The last of the images, for its scale.
    """
    levels, ends_s = mel_levels(audio, sample_rate)
    stepped = STEP_DB * np.round(np.maximum(levels, -RANGE_DB) / STEP_DB)
    low, high = hz_to_mel([F_MIN_HZ, sample_rate / 2])
    ticks_hz = [freq_hz for freq_hz in _TICKS_HZ if freq_hz < 0.9 * sample_rate / 2]
    within = (1 - GAP) * (hz_to_mel(ticks_hz) - low) / (high - low) + GAP
    beside: dict[str, Any] = {"ha": "right", "va": "center", "fontweight": "bold", "fontsize": 9}
    for n, (channel, name) in enumerate(zip(stepped, names, strict=True)):
        image = axes.imshow(
            channel,
            origin="lower",
            aspect="auto",
            extent=(*ends_s, GAP - n - 1, -n),
            cmap="magma",
            vmin=-RANGE_DB,
            vmax=0,
            interpolation="none",
        )
        middle = (-0.072, (n + 0.5 * (1 - GAP)) / (len(names) - GAP))
        at: dict[str, Any] = {
            "xycoords": "axes fraction",
            "annotation_clip": False,
            "parse_math": False,
        }
        axes.annotate(drawable(name, 8), (middle[0], 1 - middle[1]), **at, **beside)
    places = np.concatenate([within - n - 1 for n in range(len(names))])
    axes.set_yticks(places, [hertz(f) for f in ticks_hz] * len(names), fontsize=7.5)
    axes.set_ylim(GAP - len(names), 0)
    axes.spines[:].set_visible(False)
    return image
