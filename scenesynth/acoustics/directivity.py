"""How much a source radiates off its front: amplitude over the cosine of the angle, per band.

Patterns are symmetric about the front and polynomials of degree 4 in c = cos(angle), 1 on the axis.
The cardioid family a + (1 - a) c is the same in all bands.

Speech is a model, not a measurement: a talker's head as a rigid sphere whose mouth, a cap in it,
moves along the radius. Its far field is a series in Legendre polynomials over the derivatives of
spherical Hankel functions (Morse and Ingard, Theoretical Acoustics, 1968, section 7.2); Flanagan
(J. Acoust. Soc. Am. 32, 1960) found a piston in a sphere of 9 cm a fair picture of measured mouths.
Real talkers also have a torso and a mouth that moves: nothing here knows of them.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenesynth.scene.spec import Directivity
from scenesynth.spatial.arrays import OMNI_SHARE, Pattern

DEGREE: Final = 4

HEAD_RADIUS_M: Final = 0.0875
MOUTH_RAD: Final = math.radians(10.0)
"""Half angle of the cap: a mouth 3 cm wide."""

SPEED_OF_SOUND_MPS: Final = 343.2
PER_OCTAVE: Final = 16


def pattern(name: str, band_hz: ArrayLike) -> NDArray[np.float64]:
    """Coefficients of the amplitude as a polynomial in the cosine to the front, per band.

    Args:
        name: a `Directivity`.
        band_hz: centres of octave bands. Shape: [bands].

    Returns:
        g(c) = sum over p of coefficient[band, p] c^p, with g(1) = 1. Shape: [bands, 5].

    Raises:
        ValueError: no directivity has this name.

    >>> pattern("cardioid", [1000.0]).tolist()
    [[0.5, 0.5, 0.0, 0.0, 0.0]]
    """
    if name not in get_args(Directivity):
        known = ", ".join(get_args(Directivity))
        raise ValueError(f"directivity = {name!r}; must be one of {known}")
    bands = np.asarray(band_hz, dtype=np.float64)
    if name == "speech":
        return np.array([_speech(float(centre)) for centre in bands])
    share = OMNI_SHARE[cast(Pattern, name)]
    out = np.zeros((len(bands), DEGREE + 1))
    out[:, 0], out[:, 1] = share, 1.0 - share
    return out


def sphere_radiation(
    freq_hz: NDArray[np.float64], cosine: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Far field of a cap that moves in a rigid sphere, over that on the axis.

    With U_n = (P_{n-1}(cos m) - P_{n+1}(cos m)) / 2 for a cap of half angle m, the pressure is
    proportional to the sum over n of U_n i^n P_n(c) / h_n'(ka).

    Returns:
        Shape: [freq, cosines].
    """
    from scipy.special import eval_legendre, spherical_jn, spherical_yn

    ka = 2 * np.pi * freq_hz * HEAD_RADIUS_M / SPEED_OF_SOUND_MPS
    n = np.arange(int(np.max(ka)) + 16)
    edge = math.cos(MOUTH_RAD)
    below = np.where(n == 0, 1.0, eval_legendre(np.maximum(n - 1, 0), edge))
    velocity = (below - eval_legendre(n + 1, edge)) / 2
    wave = spherical_jn(n, ka[:, None], derivative=True)
    wave = wave - 1j * spherical_yn(n, ka[:, None], derivative=True)
    terms = velocity * 1j**n / wave
    field = terms @ eval_legendre(n[:, None], cosine) / np.sum(terms, axis=1, keepdims=True)
    return np.asarray(field, dtype=np.complex128)


def speech_magnitude(centre_hz: float, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square of the head's radiation over an octave, over that on the axis."""
    octave = (np.arange(PER_OCTAVE) + 0.5) / PER_OCTAVE - 0.5
    field = sphere_radiation(centre_hz * 2.0**octave, cosine)
    magnitude: NDArray[np.float64] = np.sqrt(np.mean(np.abs(field) ** 2, axis=0))
    return magnitude


@cache
def _speech(centre_hz: float) -> tuple[float, ...]:
    """Polynomial closest to `speech_magnitude` over the angle, 1 on the axis, nowhere negative.

    It is a sum of Bernstein polynomials with coefficients of 0 and more, the last of which is 1,
    rounded so that the last digits of a solver are in no response. The error is at most 0.05 in
    root mean square; the model's bright spot right behind the head is narrower than degree 4 can
    follow (-4 dB becomes -6 in the octave of 2 kHz, -12 becomes -18 at 8 kHz).
    """
    from scipy.optimize import nnls

    cosine = np.cos(np.linspace(0.0, np.pi, 91))
    basis = _bernstein(cosine)
    target = speech_magnitude(centre_hz, cosine)
    shares = np.append(nnls(basis[:, :-1], target - basis[:, -1])[0].round(6), 1.0)
    powers = np.zeros(DEGREE + 1)
    for k, share in enumerate(shares):
        rising, falling = np.array([0.5, 0.5]), np.array([0.5, -0.5])
        term: NDArray[np.float64] = np.polynomial.polynomial.polymul(
            np.polynomial.polynomial.polypow(rising, k),
            np.polynomial.polynomial.polypow(falling, DEGREE - k),
        )
        powers += share * math.comb(DEGREE, k) * term
    return tuple(powers.tolist())


def _bernstein(cosine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape: [cosines, DEGREE + 1]."""
    k = np.arange(DEGREE + 1)
    half = (1.0 + cosine[:, None]) / 2
    binomial = np.array([math.comb(DEGREE, int(item)) for item in k])
    basis: NDArray[np.float64] = binomial * half**k * (1.0 - half) ** (DEGREE - k)
    return basis
