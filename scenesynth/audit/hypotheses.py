"""What labels, or the order and signs of channels, may have been mistaken for.

A fault of channels or of labels is no noise: swapped ears mirror every direction, X in the place of
Y exchanges front and left, and so on. Each such *hypothesis* is a matrix that takes labels to what
is heard of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scenesynth.localization.reach import reach_of
from scenesynth.spatial.arrays import MicArray
from scenesynth.spatial.formats import Format

ABOUT: Final = 0.02
"""How far an array may be off the symmetry by which an exchange of microphones is a turn, as a
share of its size: elevations of tetrahedra are rounded to 35 degrees."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Hypothesis:
    """What may be wrong: labels `turn` into what is heard.

    Attributes:
        name: in plain words; "" for as labelled.
        turn: Shape: [3, 3].
        simple: whether it is a likely slip, and one scene may be accused of it.
    """

    name: str
    turn: Array
    simple: bool = True


_MIRRORED: Final = Hypothesis(name="left and right are swapped", turn=np.diag([1.0, -1.0, 1.0]))

_LABELS: Final = (
    _MIRRORED,
    Hypothesis(name="front and back are swapped", turn=np.diag([-1.0, 1.0, 1.0])),
    Hypothesis(name="up and down are swapped", turn=np.diag([1.0, 1.0, -1.0])),
    Hypothesis(name="directions are turned by 180 degrees", turn=np.diag([-1.0, -1.0, 1.0])),
    Hypothesis(name="all directions are opposite", turn=-np.eye(3), simple=False),
    Hypothesis(
        name="front and left are swapped", turn=np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    ),
    Hypothesis(
        name="azimuths are 90 degrees too small",
        turn=np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    ),
    Hypothesis(
        name="azimuths are 90 degrees too large",
        turn=np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    ),
)
"""Mistakes that labels, or the order and sign of channels, can have in any format."""

_AMBISONIC_NAMES: Final[Mapping[tuple[int, ...], str]] = {
    (0, 2, 1): "channels Y and Z are swapped",
    (2, 1, 0): "channels Z and X are swapped",
    (1, 0, 2): "channels X and Y are swapped",
    (2, 0, 1): "channels are in the order W, X, Y, Z",
}
"""By the axis (0 front, 1 left, 2 up) that is heard in the place of front, left, up."""


@lru_cache(maxsize=16)
def hypotheses(item: Format) -> tuple[Hypothesis, ...]:
    """As labelled, and all that a format's directions may have been mistaken for."""
    true = Hypothesis(name="", turn=np.eye(3))
    reach = reach_of(item)
    if reach == "side":
        return (true, _MIRRORED)
    if item.kind == "ambisonics":
        return (true, *_of_ambisonics())
    found = (true, *_LABELS) if item.array is None else (true, *_LABELS, *_of_array(item.array))
    return tuple(h for h in found if reach == "all" or abs(h.turn[2, 2]) > 1 - 1e-6)


def _of_ambisonics() -> list[Hypothesis]:
    """All orders and signs of the three first-order channels; the likely ones first."""
    labels = [h for h in _LABELS if h.name != "front and left are swapped"]
    known = [np.eye(3), *(h.turn for h in labels)]
    named: list[Hypothesis] = []
    others: list[Hypothesis] = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        turn = np.zeros((3, 3))
        turn[range(3), order] = signs
        if any(np.array_equal(turn, other) for other in known):
            continue
        name = _AMBISONIC_NAMES.get(order, "") if min(signs) > 0 else ""
        into = named if name else others
        into.append(Hypothesis(name=name or _held(turn), turn=turn, simple=bool(name)))
    return [*labels, *named, *others]


def _held(turn: Array) -> str:
    """What each of the channels Y, Z, X holds, such as `channels Y, Z, X hold X, -Y, Z`."""
    letters = "XYZ"
    held = []
    for axis in (1, 2, 0):
        source = int(np.argmax(np.abs(turn[axis])))
        held.append(("-" if turn[axis, source] < 0 else "") + letters[source])
    return f"channels Y, Z, X hold {', '.join(held)}"


def _of_array(array: MicArray) -> list[Hypothesis]:
    """Exchanges of microphones that are turns or mirrors of a small array."""
    places, names = array.positions_m, array.channel_names
    if not 3 <= len(places) <= 5:
        return []
    known = [np.eye(3), *(h.turn for h in _LABELS)]
    found = []
    for order in permutations(range(len(places))):
        # Channel c holds what microphone order[c] hears: a wave from u is heard as one from turn u.
        turn = _turn_between(places[list(order)], places)
        if turn is None or any(np.allclose(turn, other, atol=ABOUT) for other in known):
            continue
        known.append(turn)
        moved = [n for n, m in enumerate(order) if n != m]
        name = (
            f"channels {' and '.join(names[n] for n in moved)} are swapped"
            if len(moved) == 2
            else f"channels {', '.join(names)} hold {', '.join(names[m] for m in order)}"
        )
        found.append(Hypothesis(name=name, turn=turn, simple=len(moved) == 2))
    return found


def _turn_between(one: Array, other: Array) -> Array | None:
    """The orthogonal matrix that takes places to others, if one does about. Shapes: [n, 3]."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    left, _, right = np.linalg.svd(other.T @ one)
    turn = left @ right
    if np.abs(one @ turn.T - other).max() > ABOUT * np.abs(other).max():
        return None
    return np.asarray(turn)
