"""`simulate_rir`: one response from plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from numbers import Integral, Real
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.engines import ENGINE_MODULES, respond
from scenesynth.acoustics.receivers import head_ref
from scenesynth.errors import ConfigError
from scenesynth.room.decay import absorption_for_t60, response_length_s
from scenesynth.room.materials import material_absorption
from scenesynth.room.model import OCTAVE_BANDS_HZ, WALLS, Air, Room, Vector
from scenesynth.scene.geometry import azimuth_elevation
from scenesynth.scene.spec import (
    ClipRef,
    Directivity,
    Emitter,
    Engine,
    Event,
    Keyframe,
    Mode,
    Origin,
    SceneSpec,
    Tracing,
)
from scenesynth.spatial.formats import Format, parse_format

Absorption = float | str | Sequence[float] | Sequence[Sequence[float]] | Sequence[str]

FASTEST_HZ: Final = 384000
"""Highest sample rate, as in recipes."""

_SILENCE: Final = Event(
    role="target",
    clip=ClipRef(corpus="", id="", digest=""),
    onset_s=0.0,
    duration_s=1.0,
    active_start_s=0.0,
    active_end_s=1.0,
)
"""An emitter of a spec has to sound; its response does not depend on what it plays."""


def simulate_rir(
    *,
    room_m: Sequence[float],
    source_m: Sequence[float],
    listener_m: Sequence[float],
    rt60_s: float | Sequence[float] | None = None,
    absorption: Absorption | None = None,
    format: str = "foa",
    sample_rate: int = 32000,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    mode: Mode = "full",
    engine: Engine = "shoebox",
    device: str = "cpu",
    hrtf: str | None = None,
    seed: int = 0,
    directivity: Directivity = "omni",
    source_yaw_deg: float | None = None,
    source_pitch_deg: float | None = None,
    displacement_m: float = 0.0,
    scattering: float = 0.0,
    mixing_time_s: float = 0.08,
    highpass_hz: float = 30.0,
    length_s: float | None = None,
    air: Air | None = None,
) -> NDArray[np.float32]:
    """Impulse response of a shoebox room, sample 0 being the emission.

    The response is that of a scene with these values in its spec and one emitter.

    Args:
        room_m: lengths along x, y, z.
        source_m, listener_m: positions from a floor corner, strictly inside.
        rt60_s: reverberation time, one number or one per octave band below Nyquist (from 125 Hz).
        absorption: instead of `rt60_s`: a number (1.0 is anechoic), 7 numbers (octave bands 125 to
            8000 Hz), 6 numbers (walls x0, x1, y0, y1, z0, z1), 6 x 7 numbers, a material name, or
            6 material names.
        format: "mono", "foa", "hoa1" to "hoa7" (ACN, SN3D), "binaural" (left ear first), "mic" (the
            DCASE and STARSS array), "mic:NAME" or "mic:FILE.yaml".
        yaw_deg, pitch_deg, roll_deg: where the listener looks: left, up, left ear up.
        mode: "full", every image source within the response, or "tail": those up to
            `mixing_time_s`, then noise with the level, slope and directions of the later ones.
        engine: "shoebox", or another one that can render a box: "pyroomacoustics" (its mode
            "tail" is 3 reflections, then 5000 rays) or "gpurir" (mode "full").
        device: "cpu", or "cuda" for the engine "shoebox" (within -80 dB of the former).
        hrtf: whose ears, for "binaural": a name from `scenesynth hrtf list`; "kemar" by default.
        seed: of `displacement_m` and of the noise of `tail`.
        directivity: "omni", "subcardioid", "cardioid", "supercardioid", "hypercardioid", "figure8"
            or "speech".
        source_yaw_deg, source_pitch_deg: where a directional source looks; at the listener where
            not given.
        displacement_m: images of three reflections and more lie farther by up to this, at random
            (0.1 breaks up the sweeping echoes of a perfect box).
        scattering: in `tail`, from 0 (late directions of mirror-like walls) to 1 (all alike).
        highpass_hz: corner of the causal high-pass; 0 for none.
        length_s: length; by default as long as the room's decay needs.
        air: temperature, humidity, pressure and speed of sound; 20 degrees C and 50 % by default.

    Returns:
        Shape: [channels, samples]. A source at 1 m gives 1.0 in the first channel.

    Raises:
        ConfigError: an unknown option or material, or both or neither of `rt60_s`, `absorption`.
        UnreachableT60Error: a T60 that this room cannot have.
        ValueError: positions, sizes, absorption or sample rate out of range.
    """
    for name, value, known in (
        ("mode", mode, get_args(Mode)),
        ("engine", engine, tuple(ENGINE_MODULES)),
        ("directivity", directivity, get_args(Directivity)),
    ):
        if value not in known:
            raise ConfigError(f"{name} = {value!r} is not available; must be {', '.join(known)}")
    for name, angle in (
        ("yaw_deg", yaw_deg),
        ("pitch_deg", pitch_deg),
        ("roll_deg", roll_deg),
        ("source_yaw_deg", source_yaw_deg or 0.0),
        ("source_pitch_deg", source_pitch_deg or 0.0),
    ):
        if not isinstance(angle, Real) or not math.isfinite(angle):
            raise ValueError(f"{name} = {angle!r}; must be a finite number of degrees")
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed = {seed!r}; must be a whole number, 0 or more")
    if not isinstance(sample_rate, Integral) or not 0 < sample_rate <= FASTEST_HZ:
        raise ValueError(
            f"sample_rate = {sample_rate!r}; must be a whole number of Hz, at most {FASTEST_HZ}"
        )
    medium = air or Air()
    room = _room(_vector("room_m", room_m), rt60_s, absorption, sample_rate, medium)
    at = _vector("listener_m", listener_m)
    listener = Keyframe(position_m=at, yaw_deg=yaw_deg, pitch_deg=pitch_deg, roll_deg=roll_deg)
    source = _source(_vector("source_m", source_m), at, source_yaw_deg, source_pitch_deg)
    for name, place in (("source_m", source.position_m), ("listener_m", at)):
        if why := room.outside(place):
            raise ValueError(f"{name} = {place} lies outside the room: {why}")
    spec = SceneSpec(
        origin=Origin(),
        sample_rate=sample_rate,
        n_samples=sample_rate,
        room=room,
        air=medium,
        listener=(listener,),
        emitters=(
            Emitter(id="source", directivity=directivity, keyframes=(source,), events=(_SILENCE,)),
        ),
        engine=engine,
        mode=mode,
        response_s=response_length_s(room, medium) if length_s is None else length_s,
        mixing_time_s=mixing_time_s,
        highpass_hz=highpass_hz,
        displacement_m=displacement_m,
        scattering=scattering,
        acoustic_seed=seed,
        head=None if hrtf is None else head_ref(hrtf),
        tracing=Tracing() if engine == "pyroomacoustics" and mode == "tail" else None,
    )
    output = parse_format(format)
    if device == "cpu":
        return respond(spec, 0, [output])[output.name].ir
    return _on_device(spec, output, device)


def _on_device(spec: SceneSpec, output: Format, name: str) -> NDArray[np.float32]:
    from scenesynth.acoustics.gpu.device import torch_device

    device = torch_device(name)
    if spec.engine != "shoebox":
        raise ConfigError(
            f"device = {name!r}, engine = {spec.engine!r}; only the engine 'shoebox' renders on a "
            f"device; use device='cpu'"
        )
    if output.kind != "ambisonics":
        raise ConfigError(
            f"device = {name!r}, format = {output.name!r}; devices render mono, foa and hoaN; use "
            f"device='cpu'"
        )
    from scenesynth.acoustics.gpu.batch import shoebox_responses
    from scenesynth.acoustics.shoebox import emitter_request

    (emitter,), (listener,) = spec.emitters, spec.listener
    request = emitter_request(spec, emitter, 0, output, emitter.keyframes[0], listener)
    return shoebox_responses([request], device)[0].ir


def _room(
    size_m: Vector,
    rt60_s: float | Sequence[float] | None,
    absorption: Absorption | None,
    sample_rate: int,
    air: Air,
) -> Room:
    band_hz = tuple(band for band in OCTAVE_BANDS_HZ if band < sample_rate / 2)
    if not band_hz:
        raise ValueError(
            f"sample_rate = {sample_rate} Hz is too low: no octave band lies below Nyquist; "
            f"use more than {2 * OCTAVE_BANDS_HZ[0]:g} Hz"
        )
    if min(size_m) <= 0:
        raise ValueError(f"room_m = {size_m}; every length must be positive")
    walls = _walls(size_m, rt60_s, absorption, band_hz, air)
    return Room(id="room", size_m=size_m, band_hz=band_hz, absorption=walls)


def _source(
    position_m: Vector, listener_m: Vector, yaw_deg: float | None, pitch_deg: float | None
) -> Keyframe:
    """Pose of the source; it looks at the listener unless told otherwise."""
    x, y, z = (a - b for a, b in zip(listener_m, position_m, strict=True))
    azimuth_deg, elevation_deg = azimuth_elevation((x, y, z)) if (x, y, z) != (0, 0, 0) else (0, 0)
    return Keyframe(
        position_m=position_m,
        yaw_deg=azimuth_deg if yaw_deg is None else yaw_deg,
        pitch_deg=elevation_deg if pitch_deg is None else pitch_deg,
    )


def _vector(name: str, value: Sequence[float]) -> Vector:
    try:
        values = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or not np.isfinite(values).all():
        raise ValueError(f"{name} = {value}; must be three finite numbers of metres")
    return values


def _walls(
    size_m: Vector,
    rt60_s: float | Sequence[float] | None,
    absorption: Absorption | None,
    band_hz: tuple[float, ...],
    air: Air,
) -> tuple[tuple[float, ...], ...]:
    """Absorption [6][bands] from whichever of the two was given."""
    if (rt60_s is None) == (absorption is None):
        raise ConfigError(
            f"rt60_s = {rt60_s}, absorption = {absorption}; give one of the two, not both or none"
        )
    if rt60_s is not None:
        wanted = np.ravel(np.asarray(rt60_s, dtype=float))
        if not (np.isfinite(wanted) & (wanted > 0)).all():
            raise ValueError(f"rt60_s = {rt60_s}; must be positive")
        if wanted.size == 1:
            wanted = np.full(len(band_hz), wanted[0])
        return _inverted(size_m, tuple(wanted.tolist()), band_hz, air)
    assert absorption is not None
    return tuple(wall[: len(band_hz)] for wall in _full_absorption(absorption))


@lru_cache(maxsize=256)
def _inverted(
    size_m: Vector, rt60_s: tuple[float, ...], band_hz: tuple[float, ...], air: Air
) -> tuple[tuple[float, ...], ...]:
    """Many responses of one room share the inversion."""
    return absorption_for_t60(size_m, rt60_s, band_hz, air)


def _full_absorption(absorption: Absorption) -> tuple[tuple[float, ...], ...]:
    """Absorption [6][7] from a number, bands, walls, both, or material names."""
    n_walls, n_bands = len(WALLS), len(OCTAVE_BANDS_HZ)
    if isinstance(absorption, str):
        return material_absorption([absorption] * n_walls)
    if not isinstance(absorption, int | float) and all(isinstance(a, str) for a in absorption):
        return material_absorption([str(a) for a in absorption])
    try:
        values = np.asarray(absorption, dtype=float)
    except (TypeError, ValueError):
        values = np.empty((0, 0, 0))
    if values.shape == (n_walls,):
        values = values[:, None]
    if values.shape not in {(), (n_bands,), (n_walls, 1), (n_walls, n_bands)}:
        raise ConfigError(
            f"absorption = {absorption!r}; must be a number, {n_bands} numbers (bands), "
            f"{n_walls} numbers (walls), {n_walls} x {n_bands} numbers, or material names"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ConfigError(f"absorption = {absorption!r}; every value must lie in [0, 1]")
    full = np.broadcast_to(values, (n_walls, n_bands))
    return tuple(tuple(float(a) for a in wall) for wall in full)
