"""How far what a library approximates moves a thickness: measured when it is built, part of an error bar."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit.fitting.assumptions import ASSUMED, checked_sigma, sigma_of
from hybridfit.library.approximation import APPROXIMATION, approximation
from hybridfit.library.library import Library
from hybridfit.library.recipe import shipped_folder
from hybridfit.physics.crystal import Crystal
from hybridfit.physics.projection import project


def of(cif: str, g_max: float) -> float:
    projection = project(Crystal.from_cif(shipped_folder() / cif), (1, 1, 0), (0, 0, 1))
    every, strong = projection.beams(1.6 * g_max), len(projection.beams(g_max))
    stored = len(projection.beams(0.9))
    return approximation(
        projection, every, (strong, stored), 200.0, (0.7, 1.6 * g_max), np.arange(1.0, 61.0), device="cpu"
    )


def test_more_beams_leave_less():
    coarse, fine = of("Si.cif", 1.5), of("Si.cif", 2.1)
    assert 1e-4 < fine < 0.5 * coarse < 0.2


def test_a_library_says_it_and_error_bars_have_it(build_library, monkeypatch):
    monkeypatch.setattr("hybridfit.library.build.approximation", approximation)
    library = build_library("SrTiO3", (0, 0, 1), thickness={"start": 5, "stop": 20})
    assert library.approximation == library.dataset.attrs[APPROXIMATION] > 0.1
    assert sigma_of(library, checked_sigma(None))["library"] == library.approximation
    assert sigma_of(library, checked_sigma({"library": 0.0}))["library"] == 0.0
    del library.dataset.attrs[APPROXIMATION]
    silent = Library(library.dataset)
    assert silent.approximation is None
    assert sigma_of(silent, checked_sigma(None))["library"] == ASSUMED.library


def test_it_outlives_the_file(build_library, tmp_path):
    library = build_library("SrTiO3", (0, 0, 1), thickness={"start": 5, "stop": 20})
    library.save(tmp_path / "kept.nc")
    assert Library.open(tmp_path / "kept.nc").approximation == pytest.approx(library.approximation)
