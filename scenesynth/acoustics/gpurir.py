"""Boxes by gpuRIR, where its CUDA build is installed: image sources on a GPU, first order at most.

What is done to its conventions:

- amplitude 1 / (4 pi d) times 4 pi;
- it negates the reflection factors that it is given; they are given as negative numbers, so that
  images add up as they do in a room with hard walls;
- one microphone pattern a call: W is one call, and three bidirectional receivers at one place,
  turned along the listener's left, up and front, are another one;
- one absorption per wall: all bands of a wall have to be equal. Air is that of 1 kHz, or of the one
  band that the room has, as a gain over time (a path of length c t has lost exp(-m c t / 2));
- its window of 8 ms reaches before the emission for sources nearer than 4 ms, which cuts a little
  off their direct sound.

Its diffuse tail (mode `tail`) is not used. gpuRIR is licensed under AGPL-3; nothing of it is here.
"""

from __future__ import annotations

import math
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.highpass import highpass
from scenesynth.acoustics.response import Request, Response, Settled, measured_response, settle
from scenesynth.errors import ConfigError
from scenesynth.room.air import energy_attenuation_per_m
from scenesynth.room.model import Room
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.scene.spec import Directivity, Emitter, Keyframe, SceneSpec
from scenesynth.spatial.formats import Format

PATTERNS: dict[Directivity, str] = {
    "omni": "omni",
    "cardioid": "card",
    "hypercardioid": "hypcard",
    "figure8": "bidir",
}
"""Its names of the patterns that are ours; its subcardioid is another one, 0.75 + 0.25 cos."""

AIR_HZ = 1000.0


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
        ConfigError: gpuRIR is not installed, or cannot do what the spec asks for.
        ValueError: see `scenesynth.acoustics.response.shoebox_response`.
    """
    turned = rotation_matrix(emitter_at.yaw_deg, emitter_at.pitch_deg, emitter_at.roll_deg)
    x, y, z = turned[:, 0].tolist()
    return gpu_response(
        Request(
            room=spec.room,
            air=spec.air,
            source_m=emitter_at.position_m,
            listener_m=listener_at.position_m,
            rotation=rotation_matrix(
                listener_at.yaw_deg, listener_at.pitch_deg, listener_at.roll_deg
            ),
            format=format,
            sample_rate=spec.sample_rate,
            length_s=spec.response_s,
            highpass_hz=spec.highpass_hz,
            mode=spec.mode,
            directivity=emitter.directivity,
            front=(x, y, z),
            displacement_m=spec.displacement_m,
        )
    )


def gpu_response(request: Request) -> Response:
    """Response by gpuRIR, every image within it.

    Raises:
        ConfigError, ValueError: see `respond`.
    """
    _check_able(request)
    settled = settle(request)
    ir = _simulate(request, settled)
    ir = highpass(ir, settled.n_samples, request.highpass_hz, request.sample_rate)
    return measured_response(request, settled, ir)


def _check_able(request: Request) -> None:
    wrong = [
        ("mode", request.mode, "full", request.mode == "full"),
        ("displacement_m", request.displacement_m, "0", not request.displacement_m),
        ("format", request.format.name, "mono or foa", request.format.order <= 1),
        (
            "directivity",
            request.directivity,
            f"one of {', '.join(PATTERNS)}",
            request.directivity in PATTERNS,
        ),
    ]
    for name, value, wanted, able in wrong:
        if not able:
            raise ConfigError(
                f"{name} = {value!r}; engine gpurir needs {wanted}. Engine shoebox can do it"
            )
    _equal_absorption(request.room)


def _equal_absorption(room: Room) -> NDArray[np.float64]:
    """Absorption of each wall, the same in all bands. Shape: [6]."""
    absorption = np.array(room.absorption)
    for wall, row in zip(room.surfaces, absorption, strict=True):
        if np.ptp(row) > 0:
            raise ConfigError(
                f"room {room.id}: absorption of {wall} goes from {row.min():g} to {row.max():g} "
                f"over the bands; engine gpurir knows one for all. Make them equal, or use engine "
                f"shoebox"
            )
    first: NDArray[np.float64] = absorption[:, 0]
    return first


def _simulate(request: Request, settled: Settled) -> NDArray[np.float32]:
    """All channels, before the high-pass. Shape: [channels, samples]."""
    room, speed_mps = request.room, request.air.speed_of_sound_mps
    gpu = _package()
    length_s = settled.n_samples / request.sample_rate
    source: dict[str, Any] = {"spkr_pattern": PATTERNS[request.directivity]}
    if settled.front is not None:
        source["orV_src"] = np.array([settled.front], dtype=np.float32)

    def call(n_receivers: int, **receiver: Any) -> NDArray[np.float64]:
        responses = gpu.simulateRIR(
            list(room.size_m),
            -np.sqrt(1.0 - _equal_absorption(room)).astype(np.float32),
            np.array([request.source_m], dtype=np.float32),
            np.tile(np.array([request.listener_m], dtype=np.float32), (n_receivers, 1)),
            _images(room, settled.radius_m),
            length_s,
            request.sample_rate,
            c=speed_mps,
            **source,
            **receiver,
        )
        return _of_length(np.asarray(responses[0], dtype=np.float64), settled.n_samples)

    channels = call(1, mic_pattern="omni")
    if request.format.order == 1:
        # ACN: Y, Z, X. Columns of the listener-to-room matrix are its front, left and up.
        axes = settled.rotation.T[[1, 2, 0]].astype(np.float32)
        channels = np.concatenate([channels, call(3, mic_pattern="bidir", orV_rcv=axes)])
    band_hz = settled.band_hz[0] if len(settled.band_hz) == 1 else AIR_HZ
    way_m = np.arange(settled.n_samples) / request.sample_rate * speed_mps
    lost = np.exp(-0.5 * float(energy_attenuation_per_m(band_hz, request.air)) * way_m)
    return np.ascontiguousarray(4 * np.pi * channels * lost, dtype=np.float32)


def _images(room: Room, radius_m: float) -> list[int]:
    """How many images along each axis; half of them to either side of the room."""
    return [2 * (math.ceil(radius_m / length) + 1) for length in room.size_m]


def _of_length(responses: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Cut or filled with zeros: gpuRIR rounds lengths."""
    out = np.zeros((len(responses), n))
    kept = min(n, responses.shape[1])
    out[:, :kept] = responses[:, :kept]
    return out


def _package() -> ModuleType:
    """gpuRIR itself.

    Raises:
        ConfigError: it is not installed, or finds no CUDA device.
    """
    try:
        return import_module("gpuRIR")
    except ImportError as error:
        raise ConfigError(
            f"engine gpurir: gpuRIR cannot be imported ({error}). It is not on the package index "
            f"and needs CUDA and a compiler: "
            f"pip install git+https://github.com/DavidDiazGuerra/gpuRIR (AGPL-3); engine shoebox "
            f"needs neither"
        ) from None
