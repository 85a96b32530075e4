"""One impulse response: from a place in a room to a listener, in a format.

Sample 0 is the emission: the direct sound arrives at distance / c. Amplitude falls as 1 / d, and a
source at 1 m gives 1.0 in W. Directions are those of the listener's frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from scenesynth.acoustics.arrivals import room_tables
from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.measure import Acoustics, measure
from scenesynth.acoustics.spread_cpu import MAX_BANDS, channel_spectra, make_plan
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import Air, Room, Vector
from scenesynth.spatial.formats import Format
from scenesynth.timing import stage

MIN_DISTANCE_M = 0.05
"""Closer than this a point source is no model of anything, and 1 / d runs away."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Response:
    """A rendered response.

    Attributes:
        ir: float32. Shape: [channels, samples].
        direct_delay_s: distance / c.
        direction: unit vector towards the source in the listener's frame.
        measured: reverberation times and ratios of the W channel.
    """

    ir: NDArray[np.float32]
    direct_delay_s: float
    distance_m: float
    direction: Vector
    measured: Acoustics


def shoebox_response(
    *,
    room: Room,
    air: Air,
    source_m: Vector,
    listener_m: Vector,
    rotation: ArrayLike,
    format: Format,
    sample_rate: int,
    length_s: float,
    highpass_hz: float = 30.0,
) -> Response:
    """Response by image sources at full order: every image within `length_s`.

    Args:
        rotation: listener-to-room matrix. Shape: [3, 3].
        length_s: length of the response; it has to hold the direct sound.
        highpass_hz: corner of the causal second-order high-pass; 0 for none.

    Raises:
        ValueError: a position outside the room or on a wall, source and listener at one place, no
            band below Nyquist, a response that ends before the direct sound.
    """
    turn = np.array(rotation, dtype=np.float64)
    away = np.subtract(source_m, listener_m)
    distance_m = float(np.linalg.norm(away))
    n_bands = _usable_bands(room, sample_rate)
    _check(room, air, source_m, listener_m, turn, distance_m, length_s)
    n_samples = round(length_s * sample_rate)
    radius_m = n_samples / sample_rate * air.speed_of_sound_mps
    band_hz = room.band_hz[:n_bands]
    plan = make_plan(sample_rate, n_samples, band_hz)
    spectra = channel_spectra(
        plan,
        room_tables(room, source_m, listener_m, radius_m),
        radius_m=radius_m,
        rotation=turn,
        order=format.order,
        attenuation_per_m=energy_attenuation_per_m(band_hz, air),
        speed_of_sound_mps=air.speed_of_sound_mps,
    )
    periodic = scipy.fft.irfft(spectra, n=plan.n_fft, axis=1, workers=1)
    ir = highpass(periodic, n_samples, highpass_hz, sample_rate)
    direct_delay_s = distance_m / air.speed_of_sound_mps
    x, y, z = turn.T @ away / distance_m
    with stage("measure"):
        measured = measure(ir[0], sample_rate, band_hz, direct_delay_s)
    return Response(
        ir=ir,
        direct_delay_s=direct_delay_s,
        distance_m=distance_m,
        direction=(float(x), float(y), float(z)),
        measured=measured,
    )


def _usable_bands(room: Room, sample_rate: int) -> int:
    """How many bands of the room lie below Nyquist."""
    ratios = np.diff(np.log2(room.band_hz))
    if len(room.band_hz) > MAX_BANDS or np.any(np.abs(ratios - 1.0) > 0.02):
        raise ValueError(
            f"room {room.id}: band_hz = {room.band_hz}; must be up to {MAX_BANDS} octave bands, "
            f"each twice the one before"
        )
    n = sum(band < sample_rate / 2 for band in room.band_hz)
    if n == 0:
        raise ValueError(
            f"sample_rate = {sample_rate} Hz is too low: no band of room {room.id} lies below "
            f"Nyquist (lowest is {room.band_hz[0]:g} Hz); use more than {2 * room.band_hz[0]:g} Hz"
        )
    return n


def _check(
    room: Room,
    air: Air,
    source_m: Vector,
    listener_m: Vector,
    rotation: NDArray[np.float64],
    distance_m: float,
    length_s: float,
) -> None:
    for name, position in (("source_m", source_m), ("listener_m", listener_m)):
        if not all(math.isfinite(value) for value in position):
            raise ValueError(f"{name} = {position}; must be finite")
        if why := room.outside(position):
            raise ValueError(f"{name} = {position} lies outside room {room.id}: {why}")
    if distance_m < MIN_DISTANCE_M:
        raise ValueError(
            f"source_m and listener_m are {distance_m:g} m apart; must be at least "
            f"{MIN_DISTANCE_M} m"
        )
    if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
        raise ValueError(f"rotation must be an orthonormal [3, 3] matrix, got {rotation.tolist()}")
    if length_s * air.speed_of_sound_mps <= distance_m:
        raise ValueError(
            f"length_s = {length_s:g} ends before the direct sound arrives at "
            f"{distance_m / air.speed_of_sound_mps:.4g} s; make it longer"
        )
