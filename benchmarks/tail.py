"""How far mode `tail` is from mode `full`, over random rooms.

    python benchmarks/tail.py [--rooms 200] [--scattering 0] [--displacement 0.1] [--highpass 30]

Rooms of 3 to 12 x 3 to 9 x 2.4 to 4.5 m whose walls differ by up to a factor of 5.7, T60 0.25 to
1 s in all bands, one pair of places each, FOA at 32 kHz. For every room the same response is
rendered in both modes, with one seed. Prints median, 90th percentile and worst of

    decay     largest deviation of the Schroeder curve of W, down to -40 dB of the full one
    T30       relative difference of the broadband T30 (what lies above 88 Hz)
    level     W's energy from 100 ms after emission on
    Y, Z, X   their share of W's energy from 100 ms on: difference, and how often it lies within
              15 % or 0.02 of W
"""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.compile import ensure_compiled
from scenesynth.acoustics.response import Request, Response, shoebox_responses
from scenesynth.errors import UnreachableT60Error
from scenesynth.room.decay import absorption_for_t60, response_length_s
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.scene.spec import Mode
from scenesynth.spatial.formats import parse_format

SAMPLE_RATE = 32000
LATE_S = 0.1
LOWEST_DB = -40.0
AIR = Air()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of `tail` from `full` in one room.

    Attributes:
        shares: late energy of Y, Z, X over that of W: `full`, then `tail`. Shape: [2, 3].
    """

    decay_db: float
    t30: float
    level_db: float
    shares: NDArray[np.float64]


def requests(
    seed: int, scattering: float, displacement_m: float, highpass_hz: float
) -> list[Request]:
    """The same response of a random room in both modes."""
    rng = np.random.default_rng(seed)
    while True:
        size = tuple(rng.uniform([3, 3, 2.4], [12, 9, 4.5]).tolist())
        t60_s, weights = rng.uniform(0.25, 1.0), rng.uniform(0.3, 1.7, 6)
        source, listener = rng.uniform(0.4, np.array(size) - 0.4, (2, 3))
        if math.dist(source, listener) < 1.0:
            continue
        try:
            walls = absorption_for_t60(size, [t60_s] * 7, OCTAVE_BANDS_HZ, AIR, weights)
        except UnreachableT60Error:
            continue
        break
    room = Room(id=f"room{seed}", size_m=size, band_hz=OCTAVE_BANDS_HZ, absorption=walls)
    modes: tuple[Mode, Mode] = ("full", "tail")
    return [
        Request(
            room=room,
            air=AIR,
            source_m=tuple(source.tolist()),
            listener_m=tuple(listener.tolist()),
            rotation=np.eye(3),
            format=parse_format("foa"),
            sample_rate=SAMPLE_RATE,
            length_s=response_length_s(room, AIR),
            highpass_hz=highpass_hz,
            mode=mode,
            scattering=scattering,
            displacement_m=displacement_m,
            seed=seed,
        )
        for mode in modes
    ]


def difference(full: Response, tail: Response) -> Difference:
    """What tells the two apart."""
    want, got = schroeder_db(full.ir[0]), schroeder_db(tail.ir[0])
    late = [
        np.square(item.ir[:, round(LATE_S * SAMPLE_RATE) :], dtype=np.float64).sum(axis=1)
        for item in (full, tail)
    ]
    return Difference(
        decay_db=float(np.abs(got - want)[want > LOWEST_DB].max()),
        t30=tail.measured.rt60_broadband_s / full.measured.rt60_broadband_s - 1,
        level_db=float(10 * np.log10(late[1][0] / late[0][0])),
        shares=np.array([energies[1:] / energies[0] for energies in late]),
    )


def schroeder_db(pressure: NDArray[np.float32]) -> NDArray[np.float64]:
    """Backward-integrated energy, relative to all of it."""
    remaining = np.cumsum(np.square(pressure[::-1], dtype=np.float64))[::-1]
    return 10 * np.log10(np.maximum(remaining / remaining[0], 1e-12))


def line(name: str, values: NDArray[np.float64], scale: float = 1.0) -> str:
    """Median and spread of signed values, and of their size."""
    size = scale * np.abs(values)
    middle, tenth, most = np.median(size), np.percentile(size, 90), size.max()
    mean = scale * np.median(values)
    return f"{name:12}{mean:10.2f}{middle:10.2f}{tenth:10.2f}{most:10.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rooms", type=int, default=200)
    parser.add_argument("--scattering", type=float, default=0.0)
    parser.add_argument("--displacement", type=float, default=0.1)
    parser.add_argument("--highpass", type=float, default=30.0)
    asked = parser.parse_args()
    ensure_compiled(print)
    found = []
    for seed in range(asked.rooms):
        pair = requests(seed, asked.scattering, asked.displacement, asked.highpass)
        found.append(difference(*shoebox_responses(pair)))
    shares = np.array([item.shares for item in found])
    off = shares[:, 1] - shares[:, 0]
    near = np.abs(off) <= np.maximum(0.15 * shares[:, 0], 0.02)
    t30 = np.array([item.t30 for item in found])
    print(f"{'':12}{'median':>10}{'median':>10}{'90 %':>10}{'most':>10}   {asked.rooms} rooms")
    print(f"{'':12}{'signed':>10}{'size':>10}{'size':>10}{'size':>10}")
    print(line("decay, dB", np.array([item.decay_db for item in found])))
    print(f"{line('T30, %', t30, 100)}   {100 * np.mean(np.abs(t30) <= 0.05):.0f} % within 5 %")
    print(line("level, dB", np.array([item.level_db for item in found])))
    for n, name in enumerate("YZX"):
        print(f"{line(f'{name} of W', off[:, n])}   {100 * near[:, n].mean():.0f} % near enough")


if __name__ == "__main__":
    main()
