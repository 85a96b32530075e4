"""Rooms, places and renderings that tests of responses share."""

from __future__ import annotations

import math
from typing import Any, TypedDict

import numpy as np
import scipy.fft

from scenesynth.acoustics.response import Response, shoebox_response
from scenesynth.errors import UnreachableT60Error
from scenesynth.room.decay import absorption_for_t60, response_length_s
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room, Vector
from scenesynth.spatial.formats import parse_format

AIR = Air()
FS = 32000
SOURCE, LISTENER = (1.1, 0.9, 1.3), (2.7, 2.05, 1.2)


class Place(TypedDict):
    """Where a source and a listener are."""

    source_m: Vector
    listener_m: Vector


def room_of(absorption: Any, size_m: Vector = (4.0, 3.2, 2.5)) -> Room:
    full = np.broadcast_to(np.asarray(absorption, dtype=float), (6, 7))
    walls = tuple(tuple(float(a) for a in wall) for wall in full)
    return Room(id="test", size_m=size_m, band_hz=OCTAVE_BANDS_HZ, absorption=walls)


def render(room: Room, format: str = "foa", **changes: Any) -> Response:
    arguments: dict[str, Any] = {
        "air": AIR,
        "source_m": SOURCE,
        "listener_m": LISTENER,
        "rotation": np.eye(3),
        "sample_rate": FS,
        "length_s": 0.04,
        "highpass_hz": 0.0,
    }
    return shoebox_response(room=room, format=parse_format(format), **(arguments | changes))


def energy(x: np.ndarray) -> float:
    return float(np.sum(np.square(x, dtype=np.float64)))


def decay_db(pressure: np.ndarray, low_hz: float = 88.0) -> np.ndarray:
    """Schroeder curve of everything above `low_hz`, below which image sources pile up."""
    n_fft = scipy.fft.next_fast_len(2 * len(pressure), real=True)
    spectrum = scipy.fft.rfft(pressure.astype(np.float64), n_fft)
    octaves = np.maximum(np.arange(len(spectrum)) * FS / n_fft, 1e-3) / low_hz
    spectrum /= np.sqrt(1 + octaves**-12.0)
    signal = scipy.fft.irfft(spectrum, n_fft)[: len(pressure)]
    remaining = np.cumsum(np.square(signal[::-1]))[::-1]
    return 10 * np.log10(np.maximum(remaining / remaining[0], 1e-12))


def random_places(room: Room, n: int, seed: int, apart_m: float = 1.0) -> list[Place]:
    rng = np.random.default_rng(seed)
    places: list[Place] = []
    while len(places) < n:
        source, listener = rng.uniform(0.4, np.array(room.size_m) - 0.4, (2, 3))
        if math.dist(source, listener) > apart_m:
            places.append({"source_m": tuple(source), "listener_m": tuple(listener)})
    return places


def random_rooms(n: int, seed: int) -> list[tuple[Room, Place, float]]:
    """Rooms with walls that differ, T60 0.25 to 1 s, a pair of places and the response's length."""
    rng = np.random.default_rng(seed)
    out: list[tuple[Room, Place, float]] = []
    while len(out) < n:
        size = tuple(rng.uniform([3, 3, 2.4], [12, 9, 4.5]).tolist())
        t60_s, weights = rng.uniform(0.25, 1.0), rng.uniform(0.3, 1.7, 6)
        try:
            walls = absorption_for_t60(size, [t60_s] * 7, OCTAVE_BANDS_HZ, AIR, weights)
        except UnreachableT60Error:
            continue
        room = room_of(walls, size)
        place = random_places(room, 1, seed=len(out))[0]
        out.append((room, place, response_length_s(room, AIR)))
    return out
