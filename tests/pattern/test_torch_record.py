"""What pixels record, many frames at a time in torch, against one raster after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridfit.pattern.blur import sigma_of_variance
from hybridfit.pattern.raster import Raster
from hybridfit.pattern.torch_record import TorchRecord
from hybridfit.pattern.torch_record import sigma_of_variance as of_many

NARROWEST = 0.15


def test_widths_of_kernels():
    variance = torch.cat([torch.linspace(-0.1, 2, 60), torch.linspace(2, 90, 40)]).double()
    sigma, slope = of_many(variance, NARROWEST)
    for v, a, b in zip(variance.tolist(), sigma.tolist(), slope.tolist(), strict=True):
        expected = sigma_of_variance(v, NARROWEST)
        assert (a, b) == (pytest.approx(expected[0], rel=1e-5), pytest.approx(expected[1], rel=1e-3)), v
    assert float(sigma[0]) == NARROWEST and float(slope[0]) == 0


@pytest.mark.parametrize("s", [1, 2, 3])
def test_pixels_record_the_same(s):
    row, col = np.indices((23, 25)) - 11
    mask = np.hypot(row, col) < 9
    mask[8, 12:15] = False
    raster = Raster(mask, (11.0, 11.0), 9.0, 3.0, oversampling=s)
    rng = np.random.default_rng(s)
    images = rng.normal(size=(6, 4, raster.points.size)).astype(np.float32)
    variance = np.array([0.2, 0.4, 1.0, 2.0, 4.0, 0.3]) * s**2
    shift = rng.uniform(-0.8, 0.8, (6, 2)) * s
    recorder = TorchRecord(raster, NARROWEST, torch.device("cpu"))
    found, slope = recorder.record(torch.as_tensor(images), torch.as_tensor(variance), torch.as_tensor(shift))
    for i in range(6):
        sigma, along = sigma_of_variance(float(variance[i]), NARROWEST)
        expected = raster.record_moved(images[i], sigma, tuple(shift[i]))
        np.testing.assert_allclose(found[i], expected, atol=1e-5 * np.abs(expected).max())
        assert float(slope[i]) == pytest.approx(along, rel=1e-3)
