"""Microphone arrays as plain numbers: where the capsules are, and what they hear from where.

Two kinds. A *rigid* array is a hard sphere with pressure capsules flush in its surface, which bends
sound round itself. An *open* array is a set of ideal capsules in free air that do not disturb the
sound; each is omnidirectional or of the cardioid family, a + (1 - a) cos(angle to where it looks).

Positions are metres from the array's centre, which is where the listener is: x front, y left, z up.
Arrays are YAML files, of which some come along in `room_specs/mics`; docs/arrays.md says how to
write one. What capsules receive is in `scenesynth.spatial.array_response`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from scenesynth.data import data_root
from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean, from_plain
from scenesynth.yaml_files import read_yaml

ARRAY_FOLDER: Final = "room_specs/mics"
MAX_CAPSULES: Final = 64
SPHERE_RADIUS_M: Final = (0.005, 0.5)
MAX_OFFSET_M: Final = 0.5
SAME_PLACE_M: Final = 1e-4

Kind = Literal["rigid", "open"]
Pattern = Literal["omni", "subcardioid", "cardioid", "supercardioid", "hypercardioid", "figure8"]
Vector = tuple[float, float, float]

OMNI_SHARE: Final[dict[Pattern, float]] = {
    "omni": 1.0,
    "subcardioid": 0.7,
    "cardioid": 0.5,
    "supercardioid": 0.366,
    "hypercardioid": 0.25,
    "figure8": 0.0,
}
"""a in a + (1 - a) cos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capsule:
    """One microphone of an array.

    Attributes:
        azimuth_deg, elevation_deg: where it looks, and on a sphere also where it sits.
        position_m: place from the array's centre; None on a sphere.
        omni_share: a of its pattern a + (1 - a) cos.
    """

    name: str
    azimuth_deg: float = 0.0
    elevation_deg: float = 0.0
    position_m: Vector | None = None
    omni_share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MicArray:
    """A microphone array; its channels are its capsules, in order.

    Attributes:
        sphere_radius_m: radius of the rigid sphere that carries the capsules; None for open arrays.
        description: what it is, in one line.

    Raises:
        ValueError: a value out of range or a capsule twice, named by its field.
    """

    name: str
    capsules: tuple[Capsule, ...]
    sphere_radius_m: float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.capsules) <= MAX_CAPSULES:
            raise ValueError(f"capsules: {len(self.capsules)} of them; must be 1 to {MAX_CAPSULES}")
        low, high = SPHERE_RADIUS_M
        radius = self.sphere_radius_m
        if radius is not None and not low <= radius <= high:
            raise ValueError(f"radius_m = {radius:g}; must lie in [{low:g}, {high:g}] metres")
        for number, capsule in enumerate(self.capsules):
            _check_capsule(capsule, f"capsules[{number}]", on_sphere=radius is not None)
        self._check_distinct()

    def _check_distinct(self) -> None:
        places, looks = self.positions_m, self.looks
        for i, j in itertools.combinations(range(self.n_channels), 2):
            first, second = self.capsules[i], self.capsules[j]
            if first.name == second.name:
                raise ValueError(f"capsules[{j}].name = {second.name!r}, as capsules[{i}] has it")
            alike = first.omni_share == second.omni_share and (
                first.omni_share == 1.0 or float(looks[i] @ looks[j]) > 1 - 1e-9
            )
            if alike and math.dist(places[i], places[j]) < SAME_PLACE_M:
                raise ValueError(
                    f"capsules[{j}] ({second.name}) would hear the same as capsules[{i}] "
                    f"({first.name}): same place, same pattern; leave one out"
                )

    @property
    def kind(self) -> Kind:
        """Whether the capsules are in a hard sphere or in free air."""
        return "open" if self.sphere_radius_m is None else "rigid"

    @property
    def radius_m(self) -> float:
        """Of the rigid sphere, or of the smallest one about the centre that holds all capsules."""
        if self.sphere_radius_m is not None:
            return self.sphere_radius_m
        return float(np.max(np.linalg.norm(self.positions_m, axis=1)))

    @property
    def n_channels(self) -> int:
        """Number of capsules."""
        return len(self.capsules)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the capsules, in order."""
        return tuple(capsule.name for capsule in self.capsules)

    @property
    def looks(self) -> NDArray[np.float64]:
        """Unit vectors of where the capsules look. Shape: [channels, 3]."""
        return np.array([_direction(c.azimuth_deg, c.elevation_deg) for c in self.capsules])

    @property
    def positions_m(self) -> NDArray[np.float64]:
        """Places of the capsules from the centre. Shape: [channels, 3]."""
        if self.sphere_radius_m is not None:
            return self.sphere_radius_m * self.looks
        return np.array([capsule.position_m for capsule in self.capsules], dtype=np.float64)

    @property
    def omni_shares(self) -> NDArray[np.float64]:
        """a of each capsule's pattern a + (1 - a) cos. Shape: [channels]."""
        return np.array([capsule.omni_share for capsule in self.capsules])

    @property
    def digest(self) -> str:
        """Hash of all that decides the audio: not of names, nor of where an omni looks."""
        plain = []
        for capsule in self.capsules:
            place, share = capsule.position_m, float(capsule.omni_share)
            turned = place is None or share != 1.0
            look = [float(capsule.azimuth_deg), float(capsule.elevation_deg)] if turned else None
            plain.append((look, place and [float(axis) for axis in place], share))
        radius = None if self.sphere_radius_m is None else float(self.sphere_radius_m)
        text = json.dumps([radius, plain], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def load_array(name_or_path: str | Path) -> MicArray:
    """Read an array by the name of one that comes along ("mic"), or from a YAML file.

    Args:
        name_or_path: a name, or a path that ends in .yaml or .yml. The array is called as its file.

    Raises:
        ConfigError: no such array, or a wrong one; names file, field and value.
    """
    path = _find(str(name_or_path))
    plain = read_yaml(path)
    try:
        return _parse(path.stem, plain)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def list_arrays() -> dict[str, str]:
    """Names of the arrays that come along, and what each is in one line."""
    paths = sorted((data_root() / ARRAY_FOLDER).glob("*.yaml"))
    return {path.stem: load_array(path).description for path in paths}


def _find(text: str) -> Path:
    if text.endswith((".yaml", ".yml")):
        return Path(text)
    folder = data_root() / ARRAY_FOLDER
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if text not in known:
        raise ConfigError(
            f"no microphone array {text!r}{did_you_mean(text, known)}; known: {', '.join(known)}; "
            f"a file is given by its path with .yaml"
        )
    return folder / f"{text}.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class _RigidCapsule:
    azimuth_deg: float
    elevation_deg: float
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenCapsule:
    position_m: Vector
    pattern: Pattern | float = "omni"
    azimuth_deg: float | None = None
    elevation_deg: float = 0.0
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _RigidFile:
    kind: Literal["rigid"]
    radius_m: float
    capsules: tuple[_RigidCapsule, ...]
    description: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenFile:
    kind: Literal["open"]
    capsules: tuple[_OpenCapsule, ...]
    description: str = ""
    source: str = ""


def _parse(name: str, plain: Any) -> MicArray:
    if not isinstance(plain, dict):
        raise ConfigError("holds no mapping, so it describes no microphone array")
    if plain.get("kind") == "open":
        is_open = from_plain(_OpenFile, plain)
        return MicArray(
            name=name,
            capsules=tuple(_open_capsule(c, n) for n, c in enumerate(is_open.capsules)),
            description=is_open.description,
        )
    if plain.get("kind") != "rigid":
        raise ConfigError(f"kind: got {plain.get('kind')!r}, must be one of rigid, open")
    rigid = from_plain(_RigidFile, plain)
    return MicArray(
        name=name,
        capsules=tuple(
            Capsule(name=_name(c.name, n), azimuth_deg=c.azimuth_deg, elevation_deg=c.elevation_deg)
            for n, c in enumerate(rigid.capsules)
        ),
        sphere_radius_m=rigid.radius_m,
        description=rigid.description,
    )


def _open_capsule(capsule: _OpenCapsule, number: int) -> Capsule:
    pattern = capsule.pattern
    share = OMNI_SHARE[pattern] if isinstance(pattern, str) else pattern
    if share != 1.0 and capsule.azimuth_deg is None:
        raise ConfigError(
            f"capsules[{number}].azimuth_deg: missing; pattern {pattern} has to look somewhere"
        )
    return Capsule(
        name=_name(capsule.name, number),
        azimuth_deg=capsule.azimuth_deg or 0.0,
        elevation_deg=capsule.elevation_deg,
        position_m=capsule.position_m,
        omni_share=share,
    )


def _name(given: str | None, number: int) -> str:
    return f"M{number + 1}" if given is None else given


def _check_capsule(capsule: Capsule, where: str, *, on_sphere: bool) -> None:
    if not capsule.name.strip():
        raise ValueError(f"{where}.name = {capsule.name!r}; must not be empty")
    if not -360 <= capsule.azimuth_deg <= 360:
        raise ValueError(f"{where}.azimuth_deg = {capsule.azimuth_deg:g}; must lie in [-360, 360]")
    if not -90 <= capsule.elevation_deg <= 90:
        raise ValueError(
            f"{where}.elevation_deg = {capsule.elevation_deg:g}; must lie in [-90, 90]"
        )
    if not 0 <= capsule.omni_share <= 1:
        raise ValueError(
            f"{where}.pattern = {capsule.omni_share:g}; a of a + (1 - a) cos must lie in [0, 1]"
        )
    if on_sphere != (capsule.position_m is None):
        raise ValueError(f"{where}.position_m is for open arrays, and they need it")
    if on_sphere and capsule.omni_share != 1:
        raise ValueError(f"{where}.pattern: capsules in a rigid sphere measure pressure (omni)")
    if capsule.position_m and not math.hypot(*capsule.position_m) <= MAX_OFFSET_M:
        raise ValueError(
            f"{where}.position_m = {list(capsule.position_m)}; must lie within {MAX_OFFSET_M:g} m "
            f"of the centre (are these centimetres?)"
        )


def _direction(azimuth_deg: float, elevation_deg: float) -> Vector:
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    return (flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation))
