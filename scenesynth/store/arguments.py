"""Arguments as a trainer gives them, checked before they are counted on.

What comes in as a NumPy scalar goes on as a plain number, so that states are plain data.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import SupportsIndex

import numpy as np

from scenesynth.errors import ConfigError


def whole(name: str, value: object, least: int = 1) -> int:
    """A whole number as a plain int.

    Raises:
        ConfigError: it is none, or less than `least`.
    """
    if not isinstance(value, SupportsIndex) or isinstance(value, bool):
        raise ConfigError(f"{name} = {value!r}; must be a whole number")
    if (number := operator.index(value)) < least:
        raise ConfigError(f"{name} = {number}; must be at least {least}")
    return number


def positive(name: str, value: object) -> float:
    """A finite number above 0 as a plain float.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, float | int | np.floating | np.integer) or isinstance(value, bool):
        raise ConfigError(f"{name} = {value!r}; must be a number")
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} = {value}; must be above 0 and finite")
    return float(value)


def name_list(what: str, given: object) -> tuple[str, ...]:
    """A list of names, each once.

    Raises:
        ConfigError: it is none; a text by itself is not, either.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        hint = f"; for one, [{given!r}]" if isinstance(given, str) else ""
        raise ConfigError(f"{what} = {given!r}; must be a list of names{hint}")
    found = tuple(dict.fromkeys(given))
    for name in found:
        if not isinstance(name, str):
            raise ConfigError(f"{what}: {name!r} is not a name; must be text")
    return found
