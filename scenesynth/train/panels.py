"""Pictures of reconstructions: target, what the encoder saw, and what the decoder made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

Array = NDArray[np.float32]

_COLUMNS = ("target", "what the encoder sees", "reconstruction")


def write_panels(
    path: Path, target: Array, seen: Array, made: Array, channels: Sequence[str], title: str
) -> None:
    """Draw a window as PNG, a row per feature channel.

    Shapes: target and made [channels, mels, frames]; seen bool [mels, frames]. Each row has one
    colour scale, that of its target.
    """
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(10.0, 0.6 + 1.3 * len(channels)), dpi=90, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(channels), 3, squeeze=False, sharex=True, sharey=True)
        for row, name in enumerate(channels):
            low, high = float(target[row].min()), float(target[row].max())
            shown = (target[row], np.where(seen, target[row], np.nan), made[row])
            for axis, values in zip(axes[row], shown, strict=True):
                axis.imshow(values, origin="lower", aspect="auto", vmin=low, vmax=high)
                axis.set_facecolor("#bbbbbb")
            axes[row][0].set_ylabel(name, fontsize=8)
        for axis, name in zip(axes[0], _COLUMNS, strict=True):
            axis.set_title(name, fontsize=9)
        figure.suptitle(title, fontsize=9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
