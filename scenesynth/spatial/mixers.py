"""Filters that turn Ambisonic channels (ACN, SN3D) into the channels of any receiver.

A receiver is given by its plane-wave responses: ears by their HRTF, microphones by theory. Below
the cut-on the filters are a least-squares fit of those, phase and all; above it, where a low order
cannot follow the phase, of their magnitudes alone (MagLS: Schoerkhuber, Zaunschirm and Hoeldrich,
"Binaural rendering of Ambisonic signals via magnitude least squares", DAGA 2018). Last comes what
a diffuse field asks for: levels and coherences between channels as with the true responses
(Zaunschirm, Schoerkhuber and Hoeldrich, JASA 143, 3616, 2018; Vilkamo, Baeckstroem and Kuntz,
JAES 61, 403, 2013). Late sound through a mixer is thus right in the mean; a single direction is as
good as the order allows.

A fit of order N is good up to about k a = N. For microphones, whose phases matter more than an
ear's, N c / (2 pi radius) is therefore the better cut-on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.spatial.firs import FirMatrix, fir_matrix
from scenesynth.spatial.receivers import Complex, Real, Receiver, degrees, receiver

_CLAMP_DB = 15.0
_BLEND_OCTAVES = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer:
    """Filters from Ambisonics to a receiver's channels: channel c is the sum over k of f[c, k] * k.

    Attributes:
        filters: float32. Shape: [channels, (order + 1)^2, taps].
        lead: taps before time zero, the instant a wave passes the receiver's centre; to be taken
            off the start of what is filtered.
        sample_rate: of the taps.
        order: of the Ambisonic channels.
        coherent: whether a diffuse field has the true coherences; else at most the levels are true.
        truncation_db: what windowing to `taps` cost, as `FirMatrix` tells it.
    """

    filters: NDArray[np.float32]
    lead: int
    sample_rate: int
    order: int
    coherent: bool
    truncation_db: float

    def mixed(self, ambisonics: NDArray[np.floating]) -> NDArray[np.float32]:
        """Ambisonics through the filters, time zero kept. Shapes: [K, n], [channels, n]."""
        firs = FirMatrix(taps=self.filters, lead=self.lead, truncation_db=self.truncation_db)
        return firs.filtered(ambisonics)


def design_mixer(
    responses: NDArray[np.complexfloating],
    directions: NDArray[np.floating],
    weights: NDArray[np.floating],
    freq_hz: NDArray[np.floating],
    order: int,
    *,
    taps: int | None = None,
    cut_on_hz: float = 2000.0,
    diffuse: bool = True,
    equaliser: NDArray[np.complexfloating] | None = None,
    covariance: NDArray[np.complexfloating] | None = None,
) -> Mixer:
    """The mixer of a receiver with these plane-wave responses. A pure function of its arguments.

    The fit is made on responses divided by the equaliser, whose phase would else stay behind in
    the magnitudes' phase above the cut-on, and is multiplied by it afterwards.

    Args:
        responses: spectra with their time origin at the receiver's centre. Shape:
            [n, channels, frequencies].
        directions: that the waves come from, unit vectors, on the whole sphere. Shape: [n, 3].
        weights: area that each direction stands for, in any unit. Shape: [n].
        freq_hz: the bins of a real transform, from 0 to half the sample rate. Shape: [frequencies].
        order: of the Ambisonic channels.
        taps: length of the filters; by default half that of the transform.
        cut_on_hz: where magnitudes take over from waveforms, fading over an octave.
        diffuse: hold the levels of a diffuse field and, with at least as many Ambisonic channels
            as others, its coherences.
        equaliser: what all responses have in common; by default the minimum-phase response with
            their rms over directions and channels. Shape: [frequencies].
        covariance: of the channels in a diffuse field of unit power in W, real at both ends; by
            default the mean over `directions`, which has to resolve products of two responses:
            twice the detail of one. Shape: [channels, channels, frequencies].

    Raises:
        ConfigError: shapes that do not fit, bins that are not a transform's, directions that leave
            gaps.
    """
    _check_bins(freq_hz, responses)
    if equaliser is None:
        equaliser = minimum_phase(receiver(responses, directions, weights, 0).rms())
    flat = receiver(responses / equaliser, directions, weights, order)
    gains = _fit(flat, _blend(freq_hz, cut_on_hz))
    if diffuse:
        true = flat.covariance()
        if covariance is not None:
            true = np.moveaxis(covariance / np.abs(equaliser) ** 2, 2, 0)
        gains = _as_in_a_diffuse_field(gains, true)
    firs = fir_matrix(gains * np.asarray(equaliser)[:, None, None], taps)
    return Mixer(
        filters=firs.taps,
        lead=firs.lead,
        sample_rate=round(2 * float(freq_hz[-1])),
        order=order,
        coherent=diffuse and flat.n_channels <= (order + 1) ** 2,
        truncation_db=firs.truncation_db,
    )


def minimum_phase(magnitude: NDArray[np.floating]) -> Complex:
    """The minimum-phase spectrum of a magnitude on the bins of a real transform of even length.

    Its log magnitude's cepstrum, folded to positive time (Oppenheim and Schafer, Discrete-Time
    Signal Processing, ch. 13). The magnitude is first held within +-15 dB of its mean in dB.
    Shapes: [bins], [bins].
    """
    nepers = np.log(np.maximum(magnitude, 1e-30))
    reach = _CLAMP_DB * np.log(10) / 20
    nepers = np.clip(nepers, nepers.mean() - reach, nepers.mean() + reach)
    n_fft = 2 * (len(nepers) - 1)
    cepstrum = scipy.fft.irfft(nepers, n_fft)
    cepstrum[1 : n_fft // 2] *= 2
    cepstrum[n_fft // 2 + 1 :] = 0
    return np.asarray(np.exp(scipy.fft.rfft(cepstrum)))


def _check_bins(freq_hz: NDArray[np.floating], responses: NDArray[np.complexfloating]) -> None:
    n_bins = responses.shape[-1]
    even = np.linspace(0, freq_hz[-1], n_bins)
    if len(freq_hz) != n_bins or n_bins < 9 or not np.allclose(freq_hz, even, rtol=1e-6, atol=1e-3):
        raise ConfigError(
            f"freq_hz has {len(freq_hz)} steps from {freq_hz[0]:g} to {freq_hz[-1]:g} Hz for "
            f"{n_bins} frequencies; must be the bins of a real transform of even length, even "
            f"steps from 0 to half the sample rate, 9 or more"
        )


def _blend(freq_hz: NDArray[np.floating], cut_on_hz: float) -> Real:
    """How much of the magnitude fit is in each bin: a raised cosine over an octave."""
    octaves = np.log2(np.maximum(freq_hz, 1e-3) / cut_on_hz)
    return np.asarray(0.5 + 0.5 * np.sin(np.pi / 2 * np.clip(octaves / _BLEND_OCTAVES, -1, 1)))


def _fit(flat: Receiver, blend: Real) -> Complex:
    """Least squares, then magnitude least squares. Shape: [frequencies, channels, gains].

    A bin's magnitudes get the phases that the gains of the bin before give them, and are fitted
    with those.
    """
    solve = np.linalg.inv(flat.gram())
    gains = np.array([flat.projected(waves) @ solve for waves in flat.spectra])
    for f in range(int(np.argmax(blend > 0)), len(blend)):
        phased = flat.heard(gains[f - 1])
        size = np.abs(phased)
        phased *= np.abs(flat.spectra[f]) / np.where(size > 0, size, 1)
        gains[f] += blend[f] * (flat.projected(phased) @ solve - gains[f])
    gains[-1] = gains[-1].real
    return gains


def _as_in_a_diffuse_field(gains: Complex, true: Complex) -> Complex:
    """The gains nearest to the given ones that have the true covariance in a diffuse field.

    There, with unit power in W, the harmonics are uncorrelated and of power 1 / (2 l + 1). With
    the roots of these carried into the gains, G G^H has to be the receiver's covariance R. All
    such G are R^(1/2) Q with Q Q^H = 1, and the nearest has Q = U V^H where R^(1/2) G = U S V^H
    (the orthogonal Procrustes problem). With fewer gains than channels there is none, and only the
    levels are set.
    """
    n_channels, n_gains = gains.shape[1:]
    spread = np.sqrt(2 * degrees(math.isqrt(n_gains) - 1) + 1)
    given = gains / spread
    if n_channels > n_gains:
        own = np.maximum(np.sum(np.abs(given) ** 2, axis=2), 1e-300)
        levels = np.einsum("fcc->fc", true).real / own
        return np.asarray(gains * np.sqrt(levels)[:, :, None])
    root = _square_root(true)
    left, _, right = np.linalg.svd(root @ given, full_matrices=False)
    return np.asarray(root @ (left @ right) * spread)


def _square_root(covariance: Complex) -> Complex:
    values, vectors = np.linalg.eigh(covariance)
    roots = np.sqrt(np.maximum(values, 0))
    return np.asarray((vectors * roots[:, None, :]) @ np.swapaxes(vectors, 1, 2).conj())
