"""The engine "sofa": responses that were measured, or simulated elsewhere, between their positions.

At a measured pair of positions (within `AT_POINT_M`) the response is the measured one: turned from
the orientation in which it was recorded to the listener's, resampled, and shifted so that sample 0
is the emission and the direct sound arrives after distance / c.

Elsewhere it is interpolated, over sources for a measured listener or over listeners for a measured
source. The neighbours are the corners of the Delaunay simplex around the position (of those within
`REACH_M`), weighted so that their mean is the position. The direct sounds, up to `DIRECT_S` after
their arrival, are brought to the position's distance and (Ambisonics) direction and added by
weight; what follows stays where it was in time and direction and is added by the root of the
weight, as the late sound of two places is uncorrelated above a frequency that their distance d
sets. Below, it is not, and the sum would be too strong: it is divided by its power in a diffuse
field, whose coherence is sin(k d) / (k d) (Cook et al. 1955; over sources by reciprocity). So
labels hold between the positions, and the reverberation is as strong as at them; early reflections
of neighbours stay apart, in time and direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
import soxr
from numpy.typing import NDArray

from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.measure import measure
from scenesynth.acoustics.response import Response
from scenesynth.errors import ConfigError
from scenesynth.room.measured import MeasuredRoom, locate_room
from scenesynth.room.recorded import MIN_DISTANCE_M
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import Emitter, Keyframe, SceneSpec
from scenesynth.spatial.ambisonics import harmonics_rotation
from scenesynth.spatial.formats import Format
from scenesynth.timing import stage

AT_POINT_M: Final = 0.01
"""Positions this near to each other are one."""

REACH_M: Final = 1.0
"""Responses of positions farther away say nothing about a place."""

OFF_GRID_M: Final = 0.05
"""Farther than this from every line, surface or body between measured positions is outside."""

DIRECT_S, DIRECT_FADE_S = 0.002, 0.002
"""After its arrival the direct sound is interpolated as such, then faded over to the rest."""

LEAD_S, LEAD_FADE_S = 0.002, 0.001
"""What comes earlier than this before the direct sound is noise, and is faded out."""

END_FADE_S: Final = 0.005
_CANDIDATES: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A measured pair and its share in a response."""

    pair: int
    weight: float


def respond(
    spec: SceneSpec,
    emitter: Emitter,
    emitter_index: int,
    format: Format,
    emitter_at: Keyframe,
    listener_at: Keyframe,
) -> Response:
    """Response of one emitter of a scene; see `scenesynth.acoustics.engines`.

    Raises:
        ConfigError: no measured room, positions off its grid, or a format that it does not hold.
    """
    if spec.room.measured is None:
        raise ConfigError(
            f"scene {spec.id}: engine 'sofa' needs a measured room, and room {spec.room.id} is "
            f"{spec.room.shape}; use another engine"
        )
    room = locate_room(spec.room.measured)
    n_channels = usable_channels(room, format)
    if emitter.directivity != "omni":
        raise ConfigError(
            f"scene {spec.id}, emitter {emitter.id}: directivity = {emitter.directivity!r}; a "
            f"measured response holds its loudspeaker's; leave it at 'omni'"
        )
    source, listener = np.array(emitter_at.position_m), np.array(listener_at.position_m)
    away = source - listener
    distance_m = float(np.linalg.norm(away))
    if distance_m < MIN_DISTANCE_M:
        raise ConfigError(
            f"scene {spec.id}, emitter {emitter.id}: {distance_m:g} m from the listener; must be "
            f"at least {MIN_DISTANCE_M} m"
        )
    turn = rotation_matrix(listener_at.yaw_deg, listener_at.pitch_deg, listener_at.roll_deg)
    with stage("measured"):
        ir = _combine(
            room,
            neighbours(room, source, listener),
            away,
            turn,
            n_channels,
            sample_rate=spec.sample_rate,
            n_samples=round(spec.response_s * spec.sample_rate),
            speed_of_sound_mps=spec.air.speed_of_sound_mps,
        )
        ir = highpass(ir, ir.shape[1], spec.highpass_hz, spec.sample_rate)
    delay_s = distance_m / spec.air.speed_of_sound_mps
    top_hz = min(spec.sample_rate, room.card.sample_rate) / 2
    bands = tuple(band for band in spec.room.band_hz if band < top_hz)
    with stage("measure"):
        measured = measure(ir[0], spec.sample_rate, bands, delay_s)
    x, y, z = turn.T @ away / distance_m
    return Response(
        ir=ir,
        direct_delay_s=delay_s,
        distance_m=distance_m,
        direction=(float(x), float(y), float(z)),
        measured=measured,
    )


def highest_order(spec: SceneSpec) -> int:
    """Order of the Ambisonic response that a scene's measured room gives; 0 where it gives none."""
    if spec.room.measured is None:
        return 0
    card = locate_room(spec.room.measured).card
    return card.order if card.kind == "sh" else 0


def usable_channels(room: MeasuredRoom, format: Format) -> int:
    """How many channels of a format the room's responses give.

    Raises:
        ConfigError: they do not give that format; says what they do.
    """
    card = room.card
    if card.kind == "sh":
        if format.order > card.order:
            orders = ["mono", "foa", *(f"hoa{n}" for n in range(2, card.order + 1))]
            lower = ", ".join(orders[: card.order + 1])
            raise ConfigError(
                f"room {card.name} holds Ambisonics of order {card.order}, and format "
                f"{format.name} needs order {format.order}; use {lower}"
            )
        return format.n_channels
    if format.order == 0 and card.omni is not None:
        return 1
    held = "two ears" if card.kind == "ears" else f"{card.n_channels} microphones"
    also = "; mono can be had from it" if card.omni is not None else ""
    raise ConfigError(
        f"room {card.name} holds {held}, which give no {format.name}: they are for formats "
        f"'binaural' and 'mic', which are not rendered yet{also}"
    )


def neighbours(
    room: MeasuredRoom, source_m: NDArray[np.float64], listener_m: NDArray[np.float64]
) -> list[Neighbour]:
    """Measured pairs around two positions, with weights that add up to 1.

    Raises:
        ConfigError: the positions are neither measured nor between measured ones.
    """
    from_source = np.linalg.norm(room.pairs.source_m - source_m, axis=1)
    from_listener = np.linalg.norm(room.pairs.listener_m - listener_m, axis=1)
    nearest = int(np.argmin(from_source**2 + from_listener**2))
    if max(from_source[nearest], from_listener[nearest]) <= AT_POINT_M:
        return [Neighbour(pair=nearest, weight=1.0)]
    if (fixed := from_listener <= AT_POINT_M).any():
        rows, places, at = np.flatnonzero(fixed), room.pairs.source_m, source_m
        away, what = from_source, "source"
    elif (fixed := from_source <= AT_POINT_M).any():
        rows, places, at = np.flatnonzero(fixed), room.pairs.listener_m, listener_m
        away, what = from_listener, "listener"
    else:
        raise ConfigError(
            f"room {room.card.name}: neither the source at {_text(source_m)} nor the listener at "
            f"{_text(listener_m)} is where one was measured; the nearest pair has them at "
            f"{_text(room.pairs.source_m[nearest])} and {_text(room.pairs.listener_m[nearest])}"
        )
    rows = rows[away[rows] <= REACH_M]
    rows = rows[np.argsort(away[rows], kind="stable")][:_CANDIDATES]
    weights = _simplex(places[rows], at) if len(rows) else None
    if weights is None:
        closest = int(np.argmin(np.where(fixed, away, np.inf)))
        raise ConfigError(
            f"room {room.card.name}: the {what} at {_text(at)} is off the measured positions; the "
            f"nearest is {_text(places[closest])}, {away[closest]:.3g} m away. Place it there, or "
            f"between positions less than {REACH_M:g} m away"
        )
    kept = [(int(row), float(w)) for row, w in zip(rows, weights, strict=True) if w > 1e-3]
    total = sum(w for _, w in kept)
    return [Neighbour(pair=row, weight=w / total) for row, w in kept]


def _simplex(points: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Weights of the Delaunay simplex around a place, or None where there is none.

    Of all weights >= 0 with sum 1 and mean `at`, those with the least mean square distance are the
    Delaunay ones; as a linear program it works for points on a line or a surface, too, and a place
    slightly off them costs more than anything else.
    """
    from scipy.optimize import linprog

    n = len(points)
    offset = points - at
    cost = np.concatenate([np.sum(offset**2, axis=1), np.full(6, 1e3)])
    slack = np.hstack([np.eye(3), -np.eye(3)])
    found = linprog(
        cost,
        A_eq=np.vstack([np.hstack([offset.T, slack]), np.concatenate([np.ones(n), np.zeros(6)])]),
        b_eq=[0.0, 0.0, 0.0, 1.0],
        method="highs",
    )
    if not found.success:
        return None
    weights = np.asarray(found.x[:n])
    return weights if np.linalg.norm(offset.T @ weights) <= OFF_GRID_M else None


def _combine(
    room: MeasuredRoom,
    shares: Sequence[Neighbour],
    away: NDArray[np.float64],
    turn: NDArray[np.float64],
    n_channels: int,
    *,
    sample_rate: int,
    n_samples: int,
    speed_of_sound_mps: float,
) -> NDArray[np.float32]:
    """The response at `away` = source - listener. Shape: [channels, samples]."""
    distance_m = float(np.linalg.norm(away))
    arrival_s = distance_m / speed_of_sound_mps
    direct, late = np.zeros((2, n_channels, n_samples))
    for share in shares:
        stored, recorded = _stored(room, share.pair, n_channels, sample_rate)
        there = room.pairs.source_m[share.pair] - room.pairs.listener_m[share.pair]
        there_m = float(np.linalg.norm(there))
        there_s = there_m / speed_of_sound_mps
        start_s = room.pairs.direct_s[share.pair]
        whole = _shifted(stored, there_s - start_s, sample_rate, n_samples)
        whole = _turned(whole, recorded.T @ turn)
        if len(shares) == 1:
            direct = whole
            break
        moved = _turned(
            _shifted(stored, arrival_s - start_s, sample_rate, n_samples),
            recorded.T @ _between(there / there_m, away / distance_m).T @ turn,
        )
        early = _early(arrival_s, sample_rate, n_samples)
        direct += share.weight * there_m / distance_m * early * moved
        late += np.sqrt(share.weight) * (1.0 - _early(there_s, sample_rate, n_samples)) * whole
    if len(shares) > 1:
        late = _diffuse(room, shares, late, sample_rate, speed_of_sound_mps)
    total = (direct + late) * _lead(arrival_s, sample_rate, n_samples)
    return total.astype(np.float32)


def _diffuse(
    room: MeasuredRoom,
    shares: Sequence[Neighbour],
    late: NDArray[np.float64],
    sample_rate: int,
    speed_of_sound_mps: float,
) -> NDArray[np.float64]:
    """Late sound added by roots of weights, as strong as in a diffuse field at one place."""
    rows = [share.pair for share in shares]
    places = np.concatenate([room.pairs.source_m[rows], room.pairs.listener_m[rows]], axis=1)
    apart_s = np.linalg.norm(places[:, None] - places[None], axis=2) / speed_of_sound_mps
    roots = np.sqrt([share.weight for share in shares])
    n_fft = scipy.fft.next_fast_len(
        late.shape[1] + 2 * round(REACH_M / 100 * sample_rate), real=True
    )
    frequency = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    power = sum(
        a * b * np.sinc(2 * frequency * apart_s[i, j])
        for i, a in enumerate(roots)
        for j, b in enumerate(roots)
    )
    spectra = scipy.fft.rfft(late, n=n_fft, axis=1, workers=1) / np.sqrt(power)
    return np.asarray(scipy.fft.irfft(spectra, n=n_fft, axis=1, workers=1)[:, : late.shape[1]])


@lru_cache(maxsize=64)  # some 20 MB; scenes of one room share responses
def _stored(
    room: MeasuredRoom, pair: int, n_channels: int, sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scaled response of a pair at the scene's rate, its end faded, and its orientation.

    Nobody writes to either.
    """
    channels = room.response(pair).astype(np.float64) * room.pairs.gain[pair]
    if room.card.kind == "sh":
        channels = channels[:n_channels]
    else:
        assert room.card.omni is not None
        channels = channels[room.card.omni : room.card.omni + 1]
    fade = min(round(END_FADE_S * room.card.sample_rate), channels.shape[1])
    channels[:, channels.shape[1] - fade :] *= _ramp(fade)[::-1]
    if room.card.sample_rate != sample_rate:
        # A filter's gain, not the height of its samples, is what stays.
        kept = room.card.sample_rate / sample_rate
        channels = kept * soxr.resample(channels.T, room.card.sample_rate, sample_rate, "VHQ").T
    return channels, room.pairs.rotation[pair]


def _turned(channels: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Channels for a listener turned by `rotation` (new frame to old); W alone does not turn."""
    if len(channels) == 1:
        return channels
    order = round(np.sqrt(len(channels))) - 1
    return harmonics_rotation(rotation, order) @ channels


def _between(start: NDArray[np.float64], stop: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rotation that takes one unit vector to another. Shape: [3, 3]."""
    axis, cosine = np.cross(start, stop), float(start @ stop)
    if cosine < -1 + 1e-9:  # half a turn about any axis across
        across = np.cross(start, np.eye(3)[int(np.argmin(np.abs(start)))])
        across /= np.linalg.norm(across)
        return np.asarray(2 * np.outer(across, across) - np.eye(3))
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine))


def _shifted(
    channels: NDArray[np.float64], seconds: float, sample_rate: int, n: int
) -> NDArray[np.float64]:
    """Channels delayed by any time, exactly within the band. Shape: [channels, n]."""
    whole = int(np.floor(seconds * sample_rate))
    part = seconds * sample_rate - whole
    if part > 1e-6:
        n_fft = scipy.fft.next_fast_len(channels.shape[1] + 256, real=True)
        n_fft += n_fft % 2
        spectra = scipy.fft.rfft(channels, n=n_fft, axis=1, workers=1)
        spectra *= np.exp(-2j * np.pi * part * np.arange(spectra.shape[1]) / n_fft)
        channels = scipy.fft.irfft(spectra, n=n_fft, axis=1, workers=1)[:, : n_fft - 128]
    out = np.zeros((len(channels), n))
    low, high = max(whole, 0), min(whole + channels.shape[1], n)
    if low < high:
        out[:, low:high] = channels[:, low - whole : high - whole]
    return out


def _lead(arrival_s: float, sample_rate: int, n: int) -> NDArray[np.float64]:
    """0 well before the direct sound, 1 from shortly before it. Shape: [n]."""
    return _rise(arrival_s - LEAD_S - LEAD_FADE_S, LEAD_FADE_S, sample_rate, n)


def _early(arrival_s: float, sample_rate: int, n: int) -> NDArray[np.float64]:
    """1 in the direct sound, 0 after it. Shape: [n]."""
    return 1.0 - _rise(arrival_s + DIRECT_S, DIRECT_FADE_S, sample_rate, n)


def _rise(start_s: float, fade_s: float, sample_rate: int, n: int) -> NDArray[np.float64]:
    at = (np.arange(n) / sample_rate - start_s) / fade_s
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(at, 0.0, 1.0)))


def _ramp(n: int) -> NDArray[np.float64]:
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / max(n, 1)))


def _text(at: NDArray[np.float64]) -> str:
    x, y, z = (round(float(v), 3) for v in at)
    return f"({x:g}, {y:g}, {z:g})"
