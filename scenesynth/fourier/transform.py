"""Complex Fourier transforms of eight signals at a time, or of sixteen real ones.

A transform of n = n1 n2 rows is n2 transforms over n1 (the columns of a matrix), a twiddle factor,
and n1 transforms over n2 (its rows), each so short that it stays in the first-level cache, so that
the data passes through memory twice whatever its length (Bailey 1990). The short ones are Stockham
passes of radix 2, 3, 4, 5 and 8. Frequencies stay where they fall: row k1 n2 + k2 of a spectrum
holds frequency k1 + n1 k2. Products of spectra do not mind, and the inverse undoes it.

`scipy.fft` transforms a float32 row with vectors of four lanes and goes through memory once per
factor of n; this takes a half to a third of its time at the lengths of responses and scenes.

In memory there is an unused row after every n2: columns whose rows lie a power of two apart would
all fall into the same few places of the caches. Item k1 n2 + k2 is row k1 (n2 + 1) + k2.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scenesynth.fourier.butterflies import (
    ALL,
    INNER,
    LANES,
    PLAIN,
    ROW,
    passing,
    prefetch,
)
from scenesynth.jit import kernel

SHORTEST, LONGEST = 16, 1536
"""Range of n1 and n2."""

AHEAD = 2
"""How many columns ahead the cache lines of a transform are asked for."""

_LINE = 64 // 4


class Transform(NamedTuple):
    """Lengths and tables of a transform.

    Attributes:
        n1, n2: its length is n1 n2.
        radices1, radices2: of the short transforms.
        inner1, inner2: their twiddle factors, pair by pair.
        forward, inverse: twiddle factors exp(-2 pi i k1 j2 / n) between the two passes, in the
            order [j2, k1] and [k1, j2].
    """

    n1: int
    n2: int
    radices1: NDArray[np.int64]
    radices2: NDArray[np.int64]
    inner1: NDArray[np.float32]
    inner2: NDArray[np.float32]
    forward: NDArray[np.float32]
    inverse: NDArray[np.float32]

    @property
    def n(self) -> int:
        """Length."""
        return self.n1 * self.n2

    @property
    def n_rows(self) -> int:
        """Rows in memory."""
        return self.n1 * (self.n2 + 1)


def good_length(least: int) -> int:
    """The length from `least` on whose transform is cheapest."""
    lengths = _lengths()
    at = bisect_left(lengths, least, key=lambda item: item.n)
    if at == len(lengths):
        raise ValueError(f"a transform of {least} is too long; at most {lengths[-1].n}")
    near = [item for item in lengths[at : at + 64] if item.n <= 1.25 * lengths[at].n]
    return min(near, key=lambda item: item.cost).n


def transform_cost(n: int) -> float:
    """What a transform of a good length costs, in nanoseconds or so."""
    return _length(n).cost


class _Length(NamedTuple):
    n: int
    cost: float
    n1: int


# Nanoseconds per row, in proportion: measured on lengths of 3,000 to 65,000.
_PASS_COST = {2: 2.0, 3: 2.7, 4: 2.9, 5: 4.2, 8: 4.6}
_MEMORY_COST = 8.0


@cache
def _lengths() -> list[_Length]:
    """The transforms that there are, by length; of each length the cheapest.

    n2 is a multiple of LANES, so that rows can be turned into columns by whole vectors.
    """
    factors = {n: found for n in range(SHORTEST, LONGEST + 1) if (found := _radices(n))}
    passes = {n: sum(_PASS_COST[radix] for radix in found) for n, found in factors.items()}
    best: dict[int, _Length] = {}
    for n1 in factors:
        for n2 in factors:
            if n2 % LANES == 0 and n1 <= 2 * n2 <= 4 * n1:
                n = n1 * n2
                length = _Length(n, n * (_MEMORY_COST + passes[n1] + passes[n2]), n1)
                if n not in best or length.cost < best[n].cost:
                    best[n] = length
    return sorted(best.values())


def _length(n: int) -> _Length:
    lengths = _lengths()
    at = bisect_left(lengths, n, key=lambda item: item.n)
    if at == len(lengths) or lengths[at].n != n:
        raise ValueError(f"there is no transform of length {n}; `good_length` gives lengths")
    return lengths[at]


def _radices(n: int) -> tuple[int, ...]:
    """Radices of a short transform, two or more; empty where n has another prime factor."""
    found = []
    for radix in (5, 3):
        while n % radix == 0:
            found.append(radix)
            n //= radix
    while n % 8 == 0 and n != 16:
        found.append(8)
        n //= 8
    while n % 4 == 0:
        found.append(4)
        n //= 4
    if n == 2:
        found.append(2)
        n = 1
    return tuple(found) if n == 1 and len(found) > 1 else ()


@lru_cache(maxsize=128)
def transform(n: int) -> Transform:
    """Tables for one of the lengths that `good_length` gives."""
    n1 = _length(n).n1
    n2 = n // n1
    turns = np.arange(n1)[:, None] * np.arange(n2) / n
    return Transform(
        n1=n1,
        n2=n2,
        radices1=np.array(_radices(n1)),
        radices2=np.array(_radices(n2)),
        inner1=_inner(n1),
        inner2=_inner(n2),
        forward=_pairs(turns.T),
        inverse=_pairs(turns),
    )


def _inner(n: int) -> NDArray[np.float32]:
    """Twiddle factors of a short transform: pass by pass, [place, output from 1 on]."""
    tables = []
    for radix in _radices(n):
        places = n // radix
        tables.append(_pairs(np.arange(places)[:, None] * np.arange(1, radix) / n))
        n = places
    return np.concatenate(tables)


def _pairs(turns: NDArray[np.float64]) -> NDArray[np.float32]:
    """Cosines and negative sines of full turns, one pair after the other, flat."""
    angle = 2 * np.pi * turns
    return np.stack([np.cos(angle), -np.sin(angle)], axis=-1).astype(np.float32).ravel()


def empty_rows(*shape: int) -> NDArray[np.float32]:
    """Room for [..., rows], uninitialised, a cache line each. Shape: [..., rows * ROW]."""
    n = int(np.prod(shape)) * ROW
    room = np.empty(n + _LINE, dtype=np.float32)
    first = -(room.ctypes.data // 4) % _LINE
    return room[first : first + n].reshape(*shape[:-1], shape[-1] * ROW)


_plain, _inside, _every = passing(PLAIN), passing(INNER), passing(ALL)


@kernel
def short(n, radices, inner, data, at, row, twiddled, between, between_at, buffers, re):  # type: ignore[no-untyped-def]
    """Transform the `n` rows at data[at], data[at + row]... in place.

    Args:
        twiddled: whether output k is multiplied by the pair at between[between_at + 2 k].
        buffers: room for 2 n rows.
    """
    half = len(buffers) // 2
    stride = 1
    left = n
    factor_at = 0
    last = len(radices) - 1
    for index in range(last + 1):
        radix = radices[index]
        left //= radix
        here = half * ((index + 1) % 2)
        there = half * (index % 2)
        if index == 0:
            _inside(
                radix, left, stride, data, at, row, buffers, there, ROW, inner, factor_at,
                2 * (radix - 1), 0, re,
            )  # fmt: skip
        elif index < last:
            _inside(
                radix, left, stride, buffers, here, ROW, buffers, there, ROW, inner, factor_at,
                2 * (radix - 1), 0, re,
            )  # fmt: skip
        elif twiddled:
            _every(
                radix, left, stride, buffers, here, ROW, data, at, row, between, between_at, 0, 2,
                re,
            )  # fmt: skip
        else:
            _plain(
                radix, left, stride, buffers, here, ROW, data, at, row, between, 0, 0, 0, re
            )  # fmt: skip
        factor_at += 2 * (radix - 1) * left
        stride *= radix


@kernel
def work_space(tables):  # type: ignore[no-untyped-def]
    """Buffers of the short transforms."""
    return np.empty(2 * max(tables.n1, tables.n2) * ROW, dtype=np.float32)


@kernel
def forward(tables, data):  # type: ignore[no-untyped-def]
    """Transform in place; see the module for the order of frequencies. Shape: [n_rows * ROW]."""
    buffers = work_space(tables)
    n1, n2 = tables.n1, tables.n2
    pitch = (n2 + 1) * ROW
    for j in range(n2):
        prefetch(data, (j + AHEAD) * ROW, pitch, n1)
        short(
            n1, tables.radices1, tables.inner1, data, j * ROW, pitch,
            True, tables.forward, 2 * j * n1, buffers, 0,
        )  # fmt: skip
    for k in range(n1):
        short(
            n2, tables.radices2, tables.inner2, data, k * pitch, ROW,
            False, tables.forward, 0, buffers, 0,
        )  # fmt: skip


@kernel
def inverse_row(tables, k, data, buffers):  # type: ignore[no-untyped-def]
    """First half of the inverse for the n2 items from k n2 on."""
    n2 = tables.n2
    short(
        n2, tables.radices2, tables.inner2, data, k * (n2 + 1) * ROW, ROW,
        True, tables.inverse, 2 * k * n2, buffers, LANES,
    )  # fmt: skip


@kernel
def inverse_columns(tables, data, buffers):  # type: ignore[no-untyped-def]
    """Second half of the inverse, once every row has had its first; n times the signal."""
    n1, n2 = tables.n1, tables.n2
    pitch = (n2 + 1) * ROW
    for j in range(n2):
        prefetch(data, (j + AHEAD) * ROW, pitch, n1)
        short(
            n1, tables.radices1, tables.inner1, data, j * ROW, pitch,
            False, tables.inverse, 0, buffers, LANES,
        )  # fmt: skip


@kernel
def inverse(tables, data):  # type: ignore[no-untyped-def]
    """Inverse of `forward` in place, not divided by n. Shape: [n_rows * ROW]."""
    buffers = work_space(tables)
    for k in range(tables.n1):
        inverse_row(tables, k, data, buffers)
    inverse_columns(tables, data, buffers)
