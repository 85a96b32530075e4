"""A stand-in for the gpuRIR package: its conventions, as its source states them, in slow NumPy.

Amplitude 1 / (4 pi d); reflection factors are negated; images n from -N // 2 to N - 1 - N // 2
along each axis; patterns of the cosine between an orientation and the way to the image (receiver)
or from it, mirrored (source); a Hann-windowed sinc of 8 ms; float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

PATTERNS = {"omni": (1.0, 0.0), "card": (0.5, 0.5), "hypcard": (0.25, 0.75), "bidir": (0.0, 1.0)}


def simulateRIR(
    room_sz: Any,
    beta: Any,
    pos_src: Any,
    pos_rcv: Any,
    nb_img: Any,
    Tmax: float,
    fs: float,
    Tdiff: float | None = None,
    spkr_pattern: str = "omni",
    mic_pattern: str = "omni",
    orV_src: Any = None,
    orV_rcv: Any = None,
    c: float = 343.0,
) -> np.ndarray:
    assert Tdiff is None
    assert pos_src.dtype == pos_rcv.dtype == np.float32
    n_samples = int(np.ceil(Tmax * fs)) + 3  # lengths are rounded up to what its blocks like
    place, factor, mirrored = [], [], []
    for axis in range(3):
        n = np.arange(nb_img[axis]) - nb_img[axis] // 2
        cluster, odd = np.ceil(n / 2), np.abs(n % 2)
        place.append(cluster * 2 * room_sz[axis] + (1 - 2 * odd) * pos_src[0, axis])
        factor.append(
            (-float(beta[2 * axis])) ** np.abs(cluster - odd)
            * (-float(beta[2 * axis + 1])) ** np.abs(cluster)
        )
        mirrored.append(1 - 2 * odd)
    image = np.stack(np.meshgrid(*place, indexing="ij"), axis=-1).reshape(-1, 3)
    signs = np.stack(np.meshgrid(*mirrored, indexing="ij"), axis=-1).reshape(-1, 3)
    reflection = np.prod(np.meshgrid(*factor, indexing="ij"), axis=0).ravel()
    out = np.zeros((1, len(pos_rcv), n_samples), dtype=np.float32)
    for m, receiver in enumerate(pos_rcv.astype(float)):
        way = image - receiver
        distance = np.linalg.norm(way, axis=1)
        amplitude = reflection / (4 * np.pi * distance)
        if spkr_pattern != "omni":
            amplitude = amplitude * _pattern(spkr_pattern, -way, signs * orV_src[0])
        if mic_pattern != "omni":
            amplitude = amplitude * _pattern(mic_pattern, way, orV_rcv[m])
        _add(out[0, m], amplitude, distance / c * fs, round(8e-3 * fs))
    return out


def _pattern(name: str, way: np.ndarray, front: np.ndarray) -> np.ndarray:
    front = np.broadcast_to(np.asarray(front, dtype=float), way.shape)
    cosine = np.einsum("ni,ni->n", way, front)
    cosine = cosine / np.linalg.norm(way, axis=1) / np.linalg.norm(front, axis=1)
    constant, slope = PATTERNS[name]
    return constant + slope * cosine


def _add(out: np.ndarray, amplitude: np.ndarray, at: np.ndarray, window: int) -> None:
    near = at < len(out) + window
    taps = np.arange(-(window // 2), window // 2 + 1)
    for a, t in zip(amplitude[near], at[near], strict=True):
        rows = int(np.floor(t)) + taps
        away = rows - t
        pulse = (
            a
            * np.sinc(away)
            * np.where(
                np.abs(away) < window / 2, 0.5 * (1 + np.cos(2 * np.pi * away / window)), 0.0
            )
        )
        inside = (rows >= 0) & (rows < len(out))
        out[rows[inside]] += pulse[inside].astype(np.float32)
