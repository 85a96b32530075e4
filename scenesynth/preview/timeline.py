"""Everything of a scene that has a time, over one time axis."""

from __future__ import annotations

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scenesynth.plots.style import axes_at, entitle
from scenesynth.preview.mel import GAP, RANGE_DB, draw_mel
from scenesynth.preview.over_time import (
    MAX_CHANNELS,
    draw_direction,
    draw_events,
    draw_waveforms,
    lanes_of,
    not_shown,
)
from scenesynth.preview.view import View

LEFT: Final = 1.3
"""Inches that names and ticks take on the left of the time axis."""

RIGHT: Final = 0.5
"""Inches that the scale of colours takes on its right."""

TITLE: Final = 0.4
FOOT: Final = 0.45
_LANE, _WAVE, _MEL = 0.19, 0.42, 0.66
_AZIMUTH, _ELEVATION = 1.6, 1.1


def timeline_height(view: View) -> float:
    """Inches that `draw_timeline` takes."""
    return sum(TITLE + height for height in _heights(view)) + FOOT


def draw_timeline(figure: Figure, view: View, left: float, top: float, width: float) -> list[Axes]:
    """Events, waveforms, spectra and directions, one above the other.

    Args:
        left, top, width: of the time axis, in inches from the figure's upper left corner.
    """
    tops, heights = [], _heights(view)
    for height in heights:
        tops.append(top + TITLE)
        top = tops[-1] + height
    axes = [
        axes_at(figure, left, at, width, height) for at, height in zip(tops, heights, strict=True)
    ]
    events, waves, spectra, azimuth, elevation = axes
    draw_events(events, view)
    draw_waveforms(waves, view)
    _draw_spectra(figure, spectra, view)
    draw_direction(azimuth, view, 0)
    draw_direction(elevation, view, 1)
    for each in axes:
        each.set_xlim(0, view.duration_s)
        each.tick_params(labelbottom=each is elevation)
    elevation.set_xlabel("time in s")
    return axes


def _heights(view: View) -> tuple[float, ...]:
    """Of events, waveforms, spectra, azimuth and elevation, without their titles."""
    n_channels = min(len(view.audio), MAX_CHANNELS)
    return (
        _LANE * max(len(lanes_of(view)), 1) + 0.05,
        _WAVE * n_channels + 0.05,
        _MEL * (n_channels - GAP),
        _AZIMUTH,
        _ELEVATION,
    )


def _draw_spectra(figure: Figure, axes: Axes, view: View) -> None:
    shown = view.audio[:MAX_CHANNELS]
    image = draw_mel(axes, shown, view.sample_rate, view.format.channel_names[: len(shown)])
    scale = "dB re the highest of all channels" if len(view.audio) > 1 else "dB re the highest"
    entitle(axes, "Log-mel", f"Hz; {scale}{not_shown(view)}")
    n = len(shown)
    bar = axes.inset_axes((1.015, 1 - (1 - GAP) / (n - GAP), 0.014, (1 - GAP) / (n - GAP)))
    ticks = [0, -RANGE_DB / 2, -RANGE_DB]
    figure.colorbar(image, cax=bar, ticks=ticks).outline.set_visible(False)
    bar.tick_params(labelsize=7.5, length=2)
