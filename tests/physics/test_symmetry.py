"""Operations of a projection: the mapping of its atoms, and directions that are each other's images."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.library.recipe import shipped_folder
from hybridfit.physics.bloch import DynamicalMatrix
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project
from hybridfit.physics.symmetry import images_among

QUARTER = np.array([[0, -1], [1, 0]])


def projected(name, zone):
    return project(Crystal.from_cif(shipped_folder() / f"{name}.cif"), zone)


@pytest.mark.parametrize(
    ("name", "zone"), [("SrTiO3", (0, 0, 1)), ("Si", (1, 1, 0)), ("TiO2_rutile", (0, 0, 1))]
)
def test_a_mapping_leads_the_potential_to_itself(name, zone):
    """U_{Mg} = U_g e^{−2πi Mg·t}; the atoms of rutile have to be moved as well as turned."""
    projection = projected(name, zone)
    n = projection.beams(1.2)
    potential = DynamicalMatrix.of(projection, n, 200.0).potential[:, 0]  # U_g, as the first beam is 0
    at = {tuple(each): i for i, each in enumerate(n)}
    moved = False
    for r in projection.symmetry:
        turn, shift = projection.mapping(r)
        assert turn @ turn.T == pytest.approx(np.eye(2), abs=1e-6)
        images = n @ r.T
        phase = np.exp(-2j * np.pi * (images @ projection.basis @ shift))
        there = potential[[at[tuple(each)] for each in images]]
        assert np.abs(there - potential * phase).max() < 2e-3 * np.abs(potential).max()
        moved |= bool(np.abs(phase - 1).max() > 0.1)
    assert moved == (name == "TiO2_rutile")


def test_what_is_no_symmetry_has_no_mapping():
    assert projected("PbTiO3", (1, 0, 0)).mapping(-np.eye(2, dtype=int)) is None


def test_every_point_is_the_image_of_one():
    n = np.stack(np.meshgrid(np.arange(-3, 4), np.arange(-3, 4), indexing="ij"), axis=-1).reshape(-1, 2)
    operations = np.stack([np.linalg.matrix_power(QUARTER, k) for k in range(4)])
    points = n[np.random.default_rng(0).permutation(len(n))] / 3
    found = images_among(points, operations)
    assert sorted(np.concatenate([each.are for each in found])) == list(range(len(points)))
    first = found[0]
    assert first.operation == 0 and np.array_equal(first.of, first.are) and len(first.of) == 13  # 12 · 4 + 1
    for each in found:
        assert np.isin(each.of, first.of).all()
        assert points[each.of] @ operations[each.operation].T == pytest.approx(points[each.are])


def test_points_without_images_stand_for_themselves():
    points = np.array([[0.1, 0.2], [0.3, 0.3], [-0.2, 0.1]])
    found = images_among(points, np.stack([np.eye(2, dtype=int), QUARTER]))
    assert [(each.operation, list(each.of), list(each.are)) for each in found] == [
        (0, [0, 1], [0, 1]),
        (1, [0], [2]),
    ]
