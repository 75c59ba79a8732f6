"""Crystals that do not exist, for the training: known ones with other elements, cells, places and zone axes.

A network learns the crystals that it is shown.  There are some hundred structures to show; made into others
they are as many as are wanted, as various as those that a user has.
"""

from __future__ import annotations

import gemmi
import numpy as np

from hybridfit.physics.crystal import Crystal

Zone = tuple[int, int, int]

ANIONS = ("B", "C", "N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I")
NOBLE = ("He", "Ne", "Ar", "Kr", "Xe", "Rn")
HEAVIEST = 83  # Bi
KEPT = 0.3  # of the elements
STRETCHED = 0.06  # standard deviation of the logarithm: of the cell, and of each of its edges
MOVED, BY = 0.5, 0.02  # of the crystals; of the cell, the standard deviation of each coordinate
DEBYE_WALLER = 0.3, 1.5  # Å²
OWN_ZONE = 0.5  # of the crystals; others are seen along any zone axis with indices up to LARGEST_INDEX
LARGEST_INDEX = 2

_cations = tuple(
    name
    for name in (gemmi.Element(z).name for z in range(3, HEAVIEST + 1))
    if name not in ANIONS and name not in NOBLE
)


def invented(crystal: Crystal, zone: Zone, rng: np.random.Generator) -> tuple[Crystal, Zone]:
    """Another crystal, and a zone axis [uvw] of it.

    Anions become anions, other elements become others, each kind of atom as a whole.

    Parameters
    ----------
    crystal : Crystal
    zone : (int, int, int)
    rng : numpy.random.Generator
    """
    other: dict[str, str] = {}
    for name in sorted(set(crystal.elements)):
        taken = str(rng.choice(ANIONS if name in ANIONS else _cations))
        other[name] = name if rng.random() < KEPT else taken
    cell = np.array(crystal.cell)
    cell[:3] *= np.exp(STRETCHED * (rng.normal() + rng.normal(size=3)))
    positions = crystal.positions
    if rng.random() < MOVED:
        positions = positions + BY * rng.normal(size=positions.shape)
    made = Crystal(
        cell=tuple(cell),
        elements=tuple(other[name] for name in crystal.elements),
        positions=positions,
        occupancies=crystal.occupancies,
        debye_waller=np.full(len(positions), rng.uniform(*DEBYE_WALLER)),
    )
    return made, zone if rng.random() < OWN_ZONE else _any_zone(rng)


def _any_zone(rng: np.random.Generator) -> Zone:
    while True:
        u, v, w = (int(each) for each in rng.integers(-LARGEST_INDEX, LARGEST_INDEX + 1, 3))
        if np.gcd.reduce([u, v, w]) == 1:
            return u, v, w
