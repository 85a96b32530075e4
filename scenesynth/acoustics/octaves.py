"""Octave-band energies of a response, all bands at once.

Each band is a sixth-order Butterworth band-pass: three second-order sections. The recursions of
eight bands run side by side, one in each lane of a vector. The compiler does not find that by
itself, so the loop over samples is written in its own language; it keeps the states in registers
and takes a tenth of the time of eight loops.

"Broadband" is a sixth-order high-pass at the lowest band's lower edge, run backwards in time: its
ringing then lies before what rings, and what comes after the direct sound is the room's alone
(Jacobsen and Rindel 1987).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from scenesynth.jit import kernel

LANES = 8
SECTIONS = 3
STATES = 2 * SECTIONS + 1

_I32, _I64, _F64 = ir.IntType(32), ir.IntType(64), ir.DoubleType()


@lru_cache(maxsize=64)
def band_filters(
    sample_rate: int, band_hz: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Octave filters in packs of `LANES`; lanes that are left over are of no use.

    Returns:
        Coefficients b1, b2, a1, a2 of each section (b0 is 1) and power gains of the whole filters.
        Shapes: [packs, SECTIONS * 4 * LANES], [packs, LANES].
    """
    packs = -(-len(band_hz) // LANES)
    coefficients = np.zeros((packs, SECTIONS, 4, LANES))
    gains = np.zeros((packs, LANES))
    for n, centre in enumerate(band_hz):
        pack, lane = divmod(n, LANES)
        edges = centre / np.sqrt(2), centre * np.sqrt(2)
        coefficients[pack, :, :, lane], gain = sections(*edges, sample_rate)
        gains[pack, lane] = gain * gain
    return coefficients.reshape(packs, -1), gains


@lru_cache(maxsize=64)
def broadband_filter(sample_rate: int, lowest_hz: float) -> tuple[NDArray[np.float64], float]:
    """Coefficients as in `band_filters`, and power gain. Shape: [SECTIONS * 4]."""
    rows, gain = sections(lowest_hz / np.sqrt(2), np.inf, sample_rate)
    return rows.ravel(), gain * gain


def sections(low_hz: float, high_hz: float, sample_rate: int) -> tuple[NDArray[np.float64], float]:
    """Sections of a Butterworth filter by the bilinear transform, and its gain.

    The high-pass has six poles and the band-pass three times two; an upper edge near or above
    Nyquist comes down to 0.95 Nyquist.
    """
    low, high = (np.tan(np.pi * min(edge / sample_rate, 0.475)) for edge in (low_hz, high_hz))
    if np.isinf(high_hz):
        upper = low / np.exp(1j * np.pi * np.array([7, 9, 11]) / 12)
        pairs = np.stack([upper, upper.conj()])
        b1, b2, passed = -2.0, 1.0, -1.0 + 0j
    else:
        half, middle = (high - low) / 2 * np.exp(1j * np.pi * np.array([2, 3]) / 3), low * high
        plus, minus = half + np.sqrt(half**2 - middle), half - np.sqrt(half**2 - middle)
        pairs = np.array(
            [[plus[0], minus[0], plus[1]], [plus[0].conj(), minus[0].conj(), minus[1]]]
        )
        b1, b2, passed = 0.0, -1.0, np.exp(2j * np.arctan(np.sqrt(middle)))
    poles = (1 + pairs) / (1 - pairs)
    a1, a2 = -poles.sum(axis=0).real, poles.prod(axis=0).real
    gain = np.prod((1 + a1 / passed + a2 / passed**2) / (1 + b1 / passed + b2 / passed**2))
    same = np.ones(SECTIONS)
    return np.stack([b1 * same, b2 * same, a1, a2], axis=1), float(abs(gain))


def _running(lanes: int, backwards: bool) -> Any:
    """Make the intrinsic that filters a stretch of a signal in every lane, and adds up the squares.

    run(signal, first, n, coefficients, states) takes signal[first] to signal[first + n - 1], in
    this order or the other. Arrays are flat; `states` is the two of every section, then the sum.
    Transposed direct form II: y = x + s1, s1 = b1 x - a1 y + s2, s2 = b2 x - a2 y.
    """
    kind = ir.VectorType(_F64, lanes) if lanes > 1 else _F64

    def spread(builder: Any, sample: Any) -> Any:
        if lanes == 1:
            return sample
        empty = ir.Constant(kind, ir.Undefined)
        every = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
        return builder.shuffle_vector(builder.insert_element(empty, sample, _I32(0)), empty, every)

    def filtered(builder: Any, x: Any, states: list[Any], taps: list[Any]) -> list[Any]:
        new = []
        for section in range(SECTIONS):
            s1, s2 = states[2 * section : 2 * section + 2]
            b1, b2, a1, a2 = taps[4 * section : 4 * section + 4]
            y = builder.fadd(x, s1)
            fed = builder.fadd(builder.fmul(b1, x), s2)
            new.append(builder.fsub(fed, builder.fmul(a1, y)))
            new.append(builder.fsub(builder.fmul(b2, x), builder.fmul(a2, y)))
            x = y
        return [*new, builder.fadd(states[-1], builder.fmul(x, x))]

    @intrinsic
    def run(typingctx, signal, first, n, coefficients, states):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def data(array: int) -> Any:
                array_kind = context.make_array(signature.args[array])
                return array_kind(context, builder, values[array]).data

            def place(array: int, index: int) -> Any:
                at = builder.gep(data(array), [_I64(index * lanes)])
                return builder.bitcast(at, kind.as_pointer())

            before = builder.block
            held = [builder.load(place(4, k), align=8) for k in range(STATES)]
            taps = [builder.load(place(3, k), align=8) for k in range(4 * SECTIONS)]
            samples = data(0)
            loop, after = (builder.append_basic_block(name) for name in ("loop", "after"))
            builder.branch(loop)
            builder.position_at_end(loop)
            done = builder.phi(_I64)
            done.add_incoming(_I64(0), before)
            phis = [builder.phi(kind) for _ in held]
            more = builder.add(done, _I64(1))
            away = builder.sub(values[2], more) if backwards else done
            sample = builder.load(builder.gep(samples, [builder.add(values[1], away)]))
            new = filtered(builder, spread(builder, builder.fpext(sample, _F64)), phis, taps)
            for phi, start, value in zip(phis, held, new, strict=True):
                phi.add_incoming(start, before)
                phi.add_incoming(value, loop)
            done.add_incoming(more, loop)
            builder.cbranch(builder.icmp_signed("<", more, values[2]), loop, after)
            builder.position_at_end(after)
            for k, value in enumerate(new):
                builder.store(value, place(4, k), align=8)
            return context.get_dummy_value()

        return types.void(signal, first, n, coefficients, states), codegen

    return run


_run = _running(LANES, backwards=False)
_run_back = _running(1, backwards=True)


def record_count(n: int, offset: int, step: int) -> int:
    """How many energies `remaining_in_bands` and `remaining_broadband` write."""
    return 2 + -(-(n - offset) // step)


@kernel
def remaining_in_bands(signal, coefficients, gains, offset, step, remaining):  # type: ignore[no-untyped-def]
    """Write each band's energy from sample 0, offset, offset + step, ... on.

    Args:
        signal: float32. Shape: [n].
        coefficients, gains: a pack of `band_filters`. Shapes: [SECTIONS * 4 * LANES], [LANES].
        offset: at least 1, at most n.
        remaining: the last row is 0. Shape: [`record_count`, LANES].
    """
    states = np.zeros(STATES * LANES)
    total = (STATES - 1) * LANES
    last = len(remaining) - 1
    first = 0
    for record in range(last):
        end = min(offset + record * step, len(signal))
        _run(signal, first, end - first, coefficients, states)
        first = end
        for lane in range(LANES):
            remaining[record, lane] = states[total + lane]
            states[total + lane] = 0.0
    remaining[last] = 0.0
    for record in range(last - 1, -1, -1):
        for lane in range(LANES):
            remaining[record, lane] = (
                remaining[record, lane] * gains[lane] + remaining[record + 1, lane]
            )


@kernel
def remaining_broadband(signal, silence, rows, gain, offset, step, remaining):  # type: ignore[no-untyped-def]
    """Write the energy above the lowest band's edge, of all and from sample offset, ... on.

    Args:
        silence: zeros; the filter rings for so long before sample 0.
        rows, gain: see `broadband_filter`.
        remaining: Shape: [`record_count`, 1].
    """
    states = np.zeros(STATES)
    last = len(remaining) - 1
    remaining[last, 0] = 0.0
    end = len(signal)
    for record in range(last - 1, -1, -1):
        first = offset + (record - 1) * step if record > 0 else 0
        _run_back(signal, first, end - first, rows, states)
        end = first
        if record == 0:
            _run_back(silence, 0, len(silence), rows, states)
        remaining[record, 0] = states[STATES - 1] * gain
