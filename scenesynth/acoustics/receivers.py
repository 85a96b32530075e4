"""Ears and microphones at one sample rate: exact for a direction, by a mixer for a sound field.

A receiver has a response to a plane wave from any direction: that of a head's measured or computed
HRTFs, or of capsules on a rigid sphere or in the open. `scenesynth.spatial.mixers` makes filters of
it that turn the channels of an Ambisonic response into the receiver's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.early import Responses, window_length
from scenesynth.jit import kernel
from scenesynth.room.model import Air, AssetRef
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.array_response import diffuse_covariance, plane_wave_response
from scenesynth.spatial.arrays import MicArray
from scenesynth.spatial.ears import ear_responses
from scenesynth.spatial.formats import Format
from scenesynth.spatial.grids import sphere_grid
from scenesynth.spatial.heads import load_head
from scenesynth.spatial.hrtf import HEAD_RADIUS_M, SPEED_OF_SOUND
from scenesynth.spatial.mixers import Mixer, design_mixer
from scenesynth.spatial.sphere_head import SphereHead

DEFAULT_HEAD: Final = "kemar"

WINDOW_S: Final = 0.03
"""What an early arrival is put right in: an HRTF, and the octave weights where mixers err at all,
which is above 2 kHz. Ears with longer responses have a longer window."""

GRID_ORDER: Final = 20
"""Of the grid of directions that mixers are fitted on."""

_MORE = 6
"""Order of the grid for the ears' covariance above k a."""

_AT_ONCE = 256
"""Directions whose responses are made together, which bounds their memory."""

EARS_CUT_ON_HZ: Final = 2000.0
"""Above it a mixer fits the magnitudes of ears instead of their phases."""

LEAST_RADIUS_M: Final = 0.005
"""Arrays smaller than this are as good as a point."""

SPEED_STEP_MPS: Final = 1.0
"""Mixers of arrays are designed for a speed of sound rounded to this; exact responses are not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Receiver:
    """Ears or microphones.

    Attributes:
        responses: to plane waves, exact.
        mixer: filters from Ambisonic channels.
        window: length in samples for `sum_of_early`.
        block: output samples that the mixer makes by one transform.
        spectra: of the mixer's filters, real parts, then imaginary. Shape: [2, channels, K, bins].
        about_centre: spectra of the filters in a window, time 0 at the receiver's centre.
            Shape: [channels, K, window / 2 + 1].
    """

    responses: Responses
    mixer: Mixer
    window: int
    block: int
    spectra: NDArray[np.float32]
    about_centre: NDArray[np.complex64]

    @property
    def n_gains(self) -> int:
        """Ambisonic channels that the mixer takes."""
        return int(self.spectra.shape[2])

    def error_of_mixer(
        self, directions: NDArray[np.float64], n_fft: int
    ) -> NDArray[np.complexfloating]:
        """What the mixer lacks of the exact responses in a window. Shape: [n, channels, bins]."""
        gains = spherical_harmonics(directions, self.mixer.order).astype(np.float32)
        # Real and imaginary parts side by side: real gains times real numbers.
        mixed = np.einsum("nk,ckf->ncf", gains, self.about_centre.view(np.float32), optimize=False)
        return np.asarray(self.responses(directions, n_fft) - mixed.view(np.complex64))

    def mixed(self, ir: NDArray[np.float32], seen: Blocks | None = None) -> NDArray[np.float32]:
        """The mixer's channels of an Ambisonic response [>= K, samples]; as long as it.

        Args:
            seen: keeps the response's transforms for the next receiver that is cut alike.
        """
        n_fft, n_samples = 2 * (self.spectra.shape[3] - 1), ir.shape[1]
        cut = (n_fft, self.block, self.mixer.lead, self.n_gains)
        blocks = (seen or {}).get(cut)
        if blocks is None:
            blocks = _blocks(ir[: self.n_gains], n_fft, self.block, self.mixer.lead)
            if seen is not None:
                seen[cut] = blocks
        summed = np.zeros((self.spectra.shape[1], *blocks.shape[1:]), np.complex64)
        _add_products(blocks, self.spectra[0], self.spectra[1], summed)
        out = scipy.fft.irfft(summed, n=n_fft, axis=2, workers=1)[:, :, n_fft - self.block :]
        return np.ascontiguousarray(out.reshape(len(out), -1)[:, :n_samples])


Blocks = dict[tuple[int, int, int, int], NDArray[np.complex64]]
"""Transforms of a response's blocks, by how it is cut."""


def _blocks(ir: NDArray[np.float32], n_fft: int, block: int, lead: int) -> NDArray[np.complex64]:
    """Transforms for overlap-save. Shape: [K, blocks, n_fft / 2 + 1].

    The transform of a block begins `n_fft` - `block` samples before what it is to give, and time 0
    of the filters lies `lead` after their first tap.
    """
    n_samples = ir.shape[1]
    first = n_fft - block - lead
    padded = np.zeros((len(ir), -(-n_samples // block) * block + n_fft - block), np.float32)
    kept = min(n_samples, padded.shape[1] - first)
    padded[:, first : first + kept] = ir[:, :kept]
    pieces = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=1)[:, ::block]
    blocks: NDArray[np.complex64] = scipy.fft.rfft(pieces, axis=2, workers=1)
    return blocks


def head_ref(name: str) -> AssetRef:
    """How specs refer to a head of the library.

    Raises:
        ConfigError: there is none of that name.
    """
    return AssetRef(id=name, digest=load_head(name).digest)


def receiver_of(
    item: Format, head: AssetRef | None, order: int, sample_rate: int, air: Air
) -> Receiver:
    """The receiver of a format.

    Args:
        head: whose ears; the default head where None.
        order: of the Ambisonic response that it is made of.

    Raises:
        ConfigError: a head that is not at hand, or has another content.
    """
    if item.array is not None:
        return _microphones(item.array, order, sample_rate, air.speed_of_sound_mps)
    return _ears(head, order, sample_rate)


@lru_cache(maxsize=8)
def _ears(head: AssetRef | None, order: int, sample_rate: int) -> Receiver:
    ref = head or AssetRef(id=DEFAULT_HEAD, digest="")
    loaded = load_head(ref.id, ref.digest).at_rate(sample_rate)

    def responses(directions: NDArray[np.float64], n_fft: int) -> NDArray[np.complexfloating]:
        return ear_responses(loaded, directions, n_fft)

    window = max(window_length(sample_rate, WINDOW_S), 1 << (loaded.n_taps - 1).bit_length())
    radius_m = loaded.radius_m if isinstance(loaded, SphereHead) else HEAD_RADIUS_M
    covariance = _covariance(responses, radius_m, sample_rate, window)
    mixer = _design(responses, order, sample_rate, window, EARS_CUT_ON_HZ, covariance)
    return _receiver(responses, mixer, sample_rate, window)


@lru_cache(maxsize=8)
def _microphones(array: MicArray, order: int, sample_rate: int, speed_mps: float) -> Receiver:
    rounded_mps = round(speed_mps / SPEED_STEP_MPS) * SPEED_STEP_MPS
    mixer = _array_mixer(array, order, sample_rate, rounded_mps)
    responses = _array_responses(array, sample_rate, speed_mps)
    return _receiver(responses, mixer, sample_rate, window_length(sample_rate, WINDOW_S))


def _array_responses(array: MicArray, sample_rate: int, speed_mps: float) -> Responses:
    def responses(directions: NDArray[np.float64], n_fft: int) -> NDArray[np.complexfloating]:
        freq_hz = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
        return plane_wave_response(array, directions, freq_hz, speed_mps)

    return responses


@lru_cache(maxsize=32)
def _array_mixer(array: MicArray, order: int, sample_rate: int, speed_mps: float) -> Mixer:
    cut_on_hz = order * speed_mps / (2 * math.pi * max(array.radius_m, LEAST_RADIUS_M))
    responses = _array_responses(array, sample_rate, speed_mps)
    window = window_length(sample_rate, WINDOW_S)
    covariance = diffuse_covariance(array, _bins_hz(sample_rate, window), speed_mps)
    covariance[:, :, -1] = covariance[:, :, -1].real
    cut_on_hz = min(cut_on_hz, 0.4 * sample_rate)
    return _design(responses, order, sample_rate, window, cut_on_hz, covariance)


def _design(
    responses: Responses,
    order: int,
    sample_rate: int,
    n_fft: int,
    cut_on_hz: float,
    covariance: NDArray[np.complex128],
) -> Mixer:
    directions, weights = sphere_grid(GRID_ORDER)
    return design_mixer(
        responses(directions, n_fft),
        directions,
        weights,
        _bins_hz(sample_rate, n_fft),
        order,
        cut_on_hz=cut_on_hz,
        covariance=covariance,
    )


def _bins_hz(sample_rate: int, n_fft: int) -> NDArray[np.float64]:
    """Frequencies of a transform. Shape: [n_fft / 2 + 1]."""
    return np.arange(n_fft // 2 + 1, dtype=np.float64) * (sample_rate / n_fft)


def _covariance(
    responses: Responses, radius_m: float, sample_rate: int, n_fft: int
) -> NDArray[np.complex128]:
    """Of the ears in a diffuse field, as a mean over directions. Shape: [2, 2, frequencies].

    Responses have detail up to a degree of some more than k a, their products up to twice that,
    which a grid of order k a and some more still sums exactly.
    """
    highest = math.pi * sample_rate * radius_m / SPEED_OF_SOUND
    directions, weights = sphere_grid(max(GRID_ORDER, math.ceil(highest) + _MORE))
    total = np.zeros((2, 2, n_fft // 2 + 1), np.complex128)
    for first in range(0, len(directions), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        heard = responses(directions[some], n_fft)
        total += np.einsum("n,ncf,ndf->cdf", weights[some], heard, heard.conj(), optimize=False)
    total[:, :, -1] = total[:, :, -1].real
    return total


def _receiver(responses: Responses, mixer: Mixer, sample_rate: int, window: int) -> Receiver:
    n_taps = mixer.filters.shape[2]
    n_fft = window_length(sample_rate, 4 * n_taps / sample_rate)
    spectra = _spectra(mixer, n_fft)
    turns = np.arange(window // 2 + 1) * (mixer.lead / window)
    return Receiver(
        responses=responses,
        mixer=mixer,
        window=window,
        block=n_fft - n_taps,
        spectra=np.stack([spectra.real, spectra.imag]).astype(np.float32),
        about_centre=(_spectra(mixer, window) * np.exp(2j * np.pi * turns)).astype(np.complex64),
    )


def _spectra(mixer: Mixer, n_fft: int) -> NDArray[np.complex128]:
    """Of the filters from their first tap on. Shape: [channels, K, bins]."""
    spectra: NDArray[np.complex128] = scipy.fft.rfft(
        mixer.filters.astype(np.float64), n=n_fft, axis=2, workers=1
    )
    return spectra


@kernel
def _add_products(blocks, real, imaginary, summed):  # type: ignore[no-untyped-def]
    """summed[c, b, f] += sum over k of filters[c, k, f] blocks[k, b, f]."""
    n_gains, n_blocks, n_bins = blocks.shape
    for c in range(len(summed)):
        for b in range(n_blocks):
            out = summed[c, b]
            for k in range(n_gains):
                piece, re, im = blocks[k, b], real[c, k], imaginary[c, k]
                for f in range(n_bins):
                    x, y = piece[f].real, piece[f].imag
                    out[f] += complex(re[f] * x - im[f] * y, re[f] * y + im[f] * x)
