"""What tests of maps share: a small map, and whether two maps are the same."""

from __future__ import annotations

import xarray as xr

from hybridfit import map_scan
from hybridfit.scan.settings import FirstPassSettings, WorkSettings

SEMI_ANGLE = 9.0
FIX = {"scale": 3.2, "rotation": 14.0}  # a camera that is known makes the searches of the tests quick
# a first pass of four positions, blocks of one row
FEW = {"first_pass": FirstPassSettings(sampled=4), "work": WorkSettings(block=5)}


def mapped(scan, library, **options):
    return map_scan(scan, library, semi_angle=SEMI_ANGLE, workers=1, **{"fix": FIX, **FEW, **options})


def status(found, y, x):
    return found["status"].attrs["flag_meanings"].split()[int(found["status"][y, x])]


def assert_same(found, expected):
    """The same, bit for bit, but for where scan and library came from."""
    skip = {"settings", "library_name", "run", "source"}
    strip = [d.assign_attrs({key: "" for key in skip}) for d in (found, expected)]
    xr.testing.assert_identical(*strip)
