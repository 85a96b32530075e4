"""The decay of a shoebox in numbers: T60 of given walls, and walls of a given T60.

The decay curve is a mean of exponentials over directions. It is solved for -5 and -35 dB by
Newton's method, and its regression slope between them is integrated with Gauss-Legendre nodes:
some 16000 exponentials per room, made here by arithmetic alone, so that they are vectorised.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scenesynth.jit import kernel

MAX_ABSORPTION = 0.99
"""The inversion goes no further: beyond it lies hardly a wall."""

FULL_ABSORPTION = 0.9999
"""Stands for 1 in the logarithm, so that an anechoic wall has a large but finite decay rate."""

TOP_DB, BOTTOM_DB = -5.0, -35.0
_NODES = 12
_FIT_NODES = 8

_SMALLEST = -64.0
_SQUARINGS = 8
_PART = 2.0**-_SQUARINGS
_CENTRE = 0.5 * _SMALLEST * _PART
_AT_CENTRE = math.exp(_CENTRE)

Grids = tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]
]  # fmt: skip


@lru_cache(maxsize=1)
def grids() -> Grids:
    """What the kernels average and integrate over.

    Returns:
        Directions of one octant (Gauss-Legendre in z and azimuth) and their weights, which sum
        to 1; nodes on [-1, 1] and weights of the regression's integral.
        Shapes: [3, n], [n], [m], [m].
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes, weights = (nodes + 1) / 2, weights / 2
    z, azimuth = np.meshgrid(nodes, nodes * np.pi / 2, indexing="ij")
    flat = np.sqrt(1 - z**2)
    u = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), z]).reshape(3, -1)
    fit_nodes, fit_weights = np.polynomial.legendre.leggauss(_FIT_NODES)
    return u, np.outer(weights, weights).ravel(), fit_nodes, fit_weights


@kernel
def predict(size, walls, air, speed, grids, t60):  # type: ignore[no-untyped-def]
    """Write the T60 of every band to `t60`.

    Args:
        size: metres. Shape: [3].
        walls: absorption. Shape: [6, bands].
        air: energy attenuation per metre. Shape: [bands].
        speed: of sound, m/s.
        grids: see `grids`.
    """
    directions, weights, nodes, node_weights = grids
    n = len(weights)
    rates, share, part = np.empty(n), np.empty(n), np.empty(n)
    for band in range(len(t60)):
        _rates(size, walls, air, speed, directions, band, rates)
        total = 0.0
        for d in range(n):
            share[d] = weights[d] / rates[d]
            total += share[d]
        for d in range(n):
            share[d] /= total
        t60[band] = _t30(share, rates, nodes, node_weights, part)


@kernel
def _rates(size, walls, air, speed, directions, band, rates):  # type: ignore[no-untyped-def]
    """Write the decay rate of every direction, in 1/s."""
    loss = np.empty(3)
    for axis in range(3):
        loss[axis] = 0.0
        for wall in range(2 * axis, 2 * axis + 2):
            loss[axis] -= 0.5 * math.log1p(-min(walls[wall, band], FULL_ABSORPTION))
        loss[axis] /= size[axis]
    for d in range(len(rates)):
        per_metre = (
            directions[0, d] * loss[0] + directions[1, d] * loss[1] + directions[2, d] * loss[2]
        )
        rates[d] = speed * (per_metre + air[band])


@kernel
def late_moments(  # type: ignore[no-untyped-def]
    size, walls, air, speed, grids, times, products, power, moments
):
    """Write (4 pi c / V) < product * power * kept energy > for every product of harmonics.

    Args:
        times: seconds. Shape: [times].
        products: at the directions of `grids`. Shape: [pairs, n].
        power: Shape: [bands, n].
        moments: Shape: [bands, pairs, times].
    """
    directions, weights, _, _ = grids
    n, n_times = len(weights), len(times)
    whole = np.empty((3, n, n_times), dtype=np.uint32)
    part = np.empty((3, n, n_times))
    longest = 0.0
    for k in range(n_times):
        longest = max(longest, speed * times[k])
    for axis in range(3):
        for d in range(n):
            for k in range(n_times):
                lengths = speed * times[k] * directions[axis, d] / size[axis]
                image = int(lengths)
                whole[axis, d, k] = image
                part[axis, d, k] = lengths - image
    kept = np.empty((3, 2, int(longest / size.min()) + 3))
    decayed, damped = np.empty((n, n_times)), np.empty(n_times)
    density = 4.0 * math.pi * speed / (size[0] * size[1] * size[2])
    for band in range(len(moments)):
        for axis in range(3):
            _keep(walls[2 * axis, band], walls[2 * axis + 1, band], kept[axis])
        for k in range(n_times):
            damped[k] = density * math.exp(-speed * air[band] * times[k])
        for d in range(n):
            row, share = decayed[d], weights[d] * power[band, d]
            for k in range(n_times):
                row[k] = share * damped[k]
            for axis in range(3):
                _lose(kept[axis], whole[axis, d], part[axis, d], row)
        for pair in range(len(products)):
            sums = moments[band, pair]
            sums[:] = 0.0
            for d in range(n):
                row, product = decayed[d], products[pair, d]
                for k in range(n_times):
                    sums[k] += product * row[k]


@kernel
def _lose(kept, whole, part, row):  # type: ignore[no-untyped-def]
    """Multiply a row over time by what the walls of one axis leave of it."""
    for k in range(len(row)):
        image = whole[k]
        row[k] *= kept[0, image] + part[k] * kept[1, image]


@kernel
def _keep(first, second, kept):  # type: ignore[no-untyped-def]
    """Write what the images of an axis keep of the energy, and by how much the next has more.

    The mean of the images on either side: image 2 k has met each wall k times, image 2 k + 1 one
    of them once more. What is less than 1e-60 is nothing. Shape: [2, images].
    """
    both = (1.0 - first) * (1.0 - second)
    energy, step = kept
    energy[0] = 1.0
    energy[1] = 1.0 - 0.5 * (first + second)
    for image in range(2, len(energy)):
        value = energy[image - 2] * both
        energy[image] = value if value > 1e-60 else 0.0
    for image in range(len(energy) - 1):
        step[image] = energy[image + 1] - energy[image]
    step[-1] = 0.0


@kernel
def solve(size, weights, air, speed, grids, target, bracket, scale):  # type: ignore[no-untyped-def]
    """Write the scales of absorption to `scale` whose predicted T60 is `target`.

    False position in log scale and log T60, where the curve is nearly straight; every third step
    halves the bracket instead, so that it cannot creep.

    Args:
        weights: relative absorption of the walls. Shape: [6].
        target: T60 in seconds. Shape: [bands].
        bracket: scale and its T60 on the long side, then on the short side; narrowed in place.
            Shape: [4, bands].
    """
    walls = np.empty((len(weights), len(target)))
    t60 = np.empty(len(target))
    x0, y0, x1, y1 = np.log(bracket)
    y0 -= np.log(target)
    y1 -= np.log(target)
    for step in range(40):
        for band in range(len(target)):
            if step % 3 == 2:
                x = 0.5 * (x0[band] + x1[band])
            else:
                slope = (x1[band] - x0[band]) / max(y0[band] - y1[band], 1e-300)
                x = x0[band] + slope * y0[band]
            scale[band] = math.exp(x)
            for wall in range(len(weights)):
                walls[wall, band] = min(weights[wall] * scale[band], MAX_ABSORPTION)
        predict(size, walls, air, speed, grids, t60)
        worst = 0.0
        for band in range(len(target)):
            x = math.log(scale[band])
            y = math.log(t60[band] / target[band])
            worst = max(worst, abs(y))
            if y > 0.0:
                x0[band], y0[band] = x, y
            else:
                x1[band], y1[band] = x, y
        if worst < 1e-7:
            break


@kernel
def _t30(share, rates, nodes, node_weights, part):  # type: ignore[no-untyped-def]
    """T60 by regression between -5 and -35 dB of the decay sum of share * exp(-rates * t)."""
    first = _time_of(share, rates, TOP_DB, 0.0, part)
    last = _time_of(share, rates, BOTTOM_DB, first, part)
    integral = 0.0
    for k in range(len(nodes)):
        total, _ = _decayed(share, rates, 0.5 * (first + last + (last - first) * nodes[k]), part)
        integral += nodes[k] * node_weights[k] * 10.0 * math.log10(total)
    # Least squares over a span s: slope = 12 / s^3 times the integral of (t - centre) L(t).
    return -60.0 / (3.0 / (last - first) * integral)


@kernel
def _time_of(share, rates, level_db, start, part):  # type: ignore[no-untyped-def]
    """Time at which the decay has fallen to `level_db`, which it has not at `start`.

    The log of a mean of exponentials is convex and falls, so Newton never overshoots; the step
    after one of 1e-6 would be one of 1e-12.
    """
    target = level_db * math.log(10.0) / 10.0
    t = start
    for _ in range(20):
        total, falling = _decayed(share, rates, t, part)
        step = (math.log(total) - target) * total / falling
        t += step
        if abs(step) < 1e-6 * t:
            break
    return t


@kernel
def _decayed(share, rates, t, part):  # type: ignore[no-untyped-def]
    """The decay at time t, and how fast it falls; `part` is room to work in."""
    for d in range(len(rates)):
        part[d] = share[d] * _exp(-rates[d] * t)
    total = 0.0
    falling = 0.0
    for d in range(len(rates)):
        total += part[d]
        falling += part[d] * rates[d]
    return total, falling


@kernel
def _exp(x):  # type: ignore[no-untyped-def]
    """exp(x) for x <= 0 by arithmetic alone, so that loops over it are vectorised.

    The 256th power of exp(x / 256), whose series about the middle of the range ends after ten
    terms; exp(-64) stands for what is smaller. Exact to 1e-13 and free of branches.
    """
    y = (x if x > _SMALLEST else _SMALLEST) * _PART - _CENTRE
    y2 = y * y
    y4 = y2 * y2
    low = (1.0 + y) + y2 * (1.0 / 2.0 + y * (1.0 / 6.0))
    middle = (1.0 / 24.0 + y * (1.0 / 120.0)) + y2 * (1.0 / 720.0 + y * (1.0 / 5040.0))
    high = 1.0 / 40320.0 + y * (1.0 / 362880.0)
    e = _AT_CENTRE * (low + y4 * (middle + y4 * high))
    for _ in range(_SQUARINGS):
        e *= e
    return e
