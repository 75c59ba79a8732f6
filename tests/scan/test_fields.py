"""Deflection and the field behind it: known fields come back, with their sign and their error."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import constants

from hybridfit.errors import InputError
from hybridfit.scan.fields import deflection, momentum_times_speed, projected_field, robust_plane


def bent(make_map, step: float = 0.4, **options) -> tuple[xr.Dataset, np.ndarray]:
    """A map with descan, and an extra shift of `step` mrad to the right in a third of it."""
    scan = make_map(20, 24, hole=0.0, **options)
    inside = np.zeros((20, 24), bool)
    inside[:, 15:] = True
    scan["centre_x"] = scan["centre_x"] + np.where(inside, 3.0 * step, 0.0)
    return scan, inside


def test_descan_is_taken_away_and_fields_stay(make_map):
    scan, inside = bent(make_map)
    out = deflection(scan, ~inside)
    theta = out["deflection_x"].values
    assert np.nanmedian(theta[~inside]) == pytest.approx(0, abs=2e-3)
    assert np.nanmedian(theta[inside]) == pytest.approx(0.4, abs=5e-3)
    assert np.nanmax(np.abs(out["deflection_y"])) < 0.03
    assert out["deflection_x"].attrs["units"] == "mrad" and "columns" in out["deflection_x"].long_name
    np.testing.assert_allclose(out["deflection_x_stderr"], scan["centre_x_stderr"] / 3, rtol=1e-2)
    np.testing.assert_array_equal(out["thickness"], scan["thickness"])
    assert "deflection_x" not in scan


def test_positions_without_a_good_fit_do_not_tell_descan(make_map):
    scan = make_map(20, 24)
    expected = deflection(scan)["deflection_x"].values
    poor = scan["status"].values == 3
    assert poor.any()
    scan["centre_x"] = scan["centre_x"] + np.where(poor, 500.0, 0.0)
    np.testing.assert_allclose(deflection(scan)["deflection_x"].values[~poor], expected[~poor])
    assert np.isnan(expected[scan["status"].values == 5]).all()


def test_a_plane_is_found_among_outliers():
    v, u = np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 30), indexing="ij")
    truth = 3 + 0.5 * u - 0.2 * v
    noise = 0.01 * np.random.default_rng(0).standard_normal(truth.shape)
    values = truth + noise
    values[3:6, 4:16] += 2.0
    np.testing.assert_allclose(robust_plane(values, np.ones(truth.shape, bool)), truth, atol=2e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_scans_too_small_for_a_plane(make_map, shape):
    out = deflection(make_map(*shape, hole=0.0))
    assert np.abs(out["deflection_x"]).max() < 0.05


def test_axes_are_turned_to_those_of_the_scan(make_map):
    scan, inside = bent(make_map)
    scan["centre_y_stderr"] = 2 * scan["centre_y_stderr"]
    camera, turned = deflection(scan, ~inside), deflection(scan, ~inside, scan_rotation=90.0)
    # the scan's x is along the camera's rows, its y against the columns
    np.testing.assert_allclose(turned["deflection_x"], camera["deflection_y"])
    np.testing.assert_allclose(turned["deflection_y"], -camera["deflection_x"])
    np.testing.assert_allclose(turned["deflection_x_stderr"], camera["deflection_y_stderr"])
    assert turned["deflection_x"].attrs["axes"] == "scan" and "scan" in turned["deflection_x"].long_name


def test_electrons_are_deflected_against_the_field(make_map):
    """The momentum gained in a field of known strength, from the force and the time of flight."""
    scan, inside = bent(make_map, 0.05)
    out = projected_field(deflection(scan, ~inside))
    momentum = np.sqrt((200e3 * constants.e) ** 2 / constants.c**2 + 2 * 200e3 * constants.e * constants.m_e)
    gamma = 1 + 200e3 * constants.e / (constants.m_e * constants.c**2)
    speed = momentum / (gamma * constants.m_e)
    t = out["thickness"].values * 1e-9
    field = out["field_x"].values * 1e9  # V/m
    gained = -constants.e * field * t / speed
    np.testing.assert_allclose(gained / momentum * 1e3, out["deflection_x"], rtol=1e-9)
    assert np.nanmedian(field[inside]) < 0
    assert out["field_x"].attrs["units"] == "V nm-1"
    assert np.isnan(out["field_x"].values[np.isnan(scan["thickness"].values)]).all()
    assert momentum_times_speed(200.0) == pytest.approx(momentum * speed / constants.e / 1e3)


def test_errors_of_deflection_and_thickness_add_in_squares(make_map):
    scan, inside = bent(make_map, 1.0)
    out = projected_field(deflection(scan, ~inside)).isel(scan_y=4, scan_x=20)
    relative = np.hypot(
        out["deflection_x_stderr"] / out["deflection_x"], out["thickness_stderr"] / out["thickness"]
    )
    assert float(out["field_x_stderr"]) == pytest.approx(abs(float(out["field_x"] * relative)))


def test_what_is_missing_is_named(make_map):
    scan = make_map()
    with pytest.raises(InputError, match="no deflection_x"):
        projected_field(scan)
    out = deflection(scan)
    del out.attrs["energy_kv"]
    with pytest.raises(InputError, match="energy_kv None"):
        projected_field(out)
    with pytest.raises(InputError, match="no scale"):
        deflection(scan.drop_vars("scale"))
    with pytest.raises(InputError, match=r"mask has the shape \(2, 2\)"):
        deflection(scan, np.ones((2, 2)))
    with pytest.raises(InputError, match="none of 192 positions"):
        deflection(scan, np.zeros((12, 16)))
