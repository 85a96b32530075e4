"""The decay of a shoebox in numbers: T60 of given walls, and walls of a given T60.

The energy of a measured band is a sum over nodes: directions (volume), directions in the three
planes that graze an axis, and the three axes (see `grazing`). At each node a frequency decays at
the rates of the two engine bands that it lies between, in amplitude; averaged over the measuring
filter that leaves five products of neighbouring amplitudes. Times are equidistant, so that a node's
amplitudes are powers of one number. The decay curve is the backward integral, log-linear between
times, and the T60 its regression from -5 to -35 dB.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scenesynth.jit import kernel
from scenesynth.room.grazing import PROFILE, fresnel_table, plane_gains, usual_profile

MAX_ABSORPTION = 0.99
"""The inversion goes no further: beyond it lies hardly a wall."""

FULL_ABSORPTION = 0.9999
"""Stands for 1 in the logarithm, so that an anechoic wall has a large but finite decay rate."""

LATE_NODES = 12
"""Nodes per angle of the late field, which has kinks over directions."""

TOP_DB, BOTTOM_DB = -5.0, -35.0

MIXTURE = (0.0332, 0.0936, 0.6407, 0.1596, 0.0729)
"""What a sixth-order Butterworth octave filter lets through of white noise weighted by the engine's
raised-cosine bands: of the band below squared, twice its product with the own one, of that squared,
twice its product with the band above, of that squared."""

CLOSE = 2e-4
"""The inversion ends when the log of every T60 is met to this, or its scale at a limit."""

_NODES = 10
_STEPS = 24
_SPAN = 0.8
_GAIN_STEPS = 6
_TURNS = 8

_SMALLEST = -64.0
_SQUARINGS = 8
_PART = 2.0**-_SQUARINGS
_CENTRE = 0.5 * _SMALLEST * _PART
_AT_CENTRE = math.exp(_CENTRE)

Nodes = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]
Tables = tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]
]  # fmt: skip


@lru_cache(maxsize=4)
def nodes(per_angle: int) -> Nodes:
    """Directions of one octant, of its three planes and of its three axes.

    Returns:
        Directions, weights that sum to 1 in each group, and where the groups begin and end: the
        volume (Gauss-Legendre in z and azimuth), the planes across x, y, z, the axes x, y, z.
        Shapes: [3, n], [n], [8].
    """
    at, weight = np.polynomial.legendre.leggauss(per_angle)
    at, weight = (at + 1) / 2, weight / 2
    z, azimuth = np.meshgrid(at, at * np.pi / 2, indexing="ij")
    flat = np.sqrt(1 - z**2)
    u = [np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), z]).reshape(3, -1)]
    turning = np.stack([0 * at, np.cos(at * np.pi / 2), np.sin(at * np.pi / 2)])
    u += [np.roll(turning, axis, axis=0) for axis in range(3)]
    u += [np.eye(3)]
    weights = [np.outer(weight, weight).ravel(), weight, weight, weight, np.ones(3)]
    planes = per_angle**2 + per_angle * np.arange(4)
    ends = np.concatenate([[0], planes, planes[-1] + np.arange(1, 4)])
    return np.concatenate(u, axis=1), np.concatenate(weights), ends


@lru_cache(maxsize=1)
def tables() -> Tables:
    """What `predict` and `solve` sum over: `nodes` and the table of `grazing`."""
    return (*nodes(_NODES), fresnel_table())


@lru_cache(maxsize=8)
def mixtures(n_bands: int) -> NDArray[np.float64]:
    """`MIXTURE` of every band; the end bands reach beyond the measuring filter. Shape: [n, 5]."""
    out = np.tile(MIXTURE, (n_bands, 1))
    out[0, 2] += out[0, 0] + out[0, 1]
    out[0, :2] = 0.0
    out[-1, 2] += out[-1, 3] + out[-1, 4]
    out[-1, 3:] = 0.0
    out /= out.sum(axis=1, keepdims=True)
    return out


def alone(n_bands: int) -> NDArray[np.float64]:
    """Mixtures of bands that no filter mixes. Shape: [n, 5]."""
    return np.tile([0.0, 0.0, 1.0, 0.0, 0.0], (n_bands, 1))


@kernel
def predict(size, walls, air, speed, band_hz, mixture, tables, t60):  # type: ignore[no-untyped-def]
    """Write the T60 of every band to `t60`, for people anywhere in the room.

    Args:
        size: metres. Shape: [3].
        walls: absorption. Shape: [6, bands].
        air: energy attenuation per metre. Shape: [bands].
        speed: of sound, m/s.
        mixture: see `mixtures`. Shape: [bands, 5].
        tables: see `tables`.
    """
    gammas = np.empty((3, len(t60)))
    rates = np.empty((len(t60), tables[0].shape[1]))
    profile = np.empty((3, PROFILE))
    usual_profile(size, profile)
    _decay_rates(size, walls, air, speed, tables, gammas, rates)
    for band in range(len(t60)):
        guess = 13.8 / rates[band, : tables[2][1]].mean()
        for _ in range(12):
            t60[band] = _t60(
                size, gammas, rates, speed, band_hz[band], band, mixture, tables, profile, guess
            )
            if abs(math.log(t60[band] / guess)) < 0.01:
                break
            guess = t60[band]


@kernel
def _decay_rates(size, walls, air, speed, tables, gammas, rates):  # type: ignore[no-untyped-def]
    """Write the images' amplitude decay per metre of each axis, and the energy's per s and node."""
    directions = tables[0]
    for band in range(len(rates)):
        for axis in range(3):
            log = 0.0
            for wall in range(2 * axis, 2 * axis + 2):
                log += math.log1p(-min(walls[wall, band], FULL_ABSORPTION))
            gammas[axis, band] = -0.25 * log / size[axis]
        x, y, z = 2.0 * gammas[0, band], 2.0 * gammas[1, band], 2.0 * gammas[2, band]
        for n in range(rates.shape[1]):
            per_metre = directions[0, n] * x + directions[1, n] * y + directions[2, n] * z
            rates[band, n] = speed * (per_metre + air[band])


@kernel
def _t60(  # type: ignore[no-untyped-def]
    size, gammas, rates, speed, freq_hz, band, mixture, tables, profile, guess
):
    """T60 of one measured band, sought on times that reach to `_SPAN` of the `guess`."""
    step = _SPAN * guess / _STEPS
    energy = np.empty(_STEPS + 1)
    gains = np.empty((_GAIN_STEPS + 1, 6))
    wavenumber = 2.0 * math.pi * freq_hz / speed
    for n in range(_GAIN_STEPS + 1):
        root = (n if n > 0 else 0.25) / _GAIN_STEPS
        path = speed * step * _STEPS * root * root
        plane_gains(size, gammas[:, band], wavenumber, path, profile, tables[3], gains[n])
    lower = rates[band - 1] if band > 0 else rates[band]
    upper = rates[band + 1] if band + 1 < len(rates) else rates[band]
    _energy(lower, rates[band], upper, mixture[band], tables, step, gains, energy)
    return _regression(energy, step)


@kernel
def _energy(lower, own, upper, mixture, tables, step, gains, energy):  # type: ignore[no-untyped-def]
    """Write the energy at times 0, step, ... of the nodes' decays, weighted by their groups."""
    _, weights, ends, _ = tables
    n = len(own)
    falls, amplitudes = np.empty(3 * n), np.empty(3 * n)
    for k in range(n):
        falls[k] = -0.5 * step * lower[k]
        falls[n + k] = -0.5 * step * own[k]
        falls[2 * n + k] = -0.5 * step * upper[k]
        amplitudes[k] = amplitudes[n + k] = amplitudes[2 * n + k] = math.sqrt(weights[k])
    for k in range(3 * n):
        falls[k] = _exp(falls[k])
    part, groups = np.empty(n), np.empty(len(ends) - 1)
    m0, m1, m2, m3, m4 = mixture
    alone = m2 == 1.0
    for t in range(len(energy)):
        if alone:
            _square(amplitudes[n : 2 * n], part)
            _multiply(amplitudes[n : 2 * n], falls[n : 2 * n])
        else:
            _mix(
                amplitudes[:n], amplitudes[n : 2 * n], amplitudes[2 * n :], m0, m1, m2, m3, m4, part
            )
            _multiply(amplitudes, falls)
        for group in range(len(groups)):
            groups[group] = _sum(part, ends[group], ends[group + 1])
        at = math.sqrt(t / (len(energy) - 1)) * _GAIN_STEPS
        left = min(int(at), _GAIN_STEPS - 1)
        total = groups[0]
        for group in range(6):
            gain = gains[left, group]
            gain += (at - left) * (gains[left + 1, group] - gain)
            total += gain * groups[1 + group]
        # Where almost all energy grazes, interpolated gains may take away a trace too much.
        energy[t] = max(total, 1e-3 * groups[0], 1e-200)


@kernel
def _mix(lower, own, upper, m0, m1, m2, m3, m4, energy):  # type: ignore[no-untyped-def]
    """Write each node's energy from the amplitudes of three neighbouring bands.

    The mixture comes as five numbers: from an array the loop is three times slower.
    """
    for k in range(len(energy)):
        a, b, c = lower[k], own[k], upper[k]
        energy[k] = m0 * a * a + b * (m1 * a + m2 * b + m3 * c) + m4 * c * c


@kernel
def _square(amplitudes, energy):  # type: ignore[no-untyped-def]
    for k in range(len(energy)):
        energy[k] = amplitudes[k] * amplitudes[k]


@kernel
def _multiply(values, factors):  # type: ignore[no-untyped-def]
    for k in range(len(values)):
        values[k] *= factors[k]


@kernel
def _sum(values, first, last):  # type: ignore[no-untyped-def]
    """Sum of a slice in four strands, which do not wait for each other."""
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    k = first
    while k + 3 < last:
        a += values[k]
        b += values[k + 1]
        c += values[k + 2]
        d += values[k + 3]
        k += 4
    while k < last:
        a += values[k]
        k += 1
    return (a + b) + (c + d)


@kernel
def _regression(energy, step):  # type: ignore[no-untyped-def]
    """T60 by least squares between -5 and -35 dB of the backward integral of `energy`.

    Energy is log-linear between times and falls on for ever as in the last step; so does the level
    where it does not come down to -35 dB.
    """
    last = len(energy) - 1
    level = np.empty(len(energy))
    fall = max(math.log(energy[last - 1] / energy[last]), 1e-6)
    total = energy[last] / fall
    level[last] = total
    for t in range(last - 1, -1, -1):
        fall = math.log(energy[t] / energy[t + 1])
        total += (energy[t] - energy[t + 1]) / fall if abs(fall) > 1e-6 else energy[t]
        level[t] = total
    for t in range(last + 1):
        level[t] = 10.0 * math.log10(level[t] / total)
    first, stop = _crossing(level, TOP_DB), _crossing(level, BOTTOM_DB)
    # Least squares over a span s: slope = 12 / s^3 times the integral of (x - centre) level(x).
    span = stop - first
    integral = 0.0
    left = first
    while left < stop:
        right = min(math.floor(left) + 1.0, stop) if left < last else stop
        integral += _moment(level, left, right, 0.5 * (first + stop))
        left = right
    return -60.0 * step * span * span * span / (12.0 * integral)


@kernel
def _crossing(level, at_db):  # type: ignore[no-untyped-def]
    """Where a falling curve is at `at_db`, in samples; beyond the end along its last step."""
    n = 1
    while n < len(level) - 1 and level[n] > at_db:
        n += 1
    return n - 1 + (at_db - level[n - 1]) / (level[n] - level[n - 1])


@kernel
def _moment(level, left, right, centre):  # type: ignore[no-untyped-def]
    """Integral of (x - centre) level(x) over a stretch on which the curve is straight (Simpson)."""
    n = min(int(left), len(level) - 2)
    slope = level[n + 1] - level[n]
    middle = 0.5 * (left + right)
    ends = (left - centre) * (level[n] + (left - n) * slope)
    ends += (right - centre) * (level[n] + (right - n) * slope)
    between = (middle - centre) * (level[n] + (middle - n) * slope)
    return (right - left) / 6.0 * (ends + 4.0 * between)


@kernel
def solve(  # type: ignore[no-untyped-def]
    size, weights, air, speed, band_hz, mixture, tables, target, limits, scale, slopes, t60
):
    """Find the scales of absorption whose T60 is `target`; start from those in `scale`.

    Newton's method on the logs of both, a tridiagonal system per turn.

    Args:
        weights: relative absorption of the walls. Shape: [6].
        target: T60 in seconds. Shape: [bands].
        limits: least and most scale. Shape: [2, bands].
        scale: Shape: [bands]; t60: what they give. Shape: [bands].
        slopes: how steeply the log of each band's T60 falls; where 0 they are estimated, and then
            corrected by what each step does. Shape: [bands].

    Returns:
        Number of turns.
    """
    n = len(target)
    walls = np.empty((len(weights), n))
    gammas, rates = np.empty((3, n)), np.empty((n, tables[0].shape[1]))
    profile = np.empty((3, PROFILE))
    usual_profile(size, profile)
    away, before, steps = np.empty(n), np.zeros(n), np.zeros(n)
    learn = slopes[0] == 0.0
    for turn in range(_TURNS):
        _scaled_walls(weights, scale, walls)
        _decay_rates(size, walls, air, speed, tables, gammas, rates)
        worst = 0.0
        for band in range(n):
            t60[band] = _t60(
                size, gammas, rates, speed, band_hz[band], band, mixture, tables, profile,
                target[band],
            )  # fmt: skip
            away[band] = math.log(t60[band] / target[band])
            if slopes[band] == 0.0:
                slopes[band] = _steepness(walls[:, band], rates[band].mean(), speed * air[band])
            elif learn and abs(before[band]) > 3.0 * CLOSE:
                done = (before[band] - away[band]) / before[band]
                slopes[band] *= min(max(done, 0.5), 2.0)
            stuck = (away[band] > 0.0 and scale[band] >= limits[1, band]) or (
                away[band] < 0.0 and scale[band] <= limits[0, band]
            )
            if stuck:
                away[band] = 0.0
            worst = max(worst, abs(away[band]))
        if worst < CLOSE:
            return turn
        _newton_steps(away, slopes, mixture, steps)
        for band in range(n):
            wanted = scale[band] * math.exp(min(max(steps[band], -0.7), 0.7))
            scale[band] = min(max(wanted, limits[0, band]), limits[1, band])
            before[band] = away[band] if scale[band] == wanted and abs(steps[band]) < 0.7 else 0.0
    return _TURNS


@kernel
def _scaled_walls(weights, scale, walls):  # type: ignore[no-untyped-def]
    for wall in range(len(weights)):
        for band in range(len(scale)):
            walls[wall, band] = min(weights[wall] * scale[band], MAX_ABSORPTION)


@kernel
def _steepness(walls, rate, air_rate):  # type: ignore[no-untyped-def]
    """About -d log T60 / d log scale: the walls' share of the rate, and what -ln(1 - a) bends."""
    change = 0.0
    log = 0.0
    for wall in range(len(walls)):
        a = walls[wall]
        log -= math.log1p(-a)
        if a < MAX_ABSORPTION:
            change += a / (1.0 - a)
    return max((1.0 - air_rate / rate) * change / log, 0.1)


@kernel
def _newton_steps(away, slopes, mixture, steps):  # type: ignore[no-untyped-def]
    """Solve for the steps of log scale that undo `away` (Thomas): a band's rate is of its mixture.

    Half of a product of two bands falls to each.
    """
    n = len(away)
    above, right = np.empty(n), np.empty(n)
    for b in range(n):
        low = (mixture[b, 0] + 0.5 * mixture[b, 1]) * slopes[b - 1] if b > 0 else 0.0
        own = (mixture[b, 2] + 0.5 * (mixture[b, 1] + mixture[b, 3])) * slopes[b]
        high = (mixture[b, 4] + 0.5 * mixture[b, 3]) * slopes[b + 1] if b + 1 < n else 0.0
        pivot = own - low * above[b - 1] if b > 0 else own
        above[b] = high / pivot
        right[b] = (away[b] - (low * right[b - 1] if b > 0 else 0.0)) / pivot
    for b in range(n - 1, -1, -1):
        steps[b] = right[b] - above[b] * steps[b + 1] if b + 1 < n else right[b]


@kernel
def late_moments(  # type: ignore[no-untyped-def]
    size, walls, air, speed, band_hz, tables, times, products, power, moments
):
    """Write (4 pi c / V) < product * power * kept energy > for every product of harmonics.

    Args:
        tables: `nodes` and the table of `grazing`.
        times: seconds, above 0. Shape: [times].
        products: at the nodes. Shape: [pairs, n].
        power: Shape: [bands, n].
        moments: Shape: [bands, pairs, times].
    """
    directions, weights, ends, table = tables
    n, n_times = len(weights), len(times)
    whole = np.empty((3, n * n_times), dtype=np.uint32)
    part = np.empty((3, n * n_times))
    longest = 0.0
    for k in range(n_times):
        longest = max(longest, speed * times[k])
    for axis in range(3):
        for d in range(n):
            for k in range(n_times):
                lengths = speed * times[k] * directions[axis, d] / size[axis]
                image = int(lengths)
                whole[axis, d * n_times + k] = image
                part[axis, d * n_times + k] = lengths - image
    kept = np.empty((3, 2, int(longest / size.min()) + 3))
    decayed, damped = np.empty((n, n_times)), np.empty(n_times)
    gammas, gains = np.empty(3), np.empty((7, n_times))
    profile = np.empty((3, PROFILE))
    usual_profile(size, profile)
    density = 4.0 * math.pi * speed / (size[0] * size[1] * size[2])
    for band in range(len(moments)):
        for axis in range(3):
            first, second = walls[2 * axis, band], walls[2 * axis + 1, band]
            _keep(first, second, kept[axis])
            log = math.log1p(-min(first, FULL_ABSORPTION))
            gammas[axis] = -0.25 * (log + math.log1p(-min(second, FULL_ABSORPTION))) / size[axis]
        _late_gains(
            size, gammas, 2.0 * math.pi * band_hz[band] / speed, speed, times, profile, table, gains
        )
        for k in range(n_times):
            damped[k] = density * math.exp(-speed * air[band] * times[k])
        for d in range(n):
            row, share = decayed[d], weights[d] * power[band, d]
            for k in range(n_times):
                row[k] = share * damped[k]
        for axis in range(3):
            _lose(kept[axis, 0], kept[axis, 1], whole[axis], part[axis], decayed.ravel())
        _weigh(decayed, ends, gains)
        for pair in range(len(products)):
            sums = moments[band, pair]
            sums[:] = 0.0
            for d in range(n):
                row, product = decayed[d], products[pair, d]
                for k in range(n_times):
                    sums[k] += product * row[k]


@kernel
def _late_gains(  # type: ignore[no-untyped-def]
    size, gammas, wavenumber, speed, times, profile, table, gains
):
    """Write the gains of all groups of nodes at all times. Shape: [7, times]."""
    planes = np.empty(6)
    for k in range(len(times)):
        plane_gains(size, gammas, wavenumber, speed * times[k], profile, table, planes)
        gains[0, k] = 1.0
        gains[1:, k] = planes


@kernel
def _weigh(decayed, ends, gains):  # type: ignore[no-untyped-def]
    """Multiply every node's energy by its group's gain.

    What grazing waves lack is taken from all directions of the volume alike: taken from their own
    it could leave less than nothing there, and no covariance.
    """
    volume, left = np.zeros(decayed.shape[1]), np.zeros(decayed.shape[1])
    for d in range(ends[1]):
        for k in range(len(volume)):
            volume[k] += decayed[d, k]
    for group in range(1, len(gains)):
        for d in range(ends[group], ends[group + 1]):
            for k in range(len(left)):
                energy = decayed[d, k] * gains[group, k]
                left[k] += min(energy, 0.0)
                decayed[d, k] = max(energy, 0.0)
    for k in range(len(left)):
        left[k] = max(1.0 + left[k] / max(volume[k], 1e-200), 0.1)
    for d in range(ends[1]):
        for k in range(len(left)):
            decayed[d, k] *= left[k]


@kernel
def _lose(kept, step, whole, part, energy):  # type: ignore[no-untyped-def]
    """Multiply energies by what the walls of one axis leave of them; all nodes and times at once.

    In rows over time alone vectors would be of little use.
    """
    for k in range(len(energy)):
        energy[k] *= kept[whole[k]] + part[k] * step[whole[k]]


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
