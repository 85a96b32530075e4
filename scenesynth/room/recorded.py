"""Responses as a file holds them, before anything is decided about them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.room.model import Vector

Channels = Literal["sh", "mics", "ears", "unknown"]
MIN_DISTANCE_M = 0.05
"""Nearer than this a source and a listener count as one place, and no direction is known."""

FARTHEST_M: Final = 10_000.0
"""Positions beyond this are in another unit, or damaged."""

LATEST_S: Final = 30.0
"""A channel later than this is a delay in another unit, or damaged: sound went 10 km meanwhile."""

APART_S: Final = 1.0
"""Channels of one response that start farther apart than this were not recorded together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """Responses and what their file says about them.

    Attributes:
        responses: float32. Shape: [pairs, channels, samples].
        delay: samples that each channel is late by, beyond what it shows. Shape: [pairs, channels].
        source_m, listener_m: positions in the file's coordinates. Shape: [pairs, 3].
        rotation: listener-to-room matrix. Shape: [pairs, 3, 3].
        capsules_m: places of the channels in the listener's frame, if stated. Shape: [channels, 3].
        channels: what the file says that its channels are.
        convention: Ambisonic convention that it states ("acn-sn3d", ...), or "".
        corners_m: opposite corners of the room, if stated.
    """

    path: Path
    responses: NDArray[np.float32]
    sample_rate: int
    delay: NDArray[np.float64]
    source_m: NDArray[np.float64]
    listener_m: NDArray[np.float64]
    rotation: NDArray[np.float64]
    capsules_m: NDArray[np.float64] | None = None
    channels: Channels = "unknown"
    convention: str = ""
    corners_m: tuple[Vector, Vector] | None = None
    title: str = ""
    licence: str = ""
    notes: tuple[str, ...] = field(default=())

    def check(self) -> Recorded:
        """Return itself.

        Raises:
            ConfigError: values that are not finite, silence, or positions that say nothing.
        """
        if 0 in self.responses.shape:
            raise ConfigError(f"{self.path}: holds no responses (shape {self.responses.shape})")
        for n, response in enumerate(self.responses):
            if not np.isfinite(response).all():
                raise ConfigError(
                    f"{self.path}: response {n} holds NaN or infinity; the file is damaged, or "
                    f"the measurement failed there: leave it out"
                )
            if not response.any():
                raise ConfigError(f"{self.path}: response {n} is silent; leave it out")
        for name in ("source_m", "listener_m", "rotation", "delay"):
            if not np.isfinite(getattr(self, name)).all():
                raise ConfigError(f"{self.path}: {name} holds values that are not finite")
        if not 1000 <= self.sample_rate <= 384000:
            raise ConfigError(
                f"{self.path}: sample rate = {self.sample_rate}; must lie in [1000, 384000] Hz"
            )
        self._check_ranges()
        return self

    def _check_ranges(self) -> None:
        for name in ("source_m", "listener_m"):
            values = getattr(self, name)
            row = int(np.argmax(np.abs(values).max(axis=1)))
            if np.abs(values[row]).max() > FARTHEST_M:
                raise ConfigError(
                    f"{self.path}: {name} of response {row} = {values[row].tolist()}; must lie "
                    f"within {FARTHEST_M:g} m. Are these metres?"
                )
        late_s = np.abs(self.delay).max(axis=1) / self.sample_rate
        apart_s = np.ptp(self.delay, axis=1) / self.sample_rate
        for what, found_s, most_s in (
            ("delay", late_s, LATEST_S),
            ("delays of its channels differ:", apart_s, APART_S),
        ):
            row = int(np.argmax(found_s))
            if found_s[row] > most_s:
                raise ConfigError(
                    f"{self.path}: response {row}: {what} {found_s[row]:g} s; at most "
                    f"{most_s:g} s. Are these samples?"
                )


def file_digest(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
