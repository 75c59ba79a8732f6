"""Crystals that are invented for the training: what may change, and what may not."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.network.alignment.invented import ANIONS, LARGEST_INDEX, NOBLE, invented
from hybridfit.physics.crystal import Crystal


@pytest.fixture(scope="module")
def perovskite(crystals) -> Crystal:
    return Crystal.from_cif(crystals["SrTiO3"])


@pytest.mark.parametrize("seed", range(20))
def test_sites_stay_and_what_is_on_them_changes(seed, perovskite):
    made, zone = invented(perovskite, (0, 0, 1), np.random.default_rng(seed))
    assert len(made.elements) == len(perovskite.elements)
    became = {(old, new) for old, new in zip(perovskite.elements, made.elements, strict=True)}
    assert len(became) == 3  # a kind of atom becomes another as a whole
    assert all((old in ANIONS) == (new in ANIONS) for old, new in became)
    assert not {new for _, new in became} & set(NOBLE)
    assert made.cell[3:] == perovskite.cell[3:]
    assert np.abs(np.log(np.divide(made.cell[:3], perovskite.cell[:3]))).max() < 0.5
    assert np.gcd.reduce(zone) == 1 and np.abs(zone).max() <= LARGEST_INDEX


def test_they_are_many_and_the_seed_decides(perovskite):
    made = [invented(perovskite, (0, 0, 1), np.random.default_rng(seed)) for seed in range(40)]
    assert len({each.elements for each, _ in made}) > 30
    assert 10 < sum(zone == (0, 0, 1) for _, zone in made) < 35
    again, zone = invented(perovskite, (0, 0, 1), np.random.default_rng(7))
    assert (again.elements, again.cell, zone) == (made[7][0].elements, made[7][0].cell, made[7][1])
    assert np.array_equal(again.positions, made[7][0].positions)
