"""Directions, bands and what was not asked for, in words."""

from __future__ import annotations

from collections.abc import Sequence

from scenesynth.localization.reach import Reach
from scenesynth.plots.text import direction, number
from scenesynth.scene.spec import SceneSpec


def told(angles_deg: tuple[float, float], reach: Reach) -> str:
    """A direction as far as a format tells it, such as `lateral +34°`."""
    azimuth_deg, elevation_deg = angles_deg
    if reach == "side":
        return f"lateral {number(azimuth_deg, '°', 0, True)}"
    if reach == "upper":
        return f"az {number(azimuth_deg, '°', 0, True)} el ±{number(elevation_deg, '°', 0)}"
    return direction(azimuth_deg, elevation_deg)


def per_band(values: Sequence[float | None] | None, n_bands: int) -> list[float | None]:
    """A value per band of the room; the highest have none where the sample rate is low."""
    given = list(values or ())
    return given + [None] * (n_bands - len(given))


def untold_t60(spec: SceneSpec) -> str:
    """Why no reverberation time was requested."""
    if spec.room.measured is not None:
        return "none: the room was measured"
    if all(share == 1 for wall in spec.room.absorption for share in wall):
        return "none: the walls absorb everything"
    return "follows from the walls' materials"
