"""Plots of one scene for a page: the room, what happens over time, and how its energy decays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from scenesynth.plots.style import drawn_alike, new_figure
from scenesynth.plots.svg import to_svg
from scenesynth.plots.text import number
from scenesynth.preview.decay import decay_of, in_words
from scenesynth.preview.decay_curves import HEIGHT, draw_decay
from scenesynth.preview.room import draw_plan_and_side, room_height, room_in_words
from scenesynth.preview.timeline import LEFT, RIGHT, draw_timeline, timeline_height
from scenesynth.preview.view import View

WIDTH: Final = 7.0
"""Inches. Texts of 8 points and more can still be read where a page shows half of it."""

HIGHEST_ROOM: Final = 7.0


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
        width = WIDTH - 0.1
        height = room_height(view, width, HIGHEST_ROOM)
        figure = new_figure(WIDTH, height)
        draw_plan_and_side(figure, view, 0.05, 0.0, width, height)
        svg = to_svg(figure, f"Room of scene {view.id}", room_in_words(view))
    return Plot(svg=svg, span=None)


def timeline_plot(view: View) -> Plot:
    """Events, waveforms, spectra and directions over one time axis."""
    width = WIDTH - LEFT - RIGHT
    with drawn_alike():
        figure = new_figure(WIDTH, timeline_height(view))
        draw_timeline(figure, view, LEFT, 0.0, width)
        svg = to_svg(figure, f"Scene {view.id} over time", _events_in_words(view))
    return Plot(svg=svg, span=(LEFT / WIDTH, (LEFT + width) / WIDTH))


def decay_plot(view: View) -> Plot | None:
    """Energy decay per octave band of the main response; None where it has no reverberation."""
    decay = decay_of(view)
    if decay is None:
        return None
    with drawn_alike():
        figure = new_figure(WIDTH, HEIGHT)
        draw_decay(figure, decay, 0.05, 0.0, WIDTH - 0.15)
        svg = to_svg(figure, f"Energy decay in scene {view.id}", in_words(decay))
    return Plot(svg=svg, span=None)


def _events_in_words(view: View) -> str:
    """Each event with its times, for those who hear the page."""
    return "; ".join(
        f"{s.name} ({s.role}) from {number(s.dry_s[0], digits=2)} to {number(s.dry_s[1], 's', 2)}"
        for s in view.soundings
    )
