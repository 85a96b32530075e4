"""Directions of onsets in what ears or microphones receive: which direction fits the audio best.

The receiver's responses to plane waves are known: those of its array, or of the head that the scene
was rendered for. An onset's spectra at the channels, divided by their common strength, are matched
with the responses to waves from all around (Bartlett's beam former), over 0.5 to 8 kHz at once, so
that directions which one frequency mistakes for each other (above the array's aliasing frequency)
do not pass. Of ears, that is a match of time and level differences at once.

It was chosen over the intensity of microphones encoded to Ambisonics, which has to stop where
aliasing begins: `benchmarks/directions.py` has the errors of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.receivers import DEFAULT_HEAD
from scenesynth.localization.onsets import Array, ShortTime, rise, short_time
from scenesynth.localization.reach import Reach, as_told, reach_of
from scenesynth.room.model import AssetRef
from scenesynth.spatial.array_response import plane_wave_response
from scenesynth.spatial.ears import ear_responses
from scenesynth.spatial.formats import Format
from scenesynth.spatial.heads import load_head

N_DIRECTIONS = 3000
"""About 4 degrees apart; the peak between them is found by a parabola."""

NEAR_DEG = 7.0
"""How far from the best direction the parabola's others are."""

MAX_CHANNELS = 8
"""Of larger arrays the microphones farthest from each other are heard: all 32 of an em32 would take
16 times as long."""

Complex = NDArray[np.complex128]


@dataclass(frozen=True, eq=False, kw_only=True)
class Steering:
    """What a receiver hears of waves from all around.

    Attributes:
        channels: those that are used.
        directions: unit vectors. Shape: [n, 3].
        table: per direction the outer products of the channels' responses of strength 1, bin after
            bin, as `_real` makes them. Shape: [n, bins * channels^2].
    """

    channels: tuple[int, ...]
    directions: Array
    table: NDArray[np.float32]
    reach: Reach


def steered_vectors(
    audio: NDArray[np.float32],
    sample_rate: int,
    item: Format,
    head: AssetRef | None,
    speed_of_sound_mps: float,
    hop_s: float,
    n_frames: int,
) -> tuple[Array, Array]:
    """Direction of each frame's onsets as a vector of their weight times confidence; the weights.

    Args:
        audio: of ears or microphones. Shape: [channels, samples].
        head: whose ears; the package's own head where None.

    Returns:
        As far as the format tells directions (`as_told`). Shapes: [frames, 3], [frames].
    """
    channels = _channels(item)
    found = short_time(audio[list(channels)], sample_rate)
    steering = _steering(
        item, head, sample_rate, round(speed_of_sound_mps), tuple(found.freq_hz), channels
    )
    matrices, frames, weights = _onset_matrices(found, hop_s, n_frames)
    vectors = np.zeros((n_frames, 3))
    for frame, fit in zip(frames, (steering.table @ matrices.T).T.astype(np.float64), strict=True):
        best, confidence = _peak(fit, steering.directions)
        vectors[frame] = as_told(best, steering.reach) * (weights[frame] * confidence)
    return vectors, weights


def _onset_matrices(
    found: ShortTime, hop_s: float, n_frames: int
) -> tuple[NDArray[np.float32], list[int], Array]:
    """Mean outer products of the channels' spectra over a frame's onsets; frames that have any.

    Within an octave a bin counts with its amplitude, whatever the channels' common strength: with
    its energy one partial would decide, with none of it noise between partials would.

    Shapes: [frames with onsets, bins * channels^2], [frames with onsets], [frames].
    """
    energy: Array = np.sum(np.abs(found.spectra) ** 2, axis=0, dtype=np.float64)
    strength = np.sqrt(np.maximum(energy, np.finfo(float).tiny))
    per_band = np.sqrt(rise(found.per_band(energy)))
    share = strength / found.per_bin(found.per_band(strength))
    weight = found.per_bin(per_band) * share
    spectra = found.spectra / strength * np.sqrt(weight)
    at = found.frames(hop_s, n_frames)
    weights = np.zeros(n_frames)
    np.add.at(weights, at, per_band.sum(axis=0))
    frames = [int(n) for n in np.flatnonzero(weights > 0)]
    rows = []
    for frame in frames:
        own = np.moveaxis(spectra[:, :, at == frame], 0, 1)
        rows.append(_real(own @ np.conj(np.swapaxes(own, 1, 2))).ravel() / weights[frame])
    n_columns = spectra.shape[1] * spectra.shape[0] ** 2
    return np.array(rows, np.float32).reshape(-1, n_columns), frames, weights


def _real(hermitian: Complex) -> Array:
    """Real and imaginary parts in one: sums of products of two such are those of the matrices.

    Re is even and Im odd in an exchange of rows and columns, so their cross terms cancel.
    """
    return np.asarray(hermitian.real + hermitian.imag)


def _peak(fit: Array, directions: Array) -> tuple[Array, float]:
    """The direction that fits best, between those of the grid; 1 where it fits wholly, 0 at most
    where it fits no better than others."""
    at = int(np.argmax(fit))
    mean = float(fit.mean())
    confidence = float(np.clip((fit[at] - mean) / max(1 - mean, 1e-9), 0, 1))
    return _summit(fit, directions, at), confidence


def _summit(fit: Array, directions: Array, at: int) -> Array:
    """Summit of a paraboloid through the fits around `at`, which it is where there is none."""
    centre = directions[at]
    near = np.flatnonzero(directions @ centre > np.cos(np.radians(NEAR_DEG)))
    across = np.linalg.svd(centre[None])[2][1:]
    u, v = across @ directions[near].T
    terms = np.column_stack([np.ones_like(u), u, v, u * u / 2, u * v, v * v / 2])
    _, *slope, uu, uv, vv = np.linalg.lstsq(terms, fit[near])[0]
    bend = np.array([[uu, uv], [uv, vv]])
    if np.linalg.eigvalsh(bend)[1] >= -1e-9:
        return np.asarray(centre)
    step = -np.linalg.solve(bend, slope)
    step *= min(1.0, np.radians(NEAR_DEG / 2) / max(float(np.hypot(*step)), 1e-12))
    moved = centre + step @ across
    return np.asarray(moved / np.linalg.norm(moved))


def _channels(item: Format) -> tuple[int, ...]:
    if item.array is None or item.n_channels <= MAX_CHANNELS:
        return tuple(range(item.n_channels))
    places = item.array.positions_m
    chosen, apart = [0], np.linalg.norm(places - places[0], axis=1)
    while len(chosen) < MAX_CHANNELS:
        chosen.append(int(np.argmax(apart)))
        apart = np.minimum(apart, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return tuple(sorted(chosen))


@lru_cache(maxsize=4)
def _steering(
    item: Format,
    head: AssetRef | None,
    sample_rate: int,
    speed_of_sound_mps: int,
    freq_hz: tuple[float, ...],
    channels: tuple[int, ...],
) -> Steering:
    directions = _around(N_DIRECTIONS)
    if item.array is not None:
        responses = plane_wave_response(item.array, directions, freq_hz, speed_of_sound_mps)
    else:
        responses = _of_ears(head, directions, sample_rate, freq_hz)
    spectra = responses[:, list(channels)]
    spectra /= np.maximum(np.linalg.norm(spectra, axis=1, keepdims=True), 1e-12)
    table = np.empty((len(directions), len(freq_hz), len(channels) ** 2), np.float32)
    for n in range(len(freq_hz)):
        outer = spectra[:, :, None, n] * spectra[:, None, :, n].conj()
        table[:, n] = _real(outer).reshape(len(directions), -1)
    return Steering(
        channels=channels,
        directions=directions,
        table=table.reshape(len(directions), -1),
        reach=reach_of(item),
    )


def _of_ears(
    head: AssetRef | None, directions: Array, sample_rate: int, freq_hz: tuple[float, ...]
) -> Complex:
    """Responses of both ears at frequencies that are multiples of their difference."""
    ref = head or AssetRef(id=DEFAULT_HEAD, digest="")
    loaded = load_head(ref.id, ref.digest).at_rate(sample_rate)
    step_hz = freq_hz[1] - freq_hz[0]
    n_window = round(sample_rate / step_hz)
    every = -(-loaded.n_taps // n_window)
    bins = np.round(np.array(freq_hz) / step_hz).astype(int) * every
    spectra = ear_responses(loaded, directions, n_window * every)
    return spectra[:, :, bins].astype(np.complex128)


def _around(n: int) -> Array:
    """Directions spread evenly on a spiral. Shape: [n, 3]."""
    z = 1 - (2 * np.arange(n) + 1) / n
    turn = np.pi * (1 + np.sqrt(5)) * np.arange(n)
    flat = np.sqrt(1 - z * z)
    return np.column_stack([flat * np.cos(turn), flat * np.sin(turn), z])
