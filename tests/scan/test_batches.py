"""Maps whose positions are fitted many at a time, in torch: the same answers, the same batches always."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from small_map import mapped

from hybridfit.errors import InputError
from hybridfit.fitting.batch.settings import BatchSettings
from hybridfit.flags import map_status
from hybridfit.frame import make_frame
from hybridfit.scan.batches import Batches, batched, torch_name
from hybridfit.scan.positions import NoFrame
from hybridfit.scan.seeds import Placed

PART = {"roi": (0, 2, 0, 4), "sigma": {"semi_angle": 0.0, "energy": 0.0, "debye_waller": 0.0}}


def test_a_map_is_the_same_with_batches(scan, small_recipe, monkeypatch):
    asked = []
    starts = Batches.starts
    monkeypatch.setattr(Batches, "starts", lambda self, name: asked.append(name) or starts(self, name))
    one_by_one = mapped(scan, small_recipe, device="cpu", **PART)
    assert not asked
    together = mapped(scan, small_recipe, device="torch-cpu", **PART)
    assert len(asked) == 2
    assert map_status(together) == map_status(one_by_one) == {"converged": 8}
    np.testing.assert_array_equal(together["route"], one_by_one["route"])
    for name in ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "blur"):
        error = one_by_one[f"{name}_stderr"].values
        assert np.abs((together[name] - one_by_one[name]).values / error).max() < 0.1, name
        np.testing.assert_allclose(together[f"{name}_stderr"], error, rtol=0.05)


class Frames:
    """Positions of a scan whose first frame is broken."""

    bin = 2

    def frames(self, at):
        frame = make_frame(np.random.default_rng(0).poisson(9.0, (40, 40)))
        return [NoFrame(False, "broken") if where == (0, 0) else frame for where in at]


class Fits:
    """In the place of a fitter: says which frames were fitted together, and where their discs are."""

    settings = BatchSettings(frames=5)

    def __init__(self):
        self.asked = []

    def attempts(self, frames, centres):
        self.asked.append(len(frames))
        return [tuple(centre) for centre in centres]


def test_batches_depend_on_the_scan_alone():
    blocks = {f"block-{y}": tuple((y, x) for x in range(2)) for y in range(5)}
    centres = np.stack(np.indices((5, 2), float), axis=-1)
    for wanted in (list(blocks), ["block-3"], ["block-1", "block-4"]):
        found = Batches(SimpleNamespace(positions=Frames()), blocks, centres, "torch-cpu")
        found.__dict__["fitter"] = fits = Fits()
        starts = {name: found.starts(name) for name in wanted}
        assert set(fits.asked) <= {
            3,
            4,
            2,
        }  # two blocks together, without the broken frame; the last is alone
        for name, each in starts.items():
            for (y, x), start in zip(blocks[name], each, strict=True):
                if (y, x) == (0, 0):
                    assert start == Placed(0.0, 0.0)
                else:
                    assert start == ((y - 0.5) / 2, (x - 0.5) / 2)


def test_without_a_driver_torch_is_not_asked():
    code = """
import sys
from hybridfit.scan import batches
batches._driver = lambda: False
print(batches.batched("auto"), "torch" in sys.modules)
from hybridfit.network.conversion import torch_device
batches._driver = lambda: True
print(batches.batched("auto") == (torch_device("auto").type == "cuda"))
"""
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen.split() == ["False", "False", "True"]


def test_devices_have_names():
    assert batched("torch-cpu") and not batched("cpu")
    assert torch_name("torch-cpu") == "cpu" and torch_name("cuda:1") == "cuda:1"
    with pytest.raises(InputError, match="cannot be used"):
        batched("nothing")
