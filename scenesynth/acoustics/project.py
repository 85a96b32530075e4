"""From an Ambisonic response to the channels of every format, all of one sound field.

Ears and microphones hear late sound through filters of the Ambisonic channels (a mixer: least
squares at low frequencies, magnitudes at high ones, right in level and coherence in a diffuse
field; `scenesynth.spatial.mixers`). What a mixer makes of a single direction u is M Y(u) instead of
the receiver's own response H(u); for the direct sound and the first reflections the difference
H(u) - M Y(u) is added, each at its own time, so that they are exact whatever the order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.early import (
    Early,
    arrival_pieces,
    arrival_spectra,
    sum_of_early,
    window_length,
)
from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.receivers import Blocks, Receiver
from scenesynth.acoustics.response import Response
from scenesynth.spatial.ambisonics import harmonics_rotation, spherical_harmonics

DIRECT_WINDOW_S: Final = 0.2
"""Window of a direct sound by itself: the weights of the lowest octave ring for that long."""


def project(
    ir: NDArray[np.float32],
    early: Early | None,
    receivers: Sequence[Receiver],
    *,
    n_ambisonic: int,
    sample_rate: int,
    highpass_hz: float,
) -> NDArray[np.float32]:
    """Channels of a layout: the first Ambisonic ones, then those of every receiver.

    Args:
        ir: Ambisonic response, at least of the receivers' orders. Shape: [K, samples].
        early: arrivals of which the response holds the sum; None where they are not known apart.
        highpass_hz: corner of the high-pass that the response has been through.

    Returns:
        Shape: [n_ambisonic + channels of receivers, samples].
    """
    if not receivers:
        return ir[:n_ambisonic]
    n_samples = ir.shape[1]
    parts, seen = [ir[:n_ambisonic]], Blocks()
    for receiver in receivers:
        mixed = receiver.mixed(ir, seen)
        if early is not None:
            added = sum_of_early(
                early,
                receiver.error_of_mixer,
                sample_rate=sample_rate,
                n_samples=n_samples,
                window=receiver.window,
            )
            mixed += highpass(added, n_samples, highpass_hz, sample_rate)
        parts.append(mixed)
    return np.concatenate(parts)


def turned(response: Response, rotation: NDArray[np.float64]) -> Response:
    """An Ambisonic response as a listener hears it who turns away from the response's frame.

    Args:
        rotation: from the listener's new frame to that of the response. Shape: [3, 3].
    """
    n_channels = len(response.ir)
    turn = harmonics_rotation(rotation, math.isqrt(n_channels) - 1).astype(np.float32)
    ir = np.empty_like(response.ir)
    for degree in range(math.isqrt(n_channels)):
        rows = slice(degree**2, (degree + 1) ** 2)
        np.einsum("ij,jt->it", turn[rows, rows], response.ir[rows], out=ir[rows], optimize=False)
    x, y, z = (float(v) for v in np.array(response.direction) @ rotation)
    early = response.early
    return replace(
        response,
        ir=ir,
        direction=(x, y, z),
        early=None if early is None else lambda: early().turned(rotation),
    )


def direct_window(sample_rate: int) -> int:
    """Samples that a direct sound by itself takes."""
    return window_length(sample_rate, DIRECT_WINDOW_S)


def direct_sounds(
    earlies: Sequence[Early],
    receivers: Sequence[Receiver],
    *,
    order: int,
    sample_rate: int,
    n_samples: int,
    highpass_hz: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Direct sounds alone, each as if it were the only one, in the channels of a layout.

    Args:
        earlies: of responses between many places of an emitter and a listener.
        order: of the Ambisonic channels.

    Returns:
        At time 0, which is half a window late [n, channels, window], and at the times at which they
        arrive [n, channels, n_samples].
    """
    window = direct_window(sample_rate)
    together = _directs(earlies)
    at = together.delay_s * sample_rate
    undelayed: list[NDArray[np.float32]] = []
    delayed: list[NDArray[np.float32]] = []
    for responses in (_pressure, *(receiver.responses for receiver in receivers)):
        spectra = arrival_spectra(together, responses, sample_rate=sample_rate, window=window)
        for parts, channels in (
            (undelayed, arrival_pieces(spectra, np.zeros(len(at)))[0]),
            (delayed, _placed(*arrival_pieces(spectra, at), n_samples)),
        ):
            rows = channels.reshape(-1, channels.shape[2])
            filtered = highpass(rows, rows.shape[1], highpass_hz, sample_rate)
            parts.append(filtered.reshape(channels.shape))
    gains = spherical_harmonics(together.direction, order).astype(np.float32)[:, :, None]
    for parts in (undelayed, delayed):
        parts[0] = gains * parts[0]
    return np.concatenate(undelayed, axis=1), np.concatenate(delayed, axis=1)


def _pressure(direction: NDArray[np.float64], window: int) -> NDArray[np.complexfloating]:
    """Responses of the pressure, which is the same from everywhere."""
    return np.broadcast_to(np.complex64(1), (len(direction), 1, window // 2 + 1))


def _directs(earlies: Sequence[Early]) -> Early:
    """The direct sounds of all of them."""
    each = [early.direct for early in earlies]
    return replace(
        each[0],
        delay_s=np.concatenate([early.delay_s for early in each]),
        direction=np.concatenate([early.direction for early in each]),
        amplitude=np.concatenate([early.amplitude for early in each]),
    )


def _placed(
    pieces: NDArray[np.float32], first: NDArray[np.int64], n_samples: int
) -> NDArray[np.float32]:
    """Windows of `arrival_pieces` from time 0 on. Shape: [n, channels, n_samples]."""
    n, n_channels, window = pieces.shape
    out = np.zeros((n, n_channels, n_samples + window), np.float32)
    for row, piece, start in zip(out, pieces, first, strict=True):
        if start < n_samples:
            row[:, start : start + window] = piece
    return np.ascontiguousarray(out[:, :, window // 2 : window // 2 + n_samples])
