"""How the energy of a scene's main response decays, and the reverberation times it was made for.

A scene's row holds the times of its first target's response, but not the response. It follows from
the spec alone, and for image sources takes a few milliseconds, so it is rendered again for its
curves. Where that would take long (other engines), or what it needs is not at hand (measured rooms
on another machine), the times are drawn without curves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scenesynth.acoustics.engines import respond
from scenesynth.acoustics.measure import decay_curves
from scenesynth.acoustics.response import Response
from scenesynth.errors import ConfigError
from scenesynth.plots.style import COLOURS, INK, NOISE_COLOUR, axes_at, entitle
from scenesynth.plots.text import drawable, hertz, number
from scenesynth.preview.view import View
from scenesynth.room.decay import room_t60_s
from scenesynth.scene.motion import Path, travel_s
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import parse_format

HEIGHT: Final = 2.55
"""Inches that `draw_decay` takes."""

LOWEST_DB: Final = -65.0
MOST_IMAGES: Final = 5e6
"""Responses of more image sources are not rendered again: about 100 ms on one core."""

QUICK: Final = ("shoebox", "sofa")
"""Engines that make a response in milliseconds."""

POINTS: Final = 300
"""Of a curve that are drawn, about."""

BAND_COLOURS: Final = (*(COLOURS[n] for n in (0, 5, 2, 4, 1, 3)), INK, NOISE_COLOUR)
"""From low bands to high ones, in the order of the rainbow."""

_AXES_TOP, _FOOT = 0.4, 0.45


@dataclass(frozen=True, kw_only=True, eq=False)
class Decay:
    """Reverberation of a scene's main response.

    Attributes:
        of: name of what sounds there.
        band_hz: octave bands.
        measured_s, wanted_s: T60 per band, None where there is none.
        broadband_s: measured, of all bands.
        wanted_by: what `wanted_s` is, in a word or two.
        time_s: after the direct sound. Shape: [points].
        level_db: energy still to come; None where it was not rendered, for the reason `why_not`.
            Shape: [bands, points].
    """

    of: str
    band_hz: tuple[float, ...]
    measured_s: tuple[float | None, ...]
    wanted_s: tuple[float | None, ...]
    broadband_s: float | None
    wanted_by: str
    time_s: NDArray[np.float64]
    level_db: NDArray[np.float64] | None
    why_not: str


def decay_of(view: View) -> Decay | None:
    """The decay of the response whose acoustics the scene's row holds; None if it has none."""
    spec, row = view.spec, view.row
    main = _main_event(view)
    band_hz = tuple(f for f in spec.room.band_hz if f < spec.sample_rate / 2)
    measured = _padded(row.get("rt60_measured_s"), len(band_hz))
    wanted, wanted_by = _wanted(view)
    if main is None or not any(value is not None for value in (*measured, *wanted)):
        return None
    emitter, onset_s = main
    time_s, level_db, why_not = _curves(spec, emitter, onset_s, band_hz)
    names = [s.name for s in view.soundings if s.emitter == spec.emitters[emitter].id]
    return Decay(
        of=names[0] if names else spec.emitters[emitter].id,
        band_hz=band_hz,
        measured_s=measured,
        wanted_s=_padded(wanted, len(band_hz)),
        broadband_s=row.get("rt60_broadband_s"),
        wanted_by=wanted_by,
        time_s=time_s,
        level_db=level_db,
        why_not=why_not,
    )


def _main_event(view: View) -> tuple[int, float] | None:
    """Emitter and onset of the event whose response the row's acoustics are of.

    That is the first target, else the first event (`render.rows`).
    """
    events = [
        (event.role, n, event.onset_s)
        for n, emitter in enumerate(view.spec.emitters)
        for event in emitter.events
    ]
    targets = [event for event in events if event[0] == "target"]
    return next((event[1:] for event in targets or events), None)


def _wanted(view: View) -> tuple[Sequence[float | None], str]:
    """T60 per band that was asked for, or that follows from the walls; and which of the two."""
    requested = view.row.get("rt60_requested_s")
    if requested:
        return requested, "requested"
    room = view.spec.room
    absorbs = any(share < 1 for wall in room.absorption for share in wall)
    if room.shape != "shoebox" or not absorbs:
        return (), ""
    found = room_t60_s(room, view.spec.air)
    return [float(value) if math.isfinite(value) else None for value in found], "by the materials"


def _curves(
    spec: SceneSpec, emitter: int, onset_s: float, band_hz: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, str]:
    """Times and levels of the curves, or why there are none."""
    nothing = np.zeros(0)
    if spec.engine not in QUICK:
        return nothing, None, f"engine {spec.engine} takes too long to be run again"
    if spec.engine == "shoebox" and spec.mode == "full" and _n_images(spec) > MOST_IMAGES:
        return nothing, None, "its many image sources take too long to be rendered again"
    try:
        response = _response(spec, emitter, onset_s)
    except (ConfigError, ImportError, OSError, ValueError) as error:
        return nothing, None, f"it cannot be rendered here: {error}"
    own = response.measured.band_hz
    time_s, level_db = decay_curves(
        response.ir[0], spec.sample_rate, band_hz[: len(own)], response.direct_delay_s
    )
    return time_s, level_db, ""


def _n_images(spec: SceneSpec) -> float:
    """Image sources within a response, about."""
    radius_m = spec.response_s * spec.air.speed_of_sound_mps
    return math.pi / 6 * math.prod(1 + 2 * radius_m / length for length in spec.room.size_m)


def _response(spec: SceneSpec, emitter: int, onset_s: float) -> Response:
    """The pressure's response between the poses at an event's onset, as `render.motion` has it."""
    leaving, hearing = Path.of(spec.emitters[emitter].keyframes), Path.of(spec.listener)
    late_s = float(travel_s(leaving, hearing, [onset_s], spec.air.speed_of_sound_mps)[0])
    return respond(
        spec,
        emitter,
        [parse_format("mono")],
        emitter_at=leaving.pose(onset_s),
        listener_at=hearing.pose(onset_s + late_s),
    )["mono"]


def _padded(values: Sequence[float | None] | None, n_bands: int) -> tuple[float | None, ...]:
    """A value per band; the highest have none where the sample rate is low."""
    given = list(values or ())[:n_bands]
    return (*given, *[None] * (n_bands - len(given)))


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


def in_words(decay: Decay) -> str:
    """The times of all bands in a sentence, for those who hear the page."""
    parts = [
        f"{freq_hz:g} Hz {number(got, 's', 2)}"
        + (f" ({decay.wanted_by} {number(wanted, 's', 2)})" if wanted is not None else "")
        for freq_hz, got, wanted in zip(
            decay.band_hz, decay.measured_s, decay.wanted_s, strict=True
        )
    ]
    return f"T60 measured: {', '.join(parts)}; all bands {number(decay.broadband_s, 's', 2)}"


def _colour(band: int) -> str:
    return BAND_COLOURS[band % len(BAND_COLOURS)]
