"""Sweeps: answers that change as an annulus moves, and those that must not."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Hints
from hybridfit.errors import InputError
from hybridfit.explain import sweep_mask
from hybridfit.fitting.fitter import Fitter

SEMI_ANGLE = 13.6
BEYOND = 30.0  # mrad: outside the view of network and fit
OUTSIDE = 90.0  # mrad: no pixel


@pytest.fixture(scope="module")
def swept(frame, hybrid):
    return sweep_mask(frame, hybrid, radii=[4.0, 14.0, BEYOND, OUTSIDE], width=3.0)


def test_the_answer_depends_on_the_pattern_and_on_nothing_beyond(swept):
    assert swept.by.values.tolist() == ["network", "fit"]
    moved = np.abs(swept.thickness_change)
    assert (moved.sel(radius=14.0) > 1e-3).all() and (swept.tilt_change.sel(radius=14.0) > 1e-3).all()
    for radius in (BEYOND, OUTSIDE):
        assert (moved.sel(radius=radius) < 1e-3).all()
        assert (swept.tilt_change.sel(radius=radius) < 1e-3).all()
    assert swept.pixels.sel(radius=BEYOND) > 0 and swept.pixels.sel(radius=OUTSIDE) == 0


def test_unmasked_answers_are_those_of_fits(swept, simulated, cnn, hybrid):
    frame, truth = simulated
    for by, fitter in (("network", cnn), ("fit", hybrid)):
        result, one = fitter.fit(frame), swept.sel(by=by)
        assert float(one.unmasked_thickness) == pytest.approx(result.thickness, abs=0.05)
        assert float(one.unmasked_tilt_y) == pytest.approx(result.tilt[1], abs=0.02)
        assert float(one.unmasked_thickness_stderr) == pytest.approx(result["thickness"].stderr, rel=0.1)
    assert float(swept.unmasked_thickness.sel(by="fit")) == pytest.approx(truth["thickness"], abs=0.1)
    change = swept.thickness - swept.unmasked_thickness
    assert np.allclose(change, swept.thickness_change)


def test_variables_have_units_and_names(swept):
    assert swept.thickness.dims == ("by", "radius")
    assert swept.radius.attrs["units"] == "mrad" and swept.radius.attrs["bounds"] == "radius_bounds"
    assert swept.radius_bounds.sel(radius=4.0).values.tolist() == [2.5, 5.5]
    for name, variable in swept.data_vars.items():
        assert name == "radius_bounds" or {"units", "long_name"} <= set(variable.attrs)
    assert swept.thickness_stderr.attrs["units"] == "nm" and swept.tilt_change.attrs["units"] == "mrad"
    assert swept.attrs["semi_angle_mrad"] == SEMI_ANGLE and swept.attrs["masked"] == "mean"
    assert swept.attrs["library"] == "SrTiO3 [0 0 1] 200 kV"


def test_the_fit_does_not_miss_what_is_left_out(frame, hybrid, swept):
    left_out = sweep_mask(frame, hybrid, radii=[14.0], width=3.0, how="exclude").sel(by="fit")
    change = abs(float(left_out.thickness_change[0]))
    assert change < 4 * float(left_out.thickness_stderr[0])
    assert change < 0.2 * abs(float(swept.thickness_change.sel(by="fit", radius=14.0)))


def test_the_network_alone_and_the_fit_alone(frame, cnn, library, swept):
    alone = sweep_mask(frame, cnn, radii=[14.0], width=3.0, anew=True)
    assert alone.by.values.tolist() == ["network"] and alone.attrs["anew"] == 1
    hints = Hints(thickness=30.0, tilt=(1.0, -0.7), rotation=17.0, centre=(57, 61), scale=2.3)
    fitter = Fitter(library, SEMI_ANGLE, method="lsf", hints=hints, workers=1)
    fit = sweep_mask(frame, fitter, radii=[4.0], width=3.0)
    assert fit.by.values.tolist() == ["fit"]
    both = float(swept.thickness.sel(by="fit", radius=4.0))
    assert float(fit.thickness[0, 0]) == pytest.approx(both, abs=0.02)


def test_where_nothing_is_found_there_is_no_number(frame, cnn, hybrid, monkeypatch):
    def refuse(*_):
        raise InputError("no disc")

    monkeypatch.setattr(hybrid, "refine", refuse)
    swept = sweep_mask(frame, hybrid, radii=[4.0, OUTSIDE])
    assert np.isnan(swept.thickness.sel(by="fit", radius=4.0)) and swept.thickness.notnull().sum() == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.0}, "width 0 mrad cannot be"),
        ({"radii": [-3.0]}, "radius -3 mrad cannot be swept"),
        ({"radii": [3.0, float("nan")]}, "cannot be swept"),
        ({"radii": []}, r"radii of shape \(0,\)"),
        ({"how": "blur"}, "the ways are mean, exclude"),
    ],
)
def test_sweeps_that_cannot_be(frame, cnn, options, message):
    with pytest.raises(InputError, match=message):
        sweep_mask(frame, cnn, **options)


def test_what_is_no_fitter(frame, library):
    with pytest.raises(InputError, match="Library is no Fitter; make one"):
        sweep_mask(frame, library)
    flipped = Fitter(library, SEMI_ANGLE, method="lsf", flip=True)
    with pytest.raises(InputError, match="takes no fitter with flip=True; mirror the frame"):
        sweep_mask(frame, flipped)
