"""Where a slab ends: the phase at its surfaces, against multislice that begins and ends there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.reference_cases import CASES, SHIPPED
from benchmarks.slab import wavelength
from benchmarks.slices import intensities, solid
from hybridfit.physics import bloch
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import Projection, project
from hybridfit.physics.termination import surface_phase

Q = np.array([[0.0, 0.0], [0.21, 0.13], [-0.35, 0.3], [0.1, -0.5]])  # Å⁻¹


@pytest.fixture(scope="module")
def titanate() -> Projection:
    return project(Crystal.from_cif(SHIPPED / "SrTiO3.cif"), (0, 0, 1), (1, 0, 0))


def off_by(surface, matrix, known, thickness, keep):
    found = bloch.beam_intensities(
        matrix, Q, thickness, keep=keep, device="cpu", dtype=torch.complex128, surface=surface
    )
    return np.sqrt(((found - known) ** 2).sum((1, 2)) / (known**2).sum((1, 2)))


def test_a_slab_that_is_cut_elsewhere_is_that_of_multislice(titanate):
    """A cut between SrO and TiO2 planes changes patterns by far more than what is left with its phase."""
    case = CASES["SrTiO3"]
    cells = [20, 51]
    stack = solid(case.cell, 4.0, 200.0, slices=16, cut=0.25, corrected=True)
    beams = titanate.beams(3.6)
    g = np.rint(titanate.beams(1.5) @ titanate.basis * 3.905).astype(int)
    parts = intensities(stack, Q, cells, 200.0, device=torch.device("cpu"), dtype=torch.complex128)
    known = np.concatenate([each for _, each in parts], axis=1)[:, :, g[:, 0], g[:, 1]].transpose(0, 2, 1)
    matrix = bloch.DynamicalMatrix.of(titanate, beams, 200.0, higher_zones=True)
    thickness = np.array(cells) * 0.3905
    mean = off_by(None, matrix, known, thickness, len(g))
    own = off_by(surface_phase(titanate, beams, 200.0, 0.25), matrix, known, thickness, len(g))
    wrong = off_by(surface_phase(titanate, beams, 200.0, 0.75), matrix, known, thickness, len(g))
    assert (own < 0.5 * mean).all() and (mean < wrong).all()
    assert wavelength(200.0) == pytest.approx(0.0250793, rel=1e-4)  # that Q is in Å⁻¹ of this energy


def test_a_phase_moves_no_electrons_and_is_nothing_at_a_mirror(titanate):
    beams = titanate.beams(1.6)
    surface = surface_phase(titanate, beams, 200.0, 0.3)
    assert surface @ surface.conj().T == pytest.approx(np.eye(len(beams)), abs=1e-12)
    for mirror in (0.0, 0.5):
        assert surface_phase(titanate, beams, 200.0, mirror) == pytest.approx(np.eye(len(beams)), abs=1e-9)
    # on the other side of the mirror the phase is the opposite one
    assert surface_phase(titanate, beams, 200.0, -0.3) == pytest.approx(surface.conj().T, abs=1e-9)


def test_zones_that_are_shifted_do_nothing(crystals):
    """Along [110] of silicon no zone lies above the zero-order one but those that the mirror makes even."""
    silicon = project(Crystal.from_cif(SHIPPED / "Si.cif"), (1, 1, 0), (0, 0, 1))
    beams = silicon.beams(1.2)
    assert surface_phase(silicon, beams, 200.0, 0.25) == pytest.approx(np.eye(len(beams)), abs=1e-9)
