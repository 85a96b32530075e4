"""How fast moving sources are rendered, beside SpatialScaper's routine in the same process.

    python benchmarks/motion.py
    python benchmarks/motion.py --repeat 5 --json
    python benchmarks/motion.py --part scenes --speeds 0.3 1 --turns 10 40

The part "convolution" puts the same signal through the same responses at the same times, here by
`moving_convolution` and there by `spatialize`, and compares processor time and outputs. It needs
SpatialScaper (https://github.com/iranroman/SpatialScaper, tested at version 0.1.5), which is not on
the package index and needs Python 3.11 at most:

    git clone https://github.com/iranroman/SpatialScaper
    pip install -c constraints.txt ./SpatialScaper

The part "scenes" renders whole scenes of one moving source, responses included, which the other
one takes from files.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.render.compile import ensure_compiled
from scenesynth.render.motion import Moving, moving_convolution
from scenesynth.render.renderer import render_scene
from scenesynth.room.decay import absorption_for_t60, response_length_s
from scenesynth.room.model import OCTAVE_BANDS_HZ, Air, Room
from scenesynth.scene.spec import ClipRef, Emitter, Event, Keyframe, Mode, Origin, SceneSpec
from scenesynth.spatial.formats import layout_of, parse_format
from scenesynth.timing import collect

RATE = 24000
SECONDS = 10
N_CHANNELS = 4
HOP = 256
"""SpatialScaper rounds the times of responses to whole frames of half its window of 512."""

CASES = ((10, 0.3), (50, 0.3), (100, 0.3), (10, 1.0), (50, 1.0), (100, 1.0))
STAGES = ("responses", "project", "measure", "direct", "delay", "convolve")

Signal = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One case of the first part; processor seconds are medians of the repeats.

    Attributes:
        least, most: ratios of the single repeats.
        difference_db: energy of the outputs' difference after the best gain, over the output's.
    """

    responses: int
    response_s: float
    theirs_s: float
    ours_s: float
    ratio: float
    least: float
    most: float
    difference_db: float


@dataclass(frozen=True, kw_only=True)
class Whole:
    """One case of the second part; milliseconds of processor time are medians of the repeats.

    Attributes:
        nodes: responses along the way.
        stages_ms: of the repeat of the median time.
    """

    way: str
    format: str
    mode: str
    nodes: int
    cpu_ms: float
    least_ms: float
    most_ms: float
    stages_ms: dict[str, float]


def peer() -> Callable[..., Any]:
    """SpatialScaper's routine for moving sources."""
    try:
        from spatialscaper.spatialize import spatialize
    except ImportError as error:
        raise SystemExit(
            "SpatialScaper is not installed; see the head of this file, or run the part 'scenes' "
            "alone (--part scenes)"
        ) from error
    found: Callable[..., Any] = spatialize
    return found


def convolution(n_responses: int, response_s: float, repeat: int) -> Convolution:
    """The same signal, responses and times through both."""
    spatialize = peer()
    rng = np.random.default_rng(0)
    n_taps = round(response_s * RATE)
    decay = np.exp(-6.9 * np.arange(n_taps) / n_taps)
    responses = rng.standard_normal((n_responses, N_CHANNELS, n_taps)) * decay
    responses = responses.astype(np.float32)
    dry = rng.standard_normal(SECONDS * RATE).astype(np.float32)
    last = SECONDS * RATE // HOP
    nodes = np.round(np.linspace(0, last, n_responses)) * HOP
    theirs_in = np.ascontiguousarray(np.swapaxes(responses, 0, 1))
    seconds = []
    for _ in range(repeat):
        began = time.process_time()
        theirs = spatialize(dry, theirs_in, nodes / RATE, RATE)
        between = time.process_time()
        ours = moving_convolution(dry, responses, nodes)
        seconds.append((between - began, time.process_time() - between))
    ratios = [a / b for a, b in seconds]
    return Convolution(
        responses=n_responses,
        response_s=response_s,
        theirs_s=statistics.median(a for a, _ in seconds),
        ours_s=statistics.median(b for _, b in seconds),
        ratio=statistics.median(ratios),
        least=min(ratios),
        most=max(ratios),
        difference_db=difference_db(theirs.T, ours),
    )


def difference_db(theirs: NDArray[np.floating], ours: NDArray[np.floating]) -> float:
    """Between what both give, theirs being normalised to its peak."""
    n = min(theirs.shape[1], ours.shape[1])
    a, b = theirs[:, :n].astype(np.float64), ours[:, :n].astype(np.float64)
    gain = np.sum(a * b) / np.sum(b * b)
    return float(10 * np.log10(np.sum((a - gain * b) ** 2) / np.sum(a**2)))


@dataclass(frozen=True)
class Noise:
    """A corpus of one clip."""

    samples: Signal

    def load(self, ref: ClipRef, sample_rate: int, start: int = 0, stop: int | None = None) -> Any:
        """Samples [start, stop)."""
        return self.samples[start:stop]


def straight(speed_mps: float) -> tuple[Keyframe, ...]:
    """To and fro along five metres, 1.4 m beside the listener."""
    first_m, length_m = 1.0, 5.0
    turns_s = np.arange(0, SECONDS, length_m / speed_mps)
    times_s = [*turns_s.tolist(), float(SECONDS)]
    way = np.array(times_s) * speed_mps / length_m
    share = np.abs((way + 1) % 2 - 1)
    return tuple(
        Keyframe(time_s=t, position_m=(first_m + length_m * float(s), 1.0, 1.6))
        for t, s in zip(times_s, share, strict=True)
    )


def around(deg_s: float) -> tuple[Keyframe, ...]:
    """On a circle of 1.5 m."""
    times_s = np.linspace(0, SECONDS, 8 * SECONDS + 1)
    angles = np.radians(deg_s * times_s)
    return tuple(
        Keyframe(
            time_s=float(t), position_m=(3.4 + 1.5 * math.cos(a), 2.4 + 1.5 * math.sin(a), 1.7)
        )
        for t, a in zip(times_s, angles, strict=True)
    )


def scene(keyframes: tuple[Keyframe, ...], mode: Mode) -> SceneSpec:
    """A source that sounds all the time, in a room of 7 x 5 x 3 m with 0.5 s of reverberation."""
    size_m, air = (7.0, 5.0, 3.0), Air()
    bands = OCTAVE_BANDS_HZ
    walls = absorption_for_t60(size_m, (0.5,) * len(bands), bands, air)
    room = Room(id="room", size_m=size_m, band_hz=bands, absorption=walls)
    event = Event(
        role="target",
        clip=ClipRef(corpus="sources", id="noise", digest=""),
        onset_s=0.0,
        duration_s=float(SECONDS),
        active_start_s=0.0,
        active_end_s=float(SECONDS),
    )
    return SceneSpec(
        origin=Origin(),
        sample_rate=RATE,
        n_samples=SECONDS * RATE,
        room=room,
        air=air,
        listener=(Keyframe(position_m=(3.4, 2.4, 1.5)),),
        emitters=(Emitter(id="source", keyframes=keyframes, events=(event,)),),
        response_s=response_length_s(room, air),
        mode=mode,
    )


def whole(
    name: str, keyframes: tuple[Keyframe, ...], format_name: str, mode: Mode, repeat: int
) -> Whole:
    """Render a scene a few times."""
    spec = scene(keyframes, mode)
    clip = Noise(0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE).astype(np.float32))
    layout = layout_of([parse_format(format_name)])
    nodes = len(Moving.of(layout, spec, 0).emitted_s)
    runs = []
    for _ in range(repeat):
        began = time.process_time()
        with collect() as seconds:
            render_scene(spec, clip, format=format_name)
        runs.append((time.process_time() - began, dict(seconds)))
    runs.sort(key=lambda run: run[0])
    cpu_s, stages = runs[(len(runs) - 1) // 2]
    return Whole(
        way=name,
        format=format_name,
        mode=mode,
        nodes=nodes,
        cpu_ms=1e3 * cpu_s,
        least_ms=1e3 * runs[0][0],
        most_ms=1e3 * runs[-1][0],
        stages_ms={key: 1e3 * value for key, value in stages.items()},
    )


def convolution_table(results: Sequence[Convolution]) -> str:
    """Lines for people."""
    head = (
        "responses  length  theirs, ms  ours, ms   theirs    ours  ratio (least..most)  difference"
    )
    lines = [
        f"{r.responses:9d}  {r.response_s:4.1f} s  {1e3 * r.theirs_s:10.0f}  "
        f"{1e3 * r.ours_s:8.1f}  {SECONDS / r.theirs_s:7.1f}  {SECONDS / r.ours_s:6.0f}  "
        f"{r.ratio:5.0f} ({r.least:.0f}..{r.most:.0f})  {r.difference_db:10.1f} dB"
        for r in results
    ]
    note = "('theirs' and 'ours' without unit: scene-seconds per processor second)"
    return "\n".join([head, *lines, note])


def whole_table(results: Sequence[Whole]) -> str:
    """Lines for people."""
    head = f"{'way':12}{'format':10}{'nodes':>6}{'ms (least..most)':>22}{'x real time':>12}"
    lines = [head + "".join(f"{name:>11}" for name in STAGES)]
    for r in results:
        span = f"{r.cpu_ms:.0f} ({r.least_ms:.0f}..{r.most_ms:.0f})"
        stages = "".join(f"{r.stages_ms.get(name, 0.0):11.0f}" for name in STAGES)
        speed = 1e3 * SECONDS / r.cpu_ms
        lines.append(f"{r.way:12}{r.format:10}{r.nodes:6d}{span:>22}{speed:12.1f}{stages}")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=("all", "convolution", "scenes"), default="all")
    parser.add_argument("--format", nargs="+", default=["foa", "binaural", "mic"])
    parser.add_argument("--mode", choices=("full", "tail"), default="tail")
    parser.add_argument("--speeds", type=float, nargs="*", default=[0.3, 1.0], metavar="M_PER_S")
    parser.add_argument("--turns", type=float, nargs="*", default=[10, 20, 40], metavar="DEG_PER_S")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    convolutions: list[Convolution] = []
    wholes: list[Whole] = []
    if asked.part != "scenes":
        convolutions = [convolution(*case, asked.repeat) for case in CASES]
    if asked.part != "convolution":
        ensure_compiled()
        ways = [(f"{v:g} m/s", straight(v)) for v in asked.speeds]
        ways += [(f"{v:g} deg/s", around(v)) for v in asked.turns]
        wholes = [
            whole(name, way, item, asked.mode, asked.repeat)
            for item in asked.format
            for name, way in ways
        ]
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": load}
    if asked.json:
        parts = {
            "convolution": [asdict(r) for r in convolutions],
            "scenes": [asdict(r) for r in wholes],
        }
        print(json.dumps(machine | parts, indent=1))
        return
    print(f"{SECONDS} s at {RATE} Hz, {os.cpu_count()} cores, load {load:.1f} before the start")
    if convolutions:
        print(convolution_table(convolutions))
    if wholes:
        print(f"whole scenes, {asked.mode}; stages in ms of wall time")
        print(whole_table(wholes))


if __name__ == "__main__":
    main()
