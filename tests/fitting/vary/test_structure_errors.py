"""Whether a fitted structure is off by its stated errors: frames of the same crystal, drawn many times."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hybridfit import Candidate, StructureFitter, make_frame, simulate_frame
from hybridfit.fitting.refine.noise import Noise
from hybridfit.fitting.vary.again import Place, about
from hybridfit.fitting.vary.approximated import BEAMS, changes_of, images_of, moved_by
from hybridfit.fitting.vary.run import Run
from hybridfit.fitting.vary.settings import VARY

ANGLE, ELECTRONS = 7.0, 1e8
PLACES = ((13.1, (0.7, 0.4)), (17.4, (-0.4, 0.8)), (22.2, (-0.3, 0.5)))
NAMES = ("B:Sr", "B:Ti", "B:O")
DRAWS = 14
MANY = 1e8  # so many times the electrons leave no noise
SIDE, FINER = 72, 3  # px; frames are simulated on finer pixels, whose electrons are added


class Counted(Run):
    """A fit that knows that its frames have no noise but that of counting."""

    def _look(self, state, part):
        super()._look(state, part)
        state.noise, state.scale = Noise(1e-9, 1.0, 0.0), 1.0


@pytest.fixture(scope="module")
def library(build_library):
    """SrTiO3, with directions far apart."""
    return build_library(
        "SrTiO3",
        (0, 0, 1),
        in_plane=(1, 0, 0),
        g_max=0.8,
        semi_angle_max=8,
        tilt_max=1.0,
        sampling=0.6,
        thickness={"start": 10, "stop": 25},
    )


@pytest.fixture(scope="module")
def fitter(library):
    """Of a microscope that is known exactly."""
    exact = dict.fromkeys(("energy", "semi_angle"), 0.0)
    return StructureFitter(library, NAMES, ANGLE, method="lsf", sigma=exact)


@pytest.fixture(scope="module")
def unsure(library):
    """The same where energy and semi-angle are known as usual."""
    return StructureFitter(library, NAMES, ANGLE, method="lsf")


@pytest.fixture(scope="module")
def expected(fitter):
    """Frames without noise, and fits of them without structure."""
    return frames_of(fitter.fitter.library, fitter)


def frames_of(library, fitter):
    """Frames of a library without noise, and fits of them without structure."""
    images, starts = [], []
    for thickness, tilt in PLACES:
        image, truth = simulate_frame(
            library,
            thickness=thickness,
            tilt=tilt,
            semi_angle=ANGLE,
            shape=(FINER * SIDE, FINER * SIDE),
            electrons=ELECTRONS * MANY,
        )
        images.append(image.reshape(SIDE, FINER, SIDE, FINER).sum(axis=(1, 3)) / MANY)
        middle = (SIDE - 1) / 2
        seed = Candidate(thickness, *tilt, middle, middle, truth["scale"] / FINER, truth["rotation"])
        noisy = np.random.default_rng(len(images)).poisson(images[-1])
        starts.append(fitter.fitter.refine(make_frame(noisy), seed))
    return images, starts


@pytest.fixture(scope="module")
def solved(fitter, expected):
    """Windows of the crystal that the frames are of, and its derivatives."""
    again = Run(fitter.structure, fitter.fitter.library, fitter.fitter.settings).again
    places = [Place(start.thickness, start.tilt) for start in expected[1]]
    windows = about(again, places)
    return again, windows, again.along(fitter.structure.start, windows)


def step(fitter, solved, images, starts, kind=Run, settings=VARY):
    """A fit of frames, from the crystal they are of: how far off each number is, in errors; λ; errors."""
    again, windows, along = solved
    run = kind(
        fitter.structure, fitter.fitter.library, fitter.fitter.refiner.settings, again=again, varying=settings
    )
    states = [run._state(make_frame(image), start) for image, start in zip(images, starts, strict=True)]
    truth = fitter.structure.start
    joint, errors = run._step(states, windows, along, truth)
    sigma = dict(zip(errors.names, np.sqrt(np.diag(errors.covariance)), strict=True))
    off = [(joint.params[i].value - truth[name]) / sigma[i] for name, i in run.ids.items()]
    return np.array(off), [state.scale for state in states], errors


def test_frames_without_noise_are_answered_exactly(fitter, expected, solved):
    """Pixels and edges of the aperture are those of the frame, though directions are 0.6 mrad apart."""
    off, *_ = step(fitter, solved, *expected, kind=Counted)
    assert np.abs(off).max() < 0.4, off


def test_what_coarser_points_change_is_in_the_error(fitter, expected, solved):
    """Of frames without noise, where pixels are composed at few points: a part says how far off."""
    coarse = dataclasses.replace(VARY, fine_pixel=0.25)
    off, _, errors = step(fitter, solved, *expected, kind=Counted, settings=coarse)
    _, _, fine = step(fitter, solved, *expected, kind=Counted)
    at = slice(0, len(NAMES))  # structural numbers come first
    error, covariance = (np.diag(each)[at] for each in (errors.sampling, errors.covariance))
    shift = off * np.sqrt(covariance)
    assert (np.abs(shift) < 3 * np.sqrt(error) + 0.4 * np.sqrt(covariance - error)).all(), (shift, error)
    assert (np.diag(fine.sampling)[at] < 0.3 * np.diag(fine.honest)[at]).all()
    assert error.max() > 2 * np.diag(fine.sampling)[at].max()


def test_errors_of_many_draws_are_the_stated_ones(fitter, expected, solved):
    images, starts = expected
    rng = np.random.default_rng(3)
    pulls = np.array(
        [step(fitter, solved, [rng.poisson(each) for each in images], starts)[0] for _ in range(DRAWS)]
    )
    size = np.sqrt((pulls**2).mean())
    assert 0.75 < size < 1.25, pulls  # its own scatter is 0.11
    assert np.abs(pulls.mean(axis=0)).max() < 3 / np.sqrt(DRAWS), pulls


def test_energy_and_semi_angle_stay_where_they_are(unsure, expected, solved):
    """The energy has no rims of its own: softer ones seemed to tell it from the semi-angle."""
    off, _, errors = step(unsure, solved, *expected, kind=Counted)
    assert np.abs(off).max() < 0.4
    energy, angle = errors.assumed["energy"], errors.assumed["semi_angle"]
    assert abs(energy.offset) < 0.4 * energy.stderr
    assert abs(angle.offset) < 1e-4  # 0.7 µrad


def test_errors_contain_next_to_no_misfit(fitter, expected, solved):
    images, starts = expected
    rng = np.random.default_rng(4)
    _, scales, _ = step(fitter, solved, [rng.poisson(each) for each in images], starts)
    assert max(scales) < 1.3


@pytest.fixture(scope="module")
def of_more_beams(build_library):
    """Frames that more beams take part in than in the library of the fit; a step of that fit."""
    sizes = {"semi_angle_max": 8, "tilt_max": 1.0, "sampling": 0.6, "thickness": {"start": 10, "stop": 25}}
    own, more = (
        build_library("SrTiO3", (0, 0, 1), in_plane=(1, 0, 0), g_max=g_max, **sizes)
        for g_max in (1.4, VARY.more_beams * 1.4)
    )
    fitter = StructureFitter(own, NAMES, ANGLE, method="lsf", sigma={"energy": 0.0, "semi_angle": 0.0})
    images, starts = frames_of(more, fitter)
    run = Counted(fitter.structure, fitter.fitter.library, fitter.fitter.refiner.settings)
    states = [run._state(make_frame(image), start) for image, start in zip(images, starts, strict=True)]
    windows, truth = about(run.again, [state.place for state in states]), fitter.structure.start
    joint, errors = run._step(states, windows, run.again.along(truth, windows), truth)
    return run, (joint, states, windows, truth), errors


def test_what_more_beams_change_moves_the_answer_by_what_is_stated(of_more_beams):
    run, (joint, states, windows, truth), errors = of_more_beams
    changes = images_of(changes_of(run.again, truth, windows), states, windows, run._refiner)
    stated = moved_by(joint, [each[BEAMS] for each in changes])[: len(NAMES)]
    off = np.array([joint.params[run.ids[name]].value - truth[name] for name in NAMES])
    counting = np.sqrt(np.diag(errors.honest))[: len(NAMES)]
    assert (np.abs(off) > 3 * counting).any(), (off, counting)  # there is something to state
    assert np.linalg.norm(off - stated) < 0.2 * np.linalg.norm(off), (off, stated)
    whole = errors.with_approximation(joint, run._approximated(joint, states, windows, truth))
    error = np.sqrt(np.diag(whole.covariance))[: len(NAMES)]
    assert np.sqrt(np.mean((off / error) ** 2)) < 1.5 and (np.abs(stated) < error).all(), (off, error)


def test_the_part_of_the_library_is_in_the_budget_and_a_user_may_know_better(of_more_beams):
    run, at, errors = of_more_beams
    covariance = run._approximated(*at)
    whole = errors.with_approximation(at[0], covariance)
    names = [run.ids[name] for name in NAMES]
    marginal = whole.marginal(names, NAMES, {}, ())
    for i, name in enumerate(NAMES):
        parts = marginal.parts(name)
        both = whole.beside[i, i] + whole.sampling[i, i]
        assert parts["library"] == pytest.approx(np.sqrt(both))
        assert sum(v**2 for v in parts.values()) == pytest.approx(marginal.errors[name] ** 2, rel=1e-6)
    thick = [i for i, name in enumerate(whole.names) if name.startswith("thickness")]
    assert len(thick) == len(PLACES) and (whole.beside[thick] == 0).all()  # it has a part of its own
    run.approximation *= 2
    try:
        assert run._approximated(*at) == pytest.approx(4 * covariance)
    finally:
        run.approximation /= 2
