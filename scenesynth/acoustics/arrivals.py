"""Image sources of a shoebox as three short axis tables (Allen and Berkley 1979).

Along an axis of length L the images of a source at s lie at n L + s (n even) and (n + 1) L - s
(n odd). Image n has hit the wall at 0 |floor(n / 2)| times and the wall at L |floor((n + 1) / 2)|
times. An image of the room is a triple of axis entries: its amplitude is the product of theirs,
over its distance. Nothing is cut by order: whatever lies inside the sphere of the response is kept.

The sound of an image with offset o from the listener left the source in the direction e, with
e_d = -o_d / |o| for even n_d and the opposite for odd: each reflection mirrors the source. So the
cosine of the angle to the source's front s is again a sum over axes, of `facing_m`, over |o|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenesynth.room.model import Room, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisTable:
    """Images along one axis, by rising coordinate.

    Attributes:
        offset_m: coordinate minus the listener's. Shape: [n].
        amplitude: product of the reflection factors sqrt(1 - absorption). Shape: [n, bands].
        index: n, whose size is the number of reflections. Shape: [n].
        facing_m: this axis' part of the cosine to the source's front, times the distance; None for
            a source without a front. Shape: [n].
    """

    offset_m: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    index: NDArray[np.int64]
    facing_m: NDArray[np.float64] | None = None


def axis_table(
    length_m: float,
    source_m: float,
    listener_m: float,
    radius_m: float,
    reflection: NDArray[np.float64],
    front: float | None = None,
) -> AxisTable:
    """Images along one axis within `radius_m` of the listener.

    Args:
        reflection: amplitude reflection factor of the wall at 0 and of the wall at `length_m`.
            Shape: [2, bands].
        front: this component of the unit vector to the source's front.
    """
    reach = int(np.ceil(radius_m / length_m)) + 2
    n = np.arange(-reach, reach + 1)
    image_m = np.where(n % 2 == 0, n * length_m + source_m, (n + 1) * length_m - source_m)
    offset_m = image_m - listener_m
    near = np.abs(offset_m) <= radius_m
    n, offset_m = n[near], offset_m[near]
    low, high = np.abs(n // 2), np.abs((n + 1) // 2)
    amplitude = reflection[0] ** low[:, None] * reflection[1] ** high[:, None]
    facing_m = None if front is None else np.where(n % 2 == 0, -front, front) * offset_m
    return AxisTable(offset_m=offset_m, amplitude=amplitude, index=n, facing_m=facing_m)


def room_tables(
    room: Room,
    source_m: Vector,
    listener_m: Vector,
    radius_m: float,
    front: Vector | None = None,
) -> tuple[AxisTable, AxisTable, AxisTable]:
    """Axis tables of x, y and z, with all bands of the room.

    Args:
        front: unit vector to the source's front, in the room; None for an omnidirectional source.
    """
    reflection = np.sqrt(1.0 - np.array(room.absorption)).reshape(3, 2, -1)
    x, y, z = (
        axis_table(
            room.size_m[d],
            source_m[d],
            listener_m[d],
            radius_m,
            reflection[d],
            None if front is None else front[d],
        )
        for d in range(3)
    )
    return x, y, z
