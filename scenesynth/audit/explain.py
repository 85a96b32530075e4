"""What is different about audio whose parts are known, in words.

The parts are what the spec gives: direct and early sound, late sound, noise. A stored mixture is
explained as those parts, shifted, with channels exchanged or turned over, each part at a gain. Of
audio that is what it should be, all gains are 1 and nothing is left over. Where something is wrong,
the coefficient that is off names the fault: noise at 1.41 is noise that is 3 dB too loud.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.audit.hypotheses import hypotheses
from scenesynth.spatial.formats import Format

SAME_DB: Final = -60.0
"""Difference to what is expected up to which audio is the same for an audit."""

LEVEL_DB: Final = 0.3
"""Least difference in level that is named."""

LATE_DB: Final = 0.5

EXPLAINED_DB: Final = -20.0
"""What may be left over of an explanation that is to be believed."""

DECAY_OFF: Final = 0.07
"""Least difference of decay times, as a share, that is named."""

DEAD_DB: Final = -80.0
NOTHING_DB: Final = -60.0
"""Energy of a part, in relation to the largest, up to which it is not there."""

Signal = NDArray[np.float32]
Decay = Callable[[Signal, int], float | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong, and the check that it is a matter of."""

    check: str
    what: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """What a mixture should be made of. Shape of each: [channels, samples].

    Attributes:
        decay: how many times as long as it should a decay takes, from what should be a target's
            and noise's channel c alone; None where it cannot be told.
    """

    near: Signal
    late: Signal
    noise: Signal
    decay: Decay = field(default=lambda signal, channel: None)

    @property
    def mixture(self) -> Signal:
        """All together."""
        return self.near + self.late + self.noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What was found; gains are null where there is no such part, or none could be told.

    Attributes:
        gain_db: of direct and early sound.
        late_db, noise_db: of the others, in relation to that.
        residual_db: what the explanation leaves over, in relation to the audio.
        decay_ratio: decay time over what it should be.
    """

    faults: tuple[Fault, ...] = ()
    lag_samples: int = 0
    gain_db: float | None = None
    late_db: float | None = None
    noise_db: float | None = None
    residual_db: float | None = None
    decay_ratio: float | None = None


def explained(audio: Signal, parts: Parts, item: Format, sample_rate: int) -> Explained:
    """Why `audio` is not the mixture of its parts.

    Args:
        audio: Shape: [channels, samples].
    """
    if not np.isfinite(audio).all() or not audio.any():
        return Explained()  # a matter of other checks, and nothing to compare
    lag = _lag(audio, parts.mixture)
    parts = _delayed(parts, lag)
    order, signs, faults = _channels(audio, parts.mixture, item)
    parts = _ordered(parts, order, signs)
    alive = np.flatnonzero(signs)
    if lag:
        late = "late" if lag > 0 else "early"
        faults.append(Fault("levels", f"starts {abs(lag) / sample_rate * 1e3:.2f} ms too {late}"))
    gains, residual_db = _gains(audio[alive], parts, alive)
    ratio = _decay(audio, parts, signs, order, gains, residual_db)
    if (ratio is None or abs(ratio - 1) < DECAY_OFF) and residual_db > SAME_DB:
        right, levels_db = _channel_levels(audio, parts, alive, item)
        if (named := _uneven(right, levels_db, item)) is not None:
            faults.append(named)
            parts = _ordered(parts, range(len(audio)), 10 ** (levels_db / 20))
            gains, residual_db = _gains(audio[alive], parts, alive)
    found = Explained(
        lag_samples=lag,
        gain_db=gains[0],
        late_db=_less(gains[1], gains[0]),
        noise_db=_less(gains[2], gains[0]),
        residual_db=residual_db,
        decay_ratio=ratio,
    )
    return replace(found, faults=(*faults, *_level_faults(found)))


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _lag(audio: Signal, expected: Signal) -> int:
    """Samples by which the audio is late, whatever its channels' order and signs.

    Shapes: [channels, samples].
    """
    n_samples = audio.shape[1]
    n_fft = scipy.fft.next_fast_len(2 * n_samples, real=True)
    some = slice(0, 4)
    # Without their magnitudes (PHAT), so that low sounds do not match themselves a little later.
    heard, wanted = (_phases(scipy.fft.rfft(signal[some], n_fft)) for signal in (audio, expected))
    match = np.zeros(n_fft)
    for spectrum in wanted:
        match += np.sum(scipy.fft.irfft(heard * spectrum.conj(), n_fft) ** 2, axis=0)
    at = int(np.argmax(match))
    if match[at] < 2 * match[0]:
        return 0
    return at if at < n_fft // 2 else at - n_fft


def _phases(spectra: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    return np.asarray(spectra / np.maximum(np.abs(spectra), np.finfo(np.float32).tiny))


def _delayed(parts: Parts, lag: int) -> Parts:
    if not lag:
        return parts

    def moved(signal: Signal) -> Signal:
        out = np.roll(signal, lag, axis=1)
        out[:, slice(0, lag) if lag > 0 else slice(lag, None)] = 0
        return out

    return Parts(
        near=moved(parts.near), late=moved(parts.late), noise=moved(parts.noise), decay=parts.decay
    )


def _channels(
    audio: Signal, expected: Signal, item: Format
) -> tuple[list[int], NDArray[np.float32], list[Fault]]:
    """Which expected channel each channel holds, with what sign (0 for none), and what is wrong."""
    names = item.channel_names
    energy = np.sum(np.square(audio, dtype=np.float64), axis=1)
    wanted = np.sum(np.square(expected, dtype=np.float64), axis=1)
    alike = audio.astype(np.float64) @ expected.astype(np.float64).T
    alike /= np.sqrt(np.outer(np.maximum(energy, 1e-30), np.maximum(wanted, 1e-30)))
    order, signs, faults = [], np.ones(len(audio), np.float32), []
    for c, row in enumerate(alike):
        other = int(np.argmax(np.abs(row)))
        own = abs(row[other]) < abs(row[c]) + 0.05
        order.append(c if own else other)
        signs[c] = np.sign(row[order[c]]) or 1.0
        if energy[c] <= wanted[c] * 10 ** (DEAD_DB / 10):
            order[c], signs[c] = c, 0.0
            if wanted[c]:
                faults.append(Fault("channels", f"channel {names[c]} is dead"))
    if (signs <= 0).all() and signs.any():
        faults.append(Fault("channels", "all channels have the opposite sign"))
    elif order != list(range(len(order))) or (signs < 0).any():
        faults.append(_misplaced(order, signs, item))
    return order, signs, faults


def _misplaced(order: Sequence[int], signs: NDArray[np.float32], item: Format) -> Fault:
    """What it means that channels hold others, or have another sign."""
    names = item.channel_names
    moved = [c for c, source in enumerate(order) if c != source]
    if sorted(order) != list(range(len(order))):
        held = ", ".join(f"{names[c]} holds {names[order[c]]}" for c in moved)
        return Fault("channels", f"channel {held}")
    if item.kind == "binaural":
        return Fault("directions", "left and right are swapped")
    if item.kind == "ambisonics" and (name := _turned(order, signs, item)):
        return Fault("directions", name)
    turned = [names[c] for c in np.flatnonzero(signs < 0)]
    inverted = [f"{', '.join(turned)} {'has' if len(turned) == 1 else 'have'} the opposite sign"]
    swapped = (
        [f"channels {' and '.join(names[c] for c in moved)} are swapped"]
        if len(moved) == 2
        else [
            f"channels {', '.join(names[c] for c in moved)} hold "
            f"{', '.join(names[order[c]] for c in moved)}"
        ]
    )
    told = (swapped if moved else []) + (inverted if turned else [])
    return Fault("directions", "; ".join(told))


def _turned(order: Sequence[int], signs: NDArray[np.float32], item: Format) -> str:
    """The name of what first-order channels are turned into; "" where it has none."""
    if order[0] != 0 or set(order[1:4]) != {1, 2, 3}:
        return ""
    axes = {1: 1, 2: 2, 3: 0}  # Y, Z, X: left, up, front
    turn = np.zeros((3, 3))
    for channel, axis in axes.items():
        turn[axis, axes[order[channel]]] = signs[channel] * signs[0]
    for hypothesis in hypotheses(item):
        if np.array_equal(hypothesis.turn, turn):
            return hypothesis.name
    return ""


def _ordered(parts: Parts, order: Sequence[int], gains: NDArray[np.floating]) -> Parts:
    """Channels in another order, each at a gain."""

    def moved(signal: Signal) -> Signal:
        return np.asarray(signal[list(order)] * gains[:, None].astype(np.float32))

    return Parts(
        near=moved(parts.near), late=moved(parts.late), noise=moved(parts.noise), decay=parts.decay
    )


def _gains(
    audio: Signal, parts: Parts, alive: NDArray[np.intp]
) -> tuple[list[float | None], float]:
    """Gains in dB of near, late and noise over some channels, and what is left.

    Args:
        audio: of the channels that are `alive`. Shape: [channels, samples].
    """
    every = (parts.near, parts.late, parts.noise)
    rows = [part[alive].ravel().astype(np.float64) for part in every]
    target = audio.ravel().astype(np.float64)
    energy = [float(row @ row) for row in rows]
    # Of what is next to nothing, as the late sound of an anechoic room, no gain can be told.
    there = [n for n in range(len(rows)) if energy[n] > max(energy) * 10 ** (NOTHING_DB / 10)]
    gains: list[float | None] = [None, None, None]
    if not there:
        return gains, math.inf
    basis = np.stack([rows[n] for n in there])
    found = np.linalg.lstsq(basis @ basis.T, basis @ target, rcond=None)[0]
    for n, gain in zip(there, found, strict=True):
        gains[n] = _db(gain)
    left = float(np.sum((target - found @ basis) ** 2))
    return gains, 10 * math.log10(max(left, 1e-30) / float(target @ target))


def _db(gain: float) -> float:
    return 20 * math.log10(gain) if gain > 1e-6 else -120.0


def _channel_levels(
    audio: Signal, parts: Parts, alive: NDArray[np.intp], item: Format
) -> tuple[int, NDArray[np.float64]]:
    """A channel that is taken to be right, and the gains of all in relation to it, in dB.

    That is W of Ambisonics, and else one that most others agree with. Gains are those of direct and
    early sound.
    """
    levels_db = np.full(len(audio), np.nan)
    for c in alive:
        gains, left_db = _gains(audio[[c]], parts, np.array([c]))
        levels_db[c] = gains[0] if gains[0] is not None and left_db < EXPLAINED_DB else np.nan
    if not np.isfinite(levels_db).any():
        return 0, np.zeros(len(audio))
    agreed = np.sum(np.abs(levels_db[:, None] - levels_db) < LATE_DB, axis=1)
    right = int(np.argmax(agreed))
    if item.kind == "ambisonics" and np.isfinite(levels_db[0]):
        right = 0
    return right, np.nan_to_num(levels_db - levels_db[right])


def _uneven(right: int, levels_db: NDArray[np.float64], item: Format) -> Fault | None:
    """Channels that are louder or quieter than they should be beside another."""
    names = item.channel_names
    off = [c for c in range(len(levels_db)) if abs(levels_db[c]) >= LATE_DB]
    if not off:
        return None
    told = [f"{names[c]} is {_off(levels_db[c])} it should be" for c in off]
    return Fault("channels", f"beside {names[right]}, {'; '.join(told)}")


def _decay(
    audio: Signal,
    parts: Parts,
    signs: NDArray[np.float32],
    order: Sequence[int],
    gains: Sequence[float | None],
    residual_db: float,
) -> float | None:
    """Decay time over what it should be, where levels alone do not explain the audio."""
    late_db = _less(gains[1], gains[0])
    if late_db is None or (abs(late_db) < LEVEL_DB and residual_db < EXPLAINED_DB):
        return None
    loudest = int(np.argmax(np.abs(signs) * np.sum(np.square(parts.near), axis=1)))
    return parts.decay(np.asarray(audio[loudest] * signs[loudest]), order[loudest])


def _level_faults(found: Explained) -> list[Fault]:
    ratio = found.decay_ratio
    if ratio is not None and abs(ratio - 1) >= DECAY_OFF:
        slower = f"{100 * abs(ratio - 1):.0f} % {'slower' if ratio > 1 else 'faster'}"
        return [Fault("t60", f"reverberation decays {slower} than its spec says")]
    assert found.residual_db is not None
    if found.residual_db > EXPLAINED_DB:
        return []
    faults = []
    if found.late_db is not None and abs(found.late_db) >= LATE_DB:
        faults.append(Fault("t60", f"late reverberation is {_off(found.late_db)} its spec says"))
    if found.noise_db is not None and abs(found.noise_db) >= LEVEL_DB:
        off = f"noise is {_off(found.noise_db)} its spec says, SNR off by {-found.noise_db:+.1f} dB"
        faults.append(Fault("snr", off))
    if found.gain_db is not None and abs(found.gain_db) >= LEVEL_DB:
        faults.append(Fault("levels", f"targets are {_off(found.gain_db)} their spec says"))
    return faults


def _off(level_db: float) -> str:
    return f"{abs(level_db):.1f} dB {'louder' if level_db > 0 else 'quieter'} than"


def as_row(found: Explained) -> Mapping[str, object]:
    """Plain data, as a row of a table has it."""
    return {
        **{name: getattr(found, name) for name in Explained.__slots__ if name != "faults"},
        "faults": [{"check": fault.check, "what": fault.what} for fault in found.faults],
    }
