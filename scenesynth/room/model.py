"""A room and its air as numbers.

Walls come in the order x0, x1, y0, y1, z0, z1: the wall at coordinate 0 of an axis, then the one
at its far end (z0 is the floor, z1 the ceiling). The origin lies in a floor corner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WALLS = ("x0", "x1", "y0", "y1", "z0", "z1")
OCTAVE_BANDS_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Air:
    """The medium: what sets delay and air absorption (ISO 9613-1).

    Attributes:
        speed_of_sound_mps: that of the temperature where not given. A copy with another temperature
            (`dataclasses.replace`) keeps the speed unless that is replaced too.
    """

    temperature_c: float = 20.0
    humidity_pct: float = 50.0
    pressure_kpa: float = 101.325
    speed_of_sound_mps: float = math.nan

    def __post_init__(self) -> None:
        if not -40 <= self.temperature_c <= 60:
            raise ValueError(f"temperature_c = {self.temperature_c}; must lie in [-40, 60]")
        if math.isnan(self.speed_of_sound_mps):
            # Only here: that module describes air by this one's records.
            from scenesynth.room.air import speed_of_sound_mps

            object.__setattr__(self, "speed_of_sound_mps", speed_of_sound_mps(self.temperature_c))
        if not 0 < self.humidity_pct <= 100:
            raise ValueError(f"humidity_pct = {self.humidity_pct}; must lie in (0, 100]")
        if not 50 <= self.pressure_kpa <= 120:
            raise ValueError(f"pressure_kpa = {self.pressure_kpa}; must lie in [50, 120]")
        if not 250 <= self.speed_of_sound_mps <= 450:
            raise ValueError(
                f"speed_of_sound_mps = {self.speed_of_sound_mps}; must lie in [250, 450]"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRef:
    """A file that a scene needs, by name and content.

    Attributes:
        id: name in the library of assets, no path.
        digest: digest of its content; another content is another asset.
    """

    id: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A shoebox with an energy absorption coefficient per wall and octave band.

    Or a room that was measured, or simulated elsewhere: then it is its responses, `size_m` is the
    box that holds their positions, and nothing is known of its walls.

    Attributes:
        id: name; rooms of different splits have different names.
        size_m: lengths along x, y, z.
        band_hz: octave-band centres of the columns of `absorption`, rising.
        absorption: six walls (order of `WALLS`) by bands, each in [0, 1]; none where measured.
        rt60_s: requested reverberation time per band, or None where materials rule.
        materials: name per wall, for people; None where the T60 was asked for.
        measured: the responses of a measured room.
    """

    id: str
    size_m: Vector
    band_hz: tuple[float, ...]
    absorption: tuple[tuple[float, ...], ...]
    rt60_s: tuple[float, ...] | None = None
    materials: tuple[str, ...] | None = None
    measured: AssetRef | None = None

    def __post_init__(self) -> None:
        if min(self.size_m) <= 0:
            raise ValueError(f"size_m = {self.size_m}; every length must be positive")
        if not self.band_hz or list(self.band_hz) != sorted(set(self.band_hz)):
            raise ValueError(f"band_hz = {self.band_hz}; must be rising band centres")
        if self.measured is not None:
            if self.absorption:
                raise ValueError("absorption is given for a measured room; must be empty")
            return
        if len(self.absorption) != len(WALLS):
            raise ValueError(f"absorption has {len(self.absorption)} walls; must have 6: {WALLS}")
        for wall, coefficients in zip(WALLS, self.absorption, strict=True):
            if len(coefficients) != len(self.band_hz):
                raise ValueError(
                    f"absorption of wall {wall} has {len(coefficients)} bands; "
                    f"must have {len(self.band_hz)}"
                )
            for band, value in zip(self.band_hz, coefficients, strict=True):
                if not 0 <= value <= 1:
                    raise ValueError(
                        f"absorption of wall {wall} at {band:g} Hz = {value}; must lie in [0, 1]"
                    )
        if self.rt60_s is not None and len(self.rt60_s) != len(self.band_hz):
            raise ValueError(f"rt60_s has {len(self.rt60_s)} bands; must have {len(self.band_hz)}")

    def outside(self, position_m: Vector) -> str | None:
        """Say how a position fails to lie strictly inside the room, or None."""
        for axis, at, length in zip("xyz", position_m, self.size_m, strict=True):
            if not 0 < at < length:
                return f"{axis} = {at:g} m is not inside (0, {length:g}) m"
        return None
