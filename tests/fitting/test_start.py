"""What a fit does without, so that it starts quickly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybridfit.fitting.fitter import Fitter
from hybridfit.library.library import Library
from hybridfit.simulate.frame import simulate_frame

HEAVY = ("torch", "scipy.stats", "matplotlib", "skimage", "PIL")
ROOT = Path(__file__).parents[2]
FIT = """
import sys
from hybridfit import Fitter, Library, read_frames
library, weights, frame, heavy = sys.argv[1:]
fitter = Fitter(Library.open(library), 10.0, network=weights)
result = fitter.fit(read_frames(frame)[0])
print(result.thickness, *(name for name in heavy.split(",") if name in sys.modules))
"""
COMMAND = """
import sys
from hybridfit.cli import main
library, weights, frame, heavy = sys.argv[1:]
where = ["--library", library, "--weights", weights, "--json", frame + ".json", "-q"]
assert main(["fit", frame, "--semi-angle", "10", *where]) == 0
print(*(name for name in heavy.split(",") if name in sys.modules))
"""
LMFIT = """
import sys
import hybridfit.fitting.refine.refiner
before = [name for name in sys.argv[1].split(",") if name in sys.modules]
import lmfit, lmfit.confidence, lmfit.minimizer, scipy.stats
from scipy import stats
assert stats is scipy.stats and stats.norm.cdf(0) == 0.5
print(before, lmfit.confidence.f.cdf(1.0, 2, 30) - stats.f.cdf(1.0, 2, 30))
print(lmfit.minimizer.norm_dist.logpdf(0.3))
p = lmfit.create_params(a=1.0, b=0.1)
fitter = lmfit.Minimizer(lambda p: [p["a"] - 3, p["b"] - 4, p["a"] * p["b"] - 11, p["a"] + p["b"] - 7.1], p)
print(len(lmfit.conf_interval(fitter, fitter.minimize())["a"]))
"""


def run(code: str, *arguments: str) -> list[str]:
    """The words that a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def inputs(small_library: Library, tmp_path_factory) -> tuple[str, str, str]:
    """A library, weights and a frame in files; the network has learnt nothing, which is no matter."""
    import torch

    from hybridfit.network.architecture import PatternNet
    from hybridfit.network.origin import Origin
    from hybridfit.network.shape import Architecture
    from hybridfit.network.weights import Network

    folder = tmp_path_factory.mktemp("start")
    small_library.save(folder / "small.nc")
    torch.manual_seed(1)
    origin = Origin.of(
        small_library,
        semi_angle=(8.0, 14.0),
        thickness=small_library.thickness_range,
        tilt_max=small_library.tilt_max,
        thickness_temperature=1.0,
        tilt_temperature=1.0,
        record={},
    )
    net = PatternNet(Architecture.of(small_library)).eval()
    Network(net, origin, device="cpu").save(folder / "net.safetensors")
    image, _ = simulate_frame(
        small_library, thickness=21.3, tilt=(0.4, -0.2), semi_angle=10.0, electrons=1e7, shape=(64, 64)
    )
    np.save(folder / "frame.npy", image)
    return str(folder / "small.nc"), str(folder / "net.safetensors"), str(folder / "frame.npy")


def test_a_fit_imports_nothing_heavy(inputs):
    assert run(FIT, *inputs, ",".join(HEAVY))[1:] == []


def test_the_command_imports_nothing_heavy(inputs):
    assert run(COMMAND, *inputs, ",".join(HEAVY)) == []
    (answer,) = json.loads(Path(inputs[2] + ".json").read_text())
    assert "thickness_nm" in answer


def test_lmfit_has_what_was_left_out_when_it_is_used():
    before, zero, log, levels = run(LMFIT, ",".join(HEAVY))
    assert before == "[]" and float(zero) == 0
    assert float(log) == pytest.approx(-0.5 * np.log(2 * np.pi) - 0.045) and int(levels) == 7


def test_answers_are_those_of_a_library_in_memory(inputs, small_library):
    path, weights, frame = inputs
    image = np.load(frame)
    there = Fitter(Library.open(path), 10.0, network=weights).fit(image)
    here = Fitter(Library(small_library.dataset), 10.0, network=weights).fit(image)
    assert there == here
