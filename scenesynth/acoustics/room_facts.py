"""What can be said about a room before anything is rendered in it, and checked by rendering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scenesynth.acoustics.measure import Acoustics, measure
from scenesynth.room import decay, eyring
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.measured import MeasuredRoom
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room, Vector
from scenesynth.seeds import rng

LOOKED_AT: Final = 16
"""Responses of a measured room that are measured for its description."""

CHECKED: Final = 5
"""Responses that are rendered to check an absorption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFacts:
    """A room with walls in numbers.

    Attributes:
        surfaces: names of the rows of its absorption.
        t60_s: per band: what a measurement in a box will find; Eyring's estimate of other shapes.
        shortest_s, longest_s: T60 per band that some absorption of the same proportions gives a
            box; empty for other shapes.
        schroeder_hz: 2000 sqrt(T60 / V), T60 at 500 Hz and 1 kHz: below it single modes stand out.
        mixing_s: sqrt(V) milliseconds (Polack 1988): from then on reflections overlap everywhere.
    """

    surfaces: tuple[str, ...]
    volume_m3: float
    surface_m2: float
    t60_s: tuple[float, ...]
    shortest_s: tuple[float, ...] = ()
    longest_s: tuple[float, ...] = ()
    schroeder_hz: float
    mixing_s: float


def room_facts(room: Room, air: Air) -> RoomFacts:
    """Facts of a room of any shape but a measured one."""
    shortest_s: tuple[float, ...] = ()
    longest_s: tuple[float, ...] = ()
    if room.shape == "shoebox":
        t60_s = _predicted(room.size_m, room.absorption, room.band_hz, air)
        weights = np.maximum(np.array(room.absorption).mean(axis=1), 1e-3)
        shortest_s, longest_s = (
            tuple(ends.tolist())
            for ends in decay.reachable_t60_s(room.size_m, room.band_hz, air, weights.tolist())
        )
    else:
        t60_s = tuple(float(value) for value in eyring.eyring_t60_s(room, air))
    middle = [t for t, band in zip(t60_s, room.band_hz, strict=True) if 400 < band < 1200]
    volume_m3 = eyring.volume_m3(room)
    return RoomFacts(
        surfaces=room.surfaces,
        volume_m3=volume_m3,
        surface_m2=float(eyring.surface_areas_m2(room).sum()),
        t60_s=t60_s,
        shortest_s=shortest_s,
        longest_s=longest_s,
        schroeder_hz=2000 * math.sqrt(float(np.mean(middle or t60_s)) / volume_m3),
        mixing_s=math.sqrt(volume_m3) / 1000,
    )


def check_box(room: Room, air: Air, sample_rate: int = 24000) -> list[Acoustics]:
    """Measured acoustics of a few responses rendered in a shoebox, at places drawn from it."""
    from scenesynth.acoustics.simulate import simulate_rir

    bands = tuple(band for band in room.band_hz if band < sample_rate / 2)
    walls = [wall[: len(bands)] for wall in room.absorption]
    full = [[*wall, *[wall[-1]] * (len(OCTAVE_BANDS_HZ) - len(wall))] for wall in walls]
    draws = rng(0, "", "rooms.check")
    found = []
    for _ in range(CHECKED):
        source, listener = (
            tuple(draws.uniform(0.15, 0.85) * length for length in room.size_m) for _ in range(2)
        )
        ir = simulate_rir(
            room_m=room.size_m,
            source_m=source,
            listener_m=listener,
            absorption=full,
            format="mono",
            sample_rate=sample_rate,
            air=air,
        )
        delay_s = math.dist(source, listener) / air.speed_of_sound_mps
        found.append(measure(ir[0], sample_rate, bands, delay_s))
    return found


def measured_facts(room: MeasuredRoom) -> list[Acoustics]:
    """Acoustics of up to `LOOKED_AT` responses of a measured room, evenly out of all.

    Of W, of the capsule at the listener's place, or of the first channel.
    """
    card = room.card
    bands = tuple(band for band in OCTAVE_BANDS_HZ if band < card.sample_rate / 2)
    step = max(1, card.n_pairs // LOOKED_AT)
    return [
        measure(
            room.response(pair)[card.omni or 0],
            card.sample_rate,
            bands,
            max(float(room.pairs.direct_s[pair]), 0.0),
        )
        for pair in range(0, card.n_pairs, step)
    ]


def medians(values: Sequence[Sequence[float]]) -> tuple[float | None, ...]:
    """Median per column of what is finite; None where nothing is."""
    columns = np.array(values, dtype=float).T
    kept = [column[np.isfinite(column)] for column in columns]
    return tuple(float(np.median(column)) if len(column) else None for column in kept)


def _predicted(
    size_m: Vector, absorption: Any, band_hz: Sequence[float], air: Air
) -> tuple[float, ...]:
    attenuation = energy_attenuation_per_m(np.array(band_hz), air)
    found = decay.predicted_t60_s(size_m, absorption, attenuation, air.speed_of_sound_mps, band_hz)
    return tuple(float(value) for value in found)
