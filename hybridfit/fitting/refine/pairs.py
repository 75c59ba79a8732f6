"""Sums over pairs of pixels of a residual: differences of neighbours, products of pixels farther apart."""

from __future__ import annotations

import numpy as np

from hybridfit.pattern.jit import kernel


@kernel
def differences_of(residual, model, mask, shifts):
    """Half the squares of differences of a residual, and the mean of the model, of pairs of pixels.

    Parameters
    ----------
    residual, model : (rows, cols) arrays
    mask : (rows, cols) bool array
        Both pixels of a pair are in it.
    shifts : (s, 2) int array, rows ≥ 0, cols
        From the first pixel of a pair to the second.

    Returns
    -------
    (2, pairs) array, means not below 0
    """
    rows, cols = mask.shape
    out = np.empty((2, shifts.shape[0] * rows * cols))
    count = 0
    for s in range(shifts.shape[0]):
        dy, dx = shifts[s, 0], shifts[s, 1]
        for r in range(rows - dy):
            for c in range(max(0, -dx), min(cols, cols - dx)):
                if mask[r, c] and mask[r + dy, c + dx]:
                    d = residual[r, c] - residual[r + dy, c + dx]
                    out[0, count] = d * d / 2
                    out[1, count] = max((model[r, c] + model[r + dy, c + dx]) / 2, 0.0)
                    count += 1
    return out[:, :count]


@kernel
def means_in_groups(values, ranked, groups):
    """(2, groups): means of both rows of values (2, n) in groups of equal size, by the second row.

    ranked is the second row, sorted.  Of equal numbers that several groups share, each has its part.
    """
    n = ranked.size
    bounds = np.array([n * g // groups for g in range(groups + 1)])
    ends = ranked[bounds[1:-1]]
    sums, tied = np.zeros((3, groups)), np.zeros((3, groups))
    for i in range(n):
        at = values[1, i]
        low, high = 0, ends.size
        while low < high:
            middle = (low + high) // 2
            if ends[middle] <= at:
                low = middle + 1
            else:
                high = middle
        out = tied if low > 0 and ends[low - 1] == at else sums
        out[0, low] += values[0, i]
        out[1, low] += at
        out[2, low] += 1
    for k in range(1, groups):
        if tied[2, k] > 0:
            first = np.searchsorted(ranked, ends[k - 1])
            last = first + int(tied[2, k])
            for g in range(groups):
                shared = min(last, bounds[g + 1]) - max(first, bounds[g])
                if shared > 0:
                    sums[:, g] += tied[:, k] * shared / tied[2, k]
    return sums[:2] / np.maximum(sums[2], 1)


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
