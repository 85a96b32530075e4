"""What the capsules of a microphone array receive: of one plane wave, and in a diffuse field.

Spectra follow numpy's rfft, e^{+i omega t}, and the phase reference is the array's centre: a
capsule closer to the source than the centre has positive phase, since sound meets it earlier.

On a rigid sphere of radius a the pressure of a unit plane wave is a Legendre series in the angle
gamma between its direction and the capsule,

    H(gamma, ka) = sum over n of (2n + 1) b_n(ka) P_n(cos gamma),
    b_n(ka) = i^(n - 1) / ((ka)^2 h_n'(ka)),

h_n the spherical Hankel function of the second kind (outgoing in this sign of time), the mode
strength of a rigid sphere after the Wronskian has simplified it (Rafaely, Fundamentals of
Spherical Array Processing, 2015, chapter 2; the DCASE page of the MIC format has the same sum).

Sources are far away: no sphericity of the wave front at the array. Capsules are points, alike and
without noise.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenesynth.spatial.arrays import MicArray

MAX_KA: Final = 1000.0
"""Far above a sphere of 50 cm at 96 kHz (880); the scaled recursion overflows from about 1400."""


def modal_coefficients(order: int, ka: ArrayLike) -> NDArray[np.complex128]:
    """b_n(ka) of a rigid sphere: the pressure on it is sum (2n + 1) b_n P_n(cos gamma).

    In real SN3D harmonics, whose products sum to P_n over a degree, the pressure at a capsule q of
    a plane wave from u is sum over n, m of (2n + 1) b_n Y_nm(q) Y_nm(u).

    Upward recursion of g_n = x^(n + 1) h_n(x) / (2n - 1)!!, stable since h_n grows with n beyond x,
    and scaled so that it neither overflows nor loses the limit b_0 = 1, b_n = 0 at x = 0:
    g_(n+1) = g_n - x^2 g_(n-1) / ((2n - 1)(2n + 1)), and
    b_n = -i^(n - 1) x^n / (2n - 1)!! / ((2n + 1) g_(n+1) - n g_n).

    Args:
        order: highest n, >= 0.
        ka: wave number times radius, each in [0, 1000]. Shape: [frequencies].

    Returns:
        Shape: [order + 1, frequencies].

    Raises:
        ValueError: an order below 0, or a ka out of range.
    """
    x = np.asarray(ka, dtype=np.float64)
    if order < 0:
        raise ValueError(f"order = {order}; must be 0 or more")
    if x.ndim != 1 or not np.all((x >= 0) & (x <= MAX_KA)):
        raise ValueError(
            f"ka of shape {x.shape} has values from {np.min(x, initial=np.inf):g} to "
            f"{np.max(x, initial=-np.inf):g}; must be a list of values in [0, {MAX_KA:g}]"
        )
    out = np.empty((order + 1, len(x)), dtype=np.complex128)
    wave = np.exp(-1j * x)
    here, after = 1j * wave, (1j - x) * wave
    power = np.ones_like(x)
    for n in range(order + 1):
        out[n] = -(1j ** (n - 1)) * power / ((2 * n + 1) * after - n * here)
        power = power * x / (2 * n + 1)
        here, after = after, after - x * x / ((2 * n + 1) * (2 * n + 3)) * here
    return out


def series_order(ka: float) -> int:
    """Highest n of a Legendre series on a rigid sphere, for a rest below 1e-8 (-160 dB).

    The terms fall faster than exponentially once n has passed ka by some cube roots of it; the
    sum of what is left out stays below 1e-8 for every ka up to 1000.
    """
    return math.ceil(ka + 8 * math.cbrt(ka) + 4)


def plane_wave_response(
    array: MicArray, directions: ArrayLike, freq_hz: ArrayLike, speed_of_sound_mps: float
) -> NDArray[np.complex128]:
    """Spectra at the capsules of unit plane waves, over that at the empty array's centre.

    Each direction is computed alone, so that its values do not depend on the others.

    Args:
        directions: unit vectors that the waves come from. Shape: [n, 3].
        freq_hz: frequencies, >= 0. Shape: [frequencies].

    Returns:
        Shape: [n, channels, frequencies].

    Raises:
        ValueError: directions that are no unit vectors, or frequencies out of range.
    """
    vectors = _checked_directions(directions)
    wave_number = _wave_numbers(freq_hz, speed_of_sound_mps)
    if array.sphere_radius_m is None:
        return _open_response(array, vectors, wave_number)
    ka = wave_number * array.sphere_radius_m
    series = _series(ka)
    legendre = _legendre(_dot(vectors, array.looks), len(series) - 1)
    return _sum_modes(legendre, series.view(np.float64)).view(np.complex128)


def diffuse_covariance(
    array: MicArray, freq_hz: ArrayLike, speed_of_sound_mps: float
) -> NDArray[np.complex128]:
    """Cross-power <H_i conj(H_j)> of the capsules in an isotropic diffuse field of unit power.

    Unit power is that of the pressure at the empty array's centre (W). The mean over all directions
    is taken in closed form. Rigid: the sum over n of (2n + 1) |b_n|^2 P_n(cos gamma_ij), since
    the P_n about different axes are orthogonal. Open, with v = k |r_i - r_j|, the unit vector d
    along r_i - r_j, and patterns a + b l . u:

        a_i a_j j_0 + i j_1 (a_i b_j l_j . d + a_j b_i l_i . d)
        + b_i b_j (l_i . l_j j_1 / v - (l_i . d)(l_j . d) j_2),

    which are the gradients of <exp(i v u . d)> = j_0(v). For omnis it is the sinc of Cook et al.
    (J. Acoust. Soc. Am. 27, 1955).

    Returns:
        Hermitian in the channels. Shape: [channels, channels, frequencies].

    Raises:
        ValueError: frequencies out of range.
    """
    wave_number = _wave_numbers(freq_hz, speed_of_sound_mps)
    if array.sphere_radius_m is None:
        return _open_covariance(array, wave_number)
    series = _series(wave_number * array.sphere_radius_m)
    degree = np.arange(len(series))[:, None]
    power = (series.real**2 + series.imag**2) / (2 * degree + 1)
    legendre = _legendre(_dot(array.looks, array.looks), len(series) - 1)
    return _sum_modes(legendre, power).astype(np.complex128)


def _series(ka: NDArray[np.float64]) -> NDArray[np.complex128]:
    """(2n + 1) b_n, kept at hand: a scene asks for one set of frequencies again and again.

    Shape: [modes, frequencies].
    """
    return _series_of(np.ascontiguousarray(ka).tobytes())


@lru_cache(maxsize=8)
def _series_of(plain: bytes) -> NDArray[np.complex128]:
    ka = np.frombuffer(plain)
    if np.max(ka) > MAX_KA:
        raise ValueError(
            f"the highest frequency has ka = {np.max(ka):.4g} on the sphere; must be at most "
            f"{MAX_KA:g}"
        )
    order = series_order(float(np.max(ka)))
    series = (2 * np.arange(order + 1)[:, None] + 1) * modal_coefficients(order, ka)
    series.flags.writeable = False
    return series


def _legendre(cosine: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """P_0 to P_order, by Bonnet's recursion. Shape: [..., order + 1]."""
    out = np.empty((*cosine.shape, order + 1))
    before, here = np.zeros_like(cosine), np.ones_like(cosine)
    for n in range(order + 1):
        out[..., n] = here
        before, here = here, ((2 * n + 1) * cosine * here - n * before) / (n + 1)
    return out


def _sum_modes(legendre: NDArray[np.float64], series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over modes, each element in the order of n.

    Not by BLAS, whose last bits depend on how many threads and other directions there are.

    Shape: [n, channels, modes], [modes, columns] -> [n, channels, columns].
    """
    out: NDArray[np.float64] = np.einsum("dcn,nf->dcf", legendre, series, optimize=False)
    return out


def _open_response(
    array: MicArray, vectors: NDArray[np.float64], wave_number: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """exp(i k u . r) times a + (1 - a) u . l."""
    phase = _dot(vectors, array.positions_m)[..., None] * wave_number
    gain = (array.omni_shares + (1 - array.omni_shares) * _dot(vectors, array.looks))[..., None]
    out = np.empty(phase.shape, dtype=np.complex128)
    out.real = gain * np.cos(phase)
    out.imag = gain * np.sin(phase)
    return out


def _open_covariance(array: MicArray, wave_number: NDArray[np.float64]) -> NDArray[np.complex128]:
    from scipy.special import spherical_jn

    apart = array.positions_m[:, None] - array.positions_m
    distance = np.linalg.norm(apart, axis=-1)
    axis = apart / np.where(distance > 0, distance, 1.0)[..., None]
    v = distance[..., None] * wave_number
    v[v < 1e-100] = 0.0  # where scipy's functions are NaN
    j0, j1, j2 = (spherical_jn(n, v) for n in range(3))
    omni = array.omni_shares
    look = (1 - omni)[:, None] * array.looks
    along_i = np.sum(look[:, None] * axis, axis=-1)
    along_j = np.sum(look * axis, axis=-1)
    out = np.empty(v.shape, dtype=np.complex128)
    out.real = (
        np.outer(omni, omni)[..., None] * j0
        + _dot(look, look)[..., None] * ((j0 + j2) / 3)  # j_1 / v, also at v = 0
        - (along_i * along_j)[..., None] * j2
    )
    out.imag = (omni[:, None] * along_j + omni * along_i)[..., None] * j1
    return out


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Products of all pairs of vectors, not by BLAS (see `_sum_modes`).

    Shape: [n, 3], [m, 3] -> [n, m].
    """
    out: NDArray[np.float64] = (
        a[:, None, 0] * b[:, 0] + a[:, None, 1] * b[:, 1] + a[:, None, 2] * b[:, 2]
    )
    return out


def _checked_directions(directions: ArrayLike) -> NDArray[np.float64]:
    vectors = np.asarray(directions, dtype=np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != 3:
        raise ValueError(f"directions has shape {vectors.shape}; must be [n, 3]")
    lengths = np.linalg.norm(vectors, axis=1)
    if not np.allclose(lengths, 1.0, rtol=0, atol=1e-6):
        worst = int(np.argmax(np.abs(lengths - 1)))
        raise ValueError(f"directions[{worst}] has length {lengths[worst]:g}; must be 1")
    return vectors


def _wave_numbers(freq_hz: ArrayLike, speed_of_sound_mps: float) -> NDArray[np.float64]:
    freq = np.asarray(freq_hz, dtype=np.float64)
    if freq.ndim != 1 or len(freq) == 0 or not np.all(np.isfinite(freq) & (freq >= 0)):
        raise ValueError(
            f"freq_hz has shape {freq.shape}; must be a list of one or more numbers, 0 or above"
        )
    if not speed_of_sound_mps > 0:
        raise ValueError(f"speed_of_sound_mps = {speed_of_sound_mps}; must be above 0")
    return 2 * np.pi * freq / speed_of_sound_mps
