"""Three and four indices of hexagonal crystals."""

from __future__ import annotations

import itertools
import math

import pytest

from hybridfit.physics.miller import direction_of, is_hexagonal, plane_of, weber


@pytest.mark.parametrize(
    ("four", "three"),
    [
        ((0, 0, 0, 1), (0, 0, 1)),
        ((2, -1, -1, 0), (1, 0, 0)),
        ((1, 1, -2, 0), (1, 1, 0)),
        ((1, 0, -1, 0), (2, 1, 0)),
    ],
)
def test_directions(four: tuple[int, ...], three: tuple[int, ...]) -> None:
    assert direction_of(four) == three and weber(three) == four


def test_there_and_back() -> None:
    for three in itertools.product(range(-3, 4), repeat=3):
        if math.gcd(*three) == 1:
            assert direction_of(weber(three)) == three


def test_planes_and_sums() -> None:
    assert plane_of((1, 1, -2, 0)) == (1, 1, 0)
    for function in (direction_of, plane_of):
        with pytest.raises(ValueError, match="must add up to 0"):
            function((1, 1, 1, 0))


def test_cells() -> None:
    assert is_hexagonal((3.19, 3.19, 5.19, 90, 90, 120))
    assert not is_hexagonal((3.9, 3.9, 3.9, 90, 90, 90)) and not is_hexagonal((3.1, 3.2, 5, 90, 90, 120))
