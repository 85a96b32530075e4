"""The late field as noise: level, slope and directions per band from the closed-form decay.

After the mixing time a room's images are too many and too irregular to be told apart. What is left
of them is their power E_b(t) per second in every band and their covariance over the Ambisonic
channels (`scenesynth.room.decay.late_covariance`). With L_b(t) the lower triangular factor of that
covariance over the sample rate, and n_jb(t) independent noises cut into bands, channel i is

    sum over b and j <= i of L_b[i, j](t) n_jb(t).

L is triangular in ACN order, so the channels of a lower order are the first of a higher one, and
every format is a projection of the same field. The covariance is the room's; the channels are
turned into the listener's frame at the end.

Times are few. Between nodes that lie ever further apart (a decay's curvature falls as 1 / t^2) the
level of each channel is interpolated in dB and its row of L over that level linearly; inside a
block of samples the product is a straight line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.noise import BLOCK, BLOCKS, noise_pool, stream_starts
from scenesynth.acoustics.simd import add_blocks, add_ramps
from scenesynth.jit import kernel
from scenesynth.room.decay import even_pairs, late_covariance, octant_directions
from scenesynth.room.model import Room, Vector
from scenesynth.spatial.ambisonics import harmonics_rotation, spherical_harmonics

NODE_RATIO = 1.15
"""Times of neighbouring nodes at most; the level is then right to 0.03 dB, and to 0.09 dB where
walls are so dead that single reflections rule the decay."""

LENGTH_QUANTUM = 16
"""Tails are planned for whole multiples of this many blocks, so that few plans serve all."""

LEAST_PIVOT = 1e-9
"""What a channel must have of its own, as power relative to its whole; less is taken as nothing."""

LEAST_POWER = 1e-200
"""Stands for no power at all, so that its logarithm is finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """Where images give way to noise: square-root weights of power from `start_s` to `end_s`."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """Noise whose covariance over the channels changes with time, down to its factors.

    Attributes:
        blocks: where the nodes lie, in blocks of `BLOCK` samples, rising. Shape: [nodes].
        level: of each channel at each node. Shape: [nodes, K, bands].
        shape: entries of the factor over the level of their row. Shape: [nodes, pairs, bands].
        rows, columns: which entries these are, row by row. Shape: [pairs].
        starts: block of the noise pool at which each channel stands at time 0. Shape: [K].
        turn: from the room's frame to the listener's, float32. Shape: [K, K].
        rising: weights of the first samples, float32. Shape: [whole blocks].
    """

    blocks: NDArray[np.int64]
    level: NDArray[np.float64]
    shape: NDArray[np.float64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    starts: NDArray[np.int64]
    turn: NDArray[np.float32]
    rising: NDArray[np.float32]


def late_field(
    n_channels: int,
    n_samples: int,
    *,
    room: Room,
    band_hz: tuple[float, ...],
    attenuation_per_m: NDArray[np.float64],
    speed_of_sound_mps: float,
    rotation: NDArray[np.float64],
    sample_rate: int,
    seam: Seam,
    scattering: float = 0.0,
    source_power: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Field:
    """The late field of a shoebox from the seam to the end of `n_samples`.

    Args:
        n_channels: (order + 1)^2.
        attenuation_per_m: energy attenuation of air. Shape: [bands].
        rotation: listener-to-room matrix. Shape: [3, 3].
        scattering: 0 keeps the directions of specular walls, 1 is isotropic; power stays.
        source_power: towards `octant_directions`, see `late_covariance`. Shape: [bands, n].
        seed: 32 bits; another one is another field of the same statistics.
    """
    first = int(seam.start_s * sample_rate) // BLOCK
    blocks, times_s = _nodes(first, -(-n_samples // BLOCK), sample_rate)
    what = (
        room.size_m,
        tuple(wall[: len(band_hz)] for wall in room.absorption),
        band_hz,
        tuple(attenuation_per_m.tolist()),
        speed_of_sound_mps,
        tuple(times_s.tolist()),
        math.isqrt(n_channels) - 1,
    )
    if source_power is None:
        covariance = _shared_covariance(*what)
    else:
        covariance = _covariance(*what, source_power)
    return factored(
        covariance,
        blocks,
        pairs=_lower_pairs(n_channels),
        rotation=rotation,
        sample_rate=sample_rate,
        rising=_rising(seam, sample_rate, first),
        scattering=scattering,
        seed=seed,
    )


def factored(
    covariance: NDArray[np.float64],
    blocks: NDArray[np.int64],
    *,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    rotation: NDArray[np.float64],
    sample_rate: int,
    rising: NDArray[np.float32],
    scattering: float = 0.0,
    seed: int = 0,
) -> Field:
    """The field of a given covariance.

    Args:
        covariance: per second, in the room's frame, positive semidefinite.
            Shape: [bands, nodes, K, K].
        pairs: rows and columns of the lower triangle that are not 0 everywhere, row by row.
    """
    n_bands, n_nodes, n_channels = covariance.shape[:3]
    rows, columns = pairs
    level = np.empty((n_nodes, n_channels, n_bands))
    shape = np.empty((n_nodes, len(rows), n_bands))
    degree = np.sqrt(np.arange(n_channels)).astype(np.int64)
    _factor(covariance, float(scattering), float(sample_rate), rows, columns, degree, level, shape)
    return Field(
        blocks=blocks,
        level=level,
        shape=shape,
        rows=rows,
        columns=columns,
        starts=stream_starts(seed, n_channels),
        turn=harmonics_rotation(rotation, math.isqrt(n_channels) - 1).astype(np.float32),
        rising=rising,
    )


def add_field(
    channels: NDArray[np.float32],
    covariance: NDArray[np.float64],
    blocks: NDArray[np.int64],
    *,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    band_hz: tuple[float, ...],
    rotation: NDArray[np.float64],
    sample_rate: int,
    rising: NDArray[np.float32],
    scattering: float = 0.0,
    seed: int = 0,
) -> None:
    """Add noise of a given covariance to the channels of a response; see `factored`."""
    field = factored(
        covariance,
        blocks,
        pairs=pairs,
        rotation=rotation,
        sample_rate=sample_rate,
        rising=rising,
        scattering=scattering,
        seed=seed,
    )
    add_noise(channels, field, sample_rate, band_hz)


def add_noise(
    channels: NDArray[np.float32], field: Field, sample_rate: int, band_hz: tuple[float, ...]
) -> None:
    """Add the noise of a field to the channels of a response, sample 0 the emission.

    Args:
        channels: Ambisonic, ACN SN3D; changed in place. Shape: [K, samples].
    """
    _add_noise(
        noise_pool(sample_rate, band_hz),
        field.starts,
        field.blocks,
        field.level,
        field.shape,
        field.rows,
        field.columns,
        field.turn,
        field.rising,
        channels,
    )


def octant_power(directivity: NDArray[np.float64], front: Vector) -> NDArray[np.float64]:
    """Power that a directional source sends towards `octant_directions` and their mirror images.

    The late field knows a direction only up to the walls' mirrors: the mean over the eight signs.
    Odd powers of the cosine cancel in it, and opposite directions share their even ones.

    Args:
        directivity: amplitude as a polynomial of the cosine to the front. Shape: [bands, 5].
        front: unit vector.

    Returns:
        Shape: [bands, n].
    """
    even = [np.convolve(amplitude, amplitude)[::2] for amplitude in directivity]
    return _even_means(np.array(even), front)


def octant_mean(directivity: NDArray[np.float64], front: Vector) -> NDArray[np.float64]:
    """Mean amplitude towards `octant_directions` and their mirror images. Shape: [bands, n]."""
    return _even_means(directivity[:, ::2], front)


def _even_means(coefficients: NDArray[np.float64], front: Vector) -> NDArray[np.float64]:
    """Mean over the eight mirror images of polynomials in the square of the cosine to the front."""
    mirrored = np.array(front) * [[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]]
    squared = (octant_directions() @ mirrored.T) ** 2
    means = [np.mean(squared**q, axis=1) for q in range(coefficients.shape[1])]
    summed: NDArray[np.float64] = coefficients @ np.array(means)
    return summed


def _covariance(
    size_m: Vector,
    absorption: tuple[tuple[float, ...], ...],
    band_hz: tuple[float, ...],
    attenuation_per_m: tuple[float, ...],
    speed_of_sound_mps: float,
    times_s: tuple[float, ...],
    order: int,
    source_power: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """See `late_covariance`. Shape: [bands, times, K, K]."""
    return late_covariance(
        size_m,
        absorption,
        attenuation_per_m,
        speed_of_sound_mps,
        times_s,
        _octant_harmonics(order),
        source_power,
        band_hz=band_hz,
    )


_shared_covariance = lru_cache(maxsize=16)(_covariance)
"""All omnidirectional sources of a room have one late field, wherever they and the listener are."""


@lru_cache(maxsize=256)
def _nodes(
    first: int, last: int, sample_rate: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Blocks and times at which the covariance is computed, from `first` to `last` or beyond."""
    end = -(-last // LENGTH_QUANTUM) * LENGTH_QUANTUM
    start = max(first, 1)
    n = 2 + int(math.log(end / start) / math.log(NODE_RATIO))
    blocks = np.unique(np.round(start * (end / start) ** (np.arange(n) / (n - 1))).astype(np.int64))
    if first == 0:
        blocks = np.concatenate([[0], blocks])
    return blocks, blocks.astype(np.float64) * (BLOCK / sample_rate)


@lru_cache(maxsize=8)
def _octant_harmonics(order: int) -> NDArray[np.float64]:
    return spherical_harmonics(octant_directions(), order)


@lru_cache(maxsize=8)
def _lower_pairs(n_channels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of a shoebox's factor that are not 0, row by row."""
    columns, rows = even_pairs(n_channels)
    order = np.lexsort((columns, rows))
    return rows[order], columns[order]


@lru_cache(maxsize=64)
def _rising(seam: Seam, sample_rate: int, first: int) -> NDArray[np.float32]:
    """Weight of the noise from block `first` on, until it is 1. Shape: [whole blocks]."""
    n = (-(-math.ceil(seam.end_s * sample_rate) // BLOCK) - first) * BLOCK
    time_s = (first * BLOCK + np.arange(n)) / sample_rate
    progress = (time_s - seam.start_s) / (seam.end_s - seam.start_s)
    return np.sqrt(np.clip(progress, 0.0, 1.0)).astype(np.float32)


@kernel
def _factor(  # type: ignore[no-untyped-def]
    covariance, scattering, sample_rate, rows, columns, degree, level, shape
):
    """Write every channel's level and the factor of the channels' correlations (Cholesky).

    Shapes: [bands, times, K, K] to [times, K, bands] and [times, pairs, bands].
    """
    n_bands, n_times, n_channels = covariance.shape[:3]
    lower = np.zeros((n_channels, n_channels))
    scale = np.empty(n_channels)
    for band in range(n_bands):
        for time in range(n_times):
            field = covariance[band, time]
            for i in range(n_channels):
                even = scattering / (2 * degree[i] + 1) * field[0, 0]
                power = max((1.0 - scattering) * field[i, i] + even, LEAST_POWER)
                scale[i] = math.sqrt(power)
                level[time, i, band] = math.sqrt(power / sample_rate)
            for pair in range(len(rows)):
                i, j = rows[pair], columns[pair]
                value = 1.0
                if i != j:
                    value = (1.0 - scattering) * field[i, j] / (scale[i] * scale[j])
                for k in range(j):
                    value -= lower[i, k] * lower[j, k]
                if i == j:
                    lower[i, i] = math.sqrt(value) if value > LEAST_PIVOT else 0.0
                elif lower[j, j] > 0.0:
                    lower[i, j] = value / lower[j, j]
                else:
                    lower[i, j] = 0.0
                shape[time, pair, band] = lower[i, j]


@kernel
def _add_noise(  # type: ignore[no-untyped-def]
    pool, starts, blocks, level, shape, rows, columns, rotation, rising, channels
):
    """Add the noises, weighted and turned, block by block from the first node to the end.

    What belongs to a pair and a band lies at pair * bands + band.
    """
    n_channels, n_samples = channels.shape
    n_pairs, n_bands = shape.shape[1:]
    n = n_pairs * n_bands
    noise, weights, out = pool.ravel(), rotation.ravel(), channels.ravel()
    field = np.empty(n_channels * BLOCK, dtype=np.float32)
    last = np.zeros(n_channels * BLOCK, dtype=np.float32)
    gain, ratio, before, step = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    now, then = np.empty(n), np.empty(n)
    start, slope = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.float32)
    for node in range(len(blocks) - 1):
        n_blocks = blocks[node + 1] - blocks[node]
        for pair in range(n_pairs):
            i = rows[pair]
            for b in range(n_bands):
                k = pair * n_bands + b
                gain[k] = level[node, i, b]
                ratio[k] = (level[node + 1, i, b] / level[node, i, b]) ** (1.0 / n_blocks)
                before[k] = shape[node, pair, b]
                step[k] = (shape[node + 1, pair, b] - shape[node, pair, b]) / n_blocks
                now[k] = gain[k] * before[k]
        for m in range(n_blocks):
            block = blocks[node] + m
            first = block * BLOCK
            if first >= n_samples:
                return
            _multiply(gain, ratio)
            _product(gain, before, step, m + 1.0, then)
            _straight(now, then, start, slope)
            now, then = then, now
            field[:] = 0.0
            for pair in range(n_pairs):
                at = (starts[columns[pair]] + block) % BLOCKS * n_bands * BLOCK
                add_ramps(
                    field, rows[pair] * BLOCK, noise, at, start, slope, pair * n_bands, n_bands
                )
            at = first - blocks[0] * BLOCK
            if at < len(rising):
                for c in range(n_channels):
                    for k in range(BLOCK):
                        field[c * BLOCK + k] *= rising[at + k]
            if first + BLOCK <= n_samples:
                _add_turned(field, weights, out, first, n_samples, n_channels)
                continue
            _add_turned(field, weights, last, 0, BLOCK, n_channels)
            for c in range(n_channels):
                for k in range(n_samples - first):
                    channels[c, first + k] += last[c * BLOCK + k]


@kernel
def _multiply(values, factors):  # type: ignore[no-untyped-def]
    for k in range(len(values)):
        values[k] *= factors[k]


@kernel
def _product(gain, before, step, m, out):  # type: ignore[no-untyped-def]
    for k in range(len(out)):
        out[k] = gain[k] * (before[k] + m * step[k])


@kernel
def _straight(now, then, start, slope):  # type: ignore[no-untyped-def]
    """Start and slope of the lines over a block, in single precision."""
    for k in range(len(start)):
        start[k] = now[k]
    for k in range(len(slope)):
        slope[k] = (then[k] - now[k]) * (1.0 / BLOCK)


@kernel
def _add_turned(field, weights, out, first, stride, n_channels):  # type: ignore[no-untyped-def]
    """Add a turned block to channels in which it begins at `first`; all arrays flat.

    Harmonics of one degree turn among themselves.
    """
    degree = 0
    while degree * degree < n_channels:
        low, width = degree * degree, 2 * degree + 1
        for i in range(low, low + width):
            row = i * n_channels + low
            add_blocks(out, i * stride + first, field, low * BLOCK, weights, row, width)
        degree += 1
