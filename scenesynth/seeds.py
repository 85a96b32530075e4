"""The one door to random numbers.

`rng(seed, split, stream, index, slot, attempt)` gives a generator that depends on those six values
and on nothing else, so a scene is the same in any shard, order or worker, and a new named stream
never shifts another. Streams and splits are named; their ids are the SHA-256 of the name.

NumPy promises its bit streams but not its distributions, so the few distributions needed here
are made from raw 64-bit words.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

_TO_UNIT = 2.0**-53


@lru_cache(maxsize=1024)
def name_id(name: str) -> int:
    """64-bit id of a name: the first eight bytes of its SHA-256, big endian."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


class Rng:
    """Random draws from the raw 64-bit words of a PCG64 bit stream."""

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        self._bits = np.random.PCG64(sequence)

    def word(self) -> int:
        """A uniform 64-bit word."""
        return int(self._bits.random_raw())

    def unit(self) -> float:
        """Uniform on [0, 1) with 53 bits."""
        return (self.word() >> 11) * _TO_UNIT

    def uniform(self, low: float, high: float) -> float:
        """Uniform on [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """Uniform whole number in [low, high], without modulo bias worth naming (< 2**-53)."""
        return low + min(int(self.unit() * (high - low + 1)), high - low)

    def normal(self, mean: float = 0.0, std: float = 1.0) -> float:
        """Gaussian by Box and Muller (1958)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.unit()))
        return mean + std * radius * math.cos(2.0 * math.pi * self.unit())

    def choice(self, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of `items`, equally likely or by non-negative `weights`."""
        if weights is None:
            return items[self.integer(0, len(items) - 1)]
        at = self.unit() * math.fsum(weights)
        for item, weight in zip(items, weights, strict=True):
            at -= weight
            if at < 0:
                return item
        return items[-1]

    def units(self, n: int) -> NDArray[np.float64]:
        """`n` uniform numbers on [0, 1). Shape: [n]."""
        return (self._bits.random_raw(n) >> np.uint64(11)).astype(np.float64) * _TO_UNIT

    def normals(self, n: int) -> NDArray[np.float64]:
        """`n` standard Gaussian numbers (Box-Muller). Shape: [n]."""
        half = (n + 1) // 2
        u = self.units(2 * half)
        radius = np.sqrt(-2.0 * np.log1p(-u[:half]))
        angle = 2.0 * np.pi * u[half:]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]


def sequence(
    seed: int, split: str, stream: str, index: int = 0, slot: int = 0, attempt: int = 0
) -> np.random.SeedSequence:
    """`SeedSequence(seed, spawn_key=(split, stream, index, slot, attempt))`, in half the time.

    A scene opens some twenty streams, and most of the cost of a `SeedSequence` is NumPy's turning
    of whole numbers into 32-bit words; it accepts the words ready made (a test holds the two
    equal). The seed is padded to the pool's four words, as NumPy does before a spawn key.
    """
    run = _words(seed)
    key = _name_words(split) + _name_words(stream) + _words(index) + _words(slot) + _words(attempt)
    return np.random.SeedSequence(np.array(run + (0,) * (4 - len(run)) + key, dtype=np.uint32))


def _words(value: int) -> tuple[int, ...]:
    """Little-endian 32-bit words of a whole number; (0,) for 0."""
    if value < 0:
        raise ValueError(f"got {value}; seeds, indexes, slots and attempts may not be negative")
    words = []
    while True:
        words.append(value & 0xFFFFFFFF)
        value >>= 32
        if not value:
            return tuple(words)


@lru_cache(maxsize=1024)
def _name_words(name: str) -> tuple[int, ...]:
    return _words(name_id(name))


def rng(seed: int, split: str, stream: str, index: int = 0, slot: int = 0, attempt: int = 0) -> Rng:
    """Generator of one named stream of one scene (or room, or clip).

    Args:
        seed: root seed of the dataset, >= 0.
        split: name of the split ("" where none applies).
        stream: name of what is drawn ("placement", "clips", ...).
        index: scene, room or clip number.
        slot: emitter or other sub-number inside the scene.
        attempt: 0, or the number of times that the scene was drawn again.
    """
    return Rng(sequence(seed, split, stream, index, slot, attempt))
