"""`hybridfit fit` of frames of few electrons: --posterior and --gain."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hybridfit.simulate.frame import simulate_frame

KNOWN = ["--method", "lsf", "--hint-centre", "46,45.2", "--hint-scale", "2.4"]


@pytest.fixture(scope="module")
def few(small_library, tmp_path_factory):
    """A frame of 4000 electrons, 25 counts each, and the truth."""
    image, truth = simulate_frame(
        small_library, thickness=30.4, tilt=(0.8, -0.5), semi_angle=12.0, shape=(96, 96),
        centre=(46.0, 45.2), scale=2.4, electrons=4e3, seed=5,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("few") / "few.npy"
    np.save(path, 25.0 * image)
    return path, truth


def test_samples_are_written_and_are_those_of_the_answer(run, few, options, tmp_path):
    path, truth = few
    out = tmp_path / "out.json"
    ran = run("fit", path, *options, *KNOWN, "--gain", 25, "--posterior", 4000, "--json", out)
    assert (ran.code, ran.err) == (0, "")
    (answer,) = json.loads(out.read_text())
    assert answer["status"] == "converged"
    samples = answer["posterior"]
    odds, mode = np.array(samples["odds"]), np.array(samples["mode"])
    assert odds.sum() == pytest.approx(1) and len(mode) == 4000
    assert [c["probability"] for c in answer["candidates"]] == pytest.approx(odds.tolist())
    share = np.bincount(mode, minlength=len(odds)) / len(mode)
    assert share == pytest.approx(odds, abs=0.04)
    for key in ("thickness_nm", "tilt_x_mrad", "tilt_y_mrad"):
        own = np.array(samples[key])[mode == 0]
        assert own.mean() == pytest.approx(answer[key]["value"], abs=0.1 * answer[key]["stderr"])
        assert own.std() == pytest.approx(answer[key]["stderr"], rel=0.1)
    thickness = answer["thickness_nm"]
    assert abs(thickness["value"] - truth["thickness"]) < 4 * thickness["stderr"]


def test_a_gain_says_how_many_electrons_there_are(run, few, options, tmp_path):
    path, _ = few
    out = tmp_path / "out.json"

    def fitted(gain: float) -> dict:
        assert run("fit", path, *options, *KNOWN, "--gain", gain, "--json", out).code == 0
        return json.loads(out.read_text())[0]

    one, half = fitted(25), fitted(12.5)
    ratio = half["thickness_nm"]["stderr"] / one["thickness_nm"]["stderr"]
    assert 0.5 < ratio < 0.95  # twice as many electrons, so errors are smaller by about √2


@pytest.mark.parametrize("gain", ["0", "-2", "nan", "many"])
def test_no_gain_is_refused(refused, few, options, outputs, gain):
    refused("gain", "fit", few[0], *options, "--gain", gain, *outputs)


@pytest.mark.parametrize("count", ["0", "2.5", "many"])
def test_no_number_of_samples_is_refused(refused, few, options, outputs, count):
    refused("posterior", "fit", few[0], *options, "--posterior", count, *outputs)


def test_samples_need_a_file(refused, few, options):
    refused("--json", "fit", few[0], *options, "--posterior", "10")
