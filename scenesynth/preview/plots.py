"""Plots of one scene for a page: the room, what happens over time, and how its energy decays."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scenesynth.plots.style import drawn_alike, new_figure
from scenesynth.plots.svg import to_svg
from scenesynth.preview.over_time import (
    draw_direction,
    draw_events,
    draw_spectrogram,
    draw_waveforms,
)
from scenesynth.preview.plan import draw_plan
from scenesynth.preview.view import View


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing for a page.

    Attributes:
        span: where the scene's start and end lie, as shares of the drawing's width; None where
            there is no time axis.
    """

    svg: Markup
    span: tuple[float, float] | None


def room_plot(view: View) -> Plot:
    """The room from above and from the side, on one scale."""
    with drawn_alike():
        figure = new_figure(7.0, 5.0)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_subplot(figure.add_gridspec(1, 1, left=0.09, right=0.97)[0])
        draw_plan(axes, view, canvas.get_renderer())
        return Plot(svg=to_svg(figure, f"Room of scene {view.id}"), span=None)


def timeline_plot(view: View) -> Plot:
    """Events, waveforms, spectra and directions over one time axis."""
    with drawn_alike():
        figure = new_figure(7.0, 9.0)
        axes = figure.subplots(5, 1, sharex=True, gridspec_kw={"left": 0.18, "right": 0.93})
        draw_events(axes[0], view)
        draw_waveforms(axes[1], view, view.format.channel_names)
        draw_spectrogram(axes[2], view, view.format.channel_names[0])
        for part in (0, 1):
            draw_direction(axes[3 + part], view, part)
        axes[0].set_xlim(0, view.duration_s)
        axes[-1].set_xlabel("time in s")
        svg = to_svg(figure, f"Scene {view.id} over time")
        return Plot(svg=svg, span=(0.18, 0.93))


def decay_plot(view: View) -> Plot | None:
    """Energy decay per octave band; None where there is none to be shown."""
    return None
