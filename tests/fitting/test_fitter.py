"""The fitter end to end: right answers, correct statuses, and invariances."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybridfit import Candidate, Fitter, Hints, Status, fit, make_frame
from hybridfit.fitting.candidates import canonical
from hybridfit.library.library import Library

MAIN = ("thickness", "tilt_x", "tilt_y", "centre_x", "centre_y", "scale", "rotation")
# systematic differences between simulated and fitted edges, beyond the statistical error
GRAIN = {"thickness": 0.02, "tilt_x": 5e-3, "tilt_y": 5e-3, "centre_x": 0.02, "centre_y": 0.02, "scale": 5e-3}


def assert_is_true(result, truth, *, sigmas=4.0):
    """Every parameter within a few standard errors, tilt and rotation in the canonical sector."""
    assert result.ok, result.message
    x, y, rotation = canonical(truth["tilt_x"], truth["tilt_y"], truth["rotation"], 4)
    expected = {**truth, "tilt_x": x, "tilt_y": y, "rotation": rotation}
    for name in MAIN:
        p = result[name]
        assert abs(p.value - expected[name]) < sigmas * p.stderr + GRAIN.get(name, 0.02), (
            name,
            p,
            expected[name],
        )


def assert_agree(a, b, *, sigmas=0.01, names=MAIN):
    """Two results agree within a share of their standard errors."""
    assert a.status is b.status
    for name in names:
        assert abs(a[name].value - b[name].value) < sigmas * a[name].stderr, name


def where(truth) -> Hints:
    return Hints(centre=(truth["centre_x"], truth["centre_y"]), scale=truth["scale"])


# ---------------------------------------------------------------- right answers


@pytest.mark.parametrize(
    "changes",
    [
        {
            "thickness": 21.4,
            "tilt": (-1.3, 0.8),
            "rotation": 130.0,
            "shape": (104, 88),
            "centre": (41.0, 55.5),
        },
        {"thickness": 47.7, "tilt": (1.1, 1.6), "rotation": -38.0, "scale": 2.4, "ellipticity": (0.0, 0.0)},
        {"thickness": 8.2, "tilt": (0.4, 1.9), "rotation": 3.0, "electrons": 3e5},
    ],
)
def test_a_frame_of_which_nothing_is_known(fitter, simulate, changes):
    image, truth = simulate(**changes)
    result = fitter.fit(image)
    assert_is_true(result, truth)
    assert result.reduced_chi2 == pytest.approx(1, abs=0.1) and result.misfit_fraction < 0.01
    assert result.seconds["search"] > 0


def test_few_electrons(fitter, simulate):
    """3e4 electrons, near the limit between noise and pattern."""
    image, truth = simulate(thickness=20.0, electrons=3e4)
    assert_is_true(fitter.fit(image), truth)


def test_another_semi_angle(small_library, simulate):
    image, truth = simulate(semi_angle=12.5, thickness=35.5, tilt=(-0.4, -1.2), rotation=25.0)
    result = fit(image, small_library, semi_angle=12.5, hints=where(truth))
    assert_is_true(result, truth)
    assert result["semi_angle"].value == 12.5 and result["semi_angle"].stderr is None


@pytest.mark.parametrize("background", ["none", "uniform"])
def test_backgrounds(small_library, simulate, at_truth, background):
    image, truth = simulate(background=0.0)
    image = image + (100 if background == "uniform" else 0)
    result = Fitter(small_library, 9.0, background=background).refine(image, at_truth(truth))
    assert_is_true(result, truth)
    assert len(result.background) == {"none": 0, "uniform": 1}[background]
    if background == "uniform":
        assert result.background[0] == pytest.approx(100, rel=0.05)


def test_progress_and_stages_are_told(small_library, simulate):
    told = []
    image, truth = simulate()
    hints = dataclasses.replace(where(truth), thickness=30.0, tilt=(0.0, -1.0))
    Fitter(small_library, 9.0, hints=hints, progress=lambda *what: told.append(what)).fit(image)
    assert {stage for stage, _ in told} >= {"search", "refine"}
    assert told[-1] == ("refine", 1.0) and all(0 <= fraction <= 1 for _, fraction in told)
    assert len({fraction for stage, fraction in told if stage == "search"}) > 20


def test_the_first_candidate_is_the_answer(small_library, fitter, simulate, at_truth):
    image, truth = simulate(electrons=1e5)
    found = Fitter(small_library, 9.0, method="lsf").fit(image)
    refined = fitter.refine(image, at_truth(truth, thickness=31.5))
    for result in (found, refined):
        first = result.candidates[0]
        assert (first.thickness, first.scale) == (result.thickness, result["scale"].value)
        assert [c.chi2 for c in result.candidates] == sorted(c.chi2 for c in result.candidates)
    assert len(refined.candidates) == 1
    assert len(found.candidates) > 1


# ---------------------------------------------------------------- statuses


def test_at_the_rim_of_the_library(small_library, simulate, at_truth):
    thinner = Library(small_library.dataset.isel(thickness=slice(0, 40)))
    image, truth = simulate(thickness=40.6)
    result = Fitter(thinner, 9.0).refine(image, at_truth(truth, thickness=38.0))
    assert result.status is Status.at_bound
    assert result.thickness == pytest.approx(40, abs=0.03) and "thickness = 40 nm" in result.message


def test_a_vacuum_disc_is_thinner_than_the_library(small_library, disc):
    image = np.random.default_rng(0).poisson(500 * disc((96, 96), (47.0, 48.0), 23.0) + 5)
    fitter = Fitter(small_library, 9.0, fix={"tilt_x": 0.0, "tilt_y": 0.0, "rotation": 0.0})
    result = fitter.refine(image, Candidate(3.0, 0.0, 0.0, 47.3, 47.6, 23.2 / 9, 0.0))
    assert result.status is Status.at_bound and "thickness = 1 nm" in result.message
    assert result["thickness"].stderr is None and result["tilt_x"].stderr is None
    assert (result["centre_x"].value, result["centre_y"].value) == pytest.approx((47.0, 48.0), abs=0.1)


@pytest.mark.parametrize("fake", ["hexagon", "rings"])
def test_another_crystal_is_a_poor_match(small_library, disc, fake):
    shape, (x, y), scale = (128, 128), (63.0, 64.0), 2.0
    image = disc(shape, (x, y), 9 * scale)
    if fake == "rings":
        image = image - 0.8 * disc(shape, (x, y), 5 * scale) + 0.6 * disc(shape, (x, y), 2 * scale)
    else:
        for angle in np.arange(6) * np.pi / 3 + 0.2:
            centre = x + 13 * scale * np.cos(angle), y + 13 * scale * np.sin(angle)
            image = image + 0.5 * disc(shape, centre, 9 * scale)
    counts = np.random.default_rng(1).poisson(300 * image + 5)
    result = fit(counts, small_library, semi_angle=9.0, hints=Hints(centre=(x, y), scale=scale))
    assert result.status is Status.poor_match
    assert "semi-angle" in result.message and result.misfit_fraction > 0.06


def test_another_semi_angle_is_a_poor_match(fitter, simulate, at_truth):
    image, truth = simulate(semi_angle=11.0)
    result = fitter.refine(image, at_truth(truth))
    assert result.status is Status.poor_match


def test_a_semi_angle_that_is_nearly_right_is_named(fitter, simulate, at_truth):
    image, truth = simulate(semi_angle=9.4, electrons=1e7)
    result = fitter.refine(image, at_truth(truth))
    assert result.status is Status.poor_match and "less is left at a semi-angle of 9.4 mrad" in result.message


def test_a_second_thickness_in_view_is_named(small_library, simulate):
    """At these shares the minima of both are equally deep, but neither is what the frame shows."""
    thin, truth = simulate(thickness=15.0, electrons=1.09e6)
    thick, _ = simulate(thickness=35.0, electrons=0.91e6, seed=3)
    hints = dataclasses.replace(where(truth), rotation=truth["rotation"])
    result = fit(thin + thick, small_library, semi_angle=9.0, hints=hints)
    assert result.status is Status.poor_match
    found = sorted(c.thickness for c in result.candidates[:2])
    assert found == pytest.approx([15, 35], abs=3)
    second = re.search(r"a second thickness of about (\d+) nm", result.message)
    assert second and float(second[1]) == pytest.approx(found[result.thickness < 25], abs=4)


def test_an_inverted_frame_fails(fitter, simulate, at_truth):
    image, truth = simulate()
    result = fitter.refine(image.max() - image, at_truth(truth))
    assert result.status is Status.failed
    assert "intensity factor" in result.message and "hints" in result.message


# ---------------------------------------------------------------- what must not matter


@pytest.fixture(scope="module")
def informed(small_library, standard):
    """Knows where the standard frame's pattern is."""
    return Fitter(small_library, 9.0, hints=where(standard[1]), workers=2)


@pytest.fixture(scope="module")
def answer(informed, standard):
    return informed.fit(standard[0])


def test_the_same_again(small_library, informed, standard, answer):
    assert_is_true(answer, standard[1])
    one_thread = Fitter(small_library, 9.0, hints=informed.hints, workers=1)
    outs = [result.to_json() for result in (answer, informed.fit(standard[0]), one_thread.fit(standard[0]))]
    for out in outs:
        del out["seconds"]
    assert outs[0] == outs[1] == outs[2]


@pytest.mark.parametrize("garbage", [0.0, 1e7, np.nan])
def test_what_lies_under_a_mask(informed, standard, answer, garbage):
    image, truth = standard
    mask = np.zeros(image.shape, bool)
    mask[30:44, 50:62] = mask[:3] = mask[:, 90] = True
    frame = make_frame(np.where(mask, garbage, image), mask=mask)
    result = informed.fit(frame)
    assert_is_true(result, truth)
    assert_agree(result, informed.fit(make_frame(image, mask=mask)), sigmas=0.02)
    small = result.thumbnail
    rows, cols = np.indices(small.fit.shape)
    left, _, _, top = small.extent
    left_out = mask[rows + round(top + 0.5), cols + round(left + 0.5)]
    assert np.isnan(small.fit[left_out]).all()


def test_intensity_units(fitter, standard, at_truth):
    image, truth = standard
    counts, other = (fitter.refine(data, at_truth(truth)) for data in (image, 1e-4 * image))
    assert_agree(counts, other)
    assert other.intensity_factor == pytest.approx(1e-4 * counts.intensity_factor, rel=1e-4)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_of_the_frame(fitter, standard, at_truth, turns):
    """The pattern has fourfold symmetry: its rotation stays, its tilt turns in the crystal frame."""
    image, truth = standard
    straight = fitter.refine(image, at_truth(truth))
    size = image.shape[0] - 1
    x, y, rotation = truth["centre_x"], truth["centre_y"], truth["rotation"]
    tilt = complex(*straight.tilt)
    for _ in range(turns):  # np.rot90: (col, row) → (row, size − col), so +row turns towards +col
        x, y, rotation, tilt = y, size - x, rotation - 90, tilt / 1j
    turned = fitter.refine(np.rot90(image, turns), at_truth(truth, centre_x=x, centre_y=y, rotation=rotation))
    assert complex(*turned.tilt) == pytest.approx(tilt, abs=1e-4)
    assert_agree(turned, straight, names=("thickness", "rotation", "scale", "blur"))
    assert turned["tilt_x"].stderr == pytest.approx(
        straight["tilt_y" if turns % 2 else "tilt_x"].stderr, rel=1e-3
    )


def test_a_transposed_frame(informed, standard, answer):
    """x ↔ y turns the other way round."""
    image, truth = standard
    hints = Hints(centre=(truth["centre_y"], truth["centre_x"]), scale=truth["scale"])
    mirrored = Fitter(informed.library, 9.0, hints=hints, workers=2).fit(image.T)
    assert mirrored.thickness == pytest.approx(answer.thickness, abs=1e-3)
    x, y, rotation = canonical(answer.tilt[1], answer.tilt[0], -answer["rotation"].value, 4)
    assert mirrored.tilt == pytest.approx((x, y), abs=1e-3)
    assert mirrored["rotation"].value == pytest.approx(rotation, abs=2e-3)


def test_pixels_twice_as_wide(fitter, simulate, at_truth):
    image, truth = simulate(shape=(384, 384))
    fine = fitter.refine(image, at_truth(truth))
    binned = image.reshape(192, 2, 192, 2).sum(axis=(1, 3))
    geometry = {name: (truth[name] - 0.5) / 2 for name in ("centre_x", "centre_y")}
    coarse = fitter.refine(binned, at_truth(truth, scale=truth["scale"] / 2, **geometry))
    assert_agree(fine, coarse, sigmas=0.5, names=("thickness", "tilt_x", "tilt_y", "rotation"))
    assert coarse["scale"].value == pytest.approx(fine["scale"].value / 2, rel=1e-3)
    assert coarse["centre_x"].value == pytest.approx((fine["centre_x"].value - 0.5) / 2, abs=0.02)
    for name in ("thickness", "tilt_x"):
        assert coarse[name].stderr == pytest.approx(fine[name].stderr, rel=0.15)


# ---------------------------------------------------------------- fixed and free


def test_fixed_with_and_without_a_value(small_library, standard, at_truth):
    image, truth = standard
    fitter = Fitter(small_library, 9.0, fix={"thickness": 30.4, "tilt_x": None, "semi_angle": None})
    result = fitter.refine(image, at_truth(truth, tilt_x=0.55))
    assert result.thickness == 30.4 and result["thickness"].stderr is None
    assert result["tilt_x"].value == pytest.approx(0.55) and result["tilt_x"].stderr is None
    assert result["tilt_y"].stderr is not None
    assert "thickness" not in result.minimizer.var_names


@pytest.mark.parametrize("rotation", [12.0, 102.0])
def test_fixed_values_survive_the_canonical_rotation(small_library, standard, at_truth, rotation):
    """A value is fixed in the answer, whatever sector the seed is in."""
    image, truth = standard
    tilt = canonical(truth["tilt_x"], truth["tilt_y"], truth["rotation"] - rotation, 4)[:2]
    seed = at_truth(truth, rotation=rotation, tilt_x=tilt[0], tilt_y=tilt[1])
    result = Fitter(small_library, 9.0, fix={"tilt_x": 0.58}).refine(image, seed)
    assert result.ok, result.message
    assert result["tilt_x"].value == pytest.approx(0.58) and result["tilt_x"].stderr is None
    assert result["tilt_y"].value == pytest.approx(-0.9, abs=0.05)


def test_a_hint_for_everything_and_everything_fixed(small_library, standard, at_truth):
    """Nothing left to fit: the misfit of the user's own numbers."""
    image, truth = standard
    fix = {**dict.fromkeys(MAIN), "blur": 0.25}
    result = Fitter(small_library, 9.0, fix=fix).refine(image, at_truth(truth))
    assert result.thickness == truth["thickness"] and result["thickness"].stderr is None
    assert result.residual_fraction < 0.02


def test_a_free_semi_angle(small_library, simulate, at_truth):
    image, truth = simulate(semi_angle=9.2)
    result = Fitter(small_library, 9.0, free=("semi_angle",)).refine(image, at_truth(truth))
    assert result.ok, result.message
    assert result["semi_angle"].value == pytest.approx(9.2, abs=0.02) and result["semi_angle"].stderr < 0.02
    assert result.thickness == pytest.approx(truth["thickness"], abs=0.1)


def test_a_free_ellipticity(small_library, simulate, at_truth):
    image, truth = simulate(ellipticity=(0.012, -0.008))
    fitter = Fitter(small_library, 9.0, free=("ellipticity_a", "ellipticity_b"))
    result = fitter.refine(image, at_truth(truth))
    assert_is_true(result, truth)
    found = result["ellipticity_a"].value, result["ellipticity_b"].value
    assert found == pytest.approx((0.012, -0.008), abs=1e-3)


def test_torch_is_not_imported_before_a_network_is_wanted(small_library: Library, tmp_path: Path):
    path = tmp_path / "small.nc"
    small_library.save(path)
    code = (
        "import sys; from hybridfit import Fitter, Library; "
        f"Fitter(Library.open({str(path)!r}), 10.0, method='lsf'); print('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=120)
    assert ran.stdout == "False\n", ran
