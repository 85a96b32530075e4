"""Head-related impulse responses from SOFA files (AES69), which are HDF5: read with h5py.

Understood are the free-field conventions with two receivers. Directions come out in the head's
frame (x front, y left, z up), responses as they are, with `Data.Delay` put into them. Which channel
is which ear is not decided here: headers are wrong about it too often.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError

CONVENTIONS: Final = ("SimpleFreeFieldHRIR", "FreeFieldHRIR")
LONGEST_S: Final = 0.1
"""Longer responses are a room's."""

_METRE = {"metre", "meter", "metres", "meters", "m"}
_DEGREE = {"degree", "degrees", "deg"}


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
    try:
        import h5py
    except ImportError:
        raise ConfigError(
            "SOFA files need the package h5py: pip install 'scenesynth[engines]'"
        ) from None
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            return _Reader(path, file).read()
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: is no SOFA file, or a damaged one ({error}); copy it again"
        ) from None


class _Reader:
    """One open file."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self.file = path, file

    def read(self) -> SofaResponses:
        self._check_convention()
        rate = self._rate()
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
        room_type = _text(self.file, "RoomType")
        odd = room_type.lower() not in ("free field", "")
        who = (_text(self.file, "DatabaseName"), _text(self.file, "ListenerShortName"))
        return SofaResponses(
            path=self.path,
            sha256=hashlib.sha256(self.path.read_bytes()).hexdigest(),
            directions=away_m / distance_m[:, None],
            distance_m=distance_m,
            responses=responses,
            sample_rate=rate,
            left_channel=self._left_channel(),
            title=", ".join(word for word in who if word) or _text(self.file, "Title"),
            licence=_text(self.file, "License"),
            citation=_text(self.file, "References"),
            notes=(f"RoomType is {room_type!r}, not free field",) if odd else (),
        )

    def _check_convention(self) -> None:
        convention = _text(self.file, "SOFAConventions")
        if _text(self.file, "Conventions") != "SOFA" or not convention:
            raise ConfigError(f"{self.path}: is HDF5 but no SOFA file (no SOFAConventions)")
        if convention not in CONVENTIONS:
            raise ConfigError(
                f"{self.path}: SOFAConventions = {convention}; heads can be read from "
                f"{', '.join(CONVENTIONS)} (rooms: scenesynth rooms import)"
            )

    def _rate(self) -> int:
        unit = _text(self._dataset("Data.SamplingRate"), "Units").lower()
        if unit not in ("hertz", "hz"):
            raise ConfigError(
                f"{self.path}: Data.SamplingRate is in {unit or 'no unit'}; expected hertz"
            )
        rates = np.unique(self._values("Data.SamplingRate"))
        if len(rates) != 1 or not float(rates[0]).is_integer() or rates[0] < 8000:
            raise ConfigError(
                f"{self.path}: Data.SamplingRate = {rates.tolist()}; expected one whole number of "
                f"8000 or more"
            )
        return int(rates[0])

    def _responses(self, rate: int) -> NDArray[np.float64]:
        """Shape: [measurements, 2, samples]."""
        shape = self._dataset("Data.IR").shape
        if len(shape) != 3 or shape[1] != 2:
            raise ConfigError(
                f"{self.path}: Data.IR has shape {shape}; expected [measurements, 2 ears, samples]"
            )
        if shape[2] > LONGEST_S * rate:
            raise ConfigError(
                f"{self.path}: responses of {shape[2] / rate:.2g} s are a room's, not a head's "
                f"(up to {LONGEST_S:g} s); use scenesynth rooms import"
            )
        responses = self._values("Data.IR")
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
        given = self._values("Data.Delay")
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
            kind = _text(self.file[name], "Type").lower()
            values = np.atleast_2d(self._values(name))
            if kind == "spherical":
                values = _cartesian(values)
            length = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
            if values.shape[1:] != (3,) or not np.allclose(values / length, expected, atol=1e-3):
                raise ConfigError(
                    f"{self.path}: {name} = {values[0].tolist()}; only a listener that looks along "
                    f"x with z up is understood"
                )

    def _left_channel(self) -> int | None:
        try:
            places = self._values("ReceiverPosition").reshape(2, 3, -1)[:, 1, 0]
        except (ConfigError, ValueError):
            return None
        return int(places[1] > places[0]) if places[0] != places[1] else None

    def _rows(self, name: str, n: int) -> NDArray[np.float64]:
        """Cartesian metres, one row for all being repeated. Shape: [n, 3]."""
        values = self._values(name)
        if values.ndim != 2 or values.shape[1] != 3 or len(values) not in (1, n):
            raise ConfigError(
                f"{self.path}: {name} has shape {values.shape}; expected [1 or {n}, 3]"
            )
        if not np.isfinite(values).all():
            raise ConfigError(f"{self.path}: {name} holds values that are not finite")
        values = np.broadcast_to(values, (n, 3))
        if not values.any():
            return values
        kind = _text(self.file[name], "Type").lower()
        units = _text(self.file[name], "Units")
        words = units.lower().replace(",", " ").split()
        if kind == "cartesian" and words and set(words) <= _METRE:
            return values
        angles = len(words) == 3 and set(words[:2]) <= _DEGREE and words[2] in _METRE
        if kind == "spherical" and angles:
            return _cartesian(values)
        raise ConfigError(
            f"{self.path}: {name} is {kind or 'of no type'} in {units or 'no unit'}; expected "
            f"cartesian in metre, or spherical in degree, degree, metre"
        )

    def _dataset(self, name: str) -> Any:
        if name not in self.file:
            raise ConfigError(f"{self.path}: has no {name}; it cannot be used as a head")
        data = self.file[name]
        if not hasattr(data, "dtype"):
            raise ConfigError(f"{self.path}: {name} is a group; expected an array of numbers")
        return data

    def _values(self, name: str) -> NDArray[np.float64]:
        data = self._dataset(name)
        if data.dtype.kind not in "fiu":
            raise ConfigError(f"{self.path}: {name} holds {data.dtype}; expected real numbers")
        return np.asarray(data[...], dtype=np.float64)


def _cartesian(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From azimuth and elevation in degrees, and distance. Shape: [n, 3]."""
    azimuth, elevation = np.radians(values[:, 0]), np.radians(values[:, 1])
    flat = np.cos(elevation)
    unit = (np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation))
    return np.asarray(values[:, 2:] * np.stack(unit, axis=1))


def _text(at: Any, name: str) -> str:
    """A text attribute, "" where there is none; old files hold Latin-1."""
    value = at.attrs.get(name, "")
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        return ""
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()
