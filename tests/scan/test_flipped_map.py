"""Maps of a camera that mirrors its frames."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import map_scan
from hybridfit.errors import InputError
from hybridfit.scan.maps import fit_at
from hybridfit.scan.settings import FirstPassSettings, WorkSettings

SEMI_ANGLE = 9.0
FIX = {"scale": 3.2, "rotation": -14.0}  # of rows that run the other way
# a first pass of four positions, blocks of one row
FEW = {"first_pass": FirstPassSettings(sampled=4), "work": WorkSettings(block=5)}


def test_a_mirrored_scan_is_mapped_with_the_flag(frames, small_recipe, truth, tmp_path):
    scan, path = tmp_path / "scan.npy", tmp_path / "map.nc"
    np.save(scan, frames[:2, :2, ::-1])
    options = {"semi_angle": SEMI_ANGLE, "workers": 1, "fix": FIX, "output": path, **FEW}
    found = map_scan(scan, small_recipe, flip=True, **options)
    for name, values in truth.items():
        assert np.abs(found[name].values - values[:2, :2]).max() < (0.2 if name == "thickness" else 0.06)
    np.testing.assert_allclose(found["centre_y"], 95 - np.array([[46.0] * 2, [45.9] * 2]), atol=0.1)
    again = fit_at(found, 1, 1)
    assert again.flipped and again.tilt[1] == pytest.approx(truth["tilt_y"][1, 1], abs=0.06)
    with pytest.raises(InputError, match="another map"):
        map_scan(scan, small_recipe, **options)
