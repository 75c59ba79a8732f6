"""The hybrid fit of a library without a network of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybridfit import Fitter, Hints, Status, make_frame, simulate_frame
from hybridfit.errors import InputError, LibraryError
from hybridfit.fitting.candidates import tilt_distance
from hybridfit.fitting.clock import Clock
from hybridfit.fitting.search.match import Matcher
from hybridfit.fitting.search.odds import width
from hybridfit.fitting.search.settings import SearchSettings
from hybridfit.fitting.seed.alignment import Alignment
from hybridfit.fitting.settings import RouteSettings
from hybridfit.library.crystals import StructuralChange
from hybridfit.library.library import Library
from hybridfit.library.recipe import Recipe, shipped_folder
from hybridfit.network import training
from hybridfit.network.state import Plan
from hybridfit.network.weights import Network, weights_beside
from hybridfit.physics.distortions import displaced

SEMI_ANGLE = 9.0


@pytest.fixture(scope="module")
def frame(simulate):
    return simulate(thickness=33.0, tilt=(1.1, -0.4), rotation=12.0, electrons=5e6)


def doubted(camera) -> Alignment:
    return Alignment(*camera, doubt=0.05, sure=False)


def is_true(result, truth, order=4):
    near = abs(result.thickness - truth["thickness"]) < 0.2
    return near and tilt_distance(result.tilt, (truth["tilt_x"], truth["tilt_y"]), order) < 0.05


def test_a_match_of_the_library_does_without_a_network(small_library, frame):
    image, truth = frame
    fitter = Fitter(small_library, SEMI_ANGLE, workers=2)
    assert fitter.method == "hybrid" and fitter.seeder is None
    result = fitter.fit(image)
    assert is_true(result, truth) and result.ok
    assert result.route == result.to_json()["route"] == "library match"
    assert "No network comes with this library" in result.message and "match" in result.message
    assert result.seconds["search"] > 0 and result.curve is not None


def test_known_centre_and_scale_are_where_it_starts(small_library, frame):
    image, truth = frame
    hints = Hints(centre=(truth["centre_x"] + 0.5, truth["centre_y"]), scale=1.01 * truth["scale"])
    fitter = Fitter(small_library, SEMI_ANGLE, hints=hints, workers=2)
    assert fitter.attempts.matchers[0].cameras(frame) == [(*hints.centre, hints.scale)]
    result = fitter.fit(image)
    assert is_true(result, truth) and result.route == "library match"


def test_a_disc_that_is_somewhat_off_is_put_right(small_library, frame, monkeypatch):
    image, truth = frame
    start = (truth["centre_x"] + 1.5, truth["centre_y"] - 1.0, 1.06 * truth["scale"])
    monkeypatch.setattr(Matcher, "discs", lambda self, frame: [doubted(start)])
    result = Fitter(small_library, SEMI_ANGLE, workers=2).fit(image)
    assert is_true(result, truth) and result.route == "library match"


def test_a_disc_that_is_all_wrong_is_found_again(small_library, frame, monkeypatch):
    image, truth = frame
    monkeypatch.setattr(Matcher, "discs", lambda self, frame: [doubted((20.0, 75.0, 2.0))])
    monkeypatch.setattr(Matcher, "rims", lambda self, frame: [])
    monkeypatch.setattr(Matcher, "further", lambda self, frame, tried: [])
    result = Fitter(small_library, SEMI_ANGLE, workers=2).fit(image)
    assert is_true(result, truth) and result.route == "library match"


def test_without_an_alignment_the_whole_library_is_searched(small_library, frame, monkeypatch):
    image, truth = frame
    monkeypatch.setattr(Matcher, "discs", lambda self, frame: [])
    monkeypatch.setattr(Matcher, "rims", lambda self, frame: [])
    result = Fitter(small_library, SEMI_ANGLE, workers=2).fit(image)
    assert is_true(result, truth) and result.route == "full search" and result.method == "hybrid"
    assert "the whole library was searched" in result.message


def test_a_further_disc_is_found_where_the_first_is_wrong(small_library, frame, monkeypatch):
    image, truth = frame
    monkeypatch.setattr(Matcher, "discs", lambda self, frame: [doubted((20.0, 75.0, 2.0))])
    monkeypatch.setattr(Matcher, "rims", lambda self, frame: [])
    monkeypatch.setattr(Matcher, "_wide", lambda self, trials, frame: np.empty((0, 3)))
    fitter = Fitter(small_library, SEMI_ANGLE, workers=2)
    (attempt, *_) = fitter.attempts.matched(make_frame(image), Clock())
    best = attempt.found[0]
    assert best.chi2 < 0.1 and abs(best.centre_x - truth["centre_x"]) < 1


def stub_matches(monkeypatch, fitter, image, of):
    """Matches whose χ² is that of their first start; `of` start to χ². Returns what was tried."""
    matcher, tried = fitter.attempts.matchers[0], []
    (best, *_), curve = matcher.match(image, matcher.aligned_cameras(image))

    def trials(self, frame, starts, *others, wide=True):
        tried.append(list(starts))
        return starts[0]

    def read(self, start):
        x, y, scale = start
        at = replace(best, centre_x=x, centre_y=y, scale=scale, chi2=of[start], probability=1.0)
        return [at], curve

    monkeypatch.setattr(Matcher, "trials", trials)
    monkeypatch.setattr(Matcher, "read", read)
    monkeypatch.setattr(Matcher, "inside", lambda self, trials: ([], curve))
    return tried


def test_discs_in_doubt_are_tried_one_by_one_after_a_poor_answer(small_library, frame, monkeypatch):
    image = make_frame(frame[0])
    fitter = Fitter(small_library, SEMI_ANGLE, workers=2)
    first, second, like, far, farther = (
        (40.0, 40.0, 3.0),
        (60.0, 40.0, 3.0),
        (40.5, 40.0, 3.02),
        (40.0, 60.0, 3.0),
        (60.0, 60.0, 3.0),
    )
    of = {first: 0.2, second: 0.4, far: 0.3, farther: 0.9}
    tried = stub_matches(monkeypatch, fitter, image, of)
    discs = [doubted(first), doubted(second)]
    monkeypatch.setattr(Matcher, "discs", lambda self, frame: discs)
    monkeypatch.setattr(Matcher, "further", lambda self, frame, tried: [like, far, farther])
    attempts = fitter.attempts.matched(image, Clock())
    assert next(attempts).found[0].centre_x == 40.0 and tried == [[first]]
    # the best first; none that leaves too much, none twice
    later = [(each.found[0].centre_x, each.found[0].centre_y) for each in attempts if each.found]
    assert later == [(40.0, 60.0), (60.0, 40.0)]
    assert tried == [[first], [second], [far], [farther]]


def test_others_than_a_sure_disc_are_tried_after_a_poor_answer_only(small_library, frame, monkeypatch):
    image = make_frame(frame[0])
    start, other = (40.0, 40.0, 3.0), (60.0, 40.0, 3.0)
    fitter, looked = Fitter(small_library, SEMI_ANGLE, workers=2), []
    tried = stub_matches(monkeypatch, fitter, image, {start: 0.5, other: 0.1})
    monkeypatch.setattr(Matcher, "discs", lambda self, frame: [doubted(start)._replace(sure=True)])
    monkeypatch.setattr(Matcher, "further", lambda self, frame, tried: looked.append(1) or [other])
    attempts = fitter.attempts.matched(image, Clock())
    assert next(attempts).found[0].centre_x == 40.0 and tried == [[start]]
    next(attempts)  # by the inside of this disc
    assert not looked
    assert next(attempts).found[0].centre_x == 60.0 and tried == [[start], [other]]


def test_a_disc_that_the_frame_cuts_does_not_end_the_trials(small_library, frame, monkeypatch):
    image, truth = frame
    fitter = Fitter(small_library, SEMI_ANGLE, workers=2)
    attempt = next(fitter.attempts.matched(make_frame(image), Clock()))
    cut = [replace(each, centre_x=2.0) for each in attempt.found]
    both = [attempt._replace(found=cut, around=cut), attempt]
    monkeypatch.setattr(type(fitter.attempts), "matched", lambda self, frame, clock: both)
    result = fitter.fit(image)
    assert is_true(result, truth) and result.route == "library match"


def test_a_match_that_is_none_is_not_refined(small_library, frame):
    image = make_frame(frame[0])
    for most, attempts in ((RouteSettings().no_match, 2), (0.0, 0)):
        fitter = Fitter(small_library, SEMI_ANGLE, workers=2, routes=RouteSettings(no_match=most))
        assert len(list(fitter.attempts.matched(image, Clock()))) == attempts


def test_a_sure_match_is_refined_alone(small_library, frame):
    image, truth = make_frame(frame[0]), frame[1]
    for sure, alone in ((RouteSettings().matched_sure, True), (1.1, False)):
        routes = RouteSettings(matched_sure=sure, matched_near=0.9, matched_likely=1e-99)
        fitter = Fitter(small_library, SEMI_ANGLE, workers=2, routes=routes)
        attempt = next(fitter.attempts.matched(image, Clock()))
        assert (len(attempt.found) == 1) is alone
        assert attempt.found[0].probability >= RouteSettings().matched_sure
    result = Fitter(small_library, SEMI_ANGLE, workers=2).fit(image)
    assert is_true(result, truth) and result.candidates[0].probability > 0.97


def test_candidates_that_are_far_less_likely_are_not_refined(small_library, frame, monkeypatch):
    image = make_frame(frame[0])
    fitter = Fitter(small_library, SEMI_ANGLE, workers=2)
    routes, matcher = fitter.settings.routes, fitter.attempts.matchers[0]
    (best, *_), curve = matcher.match(image, matcher.aligned_cameras(image))
    far = -np.log(routes.matched_likely) * width(best.chi2, fitter.settings.searching)
    assert far < routes.matched_near  # or it would not decide
    beside = [replace(best, thickness=best.thickness + 9, chi2=best.chi2 + x * far) for x in (0.9, 1.1)]
    unsure = replace(best, probability=0.5)
    monkeypatch.setattr(Matcher, "read", lambda self, _: ([unsure, *beside], curve))
    attempt = next(fitter.attempts.matched(image, Clock()))
    assert [c.chi2 for c in attempt.found] == [unsure.chi2, beside[0].chi2]


def test_the_inside_of_the_disc_is_compared_where_the_match_misleads(small_library, frame, monkeypatch):
    image, truth = frame
    fitter = Fitter(small_library, SEMI_ANGLE, workers=2)
    matcher = fitter.attempts.matchers[0]
    found, curve = matcher.match(make_frame(image), matcher.aligned_cameras(make_frame(image)))
    wrong = [replace(found[0], thickness=13.0, tilt_x=-0.3, tilt_y=0.1, chi2=0.1, probability=0.99)]
    monkeypatch.setattr(Matcher, "read", lambda self, _: (wrong, curve))
    result = fitter.fit(image)
    assert is_true(result, truth) and result.ok and result.route == "library match"
    assert not np.array_equal(result.curve, curve)


def test_what_is_fixed_stays(small_library, frame):
    image, truth = frame
    result = Fitter(small_library, SEMI_ANGLE, fix={"blur": 0.3}, workers=2).fit(image)
    assert result["blur"].value == 0.3 and is_true(result, truth)


def test_another_crystal(build_library):
    """No fourfold axis, and no network of anything like it."""
    library = build_library(
        "rutile",
        (1, 1, 0),
        semi_angle_max=9.0,
        tilt_max=2.0,
        sampling=0.6,
        thickness={"start": 10, "stop": 40},
    )
    image, truth = simulate_frame(
        library,
        thickness=27.0,
        tilt=(0.9, -1.1),
        semi_angle=8.5,
        shape=(96, 96),
        rotation=-70.0,
        electrons=5e6,
    )
    result = Fitter(library, 8.5, workers=2).fit(image)
    assert is_true(result, truth, library.rotation_order) and result.route == "library match"


# ---------------------------------------------------------------- structural parameters


@pytest.fixture(scope="module")
def shifted() -> Library:
    recipe = Recipe(
        cif=shipped_folder() / "SrTiO3.cif",
        zone=(1, 0, 0),
        in_plane=(0, 0, 1),
        energy_kv=200,
        g_max=1.0,
        semi_angle_max=8,
        tilt_max=2.0,
        sampling=0.5,
        thickness={"start": 15, "stop": 30},
    )

    def titanium(crystal, value):
        return displaced(crystal, {"Ti1": (0, 0, 1)})(crystal, value)

    return Library.build(
        recipe, parameters={"shift": StructuralChange([0.0, 0.05, 0.1, 0.15], titanium, "Å")}
    )


@pytest.fixture(scope="module")
def shifted_frame(shifted):
    return simulate_frame(
        shifted.at(shift=0.1),
        thickness=22.3,
        tilt=(0.6, -0.9),
        semi_angle=7.5,
        shape=(96, 96),
        rotation=21.0,
        electrons=2e6,
    )


def test_structural_parameters_without_a_network(shifted, shifted_frame):
    image, truth = shifted_frame
    result = Fitter(shifted, 7.5, workers=2).fit(image)
    assert result.route == "library match" and result.status is Status.converged
    assert abs(result.thickness - truth["thickness"]) < 0.1
    shift = result.structure["shift"]
    assert 0 < shift.stderr < 0.02 and abs(shift.value - 0.1) < 3 * shift.stderr


def test_a_network_of_the_reference_seeds_structural_parameters(shifted, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "HELD_BACK", 16)
    monkeypatch.setattr(training, "CALIBRATION", 16)
    path = tmp_path / "shifted.nc"
    shifted.save(path)
    reference = shifted.at(shift=0.0)
    training.train(reference, Plan(samples=16, batch=8, pool=16)).save(weights_beside(path))
    fitter = Fitter(Library.open(path), 7.5, workers=2)
    assert fitter.seeder is not None and not fitter.attempts.matchers
    assert fitter.seeder.network.origin.checksum == reference.dataset.attrs["checksum"]


def test_weights_beside_the_library_that_cannot_be_used_are_named(small_library, tmp_path):
    path = tmp_path / "small.nc"
    small_library.save(path)
    Network.shipped("SrTiO3_001_200kV").save(weights_beside(path))
    with pytest.raises(LibraryError, match=r"small\.safetensors lies beside the library .*, or remove it"):
        Fitter(Library.open(path), SEMI_ANGLE)
    weights_beside(path).write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"small\.safetensors cannot be read .*, or remove it"):
        Fitter(Library.open(path), SEMI_ANGLE)
    assert np.isfinite(Fitter(Library.open(path), SEMI_ANGLE, method="lsf").tilt_limit)


def test_a_frame_resembles_nothing_where_the_best_leaves_much(small_library, simulate, at_truth):
    """With few electrons most of χ² is noise, and says nothing."""
    attempts = Fitter(small_library, SEMI_ANGLE, method="lsf", workers=1).attempts
    limits = attempts.settings.routes
    image, truth = simulate(electrons=2e6)
    dim, _ = simulate(electrons=2e4)
    like, unlike = (at_truth(truth, chi2=limits.no_match + aside) for aside in (-0.01, 0.01))
    assert attempts.unlike(make_frame(image), [unlike])
    assert attempts.unlike(make_frame(image), [])
    assert not attempts.unlike(make_frame(image), [unlike, like])
    assert not attempts.unlike(make_frame(dim), [unlike])


def test_a_full_search_refines_what_is_near_the_best_and_a_few_more(small_library, simulate):
    attempts = Fitter(small_library, SEMI_ANGLE, method="lsf", workers=1).attempts
    limits, clock = attempts.settings.routes, Clock()
    frame = make_frame(simulate(electrons=1e5)[0])
    found, _ = attempts.searcher.search(frame)
    attempt = attempts.everywhere(frame, clock)
    assert attempt.found == found[: len(attempt.found)]
    assert min(len(found), limits.searched_least) <= len(attempt.found) <= limits.matched_most
    for i, candidate in enumerate(attempt.found):
        assert i < limits.searched_least or candidate.chi2 <= found[0].chi2 + limits.matched_near


def test_a_full_search_that_is_misled_far_from_the_zone_axis_looks_at_the_discs(
    small_library, frame, at_truth, monkeypatch
):
    image, truth = make_frame(frame[0]), frame[1]
    wrong = at_truth(truth, thickness=50.0, centre_x=20.0, chi2=0.9)
    curve = np.array([[50.0], [0.9]])
    for far_tilt, found_by_disc in ((-1.0, True), (5.0, False)):
        searching = SearchSettings(far_tilt=far_tilt)
        attempts = Fitter(small_library, SEMI_ANGLE, method="lsf", workers=1, searching=searching).attempts
        monkeypatch.setattr(attempts.searcher, "search", lambda frame: ([wrong], curve))
        best = attempts.everywhere(image, Clock()).found[0]
        assert (abs(best.thickness - truth["thickness"]) <= 2) is found_by_disc
    monkeypatch.setattr(attempts.searcher, "search", lambda frame: ([replace(wrong, chi2=0.1)], curve))
    assert attempts.everywhere(image, Clock()).found[0].thickness == 50.0
