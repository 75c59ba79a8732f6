"""Hypotheses: what a library may be seen as."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Library
from hybridfit.fitting.search.templates import make_templates
from hybridfit.fitting.settings import FitSettings
from hybridfit.identification.hypotheses import conjugated, hypotheses_of
from hybridfit.identification.known import Known
from hybridfit.library.mirror import mirrored

SETTINGS = FitSettings(8.0)


def seen(name, libraries, **options):
    known = Known(name, Library.open(libraries[name]))
    return hypotheses_of(known, options.pop("settings", SETTINGS), 1, lambda *_: None, **options)


@pytest.mark.parametrize("name, count", [("SrTiO3", 1), ("rutile", 1), ("fourfold", 2)])
def test_only_a_crystal_without_a_mirror_shows_that_a_camera_mirrors(name, count, libraries):
    found = seen(name, libraries)
    assert [h.flipped for h in found] == [False, True][:count]
    assert len(seen(name, libraries, mirror=False)) == 1
    assert [h.flipped for h in seen(name, libraries, settings=FitSettings(8.0, flip=True))] == [True]


def test_conjugated_templates_are_those_of_the_mirror_image(libraries):
    library = Library.open(libraries["fourfold"])
    thickness, tilts = np.array([20.0, 31.0]), np.array([[0.0, 0.0], [0.7, 0.4]])
    plain = make_templates(library, 8.0, thickness, tilts)
    mirror = make_templates(mirrored(library), 8.0, thickness, tilts * [1, -1])
    quick = conjugated(plain)
    largest = float(np.abs(mirror.series).max())
    assert float(np.abs(quick.series - mirror.series).max()) < 1e-4 * largest
    assert (quick.tilt_y == mirror.tilt_y).all() and (quick.tilt_x == mirror.tilt_x).all()
    assert float(np.abs(plain.series - mirror.series).max()) > 0.01 * largest


def test_a_polarity_makes_two_hypotheses(crystals):
    from hybridfit import Recipe

    values = {"start": 20, "stop": 23}, {"polarity": {"values": [-1.0, 1.0], "invert": True}}
    recipe = Recipe(
        cif=crystals["GaAs"], zone=(1, 1, 0), energy_kv=200, g_max=0.8, semi_angle_max=8.5, tilt_max=0.5,
        sampling=0.9, thickness=values[0], parameters=values[1],
    )  # fmt: skip
    library = Library.build(recipe, slopes=False, diffuse=False)
    found = hypotheses_of(Known("GaAs", library), SETTINGS, 1, lambda *_: None)
    assert [h.discrete for h in found] == [{"polarity": -1.0}, {"polarity": 1.0}]
    assert not found[0].library.structure
