"""What a scene's samples say by themselves: silence, clipping, offsets, channels that are wrong.

Nothing here needs labels or clips. A rendered scene is stored at its own peak, so its loudest
sample is at full scale by right; clipping is known by its flat tops: several runs of samples that
all are exactly as large as any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from scenesynth.audit.records import Check, Finding
from scenesynth.spatial.formats import Format

SILENT_PEAK: Final = 1e-6
"""Nothing is heard below: 120 dB under a clip at full scale at 1 m."""

FLAT_RUN: Final = 3
FLAT_RUNS: Final = 3
"""Runs of so many equal extreme samples, and how many of them are no coincidence: the top of a tone
is as flat only below 20 Hz, which no scene holds."""

LOUD_SHARE: Final = 0.25
"""Of the scene's peak: quieter channels have too few steps for their tops to be judged."""

DC_SHARE: Final = 0.05
"""Mean over RMS of a channel that has an offset."""

DC_PEAK_SHARE: Final = 1e-3
"""Least offset in relation to the scene's peak: quiet channels have the means of few steps."""

DEAD_SHARE: Final = 1e-4
"""RMS of a channel in relation to the loudest, 80 dB below, that counts as dead."""

ALIKE: Final = 1e-5
"""Largest difference, as a share of the scene's peak, of two channels that are the same."""

PEAK_TOLERANCE: Final = 1e-3

SIGNAL: Final = pa.struct(
    [
        ("format", pa.string()),
        ("peak", pa.float64()),
        ("rms", pa.float64()),
        ("dc", pa.float64()),
        ("flat_runs", pa.int64()),
        ("longest_run", pa.int64()),
        ("zero_share", pa.float64()),
        ("not_finite", pa.int64()),
        ("table_peak", pa.float64()),
        ("first_order", pa.float64()),
        ("offset", pa.list_(pa.string())),
        ("dead", pa.list_(pa.string())),
        ("same", pa.list_(pa.string())),
        ("opposite", pa.list_(pa.string())),
    ]
)
"""A format's samples in a scene: `dc` is the largest mean of a channel over its RMS; `zero_share`
of samples; `first_order` is the energy of Y, Z and X over that of W, of Ambisonics; lists name
channels, or pairs of them ("W and Y")."""

Audio = NDArray[np.float32]


def signal_of(audio: Audio, item: Format, row: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one format, as `SIGNAL` has them.

    Args:
        audio: Shape: [channels, samples].
        row: the scene's row of the table.
    """
    name, names = item.name, item.channel_names
    bad = int(audio.size - np.count_nonzero(np.isfinite(audio)))
    clean = np.nan_to_num(audio, nan=0.0, posinf=0.0, neginf=0.0) if bad else audio
    peaks = np.abs(clean).max(axis=1, initial=0.0)
    peak = float(peaks.max(initial=0.0))
    rms = np.sqrt(np.mean(np.square(clean, dtype=np.float64), axis=1))
    mean = np.abs(clean.mean(axis=1, dtype=np.float64))
    runs, longest = _flat_tops(clean[peaks >= LOUD_SHARE * peak], peak) if peak else (0, 0)
    reverberant = row.get("rt60_broadband_s") is not None
    offset = (mean > DC_SHARE * rms) & (mean > DC_PEAK_SHARE * peak)
    return {
        "format": name,
        "peak": peak,
        "rms": float(np.sqrt(np.mean(rms**2))),
        "dc": float((mean / np.maximum(rms, np.finfo(float).tiny)).max(initial=0.0)),
        "flat_runs": runs,
        "longest_run": longest,
        "zero_share": 1 - np.count_nonzero(clean) / max(clean.size, 1),
        "not_finite": bad,
        "table_peak": row.get(f"peak_{name}"),
        "first_order": _first_order(rms) if item.kind == "ambisonics" else None,
        "offset": [names[c] for c in np.flatnonzero(offset)],
        "dead": _dead(rms, names, reverberant),
        **_pairs(clean, rms, peak, names, reverberant),
    }


def _first_order(rms: NDArray[np.float64]) -> float | None:
    if len(rms) < 4 or not rms[0]:
        return None
    return float(np.sum(rms[1:4] ** 2) / rms[0] ** 2)


def _flat_tops(audio: Audio, peak: float) -> tuple[int, int]:
    """Runs of samples at a channel's upper or lower extreme, and the longest of them."""
    tolerance = 0.5 * peak / 32767
    runs, longest = 0, 1
    for channel in audio:
        for top in (channel >= channel.max() - tolerance, channel <= channel.min() + tolerance):
            at = np.flatnonzero(top)
            breaks = np.flatnonzero(np.diff(at) > 1)
            ends = np.concatenate([[-1], breaks, [len(at) - 1]])
            lengths = np.diff(ends)
            runs = max(runs, int(np.count_nonzero(lengths >= FLAT_RUN)))
            longest = max(longest, int(lengths.max()))
    return runs, longest


def _dead(rms: NDArray[np.float64], names: Sequence[str], reverberant: bool) -> list[str]:
    """Channels without sound where others have some.

    Without reverberation a channel may be silent by right: Z, of sources at the listener's height.
    """
    if not reverberant or not rms.any():
        return []
    return [names[int(c)] for c in np.flatnonzero(rms < DEAD_SHARE * rms.max())]


def _pairs(
    audio: Audio,
    rms: NDArray[np.float64],
    peak: float,
    names: Sequence[str],
    reverberant: bool,
) -> dict[str, list[str]]:
    """Pairs of channels that are the same, or the same with the other sign.

    Without reverberation channels may be alike by right, such as W and X of a source in front.
    """
    found: dict[str, list[str]] = {"same": [], "opposite": []}
    if not reverberant:
        return found
    loud = [int(c) for c in np.flatnonzero(rms > DEAD_SHARE * rms.max(initial=0.0))]
    for a, b in combinations(loud, 2):
        if abs(rms[a] - rms[b]) > 1e-3 * rms[a]:
            continue
        for kind, sign in (("same", 1), ("opposite", -1)):
            if np.abs(audio[a] - sign * audio[b]).max() <= ALIKE * 4 * peak:
                found[kind].append(f"{names[a]} and {names[b]}")
    return found


def signal_checks(
    heard: Sequence[Mapping[str, Any]], of: int, channels: Sequence[Finding] = ()
) -> list[Check]:
    """What is wrong with samples, a check for each kind of fault.

    Args:
        heard: rows of what was listened to.
        of: scenes that there are.
        channels: what rendering scenes again has found wrong with channels; of scenes that nothing
            is found wrong with here, it counts.
    """
    return [_check(kind, heard, of, channels if kind == "channels" else ()) for kind in _KINDS]


Faults = Callable[[Mapping[str, Any]], Iterator[str]]


def _silence(signal: Mapping[str, Any]) -> Iterator[str]:
    if signal["peak"] < SILENT_PEAK and not signal["not_finite"]:
        yield "is silent"


def _clipping(signal: Mapping[str, Any]) -> Iterator[str]:
    if signal["flat_runs"] >= FLAT_RUNS:
        yield (
            f"is clipped: {signal['flat_runs']} flat tops, the longest of "
            f"{signal['longest_run']} samples"
        )


def _dc(signal: Mapping[str, Any]) -> Iterator[str]:
    if signal["offset"]:
        which = ", ".join(signal["offset"])
        yield f"has an offset in {which} of up to {100 * signal['dc']:.0f} % of its RMS"


def _channels(signal: Mapping[str, Any]) -> Iterator[str]:
    if signal["peak"] < SILENT_PEAK:
        return
    if signal["dead"]:
        yield f"channel {', '.join(signal['dead'])} is dead"
    for pair in signal["same"]:
        yield f"channels {pair} are the same"
    for pair in signal["opposite"]:
        yield f"channels {pair} are the same with opposite signs"


def _samples(signal: Mapping[str, Any]) -> Iterator[str]:
    if signal["not_finite"]:
        yield f"has {signal['not_finite']:,} samples that are not finite"
    table = signal["table_peak"]
    if table is not None and abs(signal["peak"] - table) > PEAK_TOLERANCE * max(table, 1e-9):
        yield f"has the peak {signal['peak']:.4g}, its row says {table:.4g}"


_KINDS: Final[Mapping[str, tuple[str, str, str, Faults]]] = {
    "silence": ("Does every scene sound?", "are silent", "is silent", _silence),
    "clipping": ("Is nothing clipped?", "are clipped", "is clipped", _clipping),
    "dc": ("Is the sound free of offsets?", "have an offset", "has an offset", _dc),
    "channels": (
        "Is every channel alive, and another than the others?",
        "have a channel that is dead, another one or too loud",
        "has a channel that is dead, another one or too loud",
        _channels,
    ),
    "samples": (
        "Are all samples finite, and peaks those of the tables?",
        "have samples that are not finite, or other peaks than their rows",
        "has samples that are not finite, or another peak than its row",
        _samples,
    ),
}
"""Name: the question, what is wrong with several scenes and with one, and what finds it."""


def _check(
    kind: str, heard: Sequence[Mapping[str, Any]], of: int, more: Sequence[Finding]
) -> Check:
    title, several, one, faults = _KINDS[kind]
    looked = [row for row in heard if not row["why"]]
    findings = tuple(
        scene_finding(row, f"{signal['format']} {what}")
        for row in looked
        for signal in row["signals"]
        for what in faults(signal)
    )
    known = {finding.index for finding in findings}
    findings += tuple(finding for finding in more if finding.index not in known)
    n_bad = len({finding.index for finding in findings})
    figures = {"scenes": n_bad, **_figures(kind, looked)}
    if not looked:
        return unheard(kind, title, of)
    return Check(
        name=kind,
        title=title,
        status="failed" if findings else "passed",
        summary=f"{n_bad:,} of {len(looked):,} scenes {one if n_bad == 1 else several}; "
        f"{findings[0].scene}: {findings[0].what}"
        if findings
        else f"none of {len(looked):,} scenes {several}",
        looked=len(looked),
        of=of,
        findings=findings,
        figures=figures,
    )


def scene_finding(row: Mapping[str, Any], what: str) -> Finding:
    """A finding about a scene that was listened to."""
    return Finding(what=what, scene=row["scene"], index=row["index"], shard=row["shard"])


def unheard(name: str, title: str, of: int) -> Check:
    """A check that could not be made because no scene could be read."""
    return Check(
        name=name, title=title, status="skipped", summary="no scene could be listened to", of=of
    )


def _figures(kind: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    column = {"silence": "peak", "clipping": "longest_run", "dc": "dc"}.get(kind)
    values = [signal[column] for row in rows for signal in row["signals"]] if column else []
    if not values:
        return {}
    return {
        f"{'least' if kind == 'silence' else 'most'}_{column}": (
            min(values) if kind == "silence" else max(values)
        )
    }
