"""From a file's responses to a room of the library: what its numbers mean, decided from the data.

Files leave open, or get wrong, what matters here, so it is found in the direct sounds:

- the Ambisonic convention (`scenesynth.acoustics.conventions`), and whether source positions are
  room coordinates or relative to the listener;
- when the sound was emitted: with the distance in the delays, without it, or neither. Every direct
  sound is timed, and a few that stray from what the others agree on follow the others;
- the level: the direct sound's amplitude times its distance, 1 to 4 kHz. One gain for the whole
  room keeps the differences that were measured (`level="room"`); one for each response takes
  them away ("pair"), for files whose responses were normalised one by one; "keep" changes nothing;
- which ear is the left one: the one that leads for sources on the left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.conventions import Fit, check_convention, estimate_convention, left_over
from scenesynth.acoustics.direct import (
    direct_level,
    direct_ratios,
    direct_spectra,
    direct_time_s,
)
from scenesynth.errors import ConfigError
from scenesynth.room.measured import (
    Card,
    Kind,
    MeasuredRoom,
    Pairs,
    check_name,
    checksum,
    write_room,
)
from scenesynth.room.model import Air, Vector
from scenesynth.room.recorded import MIN_DISTANCE_M, Channels, Recorded, file_digest
from scenesynth.spatial.conventions import Convention, ambisonic_order, to_acn_sn3d

Level = Literal["room", "pair", "keep"]
Sources = Literal["auto", "room", "listener"]

MARGIN_M: Final = 0.5
"""Between the outermost positions and the box of a room whose corners are not stated."""

STRAY_S: Final = 0.001
"""A direct sound this far from what the others agree on was not the direct sound."""

AGREEING_S: Final = 0.0003
"""Delays agree on a rule if their typical deviation from it is less (10 cm)."""

EXACT_S: Final = 2e-6
"""Delays that agree this well follow the rule: simulated, or measured to the millimetre."""

AT_CENTRE_M: Final = 0.01
"""A capsule this near to the listener's place hears the pressure there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Imported:
    """A room of the library, and how its convention was found."""

    room: MeasuredRoom
    fit: Fit | None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Direct:
    """The direct sounds: times as the file counts them, levels, channels over W. Rows are pairs."""

    time_s: NDArray[np.float64]
    level: NDArray[np.float64]
    ratios: NDArray[np.float64]


def import_room(
    recorded: Recorded,
    name: str,
    *,
    channels: Literal["auto"] | Kind = "auto",
    ambisonics: Literal["auto"] | Convention = "auto",
    sources: Sources = "auto",
    level: Level = "room",
) -> Imported:
    """Put responses into the library as a room.

    Args:
        channels: what they are, where the file does not say.
        ambisonics: their convention; "auto" finds it, or takes what the file states and checks it.
        sources: whether source positions are room coordinates or relative to the listener.
        level: see the module.

    Raises:
        ConfigError: responses that contradict their positions, or leave something open.
    """
    try:
        return _import(recorded.check(), name, channels, ambisonics, sources, level)
    except ConfigError as error:
        text = str(error)
        where = str(recorded.path)
        raise ConfigError(text if text.startswith(where) else f"{where}: {text}") from None


def _import(
    recorded: Recorded,
    name: str,
    channels: Literal["auto"] | Kind,
    ambisonics: Literal["auto"] | Convention,
    sources: Sources,
    level: Level,
) -> Imported:
    check_name(name)
    kind = _kind(recorded, channels)
    recorded, start_s = _undelayed(recorded)
    notes = list(recorded.notes)
    direct = _direct(recorded, kind, start_s)
    recorded, note = _placed(recorded, direct, kind, sources)
    notes += note
    distance_m = np.linalg.norm(recorded.source_m - recorded.listener_m, axis=1)
    if distance_m.min() < MIN_DISTANCE_M:
        worst = int(np.argmin(distance_m))
        raise ConfigError(
            f"response {worst}: source and listener are {distance_m[worst]:g} m apart; must be at "
            f"least {MIN_DISTANCE_M} m"
        )
    corrected_s, onset = _delays(direct.time_s, distance_m)
    if (np.abs(corrected_s - direct.time_s) > STRAY_S).any():
        direct = _direct(recorded, kind, start_s, corrected_s)
    fit = None
    if kind == "sh" and recorded.responses.shape[1] > 1:
        fit = _convention(recorded, direct, ambisonics)
        matrix = to_acn_sn3d(fit.convention, recorded.responses.shape[1]).astype(np.float32)
        recorded = replace(recorded, responses=np.matmul(matrix, recorded.responses))
        # Only W's own factor moves the level: 1 / sqrt 2 in FuMa.
        direct = replace(direct, level=direct.level * float(matrix[0, 0]))
        notes.append(str(fit))
    if kind == "ears":
        recorded, note = _left_first(recorded)
        notes += note
    omni = _omni(recorded, kind)
    gain, note = _gains(direct.level * distance_m, level)
    notes += note
    low, size_m, stated = _box(recorded)
    n, n_channels, n_samples = recorded.responses.shape
    pairs = Pairs(
        source_m=np.round(recorded.source_m - low, 6),
        listener_m=np.round(recorded.listener_m - low, 6),
        rotation=recorded.rotation,
        direct_s=corrected_s - start_s,
        gain=gain,
        checksum=np.array([checksum(r) for r in recorded.responses], dtype=np.uint64),
    )
    card = Card(
        name=name,
        kind=kind,
        order=(ambisonic_order(n_channels) or 0) if kind == "sh" else 0,
        capsules_m=_rows(recorded.capsules_m) if kind == "mics" else (),
        omni=omni,
        sample_rate=recorded.sample_rate,
        n_pairs=n,
        n_channels=n_channels,
        n_samples=n_samples,
        size_m=size_m,
        size_stated=stated,
        origin_m=_vector(-low),
        calibrated=level == "keep",
        onset=onset,
        convention=fit.convention if fit else "",
        notes=tuple(notes),
        title=recorded.title,
        licence=recorded.licence,
        source=recorded.path.name,
        source_digest=file_digest(recorded.path) if recorded.path.is_file() else "",
    )
    return Imported(room=write_room(card, pairs, recorded.responses), fit=fit)


def _kind(recorded: Recorded, asked: Literal["auto"] | Kind) -> Kind:
    """What the channels are, by the user, the file, or their number."""
    n = recorded.responses.shape[1]
    said: Channels = recorded.channels if asked == "auto" else asked
    if said == "unknown" and recorded.convention:
        said = "sh"
    if said == "unknown":
        if n == 1:
            return "mics"
        raise ConfigError(
            f"{n} channels, and the file does not say what they are; give --channels sh, mics or "
            f"ears"
        )
    if said == "sh" and ambisonic_order(n) is None:
        raise ConfigError(f"{n} channels are no Ambisonics of any order; expected 1, 4, 9, 16, ...")
    if said == "ears" and n != 2:
        raise ConfigError(f"{n} channels are no pair of ears")
    return said


def _undelayed(recorded: Recorded) -> tuple[Recorded, NDArray[np.float64]]:
    """Responses whose channels are in step, and when each of them starts (seconds)."""
    least = recorded.delay.min(axis=1)
    more = recorded.delay - least[:, None]
    start_s = least / recorded.sample_rate
    if not more.any():
        return recorded, start_s
    pad = int(np.ceil(more.max()))
    n = recorded.responses.shape[2] + pad
    n_fft = scipy.fft.next_fast_len(n + pad, real=True)
    frequency = np.arange(n_fft // 2 + 1) / n_fft
    late = np.empty((*recorded.responses.shape[:2], n), dtype=np.float32)
    for row, (response, shift) in enumerate(zip(recorded.responses, more, strict=True)):
        spectra = scipy.fft.rfft(response.astype(np.float64), n=n_fft, axis=1, workers=1)
        turned = spectra * np.exp(-2j * np.pi * frequency * shift[:, None])
        late[row] = scipy.fft.irfft(turned, n=n_fft, axis=1, workers=1)[:, :n]
    return replace(recorded, responses=late, delay=np.zeros_like(more)), start_s


def _direct(
    recorded: Recorded,
    kind: Kind,
    start_s: NDArray[np.float64],
    time_s: NDArray[np.float64] | None = None,
) -> _Direct:
    """Time, level and ratios of the direct sounds.

    The time, unless given, is that of W or of the omnidirectional capsule, else the mean over the
    channels.
    """
    n, n_channels, _ = recorded.responses.shape
    levels, ratios = np.empty(n), np.ones((n, n_channels))
    times = np.empty(n) if time_s is None else time_s - start_s
    omni = 0 if kind == "sh" else _omni(recorded, kind)
    for row, response in enumerate(recorded.responses):
        rate = recorded.sample_rate
        heard = response if omni is None else response[omni : omni + 1]
        if time_s is None:
            found = [direct_time_s(channel, rate) for channel in heard if channel.any()]
            if not found:
                raise ConfigError(
                    f"response {row}: channel {omni} is silent, which should hold the pressure at "
                    f"the listener's place; leave the response out"
                )
            times[row] = np.mean(found)
        spectra = direct_spectra(response, rate, times[row])
        levels[row] = direct_level(spectra if omni is None else spectra[omni : omni + 1])
        if kind == "sh":
            ratios[row] = direct_ratios(spectra)
    if levels.min() <= 0:
        raise ConfigError(f"response {int(np.argmin(levels))}: has no direct sound at 1 to 4 kHz")
    return _Direct(time_s=times + start_s, level=levels, ratios=ratios)


def _placed(
    recorded: Recorded, direct: _Direct, kind: Kind, sources: Sources
) -> tuple[Recorded, list[str]]:
    """Source positions in room coordinates."""
    moved = replace(recorded, source_m=recorded.source_m + recorded.listener_m)
    if sources == "listener":
        return moved, ["source positions relative to the listener, as stated"]
    if sources == "room" or kind != "sh" or recorded.responses.shape[1] < 4:
        return recorded, []
    if not recorded.listener_m.any():
        return recorded, []
    here, there = (
        left_over(direct.ratios, _seen(candidate)) if _apart(candidate) else 1.0
        for candidate in (recorded, moved)
    )
    if there < 0.1 and here > 4 * there + 0.02:
        return moved, [
            f"source positions are relative to the listener: so {100 * there:.2g} % of the direct "
            f"sounds' first-order power does not fit them, as room coordinates {100 * here:.2g} %"
        ]
    return recorded, []


def _convention(recorded: Recorded, direct: _Direct, asked: Literal["auto"] | Convention) -> Fit:
    directions = _seen(recorded)
    if asked != "auto":
        return check_convention(asked, direct.ratios, directions)
    fit = estimate_convention(direct.ratios, directions)
    if recorded.convention and recorded.convention != fit.convention:
        raise ConfigError(
            f"states {recorded.convention}, but its direct sounds say otherwise ({fit}). State "
            f"which holds: --ambisonics {fit.convention} or --ambisonics {recorded.convention}"
        )
    return fit


def _seen(recorded: Recorded) -> NDArray[np.float64]:
    """Unit vectors to the sources in the listener's frame. Shape: [pairs, 3]."""
    away = recorded.source_m - recorded.listener_m
    away = away / np.linalg.norm(away, axis=1, keepdims=True)
    return np.asarray(np.einsum("nji,nj->ni", recorded.rotation, away))


def _apart(recorded: Recorded) -> bool:
    away = np.linalg.norm(recorded.source_m - recorded.listener_m, axis=1)
    return bool(away.min() >= MIN_DISTANCE_M)


def _left_first(recorded: Recorded) -> tuple[Recorded, list[str]]:
    """Responses of the left ear first: the one that leads for sources on the left."""
    lateral = _seen(recorded)[:, 1]
    rows = np.flatnonzero(np.abs(lateral) > 0.5)
    if len(rows) == 0:
        return recorded, ["no source to the side: which ear is the left one is not known"]
    rows = rows[:: max(1, len(rows) // 64)]
    n_fft = scipy.fft.next_fast_len(2 * recorded.responses.shape[2], real=True)
    reach = round(0.0015 * recorded.sample_rate)
    vote = 0.0
    for row in rows:
        first, second = scipy.fft.rfft(recorded.responses[row], n=n_fft, axis=1, workers=1)
        both = scipy.fft.irfft(np.conj(first) * second, n=n_fft, workers=1)
        lags = np.concatenate([both[-reach:], both[: reach + 1]])
        vote += lateral[row] * float(np.argmax(lags) - reach)  # second later: first leads
    if vote >= 0:
        return recorded, ["channel 0 leads for sources on the left: it is the left ear"]
    swapped = np.ascontiguousarray(recorded.responses[:, ::-1])
    return replace(recorded, responses=swapped), [
        "channel 1 leads for sources on the left: channels swapped, the left ear comes first"
    ]


def _omni(recorded: Recorded, kind: Kind) -> int | None:
    """Channel of the pressure at the listener's place."""
    if kind == "sh":
        return 0
    if kind == "ears":
        return None
    if recorded.responses.shape[1] == 1:
        return 0
    if recorded.capsules_m is None or not recorded.capsules_m.any():
        return None
    away = np.linalg.norm(recorded.capsules_m, axis=1)
    return int(np.argmin(away)) if away.min() <= AT_CENTRE_M else None


def _delays(
    time_s: NDArray[np.float64], distance_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], str]:
    """Times of the direct sounds, strays corrected, and what the file's delays mean."""
    travel_s = distance_m / Air().speed_of_sound_mps
    rules = {"with the distance": travel_s, "without the distance": np.zeros_like(travel_s)}
    name = min(rules, key=lambda key: _spread(time_s - rules[key]))
    rest_s = time_s - rules[name]
    spread_s, offset_s = _spread(rest_s), float(np.median(rest_s))
    if len(time_s) < 3 or spread_s > AGREEING_S:
        return time_s, "no rule; every one by its own direct sound"
    stray = np.abs(rest_s - offset_s) > STRAY_S
    exact = spread_s < EXACT_S  # positions better known than any single direct sound
    meaning = name if np.ptp(distance_m) > 0.1 else "of one distance"
    return np.where(stray | exact, rules[name] + offset_s, time_s), (
        f"{meaning}, {1e3 * offset_s:+.3f} ms, typical deviation {1e3 * spread_s:.3f} ms, "
        f"{int(stray.sum())} of {len(time_s)} corrected"
    )


def _spread(values: NDArray[np.float64]) -> float:
    """Standard deviation of a Gaussian with the median absolute deviation of `values`."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _gains(strength: NDArray[np.float64], level: Level) -> tuple[NDArray[np.float64], list[str]]:
    """Factor per pair that makes a source at 1 m give 1.0, from level times distance."""
    if level == "keep":
        return np.ones_like(strength), []
    if level == "pair":
        return 1 / strength, []
    spread_db = _spread(20 * np.log10(strength))
    note = f"direct levels times distance differ by {spread_db:.2g} dB (typical deviation)"
    if spread_db > 3:
        note += "; if the responses were normalised one by one, import them with --level pair"
    return np.full_like(strength, 1 / float(np.median(strength))), [note]


def _box(recorded: Recorded) -> tuple[NDArray[np.float64], Vector, bool]:
    """Low corner and size of a box that holds all positions, and whether the file states it."""
    places = np.concatenate([recorded.source_m, recorded.listener_m])
    low, high = places.min(axis=0), places.max(axis=0)
    stated = recorded.corners_m is not None
    if recorded.corners_m is not None:
        corner, other = (np.array(value) for value in recorded.corners_m)
        stated = bool((corner < low).all() and (high < other).all())
        if stated:
            low, high = corner, other
    if not stated:  # among them the corners that some writers leave at their default
        low, high = low - MARGIN_M, high + MARGIN_M
    return low, _vector(high - low), stated


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (round(float(value), 6) for value in values)
    return (x, y, z)


def _rows(values: NDArray[np.float64] | None) -> tuple[Vector, ...]:
    if values is None:
        return ()
    return tuple((float(x), float(y), float(z)) for x, y, z in values)
