"""Responses per second: scenesynth against pyroomacoustics, in one process, one thread each.

    python benchmarks/rir.py [--repeats 9] [--no-pyroomacoustics]

FOA at 32 kHz, seven octave bands, air, full order: every image within the T60 here; there the
order and the omni plus three figure-of-eight microphones that its documentation suggests. Prints
the median wall and CPU milliseconds of a response and the ratio of CPU times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PRA_NUM_THREADS", "1")

import numpy as np

from scenesynth.acoustics.measure import measure
from scenesynth.acoustics.response import Response, shoebox_response
from scenesynth.render.compile import ensure_compiled
from scenesynth.render.memory import keep_freed_memory
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.spatial.formats import parse_format

SAMPLE_RATE = 32000
BAND_FACTORS = (0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.4)
ROOMS: dict[str, Any] = {
    "small": ((4.0, 3.0, 2.5), 0.3, (1.1, 0.9, 1.3), (2.7, 2.05, 1.2)),
    "medium": ((7.0, 5.0, 3.0), 0.5, (1.9, 1.4, 1.6), (4.6, 3.3, 1.35)),
    "large": ((12.0, 9.0, 4.0), 0.9, (3.1, 2.2, 1.7), (7.9, 5.6, 1.45)),
}


def band_absorption(size_m: tuple[float, ...], t60_s: float, air: Air) -> list[float]:
    """Sabine's mean absorption, spread over the bands; the same for both engines."""
    x, y, z = size_m
    surface = 2 * (x * y + x * z + y * z)
    mean = 24 * np.log(10) * x * y * z / (air.speed_of_sound_mps * surface * t60_s)
    return [min(0.95, mean * factor) for factor in BAND_FACTORS]


def timed(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median wall and CPU milliseconds of `call`."""
    wall, cpu = [], []
    for _ in range(repeats):
        start_wall, start_cpu = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start_wall)
        cpu.append(time.process_time() - start_cpu)
    return 1e3 * statistics.median(wall), 1e3 * statistics.median(cpu)


def our_call(name: str, format: str, air: Air) -> Callable[[], Response]:
    size_m, t60_s, source_m, listener_m = ROOMS[name]
    room = Room(
        id=name,
        size_m=size_m,
        band_hz=OCTAVE_BANDS_HZ,
        absorption=(tuple(band_absorption(size_m, t60_s, air)),) * 6,
    )
    return lambda: shoebox_response(
        room=room,
        air=air,
        source_m=source_m,
        listener_m=listener_m,
        rotation=np.eye(3),
        format=parse_format(format),
        sample_rate=SAMPLE_RATE,
        length_s=t60_s,
    )


def their_call(pra: Any, name: str, air: Air) -> Callable[[], object]:
    size_m, t60_s, source_m, listener_m = ROOMS[name]
    coefficients = band_absorption(size_m, t60_s, air)
    order = pra.inverse_sabine(t60_s, size_m)[1]

    def call() -> object:
        absorption = {"coeffs": coefficients, "center_freqs": list(OCTAVE_BANDS_HZ)}
        box = pra.ShoeBox(
            size_m,
            fs=SAMPLE_RATE,
            materials=pra.Material(absorption),
            max_order=order,
            air_absorption=True,
        )
        box.add_source(source_m)
        towards = (
            pra.directivities.DirectionVector(azimuth, colatitude, degrees=True)
            for azimuth, colatitude in ((90, 90), (0, 0), (0, 90))
        )
        patterns = [
            pra.directivities.Omnidirectional(),
            *(pra.directivities.FigureEight(orientation) for orientation in towards),
        ]
        microphones = np.tile(np.array(listener_m)[:, None], 4)
        box.add_microphone_array(microphones, directivity=patterns)
        box.compute_rir()
        return box.rir

    return call


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=9, help="of ours; theirs runs once")
    parser.add_argument("--no-pyroomacoustics", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    ensure_compiled(print)
    air = Air()
    pra = None
    if not arguments.no_pyroomacoustics:
        import pyroomacoustics as pra

        pra.constants.set("num_threads", 1)
    print(
        f"{'room':8}{'format':8}{'wall ms':>9}{'CPU ms':>9}{'measure':>9}{'theirs CPU':>12}{'x':>6}"
    )
    for name in ROOMS:
        theirs = timed(their_call(pra, name, air), 1)[1] if pra else float("nan")
        for format in ("mono", "foa", "hoa3"):
            call = our_call(name, format, air)
            response = call()
            wall, cpu = timed(call, arguments.repeats)
            pressure, delay = response.ir[0], response.direct_delay_s
            measuring = timed(
                lambda p=pressure, d=delay: measure(p, SAMPLE_RATE, OCTAVE_BANDS_HZ, d),
                arguments.repeats,
            )[1]
            line = f"{name:8}{format:8}{wall:9.2f}{cpu:9.2f}{measuring:9.2f}"
            if format == "foa" and pra:
                line += f"{theirs:12.0f}{theirs / cpu:6.0f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
