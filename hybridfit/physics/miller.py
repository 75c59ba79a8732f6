"""Indices of hexagonal crystals with three numbers and with four.

A direction [U V T W] with T = −(U + V) is [u v w] = [U − T, V − T, W]; back, U = (2u − v)/3, V = (2v − u)/3.
A plane (h k i l) with i = −(h + k) is (h k l).

Source: International Tables for Crystallography; Weber symbols.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Three = tuple[int, int, int]


def is_hexagonal(cell: Sequence[float]) -> bool:
    """True for a cell (a, b, c in Å; α, β, γ in degrees) with hexagonal axes."""
    a, b, _, alpha, beta, gamma = cell
    angles = abs(alpha - 90) + abs(beta - 90) + abs(gamma - 120)
    return bool(abs(a - b) < 1e-3 * a and angles < 0.1)


def direction_of(four: Sequence[int]) -> Three:
    """[U V T W] with three indices, without a common factor.

    Raises
    ------
    ValueError
        If U + V + T is not 0.
    """
    u, v, t, w = four
    if u + v + t != 0:
        raise ValueError(f"the first three indices of [{' '.join(map(str, four))}] must add up to 0")
    return _shortest(u - t, v - t, w)


def plane_of(four: Sequence[int]) -> Three:
    """(h k i l) with three indices; raises a ValueError if h + k + i is not 0."""
    h, k, i, l = four
    if h + k + i != 0:
        raise ValueError(f"the first three indices of ({' '.join(map(str, four))}) must add up to 0")
    return h, k, l


def weber(direction: Sequence[int]) -> tuple[int, int, int, int]:
    """[u v w] with four indices, without a common factor."""
    u, v, w = direction
    three = 2 * u - v, 2 * v - u, 3 * w
    factor = math.gcd(*three) or 1
    a, b, c = (n // factor for n in three)
    return a, b, -(a + b), c


def _shortest(u: int, v: int, w: int) -> Three:
    factor = math.gcd(u, v, w) or 1
    return u // factor, v // factor, w // factor
