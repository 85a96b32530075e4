"""Spread and correct: the band-limited sum of all images by a type-1 non-uniform FFT.

Every image adds a 6-tap Kaiser-Bessel pulse to time grids of a rate somewhat above what their
frequencies need (see `grids`); cells are [time, band, channel], channels in chunks of four. One FFT
per column, division by the pulse's spectrum, octave-band weights and the sum over bands give the
spectrum of each channel (Greengard and Lee 2004; Barnett et al. 2019).

Air absorption exp(-m c t / 2) is a gain per band on the time axis of the grids.

Images of three reflections and more may arrive as if they lay farther by a random part of
`displacement_m`, which breaks up the sweeping echoes of a lattice (De Sena et al. 2015). The part
is a hash of the image and a seed: the same for all channels, bands and formats. It is one-sided, so
that nothing comes before the direct sound, and amplitude, air and direction stay as they were.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scenesynth.acoustics.arrivals import AxisTable
from scenesynth.acoustics.grids import GUARD, PHASE_BITS, PHASES, SLOTS, Plan, pulse_table
from scenesynth.acoustics.simd import (
    CHANNELS,
    DEGREE,
    LANES,
    TAPS,
    WIDTH,
    aim,
    deposit_1x1,
    deposit_1x2,
    deposit_1x4,
    deposit_4x1,
    deposit_4x2,
    deposit_4x4,
    scale,
    transpose,
    weigh,
)
from scenesynth.jit import kernel
from scenesynth.spatial.ambisonics import recursion_table

FIRST: Final = (0, 1, 3, 7)
"""Where the bands of each slot begin among those of an image, from the highest band down."""

UNDISPLACED: Final = 2
"""Images of so many reflections stay where they are."""

BATCH: Final = 1024
"""Images that are spread together. Rows are shorter, and loops over few images cost more each."""

PAD: Final = 16
"""Loops that vectors take in whole run up to a multiple of this."""

BLOCK: Final = 64
"""Rows of a grid that are turned into columns at a time."""

HASH: Final = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
"""Multipliers of the image's index along x, y and z."""


class _Axis(NamedTuple):
    """One axis table as the kernel takes it.

    Attributes:
        offset: of x, y or z. Shape: [n].
        amplitude: bands in the order of the grids, flat. Shape: [n * width].
        facing: part of the cosine to the source's front. Shape: [n].
        mark: hash of the index. Shape: [n].
        hits: reflections. Shape: [n].
    """

    offset: NDArray[np.float64]
    amplitude: NDArray[np.float32]
    facing: NDArray[np.float64]
    mark: NDArray[np.uint32]
    hits: NDArray[np.int64]


class _Source(NamedTuple):
    """What is the same for all images.

    Attributes:
        radius: images farther away are left out.
        fade_start, fade_end: amplitude falls as the square root of what is left between them; both
            infinite for no fade.
        pattern: coefficients of the directivity, flat, or nothing. Shape: [5 * width] or [0].
        air: coefficients of what air would take on the way of a displacement. Shape: [5 * width].
        displacement: in metres; 0 for none.
        seed: of the displacements.
    """

    radius: float
    fade_start: float
    fade_end: float
    pattern: NDArray[np.float32]
    air: NDArray[np.float32]
    displacement: float
    seed: np.uint32


class _Target(NamedTuple):
    """Where images go.

    Attributes:
        rotation: listener-to-room matrix. Shape: [3, 3].
        order: Ambisonic order.
        recursion: table of the harmonics.
        taps: table of pulses.
        places_per_m: steps of the table of pulses, on the fastest grid, per metre.
        shifts: of the grids; -1 for those not in use. Shape: [4].
        width: bands of an image, padded.
    """

    rotation: NDArray[np.float64]
    order: int
    recursion: NDArray[np.float64]
    taps: NDArray[np.float32]
    places_per_m: float
    shifts: NDArray[np.int64]
    width: int


class _Batch(NamedTuple):
    """Some images on their way to the grids. Shapes: [capacity], but for amps and gains."""

    distance: NDArray[np.float64]
    inverse: NDArray[np.float32]
    place: NDArray[np.int32]
    fraction: NDArray[np.float32]
    at: NDArray[np.int32]
    tap: NDArray[np.int32]
    between: NDArray[np.float32]
    amps: NDArray[np.float32]
    gains: NDArray[np.float32]


def channel_spectra(
    plan: Plan,
    tables: tuple[AxisTable, AxisTable, AxisTable],
    *,
    radius_m: float,
    rotation: NDArray[np.float64],
    order: int,
    attenuation_per_m: NDArray[np.float64],
    speed_of_sound_mps: float,
    directivity: NDArray[np.float64] | None = None,
    displacement_m: float = 0.0,
    seed32: int = 0,
    fade_m: tuple[float, float] | None = None,
) -> NDArray[np.complex64]:
    """Spectrum of each Ambisonic channel, the sum over all images within `radius_m`.

    Args:
        rotation: listener-to-room matrix; directions are given in the listener's frame.
        order: Ambisonic order.
        attenuation_per_m: energy attenuation of air per band. Shape: [bands].
        directivity: amplitude of the source as a polynomial in the cosine to its front, which the
            tables then have to know. Shape: [bands, 5].
        displacement_m: images of three reflections and more lie up to this farther away.
        seed32: of the displacements, 32 bits.
        fade_m: distances between which the images' power falls linearly to nothing; images
            beyond are left out.

    Returns:
        Shape: [(order + 1)^2, n_fft / 2 + 1].

    Raises:
        ValueError: images that do not fit into the plan, a directivity without a front, a fade
            that ends where it begins.
    """
    _check(plan, tables, radius_m, speed_of_sound_mps, directivity, displacement_m, fade_m)
    n_channels = (order + 1) ** 2
    side = 1 if order == 0 else CHANNELS
    n_chunks = -(-n_channels // side)
    width = WIDTH if len(plan.grids) < len(SLOTS) else 2 * WIDTH
    cells = [_aligned(0)] * len(SLOTS)
    shifts = np.full(len(SLOTS), -1)
    for grid in plan.grids:
        shifts[grid.slot] = grid.shift
        rows = -(-(grid.n_rows + WIDTH) // LANES) * LANES
        cells[grid.slot] = _aligned(n_chunks * rows * SLOTS[grid.slot] * side)
    fade_start, fade_end = fade_m or (math.inf, math.inf)
    source = _Source(
        radius=float(min(radius_m, fade_end)),
        fade_start=float(fade_start),
        fade_end=float(fade_end),
        pattern=_pattern(directivity, plan, width),
        air=_pattern(_air_series(attenuation_per_m), plan, width),
        displacement=float(displacement_m),
        seed=np.uint32(seed32),
    )
    target = _Target(
        rotation=np.array(rotation, dtype=np.float64, order="C"),
        order=order,
        recursion=recursion_table(order),
        taps=pulse_table(),
        places_per_m=float(plan.grids[0].rate_hz / speed_of_sound_mps * PHASES),
        shifts=shifts,
        width=width,
    )
    x, y, z = (_axis(table, plan, width, HASH[d]) for d, table in enumerate(tables))
    _spread(x, y, z, source, target, tuple(cells))
    spectra = np.zeros((n_channels, plan.n_fft // 2 + 1), dtype=np.complex64)
    for grid in plan.grids:
        n_bands = len(grid.weights)
        ratio = np.ones(SLOTS[grid.slot])
        step_m = speed_of_sound_mps / grid.rate_hz
        ratio[:n_bands] = np.exp(-attenuation_per_m[grid.bands] * step_m / 2)
        columns = np.empty((n_chunks, n_bands, side, grid.n_rows), dtype=np.float32)
        _take_columns(cells[grid.slot].reshape(n_chunks, -1), ratio, columns)
        _add_bands(scipy.fft.rfft(columns, axis=3, workers=1), grid.weights, grid.phase, spectra)
    return spectra


def _check(
    plan: Plan,
    tables: tuple[AxisTable, AxisTable, AxisTable],
    radius_m: float,
    speed_of_sound_mps: float,
    directivity: NDArray[np.float64] | None,
    displacement_m: float,
    fade_m: tuple[float, float] | None,
) -> None:
    samples_per_m = plan.sample_rate / speed_of_sound_mps
    if radius_m * samples_per_m > plan.n_samples + 1:
        raise ValueError(
            f"radius_m = {radius_m:g} is {radius_m * samples_per_m:.0f} samples away; the plan "
            f"holds {plan.n_samples}"
        )
    most_m = GUARD / 2 / samples_per_m
    if not 0.0 <= displacement_m <= most_m:
        raise ValueError(f"displacement_m = {displacement_m:g}; must lie in [0, {most_m:.3g}]")
    if directivity is not None and any(table.facing_m is None for table in tables):
        raise ValueError("a directivity needs a source with a front; make the tables with one")
    if fade_m is not None and not 0.0 <= fade_m[0] < fade_m[1]:
        raise ValueError(f"fade_m = {fade_m}; must be two distances, the smaller one first")


def _aligned(n: int) -> NDArray[np.float32]:
    """Zeros that begin with a cache line, as a row of 16 columns then does too."""
    room = np.zeros(n + LANES, dtype=np.float32)
    first = -(room.ctypes.data // 4) % LANES
    return room[first : first + n]


def _in_slots(bands: NDArray[np.float64], plan: Plan, width: int) -> NDArray[np.float32]:
    """Bands of the room in the order of the grids, flat. Shape: [n, bands] to [n * width]."""
    out = np.zeros((len(bands), width), dtype=np.float32)
    for grid in plan.grids:
        first = FIRST[grid.slot]
        out[:, first : first + len(grid.weights)] = bands[:, grid.bands]
    return out.ravel()


def _pattern(
    directivity: NDArray[np.float64] | None, plan: Plan, width: int
) -> NDArray[np.float32]:
    if directivity is None:
        return np.empty(0, dtype=np.float32)
    return _in_slots(np.transpose(directivity), plan, width)


def _air_series(attenuation_per_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(+m x / 2) in powers of x: undoes what the grid's gain takes. Shape: [bands, 5]."""
    powers = np.arange(DEGREE + 1)
    factorial = np.array([math.factorial(int(p)) for p in powers])
    series: NDArray[np.float64] = (attenuation_per_m[:, None] / 2) ** powers / factorial
    return series


def _axis(table: AxisTable, plan: Plan, width: int, multiplier: int) -> _Axis:
    facing = np.zeros_like(table.offset_m) if table.facing_m is None else table.facing_m
    return _Axis(
        offset=np.append(table.offset_m, np.full(PAD, math.inf)),
        amplitude=_in_slots(table.amplitude, plan, width),
        facing=np.array(facing),
        mark=table.index.astype(np.uint32) * np.uint32(multiplier),
        hits=np.abs(table.index),
    )


@kernel
def _spread(x, y, z, source, target, grids):  # type: ignore[no-untyped-def]
    """Add every image inside the sphere to the grids, by rows along z, some rows at a time."""
    n_z = len(z.hits)
    order, width = target.order, target.width
    chunks = 1 if order == 0 else ((order + 1) * (order + 1) + CHANNELS - 1) // CHANNELS
    capacity = n_z + BATCH + PAD
    batch = _Batch(
        np.empty(capacity),
        np.empty(capacity, dtype=np.float32),
        np.empty(capacity, dtype=np.int32),
        np.empty(capacity, dtype=np.float32),
        np.empty(capacity, dtype=np.int32),
        np.empty(capacity, dtype=np.int32),
        np.empty(capacity, dtype=np.float32),
        np.empty(capacity * width, dtype=np.float32),
        np.empty(chunks * capacity * CHANNELS, dtype=np.float32),
    )
    distance, inverse, amps, gains = batch.distance, batch.inverse, batch.amps, batch.gains
    plane = np.empty(width, dtype=np.float32)
    base = np.zeros(CHANNELS, dtype=np.float32)
    slope = np.zeros(CHANNELS, dtype=np.float32)
    for c in range(3):
        slope[c + 1] = target.rotation[2, (c + 1) % 3]
    x_at, y_at, z_at = x.offset, y.offset, z.offset
    x_amp, y_amp, z_amp = x.amplitude, y.amplitude, z.amplitude
    rotation = target.rotation
    height = z.offset.astype(np.float32)
    squared = source.radius * source.radius
    first = np.int64(n_z // 2)
    last = first
    count = np.int64(0)
    for i in range(len(x.hits)):
        for j in range(len(y.hits)):
            flat = x_at[i] * x_at[i] + y_at[j] * y_at[j]
            if flat > squared:
                continue
            reach = math.sqrt(squared - flat)
            # The ends of a row lie near those of the row before.
            while first < last and z_at[first] < -reach:
                first += 1
            while first > 0 and z_at[first - 1] >= -reach:
                first -= 1
            while last > first and z_at[last - 1] > reach:
                last -= 1
            while last < n_z and z_at[last] <= reach:
                last += 1
            n = last - first
            if n <= 0:
                continue
            whole = (n + PAD - 1) // PAD * PAD
            _distances(
                z_at[first : first + whole],
                flat,
                distance[count : count + whole],
                inverse[count : count + whole],
            )
            for b in range(width):
                plane[b] = x_amp[i * width + b] * y_amp[j * width + b]
            for c in range(3):
                along = rotation[0, (c + 1) % 3] * x_at[i] + rotation[1, (c + 1) % 3] * y_at[j]
                base[c + 1] = along
            for k in range(n):
                weigh(
                    amps, (count + k) * width, plane, 0,
                    z_amp, (first + k) * width, inverse[count + k],
                )  # fmt: skip
                if order > 0:
                    aim(
                        gains, (count + k) * CHANNELS, base, slope,
                        height[first + k], inverse[count + k],
                    )  # fmt: skip
            if width > WIDTH:
                for k in range(n):
                    weigh(
                        amps, (count + k) * width + WIDTH, plane, WIDTH,
                        z_amp, (first + k) * width + WIDTH, inverse[count + k],
                    )  # fmt: skip
            if len(source.pattern) > 0:
                facing = x.facing[i] + y.facing[j]
                _direct(facing, z.facing, first, n, source.pattern, width, count, batch)
            if source.fade_end < math.inf:
                _fade(source.fade_start, source.fade_end, n, width, count, batch)
            if source.displacement > 0.0:
                mark = x.mark[i] ^ y.mark[j] ^ source.seed
                hits = x.hits[i] + y.hits[j]
                _displace(mark, hits, z.mark, z.hits, first, n, source, width, count, batch)
            count += n
            if count >= BATCH:
                _deposit(count, batch, target, grids)
                count = np.int64(0)
    _deposit(count, batch, target, grids)


@kernel
def _distances(row, flat, distance, inverse):  # type: ignore[no-untyped-def]
    """Loops over few arrays each: only then are they vectorised."""
    for k in range(len(row)):
        distance[k] = math.sqrt(flat + row[k] * row[k])
    for k in range(len(row)):
        inverse[k] = np.float32(1.0) / np.float32(distance[k])


@kernel
def _direct(facing, row, first, n, pattern, width, count, batch):  # type: ignore[no-untyped-def]
    """Weigh a row of images by what the source radiates in their directions."""
    amps, inverse = batch.amps, batch.inverse
    for k in range(n):
        cosine = np.float32(facing + row[first + k]) * inverse[count + k]
        for b in range(0, width, WIDTH):
            scale(amps, (count + k) * width + b, pattern, b, width, cosine)


@kernel
def _fade(start, end, n, width, count, batch):  # type: ignore[no-untyped-def]
    """Weigh a row of images by the square root of what is left of the fade."""
    amps, distance = batch.amps, batch.distance
    for k in range(n):
        left = (end - distance[count + k]) / (end - start)
        if left < 1.0:
            weight = np.float32(math.sqrt(max(left, 0.0)))
            for b in range(width):
                amps[(count + k) * width + b] *= weight


@kernel
def _displace(mark, hits, marks, more_hits, first, n, source, width, count, batch):  # type: ignore[no-untyped-def]
    """Send a row of images farther away, each by its own part of the displacement."""
    amps, distance, farther, air = batch.amps, batch.distance, batch.between, source.air
    row = slice(first, first + n)
    _shares(mark, hits, marks[row], more_hits[row], source.displacement * 2.0**-32, farther)
    for k in range(n):
        distance[count + k] += farther[k]
    for k in range(n):
        for b in range(0, width, WIDTH):
            scale(amps, (count + k) * width + b, air, b, width, farther[k])


@kernel
def _shares(mark, hits, marks, more_hits, unit, farther):  # type: ignore[no-untyped-def]
    for k in range(len(marks)):
        x = np.uint32(mark ^ marks[k])
        x = np.uint32(np.uint32(x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B))
        x = np.uint32(np.uint32(x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        x = np.uint32(x ^ (x >> np.uint32(16)))
        moved = hits + more_hits[k] > UNDISPLACED
        farther[k] = np.float32(np.float64(x) * unit) if moved else np.float32(0.0)


@kernel
def _deposit(count, batch, target, grids):  # type: ignore[no-untyped-def]
    """Add a batch of images to the grids, channels four and four."""
    order, shifts, gains = target.order, target.shifts, batch.gains
    _places(count, batch.distance, target.places_per_m, batch.place, batch.fraction)
    side = 1 if order == 0 else CHANNELS
    chunks = ((order + 1) * (order + 1) + side - 1) // side
    pitch = len(gains) // chunks
    if order > 1:
        _harmonics(count, order, target.recursion, pitch, gains)
    for slot in range(len(shifts)):
        if shifts[slot] < 0:
            break
        columns = SLOTS[slot] * side
        _split(
            count, batch.place, batch.fraction, shifts[slot], columns,
            batch.at, batch.tap, batch.between,
        )  # fmt: skip
        cells = grids[slot]
        for chunk in range(chunks):
            to, gain = chunk * (len(cells) // chunks), chunk * pitch
            if columns == 1:
                _put_1x1(cells, count, batch, target, FIRST[slot])
            elif columns == 2:
                _put_1x2(cells, count, batch, target, FIRST[slot])
            elif order == 0:
                _put_1x4(cells, count, batch, target, FIRST[slot])
            elif columns == 4:
                _put_4x1(cells, to, count, batch, target, FIRST[slot], gain)
            elif columns == 8:
                _put_4x2(cells, to, count, batch, target, FIRST[slot], gain)
            else:
                _put_4x4(cells, to, count, batch, target, FIRST[slot], gain)


@kernel
def _places(n, distance, places_per_m, place, fraction):  # type: ignore[no-untyped-def]
    """Whole and rest of the places of images, in steps of the table on the fastest grid."""
    for k in range(n):
        exact = distance[k] * places_per_m
        whole = np.int32(exact)
        place[k] = whole
        fraction[k] = np.float32(exact - whole)


@kernel
def _split(n, place, fraction, shift, columns, at, tap, between):  # type: ignore[no-untyped-def]
    """First cell, first tap, and the way to the next line of taps, of images on one grid."""
    step = np.int32(shift)
    rest = np.int32((1 << shift) - 1)
    part = np.float32(1.0 / (1 << shift))
    wide = np.int32(columns)
    for k in range(n):
        here = place[k] >> step
        at[k] = ((here >> np.int32(PHASE_BITS)) + np.int32(TAPS // 2 + 1)) * wide
        tap[k] = (here & np.int32(PHASES - 1)) * np.int32(2 * WIDTH)
        between[k] = (np.float32(place[k] & rest) + fraction[k]) * part


@kernel
def _put_1x1(grid, count, batch, target, first):  # type: ignore[no-untyped-def]
    at, tap, between, amps, gains = batch.at, batch.tap, batch.between, batch.amps, batch.gains
    taps, width = target.taps, target.width
    for k in range(count):
        amp = k * width + first
        deposit_1x1(grid, np.int64(at[k]), taps, np.int64(tap[k]), between[k], amps, amp, gains, 0)


@kernel
def _put_1x2(grid, count, batch, target, first):  # type: ignore[no-untyped-def]
    at, tap, between, amps, gains = batch.at, batch.tap, batch.between, batch.amps, batch.gains
    taps, width = target.taps, target.width
    for k in range(count):
        amp = k * width + first
        deposit_1x2(grid, np.int64(at[k]), taps, np.int64(tap[k]), between[k], amps, amp, gains, 0)


@kernel
def _put_1x4(grid, count, batch, target, first):  # type: ignore[no-untyped-def]
    at, tap, between, amps, gains = batch.at, batch.tap, batch.between, batch.amps, batch.gains
    taps, width = target.taps, target.width
    for k in range(count):
        amp = k * width + first
        deposit_1x4(grid, np.int64(at[k]), taps, np.int64(tap[k]), between[k], amps, amp, gains, 0)


@kernel
def _put_4x1(grid, to, count, batch, target, first, gain):  # type: ignore[no-untyped-def]
    at, tap, between, amps, gains = batch.at, batch.tap, batch.between, batch.amps, batch.gains
    taps, width = target.taps, target.width
    for k in range(count):
        amp = k * width + first
        deposit_4x1(
            grid, to + np.int64(at[k]), taps, np.int64(tap[k]), between[k], amps, amp,
            gains, gain + k * CHANNELS,
        )  # fmt: skip


@kernel
def _put_4x2(grid, to, count, batch, target, first, gain):  # type: ignore[no-untyped-def]
    at, tap, between, amps, gains = batch.at, batch.tap, batch.between, batch.amps, batch.gains
    taps, width = target.taps, target.width
    for k in range(count):
        amp = k * width + first
        deposit_4x2(
            grid, to + np.int64(at[k]), taps, np.int64(tap[k]), between[k], amps, amp,
            gains, gain + k * CHANNELS,
        )  # fmt: skip


@kernel
def _put_4x4(grid, to, count, batch, target, first, gain):  # type: ignore[no-untyped-def]
    at, tap, between, amps, gains = batch.at, batch.tap, batch.between, batch.amps, batch.gains
    taps, width = target.taps, target.width
    for k in range(count):
        amp = k * width + first
        deposit_4x4(
            grid, to + np.int64(at[k]), taps, np.int64(tap[k]), between[k], amps, amp,
            gains, gain + k * CHANNELS,
        )  # fmt: skip


@kernel
def _harmonics(count, order, table, pitch, gains):  # type: ignore[no-untyped-def]
    """Harmonics beyond the first order, of the directions that `aim` left in the first chunk.

    The recursion of `harmonics_into`, one step for all images at a time.
    """
    left, up = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    front = np.empty(count, dtype=np.float32)
    cosine, sine = np.ones(count, dtype=np.float32), np.zeros(count, dtype=np.float32)
    before, value = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    for k in range(count):
        left[k], up[k], front[k] = gains[4 * k + 1], gains[4 * k + 2], gains[4 * k + 3]
    for m in range(order + 1):
        if m > 0:
            _turn(count, front, left, cosine, sine)
        before[:] = 0.0
        value[:] = table[0, m, m]
        for degree in range(m, order + 1):
            if degree > m:
                a, b = np.float32(table[0, degree, m]), np.float32(table[1, degree, m])
                _climb(count, a, b, up, before, value)
            centre = degree * (degree + 1)
            if centre + m >= CHANNELS:
                _store(count, value, cosine, centre + m, pitch, gains)
            if m > 0 and centre - m >= CHANNELS:
                _store(count, value, sine, centre - m, pitch, gains)


@kernel
def _turn(count, x, y, cosine, sine):  # type: ignore[no-untyped-def]
    for k in range(count):
        turned = x[k] * cosine[k] - y[k] * sine[k]
        sine[k] = x[k] * sine[k] + y[k] * cosine[k]
        cosine[k] = turned


@kernel
def _climb(count, a, b, z, before, value):  # type: ignore[no-untyped-def]
    for k in range(count):
        higher = a * z[k] * value[k] - b * before[k]
        before[k] = value[k]
        value[k] = higher


@kernel
def _store(count, value, turn, channel, pitch, gains):  # type: ignore[no-untyped-def]
    to = channel // CHANNELS * pitch + channel % CHANNELS
    for k in range(count):
        gains[to + CHANNELS * k] = value[k] * turn[k]


@kernel
def _take_columns(cells, ratio, columns):  # type: ignore[no-untyped-def]
    """Columns of a grid, each a row of its own; row t of band b times ratio[b]^(t - TAPS).

    Shapes: [chunks, rows * slot * channels] to [chunks, bands, channels, rows]. Transforms along
    the last axis are twice as fast, and the air's gain costs nothing on the way. In blocks that
    stay in the cache.
    """
    n_chunks, n_bands, n_channels, n_rows = columns.shape
    flat, out = cells.ravel(), columns.ravel()
    width = len(ratio) * n_channels
    gain = ratio ** float(-TAPS)
    gains = np.empty(n_bands * BLOCK, dtype=np.float32)
    for first in range(0, n_rows, BLOCK):
        n = min(BLOCK, n_rows - first)
        for b in range(n_bands):
            value = gain[b]
            for t in range(n):
                gains[b * BLOCK + t] = value
                value *= ratio[b]
            gain[b] = value
        for chunk in range(n_chunks):
            for b in range(n_bands):
                source = chunk * cells.shape[1] + first * width + b * n_channels
                to = (chunk * n_bands + b) * n_channels * n_rows + first
                done = 0
                if n_channels == CHANNELS:
                    done = n // 4 * 4
                    for t in range(0, done, 4):
                        transpose(
                            out, to + t, n_rows, flat, source + t * width, width,
                            gains, b * BLOCK + t,
                        )  # fmt: skip
                for t in range(done, n):
                    for c in range(n_channels):
                        cell = flat[source + t * width + c]
                        out[to + c * n_rows + t] = cell * gains[b * BLOCK + t]


@kernel
def _add_bands(columns, weights, phase, out):  # type: ignore[no-untyped-def]
    """out[c, k] += phase[k] * sum over b of weights[b, k] * columns[chunk of c, b, in it, k]."""
    n_channels = columns.shape[2]
    for c in range(len(out)):
        chunk, within = c // n_channels, c % n_channels
        for k in range(len(phase)):
            total = np.complex64(0)
            for b in range(len(weights)):
                total += columns[chunk, b, within, k] * weights[b, k]
            out[c, k] += total * phase[k]
