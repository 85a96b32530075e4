"""A response in parts: the direct sound, what follows early, and what follows late.

The parts are differences of the response and add up to it again, so that what is convolved with
them adds up to what is convolved with the whole.

- *Direct*: where an engine knows arrivals one by one, the direct sound rendered for itself, with
  the ringing of the high-pass. Elsewhere (measured rooms) what the response holds about the direct
  arrival, `AROUND_DIRECT_S`, a reflection that comes so soon included.
- *Early*: what follows within `EARLY_S` of the direct arrival.
- *Late*: the rest. Between the two is a cross-fade of `FADE_S`, its middle at `EARLY_S`.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.engines import receivers_of
from scenesynth.acoustics.measure import EARLY_S
from scenesynth.acoustics.project import direct_sounds
from scenesynth.acoustics.response import Response
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import Layout

FADE_S: Final = 0.005
"""Length of the cross-fade from early to late."""

AROUND_DIRECT_S: Final = (-0.001, 0.0025)
"""What counts as direct sound in a response whose arrivals are not known apart."""

AROUND_FADE_S: Final = 0.0005
"""Length of the fades at both ends of that, inside it."""

Signal = NDArray[np.float32]

Part = Literal["direct", "early", "late"]


class Parts(NamedTuple):
    """Parts of a response that add up to it. Shape of each: [channels, samples]."""

    direct: Signal
    early: Signal
    late: Signal


def parts_of(layout: Layout, spec: SceneSpec, response: Response) -> Parts:
    """The parts of a response in the channels of a layout."""
    if response.early is None:
        return parts_by_time(response.ir, response.direct_delay_s, spec.sample_rate)
    _, (direct,) = direct_sounds(
        [response.early()],
        receivers_of(layout, spec),
        order=layout.order,
        sample_rate=spec.sample_rate,
        n_samples=response.ir.shape[1],
        highpass_hz=spec.highpass_hz,
    )
    rest = response.ir - direct
    return Parts(direct, *early_and_late(rest, response.direct_delay_s, spec.sample_rate))


def parts_by_time(ir: Signal, direct_delay_s: float, sample_rate: int) -> Parts:
    """The parts of a response [channels, samples] of which only the direct arrival is known."""
    first_s, last_s = (direct_delay_s + offset_s for offset_s in AROUND_DIRECT_S)
    n_samples = ir.shape[1]
    around = _rise(first_s, AROUND_FADE_S, sample_rate, n_samples)
    around = around * (1 - _rise(last_s - AROUND_FADE_S, AROUND_FADE_S, sample_rate, n_samples))
    direct = ir * around
    return Parts(direct, *early_and_late(ir - direct, direct_delay_s, sample_rate))


def early_and_late(rest: Signal, direct_delay_s: float, sample_rate: int) -> tuple[Signal, Signal]:
    """A response without its direct sound, parted at `EARLY_S` after it.

    Shape: [channels, samples] each.
    """
    start_s = direct_delay_s + EARLY_S - FADE_S / 2
    late = rest * _rise(start_s, FADE_S, sample_rate, rest.shape[1])
    return rest - late, late


def _rise(start_s: float, fade_s: float, sample_rate: int, n_samples: int) -> Signal:
    """From 0 at a time to 1 at another, by a raised cosine. Shape: [n_samples]."""
    at = (np.arange(n_samples) / sample_rate - start_s) / fade_s
    return (0.5 - 0.5 * np.cos(np.pi * np.clip(at, 0.0, 1.0))).astype(np.float32)
