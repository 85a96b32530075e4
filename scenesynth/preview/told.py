"""A direction in words, as far as a format tells it."""

from __future__ import annotations

from scenesynth.localization.reach import Reach
from scenesynth.plots.text import direction, number


def told(angles_deg: tuple[float, float], reach: Reach) -> str:
    """A direction as far as a format tells it, such as `lateral +34°`."""
    azimuth_deg, elevation_deg = angles_deg
    if reach == "side":
        return f"lateral {number(azimuth_deg, '°', 0, True)}"
    if reach == "upper":
        return f"az {number(azimuth_deg, '°', 0, True)} el ±{number(elevation_deg, '°', 0)}"
    return direction(azimuth_deg, elevation_deg)
