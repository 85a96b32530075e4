"""What happens over time: events, waveforms, spectrogram, and directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from scenesynth.localization.directions import Directions, to_angles, to_vectors
from scenesynth.localization.reach import as_told
from scenesynth.plots.style import GRID, INK, NOISE_COLOUR
from scenesynth.plots.text import MINUS, drawable, number
from scenesynth.preview.view import Sounding, View

SPECTRUM_RANGE_DB = 80.0
MAX_LANES = 10


def draw_events(axes: Axes, view: View) -> None:
    """A lane per event: dry part solid, its reverberant tail pale. Noise comes last, in grey."""
    order = sorted(view.soundings, key=lambda s: (s.role == "noise", s.dry_s[0]))
    for lane, sounding in enumerate(order[:MAX_LANES]):
        start, stop = sounding.dry_s
        wet_start, wet_stop = sounding.wet_s
        axes.barh(lane, wet_stop - wet_start, 0.7, wet_start, color=sounding.colour, alpha=0.3)
        delay = wet_start - start
        axes.barh(lane, stop - start, 0.7, start + delay, color=sounding.colour, alpha=0.85)
    rows = max(1, min(len(order), MAX_LANES))
    axes.set(ylim=(rows - 0.4, -0.6), yticks=range(min(len(order), MAX_LANES)))
    axes.set_yticklabels(
        [drawable(s.name, 20) for s in order[:MAX_LANES]], fontsize=8, parse_math=False
    )
    for tick, sounding in zip(axes.get_yticklabels(), order, strict=False):
        tick.set_color("#555555" if sounding.role == "noise" else sounding.colour)
    hidden = len(order) - MAX_LANES
    more = f"; {hidden} more are not shown" if hidden > 0 else ""
    axes.set_title(f"Events: dry part solid, reverberant tail pale{more}", loc="left")
    axes.grid(axis="x", color=GRID, lw=0.6)
    axes.set_axisbelow(True)


def draw_waveforms(axes: Axes, view: View, channel_names: tuple[str, ...]) -> None:
    """Channels one above the other on one scale, as the range of each pixel column."""
    shown = view.audio[:4]
    peak = float(np.max(np.abs(shown), initial=0.0)) or 1.0
    step = 2.1 * peak
    for n, channel in enumerate(shown):
        low, high, times = _envelope(channel, view.sample_rate)
        axes.fill_between(
            times, low - n * step, high - n * step, color=INK if n == 0 else "#6F6F6F", lw=0.3
        )
    axes.set(ylim=(-(len(shown) - 1) * step - 1.1 * peak, 1.1 * peak))
    axes.set_yticks(
        [-n * step for n in range(len(shown))],
        [drawable(name, 10) for name in channel_names[: len(shown)]],
        parse_math=False,
    )
    loudness = 20 * np.log10(max(float(np.sqrt(np.mean(shown[0] ** 2))), 1e-12))
    hidden = len(view.audio) - len(shown)
    axes.set_title(
        f"Waveform{'s' if len(shown) > 1 else ''}: peak {number(20 * np.log10(peak), sign=True)}, "
        f"RMS of {channel_names[0]} {number(loudness, sign=True)} dB re full scale"
        + (f" (first 4 of {len(view.audio)} channels)" if hidden else ""),
        loc="left",
    )
    axes.grid(axis="x", color=GRID, lw=0.6)


def _envelope(
    channel: NDArray[np.float32], sample_rate: int, columns: int = 1200
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    size = max(1, len(channel) // columns)
    usable = channel[: len(channel) // size * size].reshape(-1, size)
    times = (np.arange(len(usable)) + 0.5) * size / sample_rate
    return usable.min(axis=1), usable.max(axis=1), times


def draw_spectrogram(axes: Axes, view: View, channel_name: str) -> None:
    """Level of the first channel over time and log frequency, down to 80 dB under its maximum."""
    levels, edges_hz = log_spectrogram(view.audio[0], view.sample_rate)
    image = axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        extent=(0, view.duration_s, np.log2(edges_hz[0]), np.log2(edges_hz[1])),
        cmap="magma",
        vmin=-SPECTRUM_RANGE_DB,
        vmax=0,
        interpolation="bilinear",
    )
    ticks = [f for f in (125, 250, 500, 1000, 2000, 4000, 8000, 16000) if f < edges_hz[1]]
    axes.set_yticks([float(np.log2(f)) for f in ticks], [_kilo(f) for f in ticks])
    axes.set_ylabel("Hz")
    axes.set_title(f"Spectrogram of {channel_name}", loc="left")
    bar = axes.inset_axes((1.012, 0.0, 0.012, 1.0))
    axes.figure.colorbar(image, cax=bar, ticks=[0, -20, -40, -60, -80])
    bar.set_title("dB", fontsize=8)
    bar.tick_params(labelsize=7.5)


def log_spectrogram(
    channel: NDArray[np.float32], sample_rate: int, bands: int = 160
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Level in dB re its maximum, [bands, times], and the lowest and highest frequency in Hz."""
    window = 2 * round(0.016 * sample_rate)
    hop = max(1, len(channel) // 900)
    stft = ShortTimeFFT(
        hann(window, sym=False), max(hop, window // 8), sample_rate, mfft=4 * window
    )
    padded = np.pad(channel, (0, max(0, window - len(channel))))
    power = np.abs(stft.stft(padded, p0=0, p1=stft.upper_border_begin(len(padded))[1] or None)) ** 2
    low, high = 60.0, sample_rate / 2
    at = np.geomspace(low, high, bands) / (sample_rate / (4 * window))
    below = np.minimum(at.astype(int), len(power) - 2)
    part = (at - below)[:, None]
    levels = power[below] * (1 - part) + power[below + 1] * part
    peak = float(levels.max(initial=0.0)) or 1.0
    return 10 * np.log10(np.maximum(levels / peak, 1e-12)), (low, high)


def _kilo(freq_hz: int) -> str:
    return f"{freq_hz // 1000}k" if freq_hz >= 1000 else str(freq_hz)


def draw_direction(axes: Axes, view: View, part: int) -> None:
    """Azimuth (`part` 0) or elevation (1) over time: labels as bands, estimates as points.

    A point's size grows with the level of the frame's onsets and its darkness with confidence:
    where noise or reverberation rules, the points are small and pale.
    """
    for sounding in view.soundings:
        degrees = (sounding.azimuth_deg, sounding.elevation_deg)[part]
        _draw_label_line(axes, sounding, degrees)
    if view.directions is not None:
        _draw_estimates(axes, view, view.directions, part)
    axes.grid(color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    if part == 0:
        axes.set(ylim=(-190, 190), yticks=[180, 90, 0, -90, -180])
        axes.set_yticklabels(
            ["back 180°", "left +90°", "front 0°", f"right {MINUS}90°", f"back {MINUS}180°"]
        )
    else:
        axes.set(ylim=(-95, 95), yticks=[90, 45, 0, -45, -90])
        axes.set_yticklabels(["up +90°", "+45°", "level 0°", f"{MINUS}45°", f"down {MINUS}90°"])


def _draw_estimates(axes: Axes, view: View, found: Directions, part: int) -> None:
    """What the audio tells; of a lateral angle both azimuths that it stands for."""
    angle = to_angles(found.vectors)[part]
    if found.reach == "side":
        if part == 1:
            return
        for sounding in view.soundings:
            _draw_lateral(axes, sounding)
        behind = np.where(angle < 0, -180 - angle, 180 - angle)
        _draw_points(axes, found, behind, hollow=True)
    _draw_points(axes, found, angle)
    if found.reach == "upper" and part == 1:
        _draw_points(axes, found, -angle)


def _draw_lateral(axes: Axes, sounding: Sounding) -> None:
    vectors = as_told(to_vectors(sounding.azimuth_deg, sounding.elevation_deg), "side")
    if sounding.role != "noise":
        _draw_label_line(axes, sounding, to_angles(vectors)[0], lw=1.2, alpha=1.0)


def _draw_points(
    axes: Axes, found: Directions, angle: NDArray[np.float64], *, hollow: bool = False
) -> None:
    weight, confidence = found.weight, found.confidence
    loud = weight > 1e-3 * weight.max(initial=0.0)
    decibels = 20 * np.log10(weight[loud] / weight.max(initial=1e-30))
    inks = [(0.0, 0.0, 0.0, alpha) for alpha in np.clip(confidence[loud], 0.08, 0.9)]
    axes.scatter(
        ((np.arange(len(angle)) + 0.5) * found.hop_s)[loud],
        angle[loud],
        s=np.interp(decibels, [-40, 0], [4, 34]),
        facecolors="none" if hollow else inks,
        edgecolors=inks if hollow else "none",
        lw=0.7 if hollow else 0,
        zorder=5,
    )


def _draw_label_line(
    axes: Axes,
    sounding: Sounding,
    degrees: NDArray[np.float64],
    *,
    lw: float = 6,
    alpha: float = 0.6,
) -> None:
    edges = np.arange(len(degrees) + 1) * 0.1
    wrapped = np.abs(np.diff(degrees, prepend=degrees[0])) > 180
    noise = sounding.role == "noise"
    segments = np.split(np.arange(len(degrees)), np.flatnonzero(wrapped))
    for segment in segments:
        if np.isfinite(degrees[segment]).any():
            axes.stairs(
                degrees[segment],
                np.append(edges[segment], edges[segment[-1] + 1]),
                baseline=None,
                color=NOISE_COLOUR if noise else sounding.colour,
                lw=1 if noise else lw,
                ls="--" if noise else "-",
                alpha=0.8 if noise else alpha,
            )
