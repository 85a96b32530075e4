"""What is measured of a clip when it is indexed, and what makes it unusable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scenesynth.corpus.audio import clean_mono, decode, file_digest, pcm_digest
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
    _refuse(audio, sample_rate)
    mono = clean_mono(audio, sample_rate)
    peak = float(np.abs(mono).max())
    if peak < SILENT_PEAK:
        raise ClipError(
            f"nothing but offset or infrasound: peak {peak:.1e} above 20 Hz, needs {SILENT_PEAK:g}"
        )
    start, stop = active_region(mono, sample_rate)
    magnitude = np.abs(audio)
    energy_in = float(np.mean(np.square(audio, dtype=np.float64)))
    energy_kept = float(mono @ mono) / len(mono)
    return Facts(
        sample_rate=sample_rate,
        channels=audio.shape[1],
        n_frames=audio.shape[0],
        digest=pcm_digest(audio, sample_rate),
        file_digest=file_digest(path),
        peak=peak,
        rms=float(np.sqrt(np.mean(np.square(mono[start:stop])))),
        active_start_s=start / sample_rate,
        active_end_s=stop / sample_rate,
        raw_peak=float(magnitude.max()),
        clipped_share=float(np.mean(magnitude >= FULL_SCALE)),
        removed_share=_removed_share(audio, mono, energy_in, energy_kept),
    )


def _removed_share(
    audio: NDArray[np.float32], mono: NDArray[np.float64], energy_in: float, energy_kept: float
) -> float:
    # Only one channel tells apart what the high-pass took from what the mixing took.
    if audio.shape[1] > 1:
        mixed = audio.mean(axis=1, dtype=np.float64)
        energy_in = max(float(mixed @ mixed) / len(mono), energy_kept)
    return max(0.0, 1.0 - energy_kept / energy_in)


def _refuse(audio: NDArray[np.float32], sample_rate: int) -> None:
    n_frames = audio.shape[0]
    if n_frames == 0:
        raise ClipError("no samples")
    if sample_rate < MIN_SAMPLE_RATE:
        raise ClipError(f"sample rate {sample_rate} Hz, needs at least {MIN_SAMPLE_RATE}")
    if n_frames < MIN_DURATION_S * sample_rate:
        raise ClipError(
            f"{1000 * n_frames / sample_rate:.1f} ms long, needs {1000 * MIN_DURATION_S:.0f} ms"
        )
    if bad := int(np.count_nonzero(~np.isfinite(audio))):
        raise ClipError(f"{bad} of {audio.size} samples are NaN or infinite")
    if not audio.any():
        raise ClipError("digital silence: every sample is zero")
    if np.all(audio == audio[0]):
        raise ClipError("a constant: every sample has the same value")


def active_region(mono: NDArray[np.float64], sample_rate: int) -> tuple[int, int]:
    """First and last-plus-one sample of the active region of a signal [n].

    Frames of 10 ms; a frame is active when its mean square is at most 40 dB below that of the
    loudest frame and above -80 dB re full scale. The region runs from the first active frame to
    the last. A clip whose every frame is below that floor is judged by the 40 dB alone.
    """
    frame = max(1, round(ACTIVE_FRAME_S * sample_rate))
    starts = np.arange(0, len(mono), frame)
    power = np.add.reduceat(np.square(mono), starts) / np.diff(np.append(starts, len(mono)))
    loudest = power.max()
    floor = ACTIVE_FLOOR if loudest > ACTIVE_FLOOR else 0.0
    active = np.flatnonzero(power >= max(loudest * ACTIVE_RANGE, floor))
    return int(starts[active[0]]), int(min(starts[active[-1]] + frame, len(mono)))
