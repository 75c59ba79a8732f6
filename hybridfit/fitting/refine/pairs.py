"""Sums over pairs of pixels of a residual: differences of neighbours, products of pixels farther apart."""

from __future__ import annotations

import numpy as np

from hybridfit.pattern.jit import kernel

DROPPED = np.uint32(17)  # bits of a float32: six of its mantissa stay
LEVELS = 1 << 14  # of positive numbers


@kernel
def on_image(values, mask):
    """Values (n,) on the pixels of mask (rows, cols); 0 elsewhere."""
    out, count = np.zeros(mask.shape), 0
    flat, inside = out.ravel(), mask.ravel()
    for i in range(flat.size):
        if inside[i]:
            flat[i] = values[count]
            count += 1
    return out


@kernel
def add_by_level(squares, levels, counted, table):
    """table[level] += (1, square, mean) of the pairs that count; levels are means, float32, not below 0."""
    key = levels.view(np.uint32)
    for i in range(squares.size):
        if counted[i]:
            row = table[key[i] >> DROPPED]
            row[0] += 1.0
            row[1] += squares[i]
            row[2] += levels[i]


@kernel
def differences_by_level(residual, model, mask, shifts, largest):
    """Half the squares of differences of a residual, summed by the mean of the model of both pixels.

    Parameters
    ----------
    residual, model : (rows, cols) arrays
    mask : (rows, cols) bool array
        Both pixels of a pair are in it.
    shifts : (s, 2) int array, rows ≥ 0, cols
        From the first pixel of a pair to the second.
    largest : float
        Means are in its units, so that they are about 1; those below 0 are 0.

    Returns
    -------
    (levels, 3) array
        How many pairs, the sums of their squares and of their means; levels 1.6 % apart, from the lowest.
    """
    rows, cols = mask.shape
    table = np.zeros((LEVELS, 3))
    squares, means, counted = np.empty(cols), np.empty(cols, np.float32), np.empty(cols, np.bool_)
    for s in range(shifts.shape[0]):
        dy, dx = shifts[s, 0], shifts[s, 1]
        first, last = max(0, -dx), min(cols, cols - dx)
        size = last - first
        for r in range(rows - dy):
            for i in range(size):
                c = first + i
                d = residual[r, c] - residual[r + dy, c + dx]
                squares[i] = d * d / 2
                means[i] = max((model[r, c] + model[r + dy, c + dx]) / (2 * largest), 0.0)
                counted[i] = mask[r, c] and mask[r + dy, c + dx]
            add_by_level(squares[:size], means[:size], counted[:size], table)
    return table


@kernel
def means_in_groups(table, groups):
    """(2, groups): means of squares and means of a table by level, in groups of equally many pairs.

    Of a level that several groups share, each has its part.
    """
    total = 0.0
    for k in range(table.shape[0]):
        total += table[k, 0]
    out, g, filled, each = np.zeros((2, groups)), 0, 0.0, total / groups
    for k in range(table.shape[0]):
        count = table[k, 0]
        left = count
        while left > 0 and g < groups:
            part = left if g == groups - 1 else min(left, each - filled)
            out[0, g] += table[k, 1] * (part / count)
            out[1, g] += table[k, 2] * (part / count)
            left -= part
            filled += part
            if filled >= each * (1 - 1e-12) and g < groups - 1:
                g, filled = g + 1, 0.0
    return out / max(each, 1e-300)


@kernel
def product(a, b):
    """Σ a · b."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@kernel
def products_within(image, reach):
    """(reach + 1, 2·reach + 1): Σ_i z_i z_{i+Δ} for shifts Δ of 0 … reach rows and −reach … reach columns.

    image (rows, cols) is 0 where nothing is compared.
    """
    rows, cols = image.shape
    out = np.zeros((reach + 1, 2 * reach + 1))
    for r in range(rows):
        for dy in range(min(reach + 1, rows - r)):
            for dx in range(-reach, reach + 1):
                first, last = max(0, -dx), min(cols, cols - dx)
                out[dy, dx + reach] += product(image[r, first:last], image[r + dy, first + dx : last + dx])
    return out
