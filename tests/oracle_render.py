"""Slow, obvious float64 versions of what the renderer does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import fftconvolve

from scenesynth.acoustics.engines import respond
from scenesynth.scene.spec import Event, SceneSpec
from scenesynth.spatial.formats import parse_format

Signal = NDArray[np.float64]


def convolve_float64(dry: ArrayLike, response: ArrayLike, onset: int, length: int) -> Signal:
    """`dry`, starting at `onset`, through `response`, cut to [0, length)."""
    out = np.zeros(length)
    wet = fftconvolve(np.asarray(dry, np.float64), np.asarray(response, np.float64))
    wet = wet[: max(length - onset, 0)]
    out[onset : onset + len(wet)] = wet
    return out


def relative_error_db(got: ArrayLike, expected: ArrayLike, scale: ArrayLike | None = None) -> float:
    """Energy of the difference relative to the mean energy of `scale` (default `expected`)."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape
    reference = np.mean(np.square(expected if scale is None else np.asarray(scale, np.float64)))
    return float(10 * np.log10(np.mean(np.square(got - expected)) / reference + 1e-30))


def play_float64(event: Event, clip: ArrayLike, rate: int) -> Signal:
    """The part of a clip that an event plays, faded sample by sample."""
    start, n = round(event.start_s * rate), round(event.duration_s * rate)
    played = event.gain * np.asarray(clip, np.float64)[start : start + n]
    for fade_s, at in ((event.fade_in_s, 1), (event.fade_out_s, -1)):
        length = min(round(fade_s * rate), len(played))
        for k in range(length):
            played[k if at > 0 else len(played) - 1 - k] *= (k + 0.5) / length
    return played


def wet_events_float64(
    spec: SceneSpec, clips: Mapping[str, ArrayLike], format_name: str, length: int | None = None
) -> Signal:
    """Every event through its response, at its own gain. Shape: [events, channels, length]."""
    rate, out = spec.sample_rate, []
    for index, emitter in enumerate(spec.emitters):
        response = respond(spec, index, [parse_format(format_name)])[format_name]
        for event in emitter.events:
            onset = round(event.onset_s * rate)
            dry = play_float64(event, clips[event.clip.id], rate)[: spec.n_samples - onset]
            channels = [
                convolve_float64(dry, channel, onset, length or spec.n_samples)
                for channel in response.ir
            ]
            out.append(np.array(channels))
    return np.array(out)


def intensity_direction_deg(foa: ArrayLike) -> tuple[float, float]:
    """Azimuth and elevation of the time-averaged intensity of W, Y, Z, X."""
    w, y, z, x = np.asarray(foa, np.float64)
    ix, iy, iz = np.sum(w * x), np.sum(w * y), np.sum(w * z)
    return (
        float(np.degrees(np.arctan2(iy, ix))),
        float(np.degrees(np.arctan2(iz, np.hypot(ix, iy)))),
    )


def energy_end_float64(signal: ArrayLike, drop_db: float) -> int:
    """First sample from which on the energy is `drop_db` below the whole."""
    to_come = np.cumsum(np.square(np.asarray(signal, np.float64))[::-1])[::-1]
    return int(np.count_nonzero(to_come > to_come[0] * 10 ** (-drop_db / 10)))
