"""The result: its contract in JSON and netCDF, its sentences, and that nobody changes it afterwards."""

from __future__ import annotations

import dataclasses
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import lmfit
import numpy as np
import pytest
import xarray as xr

from hybridfit import FitResult, Fitter, Hints, Status, fit
from hybridfit.errors import InputError

PARAMETER_KEYS = {
    "thickness_nm",
    "tilt_x_mrad",
    "tilt_y_mrad",
    "centre_x_px",
    "centre_y_px",
    "scale_px_per_mrad",
    "rotation_deg",
    "semi_angle_mrad",
    "blur_mrad",
}
CONTRACT = PARAMETER_KEYS | {
    "file",
    "method",
    "status",
    "message",
    "structure",
    "intensity_factor",
    "background",
    "residual_fraction",
    "reduced_chi2",
    "candidates",
    "seconds",
}
BEYOND_THE_CONTRACT = {
    *("route", "library", "misfit_fraction", "ellipticity_a", "ellipticity_b"),
    *("budget", "budget_lacks", "assumed", "noise"),
}


@pytest.fixture(scope="module")
def converged(small_library, simulate) -> FitResult:
    image, truth = simulate()
    hints = Hints(thickness=31.0, centre=(truth["centre_x"], truth["centre_y"]), scale=truth["scale"])
    return Fitter(small_library, 9.0, hints=hints, workers=2).fit(image)


@pytest.fixture(scope="module")
def at_bound(fitter, simulate, at_truth) -> FitResult:
    image, truth = simulate(thickness=60.0, seed=1)
    return fitter.refine(image, at_truth(truth, thickness=58.0))


@pytest.fixture(scope="module")
def failed(fitter, simulate, at_truth) -> FitResult:
    image, truth = simulate()
    return fitter.refine(image.max() - image, at_truth(truth))


def test_json_keeps_the_contract(converged):
    out = converged.to_json()
    assert set(out) == CONTRACT | BEYOND_THE_CONTRACT
    for name in PARAMETER_KEYS:
        assert {"value", "stderr", "interval95"} <= set(out[name])
        assert set(out[name]) <= {"value", "stderr", "interval95", "range10percent"}
    for candidate in out["candidates"]:
        assert set(candidate) == {"thickness_nm", "tilt_x_mrad", "tilt_y_mrad", "probability", "chi2"}
    assert set(out["seconds"]) == {"seed", "search", "refine", "total"}
    assert out["status"] == "converged" and out["method"] == "lsf" and out["structure"] == {}
    assert out["seconds"]["total"] >= out["seconds"]["refine"] > 0
    thickness = out["thickness_nm"]
    low, high = thickness["interval95"]
    assert low < thickness["value"] < high and high - low == pytest.approx(
        2 * 1.96 * thickness["stderr"], rel=1e-3
    )
    low, high = thickness["range10percent"]
    assert low < thickness["value"] < high
    assert out["semi_angle_mrad"] == {"value": 9.0, "stderr": None, "interval95": None}


def test_json_is_plain_and_without_nan(converged, at_bound, failed):
    for result in (converged, at_bound, failed):
        text = json.dumps(result.to_json(), allow_nan=False)
        assert json.loads(text) == result.to_json()


def test_candidates_are_the_answer_and_its_runners_up(converged):
    first, *others = converged.candidates
    assert first.thickness == pytest.approx(converged.thickness)
    assert (first.tilt_x, first.tilt_y) == pytest.approx(converged.tilt)
    assert all(first.chi2 <= other.chi2 for other in others)


def test_each_status_says_what_to_do(converged, at_bound, failed):
    assert converged.ok and not at_bound.ok and not failed.ok
    assert "thickness = 60 nm" in at_bound.message and "library that reaches further" in at_bound.message
    assert "hints" in failed.message
    for status in Status:
        sentence = status.value.format(detail="…", thinnest=1, thickest=60)
        assert sentence[0].isupper() and sentence.endswith(".") and "{" not in sentence


def test_nothing_is_known_about_a_parameter_on_its_bound(at_bound):
    thickness = at_bound["thickness"]
    assert thickness.stderr is None and thickness.interval95 is None and at_bound.thickness_range10 is None
    assert at_bound["tilt_x"].stderr is not None
    assert at_bound.to_json()["thickness_nm"]["range10percent"] is None
    assert "(on its bound)" in at_bound.report()


def test_report_names_everything(converged):
    text = converged.report()
    assert text.startswith("array: The fit converged.")
    for name in ("thickness", "tilt_x", "rotation", "residual", "95 %", "(fixed)", "nm", "px/mrad"):
        assert name in text
    assert "ellipticity_a" in text


def test_nothing_can_be_changed(converged):
    for target, name in ((converged, "status"), (converged["thickness"], "value"), (converged.seed, "chi2")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(target, name, 0)


def test_thumbnail_and_fractions_belong_together(converged):
    small = converged.thumbnail
    inside = np.isfinite(small.fit)
    assert small.experiment.shape == small.fit.shape == small.radius_mrad.shape
    np.testing.assert_array_equal(np.isfinite(small.experiment), inside)
    assert small.radius_mrad[inside].max() < 9 + 7.5 + 1
    residual = (small.experiment - small.fit)[inside]
    assert converged.residual_fraction == pytest.approx((residual**2).mean() / small.experiment[inside].var())
    assert 0 <= converged.misfit_fraction < converged.residual_fraction
    left, right, bottom, top = small.extent
    assert left < converged["centre_x"].value < right and top < converged["centre_y"].value < bottom


def test_dataset_survives_netcdf(converged, at_bound, tmp_path):
    for result in (converged, at_bound):
        path = tmp_path / f"{result.status.name}.nc"
        result.to_dataset().to_netcdf(path, engine="netcdf4")
        with xr.open_dataset(path) as data:
            for name, p in result.parameters.items():
                assert data[name].item() == p.value
                error = data[f"{name}_stderr"].item()
                assert np.isnan(error) if p.stderr is None else error == p.stderr
            assert data["thickness"].attrs["units"] == "nm" and data["scale"].attrs["units"] == "px/mrad"
            meanings = data["status"].attrs["flag_meanings"].split()
            assert meanings[data["status"].item()] == result.status.name
            np.testing.assert_array_equal(data["experiment"], result.thumbnail.experiment)
            np.testing.assert_array_equal(data["fit"], result.thumbnail.fit)
            if result.curve is not None:
                np.testing.assert_array_equal(data["searched_thickness"], result.curve[0])
                np.testing.assert_array_equal(data["chi2_of_thickness"], result.curve[1])


# ---------------------------------------------------------------- plain values


def test_results_are_compared_by_what_they_say(fitter, simulate, at_truth, at_bound):
    image, truth = simulate()
    first, again = (fitter.refine(image, at_truth(truth)) for _ in range(2))
    assert first.seconds != again.seconds and first == again and hash(first) == hash(again)
    assert first != at_bound and len({first, again, at_bound}) == 2 and first != "a result"
    changed = dataclasses.replace(first, intensity_factor=first.intensity_factor * (1 + 1e-12))
    assert changed != first


def test_results_of_fit_can_be_pickled(small_library, simulate):
    image, truth = simulate()
    hints = Hints(thickness=31.0, centre=(truth["centre_x"], truth["centre_y"]), scale=truth["scale"])
    result = fit(image, small_library, semi_angle=9.0, hints=hints)
    assert result.fitter is not None
    back = pickle.loads(pickle.dumps(result))
    assert back.to_json() == result.to_json() and back.message == result.message
    np.testing.assert_array_equal(back.whole_curve, result.whole_curve)
    assert back.minimizer.params["thickness"].stderr == result["thickness"].stderr
    with pytest.raises(InputError, match="without its model"):
        back.conf_interval()


def test_a_file_may_be_given_in_place_of_a_frame(small_library, simulate, tmp_path):
    image, truth = simulate()
    hints = Hints(thickness=31.0, centre=(truth["centre_x"], truth["centre_y"]), scale=truth["scale"])
    np.save(tmp_path / "frame.npy", image)
    result = fit(tmp_path / "frame.npy", small_library, semi_angle=9.0, hints=hints)
    assert result.ok and result.source.endswith("frame.npy")
    np.save(tmp_path / "two.npy", np.stack([image, image]))
    with pytest.raises(InputError, match="holds 2 frames; give one of them"):
        fit(str(tmp_path / "two.npy"), small_library, semi_angle=9.0)


def test_the_copy_for_lmfit_says_what_the_result_says(converged):
    copy = converged.minimizer
    assert copy.params is not converged.lmfit_result.params
    for name, p in converged.parameters.items():
        assert copy.params[name].value == p.value and copy.params[name].stderr == p.stderr
    assert converged.minimizer is copy
    assert "thickness" in lmfit.fit_report(copy)


def test_threads_may_share_a_fitter(fitter, simulate, at_truth):
    """Fits wait for each other; each thread gets the answer to its own frame."""
    frames = [simulate(thickness=t, seed=i) for i, t in enumerate((18.3, 26.1, 37.2, 48.4))]
    alone = [fitter.refine(image, at_truth(truth)) for image, truth in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: fitter.refine(pair[0], at_truth(pair[1])), frames * 2))
    assert together == alone * 2
