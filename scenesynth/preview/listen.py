"""Any format as two channels for headphones.

Ears are listened to as they are; so are two microphones, which are a stereo recording. Ambisonics
reach the ears through a mixer of the package's head, and microphones are encoded to Ambisonics
before. The head's responses are first divided by what they have in common over all directions (its
diffuse-field response, with the measurement's loudspeaker in it): headphones bring their own.

This is for listening only. Ears that were rendered for a scene's own head are exact, where a mixer
is as good as the order of the Ambisonics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.early import window_length
from scenesynth.acoustics.receivers import DEFAULT_HEAD, EARS_CUT_ON_HZ, GRID_ORDER, WINDOW_S
from scenesynth.spatial.array_response import plane_wave_response
from scenesynth.spatial.arrays import MicArray
from scenesynth.spatial.decoding import Encoder, design_encoder, downmix_to_ears
from scenesynth.spatial.ears import diffuse_field_response, ear_responses
from scenesynth.spatial.formats import Format
from scenesynth.spatial.grids import sphere_grid
from scenesynth.spatial.heads import load_head
from scenesynth.spatial.mixers import Mixer, design_mixer, minimum_phase

MAX_ORDER: Final = 5
"""Of the Ambisonics that are heard; orders beyond are as many channels again for little."""


def best_to_hear(formats: Mapping[str, Format]) -> Format:
    """The format that is nearest to what two ears hear."""
    kinds = ("binaural", "ambisonics", "array")

    def rank(item: Format) -> tuple[bool, int, int]:
        return item.n_channels == 1, kinds.index(item.kind), -item.n_channels

    return min(formats.values(), key=rank)


def listening(
    audio: NDArray[np.float32], item: Format, sample_rate: int, speed_of_sound_mps: float
) -> NDArray[np.float32]:
    """Left and right, for headphones.

    Args:
        audio: of the format `item`. Shape: [channels, samples].

    Returns:
        Shape: [2, samples].
    """
    if item.kind == "binaural":
        return audio
    if item.array is not None:
        if item.n_channels == 2:
            return audio if _left_first(item.array) else audio[::-1]
        encoder = array_encoder(item.array, sample_rate, round(speed_of_sound_mps))
        audio = audio if item.n_channels == 1 else encoder.firs.filtered(audio)
    order = min(math.isqrt(len(audio)) - 1, MAX_ORDER)
    return downmix_to_ears(audio[: (order + 1) ** 2], lambda order: _mixer(order, sample_rate))


def _left_first(array: MicArray) -> bool:
    places = array.positions_m[:, 1]
    apart = places if abs(places[0] - places[1]) > 1e-3 else array.looks[:, 1]
    return bool(apart[0] >= apart[1])


@lru_cache(maxsize=8)
def _mixer(order: int, sample_rate: int) -> Mixer:
    head = load_head(DEFAULT_HEAD).at_rate(sample_rate)
    directions, weights = sphere_grid(GRID_ORDER)
    freq_hz = _bins(sample_rate)
    n_fft = 2 * (len(freq_hz) - 1)
    common = minimum_phase(diffuse_field_response(head, n_fft))
    return design_mixer(
        ear_responses(head, directions, n_fft) / common,
        directions,
        weights,
        freq_hz,
        order,
        cut_on_hz=min(EARS_CUT_ON_HZ, 0.4 * sample_rate),
    )


@lru_cache(maxsize=8)
def array_encoder(array: MicArray, sample_rate: int, speed_of_sound_mps: int) -> Encoder:
    """Filters from an array to Ambisonics of the order that its microphones suffice for."""
    directions, weights = sphere_grid(GRID_ORDER)
    responses = plane_wave_response(array, directions, _bins(sample_rate), speed_of_sound_mps)
    order = min(math.isqrt(array.n_channels) - 1, MAX_ORDER)
    return design_encoder(responses, directions, weights, order)


def _bins(sample_rate: int) -> NDArray[np.float64]:
    n_fft = window_length(sample_rate, WINDOW_S)
    return np.asarray(np.arange(n_fft // 2 + 1) * (sample_rate / n_fft))
