"""Sources and listeners that move: many responses along the way, each for its part of the input.

The sound emitted around time t_k goes through the response between the places of that time, so with
triangular windows w_k that add up to one

    y = sum over k of h_k * (w_k x)

is what a listener hears, up to how fast responses change between nodes. Where the emitter stands
and only the listener moves or turns, the windows belong to what arrives, late sound included:

    y = sum over k of w_k (h_k * x)

Where both move, responses follow the emission. Nodes lie so close that
neither end has moved by more than `STEP_M` and the direction by more than `STEP_DEG`. Cross-fading
two responses is right for reflections, of which there are many; for the direct sound it would be a
comb filter. That one goes its own way: the input is delayed by the travel time at every sample
(the Doppler effect is nothing else) and then sent through the responses of the direct sound
without their delays.

Deliberately absent: Doppler shifts of reflections; those are cross-faded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.engines import receivers_of, respond_along
from scenesynth.acoustics.parts import Part, Parts, early_and_late, parts_by_time
from scenesynth.acoustics.project import direct_sounds
from scenesynth.acoustics.response import Response
from scenesynth.jit import kernel
from scenesynth.render.convolve import Wet
from scenesynth.render.mix import Rendered
from scenesynth.scene.motion import Path, angles_rad, heard, lengths, travel_s
from scenesynth.scene.spec import Emitter, Event, SceneSpec
from scenesynth.spatial.formats import Layout
from scenesynth.timing import stage

STEP_M: Final = 0.05
STEP_DEG: Final = 2.5

_LOOK_S: Final = 0.01
"""How often motion is looked at to place nodes."""

_UNEVEN: Final = 0.1
"""Fading evenly from node to node leaves the motion by at most this part of a step."""

_DELAY_LOOK_S: Final = 0.001
"""How often travel times are found; between them they go along straight lines, whose bends a tone
would betray (-85 dB at 6 kHz, passing by at 4 m/s in 1 m)."""

SINC_TAPS: Final = 64
SINC_PHASES: Final = 256
_SINC_SHAPE: Final = 9.0
"""Kaiser parameter: flat to 0.9 of Nyquist, -90 dB beyond the images."""

_AT_ONCE: Final = 16
"""Responses that are made together, which bounds their memory."""

_NOTHING: Final = np.empty((0, 0), np.float32)

Signal = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moving:
    """How the events of an emitter are heard when it or the listener moves.

    Attributes:
        paths: of the emitter and the listener.
        emitted_s: times at which the sound of each leaves. Shape: [nodes].
        arrived_s: times at which its direct sound arrives. Shape: [nodes].
        responses: without their samples, but for those that events begin with: a minute of motion
            has more than a thousand, and samples fill gigabytes.
        direct: the direct sounds at time 0, half a window late; None where the engine does not
            know them apart. Shape: [nodes, channels, window].
        rest: responses without their direct sound. Shape: [nodes, channels, samples].
    """

    spec: SceneSpec
    paths: tuple[Path, Path]
    emitted_s: NDArray[np.float64]
    arrived_s: NDArray[np.float64]
    responses: tuple[Response, ...]
    direct: Signal | None
    rest: Signal

    @classmethod
    def of(cls, layout: Layout, spec: SceneSpec, index: int) -> Moving:
        """Responses between the places of an emitter and the listener, while the emitter sounds."""
        emitter = spec.emitters[index]
        paths = Path.of(emitter.keyframes), Path.of(spec.listener)
        speed_mps = spec.air.speed_of_sound_mps
        start_s = min(event.onset_s for event in emitter.events)
        stop_s = max(event.onset_s + event.duration_s for event in emitter.events)
        if paths[0].stands:
            stop_s += spec.response_s
        emitted_s = node_times(
            *paths,
            start_s,
            min(stop_s, spec.duration_s),
            speed_mps,
            directional=emitter.directivity != "omni",
        )
        arrived_s = emitted_s + travel_s(*paths, emitted_s, speed_mps)
        poses = [
            (paths[0].pose(float(left)), paths[1].pose(float(came)))
            for left, came in zip(emitted_s, arrived_s, strict=True)
        ]
        kept = {_nearest(emitted_s, event.onset_s) for event in emitter.events}
        responses, direct, rest = _parts(
            layout, spec, respond_along(layout, spec, index, poses), len(poses), kept
        )
        return cls(
            spec=spec,
            paths=paths,
            emitted_s=emitted_s,
            arrived_s=arrived_s,
            responses=tuple(responses),
            direct=direct,
            rest=rest,
        )

    def hear(self, dry: Signal, onset: int) -> tuple[Rendered, Wet]:
        """What arrives of a dry signal [samples] from scene sample `onset` on, and its pressure."""
        dry = dry[: self.spec.n_samples - onset]
        out = self._through(self.rest, dry, onset)
        if self.direct is not None:
            out = _sum(out, self._direct_sound(self.direct, dry, onset))
        rendered = Rendered(start=onset, channels=out)
        return rendered, rendered.wet(0)

    def hear_parts(
        self, parts: Sequence[Part], dry: Signal, onset: int
    ) -> Iterator[tuple[Part, Rendered]]:
        """What arrives of a dry signal [samples] by each of these parts of the responses."""
        dry = dry[: self.spec.n_samples - onset]
        for part in parts:
            if part == "direct" and self.direct is not None:
                channels = self._direct_sound(self.direct, dry, onset)
            else:
                channels = self._through(_PartOfEach(self, part), dry, onset)
            yield part, Rendered(start=onset, channels=channels)

    def response_at(self, emitted_s: float) -> Response:
        """The response to what is emitted about a time at which an event begins."""
        return self.responses[_nearest(self.emitted_s, emitted_s)]

    def travel(self, event: Event) -> Callable[[float], float]:
        """How long the direct sound of an event travels that leaves at a time, as it is rendered.

        Without Doppler's effect it keeps the delay that the event begins with.
        """
        if self.spec.doppler:
            return self.delay_s
        onset = round(event.onset_s * self.spec.sample_rate)
        kept_s = self.delay_s(onset / self.spec.sample_rate)
        return lambda emitted_s: kept_s

    def delay_s(self, emitted_s: float) -> float:
        """Travel time of the direct sound that leaves at a time."""
        return float(travel_s(*self.paths, [emitted_s], self.spec.air.speed_of_sound_mps)[0])

    def parts_at(self, node: int) -> Parts:
        """Of the response at a node; without its direct sound where that goes its own way."""
        rest, rate = self.rest[node], self.spec.sample_rate
        delay_s = self.responses[node].direct_delay_s
        if self.direct is None:
            return parts_by_time(rest, delay_s, rate)
        return Parts(np.zeros_like(rest), *early_and_late(rest, delay_s, rate))

    def _through(self, responses: Signal | Sequence[Signal], dry: Signal, onset: int) -> Signal:
        """A dry signal through responses of all nodes. Shape: [channels, samples]."""
        rate = self.spec.sample_rate
        if self.paths[0].stands:
            return listening_convolution(dry, responses, self.arrived_s * rate - onset)
        return moving_convolution(dry, responses, self.emitted_s * rate - onset)

    def _direct_sound(self, direct: Signal, dry: Signal, onset: int) -> Signal:
        """A dry signal, delayed by its travel, through direct sounds. Shape: [channels, n]."""
        rate = self.spec.sample_rate
        with stage("delay"):
            delays = self._delays(onset, len(dry))
            arriving = delayed(dry, delays)
        came_s = self.arrived_s if self.spec.doppler else self.emitted_s + delays[0] / rate
        heard_of_it = moving_convolution(arriving, direct, came_s * rate - onset)
        return heard_of_it[:, direct.shape[2] // 2 :]

    def _delays(self, onset: int, n_dry: int) -> NDArray[np.float64]:
        """Travel time in samples at every sample of arrival from `onset` on, until all is here."""
        rate, speed_mps = self.spec.sample_rate, self.spec.air.speed_of_sound_mps
        start_s = onset / rate
        first_s, last_s = self.delay_s(start_s), self.delay_s(start_s + n_dry / rate)
        if not self.spec.doppler:
            return np.full(n_dry + math.ceil(first_s * rate) + SINC_TAPS, first_s * rate)
        n = n_dry + math.ceil(last_s * rate) + SINC_TAPS
        looks = np.arange(math.ceil(n / (_DELAY_LOOK_S * rate)) + 1) * _DELAY_LOOK_S
        delay_s = heard(*self.paths, start_s + looks, speed_mps).delay_s
        return np.interp(np.arange(n) / rate, looks, delay_s) * rate


def moves(emitter: Emitter, spec: SceneSpec) -> bool:
    """Whether anything changes between an emitter and the listener."""
    return any(
        replace(pose, time_s=keyframes[0].time_s) != keyframes[0]
        for keyframes in (emitter.keyframes, spec.listener)
        for pose in keyframes
    )


@dataclass(frozen=True)
class _PartOfEach(Sequence[Signal]):
    """A part of the response of every node, found when it is looked at."""

    way: Moving
    part: Part

    def __len__(self) -> int:
        return len(self.way.rest)

    def __getitem__(self, node: Any) -> Any:
        if not 0 <= node < len(self):
            raise IndexError(node)
        return getattr(self.way.parts_at(node), self.part)


def _nearest(times_s: NDArray[np.float64], time_s: float) -> int:
    return int(np.argmin(np.abs(times_s - time_s)))


def _parts(
    layout: Layout, spec: SceneSpec, responses: Iterator[Response], n: int, kept: set[int]
) -> tuple[list[Response], Signal | None, Signal]:
    """Responses, `kept` ones with samples; direct sounds undelayed; samples without the direct.

    Args:
        n: number of responses.
    """
    receivers = receivers_of(layout, spec)
    found: list[Response] = []
    rest = np.empty((n, 0, 0), np.float32)
    undelayed: Signal | None = None
    for first in range(0, n, _AT_ONCE):
        with stage("responses"):
            some = list(islice(responses, _AT_ONCE))
        if not first:
            rest = np.empty((n, *some[0].ir.shape), np.float32)
        here = rest[first : first + len(some)]
        np.stack([response.ir for response in some], out=here)
        early = [response.early() for response in some if response.early is not None]
        if early:
            with stage("direct"):
                alone, arriving = direct_sounds(
                    early,
                    receivers,
                    order=layout.order,
                    sample_rate=spec.sample_rate,
                    n_samples=rest.shape[2],
                    highpass_hz=spec.highpass_hz,
                )
                if undelayed is None:
                    undelayed = np.empty((n, *alone.shape[1:]), np.float32)
                undelayed[first : first + len(some)] = alone
                here -= arriving
        for node, response in enumerate(some, start=first):
            found.append(response if node in kept else replace(response, ir=_NOTHING, early=None))
    return found, undelayed, rest


def node_times(
    emitter: Path,
    listener: Path,
    start_s: float,
    stop_s: float,
    speed_of_sound_mps: float,
    *,
    directional: bool = False,
) -> NDArray[np.float64]:
    """Times of emission at which to take responses: as many as the motion needs. Shape: [nodes].

    Args:
        directional: whether it matters where the emitter looks.
    """
    n = max(2, math.ceil((stop_s - start_s) / _LOOK_S) + 1)
    times_s = np.linspace(start_s, stop_s, n)
    arrived_s = times_s + travel_s(emitter, listener, times_s, speed_of_sound_mps)
    here = listener.positions(arrived_s)
    relative = heard(emitter, listener, arrived_s, speed_of_sound_mps).relative_m
    turns_rad = [
        angles_rad(relative[1:], relative[:-1]),
        _turns_rad(listener.rotations(arrived_s)),
    ]
    if directional:
        turns_rad.append(_turns_rad(emitter.rotations(times_s)))
    ways_m = [
        lengths(np.diff(emitter.positions(times_s), axis=0)),
        lengths(np.diff(here, axis=0)),
    ]
    steps = np.maximum.reduce(
        [*(way / STEP_M for way in ways_m), *(np.rad2deg(turn) / STEP_DEG for turn in turns_rad)]
    )
    return _even_nodes(times_s, np.concatenate([[0.0], np.cumsum(steps)]))


def _even_nodes(times_s: NDArray[np.float64], passed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times at most one step apart, and more where something stops, starts or changes its speed.

    Args:
        passed: steps made until each of the times.
    """
    n_nodes = math.ceil(passed[-1] - 1e-9) + 1
    if n_nodes == 1:
        return times_s[:1]
    nodes_s = np.unique(np.interp(np.linspace(0.0, passed[-1], n_nodes), passed, times_s))
    nodes_s = np.union1d(nodes_s, times_s[[0, -1]])
    while True:
        faded = np.interp(times_s, nodes_s, np.interp(nodes_s, times_s, passed))
        off = np.abs(passed - faded)
        worst = int(np.argmax(off))
        if off[worst] <= _UNEVEN:
            return nodes_s
        nodes_s = np.union1d(nodes_s, times_s[worst])


def _turns_rad(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Small angles between rotations in a row. Shape: [n, 3, 3] -> [n - 1]."""
    # A turn by a small angle w moves the three axes by sqrt(2) w together.
    return np.asarray(np.linalg.norm(np.diff(rotations, axis=0), axis=(1, 2)) / math.sqrt(2))


def moving_convolution(
    dry: Signal, responses: Signal | Sequence[Signal], nodes: NDArray[np.float64]
) -> NDArray[np.float32]:
    """A signal through responses that change along it: sum over k of h_k * (w_k x).

    Args:
        dry: Shape: [samples].
        responses: Shape: [nodes, channels, taps].
        nodes: sample of the signal that each response is for, rising; the first one holds before
            it, the last one after it. Shape: [nodes].

    Returns:
        Shape: [channels, samples + taps - 1].
    """
    n_channels, n_taps = responses[0].shape
    out = np.zeros((n_channels, len(dry) + n_taps - 1), np.float32)
    for response, first, window in _windowed(responses, nodes, len(dry)):
        last = first + len(window)
        n_fft = scipy.fft.next_fast_len(len(window) + n_taps - 1, real=True)
        through = _product(dry[first:last] * window, response, n_fft)
        out[:, first : last + n_taps - 1] += through[:, : last - first + n_taps - 1]
    return out


def listening_convolution(
    dry: Signal, responses: Signal | Sequence[Signal], nodes: NDArray[np.float64]
) -> NDArray[np.float32]:
    """A signal through responses that change where it is heard: sum over k of w_k (h_k * x).

    Args:
        dry, responses: as in `moving_convolution`.
        nodes: sample of the result that each response is for; otherwise as there. Shape: [nodes].

    Returns:
        Shape: [channels, samples + taps - 1].
    """
    n_channels, n_taps = responses[0].shape
    out = np.zeros((n_channels, len(dry) + n_taps - 1), np.float32)
    padded = np.zeros(len(dry) + 2 * (n_taps - 1), np.float32)
    padded[n_taps - 1 : n_taps - 1 + len(dry)] = dry
    for response, first, window in _windowed(responses, nodes, out.shape[1]):
        last = first + len(window)
        n_fft = scipy.fft.next_fast_len(len(window) + n_taps - 1, real=True)
        through = _product(padded[first : last + n_taps - 1], response, n_fft)
        out[:, first:last] += window * through[:, n_taps - 1 : n_taps - 1 + len(window)]
    return out


def _windowed(
    responses: Signal | Sequence[Signal], nodes: NDArray[np.float64], n_samples: int
) -> Iterator[tuple[Signal, int, Signal]]:
    """Each response with the first sample and the values of its triangular window."""
    edges = np.concatenate([[-np.inf], nodes, [np.inf]])
    for k, response in enumerate(responses):
        before, here, after = edges[k : k + 3]
        first = max(0, math.floor(before) + 1 if math.isfinite(before) else 0)
        last = min(n_samples, math.ceil(after) if math.isfinite(after) else n_samples)
        if first >= last:
            continue
        at = np.arange(first, last)
        rising = np.ones(len(at)) if math.isinf(before) else (at - before) / (here - before)
        falling = np.ones(len(at)) if math.isinf(after) else (after - at) / (after - here)
        yield response, first, np.clip(np.minimum(rising, falling), 0, 1).astype(np.float32)


def _product(piece: Signal, response: Signal, n_fft: int) -> Signal:
    """A piece through the channels of a response, once around. Shape: [channels, n_fft]."""
    spectrum = scipy.fft.rfft(piece, n=n_fft, workers=1)
    through = scipy.fft.rfft(response, n=n_fft, axis=1, workers=1) * spectrum
    return np.asarray(scipy.fft.irfft(through, n=n_fft, axis=1, workers=1))


def delayed(dry: Signal, delays: NDArray[np.float64]) -> Signal:
    """A signal at changing delays: y[n] = x(n - delays[n]), by windowed sincs.

    Args:
        dry: Shape: [samples].
        delays: in samples, one per sample of the result. Shape: [n].
    """
    padded = np.zeros(len(dry) + 2 * SINC_TAPS, np.float32)
    padded[SINC_TAPS : SINC_TAPS + len(dry)] = dry
    out = np.empty(len(delays), np.float32)
    _delay(padded, np.arange(len(delays)) - delays, _sinc_table(), out)
    return out


def _sum(a: Signal, b: Signal) -> Signal:
    """Sum of signals [channels, samples] of unequal lengths."""
    longer, shorter = (a, b) if a.shape[1] >= b.shape[1] else (b, a)
    longer[:, : shorter.shape[1]] += shorter
    return longer


@lru_cache(maxsize=1)
def _sinc_table() -> NDArray[np.float32]:
    """Taps for each part of a sample, and one row more. Shape: [SINC_PHASES + 1, SINC_TAPS]."""
    tap = np.arange(SINC_TAPS) - (SINC_TAPS // 2 - 1)
    away = tap - np.arange(SINC_PHASES + 1)[:, None] / SINC_PHASES
    window = np.i0(_SINC_SHAPE * np.sqrt(np.maximum(0.0, 1 - (2 * away / SINC_TAPS) ** 2)))
    return (np.sinc(away) * window / np.i0(_SINC_SHAPE)).astype(np.float32)


@kernel
def _delay(padded, places, table, out):  # type: ignore[no-untyped-def]
    """out[n] = the signal at places[n], zero outside; `padded` has SINC_TAPS zeros at both ends."""
    n_taps = table.shape[1]
    last = len(padded) - n_taps
    for n in range(len(out)):
        whole = math.floor(places[n])
        phase = (places[n] - whole) * (len(table) - 1)
        row = int(phase)
        share = np.float32(phase - row)
        first = int(whole) + n_taps - (n_taps // 2 - 1)
        total = np.float32(0.0)
        if 0 <= first <= last:
            for k in range(n_taps):
                tap = table[row, k] + share * (table[row + 1, k] - table[row, k])
                total += tap * padded[first + k]
        out[n] = total
