"""Waves that graze a pair of walls: what directions alone do not say about low frequencies.

The energy of a band, averaged over places, is a sum over the box's modes
k = (pi l / Lx, pi m / Ly, pi n / Lz), l, m, n >= 0. The closed form of `decay` takes an integral
over k instead and lets a mode decay at the rate of its direction. Both fail where a mode grazes
walls (l = 0, 1, ...): the sum is no integral there, and the wave fronts of such a mode are wider
than a ray. Its images carry the factor exp(-gamma |x|) across the walls' axis,
gamma = -ln((1 - a_0) (1 - a_1)) / (4 L), and the Fresnel integral of that over the sphere of radius
c t is, to the power of two,

    g_l = |(erfcx(z+) + erfcx(z-)) / 2|^2,   z+- = (p +- i l q) exp(i pi / 4),
    p = gamma s,   q = pi s / L,   s = sqrt(c t / (2 k)),

with erfcx(z) = exp(z^2) erfc(z): a grazing mode (l = 0) falls like 1 / t in the end, far from a
wall (l q large) g_l is the closed form's exp(-4 p q l). Hence the energy of the planes of modes
that graze one axis, relative to the modes per plane, is

    excess = sum_l W_l g_l - 1 / (4 p q)

to be added with pi / (k L) (modes of a plane to modes of the volume, lambda / 2 L) and the decay of
directions in that plane; twice over, with (2 / pi) of the product, for modes along one axis (Weyl).

W_l is the mean of |mode|^2 at the source times that at the listener: 2 cos^2(pi l x / L) at a
place. Averaged over the whole box it is 1; people and talkers keep away from walls and have their
heads near the middle of the height, where the first modes are weak: so grazing modes weigh more.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scenesynth.jit import kernel

PROFILE = 24
"""Modes per axis whose strength at source and listener counts; above it is 1."""

WALL_MARGIN_M = 0.5
"""Sources and listeners keep this far from walls, or a quarter of the length in small rooms."""

EARS_M = (1.1, 1.8)
"""Heights of listeners, seated and standing; at most 40 to 65 % of the height in low rooms."""

_ROWS, _COLUMNS = 64, 61
_LOG_P = (math.log(2e-3), math.log(30.0))
_LAST_Y = 6.0

_FIRST_LOG_P = _LOG_P[0]
_PER_LOG_P = (_ROWS - 1) / (_LOG_P[1] - _LOG_P[0])
_PER_Y = (_COLUMNS - 1) / _LAST_Y


@lru_cache(maxsize=1)
def fresnel_table() -> NDArray[np.float64]:
    """g - exp(-4 p y) over log p (rows) and y = l q (columns); nothing is left beyond y = 6."""
    from scipy.special import wofz  # takes long to import

    p = np.exp(np.linspace(*_LOG_P, _ROWS))[:, None]
    y = np.linspace(0, _LAST_Y, _COLUMNS)
    turn = np.exp(0.25j * np.pi)
    wave = 0.5 * sum(wofz(1j * turn * (p + sign * 1j * y)) for sign in (1, -1))
    return np.ascontiguousarray(np.abs(wave) ** 2 - np.exp(-4 * p * y))


@kernel
def usual_profile(size, profile):  # type: ignore[no-untyped-def]
    """Write W_l - 1, l = 1 .. PROFILE, of each axis for people anywhere. Shape: [3, PROFILE]."""
    for axis in range(3):
        margin = min(WALL_MARGIN_M / size[axis], 0.25)
        low, high = margin, 1.0 - margin
        if axis == 2:
            low, high = min(EARS_M[0] / size[2], 0.4), min(EARS_M[1] / size[2], 0.65)
        for n in range(PROFILE):
            listener = _strength_between(n + 1, low, high)
            profile[axis, n] = listener * _strength_between(n + 1, margin, 1.0 - margin) - 1.0


@kernel
def _strength_between(n, low, high):  # type: ignore[no-untyped-def]
    """Mean of 2 cos^2(pi n x) for x in [low, high]."""
    turn = 2.0 * math.pi * n
    return 1.0 + (math.sin(turn * high) - math.sin(turn * low)) / (turn * (high - low))


@kernel
def excess(p, q, profile, table):  # type: ignore[no-untyped-def]
    """sum_l W_l g_l - 1 / (4 p q); see above.

    The sum of exp(-4 p q l) is a geometric series, so that only what differs from it is summed. The
    profile's last modes are tapered: cut off, they would ring.
    """
    row = (math.log(min(max(p, 2.001e-3), 29.99)) - _FIRST_LOG_P) * _PER_LOG_P
    i = int(row)
    down = row - i
    rate = 4.0 * p * q
    total = 1.0 + table[i, 0] + down * (table[i + 1, 0] - table[i, 0])
    total += 1.0 / math.expm1(rate) - 1.0 / rate if rate > 1e-3 else rate / 12.0 - 0.5
    step = math.exp(-rate)
    smooth = 1.0
    for n in range(1, PROFILE + 1):
        smooth *= step
        weight = profile[n - 1] * (1.0 - (n / (PROFILE + 1.0)) ** 2)
        total += weight * smooth
        column = n * q * _PER_Y
        j = int(column)
        if j < _COLUMNS - 1:
            right = column - j
            above = table[i, j] + right * (table[i, j + 1] - table[i, j])
            below = table[i + 1, j] + right * (table[i + 1, j + 1] - table[i + 1, j])
            total += (1.0 + weight) * (above + down * (below - above))
        elif smooth < 1e-6:
            break
    return total


@kernel
def plane_gains(size, gammas, wavenumber, path, profile, table, gains):  # type: ignore[no-untyped-def]
    """Write what the planes (3) and axes (3) of modes weigh against the volume's 1, after `path`.

    Args:
        gammas: decay of the images' amplitude per metre along each axis. Shape: [3].
        path: c t in metres, above 0.
        gains: planes across x, y, z, then axes along x, y, z. Shape: [6].
    """
    s = math.sqrt(0.5 * path / wavenumber)
    for axis in range(3):
        q = math.pi / size[axis]
        more = excess(gammas[axis] * s, q * s, profile[axis], table)
        gains[axis] = q / wavenumber * more
    for axis in range(3):
        gains[3 + axis] = 2.0 / math.pi * gains[(axis + 1) % 3] * gains[(axis + 2) % 3]
