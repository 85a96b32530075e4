"""Butterflies of a Fourier transform on vectors: eight complex numbers side by side.

A row of data is 16 float32, the real parts of eight numbers and then their imaginary parts: one
cache line, two vector registers. Each of the eight lanes is a transform of its own, so nothing is
ever shuffled, and as no operation is fused or reordered, the same samples come out on every
processor.
"""

from __future__ import annotations

import math
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES: Final = 8
ROW: Final = 2 * LANES

_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_F32, LANES)

Complex = tuple[Any, Any]
"""A complex number per lane: values of the real and of the imaginary parts."""


def _constant(value: float) -> Any:
    single = ir.Constant(_F32, value)
    return ir.Constant(_VECTOR, [single] * LANES)


def _splat(builder: Any, scalar: Any) -> Any:
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, scalar, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, first, zeros)


def _add(b: Any, p: Complex, q: Complex) -> Complex:
    return b.fadd(p[0], q[0]), b.fadd(p[1], q[1])


def _subtract(b: Any, p: Complex, q: Complex) -> Complex:
    return b.fsub(p[0], q[0]), b.fsub(p[1], q[1])


def _scale(b: Any, p: Complex, factor: float) -> Complex:
    constant = _constant(factor)
    return b.fmul(p[0], constant), b.fmul(p[1], constant)


def _minus_i(b: Any, p: Complex, q: Complex) -> Complex:
    """p - i q."""
    return b.fadd(p[0], q[1]), b.fsub(p[1], q[0])


def _plus_i(b: Any, p: Complex, q: Complex) -> Complex:
    """p + i q."""
    return b.fsub(p[0], q[1]), b.fadd(p[1], q[0])


def _two(b: Any, z: list[Complex]) -> list[Complex]:
    return [_add(b, z[0], z[1]), _subtract(b, z[0], z[1])]


def _three(b: Any, z: list[Complex]) -> list[Complex]:
    total, difference = _add(b, z[1], z[2]), _subtract(b, z[1], z[2])
    middle = _subtract(b, z[0], _scale(b, total, 0.5))
    side = _scale(b, difference, math.sqrt(0.75))
    return [_add(b, z[0], total), _minus_i(b, middle, side), _plus_i(b, middle, side)]


def _four(b: Any, z: list[Complex]) -> list[Complex]:
    even, odd = _two(b, [z[0], z[2]]), _two(b, [z[1], z[3]])
    return [
        _add(b, even[0], odd[0]),
        _minus_i(b, even[1], odd[1]),
        _subtract(b, even[0], odd[0]),
        _plus_i(b, even[1], odd[1]),
    ]


def _five(b: Any, z: list[Complex]) -> list[Complex]:
    c1, c2 = math.cos(0.4 * math.pi), math.cos(0.8 * math.pi)
    s1, s2 = math.sin(0.4 * math.pi), math.sin(0.8 * math.pi)
    outer, outer_side = _two(b, [z[1], z[4]])
    inner, inner_side = _two(b, [z[2], z[3]])
    p = _add(b, z[0], _add(b, _scale(b, outer, c1), _scale(b, inner, c2)))
    q = _add(b, z[0], _add(b, _scale(b, outer, c2), _scale(b, inner, c1)))
    r = _add(b, _scale(b, outer_side, s1), _scale(b, inner_side, s2))
    s = _subtract(b, _scale(b, outer_side, s2), _scale(b, inner_side, s1))
    first = _add(b, z[0], _add(b, outer, inner))
    return [first, _minus_i(b, p, r), _minus_i(b, q, s), _plus_i(b, q, s), _plus_i(b, p, r)]


def _eight(b: Any, z: list[Complex]) -> list[Complex]:
    even, odd = _four(b, z[0::2]), _four(b, z[1::2])
    half = _constant(math.sqrt(0.5))
    re, im = odd[1]
    one = b.fmul(b.fadd(re, im), half), b.fmul(b.fsub(im, re), half)
    re, im = odd[3]
    three = b.fmul(b.fsub(im, re), half), b.fneg(b.fmul(b.fadd(re, im), half))
    low = [_add(b, even[0], odd[0]), _add(b, even[1], one)]
    low += [_minus_i(b, even[2], odd[2]), _add(b, even[3], three)]
    high = [_subtract(b, even[0], odd[0]), _subtract(b, even[1], one)]
    high += [_plus_i(b, even[2], odd[2]), _subtract(b, even[3], three)]
    return [*low, *high]


_DFT = {2: _two, 3: _three, 4: _four, 5: _five, 8: _eight}
RADICES: Final = tuple(_DFT)

PLAIN: Final = 0
INNER: Final = 1
ALL: Final = 2


def passing(twiddles: int) -> Any:
    """Make the intrinsic of one Stockham pass.

    run(radix, places, stride, source, at, row, target, to, to_row, factors, factor_at,
        factor_place, factor_out, re)

    For every place p < places and q < stride, rows q + stride (p + places j) of the source, j from
    0 to radix - 1, are transformed, and output k goes to row q + stride (radix p + k) of the
    target. It is multiplied by the complex factor (a pair of floats) at factors[factor_at +
    p factor_place + (q + stride (radix p + k)) factor_out]; with INNER at factors[factor_at +
    p factor_place + 2 (k - 1)], the first one being 1; with PLAIN by nothing. `re` is 0; LANES
    swaps real and imaginary parts on the way in and out, which turns the forward transform into the
    inverse one. Rows begin at `at` and `to`, `row` and `to_row` apart; all is counted in float32.
    """

    @intrinsic
    def run(  # type: ignore[no-untyped-def]
        typingctx, radix, places, stride, source, at, row, target, to, to_row, factors, factor_at,
        factor_place, factor_out, re,
    ):  # fmt: skip
        arguments = (
            radix, places, stride, source, at, row, target, to, to_row, factors, factor_at,
            factor_place, factor_out, re,
        )  # fmt: skip

        def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
            plain = [
                context.make_array(signature.args[n])(context, builder, value).data
                if n in (3, 6, 9)
                else value
                for n, value in enumerate(values)
            ]
            for choice in RADICES:
                with builder.if_then(builder.icmp_signed("==", plain[0], _I64(choice))):
                    function = _pass_function(builder.module, choice, twiddles)
                    builder.call(function, plain[1:])
            return context.get_dummy_value()

        return types.void(*arguments), codegen

    return run


def _pass_function(module: Any, radix: int, twiddles: int) -> Any:
    """The pass as a function of the module, kept out of its callers: it is compiled once."""
    name = f"scenesynth.pass.{radix}.{twiddles}"
    if name in module.globals:
        return module.globals[name]
    pointer = _F32.as_pointer()
    kinds = [pointer if n in (2, 5, 8) else _I64 for n in range(13)]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    b = ir.IRBuilder(function.append_basic_block())
    (places, stride, source, at, row, target, to, to_row, factors, factor_at, factor_place,
     factor_out, re) = function.args  # fmt: skip
    im = b.sub(_I64(LANES), re)
    step, to_step = b.mul(b.mul(stride, places), row), b.mul(stride, to_row)
    out_step = b.mul(stride, factor_out)

    def pointers(data: Any, start: Any, by: Any, n: int) -> list[Any]:
        first = b.add(start, b.mul(by, _I64(n)))
        vector = _VECTOR.as_pointer()
        return [b.bitcast(b.gep(data, [b.add(first, part)]), vector) for part in (re, im)]

    with cgutils.for_range(b, places) as outer, cgutils.for_range(b, stride) as inner:
        p, q = outer.index, inner.index
        here = b.add(q, b.mul(stride, p))
        there = b.add(q, b.mul(b.mul(stride, _I64(radix)), p))
        start, end = b.add(at, b.mul(here, row)), b.add(to, b.mul(there, to_row))
        factor = b.add(factor_at, b.mul(p, factor_place))
        rows = []
        for n in range(radix):
            parts = pointers(source, start, step, n)
            rows.append((b.load(parts[0], align=4), b.load(parts[1], align=4)))
        for n, number in enumerate(_DFT[radix](b, rows)):
            if twiddles == ALL:
                where = b.add(factor, b.add(b.mul(there, factor_out), b.mul(out_step, _I64(n))))
                number = _times(b, number, factors, where)
            elif twiddles == INNER and n > 0:
                number = _times(b, number, factors, b.add(factor, _I64(2 * (n - 1))))
            for value, place in zip(number, pointers(target, end, to_step, n), strict=True):
                b.store(value, place, align=4)
    b.ret_void()
    return function


def _times(b: Any, number: Complex, factors: Any, at: Any) -> Complex:
    """Every lane times the complex factor at factors[at]."""
    c = _splat(b, b.load(b.gep(factors, [at])))
    s = _splat(b, b.load(b.gep(factors, [b.add(at, _I64(1))])))
    re, im = number
    return b.fsub(b.fmul(re, c), b.fmul(im, s)), b.fadd(b.fmul(re, s), b.fmul(im, c))


@intrinsic
def multiply_row(  # type: ignore[no-untyped-def]
    typingctx, source, at, factors, re_at, im_at, target, to, add
):
    """Write a row times a complex factor to target[to], or add it to what is there where `add`.

    The factor is factors[re_at] + i factors[im_at].
    """
    arguments = (source, at, factors, re_at, im_at, target, to, add)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        b = builder
        source_data, factor_data, target_data = (
            context.make_array(signature.args[n])(context, b, values[n]).data for n in (0, 2, 5)
        )
        re, im = (b.load(_lanes(b, source_data, values[1], n), align=4) for n in (0, LANES))
        c, s = (_splat(b, b.load(b.gep(factor_data, [values[n]]))) for n in (3, 4))
        product = b.fsub(b.fmul(re, c), b.fmul(im, s)), b.fadd(b.fmul(re, s), b.fmul(im, c))
        for value, part in zip(product, (0, LANES), strict=True):
            where = _lanes(b, target_data, values[6], part)
            kept = b.select(values[7], b.load(where, align=4), _constant(0.0))
            b.store(b.fadd(kept, value), where, align=4)
        return context.get_dummy_value()

    return types.void(*arguments), codegen


@intrinsic
def prefetch(typingctx, data, at, step, count):  # type: ignore[no-untyped-def]
    """Ask for the cache lines at data[at], data[at + step]..., `count` of them."""

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        byte_pointer = ir.IntType(8).as_pointer()
        name = "llvm.prefetch.p0"
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, _I32, _I32, _I32])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        base = context.make_array(signature.args[0])(context, builder, values[0]).data
        with cgutils.for_range(builder, values[3]) as loop:
            where = builder.add(values[1], builder.mul(values[2], loop.index))
            line = builder.bitcast(builder.gep(base, [where]), byte_pointer)
            builder.call(function, [line, _I32(1), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(data, at, step, count), codegen


def _lanes(b: Any, data: Any, at: Any, beyond: int) -> Any:
    """Pointer to the vector at data[at + beyond]."""
    return b.bitcast(b.gep(data, [b.add(at, _I64(beyond))]), _VECTOR.as_pointer())


@intrinsic
def transpose(typingctx, source, at, step, target, to, to_step):  # type: ignore[no-untyped-def]
    """target[to + j to_step + k] = source[at + k step + j], for j and k from 0 to LANES - 1."""
    arguments = (source, at, step, target, to, to_step)

    def codegen(context, builder, signature, values):  # type: ignore[no-untyped-def]
        b = builder
        source_data, target_data = (
            context.make_array(signature.args[n])(context, b, values[n]).data for n in (0, 3)
        )

        def place(data: Any, start: Any, stride: Any, n: int) -> Any:
            return _lanes(b, data, b.add(start, b.mul(stride, _I64(n))), 0)

        rows = [b.load(place(source_data, values[1], values[2], n), align=4) for n in range(LANES)]
        for bit, masks in ((1, _ELEMENTS), (2, _PAIRS), (4, _FOURS)):
            low = [n for n in range(LANES) if not n & bit]
            for n in low:
                pair = rows[n], rows[n | bit]
                rows[n], rows[n | bit] = (b.shuffle_vector(*pair, _mask(mask)) for mask in masks)
        for n, row in enumerate(rows):
            b.store(row, place(target_data, values[4], values[5], n), align=4)
        return context.get_dummy_value()

    return types.void(*arguments), codegen


# Exchange of single elements, pairs and fours between two vectors; the lanes of the second one
# count from 8 on. Each stays within a form that processors have one instruction for.
_ELEMENTS = (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15)
_PAIRS = (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)
_FOURS = (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)


def _mask(lanes: tuple[int, ...]) -> Any:
    return ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
