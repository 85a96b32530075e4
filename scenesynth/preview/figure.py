"""One picture per scene: its room and numbers on the left, what has a time on the right."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from scenesynth.plots.style import QUIET, axes_at, drawn_alike, new_figure
from scenesynth.plots.text import drawable
from scenesynth.preview.decay import decay_of
from scenesynth.preview.decay_curves import HEIGHT as DECAY_HEIGHT
from scenesynth.preview.decay_curves import draw_decay
from scenesynth.preview.facts import draw_facts
from scenesynth.preview.room import draw_plan_and_side
from scenesynth.preview.timeline import LEFT, RIGHT, draw_timeline, timeline_height
from scenesynth.preview.view import View
from scenesynth.store.local import replace_file

DPI: Final = 100
WIDTH: Final = 15.4

_MARGIN, _HEAD, _COLUMN = 0.3, 0.75, 7.0
_FACTS = 4.7
_LEAST = 12.4
"""Inches that the left column takes, whatever stands on the right."""


def write_picture(path: Path, view: View, exports: Sequence[str]) -> None:
    """Draw `view` and write it as PNG.

    Args:
        exports: what wavs were made of and how, in words, for the picture.
    """
    with drawn_alike():
        file = io.BytesIO()
        _figure(view, exports).savefig(file, format="png", dpi=DPI)
    replace_file(path, file.getvalue())


def _figure(view: View, exports: Sequence[str]) -> Figure:
    decay = decay_of(view)
    right = timeline_height(view) + (DECAY_HEIGHT if decay is not None else 0.0)
    height = max(_HEAD + right + 0.1, _LEAST)
    figure = new_figure(WIDTH, height, DPI)
    _draw_head(figure, view, height)
    facts_top = height - _FACTS - 0.2
    draw_plan_and_side(figure, view, _MARGIN, _HEAD, _COLUMN, facts_top - _HEAD - 0.2)
    draw_facts(axes_at(figure, _MARGIN, facts_top, _COLUMN, _FACTS), view, exports)
    start = _MARGIN + _COLUMN + 0.4
    width = WIDTH - start - _MARGIN
    draw_timeline(figure, view, start + LEFT, _HEAD, width - LEFT - RIGHT)
    if decay is not None:
        draw_decay(figure, decay, start + 0.5, _HEAD + timeline_height(view), width - 0.5)
    return figure


def _draw_head(figure: Figure, view: View, height: float) -> None:
    origin = view.spec.origin
    left = _MARGIN / WIDTH
    figure.text(
        left, 1 - 0.42 / height, drawable(view.id, 60), fontsize=17, weight="bold", parse_math=False
    )
    parts = [
        f"recipe {drawable(origin.recipe, 40)}" if origin.recipe else "",
        f"split {drawable(origin.split)}, seed {origin.seed}, scene {origin.index}",
        f"{view.duration_s:g} s at {view.sample_rate / 1000:g} kHz",
        f"shown: {_formats(view)}",
        f"drawn again {origin.attempt} times" if origin.attempt else "",
    ]
    text = "    ".join(part for part in parts if part)
    figure.text(left, 1 - 0.68 / height, text, fontsize=10, color=QUIET, parse_math=False)


def _formats(view: View) -> str:
    """The format that is shown, and the others."""
    others = ", ".join(view.others)
    return drawable(view.format.name + (f" (also there: {others})" if others else ""), 60)
