"""Batches in torch against the same steps of one frame after the other."""

from __future__ import annotations

from dataclasses import replace

import lmfit
import numpy as np
import pytest
import torch
from batch_frames import BLUR, CPU, FIX, SEMI_ANGLE

from hybridfit import Fitter
from hybridfit.errors import InputError
from hybridfit.fitting.batch.camera import NAMES
from hybridfit.fitting.batch.engine import BatchFitter
from hybridfit.fitting.batch.levenberg import Point, minimise
from hybridfit.fitting.batch.noise import NoiseEstimate, nonnegative
from hybridfit.fitting.batch.regions import cut
from hybridfit.fitting.candidates import Candidate, Fitted
from hybridfit.fitting.refine.gram import Normal
from hybridfit.fitting.refine.levenberg import solve
from hybridfit.fitting.refine.noise import estimate_noise
from hybridfit.fitting.refine.refiner import Shared
from hybridfit.fitting.refine.settings import Effort
from hybridfit.known_camera import KnownCameraModel
from hybridfit.pattern.reference import Reference

VALUES = np.array([[30.4, 0.8, -1.1, 47.3, 46.2, 0.4], [33.0, -0.7, 0.3, 48.0, 45.6, 0.22]])


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_regions_are_those_of_the_reference(fitter, frames, tensors, centres, factor):
    reference = Reference(fitter.known.camera, 12.0, factor)
    images, valid, places = tensors
    places = places.clone()
    places[0] = torch.tensor([7.5, 93.2])  # most of the region is beyond the frame
    found = cut(images, valid, places, reference)
    for i, frame in enumerate(frames):
        corner = reference.place(*places[i].tolist())
        image, mask = reference.cut(frame.image, frame.valid, *corner)
        assert tuple(found.corner[i].tolist()) == corner
        np.testing.assert_array_equal(found.valid[i], mask[reference.mask])
        np.testing.assert_allclose(found.data[i], np.where(mask, image, 0)[reference.mask], rtol=1e-6)


def test_matches_are_the_same(batch, tensors, matched):
    seeds, chi2, curves = batch.matcher.match(*tensors)
    assert max(len(attempt.found) for attempt in matched) > 1
    for i, attempt in enumerate(matched):
        own = seeds[i][chi2[i].isfinite()].numpy()
        seeds_of = [(c.thickness, *c.tilt) for c in attempt.found]
        np.testing.assert_allclose(own, seeds_of, atol=2e-3)  # steps are 2 nm and 0.6 mrad
        found = chi2[i][chi2[i].isfinite()].numpy()
        np.testing.assert_allclose(found, [c.chi2 for c in attempt.found], atol=1e-5)
        np.testing.assert_allclose(batch.matcher.curve(curves[i]), attempt.curve, atol=1e-5)


def test_images_are_those_of_the_known_camera(batch):
    camera = batch.rounds.camera
    known = camera.known
    corners = [known.reference.place(*v[3:5]) for v in VALUES]
    found = camera.evaluate(torch.as_tensor(VALUES), torch.tensor(corners, dtype=torch.float64))
    heights = torch.tensor([[3.0, 0.5, -0.2, 0.7]] * 2, dtype=torch.float64)
    slopes = camera.slopes(found, heights)
    for i, values in enumerate(VALUES):
        model = KnownCameraModel(known, known.mask, *corners[i])
        at = {**known.values, **dict(zip(NAMES, values.tolist(), strict=True))}
        expected = model.evaluate(at, NAMES)
        size = np.abs(expected.columns[0]).max()
        assert np.abs(found.pattern[i, 0].numpy() - expected.columns[0]).max() < 1e-5 * size
        for a, b in zip(found.pattern[i, 1:].numpy(), expected.pattern_slopes, strict=True):
            assert np.abs(a - b).max() < 2e-4 * np.abs(b).max()
            assert np.std(a - b) < 2e-5 * np.abs(b).max()
        # the background has its own columns
        image = (heights[i, 1:, None].float() * found.background[i]).sum(0).numpy()
        plain = np.linalg.lstsq(expected.columns[1:].T, image, rcond=None)[0]
        np.testing.assert_allclose(plain @ expected.columns[1:], image, atol=1e-5 * np.abs(image).max())
        own = expected.sensitivity(np.array([3.0, *plain]))
        for a, b in zip(slopes[i].numpy(), own, strict=True):
            assert np.abs(a - b).max() < 2e-4 * np.abs(b).max()


class Curves:
    """Σ exp(−a x) beside a line, a fit with two minima at bounds or within them."""

    def __init__(self, rate: float, seed: int) -> None:
        self.x = np.linspace(0, 3, 60)
        noise = np.random.default_rng(seed).normal(0, 0.05, 60)
        self.data = 2 * np.exp(-rate * self.x) + 0.3 * self.x + noise

    def parts(self, a, b):
        decay = np.exp(-a * self.x)
        return self.data - 2 * decay - b * self.x, np.stack([-2 * self.x * decay, self.x])

    def normal_equations(self, params):
        r, s = self.parts(params["a"].value, params["b"].value)
        return Normal(float(r @ r), s @ s.T, s @ r)


def test_steps_are_those_of_one_problem():
    problems = [Curves(rate, i) for i, rate in enumerate((0.3, 0.7, 1.2, 2.0, 4.0))]
    start, low, high = (torch.tensor([each] * 5).double() for each in ((1.0, 0.0), (0.5, -1.0), (3.0, 1.0)))

    def measure(which, values):
        parts = [problems[i].parts(*v) for i, v in zip(which.tolist(), values.tolist(), strict=True)]
        r, s = (torch.as_tensor(np.stack(each)) for each in zip(*parts, strict=True))
        return Point(values, (r**2).sum(1), s @ s.transpose(1, 2), (s @ r[:, :, None])[:, :, 0])

    pixels = torch.full((5,), 60.0)
    found = minimise(measure, measure(torch.arange(5), start), (low, high), pixels, 0.01, 60)
    for i, problem in enumerate(problems):
        params = lmfit.Parameters()
        params.add("a", 1.0, min=0.5, max=3.0)
        params.add("b", 0.0, min=-1.0, max=1.0)
        expected = solve(problem, params, 0.01, 60)
        np.testing.assert_allclose(found.point.values[i], [p.value for p in params.values()], rtol=1e-6)
        assert (int(found.evaluations[i]), bool(found.done[i])) == (expected.nfev, expected.success)
    assert found.point.values[0, 0] == 0.5 and found.point.values[4, 0] == 3.0
    few = minimise(measure, measure(torch.arange(5), start), (low, high), pixels, 1e-9, 2)
    assert (few.evaluations == 2).all() and not few.done.any()


def test_coefficients_that_are_not_negative():
    from scipy.optimize import nnls

    rng = np.random.default_rng(2)
    design, target = rng.normal(size=(40, 12, 3)), rng.normal(size=(40, 12))
    found, left = nonnegative(torch.as_tensor(design), torch.as_tensor(target))
    for i in range(40):
        expected, norm = nnls(design[i], target[i])
        np.testing.assert_allclose(found[i], expected, atol=1e-9)
        assert float(left[i]) == pytest.approx(norm)


def residuals(mask, kind, rng):
    """Residual and model on the pixels of a mask, with noise of one kind."""
    row, col = np.indices(mask.shape) / 20 - 2
    model = 400 * np.exp(-(row**2) - 2 * col**2) + 20
    noise = rng.normal(size=mask.shape)
    if kind == "point spread":
        noise = sum(np.roll(noise, (i, j), (0, 1)) for i in (0, 1) for j in (0, 1)) / 2
    size = {"flat field": np.sqrt(model + (0.3 * model) ** 2), "read-out": 12.0}.get(kind, np.sqrt(3 * model))
    misfit = 8 * np.sin(3 * row) if kind == "misfit" else 0.0
    return (size * noise + misfit)[mask], model[mask]


def test_noise_is_estimated_alike():
    rng = np.random.default_rng(5)
    row, col = np.indices((81, 81)) - 40
    mask = np.hypot(row, col) < 39
    kinds = ("counting", "read-out", "flat field", "misfit", "point spread")
    each = [residuals(mask, kind, rng) for kind in kinds]
    valid = np.ones((len(kinds), int(mask.sum())), bool)
    valid[0, 300:420] = False
    r, m = (torch.as_tensor(np.stack(part)).float() for part in zip(*each, strict=True))
    found = NoiseEstimate(mask, CPU).estimate(r, m, torch.as_tensor(valid))
    assert found.shared.tolist() == [False, False, False, False, True]
    for i, (residual, model) in enumerate(each):
        own = mask.copy()
        own[mask] = valid[i]
        expected = estimate_noise(residual[valid[i]], model[valid[i]], own)
        variance = found.variance(m)[i].numpy()
        np.testing.assert_allclose(variance[valid[i]], expected.variance(model[valid[i]]), rtol=0.03)
        assert float(found.misfit[i]) == pytest.approx(
            expected.misfit, rel=0.05, abs=0.02 * float(variance.mean())
        )
    assert float(found.relative[2]) > 0 and float(found.relative[0]) == 0


def test_bounds_are_those_of_one_fit(small_library):
    asked = {"thickness": (28.0, 32.0), "blur": (0.1, 0.9), "tilt_y": (-0.5, 2.0)}
    for bounds in ({}, asked):
        fitter = Fitter(
            small_library, SEMI_ANGLE, workers=1, seeded=True, fix=FIX, shared=Shared(BLUR), bounds=bounds
        )
        batch = BatchFitter(fitter, CPU)
        rng = np.random.default_rng(1)
        anchors = np.column_stack(
            [rng.uniform(2, 59, 20), rng.uniform(-3, 3, (20, 2)), rng.uniform(40, 50, (20, 2)), [0.3] * 20]
        )
        low, high = batch.bounds(torch.as_tensor(anchors))
        for i, values in enumerate(anchors):
            start = {**FIX, "semi_angle": SEMI_ANGLE, **dict(zip(NAMES, values.tolist(), strict=True))}
            params = fitter.finder.refiner.parameters(start)
            for j, name in enumerate(NAMES):
                assert (params[name].min, params[name].max) == (low[i, j], high[i, j]), name


@pytest.fixture(scope="module")
def one_by_one(fitter, frames, answers, tensors):
    """Every fit of the batch as `refine` makes it alone."""
    limits = fitter.settings.refining
    out = []
    for owner, seed in zip(answers.owner.tolist(), answers.seeds.tolist(), strict=True):
        frame, (x, y) = frames[owner], tensors[2][owner].tolist()
        start = Candidate(*seed, x, y, FIX["scale"], FIX["rotation"])
        refiner = fitter.finder.refiner
        region = refiner.region(frame, start, limits.fine_radius)
        effort = Effort(limits.passes, limits.tolerance, limits.coarse_pixel)
        out.append(refiner.follow(frame, start, region, effort).fit)
    return out


def test_fits_are_those_of_one_frame(answers, one_by_one):
    fits = answers.fits
    assert len(one_by_one) > len(answers.curves) and answers.usable.all()
    for i, expected in enumerate(one_by_one):
        error = fits.covariance[i].diagonal().sqrt()
        for j, name in enumerate(NAMES):
            assert abs(float(fits.values[i, j]) - expected.values[name]) < 0.1 * float(error[j]), (i, name)
        root = expected.problem.sensitivity(expected.lmfit_result.params)
        np.testing.assert_allclose(error, np.sqrt(np.diag(np.linalg.inv(root @ root.T))), rtol=0.02)
        assert float(fits.chi2[i]) == pytest.approx(expected.chi2, rel=5e-3)
        assert float(fits.squares[i]) == pytest.approx(expected.sum_of_squares, rel=1e-3)
        assert float(fits.coefficients[i, 0]) == pytest.approx(expected.coefficients[0], rel=1e-3)
        assert fits.settled[i] and 2 <= int(fits.evaluations[i]) < 40


def test_judging_starts_where_a_batch_ends(batch, fitter, frames, centres, matched, answers):
    attempts = batch.attempts(frames, centres)
    alone = 0
    for frame, attempt, before in zip(frames, attempts, matched, strict=True):
        assert all(isinstance(candidate, Fitted) for candidate in attempt.found)
        ours, theirs = ([(c.thickness, *c.tilt) for c in each.around] for each in (attempt, before))
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
        found, expected = fitter.fit_matched(frame, attempt), fitter.fit_matched(frame, before)
        assert (found.status, found.route) == (expected.status, expected.route)
        for name in NAMES:
            a, b = found[name], expected[name]
            assert abs(a.value - b.value) < 0.1 * b.stderr, name
            assert a.stderr == pytest.approx(b.stderr, rel=0.05)
        if len(attempt.found) == 1:
            alone += 1
            minimum = fitter.finder.find(frame, attempt.found).best
            assert minimum.fit.evaluations <= 1 and minimum.fit.settled
    assert alone


def test_what_did_not_settle_is_left_to_the_fit_of_one_frame(
    batch, frames, centres, matched, answers, monkeypatch
):
    usable = answers.usable.clone()
    usable[answers.owner.tolist().index(1)] = False
    monkeypatch.setattr(batch, "answers", lambda *given: answers._replace(usable=usable))
    found = batch.attempts(frames, centres)
    assert [isinstance(attempt.found[0], Fitted) for attempt in found] == [True, False, True]
    ours, theirs = ([(c.thickness, *c.tilt) for c in each[1].found] for each in (found, matched))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_fits_that_have_no_evaluations_left_have_not_settled(batch, tensors, matched, monkeypatch):
    few = replace(batch.rounds.settings, passes=1, evaluations=1)
    monkeypatch.setattr(batch.rounds, "settings", few)
    seed = matched[0].found[0]
    off = torch.tensor([[seed.thickness + 2.0, seed.tilt_x, seed.tilt_y]], dtype=torch.float64)
    fits, _, usable = batch.fits(*(each[:1] for each in tensors), torch.tensor([0]), off)
    assert not usable.any() and (fits.evaluations <= 3).all()


def test_a_camera_that_is_not_known_is_refused(small_library):
    free = Fitter(small_library, SEMI_ANGLE, workers=1, seeded=True, shared=Shared(BLUR))
    with pytest.raises(InputError, match="fix its scale"):
        BatchFitter(free, CPU)
