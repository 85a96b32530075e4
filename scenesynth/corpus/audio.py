"""From a file to the samples that are rendered: decode, mono, high-pass, resample, int16.

Every clip takes this one way, packed or not, so both give the same bits. Samples in use are
`codes * (gain / 32767)` with int16 codes and the peak as gain. Nothing is trimmed: the active
region is recorded instead.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
import xxhash
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from scenesynth.errors import ClipError

HIGHPASS_HZ = 20.0
MIX_FLOOR = 0.1
"""Share of the mean channel energy below which the channels' mean counts as cancelled."""

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A clip ready to be rendered.

    Attributes:
        codes: int16 [n].
        gain: the peak, exact in float32.
    """

    codes: NDArray[np.int16]
    gain: float

    def samples(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Float samples [start, stop) of the clip; to its end by default. Shape: [n]."""
        return self.codes[start:stop].astype(np.float32) * np.float32(self.gain / 32767.0)


def decode(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples float32 [frames, channels] and sample rate of an audio file.

    Raises:
        OSError: the file cannot be opened (a matter of the disk, not of the clip).
        ClipError: the file is open but is no audio that can be decoded.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        gone = "a clip of the corpus is gone; restore it, or give the command again to index anew"
        raise FileNotFoundError(error.errno, gone, str(path)) from None
    try:
        audio, sample_rate = soundfile.read(
            descriptor, dtype="float32", always_2d=True, closefd=True
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise ClipError(f"{path}: cannot be decoded ({error})") from None
    return audio, int(sample_rate)


def pcm_digest(audio: NDArray[np.float32], sample_rate: int) -> str:
    """Digest of decoded samples [frames, channels] with their rate and channel count."""
    hasher = xxhash.xxh3_128(f"{sample_rate} {audio.shape[1]} ".encode())
    hasher.update(np.ascontiguousarray(audio, dtype="<f4").data)
    return hasher.hexdigest()


def file_digest(path: Path) -> str:
    """Digest of a file's bytes."""
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def mix_down(audio: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """One channel [frames] without its offset, and that offset, from samples [frames, channels].

    The mean of the channels; where they cancel, the strongest channel.
    """
    if audio.shape[1] == 1:
        return _centred(audio[:, 0].astype(np.float64))
    channels = [_centred(channel.astype(np.float64)) for channel in audio.T]
    mix = np.add.reduce([wave for wave, _ in channels]) / len(channels)
    energies = [_energy(wave) for wave, _ in channels]
    if _energy(mix) < MIX_FLOOR * sum(energies) / len(energies):
        return channels[int(np.argmax(energies))]
    return mix, sum(offset for _, offset in channels) / len(channels)


def _centred(wave: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    offset = float(wave.mean())
    wave -= offset
    return wave, offset


def _energy(wave: NDArray[np.float64]) -> float:
    return float(np.einsum("n,n->", wave, wave))


def highpass(mix: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Without infrasound: a causal Butterworth high-pass of order 2 at 20 Hz. Shape: [n].

    It starts at rest, so an offset has to be taken off before, or it would be answered by a
    thump; it is causal, so nothing sounds before the clip does.
    """
    return np.asarray(sosfilt(_highpass(sample_rate), mix), dtype=np.float64)


@lru_cache(maxsize=64)
def _highpass(sample_rate: int) -> NDArray[np.float64]:
    return np.asarray(butter(2, HIGHPASS_HZ, "highpass", fs=sample_rate, output="sos"))


def prepare(audio: NDArray[np.float32], rate_in: int, rate_out: int) -> Prepared:
    """Prepare decoded samples [frames, channels] at another rate.

    soxr keeps the time axis: sample n of the result lies at n / rate_out of the file.
    """
    mono = highpass(mix_down(audio)[0], rate_in).astype(np.float32)
    if rate_in != rate_out:
        mono = soxr.resample(mono, rate_in, rate_out, quality="VHQ")
    return quantise(mono)


def quantise(samples: NDArray[np.float32]) -> Prepared:
    """Samples [n] as int16 codes with the peak as gain."""
    peak = float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))
    if peak == 0.0:
        return Prepared(np.zeros(samples.shape, np.int16), 0.0)
    codes = samples * np.float64(32767.0 / peak)
    return Prepared(np.rint(codes, out=codes).astype(np.int16), peak)
