"""The full search of a library: what it finds, in what order, and the templates that it keeps."""

from __future__ import annotations

import numpy as np
import pytest

from hybridfit import Fitter, Hints, make_frame
from hybridfit.fitting.candidates import Candidate, canonical, tilt_distance
from hybridfit.fitting.search.full import Searcher
from hybridfit.fitting.search.settings import SEARCH, SearchSettings
from hybridfit.fitting.search.templates import tilt_grid

SEMI_ANGLE = 9.0


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_canonical_keeps_the_tilt_in_the_laboratory(order):
    rng = np.random.default_rng(order)
    for rotation in (*rng.uniform(-400, 400, 30), -180.0, -180 / order, 0.0, 180 / order, 180.0):
        x, y = rng.normal(size=2)
        new_x, new_y, angle = canonical(x, y, rotation, order)
        assert -180 / order - 1e-9 < angle <= 180 / order + 1e-9
        turn = (rotation - angle) * order / 360
        assert turn == pytest.approx(round(turn), abs=1e-9)
        before = complex(x, y) * np.exp(1j * np.deg2rad(rotation))
        assert complex(new_x, new_y) * np.exp(1j * np.deg2rad(angle)) == pytest.approx(before, abs=1e-9)
        assert tilt_distance((x, y), (new_x, new_y), order) < 1e-9


def test_the_tilt_grid_covers_every_tilt():
    rng = np.random.default_rng(0)
    radius, angle = 3.0 * np.sqrt(rng.random(300)), rng.uniform(0, 2 * np.pi, 300)
    for order in (1, 2, 4, 6):
        grid = tilt_grid(3.0, order)
        assert np.hypot(*grid.T).max() <= 3.0 + 1e-9
        for x, y in zip(radius * np.cos(angle), radius * np.sin(angle), strict=True):
            assert min(tilt_distance((x, y), tuple(point), order) for point in grid) < 0.45


@pytest.mark.parametrize(
    ("thickness", "tilt", "rotation", "scale"),
    [(14.3, (-1.6, 0.7), 33.0, 2.6), (33.5, (0.1, 0.0), -21.0, 2.9), (52.8, (1.2, 1.9), 5.0, 2.2)],
)
def test_the_whole_library_is_searched(fitter, simulate, thickness, tilt, rotation, scale):
    image, _ = simulate(thickness=thickness, tilt=tilt, rotation=rotation, scale=scale, centre=(49.1, 45.7))
    found, curve = fitter.search(image)
    assert any(is_near(c, thickness, tilt) for c in found[:5])
    assert [c.chi2 for c in found] == sorted(c.chi2 for c in found)
    for i, a in enumerate(found):
        for b in found[:i]:
            apart = tilt_distance((a.tilt_x, a.tilt_y), (b.tilt_x, b.tilt_y), 4)
            assert apart >= 1 - 1e-9 or abs(a.thickness - b.thickness) >= 4
    assert curve[1].min() == pytest.approx(found[0].chi2)
    assert curve[0, curve[1].argmin()] == found[0].thickness
    assert (curve[0, 0], np.ptp(np.diff(curve[0]))) == (1.0, 0.0)


@pytest.mark.parametrize(("thickness", "tilt"), [(9.4, (1.0, 0.2)), (41.7, (-2.2, -1.8))])
def test_a_window_is_searched(small_library, simulate, thickness, tilt):
    image, truth = simulate(thickness=thickness, tilt=tilt)
    hints = Hints(
        thickness=thickness + 2.4, tilt=(tilt[0] - 0.7, tilt[1] + 0.4), rotation=truth["rotation"] - 3
    )
    windowed = Fitter(small_library, SEMI_ANGLE, hints=hints, workers=2)
    found, _ = windowed.search(image)
    assert is_near(found[0], thickness, tilt, 0.8)
    assert abs(found[0].rotation - truth["rotation"]) < 3
    assert np.ptp(windowed.templates().thickness) <= 6


def is_near(candidate: Candidate, thickness, tilt, radius=0.6) -> bool:
    """In the neighbourhood that the refinement needs, nm and mrad."""
    apart = tilt_distance((candidate.tilt_x, candidate.tilt_y), tilt, 4)
    return abs(candidate.thickness - thickness) <= 2 and apart <= radius


def test_templates_come_back_from_the_cache(small_library, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path))
    window = small_library.window(20.0)
    made = Fitter(window, SEMI_ANGLE, workers=1).templates()
    (file,) = tmp_path.glob("rings-*.npy")
    again = Fitter(window, SEMI_ANGLE, workers=1).templates()
    np.testing.assert_array_equal(again.series, made.series)
    np.testing.assert_array_equal(again.tilt_y, made.tilt_y)
    file.write_bytes(file.read_bytes()[:1000])
    rebuilt = Fitter(window, SEMI_ANGLE, workers=2).templates()
    np.testing.assert_array_equal(rebuilt.series, made.series)


def test_windows_of_one_library_share_no_templates(small_library, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path))
    thin = Fitter(small_library.window(20.0), SEMI_ANGLE, workers=1).templates()
    thick = Fitter(small_library.window(40.0), SEMI_ANGLE, workers=1).templates()
    assert thin.thickness[0] != thick.thickness[0]
    assert np.abs(thin.series - thick.series).max() > 0.01


def searcher(library, semi_angle=SEMI_ANGLE, settings=SEARCH, hints=None) -> Searcher:
    return Searcher(
        library,
        semi_angle,
        hints=hints or Hints(),
        workers=1,
        progress=lambda stage, fraction: None,
        settings=settings,
    )


@pytest.mark.parametrize(
    ("semi_angle", "settings"),
    [
        (9.00004, SEARCH),
        (9.0, SearchSettings(softness=0.6)),
        (9.0, SearchSettings(beyond_disc=4.0)),
        (9.0, SearchSettings(tilt_step=0.52)),  # as many tilts
    ],
)
def test_other_templates_come_from_no_cache(small_library, tmp_path, monkeypatch, semi_angle, settings):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path))
    window = small_library.window(20.0)
    usual = searcher(window).templates()
    other = searcher(window, semi_angle, settings).templates()
    assert len(list(tmp_path.glob("rings-*.npy"))) == 2
    assert not np.array_equal(usual.series[:5], other.series[:5])


def test_settings_decide(small_library, simulate):
    """What is asked for is what is done: fewer candidates, other library points."""
    image, _ = simulate()
    frame = make_frame(image)
    usual, curve = searcher(small_library).search(frame)
    settings = SearchSettings(thickness_step=4.0, most_candidates=1)
    few, coarse = searcher(small_library, settings=settings).search(frame)
    assert len(few) == 1 < len(usual)
    np.testing.assert_array_equal(coarse[0], curve[0, ::2])


def test_progress_only_grows(small_library, simulate):
    seen = []
    quiet = searcher(small_library)
    quiet.templates()
    quiet.progress = lambda stage, fraction: seen.append((stage, fraction))
    quiet.search(make_frame(simulate()[0]))
    assert {stage for stage, _ in seen} == {"search"}
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1.0)


# ---------------------------------------------------------------- tilts beyond those a library is made for


@pytest.mark.parametrize("tilt", [(6.1, 2.3), (-2.0, 6.4)])
def test_a_larger_tilt_is_found(small_library, simulate, tilt):
    """3 mrad are what the library is made for; at this semi-angle it reaches 8 mrad."""
    image, _ = simulate(tilt=tilt, thickness=27.0)
    found, curve = Fitter(small_library, SEMI_ANGLE, workers=1, method="lsf").search(image)
    assert abs(found[0].thickness - 27.0) <= 3 and tilt_distance(found[0].tilt, tilt, 4) <= 1
    assert found[0].chi2 < 0.3 and curve[1].min() == pytest.approx(found[0].chi2)


def test_larger_tilts_are_made_when_a_frame_asks_for_them(small_library, simulate, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRIDFIT_CACHE", str(tmp_path))
    own = searcher(small_library.window(30.0))
    own.search(make_frame(simulate(thickness=30.0)[0]))
    assert len(list(tmp_path.glob("*.npy"))) == 1
    own.search(make_frame(simulate(thickness=30.0, tilt=(6.0, 0.0))[0]))
    assert len(list(tmp_path.glob("beyond-*.npy"))) == 1
    beyond = own.beyond()
    assert beyond is own.beyond()
    size = np.hypot(beyond.tilt_x, beyond.tilt_y)
    assert size.min() > small_library.tilt_max and 7.0 < size.max() <= 8.0 + 1e-9


def test_hints_ask_for_no_larger_tilts(small_library):
    assert searcher(small_library, hints=Hints(thickness=30.0)).beyond() is None
    assert searcher(small_library, small_library.semi_angle_max).beyond() is None
