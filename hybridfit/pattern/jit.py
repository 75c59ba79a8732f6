"""The one place where the options of numba are chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": True}


def kernel(function: F) -> F:
    """Compile a kernel: cached on disk, free of the GIL, sums may be reordered."""
    return numba.njit(**OPTIONS)(function)


def _adder(lanes: int) -> Callable[..., None]:
    """An intrinsic for total[to : to + lanes] += factor · source[at : at + lanes].

    total and source are flat float32 arrays, factor a float32.  Written out as one vector operation
    because numba leaves so short a loop to scalar instructions, three times as slow.
    """

    def add_scaled(typingctx, total, to, source, at, factor):  # type: ignore[no-untyped-def]
        signature = types.void(total, to, source, at, factor)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            vector = ir.VectorType(ir.FloatType(), lanes)

            def pointer(array, kind, index):  # type: ignore[no-untyped-def]
                data = context.make_array(kind)(context, builder, array).data
                return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

            target = pointer(arguments[0], signature.args[0], arguments[1])
            origin = pointer(arguments[2], signature.args[2], arguments[3])
            scale = ir.Constant(vector, ir.Undefined)
            for lane in range(lanes):
                scale = builder.insert_element(scale, arguments[4], ir.Constant(ir.IntType(32), lane))
            product = builder.fmul(scale, builder.load(origin, align=4), flags=("fast",))
            total_now = builder.load(target, align=4)
            builder.store(builder.fadd(total_now, product, flags=("fast",)), target, align=4)
            return context.get_dummy_value()

        return signature, generate

    add_scaled.__name__ = f"add_scaled_{lanes}"
    return intrinsic(add_scaled)


add_scaled_4 = _adder(4)
add_scaled_8 = _adder(8)


def _copier() -> Callable[..., None]:
    """An intrinsic for total[to : to + 8] = source[at : at + 8], flat float32 arrays: one load, one store."""

    def copy_8(typingctx, total, to, source, at):  # type: ignore[no-untyped-def]
        signature = types.void(total, to, source, at)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            vector = ir.VectorType(ir.FloatType(), 8)

            def pointer(array, kind, index):  # type: ignore[no-untyped-def]
                data = context.make_array(kind)(context, builder, array).data
                return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())

            value = builder.load(pointer(arguments[2], signature.args[2], arguments[3]), align=4)
            builder.store(value, pointer(arguments[0], signature.args[0], arguments[1]), align=4)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(copy_8)


copy_8 = _copier()


def _mixer() -> Callable[..., None]:
    """An intrinsic that interpolates eight images at once, which lie side by side at 4 × 4 grid points:

        out[to : to + 8] = factor · Σ_ij weight[at + 4i + j] · source[start_j + i · stride :][: 8]

    and += where add is 1.  out, source and weight are flat float32 arrays, start is four indices, factor
    a float32.  Sums stay in registers: an array that is written in pieces and read whole a moment later
    waits until all that was stored before has reached the cache.
    """

    def mix_4x4(typingctx, out, to, source, start, stride, weight, at, factor, add):  # type: ignore[no-untyped-def]
        signature = types.void(out, to, source, start, stride, weight, at, factor, add)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            vector = ir.VectorType(ir.FloatType(), 8)
            out, to, source, start, stride, weight, at, factor, add = arguments

            def address(i, array, index):  # type: ignore[no-untyped-def]
                data = context.make_array(signature.args[i])(context, builder, array).data
                return builder.gep(data, [index])

            def spread(value):  # type: ignore[no-untyped-def]
                scale = ir.Constant(vector, ir.Undefined)
                for lane in range(8):
                    scale = builder.insert_element(scale, value, ir.Constant(ir.IntType(32), lane))
                return scale

            sums, columns = [], [builder.extract_value(start, j) for j in range(4)]
            for i in range(4):
                for j in range(4):
                    index = builder.add(at, ir.Constant(ir.IntType(64), 4 * i + j))
                    scale = spread(builder.load(address(5, weight, index)))
                    part = builder.bitcast(address(2, source, columns[j]), vector.as_pointer())
                    product = builder.fmul(scale, builder.load(part, align=4), flags=("contract",))
                    if i == 0:  # four sums, so that none waits for another
                        sums.append(product)
                    else:
                        sums[j] = builder.fadd(sums[j], product, flags=("contract",))
                    columns[j] = builder.add(columns[j], stride)
            whole = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
            whole = builder.fmul(spread(factor), whole, flags=("contract",))
            target = builder.bitcast(address(0, out, to), vector.as_pointer())
            with builder.if_else(builder.icmp_signed("!=", add, ir.Constant(add.type, 0))) as (more, set_):
                with more:
                    now = builder.load(target, align=4)
                    builder.store(builder.fadd(now, whole, flags=("contract",)), target, align=4)
                with set_:
                    builder.store(whole, target, align=4)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(mix_4x4)


mix_4x4 = _mixer()
