"""A scene as a wav that any player opens.

The only place with a clipping policy: where the peak exceeds full scale, one gain for all channels
brings it to 0.999, so directions and ratios stay as they are; otherwise samples are untouched.
Ambisonics is written as AmbiX (ACN order, SN3D), 24 bits.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from scenesynth.store.local import replace_file

CEILING = 0.999


def export_gain(audio: NDArray[np.float32]) -> float:
    """1.0, or the gain that brings a peak above full scale down to `CEILING`."""
    peak = float(np.max(np.abs(audio), initial=0.0))
    return 1.0 if peak <= 1.0 else CEILING / peak


def write_wav(path: Path, audio: NDArray[np.float32], sample_rate: int) -> float:
    """Write `audio` [channels, samples] as 24-bit wav; return the gain that was applied."""
    gain = export_gain(audio)
    file = io.BytesIO()  # libsndfile does not say what is wrong with a disk
    samples = (audio * np.float32(gain)).T
    soundfile.write(file, samples, sample_rate, format="WAV", subtype="PCM_24")
    replace_file(path, file.getvalue())
    return gain
