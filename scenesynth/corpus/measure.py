"""What is measured of a clip when it is indexed, and what makes it unusable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.audio import decode, file_digest, highpass, mix_down, pcm_digest
from scenesynth.errors import ClipError

MEASURE_VERSION = 1
"""Raised whenever the same file would be measured otherwise; cached facts are then dropped."""

MIN_DURATION_S = 0.05
MIN_SAMPLE_RATE = 1000
SILENT_PEAK = 1e-5
FULL_SCALE = 0.999

ACTIVE_FRAME_S = 0.01
ACTIVE_RANGE = 1e-4
"""Energy of the quietest active frame over that of the loudest: -40 dB."""
ACTIVE_FLOOR = 1e-8
"""Mean square below which a frame is never active: -80 dB re full scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was measured of a file; see `Clip` for the fields that it keeps.

    Attributes:
        raw_peak: largest magnitude in the file, before mono and high-pass.
        clipped_share: share of samples at or beyond full scale.
        removed_share: share of the energy that is offset or infrasound, and was taken off.
    """

    sample_rate: int
    channels: int
    n_frames: int
    digest: str
    file_digest: str
    peak: float
    rms: float
    active_start_s: float
    active_end_s: float
    raw_peak: float
    clipped_share: float
    removed_share: float


def measure(path: Path) -> Facts:
    """Facts of a file.

    Raises:
        OSError: the file cannot be opened.
        ClipError: it cannot be used; the message is the reason, without the path.
    """
    try:
        audio, sample_rate = decode(path)
    except ClipError as error:
        raise ClipError(str(error).removeprefix(f"{path}: ")) from None
    raw_peak = _refuse(audio, sample_rate)
    mix, offset = mix_down(audio)
    mono = highpass(mix, sample_rate)
    peak = float(max(mono.max(), -mono.min()))
    if peak < SILENT_PEAK:
        raise ClipError(
            f"nothing but offset or infrasound: peak {peak:.1e} above 20 Hz, needs {SILENT_PEAK:g}"
        )
    power = np.square(mono)
    start, stop = active_region(power, sample_rate)
    energy = float(np.square(mix, out=mix).mean()) + offset**2
    return Facts(
        sample_rate=sample_rate,
        channels=audio.shape[1],
        n_frames=audio.shape[0],
        digest=pcm_digest(audio, sample_rate),
        file_digest=file_digest(path),
        peak=peak,
        rms=float(np.sqrt(power[start:stop].mean())),
        active_start_s=start / sample_rate,
        active_end_s=stop / sample_rate,
        raw_peak=raw_peak,
        clipped_share=_clipped_share(audio) if raw_peak >= FULL_SCALE else 0.0,
        removed_share=max(0.0, 1.0 - float(power.mean()) / energy),
    )


def _clipped_share(audio: NDArray[np.float32]) -> float:
    return float(np.mean(np.abs(audio) >= FULL_SCALE))


def _refuse(audio: NDArray[np.float32], sample_rate: int) -> float:
    """Raise where the samples cannot be used, else return their largest magnitude."""
    n_frames = audio.shape[0]
    if n_frames == 0:
        raise ClipError("no samples")
    if sample_rate < MIN_SAMPLE_RATE:
        raise ClipError(f"sample rate {sample_rate} Hz, needs at least {MIN_SAMPLE_RATE}")
    if n_frames < MIN_DURATION_S * sample_rate:
        raise ClipError(
            f"{1000 * n_frames / sample_rate:.1f} ms long, needs {1000 * MIN_DURATION_S:.0f} ms"
        )
    low, high = float(audio.min()), float(audio.max())
    if not np.isfinite(low) or not np.isfinite(high):
        bad = int(np.count_nonzero(~np.isfinite(audio)))
        raise ClipError(f"{bad} of {audio.size} samples are NaN or infinite")
    if low == high == 0.0:
        raise ClipError("digital silence: every sample is zero")
    if all(channel.min() == channel.max() for channel in audio.T):
        raise ClipError("a constant: every sample has the same value")
    return max(high, -low)


def active_region(power: NDArray[np.float64], sample_rate: int) -> tuple[int, int]:
    """First and last-plus-one sample of the active region, from the squared signal [n].

    Frames of 10 ms; a frame is active when its mean square is at most 40 dB below that of the
    loudest frame and above -80 dB re full scale. The region runs from the first active frame to
    the last. A clip whose every frame is below that floor is judged by the 40 dB alone.
    """
    frame = max(1, round(ACTIVE_FRAME_S * sample_rate))
    starts = np.arange(0, len(power), frame)
    means = np.add.reduceat(power, starts) / np.diff(np.append(starts, len(power)))
    loudest = means.max()
    floor = ACTIVE_FLOOR if loudest > ACTIVE_FLOOR else 0.0
    active = np.flatnonzero(means >= max(loudest * ACTIVE_RANGE, floor))
    return int(starts[active[0]]), int(min(starts[active[-1]] + frame, len(power)))
