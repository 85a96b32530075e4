"""How long a stored scene's reverberation decays, in relation to what its spec gives.

What a target sounds like is the sum of what it plays through each stretch of its response. The
gains of those sums that explain the audio best are all 1 where the response is that of the spec;
where it decays more slowly they grow with the delay, as exp(d t), and

    1 / T' = 1 / T - d / ln(1000).

This needs no impulse, and any number of emitters may sound at once. Noise is one more summand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.stats import theilslopes

EDGES_S: Final = (0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.55, 0.7, 0.9, 1.2, 1.6, 2.2)
"""Stretches of a response after its direct sound."""

LEAST_STRETCHES: Final = 3
SURE: Final = 5.0
"""Gain over its standard error of a stretch that counts."""

Signal = NDArray[np.float32]


def decay_ratio(
    heard: Signal,
    dry: Sequence[Signal],
    responses: Sequence[Signal],
    delays_s: Sequence[float],
    noise: Signal,
    *,
    t60_s: float,
    sample_rate: int,
) -> float | None:
    """T'/T of one channel; None where too little is heard of the reverberation.

    Args:
        heard: Shape: [samples].
        dry: what each emitter plays. Shape of each: [samples].
        responses: of the channel to each emitter, as the spec gives them. Shape of each: [taps].
        delays_s: of the direct sounds.
        noise: as the spec gives it. Shape: [samples].
        t60_s: T, as the spec gives it.
    """
    edges_s = [edge for edge in EDGES_S if edge < 1.2 * t60_s]
    centres_s, sums = _stretches(dry, responses, delays_s, edges_s, len(heard), sample_rate)
    basis = np.vstack([sums, noise[None].astype(np.float64)])
    there = np.flatnonzero(np.sum(basis**2, axis=1) > 1e-12 * np.sum(basis**2))
    n_stretches = int(np.sum(there < len(sums)))
    if n_stretches < LEAST_STRETCHES:
        return None
    gains, errors = _fitted(basis[there], heard.astype(np.float64))
    own, sure = gains[:n_stretches], errors[:n_stretches]
    clear = own > SURE * sure
    if np.sum(clear) < LEAST_STRETCHES:
        return None
    times = np.array(centres_s)[there[:n_stretches]][clear]
    # The median of the slopes between any two: single reflections may be off by more than noise.
    slope = theilslopes(np.log(own[clear]), times)[0]
    inverse = 1 / t60_s - float(slope) / math.log(1000)
    return 1 / (inverse * t60_s) if inverse > 0 else None


def _stretches(
    dry: Sequence[Signal],
    responses: Sequence[Signal],
    delays_s: Sequence[float],
    edges_s: Sequence[float],
    n_samples: int,
    sample_rate: int,
) -> tuple[list[float], NDArray[np.float64]]:
    """Middle of each stretch and what is heard through it. Shape: [stretches, samples]."""
    n_taps = max(len(response) for response in responses)
    n_fft = scipy.fft.next_fast_len(n_samples + n_taps, real=True)
    spectra = [scipy.fft.rfft(signal, n_fft) for signal in dry]
    stops_s = [*edges_s[1:], math.inf]
    sums, centres_s = [], []
    for start_s, stop_s in zip(edges_s, stops_s, strict=True):
        total = np.zeros(n_fft // 2 + 1, np.complex128)
        moment = energy = 0.0
        for response, delay_s, spectrum in zip(responses, delays_s, spectra, strict=True):
            after_s = np.arange(len(response)) / sample_rate - delay_s
            # What comes before the direct sound by a filter's ringing goes with it.
            inside = (after_s >= (start_s if start_s else -math.inf)) & (after_s < stop_s)
            part = np.where(inside, response, 0)
            total += spectrum * scipy.fft.rfft(part, n_fft)
            moment += float(np.sum(part.astype(np.float64) ** 2 * after_s))
            energy += float(np.sum(part.astype(np.float64) ** 2))
        sums.append(scipy.fft.irfft(total, n_fft)[:n_samples])
        centres_s.append(moment / energy if energy else start_s)
    return centres_s, np.array(sums, np.float64)


def _fitted(
    basis: NDArray[np.float64], heard: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gains of rows of `basis` that explain `heard` best, and their standard errors."""
    gram = basis @ basis.T
    inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
    gains = inverse @ (basis @ heard)
    left = float(np.sum((heard - gains @ basis) ** 2)) / max(len(heard) - len(basis), 1)
    return gains, np.sqrt(np.maximum(np.diag(inverse) * left, 1e-300))
