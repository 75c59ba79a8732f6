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


def _mixer() -> Callable[..., None]:
    """An intrinsic for out[to : to + 8] = Σ_j weight[at + j] · total[8j : 8j + 8], j = 0 … 15.

    All are flat float32 arrays.
    """

    def mix_16(typingctx, out, to, total, weight, at):  # type: ignore[no-untyped-def]
        signature = types.void(out, to, total, weight, at)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            vector = ir.VectorType(ir.FloatType(), 8)

            def address(i, index):  # type: ignore[no-untyped-def]
                data = context.make_array(signature.args[i])(context, builder, arguments[i]).data
                return builder.gep(data, [index])

            sums = []
            for j in range(16):
                factor = builder.load(address(3, builder.add(arguments[4], ir.Constant(ir.IntType(64), j))))
                scale = ir.Constant(vector, ir.Undefined)
                for lane in range(8):
                    scale = builder.insert_element(scale, factor, ir.Constant(ir.IntType(32), lane))
                part = builder.bitcast(address(2, ir.Constant(ir.IntType(64), 8 * j)), vector.as_pointer())
                product = builder.fmul(scale, builder.load(part, align=4), flags=("contract",))
                if j < 4:  # four sums, so that none waits for another
                    sums.append(product)
                else:
                    sums[j % 4] = builder.fadd(sums[j % 4], product, flags=("contract",))
            whole = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
            builder.store(whole, builder.bitcast(address(0, arguments[1]), vector.as_pointer()), align=4)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(mix_16)


mix_16 = _mixer()
