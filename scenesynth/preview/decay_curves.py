"""The decay of a scene's main response: curves, and reverberation times beside those wanted."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scenesynth.plots.style import COLOURS, INK, NOISE_COLOUR, axes_at, entitle
from scenesynth.plots.text import drawable, hertz, number
from scenesynth.preview.decay import Decay

HEIGHT: Final = 2.55
"""Inches that `draw_decay` takes."""

LOWEST_DB: Final = -65.0
POINTS: Final = 300
"""Of a curve that are drawn, about."""

BAND_COLOURS: Final = (*(COLOURS[n] for n in (0, 5, 2, 4, 1, 3)), INK, NOISE_COLOUR)
"""From low bands to high ones, in the order of the rainbow."""

_AXES_TOP, _FOOT = 0.4, 0.45


def draw_decay(figure: Figure, decay: Decay, left: float, top: float, width: float) -> list[Axes]:
    """Curves on the left, times per band on the right; times alone where there are no curves.

    Args:
        left, top, width: in inches from the figure's upper left corner.
    """
    height = HEIGHT - _AXES_TOP - _FOOT
    top += _AXES_TOP
    if decay.level_db is None:
        times = axes_at(figure, left + 0.55, top, width - 0.55, height)
        _draw_times(times, decay)
        return [times]
    half = 0.46 * width
    curves = axes_at(figure, left + 0.55, top, half - 0.55, height)
    times = axes_at(figure, left + half + 0.6, top, width - half - 0.6, height)
    _draw_curves(curves, decay, decay.level_db)
    _draw_times(times, decay)
    return [curves, times]


def _draw_curves(axes: Axes, decay: Decay, level_db: NDArray[np.float64]) -> None:
    shown = decay.time_s >= 0
    every = max(1, int(shown.sum()) // POINTS)
    for n, level in enumerate(level_db):
        seen = shown & (level > LOWEST_DB)
        seen[np.arange(len(seen)) % every > 0] = False
        axes.plot(decay.time_s[seen], level[seen], color=_colour(n), lw=1.3)
    found = [value for value in (*decay.measured_s, *decay.wanted_s) if value is not None]
    longest_s = max([*found, 0.05])
    for n, wanted_s in enumerate(decay.wanted_s):
        if wanted_s is not None:
            axes.plot([wanted_s], [-60], "d", color=_colour(n), ms=5, mfc="none", mew=1.1)
    axes.set(xlim=(0, 1.08 * longest_s), ylim=(LOWEST_DB, 2), yticks=[0, -20, -40, -60])
    axes.set(ylabel="dB")
    axes.set_xlabel(f"s after the direct sound: {drawable(decay.of, 14)}", parse_math=False)
    axes.grid()
    entitle(axes, "Decay", f"diamonds: {decay.wanted_by}" if decay.wanted_by else "")


def _draw_times(axes: Axes, decay: Decay) -> None:
    n_bands = len(decay.band_hz)
    measured = [*decay.measured_s, decay.broadband_s]
    for n, wanted_s in enumerate(decay.wanted_s):
        if wanted_s is not None:
            axes.plot([n - 0.38, n + 0.38], [wanted_s, wanted_s], color=INK, lw=1.2)
    found = [value for value in (*measured, *decay.wanted_s) if value is not None]
    highest_s = max([*found, 0.05])
    for n, value in enumerate(measured):
        if value is None:
            continue
        colour = _colour(n) if n < n_bands else INK
        axes.plot([n], [value], "o" if n < n_bands else "s", color=colour, ms=6)
        above = max([value, *([decay.wanted_s[n] or 0] if n < n_bands else [])])
        axes.text(
            n,
            above + 0.06 * highest_s,
            number(value, digits=2),
            ha="center",
            va="bottom",
            fontsize=8,
        )
    axes.set(xlim=(-0.6, n_bands + 0.6), ylim=(0, 1.25 * highest_s))
    axes.set_xticks(range(n_bands + 1), [*(hertz(f) for f in decay.band_hz), "all"])
    reason = f" (no curves: {drawable(decay.why_not, 60)})" if decay.level_db is None else ""
    axes.set(ylabel="s")
    axes.set_xlabel(f"octave band in Hz{reason}", parse_math=False)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    lines = f", lines: {decay.wanted_by}" if decay.wanted_by else "; none was requested"
    entitle(axes, "T60", f"dots: measured{lines}")


def _colour(band: int) -> str:
    return BAND_COLOURS[band % len(BAND_COLOURS)]
