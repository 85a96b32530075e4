"""Compiled parts of the interpolation of heads. Every direction is computed by itself."""

from __future__ import annotations

import math

import numpy as np

from scenesynth.jit import kernel

_BLOCK = 32


@kernel
def locate(directions, inverse, neighbours, triangle, weights):  # type: ignore[no-untyped-def]
    """Find each direction's triangle, and its barycentric weights there.

    Walks from triangle 0 over the edge that the direction lies beyond the most. On a convex hull
    around the origin every such step raises n . u / d, with n and d a triangle's normal and
    distance from the origin, so that the walk ends.
    """
    for n in range(len(directions)):
        x, y, z = directions[n, 0], directions[n, 1], directions[n, 2]
        at = 0
        for _ in range(len(inverse)):
            lowest = 0.0
            beyond = -1
            for k in range(3):
                w = x * inverse[at, 0, k] + y * inverse[at, 1, k] + z * inverse[at, 2, k]
                weights[n, k] = w
                if w < lowest:
                    lowest = w
                    beyond = k
            if lowest >= -1e-12:
                break
            at = neighbours[at, beyond]
        triangle[n] = at
        total = 0.0
        for k in range(3):
            weights[n, k] = max(weights[n, k], 0.0)
            total += weights[n, k]
        for k in range(3):
            weights[n, k] /= total


@kernel
def combine(table, rows, weights, delay_s, bin_hz, out):  # type: ignore[no-untyped-def]
    """out[n, e] = sum_k weights[n, e, k] table[rows[n, e, k]], delayed by delay_s[n, e].

    The delay's phase factors are products of two short tables, which costs no rounding that counts
    and lets the loop over frequencies run free.
    """
    n_bins = table.shape[1]
    fine = np.empty((_BLOCK, 2))
    for n in range(len(rows)):
        for e in range(2):
            a, b, c = rows[n, e, 0], rows[n, e, 1], rows[n, e, 2]
            wa, wb, wc = weights[n, e, 0], weights[n, e, 1], weights[n, e, 2]
            step = -2.0 * math.pi * bin_hz * delay_s[n, e]
            for j in range(_BLOCK):
                fine[j, 0] = math.cos(step * j)
                fine[j, 1] = math.sin(step * j)
            for first in range(0, n_bins, _BLOCK):
                cosine = math.cos(step * first)
                sine = math.sin(step * first)
                for j in range(min(_BLOCK, n_bins - first)):
                    k = first + j
                    real = wa * table[a, k, 0] + wb * table[b, k, 0] + wc * table[c, k, 0]
                    imag = wa * table[a, k, 1] + wb * table[b, k, 1] + wc * table[c, k, 1]
                    turn_real = cosine * fine[j, 0] - sine * fine[j, 1]
                    turn_imag = cosine * fine[j, 1] + sine * fine[j, 0]
                    out[n, e, k, 0] = real * turn_real - imag * turn_imag
                    out[n, e, k, 1] = real * turn_imag + imag * turn_real
