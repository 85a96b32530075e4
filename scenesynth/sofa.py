"""SOFA files (AES69) are netCDF-4, which is HDF5: what those who read rooms and heads share.

What files get wrong and is allowed for: a position of all zeros needs no unit, and old files hold
text in Latin-1. A unit that is not stated, or not metres and degrees, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.errors import ConfigError

METRE: Final = {"metre", "meter", "metres", "meters", "m"}
_DEGREE: Final = {"degree", "degrees", "deg"}


@contextmanager
def open_sofa(path: Path, purpose: str) -> Iterator[SofaFile]:
    """An open SOFA file, to be used as a `purpose`.

    Raises:
        ConfigError: no such file, none of HDF5, or one that turns out to be damaged while it is
            read; or h5py is missing.
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
            yield SofaFile(path, file, purpose)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: is no SOFA file, or a damaged one ({error}); copy it again"
        ) from None


@dataclass(frozen=True, eq=False)
class SofaFile:
    """One open file. All methods raise ConfigError, naming file and variable."""

    path: Path
    file: Any
    purpose: str

    def convention(self, known: Sequence[str], otherwise: str = "") -> str:
        """The convention that it follows, one of those that are known."""
        convention = text(self.file, "SOFAConventions")
        if text(self.file, "Conventions") != "SOFA" or not convention:
            raise ConfigError(f"{self.path}: is HDF5 but no SOFA file (no SOFAConventions)")
        if convention not in known:
            raise ConfigError(
                f"{self.path}: SOFAConventions = {convention}; {self.purpose}s can be read from "
                f"{', '.join(known)}{otherwise}"
            )
        return convention

    def sample_rate(self, lowest: int = 1) -> int:
        """The one sample rate of all responses, in hertz."""
        unit = text(self.dataset("Data.SamplingRate"), "Units").lower()
        if unit not in ("hertz", "hz"):
            raise ConfigError(
                f"{self.path}: Data.SamplingRate is in {unit or 'no unit'}; expected hertz"
            )
        rates = np.unique(self.values("Data.SamplingRate"))
        if len(rates) != 1 or not float(rates[0]).is_integer() or rates[0] < lowest:
            raise ConfigError(
                f"{self.path}: Data.SamplingRate = {rates.tolist()}; expected one whole number of "
                f"{lowest} or more"
            )
        return int(rates[0])

    def dataset(self, name: str) -> Any:
        """A variable, with its attributes."""
        if name not in self.file:
            raise ConfigError(f"{self.path}: has no {name}; it cannot be used as a {self.purpose}")
        data = self.file[name]
        if not hasattr(data, "dtype"):
            raise ConfigError(f"{self.path}: {name} is a group; expected an array of numbers")
        return data

    def values(self, name: str) -> NDArray[np.float64]:
        """All numbers of a variable."""
        data = self.dataset(name)
        if data.dtype.kind not in "fiu":
            raise ConfigError(f"{self.path}: {name} holds {data.dtype}; expected real numbers")
        return np.asarray(data[...], dtype=np.float64)

    def metres(
        self, name: str, values: NDArray[np.float64], kind: str, units: str
    ) -> NDArray[np.float64]:
        """Positions of a variable in Cartesian metres. Shape: [rows, 3] in and out."""
        if not values.any():
            return values
        words = units.lower().replace(",", " ").split()
        if kind == "cartesian" and words and set(words) <= METRE:
            return values
        angles = len(words) == 3 and set(words[:2]) <= _DEGREE and words[2] in METRE
        if kind == "spherical" and angles:
            return cartesian(values)
        raise ConfigError(
            f"{self.path}: {name} is {kind or 'of no type'} in {units or 'no unit'}; expected "
            f"cartesian in metre, or spherical in degree, degree, metre"
        )


def cartesian(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From azimuth and elevation in degrees, and distance. Shape: [rows, 3] in and out."""
    azimuth, elevation = np.radians(values[:, 0]), np.radians(values[:, 1])
    flat = np.cos(elevation)
    unit = (np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation))
    return np.asarray(values[:, 2:] * np.stack(unit, axis=1))


def text(at: Any, name: str) -> str:
    """A text attribute, "" where there is none.

    h5py gives bytes that are no UTF-8 as lone surrogates, which nothing can write.
    """
    value = at.attrs.get(name, "")
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        return ""
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()
