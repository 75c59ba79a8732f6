"""Convolutions and dense layers as products of small tiles, which stay in the registers.

    out[p, o] = bend(Σ_i Σ_c x[p + i, c] · W[i, c, o] + b[o] + added[p, o])

A tile is TILE pixels p in a row times WIDTH outputs o.  Its sums run over what the weights run over, in their
order and one after the other: a pixel's answer does not depend on its neighbours in the tile, nor on threads.
Maps have a margin of one pixel of zeros, so that the three neighbours of a pixel in a row are one piece of
memory; numbers of channels are multiples of WIDTH, with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from hybridfit.pattern.jit import kernel

LANES, VECTORS = 8, 2  # float32 in a vector, and vectors of outputs
WIDTH = LANES * VECTORS
TILE = 5  # pixels; sides of maps are multiples of it


def _tile(pixels: int) -> Any:
    """An intrinsic for the sums of a tile.

    out[to + r·width + o] = Σ_{i < pieces} Σ_{c < length} x[at + r·step + i·jump + c] · panel[…], r < pixels,
    o < WIDTH; panel goes on from `begin`, WIDTH numbers for each (i, c).  All arrays are flat float32, and
    numbers are (at, step, pieces, jump, length, begin, to, width).
    """

    def tile(typingctx, x, panel, out, numbers):  # type: ignore[no-untyped-def]
        signature = types.void(x, panel, out, numbers)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            vector, whole, flags = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64), ("contract",)
            source, weights, target = (
                context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in range(3)
            )
            at, step, pieces, jump, length, begin, to, width = (
                builder.extract_value(arguments[3], i) for i in range(8)
            )

            def times(value, number):  # type: ignore[no-untyped-def]
                return builder.mul(value, ir.Constant(whole, number))

            def moved(pointer, *offsets):  # type: ignore[no-untyped-def]
                for offset in offsets:
                    pointer = builder.gep(pointer, [offset])
                return pointer

            def as_vector(pointer):  # type: ignore[no-untyped-def]
                return builder.bitcast(pointer, vector.as_pointer())

            nothing, first = ir.Constant(vector, None), ir.Constant(ir.IntType(32), 0)
            undefined = ir.Constant(vector, ir.Undefined)
            everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
            sums = [
                [cgutils.alloca_once_value(builder, nothing) for _ in range(VECTORS)] for _ in range(pixels)
            ]
            place = cgutils.alloca_once_value(builder, begin)
            with cgutils.for_range(builder, pieces) as outer:
                piece = moved(source, at, builder.mul(outer.index, jump))
                starts = [moved(piece, times(step, r)) for r in range(pixels)]
                with cgutils.for_range(builder, length) as inner:
                    here = moved(weights, builder.load(place))
                    own = [
                        builder.load(as_vector(moved(here, ir.Constant(whole, LANES * v))), align=4)
                        for v in range(VECTORS)
                    ]
                    builder.store(builder.add(builder.load(place), ir.Constant(whole, WIDTH)), place)
                    for r in range(pixels):
                        value = builder.load(moved(starts[r], inner.index))
                        value = builder.insert_element(undefined, value, first)
                        value = builder.shuffle_vector(value, undefined, everywhere)
                        for v in range(VECTORS):
                            product = builder.fmul(value, own[v], flags=flags)
                            total = builder.fadd(builder.load(sums[r][v]), product, flags=flags)
                            builder.store(total, sums[r][v])
            for r in range(pixels):
                for v in range(VECTORS):
                    end = moved(target, to, times(width, r), ir.Constant(whole, LANES * v))
                    builder.store(builder.load(sums[r][v]), as_vector(end), align=4)
            return context.get_dummy_value()

        return signature, generate

    tile.__name__ = f"tile_{pixels}"
    return intrinsic(tile)


tile_of_many, tile_of_one = _tile(TILE), _tile(1)


@kernel
def convolve(maps, stride, panels, bias, added, out):
    """Convolution, addition and ReLU of maps.

    Parameters
    ----------
    maps : (n, rows + 2, cols + 2, inputs) float32
    stride : int
    panels : (outputs/WIDTH, size² · inputs, WIDTH) float32, of a size of 3 or 1
    bias : (outputs,) float32
    added : (n, …) or (1, …) float32, as out, which is added before the ReLU; or (0, …)
    out : (n, rows/stride + 2, cols/stride + 2, outputs) float32, filled inside its margin
    """
    n, rows, cols, outputs = out.shape[0], out.shape[1] - 2, out.shape[2] - 2, out.shape[3]
    inputs, own, length = maps.shape[3], maps[0].size, panels.shape[1]
    size = 1 if length == inputs else 3
    down = maps.shape[2] * inputs
    margin = 0 if size == 3 else down + inputs
    source, target, weights = maps.ravel(), out.ravel(), panels.ravel()
    for m in range(n):
        for p in range(panels.shape[0]):
            begin, o = p * length * WIDTH, p * WIDTH
            for i in range(rows):
                at = m * own + stride * i * down + margin
                to = ((m * (rows + 2) + i + 1) * (cols + 2) + 1) * outputs + o
                j = 0
                while j < cols:
                    where, there = at + stride * j * inputs, to + j * outputs
                    numbers = (where, stride * inputs, size, down, size * inputs, begin, there, outputs)
                    if j + TILE <= cols:
                        tile_of_many(source, weights, target, numbers)
                        j += TILE
                    else:
                        tile_of_one(source, weights, target, numbers)
                        j += 1
        for i in range(1, rows + 1):
            for j in range(1, cols + 1):
                here = out[m, i, j]
                if added.shape[0] == 0:
                    for o in range(outputs):
                        here[o] = max(here[o] + bias[o], np.float32(0))
                else:
                    more = added[min(m, added.shape[0] - 1), i, j]
                    for o in range(outputs):
                        here[o] = max(here[o] + bias[o] + more[o], np.float32(0))


@kernel
def dense(x, panels, bias, bends, out):
    """out (n, outputs) = x (n, inputs) · W + b, with a ReLU if it bends; panels as of `convolve`."""
    n, inputs, outputs = x.shape[0], x.shape[1], out.shape[1]
    source, target, weights = x.ravel(), out.ravel(), panels.ravel()
    for p in range(panels.shape[0]):
        begin, o = p * inputs * WIDTH, p * WIDTH
        m = 0
        while m < n:
            numbers = (m * inputs, inputs, 1, 0, inputs, begin, m * outputs + o, outputs)
            if m + TILE <= n:
                tile_of_many(source, weights, target, numbers)
                m += TILE
            else:
                tile_of_one(source, weights, target, numbers)
                m += 1
    for m in range(n):
        for o in range(outputs):
            value = out[m, o] + bias[o]
            out[m, o] = max(value, np.float32(0)) if bends else value


def padded(count: int) -> int:
    """The multiple of WIDTH that so many channels need."""
    return -(-count // WIDTH) * WIDTH


def panels_of(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Panels (outputs/WIDTH, inputs, WIDTH) of a matrix (inputs, outputs)."""
    inputs, outputs = matrix.shape
    whole = np.zeros((inputs, padded(outputs)), np.float32)
    whole[:, :outputs] = matrix
    return np.ascontiguousarray(whole.reshape(inputs, -1, WIDTH).transpose(1, 0, 2))
