"""One picture per scene: the room in plan, its numbers, and four views over one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scenesynth.plots.style import drawn_alike
from scenesynth.plots.text import drawable
from scenesynth.preview.facts import draw_facts
from scenesynth.preview.over_time import (
    draw_direction,
    draw_events,
    draw_spectrogram,
    draw_waveforms,
)
from scenesynth.preview.plan import draw_plan
from scenesynth.preview.view import View

SIZE_INCHES = (16.0, 10.6)
DPI = 100


def write_picture(path: Path, view: View, exports: Sequence[str]) -> None:
    """Draw `view` and write it as PNG.

    Args:
        exports: what wavs were made of and how, in words, for the picture.
    """
    # The default style first: a user's matplotlibrc must not change what a picture looks like.
    with drawn_alike():
        _figure(view, exports).savefig(path, dpi=DPI)


def _figure(view: View, exports: Sequence[str]) -> Figure:
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    left = figure.add_gridspec(
        2, 1, left=0.045, right=0.40, top=0.885, bottom=0.025, height_ratios=[1, 1], hspace=0.16
    )
    right = figure.add_gridspec(
        5,
        1,
        left=0.495,
        right=0.955,
        top=0.885,
        bottom=0.055,
        height_ratios=[_lanes(view), 1.5, 1.7, 1.5, 1.1],
        hspace=0.3,
    )
    _draw_head(figure, view)
    over_time = [figure.add_subplot(right[0])]
    over_time += [figure.add_subplot(right[n], sharex=over_time[0]) for n in range(1, 5)]
    channel_names = view.format.channel_names
    draw_events(over_time[0], view)
    draw_waveforms(over_time[1], view, channel_names)
    draw_spectrogram(over_time[2], view, channel_names[0])
    for part, name in enumerate(("Azimuth", "Elevation")):
        draw_direction(over_time[3 + part], view, part)
        over_time[3 + part].set_title(_direction_title(name, view), loc="left")
    _share_time(over_time, view.duration_s)
    draw_facts(figure.add_subplot(left[1]), view, exports)
    draw_plan(figure.add_subplot(left[0]), view, canvas.get_renderer())
    return figure


def _lanes(view: View) -> float:
    return min(0.5 + 0.13 * len(view.soundings), 1.5)


def _draw_head(figure: Figure, view: View) -> None:
    origin = view.spec.origin
    figure.text(0.045, 0.962, drawable(view.id, 60), fontsize=17, weight="bold", parse_math=False)
    parts = [
        f"recipe {drawable(origin.recipe, 40)}" if origin.recipe else "",
        f"split {drawable(origin.split)}, seed {origin.seed}, scene {origin.index}",
        f"{view.duration_s:g} s at {view.sample_rate / 1000:g} kHz",
        f"shown: {_formats(view)}",
        f"drawn again {origin.attempt} times" if origin.attempt else "",
    ]
    text = "    ".join(part for part in parts if part)
    figure.text(0.045, 0.938, text, fontsize=10, color="#555555", parse_math=False)


def _formats(view: View) -> str:
    """The format that is shown, and the others."""
    others = ", ".join(view.others)
    return drawable(view.format.name + (f" (also there: {others})" if others else ""), 60)


def _direction_title(name: str, view: View) -> str:
    if view.directions is None:
        return drawable(f"{name} as labelled ({view.no_directions})", 90)
    if view.directions.reach == "side":
        if name == "Azimuth":
            return (
                f"{name}: labels (bands; thin: their lateral angle), audio (points; rings: behind)"
            )
        return f"{name} as labelled ({drawable(view.format.name, 20)} tells none)"
    if name == "Azimuth":
        return f"{name}: labels (bands; noise dashed), onsets in the audio (points; pale = diffuse)"
    both = " (points: up and down are alike)" if view.directions.reach == "upper" else ""
    return f"{name}, likewise{both}"


def _share_time(axes: list[Axes], duration_s: float) -> None:
    axes[0].set_xlim(0, duration_s)
    for each in axes[:-1]:
        each.tick_params(labelbottom=False)
    axes[-1].set_xlabel("time in s")
