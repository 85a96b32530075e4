"""What happens over time: events, waveforms, and directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgba_array
from numpy.typing import NDArray

from scenesynth.localization.directions import Directions, to_angles, to_vectors
from scenesynth.localization.onsets import Array
from scenesynth.localization.reach import as_told
from scenesynth.plots.style import INK, NOISE_COLOUR, QUIET, entitle
from scenesynth.plots.text import MINUS, drawable, fitting, number
from scenesynth.preview.view import Sounding, View
from scenesynth.store.frames import FRAME_HOP_S

MAX_LANES = 16
MAX_CHANNELS = 4
NAMES = 1.1
"""Inches that names of events may take."""


def lanes_of(view: View) -> list[Sounding]:
    """The events that get a lane, in order of time. Noise comes last."""
    order = sorted(view.soundings, key=lambda s: (s.role == "noise", s.dry_s[0]))
    return order[:MAX_LANES]


def draw_events(axes: Axes, view: View) -> None:
    """A lane per event: dry part solid, its reverberant tail pale; noise in grey."""
    lanes = lanes_of(view)
    colours = [sounding.colour for sounding in lanes]
    wet = [_bar(lane, *sounding.wet_s) for lane, sounding in enumerate(lanes)]
    dry = [
        _bar(lane, s.wet_s[0], s.wet_s[0] + s.dry_s[1] - s.dry_s[0]) for lane, s in enumerate(lanes)
    ]
    for bars, alpha in ((wet, 0.35), (dry, 1.0)):
        axes.add_collection(PolyCollection(bars, fc=colours, alpha=alpha, lw=0), autolim=False)
    names = [fitting(sounding.name, NAMES, 8) for sounding in lanes]
    axes.set(ylim=(max(len(lanes), 1) - 0.4, -0.6), yticks=range(len(lanes)))
    axes.set_yticklabels(names, fontsize=8, parse_math=False)
    hidden = len(view.soundings) - len(lanes)
    more = f"; {hidden} more not shown" if hidden > 0 else ""
    entitle(axes, "Events", f"solid: dry part, pale: reverberant tail{more}")
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _bar(lane: int, start_s: float, stop_s: float) -> list[tuple[float, float]]:
    """Corners of a bar in a lane."""
    low, high = lane - 0.35, lane + 0.35
    return [(start_s, low), (stop_s, low), (stop_s, high), (start_s, high)]


def draw_waveforms(axes: Axes, view: View) -> None:
    """Channels one above the other on one scale, as the range of each pixel column."""
    shown, names = view.audio[:MAX_CHANNELS], view.format.channel_names
    peak = float(np.max(np.abs(shown), initial=0.0)) or 1.0
    step = 2.1 * peak
    for n, channel in enumerate(shown):
        low, high, times = _envelope(channel, view.sample_rate)
        axes.fill_between(times, low - n * step, high - n * step, color=QUIET, lw=0.4)
    axes.set(ylim=(-(len(shown) - 1) * step - 1.1 * peak, 1.1 * peak))
    axes.set_yticks(
        [-n * step for n in range(len(shown))],
        [drawable(name, 10) for name in names[: len(shown)]],
        parse_math=False,
    )
    loudness = 20 * np.log10(max(float(np.sqrt(np.mean(shown[0] ** 2))), 1e-12))
    entitle(
        axes,
        "Waveforms" if len(shown) > 1 else "Waveform",
        f"peak {number(20 * np.log10(peak), sign=True)} dB, RMS of {drawable(names[0], 10)} "
        f"{number(loudness, sign=True)} dB re full scale{not_shown(view)}",
    )
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def not_shown(view: View) -> str:
    """How many channels have no place, for the end of a note."""
    hidden = len(view.audio) - MAX_CHANNELS
    return f"; {hidden} of {len(view.audio)} not shown" if hidden > 0 else ""


def _envelope(
    channel: NDArray[np.float32], sample_rate: int, columns: int = 400
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    size = max(1, -(-len(channel) // columns))
    usable = np.pad(channel, (0, -len(channel) % size), mode="edge").reshape(-1, size)
    times = (np.arange(len(usable)) + 0.5) * size / sample_rate
    return usable.min(axis=1), usable.max(axis=1), times


def draw_direction(axes: Axes, view: View, part: int) -> None:
    """Azimuth (`part` 0) or elevation (1) over time: labels as bands, estimates as points.

    A point's size grows with the level of the frame's onsets and its darkness with confidence:
    where noise or reverberation rules, the points are small and pale.
    """
    bands = [
        (sounding, (sounding.azimuth_deg, sounding.elevation_deg)[part])
        for sounding in view.soundings
    ]
    _draw_labels(axes, bands, lw=6, alpha=0.6)
    if view.directions is not None:
        _draw_estimates(axes, view, view.directions, part)
    entitle(axes, ("Azimuth", "Elevation")[part], _direction_note(view, part))
    axes.grid()
    axes.set_axisbelow(True)
    if part == 0:
        axes.set(ylim=(-190, 190), yticks=[180, 90, 0, -90, -180])
        axes.set_yticklabels(
            ["back 180°", "left +90°", "front 0°", f"right {MINUS}90°", f"back {MINUS}180°"]
        )
    else:
        axes.set(ylim=(-95, 95), yticks=[90, 45, 0, -45, -90])
        axes.set_yticklabels(["up +90°", "+45°", "level 0°", f"{MINUS}45°", f"down {MINUS}90°"])


def _direction_note(view: View, part: int) -> str:
    """What bands, points and rings are; or why there are no points."""
    labels = "bands: labels (noise dashed)"
    if view.directions is None:
        return f"{labels}; {drawable(view.no_directions, 34)}"
    reach = view.directions.reach
    if reach == "side" and part == 0:
        return "bands: labels; thin: lateral angle; points, rings: audio, if behind"
    if reach == "side":
        return f"{labels}; {drawable(view.format.name, 16)} tells none"
    also = "up and down alike" if reach == "upper" and part == 1 else "pale: diffuse"
    return f"{labels}; points: onsets in the audio ({also})"


def _draw_estimates(axes: Axes, view: View, found: Directions, part: int) -> None:
    """What the audio tells; of a lateral angle both azimuths that it stands for."""
    angle = to_angles(found.vectors)[part]
    if found.reach == "side":
        if part == 1:
            return
        _draw_labels(axes, _lateral(view), lw=1.2, alpha=1.0)
        behind = np.where(angle < 0, -180 - angle, 180 - angle)
        _draw_points(axes, found, behind, hollow=True)
    _draw_points(axes, found, angle)
    if found.reach == "upper" and part == 1:
        _draw_points(axes, found, -angle)


def _lateral(view: View) -> list[tuple[Sounding, Array]]:
    """Labels as ears are told them."""
    told = [
        (s, as_told(to_vectors(s.azimuth_deg, s.elevation_deg), "side"))
        for s in view.soundings
        if s.role != "noise"
    ]
    return [(sounding, to_angles(vectors)[0]) for sounding, vectors in told]


def _draw_points(
    axes: Axes, found: Directions, angle: NDArray[np.float64], *, hollow: bool = False
) -> None:
    weight, confidence = found.weight, found.confidence
    loud = weight > 1e-3 * weight.max(initial=0.0)
    decibels = 20 * np.log10(weight[loud] / weight.max(initial=1e-30))
    inks = to_rgba_array([INK] * int(loud.sum()), np.clip(confidence[loud], 0.08, 0.9))
    axes.scatter(
        ((np.arange(len(angle)) + 0.5) * found.hop_s)[loud],
        angle[loud],
        s=np.interp(decibels, [-40, 0], [4, 34]),
        facecolors="none" if hollow else inks,
        edgecolors=inks if hollow else "none",
        lw=0.7 if hollow else 0,
        zorder=5,
    )


def _draw_labels(
    axes: Axes, labels: Sequence[tuple[Sounding, Array]], *, lw: float, alpha: float
) -> None:
    """Bands of that width; those of noise thin and dashed.

    Args:
        labels: events with degrees per frame, NaN where they are silent. Shape: [frames].
    """
    for noise in (True, False):
        lines, colours = [], []
        for sounding, degrees in labels:
            if (sounding.role == "noise") == noise:
                steps = label_steps(degrees)
                lines += steps
                colours += [NOISE_COLOUR if noise else sounding.colour] * len(steps)
        look = {"lw": 1, "ls": (0, (4, 2)), "alpha": 0.8} if noise else {"lw": lw, "alpha": alpha}
        drawn = LineCollection(lines, colors=colours, **look, capstyle="butt")
        axes.add_collection(drawn, autolim=False)


def label_steps(degrees: Array) -> list[Array]:
    """Polylines that keep each frame's value for its length, apart where an angle wraps or ends.

    Args:
        degrees: per frame of the store. Shape: [frames].

    Returns:
        Times in seconds and degrees. Shapes: [points, 2].
    """
    known = np.flatnonzero(np.isfinite(degrees))
    if len(known) == 0:
        return []
    apart = (np.diff(known) > 1) | (np.abs(np.diff(degrees[known])) > 180)
    lines = []
    for frames in np.split(known, np.flatnonzero(apart) + 1):
        changes = frames[np.diff(degrees[frames], prepend=np.inf) != 0]
        edges = np.append(changes, frames[-1] + 1) * FRAME_HOP_S
        times = np.repeat(edges, 2)[1:-1]
        lines.append(np.column_stack([times, np.repeat(degrees[changes], 2)]))
    return lines
