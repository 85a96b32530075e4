"""Anechoic scenes as any receiver hears them, made without the renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.fft
import scipy.signal
from oracles_scene import RATE, plane_wave_scene

from scenesynth.room.model import Air
from scenesynth.spatial.ambisonics import spherical_harmonics
from scenesynth.spatial.array_response import plane_wave_response
from scenesynth.spatial.ears import impulse_responses
from scenesynth.spatial.formats import Format
from scenesynth.spatial.heads import load_head
from scenesynth.store.schema import Scene

Array = np.ndarray


def heard_scene(
    item: Format, directions: Sequence[tuple[str, float, float]], *, seconds: float = 1.0
) -> Scene:
    """`plane_wave_scene` without noise, its events one after another as `item` receives them."""
    scene = plane_wave_scene(directions, noise=[], seconds=seconds)
    omni = scene.audio[0].astype(float)
    slot = len(omni) // len(directions)
    audio = np.zeros((item.n_channels, len(omni)))
    for n, (_, azimuth, elevation) in enumerate(directions):
        own = np.zeros_like(omni)
        own[n * slot : (n + 1) * slot] = omni[n * slot : (n + 1) * slot]
        audio += received(item, own, unit(azimuth, elevation))
    return replace(scene, audio_by_format={item.name: audio.astype(np.float32)})


def unit(azimuth_deg: float, elevation_deg: float) -> Array:
    azimuth, elevation = np.radians((azimuth_deg, elevation_deg))
    flat = np.cos(elevation)
    return np.array([[flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)]])


def received(item: Format, signal: Array, direction: Array) -> Array:
    """Channels of a plane wave. Shape: [channels, samples]."""
    if item.kind == "ambisonics":
        return spherical_harmonics(direction, item.order)[0][:, None] * signal
    if item.array is not None:
        n_fft = scipy.fft.next_fast_len(len(signal) + RATE // 10, real=True)
        freq_hz = np.arange(n_fft // 2 + 1) * (RATE / n_fft)
        (response,) = plane_wave_response(item.array, direction, freq_hz, Air().speed_of_sound_mps)
        return scipy.fft.irfft(response * scipy.fft.rfft(signal, n_fft), n_fft)[:, : len(signal)]
    (ears,), start_s = impulse_responses(load_head("kemar").at_rate(RATE), direction)
    lead = round(-start_s * RATE)
    return scipy.signal.oaconvolve(ears, signal[None], axes=1)[:, lead : lead + len(signal)]
