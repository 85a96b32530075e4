"""Names for what labels of directions have in common when they are wrong.

Every usual mistake with conventions maps the right direction to a wrong one. The mapping that
explains nearly all wrong labels is the mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

Angles = NDArray[np.float64]
"""Azimuth and elevation in degrees. Shape: [events, 2]."""

EXPLAINED_DEG: Final = 1.0
SHARE: Final = 0.9
"""Of the wrong labels that a mistake has to explain."""
_LEAST: Final = 3
"""Wrong labels from which a constant turn can be told."""


def _mirrored(a: Angles) -> Angles:
    return np.stack([-a[:, 0], a[:, 1]], axis=1)


def _back(a: Angles) -> Angles:
    return np.stack([180 - a[:, 0], a[:, 1]], axis=1)


def _turned_about(a: Angles) -> Angles:
    return np.stack([a[:, 0] + 180, a[:, 1]], axis=1)


def _upside_down(a: Angles) -> Angles:
    return np.stack([a[:, 0], -a[:, 1]], axis=1)


def _axes_swapped(a: Angles) -> Angles:
    return np.stack([90 - a[:, 0], a[:, 1]], axis=1)


def _radians(a: Angles) -> Angles:
    return np.deg2rad(a)


def _zenith(a: Angles) -> Angles:
    return np.stack([a[:, 0], 90 - a[:, 1]], axis=1)


def _columns_swapped(a: Angles) -> Angles:
    return a[:, ::-1]


def _point_mirrored(a: Angles) -> Angles:
    return np.stack([a[:, 0] + 180, -a[:, 1]], axis=1)


MISTAKES: Final[Mapping[str, Callable[[Angles], Angles]]] = {
    "azimuths are mirrored, as if +90 were right (clockwise); here +90 is left": _mirrored,
    "front and back are exchanged": _back,
    "azimuths are turned by 180 degrees": _turned_about,
    "elevations have the wrong sign": _upside_down,
    "x and y are exchanged": _axes_swapped,
    "angles are in radians": _radians,
    "elevations count from the zenith": _zenith,
    "azimuth and elevation are exchanged": _columns_swapped,
    "directions point from the source to the listener": _point_mirrored,
}


def mistake(found: Angles, expected: Angles, room: Angles) -> str:
    """The mistake that explains wrong directions, in words; "" where there is none.

    Args:
        found, expected: wrong labels, and what they should be.
        room: the same directions seen by a listener who is not turned.
    """
    for name, made in MISTAKES.items():
        if _explains(found, made(expected)):
            return name
    if _explains(found, room):
        return "directions are those of the room, not of the listener: his turn is left out"
    turn_deg = found[:, 0] - expected[:, 0]
    mean_deg = float(np.degrees(np.angle(np.exp(1j * np.deg2rad(turn_deg)).sum())))
    turned = expected + np.array([mean_deg, 0.0])
    if len(found) >= _LEAST and abs(mean_deg) > EXPLAINED_DEG and _explains(found, turned):
        return f"azimuths are turned by {mean_deg:+.1f} degrees"
    return ""


def _explains(found: Angles, made: Angles) -> bool:
    off = np.abs((found - made + 180) % 360 - 180).max(axis=1)
    return bool((off <= EXPLAINED_DEG).mean() >= SHARE)
