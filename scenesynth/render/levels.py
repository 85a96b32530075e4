"""Levels: the ratio of wet targets to wet noise, and gains that set it.

The ratio is that of energies over the span in which the noise is present: from the first wet onset
of any noise event to the last wet offset, within the scene. Energies are taken in the
omnidirectional pressure at the listener's centre (the order-0 channel), or summed over the four
first-order channels for the `all_channels` reference of GRAM, whatever is rendered. One scalar
gain multiplies all noise in all channels of all formats, so that mixing changes no direction.
Interferers have their own ratio and gain by the same rule.

Nothing is limited or normalised: a dry clip at full scale at 1 m stays 1.0 in the pressure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scenesynth.errors import ContentError

Span = tuple[int, int]
"""Scene samples [start, stop)."""


def union_span(spans: Sequence[Span], n_samples: int) -> Span:
    """From the first start to the last stop, within the scene."""
    start = max(min(start for start, _ in spans), 0)
    return start, min(max(stop for _, stop in spans), n_samples)


def ratio_db(signal_energy: float, other_energy: float) -> float | None:
    """Energy ratio in dB; None where one of them is silent."""
    if signal_energy <= 0 or other_energy <= 0:
        return None
    return 10 * math.log10(signal_energy / other_energy)


def gain_for_ratio(
    ratio_db: float, signal_energy: float, other_energy: float, *, what: str, scene: str
) -> float:
    """Linear gain on the other part that makes the ratio `ratio_db`.

    Raises:
        ContentError: one of the two parts is silent over the span, so that no gain can.
    """
    for name, energy in (("targets", signal_energy), (what, other_energy)):
        if not (math.isfinite(energy) and energy > 0):
            raise ContentError(
                f"scene {scene}: energy of the {name} over the span of the {what} is {energy:g}, "
                f"so no gain gives the requested ratio of {ratio_db:g} dB; draw the scene again"
            )
    return math.sqrt(signal_energy / other_energy) * 10 ** (-ratio_db / 20)


def max_polyphony(intervals: Sequence[tuple[float, float]]) -> int:
    """Largest number of half-open intervals [start, stop) that overlap at one time."""
    edges = sorted([(start, 1) for start, _ in intervals] + [(stop, -1) for _, stop in intervals])
    at_once = most = 0
    for _, step in edges:  # at equal times an end (-1) sorts before a start
        at_once += step
        most = max(most, at_once)
    return most
