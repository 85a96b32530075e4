"""Matrices of finite impulse responses: made from spectra, and put to use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
from numpy.typing import NDArray

from scenesynth.errors import ConfigError

_LEAD = 1 / 4
_FADE = 1 / 8
_JUDGED = 0.9
"""Part of the taps before time zero, part that fades at each end, part of the band judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirMatrix:
    """Filters between channels: output o is the sum over inputs i of taps[o, i] * i.

    Attributes:
        taps: float32. Shape: [outputs, inputs, taps].
        lead: taps before time zero, to be taken off the start of what is filtered.
        truncation_db: energy of what the window changed in the spectra over all their energy, up
            to 0.9 of half the sample rate, for the output where it is most.
    """

    taps: NDArray[np.float32]
    lead: int
    truncation_db: float

    def filtered(self, audio: NDArray[np.floating]) -> NDArray[np.float32]:
        """`audio` through the filters, as long as it was. Shapes: [inputs, n], [outputs, n]."""
        if audio.ndim != 2 or len(audio) != self.taps.shape[1]:
            raise ConfigError(
                f"audio has shape {audio.shape}; these filters take [{self.taps.shape[1]}, samples]"
            )
        span = slice(self.lead, self.lead + audio.shape[1])
        rows = [
            sum(scipy.signal.oaconvolve(x, h) for x, h in zip(audio, row, strict=True))
            for row in self.taps
        ]
        return np.ascontiguousarray(np.array(rows)[:, span], dtype=np.float32)


def fir_matrix(spectra: NDArray[np.complexfloating], taps: int | None) -> FirMatrix:
    """Filters with these spectra, cut to `taps` from a quarter of them before time zero on.

    A raised cosine fades the first eighth and the last.

    Args:
        spectra: on the bins of a real transform of even length. Shape: [bins, outputs, inputs].
        taps: by default half the transform.

    Raises:
        ConfigError: `taps` below 8 or above the transform's length.
    """
    n_fft = 2 * (len(spectra) - 1)
    taps = n_fft // 2 if taps is None else taps
    if not 8 <= taps <= n_fft:
        raise ConfigError(f"taps = {taps}; must lie in [8, {n_fft}], the length of the transform")
    lead = round(_LEAD * taps)
    window = np.ones(taps)
    n_fade = round(_FADE * taps)
    fade = np.sin(np.pi / 2 * (np.arange(n_fade) + 0.5) / n_fade) ** 2
    window[:n_fade], window[taps - n_fade :] = fade, fade[::-1]
    whole = np.roll(scipy.fft.irfft(spectra, n_fft, axis=0), lead, axis=0)
    cut = whole[:taps] * window[:, None, None]
    whole[:taps] -= cut
    n_judged = round(_JUDGED * len(spectra))
    lost, all_energy = (
        np.sum(np.abs(s[:n_judged]) ** 2, axis=(0, 2))
        for s in (scipy.fft.rfft(whole, axis=0), spectra)
    )
    return FirMatrix(
        taps=np.ascontiguousarray(np.moveaxis(cut, 0, -1), dtype=np.float32),
        lead=lead,
        truncation_db=float(10 * np.log10(np.max(lost / np.maximum(all_energy, 1e-300)) + 1e-30)),
    )
