"""What is to be known of a head before it is used, and what looks wrong with one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenesynth.spatial.ears import Head, ear_responses
from scenesynth.spatial.head_measure import asymmetry
from scenesynth.spatial.hrtf import MeasuredHead

ITD_US = (400.0, 1000.0)
ILD_DB = 3.0
MISSING_PCT = 40.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Horizon:
    """Interaural differences in the horizontal plane, positive where the left ear is first, louder.

    Attributes:
        azimuth_deg: Shape: [n].
        itd_us: difference of the onsets. Shape: [n].
        level_db: left and right, between 1.5 and 16 kHz or the highest frequency. Shape: [n, 2].
    """

    azimuth_deg: NDArray[np.float64]
    itd_us: NDArray[np.float64]
    level_db: NDArray[np.float64]

    @property
    def ild_db(self) -> NDArray[np.float64]:
        """Level of the left ear over the right one. Shape: [n]."""
        return np.asarray(self.level_db[:, 0] - self.level_db[:, 1])

    def at(self, azimuth_deg: float) -> tuple[float, float]:
        """ITD in microseconds and ILD in dB of one of the azimuths."""
        k = int(np.argmin(np.abs(self.azimuth_deg - azimuth_deg)))
        return float(self.itd_us[k]), float(self.ild_db[k])


def horizon(head: Head) -> Horizon:
    """Interaural differences each 5 degrees, from -180 to 180."""
    azimuth_deg = np.arange(-180.0, 181.0, 5.0)
    azimuth = np.radians(azimuth_deg)
    directions = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(len(azimuth))], axis=1)
    delay_s = head.interpolation(directions).delay_s
    n_fft = 1 << math.ceil(math.log2(max(head.n_taps, head.sample_rate // 50)))
    freq_hz = np.arange(n_fft // 2 + 1) * (head.sample_rate / n_fft)
    inside = (freq_hz >= 1500) & (freq_hz <= min(16000.0, 0.45 * head.sample_rate))
    power = np.abs(ear_responses(head, directions, n_fft)[:, :, inside].astype(np.complex128)) ** 2
    return Horizon(
        azimuth_deg=azimuth_deg,
        itd_us=1e6 * (delay_s[:, 1] - delay_s[:, 0]),
        level_db=10 * np.log10(np.maximum(power.mean(axis=2), 1e-12)),
    )


def missing_elevations_deg(head: Head) -> tuple[float, float] | None:
    """Lowest and highest elevation at which nothing was measured, None where all was."""
    n = 5000
    z = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    turn = np.pi * (1.0 + math.sqrt(5.0)) * np.arange(n)
    flat = np.sqrt(1.0 - z * z)
    around = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], axis=1)
    around[[0, -1]] = (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)
    _, _, missing = head.grid.surround(around)
    if not missing.any():
        return None
    heights = around[missing, 2]
    low, high = np.degrees(np.arcsin([heights.min(), heights.max()]))
    return float(low), float(high)


def coverage(head: Head) -> str:
    """In words, where nothing was measured."""
    share = 100 * head.grid.missing_share
    found = missing_elevations_deg(head)
    if found is None:
        return "the whole sphere"
    return (
        f"{share:.0f} % of the sphere is missing (elevations {found[0]:.0f} to {found[1]:.0f} "
        f"degrees) and is filled from around"
    )


def symmetry(head: Head) -> str:
    """In words, how alike left and right are."""
    off = asymmetry(head) if isinstance(head, MeasuredHead) else 0.0
    if off == 0:
        return "exact mirror images"
    if math.isinf(off):
        return "no direction has a mirror image"
    return f"differ by up to {20 * math.log10(off):.0f} dB of the peak"


def doubts(head: Head) -> list[str]:
    """What looks wrong, each with the number that does; empty for a head that can be used."""
    found = []
    around = horizon(head)
    for azimuth, side, sign in ((90.0, "left", 1.0), (-90.0, "right", -1.0)):
        itd_us, ild_db = around.at(azimuth)
        if not ITD_US[0] <= sign * itd_us <= ITD_US[1]:
            found.append(
                f"time difference: sound from the {side} is {sign * itd_us:.0f} us later at the "
                f"far ear; a head gives {ITD_US[0]:.0f} to {ITD_US[1]:.0f}"
            )
        if sign * ild_db < ILD_DB:
            found.append(
                f"level difference: sound from the {side} is {sign * ild_db:.1f} dB louder at the "
                f"near ear (above 1.5 kHz); a head gives {ILD_DB:g} or more"
            )
    missing_pct = 100 * head.grid.missing_share
    if missing_pct > MISSING_PCT:
        found.append(
            f"coverage: {missing_pct:.0f} % of the sphere is missing; up to {MISSING_PCT:.0f} % "
            f"can be filled from around"
        )
    return found
