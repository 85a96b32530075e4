"""Head-related impulse responses from SOFA files (AES69), which are HDF5: read with h5py.

Understood are the free-field conventions with two receivers. Directions come out in the head's
frame (x front, y left, z up), responses as they are, with `Data.Delay` put into them. Which channel
is which ear is not decided here: headers are wrong about it too often.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError
from scenesynth.sofa import SofaFile, cartesian, open_sofa, text

CONVENTIONS: Final = ("SimpleFreeFieldHRIR", "FreeFieldHRIR")
LONGEST_S: Final = 0.1
"""Longer responses are a room's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SofaResponses:
    """What a file says.

    Attributes:
        directions: unit vectors in the head's frame. Shape: [measurements, 3].
        distance_m: Shape: [measurements].
        responses: Shape: [measurements, 2, samples].
        left_channel: the receiver that the header puts on the left, None where it does not say.
        notes: what is odd about the file, in words.
    """

    path: Path
    sha256: str
    directions: NDArray[np.float64]
    distance_m: NDArray[np.float64]
    responses: NDArray[np.float64]
    sample_rate: int
    left_channel: int | None
    title: str
    licence: str
    citation: str
    notes: tuple[str, ...]


def read_head_sofa(path: Path) -> SofaResponses:
    """Responses of a SOFA file.

    Raises:
        ConfigError: not a SOFA file of a free-field convention with two receivers, damaged, or
            without units.
    """
    with open_sofa(path, "head") as sofa:
        return _Reader(sofa).read()


class _Reader:
    """One open file."""

    def __init__(self, sofa: SofaFile) -> None:
        self.path, self.file, self.sofa = sofa.path, sofa.file, sofa

    def read(self) -> SofaResponses:
        self.sofa.convention(CONVENTIONS, " (rooms: scenesynth rooms import)")
        rate = self.sofa.sample_rate(lowest=8000)
        responses = self._responses(rate)
        n = len(responses)
        away_m = self._rows("SourcePosition", n) - self._rows("ListenerPosition", n)
        distance_m = np.linalg.norm(away_m, axis=1)
        if not (distance_m > 0).all():
            raise ConfigError(
                f"{self.path}: SourcePosition[{int(np.argmin(distance_m))}] is the listener's own "
                f"place; it has no direction"
            )
        self._check_pose()
        room_type = text(self.file, "RoomType")
        odd = room_type.lower() not in ("free field", "")
        who = (text(self.file, "DatabaseName"), text(self.file, "ListenerShortName"))
        return SofaResponses(
            path=self.path,
            sha256=hashlib.sha256(self.path.read_bytes()).hexdigest(),
            directions=away_m / distance_m[:, None],
            distance_m=distance_m,
            responses=responses,
            sample_rate=rate,
            left_channel=self._left_channel(),
            title=", ".join(word for word in who if word) or text(self.file, "Title"),
            licence=text(self.file, "License"),
            citation=text(self.file, "References"),
            notes=(f"RoomType is {room_type!r}, not free field",) if odd else (),
        )

    def _responses(self, rate: int) -> NDArray[np.float64]:
        """Shape: [measurements, 2, samples]."""
        shape = self.sofa.dataset("Data.IR").shape
        if len(shape) != 3 or shape[1] != 2:
            raise ConfigError(
                f"{self.path}: Data.IR has shape {shape}; expected [measurements, 2 ears, samples]"
            )
        if shape[2] > LONGEST_S * rate:
            raise ConfigError(
                f"{self.path}: responses of {shape[2] / rate:.2g} s are a room's, not a head's "
                f"(up to {LONGEST_S:g} s); use scenesynth rooms import"
            )
        responses = self.sofa.values("Data.IR")
        if bad := np.flatnonzero(~np.isfinite(responses).all(axis=(1, 2))).tolist():
            raise ConfigError(
                f"{self.path}: Data.IR[{bad[0]}] holds values that are not finite; {len(bad)} of "
                f"{len(responses)} responses do"
            )
        if bad := np.flatnonzero((np.abs(responses).max(axis=2) == 0).any(axis=1)).tolist():
            raise ConfigError(
                f"{self.path}: Data.IR[{bad[0]}] is silent at an ear; {len(bad)} of "
                f"{len(responses)} responses are"
            )
        return self._delayed(responses)

    def _delayed(self, responses: NDArray[np.float64]) -> NDArray[np.float64]:
        """With the differences of `Data.Delay` put into the responses."""
        if "Data.Delay" not in self.file:
            return responses
        n = len(responses)
        given = self.sofa.values("Data.Delay")
        if given.shape not in ((1, 2), (n, 2)):
            raise ConfigError(
                f"{self.path}: Data.Delay has shape {given.shape}; expected [1, 2] or [{n}, 2]"
            )
        delay = np.broadcast_to(given - given.min(), (n, 2))
        if not delay.any():
            return responses
        if not delay.max() < responses.shape[2] + 1000:
            raise ConfigError(
                f"{self.path}: Data.Delay spreads over {delay.max():g} samples; no head is so large"
            )
        whole = np.floor(delay).astype(np.int64)
        long = responses.shape[2] + int(whole.max()) + 64
        spectra = np.fft.rfft(responses, n=2 * long)
        turns = np.fft.rfftfreq(2 * long) * delay[:, :, None]
        return np.fft.irfft(spectra * np.exp(-2j * np.pi * turns))[:, :, :long]

    def _check_pose(self) -> None:
        """The listener looks along x, with z up; a position may be anywhere."""
        for name, expected in (("ListenerView", (1.0, 0.0, 0.0)), ("ListenerUp", (0.0, 0.0, 1.0))):
            if name not in self.file:
                continue
            kind = text(self.file[name], "Type").lower()
            values = np.atleast_2d(self.sofa.values(name))
            if kind == "spherical":
                values = cartesian(values)
            length = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
            if values.shape[1:] != (3,) or not np.allclose(values / length, expected, atol=1e-3):
                raise ConfigError(
                    f"{self.path}: {name} = {values[0].tolist()}; only a listener that looks along "
                    f"x with z up is understood"
                )

    def _left_channel(self) -> int | None:
        try:
            places = self.sofa.values("ReceiverPosition").reshape(2, 3, -1)[:, 1, 0]
        except (ConfigError, ValueError):
            return None
        return int(places[1] > places[0]) if places[0] != places[1] else None

    def _rows(self, name: str, n: int) -> NDArray[np.float64]:
        """Cartesian metres, one row for all being repeated. Shape: [n, 3]."""
        values = self.sofa.values(name)
        if values.ndim != 2 or values.shape[1] != 3 or len(values) not in (1, n):
            raise ConfigError(
                f"{self.path}: {name} has shape {values.shape}; expected [1 or {n}, 3]"
            )
        if not np.isfinite(values).all():
            raise ConfigError(f"{self.path}: {name} holds values that are not finite")
        values = np.broadcast_to(values, (n, 3))
        data = self.file[name]
        kind, units = text(data, "Type").lower(), text(data, "Units")
        return self.sofa.metres(name, values, kind, units)
