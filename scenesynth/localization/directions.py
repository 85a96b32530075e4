"""Where sound comes from, estimated from a scene's audio alone, whatever its format.

Estimates listen to onsets (`onsets`). Of Ambisonics they are intensity vectors (`intensity`), of
ears and microphones the direction whose response fits best (`steering`). What is left of
reverberation and noise shows as a lower `confidence`, so a weak estimate says that it is weak.
Labels play no part.

Vectors are in the listener's frame: x front, y left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.localization.intensity import intensity_vectors
from scenesynth.localization.onsets import Array
from scenesynth.localization.reach import Reach, reach_of
from scenesynth.localization.steering import steered_vectors
from scenesynth.room.model import Air, AssetRef
from scenesynth.spatial.formats import Format, ambisonic_format

_FOA: Final = ambisonic_format(1)
_AIR: Final = Air()


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Direction estimates per frame.

    Attributes:
        hop_s: length of a frame; frame k covers [hop_s k, hop_s (k+1)).
        vectors: sum over onsets of their directions, each as long as its weight where the field
            has one direction, and shorter where it has not. Shape: [frames, 3].
        weight: sum of the weights, amplitudes re full scale. Shape: [frames].
        reach: how much of a direction the vectors tell; they are those of `as_told`.
    """

    hop_s: float
    vectors: Array
    weight: Array
    reach: Reach

    @property
    def confidence(self) -> Array:
        """1 where all onsets of a frame agree on one direction, 0 for a diffuse field."""
        length = np.linalg.norm(self.vectors, axis=-1)
        return np.asarray(length / np.maximum(self.weight, np.finfo(float).tiny))


def estimate_directions(
    audio: NDArray[np.float32],
    sample_rate: int,
    hop_s: float,
    item: Format = _FOA,
    *,
    head: AssetRef | None = None,
    air: Air = _AIR,
) -> Directions:
    """Directions of onsets in frames of `hop_s`.

    Args:
        audio: Shape: [channels, samples].
        item: the format of `audio`, one that tells directions.
        head: whose ears a binaural format has; the package's own head where None.
        air: that the sound travelled through.

    Raises:
        ValueError: a format that tells no direction.
        ConfigError: a head that is not at hand.
    """
    reach = reach_of(item)
    if reach == "none":
        raise ValueError(f"format {item.name} tells no direction")
    n_frames = max(1, int(np.ceil(audio.shape[1] / sample_rate / hop_s - 1e-9)))
    if item.kind == "ambisonics":
        foa = audio[:4] if item.order > 1 else audio
        vectors, weight = intensity_vectors(foa, sample_rate, hop_s, n_frames)
    else:
        vectors, weight = steered_vectors(
            audio, sample_rate, item, head, air.speed_of_sound_mps, hop_s, n_frames
        )
    return Directions(hop_s=hop_s, vectors=vectors, weight=weight, reach=reach)


def to_angles(vectors: Array) -> tuple[Array, Array]:
    """Azimuth (counter-clockwise from the front) and elevation in degrees. Shape: [..., 3]."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def to_vectors(azimuth_deg: Array, elevation_deg: Array) -> Array:
    """Unit vectors of directions in degrees. Shape: [..., 3]."""
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=-1)
