"""References by multislice: their own physics, and against the Bloch waves that they are to judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.directions import Directions
from benchmarks.mean_wave import correction, mean_transmission
from benchmarks.reference_cases import CASES
from benchmarks.reference_patterns import Diffuse, Elastic, Reference, _turned
from benchmarks.references import diffuse_pair, elastic_table, make
from benchmarks.slab import OPERATIONS, Cell, absorptive, elastic, wavelength
from benchmarks.slices import Grid, corrections, intensities, planes, solid
from benchmarks.vibrating import Vibrating, filled
from hybridfit.pattern.camera import Camera
from hybridfit.physics import bloch, crystal, scattering
from hybridfit.physics.projection import project
from hybridfit.physics.structure_factors import elastic_structure_factors

LIBRARY = Path(__file__).parents[1] / "library"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def titanate() -> Cell:
    return CASES["SrTiO3"].cell


def bloch_intensities(cell_file: Path, g_max: float, q: np.ndarray, thickness_nm: float) -> tuple:
    """Beams (h, k) of a cubic crystal along [001], and their Bloch-wave intensities (beam, direction)."""
    projection = project(crystal.Crystal.from_cif(cell_file), (0, 0, 1), (1, 0, 0))
    beams = projection.beams(g_max)
    matrix = bloch.DynamicalMatrix.of(projection, beams, 200.0)
    found = bloch.beam_intensities(matrix, q, np.array([thickness_nm]), device="cpu", dtype=torch.complex128)
    return np.rint(beams @ projection.basis * 3.905).astype(int), found[0]


@pytest.mark.parametrize(
    ("name", "atoms", "lengths", "symmetry"),
    [
        ("SrTiO3", 5, (3.905, 3.905, 3.905), 8),
        ("GaAs", 4, (5.6533, 3.99749, 3.99749), 2),
        ("Si", 4, (5.43102, 3.84031, 3.84031), 4),
        ("PbTiO3", 5, (4.156, 3.902, 3.902), 2),
        ("rutile", 12, (6.49690, 6.49690, 2.959), 4),
        ("MgO", 8, (4.211, 4.211, 4.211), 8),
        ("GaN", 8, (5.189, 5.52524, 3.190), 2),
        ("Au", 4, (4.0786, 4.0786, 4.0786), 8),
    ],
)
def test_orthogonal_cells(name, atoms, lengths, symmetry):
    cell = CASES[name].cell
    assert cell.lengths == pytest.approx(lengths, abs=1e-4)
    assert len(cell.elements) == atoms
    # rutile has fourfold screws along its axis, so only half of 4mm leaves z as it is
    assert len(cell.symmetry()) == symmetry
    apart = cell.positions[:, None] - cell.positions[None]
    apart -= np.rint(apart)
    distance = np.linalg.norm(apart * cell.lengths, axis=2)[~np.eye(atoms, dtype=bool)]
    assert distance.min() > 1.6


def test_frame_is_that_of_the_library():
    """U_g of both codes, phases included, up to the choice of the origin: beams ±g of a polar crystal."""
    cell = CASES["GaAs"].cell
    projection = project(crystal.Crystal.from_cif(LIBRARY / "GaAs.cif"), (1, 1, 0), (0, 0, 1))
    hk = np.array([[1, 1], [1, -1], [2, 0], [0, 2], [3, 1], [4, 0]])
    g = hk / cell.lengths[:2]
    n = np.rint(g @ np.linalg.inv(projection.basis)).astype(int)
    theirs = elastic_structure_factors(projection.crystal, n @ projection.basis_hkl, 200.0)
    g2 = (g**2).sum(axis=1)
    ours = sum(
        elastic(e, g2) * np.exp(-b * g2 / 4) * np.exp(-2j * np.pi * hk @ r[:2])
        for e, b, r in zip(cell.elements, cell.b_factors, cell.positions, strict=True)
    )
    ours *= scattering.lorentz_factor(200.0) / (np.pi * cell.lengths.prod())
    assert np.abs(ours) == pytest.approx(np.abs(theirs), rel=1e-4)
    # F(11) F(1-1) F(-2 0) does not depend on the origin, and its phase tells +c from −c
    assert ours[0] * ours[1] * ours[2].conj() == pytest.approx(
        theirs[0] * theirs[1] * theirs[2].conj(), rel=1e-3
    )


@pytest.mark.parametrize(("element", "b"), [("O", 0.7), ("Sr", 0.6), ("Au", 0.6)])
def test_amplitudes_are_those_of_the_library(element, b):
    g = np.linspace(0, 4, 20)
    assert elastic(element, g**2) == pytest.approx(scattering.elastic_factor(element, g), rel=1e-9)
    theirs = scattering.absorptive_factor(element, g, b, 200.0)
    assert absorptive(element, g**2, b, 200.0) == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("make_stack", [solid, planes])
def test_at_rest_against_bloch_waves(titanate, make_stack):
    q = np.array([[0.0, 0.0], [0.05, -0.13], [0.31, 0.12]])
    beams, theirs = bloch_intensities(LIBRARY / "SrTiO3.cif", 2.6, q, 8 * 0.3905)
    stack = make_stack(titanate, 3.2, 200.0)
    ((_, found),) = intensities(stack, q, [8], 200.0, device=CPU, dtype=torch.complex128)
    ours = found[0][:, beams[:, 0], beams[:, 1]].T
    assert ours.sum(axis=0) == pytest.approx(theirs.sum(axis=0), abs=2e-3)
    assert np.abs(ours - theirs).max() < 2e-3
    assert theirs[0].min() < 0.8  # the crystal scatters


def test_slab_of_single_precision(titanate):
    q = np.array([[0.05, -0.13]])
    stack = solid(titanate, 2.0, 200.0, slices=4)
    (_, single), (_, double) = (
        next(intensities(stack, q, [20], 200.0, device=CPU, dtype=dtype))
        for dtype in (torch.complex64, torch.complex128)
    )
    assert np.abs(single - double).max() < 1e-5


def test_symmetry_makes_the_other_directions():
    case = replace(CASES["PbTiO3"], semi_angle_max=3.0, tilt_max=0.0, step_mrad=2.0, thickest=5.0, band=1.6)
    table = elastic_table(case, CPU)
    directions = Directions.within(table.radius_mrad, table.step_mrad, case.cell.symmetry())
    assert len(directions.solved) < len(directions.index)
    numbers = {tuple(beam): i for i, beam in enumerate(table.beams.values)}
    wave = 1e3 * wavelength(200.0)
    stack = solid(case.cell, 1.6, 200.0, slices=case.slices, corrected=True)
    n = int(case.cells_along()[-1])
    for d in range(0, len(directions.index), 7):
        q = directions.index[d] * directions.step / wave
        direct = next(intensities(stack, q[None], [n], 200.0, device=CPU))[1][0, 0]
        operation = directions.operations[directions.operation[d]]
        for beam in ((0, 0), (1, 0), (0, 1), (-1, 2)):
            own = tuple(int(v) for v in np.array(beam) @ operation)
            tabled = float(table.intensity[-1, numbers[own], directions.row[d]])
            assert tabled == pytest.approx(float(direct[beam]), abs=2e-5)


def test_images_turn_like_vectors():
    image = np.zeros((7, 7))
    p = np.array([2, -1])
    image[tuple(p + 3)] = 1
    for operation in OPERATIONS:
        turned = _turned(image, operation)
        assert turned[tuple(operation @ p + 3)] == 1


def test_the_mean_of_vibrating_waves_is_the_corrected_slab(titanate):
    """⟨û⟩ of random displacements against ⟨T⟩; the closed form of the absorption is further away."""
    soft = titanate.vibrating(3.0)
    vibrating = Vibrating(soft, (2, 2), 200.0, 3.2, CPU)
    grid, cells, q = vibrating.grid, [4], np.array([[0.05, -0.13]])
    incident = torch.ones((1, *grid.n), dtype=torch.complex64)
    mean = np.zeros((3, 3), complex)
    count = 100
    spots = np.ix_([-2, 0, 2], [-2, 0, 2])
    for seed in range(count):
        for sign in (1, -1):
            ((_, _, hat),) = vibrating.waves(incident, q, cells, seed, sign)
            mean += hat[0].numpy()[spots] / (2 * count)
    found = []
    for corrected in (True, False):
        stack = planes(soft, 3.2, 200.0, corrected=corrected)
        found.append(
            next(intensities(stack, q, cells, 200.0, device=CPU))[1][0, 0][np.ix_([-1, 0, 1], [-1, 0, 1])]
        )
    exact, closed = (np.abs(np.abs(mean) ** 2 - each).max() for each in found)
    assert exact < 4e-3
    assert exact < closed


def test_the_closed_form_is_the_second_order_of_the_mean_wave():
    """Light atoms need no correction, and it grows as the square of the potential and faster."""
    g2 = np.linspace(0, 3, 13) ** 2
    sizes = []
    for element in ("H", "O", "Sr"):
        f = elastic(element, g2)
        sizes.append(np.abs(correction(element, 0.7, 1.0, 200.0)(g2) / f).max())
    assert sizes[0] < 1e-4
    assert 1e-4 < sizes[1] < 3e-3
    assert 3e-3 < sizes[2] < 3e-2


def test_half_an_atom_is_a_mixture():
    half, whole, none = (mean_transmission("Sr", 0.6, o, 200.0) for o in (0.5, 1.0, 0.0))
    assert half == pytest.approx((whole + none) / 2)
    assert none == pytest.approx(1)


def test_corrections_vanish_with_the_vibration(titanate):
    grid = Grid.finer(titanate.lengths[:2], 2.0)
    still, moving = (
        np.abs(grid.values(corrections(titanate.vibrating(f), grid, 200.0)[0])).max() for f in (1e-3, 1.0)
    )
    assert still < 0.02 * moving


def test_flux_of_a_vibrating_crystal(titanate):
    vibrating = Vibrating(titanate, (2, 2), 200.0, 3.2, CPU)
    for whole, half in vibrating.transmissions(seed=1, sign=1, count=2):
        assert torch.abs(whole).numpy() == pytest.approx(1, abs=1e-5)
        assert (half * half).numpy() == pytest.approx(whole.numpy(), abs=1e-5)
    diffuse, spots, total = vibrating.pair(
        np.array([[0, 0], [3, 1]]), [2, 8], 5, (5, 5), progress=lambda _: None
    )
    assert (total < 1 + 1e-5).all() and (total > 0.97).all()
    assert (np.diff(total, axis=0) < 0).all()  # what leaves the band is lost
    assert (diffuse >= 0).all()
    assert (spots.sum(axis=(2, 3)) < total).all()


def test_bragg_spots_are_filled_from_around_them():
    image = np.full((12, 12), 2.0)
    image[::4, ::3] = 100.0
    assert filled(image, (4, 3)) == pytest.approx(2.0)


def vacuum(semi_angle: float, tilt: float, diffuse: float = 0.0) -> Reference:
    """No crystal: one beam of intensity 1 everywhere; and diffuse intensity that is the same everywhere."""
    fine = Directions.within(semi_angle + tilt + 2, (0.5, 0.5), OPERATIONS)
    table = Elastic(
        np.array([10.0]),
        np.zeros((1, 2), int),
        np.zeros((1, 2)),
        fine,
        np.ones((1, 1, len(fine.solved)), np.float32),
    )
    coarse = Directions.within(semi_angle + tilt + 1, (2.0, 2.0), OPERATIONS)
    flat = np.full((2, 1, len(coarse.solved), 41, 41), diffuse, np.float32)
    return Reference(table, Diffuse(coarse, np.array([1.0, 1.0]), flat), {})


def test_without_a_crystal_a_pattern_is_the_aperture():
    reference = vacuum(6.0, 2.0)
    camera = Camera(31.2, 32.9, 3.7, 20.0)
    frame = reference.frame(0, camera, (64, 64), (1.1, -1.4), 6.0)
    assert frame.sum() == pytest.approx(1, abs=1e-3)
    rows, cols = np.indices(frame.shape)
    radius = np.hypot(cols - 31.2, rows - 32.9)
    assert frame[radius < 6 * 3.7 - 4] == pytest.approx(1 / (np.pi * (6 * 3.7) ** 2), rel=1e-4)
    assert np.abs(frame[radius > 6 * 3.7 + 4]).max() == 0


def test_diffuse_intensity_is_averaged_over_the_aperture():
    reference = vacuum(6.0, 2.0, diffuse=0.02)
    assert reference.diffuse is not None
    weights = reference.diffuse.weights((1.1, -1.4), 6.0)
    assert weights.sum() == pytest.approx(1)
    d = reference.diffuse.directions
    assert weights @ (d.index * d.step) == pytest.approx((1.1, -1.4), abs=0.01)  # exact for what is linear
    assert reference.diffuse.image(0, (1.1, -1.4), 6.0) == pytest.approx(0.02, rel=1e-5)
    with pytest.raises(ValueError, match="do not reach"):
        reference.diffuse.weights((20.0, 0.0), 6.0)


def test_files_are_kept_and_not_made_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.reference_cases.DATA", tmp_path)
    case = replace(
        CASES["MgO"], semi_angle_max=4.0, tilt_max=1.0, thickest=4.0, step_mrad=2.0, supercell=8.0, band=1.5,
        vibrating_band=1.5,
    )  # fmt: skip
    make(case, 1, CPU)
    assert len(list(tmp_path.glob("reference-MgO-*.nc"))) == 2
    capsys.readouterr()
    make(case, 1, CPU)
    assert capsys.readouterr().out.count("exists") == 2
    assert case.path("pair1") != replace(case, b_scale=1.1).path("pair1")


def test_table_of_plane_waves_against_probes(titanate):
    """PACBED of one phonon pair: a probe at every point of a grid, and the sum over plane waves."""
    case = replace(CASES["SrTiO3"], vibrating_band=2.0)
    vibrating = Vibrating(case.cell.vibrating(2.0), (4, 4), 200.0, 2.0, CPU)
    q = np.stack(np.meshgrid(*(np.arange(-4, 5),) * 2, indexing="ij"), -1).reshape(-1, 2)
    q = q[np.linalg.norm(q, axis=1) <= 4]
    tilt = np.array([2, -1])
    cells, side = [10], 4
    n = vibrating.grid.n
    probes = np.zeros((side**2, *n), complex)
    for number, (i, j) in enumerate(np.ndindex(side, side)):
        # another cell of the supercell for every position
        at = np.array([i, j]) / side + np.array(divmod(7 * number % 16, 4))
        probes[number][tuple(q.T)] = np.exp(-2j * np.pi * (q @ at) / 4) / np.sqrt(len(q))
    waves = torch.as_tensor(np.fft.ifft2(probes) * n[0] * n[1]).to(torch.complex64)
    own = np.broadcast_to(tilt / (case.cell.lengths[:2] * 4), (len(waves), 2))
    direct, table = np.zeros(n), np.zeros(n)
    for sign in (1, -1):
        for _, _, hat in vibrating.waves(waves, own, cells, 3, sign):
            direct += (torch.abs(hat) ** 2).sum(dim=0).numpy() / (2 * len(waves))
        flat = torch.ones((1, *n), dtype=torch.complex64)
        wavevectors = (q + tilt) / (case.cell.lengths[:2] * 4)
        for _, first, hat in vibrating.waves(flat, wavevectors, cells, 3, sign):
            for d, each in enumerate((torch.abs(hat) ** 2).numpy(), start=first):
                table += np.roll(each, q[d], axis=(0, 1)) / (2 * len(q))
    assert direct.sum() == pytest.approx(table.sum(), abs=2e-3)
    # samples in blocks of 4 × 4, because single samples of few positions are speckled
    blocks = [np.fft.fftshift(each)[: n[0] // 4 * 4, : n[1] // 4 * 4] for each in (direct, table)]
    coarse = [each.reshape(n[0] // 4, 4, n[1] // 4, 4).sum(axis=(1, 3)) for each in blocks]
    assert np.abs(coarse[0] - coarse[1]).max() < 0.04 * coarse[1].max()


def test_pair_is_a_mean_over_signs_and_shares_the_coordinates_of_the_grid(tmp_path):
    case = replace(
        CASES["MgO"], semi_angle_max=4.0, tilt_max=0.0, thickest=4.0, supercell=8.0, vibrating_band=1.5
    )
    pair = diffuse_pair(case, 1, CPU)
    assert pair.diffuse.sizes["px"] == 2 * int(np.ceil(14 / pair.sample_mrad[0])) + 1
    assert (pair.total.values > 0.9).all()
