"""Heads made by the sphere, as SOFA files; and how far apart two responses are."""

from __future__ import annotations

import itertools

import numpy as np
from measured_helpers import Sofa
from numpy.typing import NDArray

from scenesynth.spatial.ears import impulse_responses
from scenesynth.spatial.sphere_head import SphereHead

RATE = 24000


def rings(step_deg: int = 20, lowest_deg: int = -60) -> NDArray[np.float64]:
    """Directions in rings of equal elevation, and the zenith. Shape: [n, 3]."""
    points = [(0.0, 0.0, 1.0)]
    for elevation in np.radians(np.arange(lowest_deg, 90, step_deg)):
        for azimuth in np.radians(np.arange(0, 360, step_deg)):
            flat = np.cos(elevation)
            points.append((np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)))
    return np.array(points)


def turned(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Directions from everywhere. Shape: [n, 3]."""
    vectors = np.random.default_rng(seed).standard_normal((n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sphere_sofa(directions: NDArray[np.float64] | None = None) -> Sofa:
    """What a measurement of the sphere would have given, 2 m away."""
    if directions is None:
        directions = rings()
    responses, _ = impulse_responses(SphereHead(sample_rate=RATE), directions)
    sofa = Sofa("SimpleFreeFieldHRIR", responses, RATE)
    sofa.attributes["RoomType"] = "free field"
    sofa.place("SourcePosition", 2 * directions)
    sofa.place("ReceiverPosition", [[[0], [0.09], [0]], [[0], [-0.09], [0]]])
    return sofa


def erb_levels_db(spectra: NDArray[np.complexfloating], sample_rate: int) -> NDArray[np.float64]:
    """Levels in ERB bands from 200 Hz to 16 kHz (Glasberg and Moore). Shape: [..., bands]."""
    low, high = (21.4 * np.log10(1 + 0.00437 * f) for f in (200, 16000))
    edges = (10 ** (np.arange(low, high) / 21.4) - 1) / 0.00437
    freq_hz = np.linspace(0, sample_rate / 2, spectra.shape[-1])
    power = np.abs(spectra.astype(np.complex128)) ** 2
    bands = [
        power[..., (freq_hz >= a) & (freq_hz < b)].sum(axis=-1)
        for a, b in itertools.pairwise(edges)
    ]
    return 10 * np.log10(np.stack(bands, axis=-1))


def itd_us(spectra: NDArray[np.complexfloating], sample_rate: int) -> NDArray[np.float64]:
    """Lag of the right ear by the peak of the cross-correlation below 1.5 kHz. Shape: [n]."""
    n_fft = 2 * (spectra.shape[-1] - 1)
    freq_hz = np.linspace(0, sample_rate / 2, spectra.shape[-1])
    cross = spectra[:, 1].astype(np.complex128) * np.conj(spectra[:, 0])
    match = np.fft.irfft(cross * ((freq_hz > 0) & (freq_hz < 1500)), 8 * n_fft, axis=1)
    reach = int(1e-3 * 8 * sample_rate)
    near = np.concatenate([match[:, -reach:], match[:, : reach + 1]], axis=1)
    top = np.clip(np.argmax(near, axis=1), 1, 2 * reach - 1)
    before, at, after = (near[np.arange(len(top)), top + k] for k in (-1, 0, 1))
    exact = top - reach + (before - after) / 2 / (before - 2 * at + after)
    return 1e6 * exact / (8 * sample_rate)


def apart_db(found: NDArray[np.inexact], expected: NDArray[np.inexact]) -> float:
    """Energy of the difference over the energy of what is expected, of the worst row."""
    difference = (np.abs(found - expected) ** 2).sum(axis=-1)
    return float(10 * np.log10((difference / (np.abs(expected) ** 2).sum(axis=-1)).max() + 1e-30))
