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


def _add_scaled_8(typingctx, total, to, source, at, factor):  # type: ignore[no-untyped-def]
    """total[to : to + 8] += factor · source[at : at + 8], as one vector operation.

    total and source are flat float32 arrays, factor a float32.  Written out because numba leaves
    so short a loop to scalar instructions, three times as slow.
    """
    signature = types.void(total, to, source, at, factor)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        eight = ir.VectorType(ir.FloatType(), 8)

        def pointer(array, kind, index):  # type: ignore[no-untyped-def]
            data = context.make_array(kind)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [index]), eight.as_pointer())

        target = pointer(arguments[0], signature.args[0], arguments[1])
        origin = pointer(arguments[2], signature.args[2], arguments[3])
        scale = ir.Constant(eight, ir.Undefined)
        for lane in range(8):
            scale = builder.insert_element(scale, arguments[4], ir.Constant(ir.IntType(32), lane))
        product = builder.fmul(scale, builder.load(origin, align=4), flags=("fast",))
        builder.store(builder.fadd(builder.load(target, align=4), product, flags=("fast",)), target, align=4)
        return context.get_dummy_value()

    return signature, generate


add_scaled_8: Callable[..., None] = intrinsic(_add_scaled_8)
