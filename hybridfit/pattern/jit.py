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
