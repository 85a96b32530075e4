"""The mean pressure of the images that mode `tail` leaves out.

All reflection factors are positive, so a room's images have a mean: a slow swell of pressure, of
about the size of their fluctuations. Noise has none. Where images end within a few milliseconds
the swell would end with them, a step that is heard and measured as a thump in the octaves of 125
and 250 Hz: the high-pass at the end removes a swell, but no step. So the mean goes on after the
images and is let down over a tenth of a second.

Images lie evenly over places: those of a direction u bring (4 pi c / V) (c t)^2 / (c t) per second
times the amplitude that walls and air leave of them, at all places alike. That is pressure at the
listener only: directions cancel in the mean, and so do higher channels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.acoustics.tail import Seam
from scenesynth.room.decay import late_covariance, octant_directions
from scenesynth.room.model import Room, Vector

LET_DOWN_S: Final = 0.1
"""The mean fades to nothing over this long, a raised cosine well below the lowest octave."""

_TIMES: Final = 5


def pile_up(
    room: Room,
    attenuation_per_m: NDArray[np.float64],
    speed_of_sound_mps: float,
    sample_rate: int,
    seam: Seam,
    source_mean: NDArray[np.float64] | None = None,
) -> tuple[int, NDArray[np.float32]]:
    """What the first channel lacks of the mean of all images, from the seam on.

    Args:
        attenuation_per_m: energy attenuation of air. Shape: [bands].
        source_mean: amplitude that a directional source sends towards `octant_directions`, see
            `scenesynth.acoustics.tail.octant_mean`. Shape: [bands, n].

    Returns:
        The first sample, and samples from there on; the response may end before they do.
    """
    what = (
        room.size_m,
        tuple(wall[0] for wall in room.absorption),
        float(attenuation_per_m[0]),
        speed_of_sound_mps,
        sample_rate,
        seam,
    )
    return _shared(*what) if source_mean is None else _pile_up(*what, source_mean[:1])


def _pile_up(
    size_m: Vector,
    absorption: tuple[float, ...],
    attenuation_per_m: float,
    speed_of_sound_mps: float,
    sample_rate: int,
    seam: Seam,
    source_mean: NDArray[np.float64] | None = None,
) -> tuple[int, NDArray[np.float32]]:
    """Of the lowest band: a swell is low."""
    first, times_s, share = _let_down(seam, sample_rate)
    # Amplitudes are the energies of walls and air that take the square root.
    energy = late_covariance(
        size_m,
        1.0 - np.sqrt(1.0 - np.array(absorption)[:, None]),
        [attenuation_per_m / 2],
        speed_of_sound_mps,
        times_s,
        np.ones((len(octant_directions()), 1)),
        source_mean,
    )
    mean = energy[0, :, 0, 0] * speed_of_sound_mps * times_s / sample_rate
    swell = (mean.astype(np.float32)[:, None] * share).sum(axis=0)
    swell.setflags(write=False)
    return first, swell


@lru_cache(maxsize=16)
def _let_down(seam: Seam, sample_rate: int) -> tuple[int, NDArray[np.float64], NDArray[np.float32]]:
    """The first sample, times of the mean, and what each adds to samples. Shape: [times, n]."""
    end_s = seam.end_s + LET_DOWN_S
    times_s = np.linspace(seam.start_s, end_s, _TIMES)
    first = math.ceil(seam.start_s * sample_rate)
    time_s = np.arange(first, int(end_s * sample_rate)) / sample_rate
    joined = np.clip((time_s - seam.start_s) / (seam.end_s - seam.start_s), 0.0, 1.0)
    let_down = np.clip((time_s - seam.end_s) / LET_DOWN_S, 0.0, 1.0)
    lacking = (1.0 - np.sqrt(1.0 - joined)) * 0.5 * (1.0 + np.cos(np.pi * let_down))
    between = np.array([np.interp(time_s, times_s, row) for row in np.eye(_TIMES)])
    return first, times_s, (between * lacking).astype(np.float32)


_shared = lru_cache(maxsize=64)(_pile_up)
