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

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenesynth.jit import kernel
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
    reach = math.ceil(radius_m / length_m) + 2
    n = 2 * reach + 1
    offset_m, index = np.empty(n), np.empty(n, dtype=np.int64)
    amplitude, facing_m = np.empty((n, reflection.shape[1])), np.empty(n)
    _fill(
        float(length_m),
        float(source_m),
        float(listener_m),
        reflection,
        float(front or 0.0),
        offset_m,
        index,
        amplitude,
        facing_m,
    )
    near = slice(
        np.searchsorted(offset_m, -radius_m), np.searchsorted(offset_m, radius_m, side="right")
    )
    return AxisTable(
        offset_m=offset_m[near],
        amplitude=amplitude[near],
        index=index[near],
        facing_m=None if front is None else facing_m[near],
    )


@kernel
def _fill(  # type: ignore[no-untyped-def]
    length, source, listener, reflection, front, offset, index, amplitude, facing
):
    """Write the images from -reach to reach; two further out, each wall has been hit once more."""
    reach = len(offset) // 2
    for k in range(len(offset)):
        n = k - reach
        odd = n % 2 != 0
        image = (n + 1) * length - source if odd else n * length + source
        offset[k] = image - listener
        index[k] = n
        facing[k] = (front if odd else -front) * offset[k]
    for b in range(amplitude.shape[1]):
        low, high = reflection[0, b], reflection[1, b]
        both = low * high
        amplitude[reach, b] = 1.0
        amplitude[reach - 1, b] = low
        amplitude[reach + 1, b] = high
        for k in range(2, reach + 1):
            amplitude[reach - k, b] = amplitude[reach - k + 2, b] * both
            amplitude[reach + k, b] = amplitude[reach + k - 2, b] * both


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
