"""From the responses of a file to a head: which ear is which, onsets, level, time origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import scipy.fft
import scipy.spatial
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.spatial.ears import impulse_responses
from scenesynth.spatial.head_grid import build_grid
from scenesynth.spatial.head_sofa import SofaResponses
from scenesynth.spatial.hrtf import MeasuredHead, diffuse_gain, unit
from scenesynth.spatial.sphere_head import EAR_AZIMUTH_DEG, SphereHead

ONSET_DB: Final = -15.0

_UPSAMPLING = 10
_AROUND = 64
_LSB = 2.0**-15


@dataclass(frozen=True, kw_only=True)
class Ears:
    """Which channel is the left ear, and how that was found."""

    left_channel: int
    how: str


def tell_ears(sofa: SofaResponses) -> Ears:
    """Find the left ear: sound from the left arrives there first.

    Asks the interaural cross-correlation below 3 kHz at the most lateral directions.

    Raises:
        ConfigError: no lateral directions, no interaural delay, or directions that disagree.
    """
    side = sofa.directions[:, 1]
    lateral = np.abs(side) >= max(0.7, 0.9 * np.abs(side).max())
    if not lateral.any():
        raise ConfigError(
            f"{sofa.path}: the ears cannot be told apart: no direction lies within 45 degrees of "
            f"the left or the right"
        )
    late_s = np.sign(side[lateral]) * _interaural_delay_s(sofa.responses[lateral], sofa.sample_rate)
    for_0, for_1 = np.mean(late_s > 0), np.mean(late_s < 0)
    typical_us = 1e6 * float(np.median(late_s))
    if abs(typical_us) < 100:
        raise ConfigError(
            f"{sofa.path}: the ears cannot be told apart: sound from the side is only "
            f"{abs(typical_us):.0f} us late at the far ear (a head: about 650). These are no HRIRs "
            f"with their time differences"
        )
    if max(for_0, for_1) < 0.9:
        raise ConfigError(
            f"{sofa.path}: the ears cannot be told apart: channel 0 leads on its left at "
            f"{for_0:.0%} of the lateral directions, channel 1 at {for_1:.0%}"
        )
    left = int(for_1 > for_0)
    how = f"channel {left} is the left ear: it leads by {abs(typical_us):.0f} us on the left"
    if left == 1:
        how += " (channels exchanged)"
    if sofa.left_channel is None:
        return Ears(left_channel=left, how=f"{how}; the header does not say")
    agrees = "as the header says" if sofa.left_channel == left else "against the header"
    return Ears(left_channel=left, how=f"{how}, {agrees}")


def _interaural_delay_s(responses: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """By how much channel 1 is later than channel 0. Shape: [n]."""
    n_fft = scipy.fft.next_fast_len(2 * responses.shape[2], real=True)
    spectra = scipy.fft.rfft(responses, n=n_fft, axis=2, workers=1)
    spectra[:, :, math.ceil(3000 * n_fft / sample_rate) :] = 0
    n_fine = 4 * n_fft
    match = scipy.fft.irfft(spectra[:, 1] * np.conj(spectra[:, 0]), n=n_fine, axis=1, workers=1)
    reach = min(math.ceil(1e-3 * 4 * sample_rate), n_fine // 2)
    near = np.concatenate([match[:, -reach:], match[:, : reach + 1]], axis=1)
    return np.asarray((np.argmax(near, axis=1) - reach) / (4 * sample_rate))


def onsets(responses: NDArray[np.floating], sample_rate: int) -> NDArray[np.float64]:
    """Time at which each response first reaches -15 dB of its peak, in seconds after its start.

    Found between samples by tenfold interpolation. Shape: [..., taps] -> [...].
    """
    flat = responses.reshape(-1, responses.shape[-1])
    found = np.concatenate([_onset_samples(flat[k : k + 256]) for k in range(0, len(flat), 256)])
    return found.reshape(responses.shape[:-1]) / sample_rate


def _onset_samples(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    n_fft = scipy.fft.next_fast_len(rows.shape[1] + _AROUND, real=True)
    spectra = scipy.fft.rfft(rows.astype(np.float64), n=n_fft, axis=1, workers=1)
    fine = np.abs(scipy.fft.irfft(spectra, n=_UPSAMPLING * n_fft, axis=1, workers=1))
    fine = fine[:, : _UPSAMPLING * rows.shape[1]]
    level = fine.max(axis=1) * 10 ** (ONSET_DB / 20)
    first = np.argmax(fine >= level[:, None], axis=1)
    at = np.arange(len(rows))
    after, before = fine[at, first], fine[at, np.maximum(first - 1, 0)]
    part = np.where(first > 0, (level - before) / np.maximum(after - before, 1e-300), 0.0)
    return np.asarray(np.maximum(first - 1 + part, 0.0) / _UPSAMPLING)


@cache
def sphere_onset_s(sample_rate: int) -> float:
    """Mean over all directions of the onset at an ear of the sphere, from time 0.

    Found as in measured responses: at a low rate, onsets are earlier than geometry says.
    """
    sphere = SphereHead(sample_rate=sample_rate)
    angle = np.radians(np.arange(1.0, 180.0, 2.0))
    ear = np.radians(EAR_AZIMUTH_DEG)
    directions = np.outer(np.cos(angle), (np.cos(ear), np.sin(ear), 0.0))
    directions[:, 2] = np.sin(angle)
    responses, start_s = impulse_responses(sphere, directions)
    found = onsets(responses[:, 0], sample_rate) + start_s
    return float(np.average(found, weights=np.sin(angle)))


def arrays_of(sofa: SofaResponses, ears: Ears) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The arrays of a set as they are kept, and what there is to say about them.

    16-bit sources are kept as they are; others as 16 bits below the peak of each ear. Numbers that
    come out of computation are rounded, so that every machine makes the same set.

    Raises:
        ConfigError: directions that do not surround the head.
    """
    kept = _farthest(sofa)
    directions = np.round(sofa.directions[kept], 9)
    order = [ears.left_channel, 1 - ears.left_channel]
    responses = sofa.responses[kept][:, order]
    try:
        grid = build_grid(unit(directions))
    except ConfigError as error:
        raise ConfigError(f"{sofa.path}: {error}") from None
    samples, scale = _as_int16(responses)
    n_fft = scipy.fft.next_fast_len(max(responses.shape[2], sofa.sample_rate // 20), real=True)
    power = np.abs(scipy.fft.rfft(responses, n=n_fft, axis=2, workers=1)) ** 2
    mean_power = (power.mean(axis=1) * grid.areas[:, None]).sum(axis=0) / (4 * np.pi)
    gain = diffuse_gain(mean_power, scipy.fft.rfftfreq(n_fft, 1.0 / sofa.sample_rate))
    onset_s = onsets(responses, sofa.sample_rate)
    mean_onset_s = float((onset_s.mean(axis=1) * grid.areas).sum() / (4 * np.pi))
    lead = round((mean_onset_s - sphere_onset_s(sofa.sample_rate)) * sofa.sample_rate)
    dropped = len(sofa.directions) - len(kept)
    notes = [*sofa.notes]
    if dropped:
        notes.append(f"{dropped} measurements of directions that were also measured farther away")
    return {
        "directions": directions,
        "samples": np.stack([samples & 255, (samples >> 8) & 255]).astype(np.uint8),
        "scale": scale,
        "gain": np.array(float(f"{gain:.6g}")),
        "delay_10ns": np.round((onset_s - lead / sofa.sample_rate) * 1e8).astype(np.int32),
        "lead": np.array(lead, dtype=np.int64),
        "sample_rate": np.array(sofa.sample_rate, dtype=np.int64),
    }, tuple(notes)


def asymmetry(head: MeasuredHead) -> float:
    """Largest difference between one ear and the other's mirror image, over the peak.

    Directions without a mirror image are left out; infinite where none has one.
    """
    tree = scipy.spatial.cKDTree(head.directions)
    away, mirror = tree.query(head.directions * (1.0, -1.0, 1.0))
    paired = away < 1e-3
    if not paired.any():
        return math.inf
    other = head.hrir[mirror[paired], ::-1]
    return float(np.abs(head.hrir[paired] - other).max() / np.abs(head.hrir).max())


def _farthest(sofa: SofaResponses) -> NDArray[np.int64]:
    """One measurement per direction, the farthest one, in the file's order."""
    far_first = np.argsort(-np.round(sofa.distance_m, 3), kind="stable")
    places = np.round(sofa.directions[far_first], 4) + 0.0
    _, first = np.unique(places, axis=0, return_index=True)
    return np.sort(far_first[first])


def _as_int16(responses: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Samples and their scale per ear. Shapes: [n, 2, taps], [n, 2]."""
    whole = responses / _LSB
    if np.abs(whole).max() < 2**15 and (whole == np.round(whole)).all():
        return whole.astype(np.int16), np.full(responses.shape[:2], _LSB, dtype=np.float32)
    scale = (np.abs(responses).max(axis=2) / (2**15 - 1)).astype(np.float32)
    scaled = responses / scale.astype(np.float64)[:, :, None]
    return np.clip(np.round(scaled), -(2**15) + 1, 2**15 - 1).astype(np.int16), scale
