"""From any rendered format to something one can listen to: loudspeakers, or two ears.

Microphone signals are first encoded to Ambisonics of low order by a regularised inverse of the
array's responses; Ambisonics reach the ears through the mixer of the listener's head. These are
for listening and export: ears rendered as a format of the scene are exact where these are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_legendre

from scenesynth.errors import ConfigError
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.conventions import ambisonic_order
from scenesynth.spatial.firs import FirMatrix, fir_matrix
from scenesynth.spatial.mixers import Mixer
from scenesynth.spatial.receivers import degrees, receiver


def max_re_weights(order: int) -> NDArray[np.float64]:
    """Weight of each degree that gives the longest energy vector, 1 for degree 0.

    P_l of the cosine of 137.9 degrees / (N + 1.51) (Zotter and Frank, "All-round Ambisonic panning
    and decoding", JAES 60, 807, 2012). Shape: [order + 1].
    """
    cosine = math.cos(math.radians(137.9 / (order + 1.51)))
    return np.array([float(eval_legendre(degree, cosine)) for degree in range(order + 1)])


def loudspeaker_decoder(directions: NDArray[np.floating], order: int) -> NDArray[np.float64]:
    """Gains from Ambisonics (ACN, SN3D) to loudspeakers: energy-preserving, max-rE weighted.

    D = U V^T of the singular value decomposition of the loudspeakers' N3D harmonics (Zotter,
    Pomberger and Noisternig, "Energy-preserving Ambisonic decoding", Acta Acustica 98, 37, 2012).
    The loudspeakers' energies sum to that of W for a wave from anywhere, however uneven the layout.

    Args:
        directions: of the loudspeakers from the listener, unit vectors. Shape: [n, 3].

    Returns:
        Shape: [n, (order + 1)^2].

    Raises:
        ConfigError: fewer loudspeakers than Ambisonic channels.
    """
    degree = degrees(order)
    if len(directions) < len(degree):
        highest = math.isqrt(len(directions)) - 1
        raise ConfigError(
            f"{len(directions)} loudspeakers cannot play the {len(degree)} channels of order "
            f"{order}; use order {highest} or less, the first {(highest + 1) ** 2} channels"
        )
    to_n3d = np.sqrt(2 * degree + 1)
    harmonics = spherical_harmonics(directions, order) * to_n3d
    left, _, right = np.linalg.svd(harmonics, full_matrices=False)
    weights = max_re_weights(order)[degree.astype(int)]
    return np.asarray(left @ right * (to_n3d * weights / np.linalg.norm(weights)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Filters from a microphone array to Ambisonics (ACN, SN3D).

    Attributes:
        firs: outputs are the (order + 1)^2 channels, inputs the microphones.
        order: of the Ambisonics.
    """

    firs: FirMatrix
    order: int


def design_encoder(
    responses: NDArray[np.complexfloating],
    directions: NDArray[np.floating],
    weights: NDArray[np.floating],
    order: int,
    *,
    max_gain_db: float = 15.0,
    taps: int | None = None,
) -> Encoder:
    """The filters that turn an array's signals into Ambisonics with least error over the sphere.

    E = C (R + b^2)^-1 with C the mean of y h^H and R that of h h^H. Tikhonov's b = 1 / (2 g) keeps
    the gain of E from vectors of microphones to vectors of channels below g; by it the higher
    degrees fade out towards low frequencies. One gain common to all channels then keeps the level
    of a diffuse field in W, as far as g allows: an array hears directions wrongly above its
    aliasing frequency (k a = 1 for four capsules on a sphere), but not too softly.

    Args:
        responses: of the microphones to plane waves, as of `design_mixer`. Shape:
            [n, microphones, frequencies].
        directions: unit vectors on the whole sphere. Shape: [n, 3].
        weights: area that each direction stands for. Shape: [n].
        order: at most that of which the array has (order + 1)^2 microphones.
        max_gain_db: limit g, over microphones of unit sensitivity.
        taps: length of the filters; by default half that of the transform.

    Raises:
        ConfigError: shapes that do not fit, or fewer microphones than channels.
    """
    flat = receiver(responses, directions, weights, order)
    if flat.n_channels < (order + 1) ** 2:
        raise ConfigError(
            f"{flat.n_channels} microphones cannot encode the {(order + 1) ** 2} channels of "
            f"order {order}; use order {math.isqrt(flat.n_channels) - 1} or less"
        )
    covariance = flat.covariance()
    cross = np.array([flat.projected(waves) for waves in flat.spectra])  # h y, [f, channels, K]
    max_gain = 10 ** (max_gain_db / 20)
    limit = np.eye(flat.n_channels) / (2 * max_gain) ** 2
    solved = np.linalg.solve(covariance + limit, cross)
    spectra = np.swapaxes(solved, 1, 2).conj()
    omni = spectra[:, 0]
    power = np.einsum("fc,fcd,fd->f", omni, covariance, omni.conj()).real
    norm = np.linalg.norm(spectra, ord=2, axis=(1, 2))
    common = np.minimum(1 / np.sqrt(np.maximum(power, 1e-30)), max_gain / np.maximum(norm, 1e-30))
    return Encoder(firs=fir_matrix(spectra * common[:, None, None], taps), order=order)


def downmix_to_ears(
    audio: NDArray[np.floating],
    mixer_of_order: Callable[[int], Mixer],
    *,
    encoder: Encoder | None = None,
) -> NDArray[np.float32]:
    """Two ears for listening from a format's channels, in time with them.

    Args:
        audio: one omnidirectional channel, which both ears get; Ambisonics (ACN, SN3D) of any
            order; or, with an `encoder`, the signals of its microphones. Shape:
            [channels, samples].
        mixer_of_order: the mixer of the listener's head for an Ambisonic order.

    Returns:
        Left, right. Shape: [2, samples].

    Raises:
        ConfigError: channels that are none of these.
    """
    if encoder is not None:
        audio = encoder.firs.filtered(audio)
    elif len(audio) == 1:
        return np.repeat(audio, 2, axis=0).astype(np.float32)
    order = ambisonic_order(len(audio))
    if order is None:
        raise ConfigError(
            f"{len(audio)} channels are no Ambisonics; two ears need no downmix, and microphones "
            f"need the encoder of their array"
        )
    return mixer_of_order(order).mixed(audio)
