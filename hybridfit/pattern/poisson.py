"""Poisson numbers for many expectations: those of `numpy.random.Generator.poisson`, in less time.

Below an expectation of ten, uniform numbers are multiplied until they fall below exp(−λ); above, the
transformed rejection of W. Hörmann, Insurance: Mathematics and Economics 12 (1993) 39, whose ln k! is looked
up.  Both use up uniform numbers as numpy does, so that a seed means the same noise.
"""

from __future__ import annotations

import threading
from math import lgamma, log

import numpy as np
from numpy.typing import NDArray

from hybridfit.pattern.jit import kernel

Array = NDArray[np.float64]
LOG_FACTORIALS = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, 4096.0)))])
LARGE = 1e6  # rounding would tell beyond
MULTIPLIED = 10.0  # from this expectation on numpy rejects
_threads = threading.local()


def poisson(rng: np.random.Generator, expected: Array) -> NDArray[np.int64]:
    """Numbers of the shape of expected, as rng.poisson(expected) draws them; the rng is left elsewhere."""
    flat = np.ascontiguousarray(expected, float).ravel()
    if flat.max(initial=0.0) > LARGE:
        return np.asarray(rng.poisson(expected))
    out = np.empty(flat.size, np.int64)
    left, done = 0, 0
    while done < flat.size:
        # two for a try and some for those that are rejected; small expectations take one for each count
        rest = flat[done:]
        more = 64 + int(2.6 * rest.size + np.sum(rest, where=rest < MULTIPLIED))
        uniform = _room(left + more)
        rng.random(out=uniform[left:])
        done, used = draw(flat, uniform, LOG_FACTORIALS, done, out)
        left = uniform.size - used
        uniform[:left] = uniform[used:].copy()
    return out.reshape(np.shape(expected))


def _room(size: int) -> Array:
    """Memory for uniform numbers, those that were left at its beginning; new memory costs as much time."""
    kept = getattr(_threads, "uniform", None)
    if kept is None or kept.size < size:
        _threads.uniform = np.empty(size + size // 4)
        if kept is not None:
            _threads.uniform[: kept.size] = kept
    found: Array = _threads.uniform[:size]
    return found


@kernel
def draw(expected, uniform, log_factorials, begin, out):
    """Fill out from begin on while uniform numbers last: how far it came, and how many it used."""
    at = 0
    for p in range(begin, expected.size):
        start, lam = at, expected[p]
        if lam == 0:
            out[p] = 0
            continue
        if lam < MULTIPLIED:
            least, product, k = np.exp(-lam), 1.0, -1
            while product > least or k < 0:
                if at == uniform.size:
                    return p, start
                product *= uniform[at]
                at += 1
                k += 1
            out[p] = k
            continue
        b = 0.931 + 2.53 * np.sqrt(lam)
        a = -0.059 + 0.02483 * b
        ratio = 0.9277 - 3.6224 / (b - 2)
        while True:
            if at + 2 > uniform.size:
                return p, start
            u, v = uniform[at] - 0.5, uniform[at + 1]
            at += 2
            us = 0.5 - abs(u)
            k = int(np.floor((2 * a / us + b) * u + lam + 0.43))
            if us >= 0.07 and v <= ratio:
                break
            if k < 0 or (us < 0.013 and v > us):
                continue
            ln_k = log_factorials[k] if k < log_factorials.size else lgamma(k + 1.0)
            inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
            if log(v * inverse_alpha / (a / (us * us) + b)) <= k * log(lam) - lam - ln_k:
                break
        out[p] = k
    return expected.size, at
