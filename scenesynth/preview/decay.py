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
from numpy.typing import NDArray

from scenesynth.acoustics.engines import respond
from scenesynth.acoustics.measure import decay_curves
from scenesynth.acoustics.response import Response
from scenesynth.errors import ConfigError
from scenesynth.plots.text import number
from scenesynth.preview.view import View
from scenesynth.room.decay import room_t60_s
from scenesynth.scene.motion import Path, travel_s
from scenesynth.scene.spec import SceneSpec
from scenesynth.spatial.formats import parse_format

MOST_IMAGES: Final = 5e6
"""Responses of more image sources are not rendered again: about 100 ms on one core."""

QUICK: Final = ("shoebox", "sofa")
"""Engines that make a response in milliseconds."""


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
