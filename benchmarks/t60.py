"""How near measured reverberation times are to those asked for, over the rooms of a recipe.

    python benchmarks/t60.py [--recipe gram] [--rooms 500] [--places 1] [--ratio 1.25]
        [--sample-rate 32000] [--first 0]

Each room is rendered in mode `full`, mono, from a target to a listener that the recipe places, and
measured; with several places, the mean of their T30 is a second table, as ISO 3382-2 would have it.
Rooms of materials ask for nothing; theirs is what `predicted_t60_s` says (and for broadband, where
bands differ, what the same model says of their sum). `--ratio` asks neighbouring bands for random
ratios of up to that much instead of the recipe's T60, within what the room can have, and says how
many could not. Prints, broadband and per band, the median of measured over asked for and the median
and 95th percentile of its distance from 1.
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass, replace
from functools import lru_cache

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.compile import ensure_compiled
from scenesynth.acoustics.grids import band_edge, band_weights
from scenesynth.acoustics.response import shoebox_response
from scenesynth.distributions import Draws
from scenesynth.errors import PlacementError, UnreachableT60Error
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.decay import (
    absorption_for_t60,
    late_covariance,
    octant_directions,
    predicted_t60_s,
    response_length_s,
)
from scenesynth.room.family import DrawnRoom, draw_room
from scenesynth.room.model import Room, Vector
from scenesynth.scene.placement import place_emitter, place_listener
from scenesynth.scene.recipe import load_recipe
from scenesynth.spatial.formats import parse_format

MOST_DRAWS = 50
"""Draws of one pair of places; the recipe's constraints fail some."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One room.

    Attributes:
        asked_s: T60 broadband, then per band. Shape: [1 + bands].
        measured_s: broadband, then per band. Shape: [places, 1 + bands].
    """

    asked_s: NDArray[np.float64]
    measured_s: NDArray[np.float64]


def drawn_room(recipe_name: str, index: int) -> DrawnRoom:
    """A shoebox of the recipe."""
    draws = Draws(seed=0, split="train", index=index, attempt=0)
    return draw_room(_recipe(recipe_name).rooms, f"room{index}", draws)


@lru_cache(maxsize=1)
def _recipe(name: str):  # type: ignore[no-untyped-def]
    return load_recipe(name)


def asked_again(drawn: DrawnRoom, ratio: float, index: int) -> DrawnRoom | None:
    """The box with random ratios of neighbouring bands around its T60 at 1 kHz, or None."""
    rng = np.random.default_rng(index)
    room = drawn.room
    middle = predicted(room, drawn)[room.band_hz.index(1000.0)]
    steps = np.cumsum(rng.uniform(-1, 1, len(room.band_hz)))
    t60_s = middle * ratio ** (steps - steps[room.band_hz.index(1000.0)])
    try:
        walls = absorption_for_t60(
            room.size_m, t60_s, room.band_hz, drawn.air, tuple(rng.uniform(0.7, 1.3, 6))
        )
    except UnreachableT60Error:
        return None
    asked = tuple(float(value) for value in t60_s)
    return replace(drawn, room=replace(room, absorption=walls, rt60_s=asked, materials=None))


def predicted(room: Room, drawn: DrawnRoom) -> NDArray[np.float64]:
    """T60 per band that the decay model expects."""
    attenuation = energy_attenuation_per_m(np.array(room.band_hz), drawn.air)
    speed = drawn.air.speed_of_sound_mps
    return predicted_t60_s(room.size_m, room.absorption, attenuation, speed, room.band_hz)


def measured(
    drawn: DrawnRoom, recipe_name: str, places: int, sample_rate: int, index: int
) -> Found:
    """Render and measure where the recipe puts its listener and its first target."""
    room, rows = drawn.room, []
    for place in range(places):
        source_m, listener_m = drawn_places(room, recipe_name, index * places + place)
        got = shoebox_response(
            room=room,
            air=drawn.air,
            source_m=source_m,
            listener_m=listener_m,
            rotation=np.eye(3),
            format=parse_format("mono"),
            sample_rate=sample_rate,
            length_s=response_length_s(room, drawn.air),
        ).measured
        missing = [math.nan] * (len(room.band_hz) - len(got.rt60_s))
        rows.append([got.rt60_broadband_s, *got.rt60_s, *missing])
    asked = predicted(room, drawn) if room.rt60_s is None else np.array(room.rt60_s)
    whole = asked[0] if np.ptp(asked) == 0 else broadband(drawn, sample_rate)
    return Found(asked_s=np.array([whole, *asked]), measured_s=np.array(rows))


def drawn_places(room: Room, recipe_name: str, index: int) -> tuple[Vector, Vector]:
    """Source and listener of a scene of the recipe."""
    recipe = _recipe(recipe_name)
    for attempt in range(MOST_DRAWS):
        draws = Draws(seed=1, split="train", index=index, attempt=attempt)
        try:
            listener = place_listener(recipe.listener, room, None, draws)
            rng = draws.rng("target.position", 0)
            source_m = place_emitter(
                "target0", recipe.targets.placement, room, listener, [], None, rng
            )
        except PlacementError:
            continue
        return source_m, listener.position_m
    raise PlacementError(f"{recipe_name}: {MOST_DRAWS} draws found no places in room {room.id}")


def broadband(drawn: DrawnRoom, sample_rate: int) -> float:
    """T30 of everything above 88 Hz that the decay model expects, where bands differ.

    White noise of all bands at once, mixed by the octave weights of the engine.
    """
    room, speed = drawn.room, drawn.air.speed_of_sound_mps
    attenuation = energy_attenuation_per_m(np.array(room.band_hz), drawn.air)
    times_s = np.linspace(0.002, 1.2 * predicted(room, drawn).max(), 400)
    ones = np.ones((len(octant_directions()), 1))
    bands = late_covariance(
        room.size_m, room.absorption, attenuation, speed, times_s, ones, band_hz=room.band_hz
    )[..., 0, 0]
    freq_hz = np.arange(room.band_hz[0] / math.sqrt(2), sample_rate / 2, 10.0)
    passed = band_weights(freq_hz, room.band_hz) * band_edge(freq_hz, sample_rate)[:, None]
    root = np.sqrt(bands)
    energy = np.einsum("ij,it,jt->t", passed.T @ passed, root, root)
    level = np.cumsum(energy[::-1])[::-1]
    level_db = 10 * np.log10(level / level[0])
    kept = (level_db <= -5) & (level_db >= -35)
    return float(-60 / np.polyfit(times_s[kept], level_db[kept], 1)[0])


def table(title: str, ratios: NDArray[np.float64], names: list[str]) -> None:
    """Print one line per column of `ratios` (NaN: not measurable) and one of 250 Hz to 4 kHz."""
    print(f"\n{title:<24}{'ratio':>8}{'error %':>9}{'95 %':>8}{'measured':>10}")
    columns = [(name, ratios[:, n]) for n, name in enumerate(names)]
    columns.append(("250 Hz to 4 kHz", ratios[:, 2:7].ravel()))
    for name, column in columns:
        values = column[np.isfinite(column)]
        if len(values):
            error = 100 * np.abs(values - 1)
            middle, most = np.median(error), np.percentile(error, 95)
            share = f"{100 * len(values) / len(column):.0f} %"
            print(f"{name:<24}{np.median(values):8.3f}{middle:9.1f}{most:8.1f}{share:>10}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--recipe", default="gram")
    parser.add_argument("--rooms", type=int, default=500)
    parser.add_argument("--places", type=int, default=1)
    parser.add_argument("--ratio", type=float)
    parser.add_argument("--sample-rate", type=int, default=32000)
    parser.add_argument("--first", type=int, default=0, help="number of the first room")
    asked = parser.parse_args()
    ensure_compiled(print)
    found, refused = [], 0
    for index in range(asked.first, asked.first + asked.rooms):
        drawn: DrawnRoom | None = drawn_room(asked.recipe, index)
        if asked.ratio and drawn:
            drawn = asked_again(drawn, asked.ratio, index)
        if drawn is None:
            refused += 1
            continue
        found.append(measured(drawn, asked.recipe, asked.places, asked.sample_rate, index))
    wanted = np.array([item.asked_s for item in found])
    ratios = np.array([item.measured_s for item in found]) / wanted[:, None, :]
    names = ["broadband", *(f"{band:g} Hz" for band in drawn_room(asked.recipe, 0).room.band_hz)]
    said = f", {refused} refused" if asked.ratio else ""
    print(f"{asked.recipe}: {len(found)} rooms{said}")
    table("each response", ratios.reshape(-1, len(names)), names)
    if asked.places > 1:
        table(f"mean of {asked.places} places", ratios.mean(axis=1), names)


if __name__ == "__main__":
    main()
