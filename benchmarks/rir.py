"""Responses per second: scenesynth against its peers, in one process.

    python benchmarks/rir.py [--repeats 9] [--no-peers]

Three rooms at 32 kHz, with air, in one band and in seven octave bands from 125 Hz to 8 kHz:
`full` (every image within the reverberation time) against the image sources of pyroomacoustics to
the order that it advises, and `tail` (images up to 80 ms, then noise) against its hybrid of third
order images and ray tracing. Its first-order Ambisonics are an omni and three figure-of-eight
microphones, as its documentation suggests. rir-generator and gpuRIR join where they are installed
(one band, omni). All on one thread; CPU milliseconds, medians. Acoustic measurement is a column of
its own: it comes on top for who wants it. `tail` forgets what it knows of the room every time.

Then one thread against two, over a batch of the three rooms; and the accuracy: the difference to
pyroomacoustics in one band (below 0.75 Nyquist, its high-pass off, its 40 samples taken off), and
what `tail` changes of the broadband reverberation time of `full`.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PRA_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics import pileup, tail
from scenesynth.acoustics.measure import measure
from scenesynth.acoustics.response import Request, shoebox_responses
from scenesynth.render.compile import ensure_compiled
from scenesynth.render.memory import keep_freed_memory
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room, Vector
from scenesynth.spatial.formats import parse_format

SAMPLE_RATE = 32000
ONE_BAND_HZ = (1000.0,)
BAND_FACTORS = (0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.4)
AIR = Air()
AXES = ((90, 90), (0, 0), (0, 90))
"""Azimuth and colatitude of the figure-of-eight microphones for Y, Z, X."""


@dataclass(frozen=True)
class Case:
    """A room, its Sabine reverberation time, and a pair of places."""

    name: str
    size_m: Vector
    t60_s: float
    source_m: Vector
    listener_m: Vector

    def absorption(self, n_bands: int) -> list[float]:
        """Sabine's mean absorption, spread over the bands; the same for all engines."""
        x, y, z = self.size_m
        surface = 2 * (x * y + x * z + y * z)
        volume = x * y * z
        mean = 24 * np.log(10) * volume / (AIR.speed_of_sound_mps * surface * self.t60_s)
        factors = BAND_FACTORS if n_bands > 1 else (1.0,)
        return [min(0.95, mean * factor) for factor in factors]


CASES = (
    Case("small", (4.0, 3.0, 2.5), 0.3, (1.1, 0.9, 1.3), (2.7, 2.05, 1.2)),
    Case("medium", (7.0, 5.0, 3.0), 0.5, (1.9, 1.4, 1.6), (4.6, 3.3, 1.35)),
    Case("large", (12.0, 9.0, 4.0), 0.9, (3.1, 2.2, 1.7), (7.9, 5.6, 1.45)),
)


def request(case: Case, mode: str, format: str, n_bands: int, **changes: Any) -> Request:
    """What our engine is asked for."""
    band_hz = OCTAVE_BANDS_HZ if n_bands > 1 else ONE_BAND_HZ
    room = Room(
        id=case.name,
        size_m=case.size_m,
        band_hz=band_hz,
        absorption=(tuple(case.absorption(n_bands)),) * 6,
    )
    asked = {
        "room": room,
        "air": AIR,
        "source_m": case.source_m,
        "listener_m": case.listener_m,
        "rotation": np.eye(3),
        "format": parse_format(format),
        "sample_rate": SAMPLE_RATE,
        "length_s": case.t60_s,
        "mode": mode,
    }
    return Request(**{**asked, **changes})


def cpu_ms(call: Callable[[], object], repeats: int) -> float:
    """Median CPU milliseconds of `call`."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return 1e3 * statistics.median(taken)


def our_ms(asked: Request, repeats: int) -> tuple[float, float]:
    """CPU milliseconds of a response without its measurement, and of the measurement."""

    def call() -> None:
        tail._shared_covariance.cache_clear()
        pileup._shared.cache_clear()
        shoebox_responses([asked])

    call()
    response = shoebox_responses([asked])[0]
    pressure, delay_s, band_hz = response.ir[0], response.direct_delay_s, asked.room.band_hz
    measuring = cpu_ms(lambda: measure(pressure, SAMPLE_RATE, band_hz, delay_s), repeats)
    return cpu_ms(call, repeats) - measuring, measuring


def pyroomacoustics_box(
    pra: Any, case: Case, format: str, n_bands: int, *, order: int, **options: Any
) -> Any:
    """A room of pyroomacoustics with a source and the microphones of a format."""
    coefficients = case.absorption(n_bands)
    absorption: Any = (
        {"coeffs": coefficients, "center_freqs": list(OCTAVE_BANDS_HZ)}
        if n_bands > 1
        else coefficients[0]
    )
    box = pra.ShoeBox(
        case.size_m,
        fs=SAMPLE_RATE,
        materials=pra.Material(absorption),
        max_order=order,
        **options,
    )
    box.add_source(case.source_m)
    patterns = [pra.directivities.Omnidirectional()]
    if format == "foa":
        for azimuth, colatitude in AXES:
            towards = pra.directivities.DirectionVector(azimuth, colatitude, degrees=True)
            patterns.append(pra.directivities.FigureEight(towards))
    places = np.tile(np.array(case.listener_m)[:, None], len(patterns))
    box.add_microphone_array(places, directivity=patterns)
    return box


def pyroomacoustics_ms(pra: Any, case: Case, mode: str, format: str, n_bands: int) -> float:
    """CPU milliseconds of a response; full order runs once, hybrids three times."""

    def call() -> None:
        if mode == "full":
            order = pra.inverse_sabine(case.t60_s, case.size_m)[1]
            box = pyroomacoustics_box(pra, case, format, n_bands, order=order, air_absorption=True)
        else:
            box = pyroomacoustics_box(pra, case, format, n_bands, order=3, air_absorption=True)
            box.set_ray_tracing()  # it takes directional microphones before, and none after
        box.compute_rir()

    return cpu_ms(call, 1 if mode == "full" else 3)


def rir_generator_ms(case: Case) -> float | None:
    """CPU milliseconds of an omni response of one band by rir-generator, where installed."""
    if importlib.util.find_spec("rir_generator") is None:
        return None
    import rir_generator

    reflection = [math.sqrt(1 - case.absorption(1)[0])] * 6
    return cpu_ms(
        lambda: rir_generator.generate(
            c=AIR.speed_of_sound_mps,
            fs=SAMPLE_RATE,
            r=[list(case.listener_m)],
            s=list(case.source_m),
            L=list(case.size_m),
            beta=reflection,
            nsample=round(case.t60_s * SAMPLE_RATE),
        ),
        1,
    )


def gpurir_ms(case: Case) -> float | None:
    """Wall milliseconds of an omni response of one band by gpuRIR, where installed."""
    if importlib.util.find_spec("gpuRIR") is None:
        return None
    import gpuRIR

    reflection = np.full(6, math.sqrt(1 - case.absorption(1)[0]))
    images = gpuRIR.t2n(case.t60_s, case.size_m)
    place = np.array([case.source_m]), np.array([case.listener_m])
    gpuRIR.simulateRIR(case.size_m, reflection, *place, images, case.t60_s, SAMPLE_RATE)
    start = time.perf_counter()
    gpuRIR.simulateRIR(case.size_m, reflection, *place, images, case.t60_s, SAMPLE_RATE)
    return 1e3 * (time.perf_counter() - start)


def difference_db(pra: Any, case: Case, length_s: float = 0.1) -> float:
    """Energy of our difference to pyroomacoustics over ours, FOA, one band, no air."""
    speed_mps = AIR.speed_of_sound_mps
    asked = request(case, "full", "foa", 1, length_s=length_s, highpass_hz=0.0)
    ours = shoebox_responses([asked])[0].ir
    attenuation = energy_attenuation_per_m(ONE_BAND_HZ, AIR)[0]
    seconds = np.arange(ours.shape[1]) / SAMPLE_RATE
    ours = ours * np.exp(attenuation * speed_mps * seconds / 2)
    saved = {name: pra.constants.get(name) for name in ("c", "rir_hpf_enable")}
    try:
        pra.constants.set("c", speed_mps)
        pra.constants.set("rir_hpf_enable", False)
        order = 3 * (math.ceil(length_s * speed_mps / min(case.size_m)) + 1)
        box = pyroomacoustics_box(pra, case, "foa", 1, order=order, air_absorption=False)
        box.compute_rir()
        offset = pra.constants.get("frac_delay_length") // 2
    finally:
        for name, value in saved.items():
            pra.constants.set(name, value)
    n = ours.shape[1] - 64  # images after the end of ours still ring into the end of its response
    theirs = np.stack([channel[0][offset : offset + n] for channel in box.rir])
    low = np.arange(2 * n // 2 + 1) / n <= 0.75

    def energy(signal: NDArray[np.float64]) -> float:
        return float(np.sum(np.abs(np.fft.rfft(signal, 2 * n, axis=1)[:, low]) ** 2))

    return 10 * math.log10(energy(ours[:, :n] - theirs) / energy(ours[:, :n]))


def t60_change_pct(case: Case) -> float:
    """How far the broadband reverberation time of `tail` lies from that of `full`."""
    full, late = (
        shoebox_responses([request(case, mode, "mono", 7)])[0].measured.rt60_broadband_s
        for mode in ("full", "tail")
    )
    return 100 * (late / full - 1)


def batch_rates(mode: str, repeats: int) -> tuple[float, float]:
    """FOA responses per second over a batch of the three rooms, on one thread and on two."""
    asked = [request(case, mode, "foa", 7) for case in CASES] * 8
    rates = []
    for threads in (1, 2):
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            shoebox_responses(asked, threads=threads)
            taken.append(time.perf_counter() - start)
        rates.append(len(asked) / statistics.median(taken))
    return rates[0], rates[1]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=9, help="of ours")
    parser.add_argument("--no-peers", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    ensure_compiled(print)
    pra = None
    if not arguments.no_peers:
        import pyroomacoustics as pra

        pra.constants.set("num_threads", 1)
    print(
        f"{'room':8}{'mode':6}{'format':8}{'bands':>6}{'ms':>8}{'measure':>9}{'theirs':>8}{'x':>7}"
    )
    for case in CASES:
        for mode in ("full", "tail"):
            for format, n_bands in (("mono", 1), ("mono", 7), ("foa", 1), ("foa", 7), ("hoa3", 7)):
                ours, measuring = our_ms(request(case, mode, format, n_bands), arguments.repeats)
                line = f"{case.name:8}{mode:6}{format:8}{n_bands:6}{ours:8.2f}{measuring:9.2f}"
                if pra and format != "hoa3":
                    theirs = pyroomacoustics_ms(pra, case, mode, format, n_bands)
                    line += f"{theirs:8.0f}{theirs / ours:7.0f}"
                print(line, flush=True)
        for name, peer in (("rir-generator", rir_generator_ms), ("gpuRIR", gpurir_ms)):
            if not arguments.no_peers and (theirs_ms := peer(case)) is not None:
                print(f"{case.name:8}{name}, mono, one band: {theirs_ms:.0f} ms")
    for mode in ("full", "tail"):
        one, two = batch_rates(mode, 3)
        print(f"FOA, 7 bands, {mode}: {one:.0f} responses/s on one thread, {two:.0f} on two")
    for case in CASES:
        line = f"{case.name:8}T60 of tail {t60_change_pct(case):+.1f} % of full"
        if pra:
            line += f"; full {difference_db(pra, case):.1f} dB from pyroomacoustics"
        print(line, flush=True)


if __name__ == "__main__":
    main()
