"""Wall materials: octave-band absorption from published tables (`room_specs/materials.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import yaml

from scenesynth.data import data_root
from scenesynth.errors import ConfigError
from scenesynth.records import did_you_mean
from scenesynth.room.model import OCTAVE_BANDS_HZ, WALLS

FILE = "room_specs/materials.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A surface.

    Attributes:
        coefficients: energy absorption in the bands `OCTAVE_BANDS_HZ`.
        what: the construction that was measured.
        source: the published table, and whether the 8 kHz value is an extension of it.
    """

    name: str
    coefficients: tuple[float, ...]
    what: str
    source: str


@cache
def load_materials() -> Mapping[str, Material]:
    """All materials by name.

    Raises:
        ConfigError: a wrong entry in the file, named by its path.
    """
    data = yaml.safe_load((data_root() / FILE).read_text(encoding="utf-8"))
    sources = data["sources"]
    return MappingProxyType(
        {name: _parse(name, entry, sources) for name, entry in data["materials"].items()}
    )


def _parse(name: str, entry: Mapping[str, Any], sources: Mapping[str, str]) -> Material:
    where = f"{FILE}: materials.{name}"
    if unknown := set(entry) - {"absorption", "source", "what", "extended"}:
        raise ConfigError(f"{where}: unknown key {', '.join(sorted(unknown))}")
    coefficients = tuple(float(value) for value in entry["absorption"])
    if len(coefficients) != len(OCTAVE_BANDS_HZ):
        raise ConfigError(
            f"{where}.absorption has {len(coefficients)} values; must have "
            f"{len(OCTAVE_BANDS_HZ)}, one per octave band 125 to 8000 Hz"
        )
    for value in coefficients:
        if not 0 <= value < 1:
            raise ConfigError(f"{where}.absorption = {value}; must lie in [0, 1)")
    source = sources[entry["source"]]
    if entry.get("extended", False):
        source += "; 8 kHz extended: the 4 kHz value repeated"
    return Material(name=name, coefficients=coefficients, what=entry["what"], source=source)


def material_absorption(
    names: Sequence[str], surfaces: Sequence[str] = WALLS
) -> tuple[tuple[float, ...], ...]:
    """Absorption of surfaces by material names; of the walls of a box by default.

    Returns:
        Absorption [surfaces][7 bands].

    Raises:
        ConfigError: an unknown name, or not one for each surface.
    """
    if len(names) != len(surfaces):
        raise ConfigError(
            f"{len(names)} materials; must be {len(surfaces)}, for the walls {', '.join(surfaces)}"
        )
    known = load_materials()
    for surface, name in zip(surfaces, names, strict=True):
        if name not in known:
            raise ConfigError(
                f"material {name!r} of wall {surface} is not known{did_you_mean(name, known)}; "
                f"materials: {', '.join(sorted(known))}"
            )
    return tuple(known[name].coefficients for name in names)
