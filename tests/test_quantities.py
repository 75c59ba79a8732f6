"""Names, units and labels: complete, and spelt as each reader expects them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hybridfit.model import PARAMETERS
from hybridfit.quantities import QUANTITIES, decimals, quantity


def test_every_fitted_parameter_has_an_entry():
    assert set(PARAMETERS) <= set(QUANTITIES)
    assert all(QUANTITIES[name].name == name for name in QUANTITIES)
    labels = [q.label for q in QUANTITIES.values()]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("name", "unit", "key", "cf"),
    [
        ("thickness", "nm", "thickness_nm", "nm"),
        ("tilt_x", "mrad", "tilt_x_mrad", "mrad"),
        ("scale", "px/mrad", "scale_px_per_mrad", "px/mrad"),
        ("rotation", "°", "rotation_deg", "degree"),
        ("ellipticity_a", "", "ellipticity_a", "1"),
    ],
)
def test_units_are_spelt_for_people_json_and_netcdf(name, unit, key, cf):
    known = quantity(name)
    assert (known.unit, known.json_key, known.attrs["units"]) == (unit, key, cf)
    assert known.dimensionless == (unit == "")
    assert known.stderr_attrs == {"units": cf, "long_name": f"standard error of the {known.long_name}"}


def test_structural_parameters_have_the_unit_of_their_library():
    shift = quantity("oxygen_shift", "Å")
    assert (shift.unit, shift.attrs["units"], shift.label) == ("Å", "Å", "oxygen shift")
    assert quantity("polarity", "1").dimensionless and quantity("polarity").attrs["units"] == "1"
    assert quantity("shear", "degree").unit == "°" and quantity("shear", "°").attrs["units"] == "degree"
    assert quantity("thickness", "µm").unit == "nm"  # a fitted quantity keeps its own


def test_errors_are_shown_with_two_digits():
    assert [decimals(s) for s in (12.0, 1.0, 0.5, 0.0123, 1e-12)] == [0, 1, 2, 3, 8]


def test_it_stands_on_the_ground():
    code = "import sys, hybridfit.quantities; print([m for m in sys.modules if m.startswith('hybridfit.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "['hybridfit.quantities']"
