"""Cells, zone axes and the symmetry of projections."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hybridfit.errors import RecipeError
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project
from hybridfit.physics.structure_factors import structure_factors


def projection(crystals, name, zone, reference=None):
    return project(Crystal.from_cif(crystals[name]), zone, reference)


# ---------------------------------------------------------------- the crystal


@pytest.mark.parametrize(
    ("name", "atoms", "volume"),
    [
        ("SrTiO3", 5, 3.905**3),
        ("Si", 8, 5.431**3),
        ("GaAs", 8, 5.653**3),
        ("rutile", 6, 4.594**2 * 2.959),
        ("Mg", 2, 3.209**2 * 5.211 * np.sqrt(3) / 2),
        ("triclinic-centred", 5, 128.513),
    ],
)
def test_a_cif_is_expanded_to_the_whole_cell(crystals, name, atoms, volume):
    crystal = Crystal.from_cif(crystals[name])
    assert len(crystal.elements) == atoms
    assert crystal.volume == pytest.approx(volume, rel=1e-5)


def test_debye_waller_factors_are_read(crystals):
    crystal = Crystal.from_cif(crystals["SrTiO3"])
    b = dict(zip(crystal.elements, crystal.debye_waller, strict=True))
    assert b == pytest.approx({"Sr": 0.62, "Ti": 0.44, "O": 0.73})


def test_anisotropic_displacements_become_their_mean(crystals, tmp_path):
    text = crystals["triclinic"].read_text().replace("_cell_angle_beta 97", "_cell_angle_beta 90")
    text = text.replace("_cell_angle_alpha 82", "_cell_angle_alpha 90").replace("gamma 104", "gamma 90")
    aniso = "\n".join(f"_atom_site_aniso_U_{ij}" for ij in ("11", "22", "33", "12", "13", "23"))
    path = tmp_path / "aniso.cif"
    path.write_text(f"{text}loop_\n_atom_site_aniso_label\n{aniso}\nTi0 0.01 0.02 0.03 0 0 0\n")
    assert Crystal.from_cif(path).debye_waller[0] == pytest.approx(8 * np.pi**2 * 0.02)


def test_bases_have_the_lengths_and_angles_of_the_cell(crystals):
    crystal = Crystal.from_cif(crystals["triclinic"])
    basis = crystal.direct_basis
    lengths = np.linalg.norm(basis, axis=1)
    unit = basis / lengths[:, None]
    np.testing.assert_allclose(lengths, crystal.cell[:3])
    cosines = [unit[1] @ unit[2], unit[2] @ unit[0], unit[0] @ unit[1]]
    np.testing.assert_allclose(np.rad2deg(np.arccos(cosines)), crystal.cell[3:])
    np.testing.assert_allclose(crystal.reciprocal_basis @ basis.T, np.eye(3), atol=1e-14)


def test_a_face_centred_crystal_has_four_translations(crystals):
    assert len(Crystal.from_cif(crystals["GaAs"]).centring_translations()) == 4
    assert len(Crystal.from_cif(crystals["SrTiO3"]).centring_translations()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "cannot read the CIF"),
        (lambda text: "no CIF at all", "cannot read the CIF"),
        (lambda text: text[: text.index("loop_")], "holds no atoms"),
        (lambda text: text.replace("_cell_length", "_not_a_length"), "has no unit cell"),
        (lambda text: text.replace("F -4 3 m", "F x"), "unknown space group 'F x'"),
        (lambda text: text.replace("Ga", "Xx"), "'Xx0' \\('Xx'\\) is no known element"),
        (lambda text: text.replace("Ga 0 0 0", "Ga ? 0 0"), "positions must be finite"),
    ],
)
def test_a_bad_cif_is_refused_in_one_line(crystals, tmp_path, change, message):
    path = tmp_path / "bad.cif"
    path.write_text(change(crystals["GaAs"].read_text()))
    with pytest.raises(RecipeError, match=message) as caught:
        Crystal.from_cif(path)
    assert "\n" not in str(caught.value)


def test_a_missing_cif_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"nowhere\.cif"):
        Crystal.from_cif(tmp_path / "nowhere.cif")


# ---------------------------------------------------------------- the zone axis


@pytest.mark.parametrize(
    ("name", "zone", "lengths", "angle"),
    [
        ("SrTiO3", (0, 0, 1), (1 / 3.905, 1 / 3.905), 90),
        ("SrTiO3", (0, 1, 1), (1 / 3.905, 2**0.5 / 3.905), 90),
        ("Si", (0, 0, 1), (2 / 5.431, 2 / 5.431), 90),  # 100 and 110 are absent
        ("Si", (1, 1, 0), (3**0.5 / 5.431, 3**0.5 / 5.431), 70.529),  # ±111 and ±11-1
        ("Si", (1, 1, 1), (8**0.5 / 5.431, 8**0.5 / 5.431), 120),  # 220
        ("GaAs", (1, 1, 2), (3**0.5 / 5.653, 8**0.5 / 5.653), 90),
        ("rutile", (0, 0, 1), (1 / 4.594, 1 / 4.594), 90),
        ("rutile", (1, 0, 0), (1 / 4.594, 1 / 2.959), 90),
        ("Mg", (0, 0, 1), (2 / 3.209 / 3**0.5, 2 / 3.209 / 3**0.5), 120),
    ],
)
def test_shortest_reflections_of_a_zone(crystals, name, zone, lengths, angle):
    p = projection(crystals, name, zone)
    g = np.linalg.norm(p.basis, axis=1)
    np.testing.assert_allclose(g, lengths, rtol=1e-6)
    between = np.rad2deg(np.arccos(p.basis[0] @ p.basis[1] / g.prod()))
    assert min(abs(between - angle), abs(180 - between - angle)) < 1e-3
    np.testing.assert_array_equal(p.basis_hkl @ zone, 0)


@pytest.mark.parametrize("zone", [(0, 0, 1), (1, 1, 0), (1, 1, 2), (2, 3, 5)])
@pytest.mark.parametrize("name", ["SrTiO3", "Si", "rutile", "Mg", "triclinic"])
def test_every_reflection_of_the_zone_is_a_beam(crystals, name, zone):
    """All h in the zone with an intensity are whole multiples of g₁, g₂."""
    p = projection(crystals, name, zone)
    hkl = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[hkl @ zone == 0]
    bright = np.abs(structure_factors(p.crystal, hkl, 200)[0]) > 1e-6
    g = hkl[bright] @ p.crystal.reciprocal_basis
    n = g @ np.linalg.pinv(p.basis_hkl @ p.crystal.reciprocal_basis)
    np.testing.assert_allclose(n, n.round(), atol=1e-9)


def test_a_zone_axis_is_a_direction_however_long(crystals):
    one, two = (projection(crystals, "Si", zone) for zone in [(1, 1, 0), (2, 2, 0)])
    np.testing.assert_array_equal(one.basis_hkl, two.basis_hkl)
    np.testing.assert_allclose(one.basis, two.basis, atol=1e-15)


def test_beams_are_those_within_a_circle_the_direct_one_first(crystals):
    p = projection(crystals, "triclinic", (1, 1, 2))
    beams = p.beams(1.5)
    n = np.stack(np.meshgrid(*[np.arange(-20, 21)] * 2, indexing="ij"), -1).reshape(-1, 2)
    inside = n[np.linalg.norm(n @ p.basis, axis=1) <= 1.5]
    assert {*map(tuple, beams)} == {*map(tuple, inside)}
    lengths = np.linalg.norm(beams @ p.basis, axis=1)
    assert lengths[0] == 0 and (np.diff(lengths) > -1e-9).all()


@pytest.mark.parametrize("reference", [(1, 0, 0), (0, 1, 0), (1, -2, 0), (-1, -1, 0)])
def test_x_points_along_the_reference(crystals, reference):
    p = projection(crystals, "Mg", (0, 0, 1), reference)
    xy = np.linalg.solve(p.basis_hkl[:, :2].T.astype(float), reference[:2]) @ p.basis
    np.testing.assert_allclose(xy, [np.linalg.norm(reference @ p.crystal.reciprocal_basis), 0], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "zone"), [("SrTiO3", (0, 0, 1)), ("triclinic", (2, 3, 5)), ("Mg", (1, 1, 0))]
)
def test_the_frame_is_right_handed(crystals, name, zone):
    """x × y points along the zone axis, the way the electrons travel."""
    p = projection(crystals, name, zone)
    g1, g2 = p.basis_hkl @ p.crystal.reciprocal_basis
    assert np.linalg.det(p.basis) > 0
    assert np.cross(g1, g2) @ (zone @ p.crystal.direct_basis) > 0
    np.testing.assert_allclose(p.basis @ p.basis.T, [[g1 @ g1, g1 @ g2], [g1 @ g2, g2 @ g2]], atol=1e-12)


def test_the_reverse_zone_axis_mirrors_the_frame(crystals):
    there, back = (projection(crystals, "SrTiO3", (0, 0, w), (1, 0, 0)) for w in (1, -1))
    n = np.array([0, 1, 0]) @ np.linalg.pinv(there.basis_hkl)
    m = np.array([0, 1, 0]) @ np.linalg.pinv(back.basis_hkl)
    np.testing.assert_allclose(m @ back.basis, n @ there.basis * [1, -1], atol=1e-12)


def test_a_zero_zone_axis_is_refused(crystals):
    with pytest.raises(RecipeError, match=r"zone \[0, 0, 0\] is no direction"):
        projection(crystals, "Si", (0, 0, 0))


@pytest.mark.parametrize("reference", [(0, 0, 1), (1, 0, 1), (0, 0, 0)])
def test_a_reference_outside_the_zone_is_refused_with_one_that_is_not(crystals, reference):
    with pytest.raises(RecipeError, match=r"not perpendicular to zone \(0, 0, 1\); try \(1, 0, 0\)"):
        projection(crystals, "SrTiO3", (0, 0, 1), reference)


# ---------------------------------------------------------------- the symmetry of the projection


@pytest.mark.parametrize(
    ("name", "zone", "operations", "order"),
    [
        ("SrTiO3", (0, 0, 1), 8, 4),  # 4mm
        ("SrTiO3", (0, 1, 1), 4, 2),  # 2mm
        ("SrTiO3", (1, 1, 1), 12, 6),  # 6mm: projections of a centrosymmetric crystal have a twofold axis
        ("Si", (1, 1, 0), 4, 2),  # 2mm
        ("Si", (0, 0, 1), 8, 4),  # 4mm, the fourfold screw axis in projection
        ("GaAs", (1, 1, 0), 2, 1),  # m: no inversion
        ("rutile", (0, 0, 1), 8, 4),
        ("rutile", (1, 0, 0), 4, 2),
        ("rutile", (2, 3, 5), 2, 2),
        ("Mg", (0, 0, 1), 12, 6),
        ("ZnO", (0, 0, 1), 12, 6),  # polar along the beam, which a projection cannot see
        ("ZnO", (1, 1, 0), 2, 1),  # polar across it
        ("threefold", (0, 0, 1), 3, 3),
        ("fourfold", (0, 0, 1), 4, 4),
        ("monoclinic", (0, 1, 0), 2, 2),  # an oblique lattice with a twofold axis
        ("monoclinic", (0, 0, 1), 2, 1),
        ("triclinic", (0, 0, 1), 1, 1),
        ("triclinic-centred", (0, 0, 1), 2, 2),
    ],
)
def test_point_symmetry_of_projections(crystals, name, zone, operations, order):
    p = projection(crystals, name, zone)
    assert len(p.symmetry) == operations
    assert p.rotation_order == order


@pytest.mark.parametrize(
    ("name", "zone"), [("SrTiO3", (0, 0, 1)), ("Si", (1, 1, 0)), ("GaAs", (1, 1, 0)), ("Mg", (0, 0, 1))]
)
def test_symmetry_is_a_group_of_isometries(crystals, name, zone):
    p = projection(crystals, name, zone)
    operations = {tuple(r.ravel()) for r in p.symmetry}
    np.testing.assert_array_equal(p.symmetry[0], np.eye(2))
    assert len(operations) == len(p.symmetry)
    assert {tuple((a @ b).ravel()) for a in p.symmetry for b in p.symmetry} == operations
    for r in p.symmetry:
        cartesian = p.basis.T @ r @ np.linalg.inv(p.basis.T)
        np.testing.assert_allclose(cartesian @ cartesian.T, np.eye(2), atol=1e-9)


def test_symmetry_keeps_the_moduli_of_the_potential(crystals):
    p = projection(crystals, "GaAs", (1, 1, 0))
    n = p.beams(1.5)
    reference = np.abs(structure_factors(p.crystal, n @ p.basis_hkl, 200)[0])
    for r in p.symmetry:
        moved = np.abs(structure_factors(p.crystal, n @ r.T @ p.basis_hkl, 200)[0])
        np.testing.assert_allclose(moved, reference, atol=1e-12)


def test_the_origin_does_not_matter_to_the_symmetry(crystals):
    crystal = Crystal.from_cif(crystals["SrTiO3"])
    moved = dataclasses.replace(crystal, positions=crystal.positions + np.array([0.13, 0.27, 0.4]))
    assert len(project(moved, (0, 0, 1)).symmetry) == 8


def test_a_displaced_atom_breaks_the_symmetry(crystals):
    crystal = Crystal.from_cif(crystals["SrTiO3"])
    positions = crystal.positions.copy()
    positions[crystal.elements.index("Ti")] += [0.02, 0, 0]
    moved = dataclasses.replace(crystal, positions=positions)
    assert len(project(moved, (0, 0, 1)).symmetry) == 2  # a mirror
    assert len(project(moved, (1, 0, 0)).symmetry) == 8  # the displacement is along the beam


def test_a_column_of_other_occupation_breaks_the_symmetry(crystals):
    crystal = Crystal.from_cif(crystals["SrTiO3"])
    occupancies = crystal.occupancies.copy()
    oxygen = [i for i, r in enumerate(crystal.positions) if crystal.elements[i] == "O" and r[2] > 0.4]
    occupancies[oxygen[0]] = 0.5  # one of the two pure oxygen columns
    changed = dataclasses.replace(crystal, occupancies=occupancies)
    assert len(project(changed, (0, 0, 1)).symmetry) == 4


def test_a_column_of_two_atoms_is_not_one_of_one(crystals):
    """Columns at x = ±0.2, one of them twice as dense: the mirror across x is lost, that along it stays."""
    positions = np.array([[0.2, 0, 0], [0.2, 0, 0.5], [-0.2, 0, 0], [0, 0.3, 0.25], [0, -0.3, 0.25]])
    crystal = Crystal((5, 6, 4, 90, 90, 90), ("Ti",) * 5, positions, np.ones(5), np.full(5, 0.5))
    assert len(project(crystal, (0, 0, 1)).symmetry) == 2
