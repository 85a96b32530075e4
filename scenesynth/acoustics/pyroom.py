"""Rooms of any shape by pyroomacoustics: image sources, and rays for what comes after them.

pyroomacoustics' compiled core says which image sources the listener sees and where its rays go
(`scenesynth.acoustics.libroom`). Responses are made of that as this package makes all of them: any
Ambisonic order, directional sources in every band, ISO 9613-1 air, sample 0 the emission, a causal
high-pass. Mode `full` is every image within the response, which only a box has in a lattice that
can be counted. Mode `tail` is images of up to `tracing.image_order` reflections; the energy of what
comes later, or from scattering walls, is traced by `tracing.rays` rays, and noise of that energy is
added per band, direction and time.

The source has to be visible from the listener: a label would otherwise name a direction from which
nothing comes.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.early import REFLECTIONS, Early
from scenesynth.acoustics.engines import emitter_seed
from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.libroom import Images, image_sources, traced_energy
from scenesynth.acoustics.noise import BLOCK
from scenesynth.acoustics.points import sum_of_arrivals
from scenesynth.acoustics.response import Request, Response, Settled, measured_response, settle
from scenesynth.acoustics.tail import add_field
from scenesynth.room.model import Vector
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import Emitter, Keyframe, SceneSpec, Tracing
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.formats import Format

BIN_BLOCKS = 4
"""Energy is counted in this many blocks of noise: 8 ms at 32 kHz."""

DIRECTIONS = 240
"""Directions by which energy is counted: 8 degrees from their middle to the edge."""


def respond(
    spec: SceneSpec,
    emitter: Emitter,
    emitter_index: int,
    format: Format,
    emitter_at: Keyframe,
    listener_at: Keyframe,
) -> Response:
    """Response of one emitter of a scene; see `scenesynth.acoustics.engines`.

    Raises:
        ConfigError: pyroomacoustics is missing or too old, or more image sources than are feasible.
        ValueError: positions that are not in the room or do not see each other.
    """
    turned = rotation_matrix(emitter_at.yaw_deg, emitter_at.pitch_deg, emitter_at.roll_deg)
    x, y, z = turned[:, 0].tolist()
    request = Request(
        room=spec.room,
        air=spec.air,
        source_m=emitter_at.position_m,
        listener_m=listener_at.position_m,
        rotation=rotation_matrix(listener_at.yaw_deg, listener_at.pitch_deg, listener_at.roll_deg),
        format=format,
        sample_rate=spec.sample_rate,
        length_s=spec.response_s,
        highpass_hz=spec.highpass_hz,
        scattering=spec.scattering,
        directivity=emitter.directivity,
        front=(x, y, z),
        displacement_m=spec.displacement_m,
        seed=emitter_seed(spec.acoustic_seed, emitter_index),
    )
    return traced_response(request, spec.tracing if spec.mode == "tail" else None)


def traced_response(request: Request, tracing: Tracing | None) -> Response:
    """Response by image sources and rays; every image of a shoebox, where `tracing` is None.

    Raises:
        ConfigError, ValueError: see `respond`.
    """
    room = request.room
    settled = settle(request, ("shoebox",) if tracing is None else ("shoebox", "outline", "mesh"))
    if wall := room.blocked(request.listener_m, request.source_m):
        raise ValueError(
            f"room {room.id}: {wall} stands between source_m = {request.source_m} and listener_m = "
            f"{request.listener_m}, so that no direct sound comes from the labelled direction; "
            f"move one of them"
        )
    order = _full_order(room.size_m, settled.radius_m) if tracing is None else tracing.image_order
    images = image_sources(
        room,
        request.source_m,
        request.listener_m,
        n_bands=len(settled.band_hz),
        order=order,
        scattered=tracing is not None and tracing.rays > 0,
    )
    ir = _of_images(images, request, settled)
    if tracing is not None and tracing.rays:
        _add_rays(ir, request, settled, tracing)
    ir = highpass(ir, settled.n_samples, request.highpass_hz, request.sample_rate)
    return measured_response(request, settled, ir, partial(_early, images, request, settled))


def _early(images: Images, request: Request, settled: Settled) -> Early:
    """The images of few reflections, the direct sound first."""
    distance_m, amplitude, towards = _arriving(images, settled)
    few = np.flatnonzero((images.order <= REFLECTIONS) & (distance_m <= settled.radius_m))
    few = few[np.argsort(distance_m[few], kind="stable")]
    return Early(
        delay_s=distance_m[few] / request.air.speed_of_sound_mps,
        direction=towards[few],
        amplitude=amplitude[few],
        band_hz=settled.band_hz,
    )


def _full_order(size_m: Vector, radius_m: float) -> int:
    """Most reflections of an image within the radius: the sphere's extent in the lattice."""
    return math.ceil(radius_m * math.hypot(*(1 / length for length in size_m))) + 3


def _of_images(images: Images, request: Request, settled: Settled) -> NDArray[np.float32]:
    speed_mps = request.air.speed_of_sound_mps
    distance_m, amplitude, towards = _arriving(images, settled)
    gains = spherical_harmonics(towards, request.format.order)
    near = distance_m <= settled.radius_m
    travelled_m = distance_m + _displacements_m(images, request.displacement_m, request.seed)
    return sum_of_arrivals(
        travelled_m[near] / speed_mps,
        amplitude[near],
        gains[near],
        sample_rate=request.sample_rate,
        n_samples=settled.n_samples,
        band_hz=settled.band_hz,
    )


def _arriving(
    images: Images, settled: Settled
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance, amplitude per band and direction in the listener's frame of every image."""
    distance_m = np.linalg.norm(images.offset_m, axis=1)
    amplitude = images.reflection / distance_m[:, None]
    amplitude *= np.exp(-0.5 * settled.attenuation_per_m * distance_m[:, None])
    if settled.directivity is not None:
        amplitude *= _radiated(settled, images.emission).T
    towards = np.einsum("ni,ij->nj", images.offset_m / distance_m[:, None], settled.rotation)
    return distance_m, amplitude, towards


def _radiated(settled: Settled, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amplitude that the source sends in some directions of the room. Shape: [bands, n]."""
    assert settled.directivity is not None
    cosine = np.einsum("ni,i->n", directions, np.array(settled.front))
    powers = cosine ** np.arange(settled.directivity.shape[1])[:, None]
    radiated: NDArray[np.float64] = np.einsum("bp,pn->bn", settled.directivity, powers)
    return radiated


def _displacements_m(images: Images, most_m: float, seed: int) -> NDArray[np.float64]:
    """How much farther images of three reflections and more lie: a hash of where they are.

    In a box the same hash of the same numbers as that of `scenesynth.acoustics.spread_cpu`.
    """
    if not most_m:
        return np.zeros(len(images.order))
    x, y, z = images.place.T.astype(np.uint32)
    word = x * np.uint32(0x9E3779B1) ^ y * np.uint32(0x85EBCA77) ^ z * np.uint32(0xC2B2AE3D)
    word ^= np.uint32(seed)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word ^= word >> np.uint32(shift)
        word *= np.uint32(factor)
    word ^= word >> np.uint32(16)
    return np.where(images.order >= 3, most_m * 2.0**-32 * word, 0.0)


def _add_rays(
    ir: NDArray[np.float32], request: Request, settled: Settled, tracing: Tracing
) -> None:
    """Add noise with the energy, directions and bands of what rays bring, in place."""
    n_channels, n_samples = ir.shape
    covariance, blocks = _traced_covariance(request, settled, tracing)
    # Contiguous, as every caller of the kernels gives arrays: each is compiled once.
    rows, columns = map(np.ascontiguousarray, np.tril_indices(n_channels))
    field = np.zeros((n_channels, n_samples), dtype=np.float32)
    add_field(
        field,
        covariance,
        blocks,
        pairs=(rows, columns),
        band_hz=settled.band_hz,
        rotation=settled.rotation,
        sample_rate=request.sample_rate,
        rising=np.ones(0, dtype=np.float32),
        scattering=request.scattering,
        seed=request.seed,
    )
    silent = math.ceil(settled.direct_delay_s * request.sample_rate)
    ir[:, silent:] += field[:, silent:]


def _traced_covariance(
    request: Request, settled: Settled, tracing: Tracing
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Power and directional covariance of what rays bring, per second, and when, in blocks.

    Shapes: [bands, nodes, K, K] and [nodes].
    """
    bin_s = BIN_BLOCKS * BLOCK / request.sample_rate
    rays, directions = _sphere(tracing.rays), _sphere(DIRECTIONS)
    power = np.ones((len(rays), len(settled.band_hz)))
    if settled.directivity is not None:
        power = _radiated(settled, rays).T ** 2
    energy = traced_energy(
        request.room,
        request.source_m,
        request.listener_m,
        above_order=tracing.image_order,
        rays=rays,
        power=power,
        directions=directions,
        length_s=settled.n_samples / request.sample_rate,
        bin_s=bin_s,
        speed_of_sound_mps=request.air.speed_of_sound_mps,
        seed=request.seed,
    )
    n_bins = energy.shape[2]
    way_m = (np.arange(n_bins) + 0.5) * bin_s * request.air.speed_of_sound_mps
    energy *= np.exp(-settled.attenuation_per_m[:, None] * way_m) / bin_s
    harmonics = spherical_harmonics(directions, request.format.order)
    pairs = np.einsum("di,dj->dij", harmonics, harmonics)
    # No library product: its sums may depend on threads and on how many channels there are.
    covariance = np.einsum("dbt,dk->btk", energy, pairs.reshape(DIRECTIONS, -1))
    # The middles of bins are nodes, and so are both ends. What noise the first ones have before
    # anything can arrive is cut off later.
    middles = np.arange(n_bins) * BIN_BLOCKS + BIN_BLOCKS // 2
    blocks = np.concatenate([[0], middles, [n_bins * BIN_BLOCKS]])
    covariance = np.ascontiguousarray(covariance[:, [0, *range(n_bins), n_bins - 1]])
    return covariance.reshape(*covariance.shape[:2], *pairs.shape[1:]), blocks


@lru_cache(maxsize=8)
def _sphere(n: int) -> NDArray[np.float64]:
    """Evenly spread directions on a spiral from pole to pole (Fibonacci lattice). Shape: [n, 3]."""
    k = np.arange(n) + 0.5
    z = 1 - 2 * k / n
    angle = np.pi * (3 - math.sqrt(5)) * k
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)
