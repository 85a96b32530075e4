"""Pictures of reconstructions: target, what the encoder saw, and what the decoder made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scenesynth.plots.style import RULE, drawn_alike, new_figure
from scenesynth.plots.text import drawable

Array = NDArray[np.float32]

_COLUMNS = ("target", "what the encoder sees", "reconstruction")


def write_panels(
    path: Path, target: Array, seen: Array, made: Array, channels: Sequence[str], title: str
) -> None:
    """Draw a window as PNG, a row per feature channel.

    Shapes: target and made [channels, mels, frames]; seen bool [mels, frames]. Each row has one
    colour scale, that of its target.
    """
    with drawn_alike():
        figure = new_figure(10.0, 0.6 + 1.3 * len(channels), dpi=90)
        figure.set_layout_engine("constrained")
        axes = figure.subplots(len(channels), 3, squeeze=False, sharex=True, sharey=True)
        for row, name in enumerate(channels):
            low, high = float(target[row].min()), float(target[row].max())
            shown = (target[row], np.where(seen, target[row], np.nan), made[row])
            for axis, values in zip(axes[row], shown, strict=True):
                look = {"origin": "lower", "aspect": "auto", "cmap": "magma"}
                axis.imshow(values, vmin=low, vmax=high, **look)
                axis.set_facecolor(RULE)
            axes[row][0].set_ylabel(drawable(name), parse_math=False)
        for axis, name in zip(axes[0], _COLUMNS, strict=True):
            axis.set_title(name)
        for axis in axes[-1]:
            axis.set_xlabel("frame")
        figure.suptitle(drawable(title, 100), fontsize=9, parse_math=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
