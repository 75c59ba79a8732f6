"""Derivatives of intensities: perturbation, the eigenbasis, and differences of full solves are compared."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from hybridfit.physics.bloch import DynamicalMatrix, beam_intensities
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.perturbation import intensities_and_slopes, potential_slope
from hybridfit.physics.projection import project

T = np.array([3.0, 20.0, 51.5])
# with an inversion centre, and without; absorption is in all of them
CASES = [
    ("SrTiO3", (0, 0, 1), 0.8),
    ("GaAs", (1, 1, 0), 0.7),
    ("PbTiO3", (1, 0, 0), 0.8),
    ("threefold", (0, 0, 1), 0.6),
]


def last(crystal):
    """Atoms of the last site: the lattice stays what it is when all of them change."""
    return np.array([label == crystal.labels[-1] for label in crystal.labels])


def with_b(crystal, by):
    b = crystal.debye_waller + by * last(crystal)
    return dataclasses.replace(crystal, debye_waller=b)


def with_position(crystal, by):
    positions = crystal.positions + np.outer(last(crystal), [by, 0.7 * by, 0.4 * by])
    return dataclasses.replace(crystal, positions=positions)


def with_occupancy(crystal, by):
    occupancies = crystal.occupancies + (by - 0.1) * last(crystal)
    return dataclasses.replace(crystal, occupancies=occupancies)


CHANGES = {"B": (with_b, 0.02), "coordinate": (with_position, 5e-4), "occupancy": (with_occupancy, 5e-3)}


def solved(crystals, case):
    """matrix(change, step) of a case with folded beams and higher zones, and directions."""
    name, zone, g_max = case
    projection = project(Crystal.from_cif(crystals[name]), zone)
    every = projection.beams(1.5 * g_max)
    keep = len(projection.beams(g_max))

    def matrix(change, by):
        moved = dataclasses.replace(projection, crystal=change(projection.crystal, by))
        whole = DynamicalMatrix.of(moved, every, 200, higher_zones=True)
        return whole.folded(keep).on_axis()

    return matrix, np.random.default_rng(1).uniform(-0.4, 0.4, (5, 2))


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_equals_a_central_difference_of_full_solves(crystals, case, what):
    matrix, q = solved(crystals, case)
    change, step = CHANGES[what]
    middle, low, high = (matrix(change, by) for by in (0.0, -step, step))
    slope = potential_slope(low, high, 2 * step)
    options = {"device": "cpu", "dtype": torch.complex128}
    intensity, along = intensities_and_slopes(middle, slope[None], q, T, **options)
    up, down = (beam_intensities(each, q, T, **options) for each in (high, low))
    expected = (up - down) / (2 * step)
    np.testing.assert_allclose(intensity, beam_intensities(middle, q, T, **options), atol=1e-11)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(along[0], expected, atol=4e-3 * np.abs(expected).max())


def in_eigenbasis(matrix, slope, q, t):
    """∂I_g by the divided differences of the levels, direction by direction."""
    out = np.empty((len(t), len(matrix.g), len(q)))
    excitation = matrix.excitation(q)
    for d in range(len(q)):
        rate = 10j * np.pi / matrix.k_n
        levels, states = np.linalg.eig(matrix.potential + np.diag(excitation[:, d]))
        back = np.linalg.inv(states)
        inner = back @ slope @ states
        for i, t_i in enumerate(t):
            e = np.exp(rate * t_i * levels)
            apart = levels[:, None] - levels
            same = np.abs(apart) < 1e-9
            divided = (e[:, None] - e) / np.where(same, 1, apart)
            divided = np.where(same, rate * t_i * e[:, None], divided)
            psi = states @ (e * back[:, 0])
            change = states @ ((divided * inner) @ back[:, 0])
            out[i, :, d] = 2 * (psi.conj() * change).real
    return out


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.complex64, 1e-4), (torch.complex128, 1e-8)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_equals_divided_differences_in_the_eigenbasis(crystals, case, dtype, tolerance):
    matrix, q = solved(crystals, case)
    middle = matrix(with_b, 0.0)
    slopes = [potential_slope(middle, matrix(change, by), by) for change, by in list(CHANGES.values())[:2]]
    _, along = intensities_and_slopes(middle, np.stack(slopes), q, T, device="cpu", dtype=dtype)
    for got, slope in zip(along, slopes, strict=True):
        expected = in_eigenbasis(middle, slope, q, T)
        np.testing.assert_allclose(got, expected, atol=tolerance * np.abs(expected).max())


def test_many_directions_in_batches_and_some_beams(crystals, monkeypatch):
    matrix, _ = solved(crystals, CASES[0])
    middle, warm = matrix(with_b, 0.0), matrix(with_b, 0.05)
    slope = potential_slope(middle, warm, 0.05)[None]
    q = np.random.default_rng(2).uniform(-0.3, 0.3, (23, 2))
    whole = intensities_and_slopes(middle, slope, q, T, keep=9, device="cpu")
    monkeypatch.setattr("hybridfit.physics.perturbation.AMPLITUDES_PER_BATCH", 1)
    done = []
    parts = intensities_and_slopes(middle, slope, q, T, keep=9, device="cpu", progress=done.append)
    assert whole[1].shape == (1, 3, 9, 23)
    assert done[-1] == 1
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
