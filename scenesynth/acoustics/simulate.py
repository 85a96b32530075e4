"""`simulate_rir`: one response from plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.response import shoebox_response
from scenesynth.errors import ConfigError
from scenesynth.room.decay import absorption_for_t60, response_length_s
from scenesynth.room.materials import material_absorption
from scenesynth.room.model import OCTAVE_BANDS_HZ, WALLS, Air, Room, Vector
from scenesynth.scene.geometry import rotation_matrix
from scenesynth.spatial.formats import parse_format

Absorption = float | str | Sequence[float] | Sequence[Sequence[float]] | Sequence[str]


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
    mode: Literal["full"] = "full",
    engine: Literal["shoebox"] = "shoebox",
    device: Literal["cpu"] = "cpu",
    highpass_hz: float = 30.0,
    length_s: float | None = None,
    air: Air | None = None,
) -> NDArray[np.float32]:
    """Impulse response of a shoebox room, sample 0 being the emission.

    Args:
        room_m: lengths along x, y, z.
        source_m, listener_m: positions from a floor corner, strictly inside.
        rt60_s: reverberation time, one number or one per octave band below Nyquist (from 125 Hz).
        absorption: instead of `rt60_s`: a number (1.0 is anechoic), 7 numbers (octave bands 125 to
            8000 Hz), 6 numbers (walls x0, x1, y0, y1, z0, z1), 6 x 7 numbers, a material name, or
            6 material names.
        format: "mono", "foa", "hoa1" to "hoa7" (ACN, SN3D).
        yaw_deg, pitch_deg, roll_deg: where the listener looks: left, up, left ear up.
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
        ("mode", mode, "full"),
        ("engine", engine, "shoebox"),
        ("device", device, "cpu"),
    ):
        if value != known:
            raise ConfigError(f"{name} = {value!r} is not available; must be {known!r}")
    medium = air or Air()
    band_hz = tuple(band for band in OCTAVE_BANDS_HZ if band < sample_rate / 2)
    if not band_hz:
        raise ValueError(
            f"sample_rate = {sample_rate} Hz is too low: no octave band lies below Nyquist; "
            f"use more than {2 * OCTAVE_BANDS_HZ[0]:g} Hz"
        )
    size_m = _vector("room_m", room_m)
    if min(size_m) <= 0:
        raise ValueError(f"room_m = {size_m}; every length must be positive")
    room = Room(
        id="room",
        size_m=size_m,
        band_hz=band_hz,
        absorption=_walls(size_m, rt60_s, absorption, band_hz, medium),
    )
    response = shoebox_response(
        room=room,
        air=medium,
        source_m=_vector("source_m", source_m),
        listener_m=_vector("listener_m", listener_m),
        rotation=rotation_matrix(yaw_deg, pitch_deg, roll_deg),
        format=parse_format(format),
        sample_rate=sample_rate,
        length_s=response_length_s(room, medium) if length_s is None else length_s,
        highpass_hz=highpass_hz,
    )
    return response.ir


def _vector(name: str, value: Sequence[float]) -> Vector:
    values = tuple(float(v) for v in value)
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
