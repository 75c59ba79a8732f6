"""Changes of a crystal by one number: which atoms move, where to, and ambiguous cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit.errors import RecipeError
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.distortions import (
    displaced,
    inverted,
    morphed,
    same_crystal,
    strained,
    substituted,
    switched,
    turned,
    vibrating,
)
from hybridfit.physics.projection import common_beams, frame_of, project, project_all

TETRAGONAL = (3.9, 3.9, 4.1, 90.0, 90.0, 90.0)


@pytest.fixture
def perovskite() -> Crystal:
    """ABO₃ in P 1, every atom a site of its own."""
    return Crystal(
        cell=TETRAGONAL,
        elements=("Pb", "Ti", "O", "O", "O"),
        positions=np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]]),
        occupancies=np.ones(5),
        debye_waller=np.array([0.6, 0.4, 0.8, 0.7, 0.7]),
        labels=("Pb1", "Ti1", "O1", "O2", "O3"),
    )


@pytest.fixture
def polar(perovskite) -> Crystal:
    """The same, titanium and oxygen displaced along c, atoms in another order."""
    positions = perovskite.positions + np.array([[0, 0, 0], [0, 0, 0.04], *[[0, 0, -0.03]] * 3])
    moved = replace(perovskite, positions=positions, debye_waller=perovskite.debye_waller + 0.2)
    return taken(moved, [4, 2, 0, 3, 1])


def taken(crystal: Crystal, order) -> Crystal:
    names = ("elements", "labels")
    arrays = ("positions", "occupancies", "debye_waller")
    return replace(
        crystal,
        **{name: tuple(getattr(crystal, name)[i] for i in order) for name in names},
        **{name: getattr(crystal, name)[order] for name in arrays},
    )


def refused(function, *args, **kwargs) -> str:
    with pytest.raises(RecipeError) as caught:
        function(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- displacements


def test_a_site_moves_by_ångström_along_the_axes(perovskite):
    moved = displaced(perovskite, {"Ti1": (0.1, 0.0, 0.2), "O1": (0.0, -1.0, 0.0)})(perovskite, 2.0)
    away = (moved.positions - perovskite.positions) * perovskite.cell[:3]
    np.testing.assert_allclose(away[1], (0.2, 0, 0.4), atol=1e-12)
    np.testing.assert_allclose(away[2], (0, -2, 0), atol=1e-12)
    np.testing.assert_array_equal(away[[0, 3, 4]], 0)


def test_translations_of_a_site_move_alike(crystals):
    gallium = Crystal.from_cif(crystals["GaAs"])
    moved = displaced(gallium, {"Ga0": (0.1, 0, 0)})(gallium, 1.0)
    away = (moved.positions - gallium.positions) * gallium.cell[0]
    np.testing.assert_allclose(away[[e == "Ga" for e in gallium.elements]], [[0.1, 0, 0]] * 4, atol=1e-12)
    assert len(moved.centring_translations()) == 4


@pytest.mark.parametrize(("crystal", "label"), [("SrTiO3", "O1"), ("Si", "Si0"), ("rutile", "Ti0")])
def test_atoms_that_symmetry_turns_cannot_move_by_one_vector(crystals, crystal, label):
    if crystal == "Si":  # two atoms in the primitive cell, related by inversion
        assert "P 1" in refused(displaced, Crystal.from_cif(crystals["Si"]), {"Si0": (0.1, 0, 0)})
        return
    message = refused(displaced, Crystal.from_cif(crystals[crystal]), {label: (0.1, 0, 0)})
    assert label in message and "P 1" in message


def test_an_unknown_site_lists_the_known_ones(perovskite):
    for make, spec in ((displaced, (0, 0, 1)), (substituted, {"La": 1.0}), (vibrating, 1.0)):
        assert refused(make, perovskite, {"Xx": spec}).endswith("its sites are Pb1, Ti1, O1, O2, O3")


# ---------------------------------------------------------------- between two crystals


def test_a_path_starts_at_one_crystal_and_ends_at_the_other(perovskite, polar):
    change = morphed(perovskite, polar)
    assert same_crystal(change(perovskite, 0.0), perovskite)
    assert same_crystal(change(perovskite, 1.0), polar)
    half = change(perovskite, 0.5)
    np.testing.assert_allclose(half.positions[1] - perovskite.positions[1], (0, 0, 0.02), atol=1e-12)
    np.testing.assert_allclose(half.debye_waller, perovskite.debye_waller + 0.1, atol=1e-12)


def test_atoms_go_the_nearest_way_round(perovskite):
    wrapped = replace(perovskite, positions=(perovskite.positions - [0, 0, 0.02]) % 1.0)
    half = morphed(perovskite, wrapped)(perovskite, 0.5)
    np.testing.assert_allclose(half.positions - perovskite.positions, [[0, 0, -0.01]] * 5, atol=1e-12)


def test_the_other_end_of_a_polarity_is_inverted(perovskite, polar):
    change = switched(perovskite, polar)
    up, down = change(perovskite, 1.0), change(perovskite, -1.0)
    assert same_crystal(up, polar)
    inverse = replace(up, positions=-up.positions)  # the parent is its own inverse
    assert same_crystal(down, inverse) and not same_crystal(up, down)
    assert same_crystal(change(perovskite, 0.0), perovskite)


def test_different_crystals_have_no_path(perovskite, polar):
    longer = replace(polar, cell=(3.9, 3.9, 4.2, 90.0, 90.0, 90.0))
    assert "cells" in refused(morphed, perovskite, longer)
    other = replace(polar, elements=("O", "O", "Sr", "O", "Ti"))
    assert "Pb" in refused(morphed, perovskite, other)
    far = replace(perovskite, positions=perovskite.positions + np.eye(5, 3, -2) * 0.36)
    assert "ambiguous" in refused(switched, perovskite, far)


# ---------------------------------------------------------------- occupancies and vibrations


def test_an_element_takes_the_place_of_another(crystals):
    strontium = Crystal.from_cif(crystals["SrTiO3"])
    mixed = substituted(strontium, {"Sr1": {"La": 1.0, "Sr": -1.0}})(strontium, 0.25)
    at = [i for i, r in enumerate(mixed.positions) if np.allclose(r, strontium.positions[0])]
    assert {mixed.elements[i]: mixed.occupancies[i] for i in at} == {"Sr": 0.75, "La": 0.25}
    np.testing.assert_array_equal(mixed.debye_waller[at], strontium.debye_waller[0])
    again = substituted(mixed, {"Sr1": {"La": 1.0, "Sr": -1.0}})(mixed, 0.25)
    assert again.occupancies[at].tolist() == [0.5, 0.5] and len(again.elements) == len(mixed.elements)


def test_all_atoms_of_an_orbit_are_substituted(crystals):
    oxide = Crystal.from_cif(crystals["SrTiO3"])
    reduced = substituted(oxide, {"O1": {"O": -1.0}})(oxide, 0.1)
    np.testing.assert_allclose(reduced.occupancies[[e == "O" for e in oxide.elements]], 0.9)


@pytest.mark.parametrize(
    ("slopes", "value"), [({"La": 1.0}, 0.1), ({"Pb": -1.0}, 1.5), ({"La": -1.0}, 0.1), ({"Pb": 1.0}, 0.1)]
)
def test_a_site_is_neither_less_than_empty_nor_more_than_full(perovskite, slopes, value):
    message = refused(substituted(perovskite, {"Pb1": slopes}), perovskite, value)
    assert "Pb1" in message and f"value {value:g}" in message and "0 … 1" in message


def test_debye_waller_factors_are_scaled(perovskite):
    warm = vibrating(perovskite, {"all": 1.0, "Pb1": 2.0})(perovskite, 1.5)
    np.testing.assert_allclose(warm.debye_waller / perovskite.debye_waller, [3.0, 1.5, 1.5, 1.5, 1.5])
    one = vibrating(perovskite, {"Ti1": 1.0})(perovskite, 0.5)
    np.testing.assert_allclose(one.debye_waller / perovskite.debye_waller, [1, 0.5, 1, 1, 1])
    assert "negative" in refused(vibrating(perovskite, {"all": 1.0}), perovskite, -1.0)


def test_changes_follow_one_another(perovskite, polar):
    mixed = substituted(perovskite, {"Pb1": {"Ba": 1.0, "Pb": -1.0}})(perovskite, 0.5)
    for change in (displaced(perovskite, {"Pb1": (0, 0, 0.1)}), morphed(perovskite, polar)):
        assert len(change(mixed, 0.5).elements) == 6


# ---------------------------------------------------------------- projections in common


def test_projections_in_common_have_the_symmetry_of_all(perovskite, polar):
    zone = (1, 0, 0)
    both = project_all([perovskite, polar], zone)
    assert len(project(perovskite, zone).symmetry) == 4 and len(both) == 2
    assert len(both[0].symmetry) == len(project(polar, zone).symmetry) == 2
    for each in both:
        np.testing.assert_array_equal(each.basis_hkl, both[0].basis_hkl)
        np.testing.assert_array_equal(each.symmetry, both[0].symmetry)


def test_projections_in_common_have_the_reflections_of_all(crystals):
    silicon = Crystal.from_cif(crystals["Si"])
    lone = replace(silicon, debye_waller=silicon.debye_waller + np.eye(8)[0])  # no translation is left
    alone, both = project(silicon, (0, 0, 1)), project_all([silicon, lone], (0, 0, 1))
    assert abs(np.linalg.det(both[0].basis)) < 0.9 * abs(np.linalg.det(alone.basis))


def test_projections_of_strained_cells_have_the_same_reflections(perovskite):
    """A long axis that becomes the short one does not change which basis vector is the first."""
    change = strained((1, 0, 0), (0, 0, 1), xx=1.0)
    crystals = [change(perovskite, value) for value in (-0.08, 0.0, 0.08)]
    every = project_all(crystals, (1, 0, 0), like=perovskite)
    alone = project(perovskite, (1, 0, 0))
    for value, each in zip((-0.08, 0.0, 0.08), every, strict=True):
        np.testing.assert_array_equal(each.basis_hkl, alone.basis_hkl)
        np.testing.assert_allclose(each.basis, alone.basis / [1 + value, 1], atol=1e-12)
    beams = common_beams(every, 0.8)
    kept = {tuple(n) for each in every for n in each.beams(0.8)}
    assert {tuple(n) for n in beams} == kept and len(beams) == len(kept) > len(every[0].beams(0.8))
    np.testing.assert_array_equal(common_beams(every[1:2], 0.8), every[1].beams(0.8))


def test_projections_in_common_need_cells_that_are_alike(perovskite):
    longer = replace(perovskite, cell=(3.9, 3.9, 8.2, 90, 90, 90))
    assert "100%" in refused(project_all, [perovskite, longer], (1, 0, 0))
    assert "is none" in refused(replace, perovskite, cell=(3.9, 3.9, 4.1, 60, 60, 130))


# ---------------------------------------------------------------- angles and inversions


def test_a_corner_moves_by_the_tangent_of_the_angle(perovskite):
    """A neighbour at distance d of the axis moves by d tan v along the edge."""
    angle, height = 8.0, np.tan(np.deg2rad(8.0)) / 2
    moved = replace(perovskite, positions=perovskite.positions + np.eye(5, 3, -2) * height)
    change = turned(perovskite, moved, angle)
    assert same_crystal(change(perovskite, angle), moved)
    for value in (0.0, 3.0, 5.5):
        away = change(perovskite, value).positions - perovskite.positions
        assert np.rad2deg(np.arctan2(away[2, 0], 0.5)) == pytest.approx(value, abs=1e-9)


def test_an_inversion_takes_all_atoms_with_it(crystals):
    polar = Crystal.from_cif(crystals["GaAs"])
    assert inverted(polar, 1.0).positions.tolist() == polar.positions.tolist()
    other = inverted(polar, -1.0)
    assert not same_crystal(polar, other) and same_crystal(polar, inverted(other, -1.0))
    assert "-1 or 1" in refused(inverted, polar, 0.5)


# ---------------------------------------------------------------- strains


@pytest.mark.parametrize(("zone", "reference"), [((1, 0, 0), (0, 0, 1)), ((1, 1, 0), (1, -1, 1))])
@pytest.mark.parametrize("name", ["perovskite", "rutile"])
def test_vectors_are_stretched_in_the_frame_of_the_pattern(request, crystals, zone, reference, name):
    crystal = Crystal.from_cif(crystals[name]) if name in crystals else request.getfixturevalue(name)
    components = {"xx": 0.5, "yy": -1.0, "xy": 0.7, "zz": 0.3}
    other = strained(zone, reference, **components)(crystal, 0.02)
    stretch = np.diag([1.01, 0.98, 1.006]) + 0.014 * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    vectors = crystal.direct_basis @ frame_of(crystal, zone, reference).T @ stretch
    found = other.direct_basis
    np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, atol=1e-9)  # whatever way it is turned
    assert other.volume == pytest.approx(crystal.volume * np.linalg.det(stretch))
    np.testing.assert_array_equal(other.positions, crystal.positions)


def test_no_strain_is_no_change(perovskite):
    same = strained((1, 0, 0), (0, 0, 1), xx=1.0, xy=0.3)(perovskite, 0.0)
    np.testing.assert_allclose(same.cell, perovskite.cell, rtol=1e-14)


def test_what_is_larger_than_a_strain_is_refused(perovskite):
    message = refused(strained((1, 0, 0), (0, 0, 1), yy=1.0), perovskite, -2.0)
    assert "value -2" in message and "yy" not in message and "per unit of the value" in message
