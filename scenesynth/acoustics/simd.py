"""Vector instructions for the kernels of responses, where the loop vectoriser gives up.

The obvious loop `grid[row, c] += tap * gain[c]` may not be vectorised without proof that its arrays
do not overlap, and a gain vector written element by element and read back as a whole stalls the
processor. These intrinsics keep all that belongs to an image in registers instead. Sums keep their
order whatever the width of the processor's vectors; a product and the sum it goes into are fused
where the processor can (all x86 since AVX2), so others round differently in the last bit. All
arrays are flat.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

CHANNELS: Final = 4
"""Ambisonic channels that are spread together."""

WIDTH: Final = 8
"""Bands of an image that are weighed together; also columns of either half of the pulse table."""

TAPS: Final = 6
"""Width of the spreading kernel in grid samples."""

DEGREE: Final = 4
"""Of the polynomials that `scale` evaluates."""

LANES: Final = 16
"""Floats of the widest vector, and of a cache line."""

SPAN: Final = 64
"""Samples that `add_ramps` and `add_blocks` treat at a time: a block of the pool of noise."""

_I32, _I64, _F32, _F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()


def _vector(size: int) -> ir.VectorType:
    return ir.VectorType(_F32, size)


def _shuffle(builder: Any, value: Any, lanes: list[int], other: Any = None) -> Any:
    mask = ir.Constant(ir.VectorType(_I32, len(lanes)), lanes)
    return builder.shuffle_vector(value, value if other is None else other, mask)


def _splat(builder: Any, scalar: Any, size: int) -> Any:
    empty = ir.Constant(_vector(size), ir.Undefined)
    return _shuffle(builder, builder.insert_element(empty, scalar, _I32(0)), [0] * size)


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, fused where the processor can."""
    name = f"llvm.fmuladd.v{a.type.count}f32"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, [a, b, c])


class _Arrays:
    """Vectors in the array arguments of one intrinsic."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self._builder = builder
        self._data = [
            context.make_array(kind)(context, builder, value).data
            if isinstance(kind, types.Array)
            else None
            for kind, value in zip(signature.args, values, strict=True)
        ]

    def _at(self, array: int, index: Any, size: int) -> Any:
        return self._builder.bitcast(self.pointer(array, index), _vector(size).as_pointer())

    def load(self, array: int, index: Any, size: int) -> Any:
        return self._builder.load(self._at(array, index, size), align=4)

    def pointer(self, array: int, index: Any) -> Any:
        return self._builder.gep(self._data[array], [index])

    def scalar(self, array: int, index: Any) -> Any:
        return self._builder.load(self.pointer(array, index))

    def store(self, value: Any, array: int, index: Any) -> None:
        self._builder.store(value, self._at(array, index, value.type.count), align=4)


def _pieces(n: int) -> list[tuple[int, int]]:
    """First float and size (a power of two) of the vectors that cover n floats."""
    return [(first, min(LANES, 1 << (n - first - 1).bit_length())) for first in range(0, n, LANES)]


def _deposit(channels: int, bands: int) -> Any:
    """Make the intrinsic that adds one image to TAPS rows of bands x channels columns.

    deposit(grid, at, taps, tap, between, amps, amps_at, gains, gains_at) adds, to
    grid[at + (t * bands + b) * channels + c], amps[amps_at + b] * gains[gains_at + c] times
    taps[tap + t] + between * taps[tap + WIDTH + t]. One channel leaves the gains out. A vector
    covers several rows where they are narrow: their cells are neighbours.
    """
    columns = channels * bands

    @intrinsic
    def deposit(typingctx, grid, at, taps, tap, between, amps, amps_at, gains, gains_at):  # type: ignore[no-untyped-def]
        arguments = (grid, at, taps, tap, between, amps, amps_at, gains, gains_at)

        def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
            arrays = _Arrays(context, builder, signature, values)
            _, at, _, tap, between, _, amps_at, _, gains_at = values
            slope = arrays.load(2, builder.add(tap, _I64(WIDTH)), WIDTH)
            weights = _multiply_add(
                builder, slope, _splat(builder, between, WIDTH), arrays.load(2, tap, WIDTH)
            )
            amp = arrays.load(5, amps_at, bands)
            image = _shuffle(builder, amp, [lane // channels % bands for lane in range(LANES)])
            if channels > 1:
                gain = arrays.load(7, gains_at, channels)
                gain = _shuffle(builder, gain, [lane % channels for lane in range(LANES)])
                image = builder.fmul(image, gain)
            for start, size in _pieces(columns * TAPS):
                rows = [min((start + lane) // columns, WIDTH - 1) for lane in range(size)]
                part = _shuffle(builder, image, list(range(size)))
                index = builder.add(at, _I64(start))
                cells = arrays.load(0, index, size)
                cells = _multiply_add(builder, _shuffle(builder, weights, rows), part, cells)
                arrays.store(cells, 0, index)
            return context.get_dummy_value()

        return types.void(*arguments), codegen

    return deposit


deposit_1x1 = _deposit(1, 1)
deposit_1x2 = _deposit(1, 2)
deposit_1x4 = _deposit(1, 4)
deposit_4x1 = _deposit(4, 1)
deposit_4x2 = _deposit(4, 2)
deposit_4x4 = _deposit(4, 4)


@intrinsic
def weigh(typingctx, amps, at, plane, plane_at, axis, axis_at, factor):  # type: ignore[no-untyped-def]
    """amps[at + b] = plane[plane_at + b] * axis[axis_at + b] * factor for WIDTH bands."""
    arguments = (amps, at, plane, plane_at, axis, axis_at, factor)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        arrays = _Arrays(context, builder, signature, values)
        amp = builder.fmul(arrays.load(2, values[3], WIDTH), arrays.load(4, values[5], WIDTH))
        arrays.store(builder.fmul(amp, _splat(builder, values[6], WIDTH)), 0, values[1])
        return context.get_dummy_value()

    return types.void(*arguments), codegen


@intrinsic
def scale(typingctx, amps, at, coefficients, first, stride, x):  # type: ignore[no-untyped-def]
    """amps[at + b] *= sum over p <= 4 of coefficients[first + p * stride + b] x^p, WIDTH bands."""
    arguments = (amps, at, coefficients, first, stride, x)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        arrays = _Arrays(context, builder, signature, values)
        _, at, _, first, stride, x = values
        x = _splat(builder, x, WIDTH)
        total = None
        for power in range(DEGREE, -1, -1):
            index = builder.add(first, builder.mul(stride, _I64(power)))
            term = arrays.load(2, index, WIDTH)
            total = term if total is None else _multiply_add(builder, total, x, term)
        arrays.store(builder.fmul(arrays.load(0, at, WIDTH), total), 0, at)
        return context.get_dummy_value()

    return types.void(*arguments), codegen


@intrinsic
def aim(typingctx, gains, at, base, slope, z, inverse):  # type: ignore[no-untyped-def]
    """gains[at : at + 4] = 1, left, up, front of one image: (base + slope * z) * inverse.

    base and slope hold four float32 each, of which the first does not matter.
    """
    arguments = (gains, at, base, slope, z, inverse)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        arrays = _Arrays(context, builder, signature, values)
        along = _splat(builder, values[4], CHANNELS)
        along = builder.fmul(arrays.load(3, _I64(0), CHANNELS), along)
        vector = builder.fadd(arrays.load(2, _I64(0), CHANNELS), along)
        vector = builder.fmul(vector, _splat(builder, values[5], CHANNELS))
        one = ir.Constant(_vector(CHANNELS), [1.0] * CHANNELS)
        arrays.store(_shuffle(builder, one, [0, 5, 6, 7], vector), 0, values[1])
        return context.get_dummy_value()

    return types.void(*arguments), codegen


@intrinsic
def transpose(typingctx, columns, at, stride, grid, grid_at, row, gains, gains_at):  # type: ignore[no-untyped-def]
    """columns[at + c * stride + t] = grid[grid_at + t * row + c] * gains[gains_at + t], 4 by 4."""
    arguments = (columns, at, stride, grid, grid_at, row, gains, gains_at)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        arrays = _Arrays(context, builder, signature, values)
        index = [builder.add(values[4], builder.mul(values[5], _I64(t))) for t in range(4)]
        a, b, c, d = (arrays.load(3, at, 4) for at in index)
        low, high = [0, 4, 1, 5], [2, 6, 3, 7]
        ac, bd = _shuffle(builder, a, low, c), _shuffle(builder, b, low, d)
        ac_high, bd_high = _shuffle(builder, a, high, c), _shuffle(builder, b, high, d)
        gain = arrays.load(6, values[7], 4)
        pairs = ((ac, bd, low), (ac, bd, high), (ac_high, bd_high, low), (ac_high, bd_high, high))
        for column, (one, two, lanes) in enumerate(pairs):
            place = builder.add(values[1], builder.mul(values[2], _I64(column)))
            arrays.store(builder.fmul(_shuffle(builder, one, lanes, two), gain), 0, place)
        return context.get_dummy_value()

    return types.void(*arguments), codegen


def _sum_of_blocks(builder: Any, arrays: _Arrays, at: Any, first: Any, n: Any, gain: Any) -> None:
    """array 0[at + k] += sum over b < n of gain(b, k) * array 2[first + b * SPAN + k], k < SPAN.

    Nothing is fused, so that the bytes are the same on all processors.

    Args:
        gain: makes of b what makes of the first of LANES values of k their vector.
    """
    pieces = range(0, SPAN, LANES)
    sums = [cgutils.alloca_once(builder, _vector(LANES)) for _ in pieces]
    for piece, total in zip(pieces, sums, strict=True):
        builder.store(arrays.load(0, builder.add(at, _I64(piece)), LANES), total)
    with cgutils.for_range(builder, n, intp=_I64) as loop:
        block = builder.add(first, builder.mul(loop.index, _I64(SPAN)))
        factor = gain(loop.index)
        for piece, total in zip(pieces, sums, strict=True):
            samples = arrays.load(2, builder.add(block, _I64(piece)), LANES)
            product = builder.fmul(factor(piece), samples)
            builder.store(builder.fadd(builder.load(total), product), total)
    for piece, total in zip(pieces, sums, strict=True):
        arrays.store(builder.load(total), 0, builder.add(at, _I64(piece)))


@intrinsic
def add_ramps(typingctx, out, at, blocks, block_at, start, slope, first, n):  # type: ignore[no-untyped-def]
    """out[at + k] += sum over b < n of (start[first + b] + slope[first + b] k) block b[k].

    For k < SPAN, block b being blocks[block_at + b * SPAN :].
    """
    arguments = (out, at, blocks, block_at, start, slope, first, n)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        arrays = _Arrays(context, builder, signature, values)
        _, at, _, block_at, _, _, first, n = values

        def gain(b: Any) -> Any:
            column = builder.add(first, b)
            start = _splat(builder, arrays.scalar(4, column), LANES)
            slope = _splat(builder, arrays.scalar(5, column), LANES)

            def at_piece(piece: int) -> Any:
                time = ir.Constant(_vector(LANES), [float(piece + k) for k in range(LANES)])
                return builder.fadd(start, builder.fmul(slope, time))

            return at_piece

        _sum_of_blocks(builder, arrays, at, block_at, n, gain)
        return context.get_dummy_value()

    return types.void(*arguments), codegen


@intrinsic
def add_blocks(typingctx, out, at, blocks, block_at, weights, first, n):  # type: ignore[no-untyped-def]
    """out[at + k] += sum over b < n of weights[first + b] block b[k]; see `add_ramps`."""
    arguments = (out, at, blocks, block_at, weights, first, n)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        arrays = _Arrays(context, builder, signature, values)
        _, at, _, block_at, _, first, n = values

        def gain(b: Any) -> Any:
            weight = _splat(builder, arrays.scalar(4, builder.add(first, b)), LANES)
            return lambda piece: weight

        _sum_of_blocks(builder, arrays, at, block_at, n, gain)
        return context.get_dummy_value()

    return types.void(*arguments), codegen


@intrinsic
def filter_four(typingctx, out, rows, stride, coefficients, n):  # type: ignore[no-untyped-def]
    """Run a second-order recursion along four rows of float32, side by side in float64.

    y[k] = (b0 x[k] + b1 x[k-1] + b2 x[k-2] - a2 y[k-2]) - a1 y[k-1], nothing fused. Row c begins at
    c * n in `out` and at c * stride in `rows`; the coefficients are b0, b1, b2, a1, a2.
    """
    arguments = (out, rows, stride, coefficients, n)
    wide = ir.VectorType(_F64, CHANNELS)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        arrays = _Arrays(context, builder, signature, values)
        empty = ir.Constant(wide, ir.Undefined)
        spread = ir.Constant(ir.VectorType(_I32, CHANNELS), [0] * CHANNELS)

        def everywhere(index: int) -> Any:
            scalar = arrays.scalar(3, _I64(index))
            return builder.shuffle_vector(
                builder.insert_element(empty, scalar, _I32(0)), empty, spread
            )

        b0, b1, b2, a1, a2 = (everywhere(index) for index in range(5))
        x1, x2, y1, y2 = (cgutils.alloca_once(builder, wide) for _ in range(4))
        for state in (x1, x2, y1, y2):
            builder.store(ir.Constant(wide, [0.0] * CHANNELS), state)
        starts = [
            (builder.mul(values[4], _I64(c)), builder.mul(values[2], _I64(c)))
            for c in range(CHANNELS)
        ]
        with cgutils.for_range(builder, values[4], intp=_I64) as loop:
            narrow = ir.Constant(_vector(CHANNELS), ir.Undefined)
            for c, (_, start) in enumerate(starts):
                sample = arrays.scalar(1, builder.add(start, loop.index))
                narrow = builder.insert_element(narrow, sample, _I32(c))
            x = builder.fpext(narrow, wide)
            last, before = builder.load(x1), builder.load(x2)
            y = builder.fadd(builder.fmul(b0, x), builder.fmul(b1, last))
            y = builder.fadd(y, builder.fmul(b2, before))
            y = builder.fsub(y, builder.fmul(a2, builder.load(y2)))
            y = builder.fsub(y, builder.fmul(a1, builder.load(y1)))
            for state, value in ((x2, last), (x1, x), (y2, builder.load(y1)), (y1, y)):
                builder.store(value, state)
            narrow = builder.fptrunc(y, _vector(CHANNELS))
            for c, (start, _) in enumerate(starts):
                sample = builder.extract_element(narrow, _I32(c))
                builder.store(sample, arrays.pointer(0, builder.add(start, loop.index)))
        return context.get_dummy_value()

    return types.void(*arguments), codegen
